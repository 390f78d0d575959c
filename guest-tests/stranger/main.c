/* A little kernel that tries out the interrupt hardware of a PC: see README. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "tick.h"

enum { TICKS = 5, MULTIBOOT = 0x2badb002, AP_BASE = 0x8000, COM1 = 0x3f8 };

extern const uint8_t ap_start[], ap_end[];
extern volatile uint32_t ap_count;

static volatile unsigned aps_ready;

/* The text behind the word on the command line that begins with KEY, or NULL. */
static const char *option(const uint32_t *info, const char *key)
{
    const char *at = (const char *)(uintptr_t)info[4];
    bool begins = true;
    for (; (info[0] & 4) != 0 && *at != 0; begins = *at++ == ' ') {
        unsigned i = 0;
        while (key[i] != 0 && at[i] == key[i])
            i++;
        if (begins && key[i] == 0)
            return at + i;
    }
    return NULL;
}

static unsigned number(const char *text)
{
    unsigned value = 0;
    for (; text != NULL && *text >= '0' && *text <= '9'; text++)
        value = value * 10 + (unsigned)(*text - '0');
    return value;
}

/* KiB of RAM, by the memory map. */
static uint32_t ram_of(const uint32_t *info)
{
    uint64_t sum = 0;
    if ((info[0] & 0x40) == 0)
        fail("no memory map");
    for (uint32_t at = info[12]; at < info[12] + info[11];) {
        const uint32_t *entry = (const uint32_t *)(uintptr_t)at;
        if (entry[5] == 1)
            sum += (uint64_t)entry[4] << 32 | entry[3];
        at += entry[0] + 4;
    }
    return (uint32_t)(sum >> 10);
}

static void wait_for(const char *what, unsigned vector)
{
    unsigned until = taken[vector] + TICKS;
    while (taken[vector] < until)
        sleep_once();
    print(what);
    print(" ok\n");
}

static void try_pic(void)
{
    by_pic = true;
    pit_ticks(1000);
    pic_open(0, true);
    wait_for("PIT by the PIC", VECTOR_PIC + 0);
    pic_open(0, false);
    by_pic = false;
}

static void try_timer(void)
{
    apic_timer(UINT32_MAX, false);
    wait_us(10000);
    uint32_t hundredth = UINT32_MAX - apic_timer_left();
    print_number("APIC timer: ", hundredth / 10, " kHz\n");
    if (hundredth < 1000)
        fail("the APIC timer does not count");
    apic_timer(hundredth / 10, true);
    wait_for("APIC timer", VECTOR_TIMER);
    apic_timer(0, false);
}

static void try_pit(void)
{
    ioapic_open(0, VECTOR_PIC + 0, true);
    wait_for("PIT by the I/O APIC", VECTOR_PIC + 0);
    ioapic_open(0, VECTOR_PIC + 0, false);
}

/* At 1024 Hz. */
static void try_rtc(void)
{
    outb(0x70, 0x0a);
    outb(0x71, 0x26);
    outb(0x70, 0x0b);
    uint8_t before = inb(0x71);
    outb(0x70, 0x0b);
    outb(0x71, before | 0x40);
    ioapic_open(8, VECTOR_PIC + 8, true);
    outb(0x70, 0x0c);
    (void)inb(0x71); /* what rose before the pin was open is no edge any more */
    wait_for("RTC", VECTOR_PIC + 8);
    ioapic_open(8, VECTOR_PIC + 8, false);
    outb(0x70, 0x0b);
    outb(0x71, before);
}

/* --- COM1 by interrupts --- */

static const char said[] = "COM1 by interrupts ok\r\n";
static volatile unsigned sent;

void serial_interrupt(void)
{
    while ((inb(COM1 + 2) & 0x0f) == 2) {
        if (sent < sizeof(said) - 1)
            outb(COM1, (uint8_t)said[sent++]);
        else
            outb(COM1 + 1, 0);
    }
}

static void try_serial(void)
{
    ioapic_open(4, VECTOR_PIC + 4, true);
    outb(COM1 + 1, 2);
    while (inb(COM1 + 1) != 0)
        sleep_once();
    ioapic_open(4, VECTOR_PIC + 4, false);
}

/* --- PM timer: 3579545 Hz, at least 24 bits --- */

static void try_pm_timer(void)
{
    uint32_t before = inl(machine.pm_timer);
    wait_us(10000);
    uint32_t ticks = (inl(machine.pm_timer) - before) & 0xffffff;
    print_number("PM timer: ", ticks / 10, " kHz\n");
    if (ticks < 35000)
        fail("the PM timer is slow");
}

/* --- the other CPUs --- */

void ap_main(void)
{
    idt_load();
    apic_init();
    __atomic_fetch_add(&aps_ready, 1, __ATOMIC_SEQ_CST);
    for (;;)
        sleep_once();
}

static void start_aps(void)
{
    volatile uint8_t *base = (volatile uint8_t *)(uintptr_t)AP_BASE;
    for (unsigned i = 0; ap_start + i < ap_end; i++)
        base[i] = ap_start[i];
    for (unsigned i = 0; i < machine.cpus; i++) {
        if (machine.apic_id[i] == apic_id())
            continue;
        apic_send(machine.apic_id[i], IPI_INIT);
        wait_us(10000);
        for (unsigned twice = 0; twice < 2; twice++) {
            apic_send(machine.apic_id[i], IPI_STARTUP | AP_BASE >> 12);
            wait_us(200);
        }
    }
}

/* Until COUNTER is VALUE, for ten seconds at most. */
static void expect(const volatile unsigned *counter, unsigned value, const char *what)
{
    for (unsigned i = 0; i < 1000 && *counter < value; i++)
        wait_us(10000);
    if (*counter != value)
        fail(what);
}

static void try_cpus(void)
{
    unsigned others = machine.cpus - 1;
    start_aps();
    expect(&aps_ready, others, "CPUs that do not start");
    for (unsigned i = 1; i <= TICKS; i++) {
        apic_send(0, IPI_FIXED | IPI_TO_OTHERS | VECTOR_IPI);
        expect(&taken[VECTOR_IPI], i * others, "IPIs that do not come, or twice");
    }
    print_number("", machine.cpus, machine.cpus == 1 ? " CPU ok\n" : " CPUs ok\n");
}

void kernel_main(uint32_t magic, uint32_t information)
{
    const uint32_t *info = (const uint32_t *)(uintptr_t)information;
    serial_init();
    if (magic != MULTIBOOT)
        fail("not loaded by multiboot");
    bool mp = option(info, "mp") != NULL;
    unsigned expected = number(option(info, "cpus="));
    print_number("tick: ", ram_of(info), " KiB\n");
    if (!(mp ? find_by_mp() : find_by_acpi()))
        fail("tables are missing");
    if (expected != 0 && machine.cpus != expected)
        fail("another number of CPUs");
    pic_init();
    idt_init();
    try_pic();
    apic_init();
    print(apic_name());
    print(mp ? " by the MP table\n" : " by ACPI\n");
    try_timer();
    try_pit();
    try_rtc();
    try_serial();
    if (machine.pm_timer != 0)
        try_pm_timer();
    try_cpus();
    print("all is well\n");
    quit(0);
}
