/*
 * What firmware tells: the MP table and ACPI, found the usual way, checked, and used: their CPUs
 * come, the PIT interrupts where each of them says, the PM timer has its rate and SCI its event;
 * and fw_cfg.
 *
 * row: platform end=0 timeout=60 control-timeout=30
 * row: platform.4 end=0 cpus=4 timeout=60 control-timeout=30
 * row: platform.sci end=0 cmdline="only=sci"
 */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "guest-tests/runtime/apic.h"
#include "guest-tests/runtime/firmware.h"
#include "guest-tests/runtime/isa.h"
#include "guest-tests/runtime/ktap.h"
#include "guest-tests/runtime/machine.h"
#include "guest-tests/runtime/smp.h"

enum { ROUND = 65536, PM_HZ = 3579545 };
enum { FW_CFG = 0x510, KEY_SIGNATURE = 0, KEY_ID = 1, KEY_RAM = 3, KEY_CPUS = 5 };

#define LAPIC_PAGE  0xfee00000u
#define IOAPIC_PAGE 0xfec00000u

/* --- the MP table ----------------------------------------------------------------------------- */

struct found {
    unsigned cpus, boot_cpus, ioapics, pit_pin, sci_pin, nmis, extints;
    uint64_t ioapic, lapic;
    uint32_t cpu_ids; /* a bit an APIC ID */
    unsigned wrong;
};

static bool is_isa(uint64_t bus, uint64_t table)
{
    uint64_t at = table + 44;
    for (unsigned left = (unsigned)firmware_number(table + 34, 2); left != 0; left--) {
        if (firmware_number(at, 1) == 1 && firmware_number(at + 1, 1) == bus)
            return firmware_has(at + 2, "ISA");
        at += firmware_number(at, 1) == 0 ? 20 : 8;
    }
    return false;
}

static void mp_entry(uint64_t at, uint64_t table, struct found *f)
{
    switch (firmware_number(at, 1)) {
    case 0:
        f->cpus += (firmware_number(at + 3, 1) & 1) != 0;
        f->boot_cpus += (firmware_number(at + 3, 1) & 2) != 0;
        f->cpu_ids |= 1u << firmware_number(at + 1, 1) % 32;
        break;
    case 2:
        f->ioapics++;
        f->ioapic = firmware_number(at + 4, 4);
        break;
    case 3:
        if (firmware_number(at + 1, 1) == 0 && firmware_number(at + 5, 1) == 0 &&
            is_isa(firmware_number(at + 4, 1), table))
            f->pit_pin = (unsigned)firmware_number(at + 7, 1);
        break;
    case 4:
        f->extints += firmware_number(at + 1, 1) == 3;
        f->nmis += firmware_number(at + 1, 1) == 1;
        break;
    case 1:
        break;
    default:
        f->wrong++;
        break;
    }
}

static struct found mp_read(void)
{
    struct found f = {.pit_pin = 99};
    uint64_t table = mp_table();
    if (table == 0)
        return f;
    f.lapic = firmware_number(table + 36, 4);
    uint64_t at = table + 44, end = table + firmware_number(table + 4, 2);
    for (unsigned left = (unsigned)firmware_number(table + 34, 2); left != 0; left--) {
        mp_entry(at, table, &f);
        at += firmware_number(at, 1) == 0 ? 20 : 8;
    }
    f.wrong += at != end || !firmware_has(table, "PCMP") || firmware_sum(table, end - table) != 0;
    return f;
}

static void expect_machine(const struct found *f)
{
    uint32_t all = (uint32_t)((1ull << smp_count()) - 1);
    expect(f->wrong == 0, "%u wrong", f->wrong);
    expect(f->cpus == smp_count() && f->cpu_ids == all, "%u CPUs, APIC IDs %x", f->cpus,
           f->cpu_ids);
    expect(f->ioapics == 1 && f->ioapic == IOAPIC_PAGE, "%u I/O APICs, at %lx", f->ioapics,
           f->ioapic);
    expect(f->lapic == LAPIC_PAGE, "local APICs at %lx", f->lapic);
}

static const char *needs_mp(void)
{
    return machine.nosnoop || mp_pointer() != 0 ? NULL : "emulator: no MP table";
}

static const char *needs_mp_cpus(void)
{
    if (needs_mp() != NULL)
        return needs_mp();
    return machine.nosnoop || mp_read().cpus == smp_count()
               ? NULL
               : "emulator: firmware lists one CPU of each package";
}

static void mp_describes(void)
{
    if (!expect(mp_pointer() != 0, "no floating pointer"))
        return;
    struct found f = mp_read();
    expect_machine(&f);
    expect(f.boot_cpus == 1, "%u boot CPUs", f.boot_cpus);
    expect(firmware_number(mp_pointer() + 12, 1) >> 7 == 0, "no virtual wire mode");
    if (machine.nosnoop)
        expect(f.nmis != 0 && f.extints != 0, "NMIs %u, ExtINTs %u", f.nmis, f.extints);
}

/* The PIT comes where its entry says. */
static void expect_pit(unsigned pin)
{
    isa_clear();
    isa_close(IRQ_PIT);
    if (!expect(pin < IOAPIC_PINS, "no entry for the PIT"))
        return;
    isa_open(IRQ_PIT, BY_IOAPIC, false);
    pin_set(pin_of(IRQ_PIT), PIN_MASKED);
    isa_clear();
    pin_set(pin, VECTOR_PIN + IRQ_PIT);
    pit_start(2, 5000);
    bool comes = isa_wait(IRQ_PIT, 10);
    pin_set(pin, PIN_MASKED);
    isa_close(IRQ_PIT);
    expect(comes && isa_odd == 0, "pin %u: taken %u times, %u others", pin, isa_taken[IRQ_PIT],
           isa_odd);
}

static const char *needs_mp_pit(void)
{
    if (needs_mp() != NULL)
        return needs_mp();
    return machine.nosnoop || mp_read().pit_pin < IOAPIC_PINS ? NULL
                                                              : "emulator: no entry for the PIT";
}

static void mp_pit(void)
{
    expect_pit(mp_read().pit_pin);
}

/* --- ACPI ------------------------------------------------------------------------------------- */

static bool has_xsdt(void)
{
    return acpi_rsdp() != 0 && firmware_number(acpi_rsdp() + 15, 1) >= 2;
}

static void expect_table(const char *name, uint64_t table)
{
    if (expect(table != 0, "no %s", name))
        expect(firmware_sum(table, firmware_number(table + 4, 4)) == 0, "%s: wrong sum", name);
}

static void roots(bool by_xsdt)
{
    uint64_t root =
        by_xsdt ? firmware_number(acpi_rsdp() + 24, 8) : firmware_number(acpi_rsdp() + 16, 4);
    expect(firmware_has(root, by_xsdt ? "XSDT" : "RSDT"), "no root at %lx", root);
    expect(firmware_sum(root, firmware_number(root + 4, 4)) == 0, "wrong sum of the root");
    uint64_t fadt = acpi_table("FACP", by_xsdt);
    expect_table("FACP", fadt);
    expect_table("APIC", acpi_table("APIC", by_xsdt));
    if (fadt != 0) {
        uint64_t dsdt = firmware_number(fadt + 40, 4);
        expect(firmware_has(dsdt, "DSDT"), "no DSDT at %lx", dsdt);
        expect_table("DSDT", dsdt);
        expect(firmware_has(firmware_number(fadt + 36, 4), "FACS"), "no FACS");
    }
}

static void acpi(void)
{
    if (expect(acpi_rsdp() != 0, "no RSDP"))
        roots(false);
}

static const char *needs_xsdt(void)
{
    return machine.nosnoop || has_xsdt() ? NULL : "emulator: ACPI 1.0";
}

static void acpi_2(void)
{
    if (!expect(has_xsdt(), "no XSDT"))
        return;
    expect(firmware_sum(acpi_rsdp(), firmware_number(acpi_rsdp() + 20, 4)) == 0,
           "wrong extended sum");
    roots(true);
    uint64_t fadt = acpi_table("FACP", true);
    if (fadt != 0)
        expect(firmware_number(fadt + 140, 8) == firmware_number(fadt + 40, 4), "two DSDTs");
}

static void madt_entry(uint64_t at, struct found *f)
{
    switch (firmware_number(at, 1)) {
    case 0:
        if ((firmware_number(at + 4, 4) & 1) == 0)
            break;
        f->cpus++;
        f->cpu_ids |= 1u << firmware_number(at + 3, 1) % 32;
        break;
    case 1:
        f->ioapics++;
        f->ioapic = firmware_number(at + 4, 4);
        break;
    case 2:
        if (firmware_number(at + 3, 1) == 0)
            f->pit_pin = (unsigned)firmware_number(at + 4, 4);
        break;
    case 4:
        f->nmis++;
        break;
    default:
        break;
    }
}

static struct found madt_read(void)
{
    struct found f = {0};
    uint64_t madt = acpi_table("APIC", false);
    if (madt == 0)
        return f;
    f.lapic = firmware_number(madt + 36, 4);
    uint64_t at = madt + 44, end = madt + firmware_number(madt + 4, 4);
    while (at < end && firmware_number(at + 1, 1) >= 2) {
        madt_entry(at, &f);
        at += firmware_number(at + 1, 1);
    }
    f.wrong = at != end;
    return f;
}

static void madt(void)
{
    struct found f = madt_read();
    expect_machine(&f);
    expect((firmware_number(acpi_table("APIC", false) + 40, 4) & 1) == 1, "no 8259s");
    if (machine.nosnoop)
        expect(f.nmis != 0, "NMIs %u", f.nmis);
}

static void madt_pit(void)
{
    expect_pit(madt_read().pit_pin);
}

/* --- ACPI's hardware -------------------------------------------------------------------------- */

static uint16_t pm_timer, pm_event, pm_bits;

static const char *needs_pm(void)
{
    uint64_t fadt = acpi_table("FACP", false);
    if (fadt == 0)
        return machine.nosnoop ? NULL : "emulator: no FADT";
    pm_timer = (uint16_t)firmware_number(fadt + 76, 4);
    pm_event = (uint16_t)firmware_number(fadt + 56, 4);
    pm_bits = (firmware_number(fadt + 112, 4) >> 8 & 1) != 0 ? 32 : 24;
    return NULL;
}

static unsigned pit_count(void)
{
    out8(0x43, 0);
    unsigned low = in8(0x40);
    return low | (unsigned)in8(0x40) << 8;
}

/*
 * A stretch of the PIT's cycles and the PM timer's. A machine that was held up has lost whole
 * rounds of the PIT, or has another go.
 */
static bool pm_agrees(uint64_t *cycles, uint64_t *ticks)
{
    uint32_t mask = pm_bits == 32 ? UINT32_MAX : 0xffffff;
    pit_start(2, 0);
    unsigned last = pit_count();
    uint32_t first = in32(pm_timer) & mask;
    *cycles = 0;
    while (*cycles < PIT_HZ / 2) {
        unsigned now = pit_count();
        *cycles += (last - now) & 0xffff;
        last = now;
    }
    *ticks = (in32(pm_timer) - first) & mask;
    uint64_t told = *ticks * PIT_HZ / PM_HZ, least = told / 1000;
    return told + least >= *cycles && (told + least - *cycles) % ROUND <= 2 * least;
}

static void pm_rate(void)
{
    enum { TRIES = 5 };
    uint64_t cycles = 0, ticks = 0;
    bool same = false;
    for (unsigned i = 0; i < TRIES && !same; i++)
        same = pm_agrees(&cycles, &ticks);
    expect(same, "%lu ticks in %lu cycles of the PIT", ticks, cycles);
}

static const char *needs_acpi_mode(void)
{
    return machine.nosnoop ? needs_pm() : "emulator: firmware left it in legacy mode";
}

/* With nothing enabled, SCI is quiet. */
static void sci(void)
{
    isa_clear();
    out8(pm_event, 1); /* TMR_STS is cleared by a one */
    out8(pm_event + 2, 0);
    bool cleared = (in8(pm_event) & 1) == 0;
    isa_open(IRQ_SCI, BY_IOAPIC, true);
    isa_let_in();
    isa_close(IRQ_SCI);
    uint64_t fadt = acpi_table("FACP", false);
    expect(firmware_number(fadt + 46, 2) == IRQ_SCI, "SCI is IRQ %lu",
           firmware_number(fadt + 46, 2));
    expect((in8((uint16_t)firmware_number(fadt + 64, 4)) & 1) == 1, "not in ACPI mode");
    expect(cleared, "TMR_STS is not cleared");
    expect(isa_taken[IRQ_SCI] == 0, "taken %u times", isa_taken[IRQ_SCI]);
}

/* The level stays for some interrupts. */
enum { EVENT_TIMES = 3 };

static void clear_at_last(unsigned irq)
{
    if (irq == IRQ_SCI && isa_taken[IRQ_SCI] >= EVENT_TIMES)
        out8(pm_event, 1);
}

/* With TMR_EN at each change of the timer's top bit: of 24 bits 2.34 seconds apart at most. */
static void event(enum way way)
{
    uint32_t half = 1u << (pm_bits - 1), before;
    isa_clear();
    isa_hook = clear_at_last;
    isa_open(IRQ_SCI, way, true);
    do {
        before = in32(pm_timer);
        out8(pm_event, 1);
    } while (((in32(pm_timer) ^ before) & half) != 0);
    out8(pm_event + 2, 1);
    while (isa_taken[IRQ_SCI] < EVENT_TIMES)
        __asm__ volatile("sti\n\thlt\n\tcli" : : : "memory");
    uint32_t after = in32(pm_timer);
    isa_let_in();
    out8(pm_event + 2, 0);
    isa_close(IRQ_SCI);
    expect(pm_bits == 24 && ((before ^ after) & half) != 0, "%u bits, from %x to %x", pm_bits,
           before, after);
    expect(isa_taken[IRQ_SCI] == EVENT_TIMES, "taken %u times", isa_taken[IRQ_SCI]);
    expect(isa_odd == 0 && isa_spurious == 0, "%u others, %u spurious", isa_odd, isa_spurious);
    expect((in8(pm_event) & 1) == 0, "TMR_STS is not cleared");
}

static void event_by_ioapic(void)
{
    event(BY_IOAPIC);
}

static void event_by_pic(void)
{
    event(BY_PIC);
}

/* --- fw_cfg ----------------------------------------------------------------------------------- */

static uint64_t fw_number(uint16_t key, unsigned bytes)
{
    uint64_t value = 0;
    out16(FW_CFG, key);
    for (unsigned i = 0; i < bytes; i++)
        value |= (uint64_t)in8(FW_CFG + 1) << 8 * i;
    return value;
}

static const char *needs_fw_cfg(void)
{
    return machine.nosnoop || fw_number(KEY_SIGNATURE, 4) == 0x554d4551 ? NULL
                                                                        : "emulator: no fw_cfg";
}

static void fw_cfg(void)
{
    uint64_t ram = fw_number(KEY_RAM, 8);
    expect(fw_number(KEY_SIGNATURE, 4) == 0x554d4551, "signature %lx", fw_number(KEY_SIGNATURE, 4));
    expect((fw_number(KEY_ID, 4) & 1) == 1, "ID %lx", fw_number(KEY_ID, 4));
    expect(fw_number(KEY_CPUS, 2) == smp_count(), "%lu CPUs", fw_number(KEY_CPUS, 2));
    uint64_t last = 0;
    for (unsigned i = 0; i < machine.ram_count; i++)
        last = machine.ram[i].end > last ? machine.ram[i].end : last;
    expect(ram >= last && ram - last < 1 << 20, "%lu bytes; memory ends at %lx", ram, last);
}

static const char *needs_mcfg(void)
{
    return machine.nosnoop || (has_xsdt() && acpi_table("MCFG", true) != 0) ? NULL
                                                                            : "emulator: no MCFG";
}

/* The first allocation has the host bridge. */
static void mcfg(void)
{
    uint64_t table = acpi_table("MCFG", true), class;
    expect_table("MCFG", table);
    if (table == 0)
        return;
    class = firmware_number(firmware_number(table + 44, 8) + 8, 4) >> 16;
    expect(firmware_number(table + 52, 3) == 0, "segment and first bus %lx",
           firmware_number(table + 52, 3));
    expect(class == 0x0600, "class %lx", class);
}

static const struct test_case cases[] = {
    {"MP table", needs_mp_cpus, mp_describes},
    {"PIT by the MP table", needs_mp_pit, mp_pit},
    {"ACPI by the RSDT", NULL, acpi},
    {"ACPI by the XSDT", needs_xsdt, acpi_2},
    {"MADT", NULL, madt},
    {"PIT by the MADT", NULL, madt_pit},
    {"MCFG", needs_mcfg, mcfg},
    {"PM timer's rate", needs_pm, pm_rate},
    {"ACPI mode", needs_acpi_mode, sci},
    {"fw_cfg", needs_fw_cfg, fw_cfg},
};

static const struct test_case only_sci[] = {
    {"SCI by the I/O APIC", needs_acpi_mode, event_by_ioapic},
    {"SCI by the 8259s", needs_acpi_mode, event_by_pic},
};

void test_main(void)
{
    isa_init();
    smp_start();
    if (cmdline_has("only", "sci"))
        ktap_all(only_sci, ARRAY_SIZE(only_sci));
    ktap_all(cases, ARRAY_SIZE(cases));
}
