/* The loader's voice: lines on the firmware's console; what ends the start also on COM2. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "boot/efi/loader.h"
#include "lib/assert.h"
#include "lib/format.h"
#include "lib/log.h"

enum { LINE_SIZE = 256 };

/* A 16550's registers at COM2, and how it is set up (115200 bits a second, 8 bits, no parity). */
enum { COM2_DATA = 0x2f8, COM2_IER, COM2_FCR, COM2_LCR, COM2_MCR, COM2_LSR };
enum { LCR_8N1 = 0x03, LCR_DIVISOR = 0x80, FCR_ENABLE = 0x07, MCR_DTR_RTS = 0x03 };
enum { LSR_THR_EMPTY = 0x20, LSR_ABSENT = 0xff, DIVISOR_115200 = 1 };

/* A character takes 87 microseconds at this speed, and a read of LSR about one. */
enum { SERIAL_PATIENCE = 100000 };

/* log_line() and assert_failed() get no object: theirs is the one loader that runs. */
static EFI_SYSTEM_TABLE *system_table;
static EFI_HANDLE own_image;
static bool closed;

void console_open(EFI_HANDLE image, EFI_SYSTEM_TABLE *system)
{
    own_image = image;
    system_table = system;
}

void console_close(void)
{
    closed = true;
}

static void out8(uint16_t port, uint8_t value)
{
    __asm__ volatile("outb %0, %1" : : "a"(value), "Nd"(port));
}

static uint8_t in8(uint16_t port)
{
    uint8_t value;
    __asm__ volatile("inb %1, %0" : "=a"(value) : "Nd"(port));
    return value;
}

static void serial_open(void)
{
    out8(COM2_IER, 0);
    out8(COM2_LCR, LCR_DIVISOR | LCR_8N1);
    out8(COM2_DATA, DIVISOR_115200);
    out8(COM2_IER, 0);
    out8(COM2_LCR, LCR_8N1);
    out8(COM2_FCR, FCR_ENABLE);
    out8(COM2_MCR, MCR_DTR_RTS);
}

static void serial_put(char c)
{
    for (unsigned i = 0; i < SERIAL_PATIENCE && (in8(COM2_LSR) & LSR_THR_EMPTY) == 0; i++)
        ;
    out8(COM2_DATA, (uint8_t)c);
}

static void serial_line(const char *text)
{
    if (in8(COM2_LSR) == LSR_ABSENT)
        return;
    serial_open();
    serial_put('\n'); /* the firmware's console may be on this port too, in the middle of a line */
    while (*text != '\0')
        serial_put(*text++);
    serial_put('\n');
}

static void console_line(const char *text)
{
    CHAR16 wide[LINE_SIZE + 2];
    size_t n = 0;
    if (closed || system_table->ConOut == NULL)
        return;
    for (; text[n] != '\0' && n + 1 < LINE_SIZE; n++)
        wide[n] = text[n] >= ' ' && text[n] <= '~' ? (CHAR16)text[n] : u'?';
    wide[n++] = u'\r';
    wide[n++] = u'\n';
    wide[n] = u'\0';
    system_table->ConOut->OutputString(system_table->ConOut, wide);
}

void log_line(const char *fmt, ...)
{
    char line[LINE_SIZE];
    va_list args;
    va_start(args, fmt);
    format_v(line, sizeof(line), fmt, args);
    va_end(args);
    if (closed)
        serial_line(line);
    else
        console_line(line);
}

void loader_panic(const char *fmt, ...)
{
    char line[LINE_SIZE];
    size_t n = format(line, sizeof(line), "panic: loader: ");
    va_list args;
    va_start(args, fmt);
    format_v(line + n, sizeof(line) - n, fmt, args);
    va_end(args);
    serial_line(line);
    console_line(line);
}

noreturn void assert_failed(const char *what, const char *file, int line)
{
    loader_panic("%s:%d: assertion failed: %s; please report it", file, line, what);
    if (!closed)
        system_table->BootServices->Exit(own_image, EFI_ABORTED, 0, NULL);
    for (;;)
        __asm__ volatile("cli; hlt");
}
