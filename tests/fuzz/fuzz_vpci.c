/*
 * A passed-through function with any registers, used by any guest: which capabilities are shown is
 * computed a second time, what its owner is told is what the guest sees, and the real function gets
 * what it may.
 *
 * Input: two bytes of setup (of the second bits 0 to 5 say which BARs there are, 6 that a scan has
 * found no capability); registers of the real function: how many, and 3 bytes each (which, and
 * two of value); operations of 6 bytes (what, where, value).
 */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/fuzz/fuzz.h"
#include "tests/unit/vpci_fake.h"
#include "vmm/devices/vpci_bus.h"

enum { ENTRIES = 64, FIRST = 0x40, END = 0x100, BARS_UNKNOWN = 0x40 };
enum { SETUP_ALLOWS = 1, SETUP_INTX = 2, SETUP_SNOOPS = 4, SETUP_RESETS = 8, SETUP_WILD = 16 };

static struct fake fake, twin_fake; /* functions 0 and 1 of a device, at first alike */
static struct vpci vpci, twin;
static struct vpci_bus bus;

struct input {
    const uint8_t *data;
    size_t left;
};

static uint8_t take(struct input *in)
{
    if (in->left == 0)
        return 0;
    in->left--;
    return *in->data++;
}

static uint32_t take32(struct input *in)
{
    uint32_t value = 0;
    for (unsigned i = 0; i < 4; i++)
        value |= (uint32_t)take(in) << 8 * i;
    return value;
}

/* --- what is to be shown ---------------------------------------------------------------------- */

static bool in_bar(unsigned at, uint32_t size)
{
    uint32_t where = fake_get(&fake, at, 4);
    const struct pci_bar *bar = where % 8 < 6 ? &fake.real.bar[where % 8] : NULL;
    return bar != NULL && bar->kind == PCI_BAR_MEMORY &&
           where / 8 * 8 + (uint64_t)size <= bar->size;
}

/* Bytes that the capability at AT must have for itself; 0: it is not shown. */
static unsigned least(unsigned at, unsigned vectors)
{
    uint32_t header = fake_get(&fake, at, 4);
    unsigned entries = (header >> 16 & 0x7ff) + 1;
    switch (header & 0xff) {
    case 0x01:
        return 8;
    case 0x05:
        return vectors == 0 ? 0 : 10 + (header >> 23 & 1) * 4 + (header >> 24 & 1) * 10;
    case 0x09:
        return 4;
    case 0x10:
        return 12;
    case 0x11:
        if (at + 12 > END || entries > ENTRIES || !in_bar(at + 4, 16 * entries))
            return 0;
        return in_bar(at + 8, (entries + 63) / 64 * 8) ? 12 : 0;
    case 0x13:
        return 6;
    default:
        return 0;
    }
}

static unsigned room(const bool *heads, unsigned at)
{
    unsigned end = at + 4;
    while (end < END && !heads[end])
        end += 4;
    return end - at;
}

/* A scan has found it. */
static void find(uint8_t id, uint8_t at)
{
    if (id == 0x05)
        fake.real.msi = at;
    else if (id == 0x11)
        fake.real.msix = at;
    else
        fake.pcie = fake.real.pcie = at;
}

/* The list as the guest is to find it; returns how many. */
static unsigned expect_list(uint8_t *list, unsigned vectors, bool known)
{
    static bool heads[END], had[256];
    memset(heads, false, sizeof(heads));
    memset(had, false, sizeof(had));
    unsigned count = 0;
    uint8_t at = fake.config[0x34] & 0xfc, all[48], n = 0;
    if ((fake.config[6] & 0x10) == 0)
        return 0;
    for (; at >= FIRST && !heads[at]; at = fake.config[at + 1] & 0xfc) {
        heads[at] = true;
        all[n++] = at;
    }
    for (unsigned i = 0; i < n; i++) {
        uint8_t id = fake.config[all[i]];
        unsigned bytes = least(all[i], vectors);
        if (bytes == 0 || room(heads, all[i]) < bytes || (had[id] && id != 0x09))
            continue;
        if (id == 0x05 || id == 0x10 || id == 0x11) {
            if (!known)
                continue;
            find(id, all[i]);
        }
        had[id] = true;
        list[count++] = all[i];
    }
    return count;
}

static void check_list(const uint8_t *list, unsigned count)
{
    require((vpci_read(&vpci, 4) >> 20 & 1) == (count != 0));
    unsigned at = vpci_read(&vpci, 0x34);
    for (unsigned i = 0; i < count; i++) {
        require(at == list[i] && (vpci_read(&vpci, at) & 0xff) == fake.config[at]);
        at = vpci_read(&vpci, at) >> 8 & 0xff;
    }
    require(at == 0);
}

/* --- a function, and its guest ---------------------------------------------------------------- */

/* As a scan finds them: sizes are powers of two, the last one is not wide. */
static void set_bars(uint8_t kinds)
{
    static const struct pci_bar kind[] = {
        {.kind = PCI_BAR_NONE},
        {.kind = PCI_BAR_IO, .size = 0x40, .address = 0xc000},
        {.kind = PCI_BAR_MEMORY, .size = 0x1000, .address = 0xfe000000},
        {.kind = PCI_BAR_MEMORY, .size = 0x200000000, .address = 0x800000000, .wide = true},
    };
    for (unsigned i = 0; i < PCI_BARS; i += 2)
        fake.real.bar[i] = kind[kinds >> i & 3];
}

static void create_one(struct vpci *v, struct fake *f, uint8_t setup, unsigned vectors)
{
    vpci_create(v, &(struct vpci_setup){
                       .real = &f->real,
                       .ops = &fake_ops,
                       .context = f,
                       .entries = f->entries,
                       .entry_count = ENTRIES,
                       .vectors = vectors,
                       .intx = (setup & SETUP_INTX) != 0,
                       .snoops = (setup & SETUP_SNOOPS) != 0,
                       .resets = (setup & SETUP_RESETS) != 0,
                   });
}

static void create(struct input *in)
{
    uint8_t setup = take(in), list[48];
    memset(&fake, 0, sizeof(fake));
    fake.allows = (setup & SETUP_ALLOWS) != 0;
    uint8_t bars = take(in);
    set_bars(bars);
    fake.config[6] = 0x10;
    for (unsigned n = take(in) % 64; n > 0; n--) {
        uint8_t reg = take(in) & 0xfe;
        fake.config[reg] = take(in);
        fake.config[reg + 1] = take(in);
    }
    unsigned vectors = (1u << (setup >> 5)) / 2 % 64;
    unsigned count = expect_list(list, vectors, (bars & BARS_UNKNOWN) == 0);
    memcpy(fake.at_reset, fake.config, sizeof(fake.config));
    twin_fake = fake;
    twin_fake.real.bdf.function = 1;
    create_one(&vpci, &fake, setup, vectors);
    create_one(&twin, &twin_fake, setup, vectors);
    check_list(list, count);
    struct vpci *all[] = {&vpci, &twin};
    bus = (struct vpci_bus){0};
    vpci_bus_fill(&bus, all, 2);
    require(twin.at == vpci.at + 1 && (vpci_read(&vpci, 0x0c) >> 23 & 1) == 1);
}

static void use_table(uint8_t what, uint8_t where, uint32_t value)
{
    unsigned width = 1u << (what >> 2 & 3), bar = vpci.table.bar;
    uint64_t seen, at = vpci.table.offset + (uint64_t)where * 4 + (what >> 4 & 3) - 4;
    if (vpci_read_table(&vpci, bar, at, width, &seen))
        require(width == 8 || seen >> 8 * width == 0);
    (void)vpci_write_table(&vpci, bar, at, width, value | (uint64_t)value << 32);
}

static void use_ports(uint8_t what, uint8_t where, uint32_t value)
{
    unsigned width = 1u << (what >> 2 & 3) % 3, port = 0xcf8 + (what >> 4) % 8;
    uint32_t seen;
    vpci_bus_out(&bus, 0xcf8, 4, 1u << 31 | (uint32_t)vpci.at << 8 | (where & 0xfc));
    vpci_bus_out(&bus, port, width, value);
    (void)vpci_bus_in(&bus, port, width, &seen);
}

/* The first function, mostly; the other one; the host bridge; what is not there. */
static unsigned place(uint8_t what)
{
    const unsigned places[] = {vpci.at, twin.at, 0, twin.at + 1u};
    return places[what >> 4 & 3];
}

static void describe(void)
{
    char text[512];
    size_t used = vpci_bus_describe(&bus, text, sizeof(text));
    require(used < sizeof(text) && strlen(text) == used);
}

/* A device that is wild changes anything of its own at any time. */
static void operate(struct input *in, bool wild)
{
    uint8_t what = take(in), where = take(in);
    uint32_t value = take32(in), at = (uint32_t)place(what) << 12 | where;
    switch (what & 3) {
    case 0:
        vpci_bus_write(&bus, at, 1u << (what >> 2 & 3), value | (uint64_t)value << 32);
        break;
    case 1:
        use_ports(what, where, value);
        break;
    case 2:
        use_table(what, where, value);
        break;
    default:
        if (wild && where / 4 != 1)
            fake_put(&fake, where & 0xfc, 4, value);
        else
            vpci_bus_reset(&bus);
        break;
    }
    (void)vpci_bus_read(&bus, at, 1u << (what >> 2 & 3));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input in = {data, size};
    bool wild = size > 0 && (data[0] & SETUP_WILD) != 0;
    create(&in);
    fake_check(&vpci, &fake);
    while (in.left > 0) {
        operate(&in, wild);
        if (!wild)
            fake_check(&vpci, &fake);
        fake_check(&twin, &twin_fake);
    }
    describe();
    return 0;
}
