/* An I/O APIC: its registers, the pins and what they send, as the data sheets describe them. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "vmm/devices/ioapic.h"

#include "lib/assert.h"
#include "lib/format.h"
#include "lib/rare.h"

/* Offsets in the page, and what the index register selects. */
enum { INDEX = 0x00, WINDOW = 0x10, EOI = 0x40, ALIGNMENT = 0x10 };
enum { ID, VERSION, ARBITRATION_ID, TABLE = 0x10, TABLE_END = TABLE + 2 * IOAPIC_PINS };

enum { VERSION_VALUE = IOAPIC_VERSION | (IOAPIC_PINS - 1) << 16 };

/* Of an entry of the redirection table. Delivery status, bit 12, and remote IRR are read-only. */
#define ENTRY_LOGICAL    (1ull << 11)
#define ENTRY_LOW_ACTIVE (1ull << 13)
#define ENTRY_REMOTE_IRR (1ull << 14)
#define ENTRY_LEVEL      (1ull << 15)
#define ENTRY_MASKED     (1ull << 16)
#define ENTRY_WRITABLE   0xff0000000001afffull
enum { ENTRY_PENDING_BIT = 12, ENTRY_MODE_BIT = 8, ENTRY_DEST_BIT = 56, BROADCAST = 0xff };

static unsigned mode_of(uint64_t entry)
{
    return entry >> ENTRY_MODE_BIT & 7;
}

static void set_bit(uint32_t *bits, uint32_t bit, bool value)
{
    *bits = value ? *bits | bit : *bits & ~bit;
}

/*
 * An entry that is masked or not of level-triggered interrupts forgets what belongs to others: this
 * is how an EOI is made by hand. All modes but the first two are edge-triggered, whatever the entry
 * says (82093AA data sheet, "IOREDTBL[23:0]-I/O Redirection Table Registers").
 */
static void set_entry(struct ioapic *io, unsigned pin, uint64_t entry)
{
    uint32_t bit = 1u << pin;
    bool level = (entry & ENTRY_LEVEL) != 0 && mode_of(entry) <= IPI_LOWEST;
    io->entry[pin] = entry & ENTRY_WRITABLE;
    set_bit(&io->low_active, bit, (entry & ENTRY_LOW_ACTIVE) != 0);
    set_bit(&io->masked, bit, (entry & ENTRY_MASKED) != 0);
    set_bit(&io->level, bit, level);
    io->remote_irr &= io->level;
    io->edges &= ~(io->masked | io->level);
}

void ioapic_reset(struct ioapic *io, unsigned id)
{
    assert(id < 16);
    *io = (struct ioapic){.high = IOAPIC_PULLED_UP, .id = (uint8_t)id};
    for (unsigned pin = 0; pin < IOAPIC_PINS; pin++)
        set_entry(io, pin, ENTRY_MASKED);
}

/* --- pins ------------------------------------------------------------------------------------ */

/* An edge at a masked pin is lost; a write of a register is none. */
void ioapic_set_pin(struct ioapic *io, unsigned pin, bool high)
{
    uint32_t bit = 1u << pin;
    assert(pin < IOAPIC_PINS);
    bool changes = (io->high & bit) != (high ? bit : 0);
    bool active = high == ((io->low_active & bit) == 0);
    set_bit(&io->high, bit, high);
    if (changes && active)
        io->edges |= bit & ~(io->masked | io->level);
}

uint32_t ioapic_eoi(struct ioapic *io, unsigned vector)
{
    uint32_t before = io->remote_irr;
    for (uint32_t left = io->remote_irr; left != 0; left &= left - 1) {
        unsigned pin = (unsigned)__builtin_ctz(left);
        if ((io->entry[pin] & 0xff) == vector)
            io->remote_irr &= ~(1u << pin);
    }
    return before & ~io->remote_irr;
}

/* SMIs go nowhere, the other modes are reserved. */
static bool is_sent(unsigned mode)
{
    const unsigned modes =
        1 << IPI_FIXED | 1 << IPI_LOWEST | 1 << IPI_NMI | 1 << IPI_INIT | 1 << IPI_EXTINT;
    return (modes >> mode & 1) != 0;
}

bool ioapic_next(struct ioapic *io, struct ipi *message)
{
    for (uint32_t ready = ioapic_ready(io); ready != 0; ready &= ready - 1) {
        unsigned pin = (unsigned)__builtin_ctz(ready);
        uint64_t entry = io->entry[pin];
        uint32_t bit = 1u << pin, dest = (uint32_t)(entry >> ENTRY_DEST_BIT);
        *message = (struct ipi){
            .dest = dest == BROADCAST ? IPI_BROADCAST : dest,
            .mode = (uint8_t)mode_of(entry),
            .vector = (uint8_t)entry,
            .shorthand = IPI_TO_DEST,
            .logical = (entry & ENTRY_LOGICAL) != 0,
            .level = (io->level & bit) != 0,
        };
        io->edges &= ~bit;
        io->remote_irr |= io->level & bit;
        if (is_sent(message->mode))
            return true;
    }
    return false;
}

RARE uint32_t ioapic_open(const struct ioapic *io, unsigned modes)
{
    uint32_t pins = 0;
    for (unsigned pin = 0; pin < IOAPIC_PINS; pin++)
        pins |= (modes >> mode_of(io->entry[pin]) & 1) << pin;
    return pins & ~io->masked;
}

/* --- registers ------------------------------------------------------------------------------- */

static uint64_t whole_entry(const struct ioapic *io, unsigned pin)
{
    uint64_t pending = ioapic_ready(io) >> pin & 1;
    bool remote_irr = (io->remote_irr >> pin & 1) != 0;
    return io->entry[pin] | pending << ENTRY_PENDING_BIT | (remote_irr ? ENTRY_REMOTE_IRR : 0);
}

static uint32_t read_window(const struct ioapic *io)
{
    unsigned index = io->index;
    if (index >= TABLE && index < TABLE_END)
        return (uint32_t)(whole_entry(io, (index - TABLE) / 2) >> 32 * (index % 2));
    switch (index) {
    case ID:
    case ARBITRATION_ID:
        return (uint32_t)io->id << 24;
    case VERSION:
        return VERSION_VALUE;
    default:
        return 0;
    }
}

static void write_window(struct ioapic *io, uint32_t value)
{
    unsigned index = io->index, pin = (index - TABLE) / 2;
    if (index == ID)
        io->id = value >> 24 & 0xf;
    else if (index < TABLE || index >= TABLE_END)
        return;
    else if (index % 2 == 0)
        set_entry(io, pin, (io->entry[pin] & ~(uint64_t)UINT32_MAX) | value);
    else
        set_entry(io, pin, (io->entry[pin] & UINT32_MAX) | (uint64_t)value << 32);
}

uint64_t ioapic_read(const struct ioapic *io, unsigned offset, unsigned width)
{
    unsigned byte = offset % ALIGNMENT;
    if (byte + width > 4)
        return 0;
    switch (offset - byte) {
    case INDEX:
        return (uint32_t)io->index >> 8 * byte;
    case WINDOW:
        return read_window(io) >> 8 * byte;
    default:
        return 0;
    }
}

void ioapic_write(struct ioapic *io, unsigned offset, unsigned width, uint64_t value)
{
    if (offset == INDEX)
        io->index = (uint8_t)value;
    else if (offset == WINDOW && width == 4)
        write_window(io, (uint32_t)value);
    else if (offset == EOI)
        (void)ioapic_eoi(io, value & 0xff);
}

bool ioapic_opens(const struct ioapic *io, unsigned offset, unsigned width, uint64_t value)
{
    unsigned index = io->index;
    if (offset != WINDOW || width != 4 || (value & ENTRY_MASKED) != 0)
        return false;
    bool low_half = index >= TABLE && index < TABLE_END && index % 2 == 0;
    return low_half && (io->masked >> (index - TABLE) / 2 & 1) != 0;
}

/* Of the pins those that are not masked. */
size_t ioapic_describe(const struct ioapic *io, char *text, size_t size)
{
    size_t used = format(text, size, "I/O APIC %u: index 0x%x, high pins 0x%x\n", io->id, io->index,
                         io->high);
    for (unsigned pin = 0; pin < IOAPIC_PINS; pin++)
        if ((io->masked >> pin & 1) == 0)
            used += format(text + used, size - used, "I/O APIC pin %u: entry %016lx\n", pin,
                           whole_entry(io, pin));
    return used;
}
