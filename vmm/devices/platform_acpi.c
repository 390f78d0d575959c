/* The ACPI tables of a guest (ACPI Specification; structures by the names of its sections). */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "drivers/firmware_format.h"
#include "lib/assert.h"
#include "lib/string.h"
#include "vmm/devices/ioapic.h"
#include "vmm/devices/lapic.h"
#include "vmm/devices/platform.h"
#include "vmm/devices/vpci_bus.h"

#define PACKED __attribute__((packed))

enum { RSDP_REVISION = 2 };

/* "Root System Description Table (RSDT)", "Extended System Description Table (XSDT)". */
enum { ROOT_TABLES = 3 };
struct rsdt {
    struct acpi_header header;
    uint32_t tables[ROOT_TABLES];
};
struct PACKED xsdt {
    struct acpi_header header;
    uint64_t tables[ROOT_TABLES];
};

/* "Firmware ACPI Control Structure (FACS)", which has no checksum. */
struct facs {
    char signature[4];
    uint32_t length, hardware_signature, waking_vector, global_lock, flags;
    uint64_t x_waking_vector;
    uint8_t version, reserved[31];
};
static_assert(sizeof(struct facs) == 64, "ACPI, Firmware ACPI Control Structure");
enum { FACS_VERSION = 2, FACS_ALIGNMENT = 64 };

static void fill_header(struct acpi_header *header, const char signature[4], unsigned revision)
{
    *header = (struct acpi_header){
        .revision = (uint8_t)revision,
        .oem_id = {'N', 'O', 'S', 'N', 'O', 'P'},
        .oem_table_id = {'N', 'O', 'S', 'N', 'O', 'O', 'P', ' '},
        .oem_revision = 1,
        .creator_id = {'N', 'S', 'N', 'P'},
        .creator_revision = 1,
    };
    memcpy(header->signature, signature, sizeof(header->signature));
}

static void finish(struct acpi_header *header, size_t length)
{
    header->length = (uint32_t)length;
    header->checksum = 0;
    header->checksum = platform_checksum(header, length);
}

/* --- the FADT -------------------------------------------------------------------------------- */

/* "Generic Address Structure". */
struct PACKED address {
    uint8_t space, bits, offset, access;
    uint64_t at;
};
enum { SPACE_IO = 1, ACCESS_BYTE = 1, ACCESS_WORD, ACCESS_DWORD };

/* "Fixed ACPI Description Table (FADT)", of its fourth revision. */
struct PACKED fadt {
    struct acpi_header header;
    uint32_t facs, dsdt;
    uint8_t reserved_0, profile;
    uint16_t sci;
    uint32_t smi_command;
    uint8_t smi_values[4];
    uint32_t pm1a_event, pm1b_event, pm1a_control, pm1b_control, pm2_control, pm_timer, gpe0, gpe1;
    uint8_t pm1_event_length, pm1_control_length, pm2_control_length, pm_timer_length;
    uint8_t gpe0_length, gpe1_length, gpe1_base, cst_control;
    uint16_t c2_latency, c3_latency, flush_size, flush_stride;
    uint8_t duty_offset, duty_width, day_alarm, month_alarm, century;
    uint16_t boot_flags;
    uint8_t reserved_1;
    uint32_t flags;
    struct address reset;
    uint8_t reset_value, reserved_2[3];
    uint64_t x_facs, x_dsdt;
    struct address x_pm1a_event, x_pm1b_event, x_pm1a_control, x_pm1b_control, x_pm2_control;
    struct address x_pm_timer, x_gpe0, x_gpe1;
};
static_assert(sizeof(struct fadt) == 244, "ACPI, Fixed ACPI Description Table");
enum { FADT_REVISION = 4 };

enum { PM1_EVENT_LENGTH = 4, PM1_CONTROL_LENGTH = 2, PM_TIMER_LENGTH = 4 };
enum { NO_C2 = 101, NO_C3 = 1001, CMOS_CENTURY = 0x32 };
enum { RESET_VALUE = 6 };

/* "IA-PC Boot Architecture Flags": no keyboard controller, no VGA. */
enum { BOOT_LEGACY_DEVICES = 1 << 0, BOOT_NO_VGA = 1 << 2 };

/*
 * "Fixed ACPI Description Table Fixed Feature Flags"; buttons are no fixed features, the PM timer
 * has 24 bits.
 */
enum {
    FLAG_WBINVD = 1 << 0,
    FLAG_C1 = 1 << 2,
    FLAG_NO_POWER_BUTTON = 1 << 4,
    FLAG_NO_SLEEP_BUTTON = 1 << 5,
    FLAG_NO_RTC_WAKE = 1 << 6,
    FLAG_RESET = 1 << 10,
};

static const struct fadt fadt_template = {
    .sci = IRQ_SCI,
    .pm1a_event = PORT_PM1_EVENT,
    .pm1a_control = PORT_PM1_CONTROL,
    .pm_timer = PORT_PM_TIMER,
    .pm1_event_length = PM1_EVENT_LENGTH,
    .pm1_control_length = PM1_CONTROL_LENGTH,
    .pm_timer_length = PM_TIMER_LENGTH,
    .c2_latency = NO_C2,
    .c3_latency = NO_C3,
    .century = CMOS_CENTURY,
    .boot_flags = BOOT_LEGACY_DEVICES | BOOT_NO_VGA,
    .flags = FLAG_WBINVD | FLAG_C1 | FLAG_NO_POWER_BUTTON | FLAG_NO_SLEEP_BUTTON |
             FLAG_NO_RTC_WAKE | FLAG_RESET,
    .reset = {SPACE_IO, 8, 0, ACCESS_BYTE, PORT_RESET},
    .reset_value = RESET_VALUE,
    .x_pm1a_event = {SPACE_IO, 8 * PM1_EVENT_LENGTH, 0, ACCESS_WORD, PORT_PM1_EVENT},
    .x_pm1a_control = {SPACE_IO, 8 * PM1_CONTROL_LENGTH, 0, ACCESS_WORD, PORT_PM1_CONTROL},
    .x_pm_timer = {SPACE_IO, 8 * PM_TIMER_LENGTH, 0, ACCESS_DWORD, PORT_PM_TIMER},
};

/* The name of the value that tells which COM ports there are, and a byte that follows. */
static const uint8_t coms[] = {'C', 'O', 'M', 'S', 0x0a};

static const struct acpi_header *add_dsdt(struct space *space, const struct platform *platform)
{
    uint8_t *dsdt = space_take(space, platform->dsdt_size, 4);
    size_t last = platform->dsdt_size - sizeof(coms), at = sizeof(struct acpi_header);
    memmove(dsdt, platform->dsdt, platform->dsdt_size);
    while (at < last && memcmp(dsdt + at, coms, sizeof(coms)) != 0)
        at++;
    assert(at < last);
    dsdt[at + sizeof(coms)] = (uint8_t)platform->coms;
    struct acpi_header *header = (struct acpi_header *)(void *)dsdt;
    finish(header, platform->dsdt_size);
    return header;
}

static const struct facs *add_facs(struct space *space)
{
    struct facs *facs = space_take(space, sizeof(*facs), FACS_ALIGNMENT);
    *facs = (struct facs){
        .signature = {'F', 'A', 'C', 'S'},
        .length = sizeof(*facs),
        .version = FACS_VERSION,
    };
    return facs;
}

/* Of the two addresses of the FACS only one may be given. */
static const struct acpi_header *add_fadt(struct space *space, const struct platform *platform)
{
    uint32_t dsdt = space_gpa(space, add_dsdt(space, platform));
    uint32_t facs = space_gpa(space, add_facs(space));
    struct fadt *fadt = space_take(space, sizeof(*fadt), 4);
    *fadt = fadt_template;
    fill_header(&fadt->header, "FACP", FADT_REVISION);
    fadt->facs = facs;
    fadt->dsdt = dsdt;
    fadt->x_dsdt = dsdt;
    finish(&fadt->header, sizeof(*fadt));
    return &fadt->header;
}

/* --- the MADT -------------------------------------------------------------------------------- */

/* "Multiple APIC Description Table (MADT)". */
struct madt {
    struct acpi_header header;
    uint32_t local_apic, flags;
};
static_assert(sizeof(struct madt) == 44, "ACPI, Multiple APIC Description Table");
enum { MADT_REVISION = 4, MADT_HAS_8259 = 1 };

enum {
    MADT_LOCAL_APIC = 0,
    MADT_IOAPIC = 1,
    MADT_OVERRIDE = 2,
    MADT_NMI = 4,
    MADT_LOCAL_X2APIC = 9,
    MADT_X2APIC_NMI = 10,
};
enum { CPU_ENABLED = 1, LINT1 = 1, LAST_LOCAL_APIC = 254 };

/* "Processor Local APIC Structure". */
struct local_apic {
    uint8_t type, length, uid, id;
    uint32_t flags;
};
static_assert(sizeof(struct local_apic) == 8, "ACPI, Processor Local APIC Structure");

/* "Processor Local x2APIC Structure". */
struct local_x2apic {
    uint8_t type, length;
    uint16_t reserved;
    uint32_t id, flags, uid;
};
static_assert(sizeof(struct local_x2apic) == 16, "ACPI, Processor Local x2APIC Structure");

/* "I/O APIC Structure". */
struct ioapic_entry {
    uint8_t type, length, id, reserved;
    uint32_t address, first_gsi;
};
static_assert(sizeof(struct ioapic_entry) == 12, "ACPI, I/O APIC Structure");

/* "Interrupt Source Override Structure". */
struct PACKED override {
    uint8_t type, length, bus, irq;
    uint32_t gsi;
    uint16_t flags;
};
static_assert(sizeof(struct override) == 10, "ACPI, Interrupt Source Override Structure");

/* "Local APIC NMI Structure", "Local x2APIC NMI Structure". */
struct PACKED nmi {
    uint8_t type, length, uid;
    uint16_t flags;
    uint8_t lint;
};
static_assert(sizeof(struct nmi) == 6, "ACPI, Local APIC NMI Structure");
struct PACKED x2apic_nmi {
    uint8_t type, length;
    uint16_t flags;
    uint32_t uid;
    uint8_t lint, reserved[3];
};
static_assert(sizeof(struct x2apic_nmi) == 12, "ACPI, Local x2APIC NMI Structure");

static void add(struct space *space, const void *entry, size_t n)
{
    memmove(space_take(space, n, 1), entry, n);
}

static void add_cpu(struct space *space, unsigned id)
{
    struct local_apic old = {MADT_LOCAL_APIC, sizeof(old), (uint8_t)id, (uint8_t)id, CPU_ENABLED};
    struct local_x2apic new = {MADT_LOCAL_X2APIC, sizeof(new), 0, id, CPU_ENABLED, id};
    if (id <= LAST_LOCAL_APIC)
        add(space, &old, sizeof(old));
    else
        add(space, &new, sizeof(new));
}

static const struct acpi_header *add_madt(struct space *space, const struct platform *platform)
{
    static const struct override overrides[] = {
        {MADT_OVERRIDE, sizeof(overrides[0]), 0, IRQ_PIT, PIN_PIT, INTI_AS_BUS},
        {MADT_OVERRIDE, sizeof(overrides[0]), 0, IRQ_SCI, IRQ_SCI, INTI_HIGH | INTI_LEVEL},
    };
    static const struct nmi nmi = {MADT_NMI, sizeof(nmi), 0xff, INTI_AS_BUS, LINT1};
    static const struct x2apic_nmi x2apic_nmi = {
        MADT_X2APIC_NMI, sizeof(x2apic_nmi), INTI_AS_BUS, UINT32_MAX, LINT1, {0}};
    struct ioapic_entry ioapic = {MADT_IOAPIC, sizeof(ioapic), (uint8_t)platform->ioapic_id,
                                  0,           IOAPIC_ADDRESS, 0};
    struct madt *madt = space_take(space, sizeof(*madt), 4);
    fill_header(&madt->header, "APIC", MADT_REVISION);
    madt->local_apic = LAPIC_ADDRESS;
    madt->flags = MADT_HAS_8259;
    for (unsigned id = 0; id < platform->cpus; id++)
        add_cpu(space, id);
    add(space, &ioapic, sizeof(ioapic));
    add(space, overrides, sizeof(overrides));
    add(space, &nmi, sizeof(nmi));
    if (platform->cpus > LAST_LOCAL_APIC + 1)
        add(space, &x2apic_nmi, sizeof(x2apic_nmi));
    finish(&madt->header, (size_t)(space->bytes + space->used - (uint8_t *)madt));
    return &madt->header;
}

/* --- the MCFG -------------------------------------------------------------------------------- */

/* PCI Firmware Specification, "MCFG Table Description", with the space of bus 0 alone. */
struct PACKED mcfg {
    struct acpi_header header;
    uint64_t reserved_0, base;
    uint16_t segment;
    uint8_t first_bus, last_bus;
    uint32_t reserved_1;
};
static_assert(sizeof(struct mcfg) == 60, "PCI Firmware, MCFG Table Description");

static const struct acpi_header *add_mcfg(struct space *space)
{
    struct mcfg *mcfg = space_take(space, sizeof(*mcfg), 4);
    fill_header(&mcfg->header, "MCFG", 1);
    mcfg->base = VPCI_ECAM_START;
    finish(&mcfg->header, sizeof(*mcfg));
    return &mcfg->header;
}

/* --- the roots ------------------------------------------------------------------------------- */

void platform_acpi(struct space *space, const struct platform *platform)
{
    struct acpi_rsdp *rsdp = space_take(space, sizeof(*rsdp), 16);
    struct rsdt *rsdt = space_take(space, sizeof(*rsdt), 4);
    struct xsdt *xsdt = space_take(space, sizeof(*xsdt), 4);
    rsdt->tables[0] = space_gpa(space, add_fadt(space, platform));
    rsdt->tables[1] = space_gpa(space, add_madt(space, platform));
    rsdt->tables[2] = space_gpa(space, add_mcfg(space));
    fill_header(&rsdt->header, "RSDT", 1);
    fill_header(&xsdt->header, "XSDT", 1);
    for (unsigned i = 0; i < ROOT_TABLES; i++)
        xsdt->tables[i] = rsdt->tables[i];
    finish(&rsdt->header, sizeof(*rsdt));
    finish(&xsdt->header, sizeof(*xsdt));
    *rsdp = (struct acpi_rsdp){
        .signature = {'R', 'S', 'D', ' ', 'P', 'T', 'R', ' '},
        .oem_id = {'N', 'O', 'S', 'N', 'O', 'P'},
        .revision = RSDP_REVISION,
        .rsdt = space_gpa(space, rsdt),
        .length = sizeof(*rsdp),
        .xsdt = space_gpa(space, xsdt),
    };
    rsdp->checksum = platform_checksum(rsdp, ACPI_RSDP_OLD_SIZE);
    rsdp->extended_checksum = platform_checksum(rsdp, sizeof(*rsdp));
}
