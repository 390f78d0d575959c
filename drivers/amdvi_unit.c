/* One AMD-Vi unit: turned on, told to forget, and asked for events. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "drivers/amdvi.h"
#include "lib/errno.h"
#include "lib/log.h"

/* AMD IOMMU, "IOMMU Control Register". */
#define CONTROL_IOMMU_EN     (1ull << 0)
#define CONTROL_HT_TUN_EN    (1ull << 1)
#define CONTROL_EVENT_LOG_EN (1ull << 2)
#define CONTROL_EVENT_INT_EN (1ull << 3)
#define CONTROL_PASS_PW      (1ull << 8)
#define CONTROL_RES_PASS_PW  (1ull << 9)
#define CONTROL_COHERENT     (1ull << 10)
#define CONTROL_ISOC         (1ull << 11)
#define CONTROL_CMD_BUF_EN   (1ull << 12)
#define CONTROL_GA_EN        (1ull << 17)
#define CONTROL_SMI_F_EN     (1ull << 22)
#define CONTROL_SMI_F_LOG_EN (1ull << 24)
#define CONTROL_XT_EN        (1ull << 50)
#define CONTROL_LOGS         0x3000f01cull /* and buffers, and what they interrupt for */

/* "SMI Filter Register": a device ID, and what of it counts. */
enum { MOST_FILTERS = 16, FILTER_SIZE = 8 };
#define FILTER_VALID  (1ull << 16)
#define FILTER_LOCKED (1ull << 17)

/* "IVHD Flags": what of these firmware wants. */
enum { FLAG_HT_TUN_EN = 1, FLAG_PASS_PW = 2, FLAG_RES_PASS_PW = 4, FLAG_ISOC = 8 };

/* "IOMMU Status Register": bits that a 1 clears, and those of logs and the buffer that run. */
#define STATUS_EVENT_OVERFLOW (1ull << 0)
#define STATUS_EVENT_LOG_INT  (1ull << 1)
#define STATUS_EVENT_LOG_RUN  (1ull << 3)
#define STATUS_CMD_BUF_RUN    (1ull << 4)
#define STATUS_CLEAR          0x667ull
#define STATUS_RUN            0x198ull

/* "Command Buffer Base Address Register", "Event Log Base Address Register". */
enum { ENTRIES = 256, ENTRY_SIZE = 16 };
#define BASE_LENGTH (8ull << 56)
static_assert(1 << (BASE_LENGTH >> 56) == ENTRIES && ENTRIES * ENTRY_SIZE == PAGE_SIZE, "a page");

/* "Commands": the first word. */
#define COMMAND_WAIT(hpa)          (1ull << 60 | (hpa) | 1) /* stores the second word */
#define COMMAND_DEVICE(device)     (2ull << 60 | (device))
#define COMMAND_PAGES(id)          (3ull << 60 | (uint64_t)(id) << 32)
#define COMMAND_ALL_PAGES          0x7ffffffffffff003ull /* its second word: S, PDE */
#define COMMAND_INTERRUPTS(device) (5ull << 60 | (device))
#define COMMAND_ALL                (8ull << 60)

/* "Event Log": entries. */
enum event { EVENT_ILLEGAL_ENTRY = 1, EVENT_PAGE_FAULT = 2, EVENT_INVALID_REQUEST = 8 };
#define EVENT_I(low)  (((low) >> 51 & 1) != 0) /* of an interrupt */
#define EVENT_RW(low) (((low) >> 53 & 1) != 0) /* a write */

/* "IOMMU Capability Block". */
enum { CAPABILITY_ID = 0x0f };
#define CAPABILITY_EFR_SUP (1u << 27)

/* PCI Local Bus Specification, "Message Signaled Interrupts". */
enum { PCI_CAPABILITY_MSI = 5, MOST_CAPABILITIES = 48 };
#define MSI_ENABLE   (1u << 16)
#define MSI_MULTIPLE (7u << 20)
#define MSI_64       (1u << 23)

/* Looks at memory or a register until the unit is taken for stuck. */
enum { PATIENCE = 1000000, PATIENCE_FOR_EVENT = 1000 };

/* Times that an event is looked for in vain until the next one is taken. */
enum { LATE_LOOKS = 5 };

/* Events that are logged of one unit at a time. */
enum { EVENT_LINES = 4 };

/* --- registers -------------------------------------------------------------------------------- */

static uint64_t read64(const struct amdvi_unit *u, unsigned reg)
{
    return u->machine->read(u->registers + reg, 8);
}

static void write64(const struct amdvi_unit *u, unsigned reg, uint64_t value)
{
    u->machine->write(u->registers + reg, 8, value);
}

/* A wait has been too long. */
static bool late(const struct amdvi_unit *u, const char *what)
{
    log_line("iommu %u: %s: it has not come in time", u->number, what);
    if (u->on)
        u->machine->stop("an IOMMU does not answer: what it did not do stands above");
    return false;
}

static bool wait_for_status(const struct amdvi_unit *u, uint64_t mask, uint64_t want)
{
    for (unsigned i = 0; i < PATIENCE; i++) {
        if ((read64(u, AMDVI_STATUS) & mask) == want)
            return true;
        __builtin_ia32_pause();
    }
    return late(u, "the status register, when logs are turned on or off");
}

/* --- commands --------------------------------------------------------------------------------- */

static void put(struct amdvi_unit *u, uint64_t low, uint64_t high)
{
    u->commands[2 * u->tail] = low;
    u->commands[2 * u->tail + 1] = high;
    u->tail = (u->tail + 1) % ENTRIES;
}

/* "COMPLETION_WAIT": until all commands before it are done; there are fewer than ENTRIES. */
static bool finish(struct amdvi_unit *u)
{
    put(u, COMMAND_WAIT(u->status_hpa.v), ++u->ticket);
    write64(u, AMDVI_COMMAND_TAIL, (uint64_t)u->tail * ENTRY_SIZE);
    for (unsigned i = 0; i < PATIENCE; i++) {
        if (*u->status == u->ticket)
            return true;
        if ((read64(u, AMDVI_STATUS) & STATUS_CMD_BUF_RUN) != 0)
            continue;
        (void)amdvi_unit_faults(u);
        return late(u, "what follows an error in the command buffer");
    }
    return late(u, "what COMPLETION_WAIT writes");
}

void amdvi_forget_device(struct amdvi_unit *u, uint16_t device, uint16_t id)
{
    lock_take(&u->lock);
    put(u, COMMAND_DEVICE(device), 0);
    put(u, COMMAND_PAGES(id), COMMAND_ALL_PAGES);
    finish(u);
    lock_release(&u->lock);
}

void amdvi_forget_domain(struct amdvi_unit *u, uint16_t id)
{
    lock_take(&u->lock);
    put(u, COMMAND_PAGES(id), COMMAND_ALL_PAGES);
    finish(u);
    lock_release(&u->lock);
}

void amdvi_forget_interrupts(struct amdvi_unit *u, uint16_t device)
{
    lock_take(&u->lock);
    put(u, COMMAND_INTERRUPTS(device), 0);
    finish(u);
    lock_release(&u->lock);
}

/*
 * What a system before has left cached: device entries and interrupts, if need be one by one. A
 * domain's translations are forgotten when a device is attached to it.
 */
static bool forget_all(struct amdvi_unit *u)
{
    enum { AT_ONCE = 64 };
    if ((u->features & AMDVI_FEATURE_IA) != 0) {
        put(u, COMMAND_ALL, 0);
        return finish(u);
    }
    for (uint32_t i = 0; i < u->devices->count; i++) {
        put(u, COMMAND_DEVICE(i), 0);
        put(u, COMMAND_INTERRUPTS(i), 0);
        if (i % AT_ONCE == AT_ONCE - 1 && !finish(u))
            return false;
    }
    return true;
}

/* --- events ----------------------------------------------------------------------------------- */

static void log_event(const struct amdvi_unit *u, uint64_t low, uint64_t high)
{
    unsigned code = (unsigned)(low >> 60);
    struct pci_name name = pci_name(pci_of_id(u->ivrs->segment, (uint16_t)low));
    if (code != EVENT_ILLEGAL_ENTRY && code != EVENT_PAGE_FAULT && code != EVENT_INVALID_REQUEST)
        log_line("iommu %u: event 0x%x: 0x%lx 0x%lx", u->number, code, low, high);
    else if (EVENT_I(low))
        log_line("iommu %u: fault: %s, interrupt, event 0x%x", u->number, name.text, code);
    else
        log_line("iommu %u: fault: %s, %s of 0x%lx, event 0x%x", u->number, name.text,
                 EVENT_RW(low) ? "write" : "read", high, code);
}

/*
 * The entry at I, which is free then; false: it has not reached memory yet, and is left as it is,
 * for it may come at any moment.
 */
static bool take_event(struct amdvi_unit *u, unsigned i, uint64_t *low, uint64_t *high)
{
    volatile uint64_t *event = &u->events[(size_t)2 * i];
    for (unsigned n = 0; n < PATIENCE_FOR_EVENT && event[0] >> 60 == 0; n++)
        __builtin_ia32_pause();
    *low = event[0];
    *high = event[1];
    if (*low >> 60 == 0)
        return false;
    event[0] = event[1] = 0;
    return true;
}

/*
 * An event that was left out may come at last: it is none of the next round's, in which the place
 * is another one's.
 */
static void clear_missed(struct amdvi_unit *u, unsigned head, unsigned tail)
{
    unsigned i = u->missed - 1;
    volatile uint64_t *event = &u->events[(size_t)2 * (i % ENTRIES)];
    bool next_round = (i - head) % ENTRIES < (tail - head) % ENTRIES;
    if (u->missed == 0 || (!next_round && event[0] >> 60 == 0))
        return;
    if (!next_round)
        event[0] = event[1] = 0;
    u->missed = 0;
}

/* "Event Log Restart Procedure". */
static void restart_log(struct amdvi_unit *u)
{
    uint64_t control = read64(u, AMDVI_CONTROL);
    write64(u, AMDVI_CONTROL, control & ~CONTROL_EVENT_LOG_EN);
    if (!wait_for_status(u, STATUS_EVENT_LOG_RUN, 0))
        return;
    u->late = 0;
    write64(u, AMDVI_EVENT_HEAD, 0);
    write64(u, AMDVI_EVENT_TAIL, 0);
    write64(u, AMDVI_STATUS, STATUS_EVENT_OVERFLOW);
    write64(u, AMDVI_CONTROL, control | CONTROL_EVENT_LOG_EN);
}

static unsigned entry_at(const struct amdvi_unit *u, unsigned reg)
{
    return read64(u, reg) / ENTRY_SIZE % ENTRIES;
}

unsigned amdvi_unit_faults(struct amdvi_unit *u)
{
    unsigned count = 0, head = entry_at(u, AMDVI_EVENT_HEAD);
    uint64_t low, high, status = read64(u, AMDVI_STATUS);
    bool overflow = (status & STATUS_EVENT_OVERFLOW) != 0;
    write64(u, AMDVI_STATUS, STATUS_EVENT_LOG_INT);
    unsigned tail = entry_at(u, AMDVI_EVENT_TAIL);
    clear_missed(u, head, tail);
    for (; head != tail; head = (head + 1) % ENTRIES) {
        bool taken = take_event(u, head, &low, &high);
        if (!taken && ++u->late < LATE_LOOKS)
            break;
        u->late = 0;
        u->missed = taken ? u->missed : head + 1;
        if (count++ >= EVENT_LINES)
            continue;
        if (taken)
            log_event(u, low, high);
        else
            log_line("iommu %u: an event has not reached memory; left out", u->number);
    }
    write64(u, AMDVI_EVENT_HEAD, (uint64_t)head * ENTRY_SIZE);
    if (count > EVENT_LINES || overflow)
        log_line("iommu %u: %u faults recorded%s", u->number, count,
                 overflow ? ", and others for which there was no room" : "");
    if (overflow)
        restart_log(u);
    return count + (u->late != 0 ? 1 : 0);
}

/* --- start ------------------------------------------------------------------------------------ */

static struct pci_bdf own_bdf(const struct amdvi_unit *u)
{
    return pci_of_id(u->ivrs->segment, u->ivrs->id);
}

/* The first word of its capability block; 0: the firmware's table names a function without one. */
static uint32_t capability_of(const struct amdvi_unit *u)
{
    uint32_t capability = u->machine->config(own_bdf(u), u->ivrs->capability & 0xfcu);
    return (capability & 0xff) == CAPABILITY_ID ? capability : 0;
}

static int look_at(struct amdvi_unit *u)
{
    u->registers = u->machine->map_mmio(hpa(u->ivrs->base), AMDVI_REGISTERS_SIZE);
    if (u->registers == NULL)
        return -ENOMEM;
    uint32_t capability = capability_of(u);
    if (capability == 0)
        log_line("iommu %u: %s is no function of an IOMMU; update the firmware", u->number,
                 pci_name(own_bdf(u)).text);
    u->features = (capability & CAPABILITY_EFR_SUP) != 0 ? read64(u, AMDVI_FEATURES) : 0;
    if (u->features == UINT64_MAX || read64(u, AMDVI_CONTROL) == UINT64_MAX) {
        log_line("iommu %u: at 0x%lx there is none; left out", u->number, u->ivrs->base);
        return -ENODEV;
    }
    u->wide = (u->features & AMDVI_FEATURE_GA) != 0;
    u->x2apic = u->wide && u->machine->x2apic && (u->features & AMDVI_FEATURE_XT) != 0;
    return 0;
}

/* "MSI Capability Block": interrupts for events go to the host by it. Returns whether they do. */
static bool tell_of_events(const struct amdvi_unit *u)
{
    const struct iommu_machine *m = u->machine;
    struct pci_bdf bdf = own_bdf(u);
    unsigned at = m->config(bdf, PCI_CAPABILITIES) & 0xfc;
    uint32_t head = 0;
    for (unsigned i = 0; i < MOST_CAPABILITIES && at != 0; i++, at = head >> 8 & 0xfc) {
        head = m->config(bdf, at);
        if ((head & 0xff) == PCI_CAPABILITY_MSI)
            break;
    }
    if (at == 0 || (head & 0xff) != PCI_CAPABILITY_MSI || capability_of(u) == 0 ||
        m->faults.address == 0 || m->faults.address > UINT32_MAX)
        return false;
    m->set_config(bdf, at + 4, (uint32_t)m->faults.address);
    if ((head & MSI_64) != 0)
        m->set_config(bdf, at + 8, 0);
    m->set_config(bdf, at + ((head & MSI_64) != 0 ? 12 : 8), m->faults.data);
    m->set_config(bdf, at, (head & ~MSI_MULTIPLE) | MSI_ENABLE);
    return true;
}

/*
 * What firmware, or a system before, has left on: its tables may not be changed while it runs. Bus
 * mastering is off meanwhile, but displays'; a filter of SMIs stays on.
 */
static bool quiet(struct amdvi_unit *u)
{
    write64(u, AMDVI_CONTROL, read64(u, AMDVI_CONTROL) & ~CONTROL_LOGS);
    if (!wait_for_status(u, STATUS_RUN, 0))
        return false;
    write64(u, AMDVI_CONTROL, read64(u, AMDVI_CONTROL) & CONTROL_SMI_F_EN);
    return true;
}

/*
 * The filter's next entry: an I/O APIC's ID that is the chipset's, for by the firmware's table it
 * sends system management messages; no VM is given that. 0: there is no other from entry *AT on.
 */
static uint64_t next_sender(const struct amdvi_unit *u, unsigned *at)
{
    while (*at < u->ivrs->entry_count) {
        const struct ivrs_entry *e = &u->entries[(*at)++];
        if (e->ioapic && AMDVI_SETTING_SYSMGT(e->setting) == AMDVI_SYSMGT_PASSES)
            return FILTER_VALID | e->first;
    }
    return 0;
}

/* SMIs go by no entry for interrupts: "SMI Filter" lets those of its registers' devices pass. */
static void filter_smis(const struct amdvi_unit *u)
{
    unsigned count = (unsigned)min_u64(AMDVI_FEATURE_FILTERS(u->features), MOST_FILTERS), next = 0;
    if (!AMDVI_FEATURE_SMI_FILTER(u->features)) {
        log_line("iommu %u: it has no filter for SMIs: its devices can send them to any CPU",
                 u->number);
        return;
    }
    for (unsigned i = 0; i < count; i++) {
        unsigned reg = AMDVI_SMI_FILTER + i * FILTER_SIZE;
        uint64_t was = read64(u, reg);
        if ((was & FILTER_LOCKED) == 0)
            write64(u, reg, next_sender(u, &next));
        else if ((was & FILTER_VALID) != 0)
            log_line("iommu %u: the firmware lets %s send SMIs to any CPU, for good", u->number,
                     pci_name(pci_of_id(u->ivrs->segment, (uint16_t)was)).text);
    }
}

static void set_tables(struct amdvi_unit *u)
{
    uint64_t pages = (uint64_t)u->devices->count * AMDVI_ENTRY_SIZE / PAGE_SIZE;
    write64(u, AMDVI_DEVICE_TABLE, u->devices->hpa.v | (pages - 1));
    write64(u, AMDVI_COMMAND_BASE, u->machine->hpa(u->commands).v | BASE_LENGTH);
    write64(u, AMDVI_COMMAND_HEAD, 0);
    write64(u, AMDVI_COMMAND_TAIL, 0);
    write64(u, AMDVI_EVENT_BASE, u->machine->hpa(u->events).v | BASE_LENGTH);
    write64(u, AMDVI_EVENT_HEAD, 0);
    write64(u, AMDVI_EVENT_TAIL, 0);
    write64(u, AMDVI_EXCLUSION_BASE, 0);
    write64(u, AMDVI_EXCLUSION_LIMIT, 0);
    write64(u, AMDVI_STATUS, STATUS_CLEAR);
}

static uint64_t control_of(const struct amdvi_unit *u)
{
    uint8_t flags = u->ivrs->flags;
    return CONTROL_COHERENT | ((flags & FLAG_HT_TUN_EN) != 0 ? CONTROL_HT_TUN_EN : 0) |
           ((flags & FLAG_PASS_PW) != 0 ? CONTROL_PASS_PW : 0) |
           ((flags & FLAG_RES_PASS_PW) != 0 ? CONTROL_RES_PASS_PW : 0) |
           ((flags & FLAG_ISOC) != 0 ? CONTROL_ISOC : 0) | (u->wide ? CONTROL_GA_EN : 0) |
           (u->x2apic ? CONTROL_XT_EN : 0) |
           (AMDVI_FEATURE_SMI_FILTER(u->features) ? CONTROL_SMI_F_EN | CONTROL_SMI_F_LOG_EN : 0);
}

static bool turn_on(struct amdvi_unit *u)
{
    uint64_t control = control_of(u);
    if (!quiet(u))
        return false;
    set_tables(u);
    filter_smis(u);
    write64(u, AMDVI_CONTROL, control);
    if (tell_of_events(u))
        control |= CONTROL_EVENT_INT_EN;
    control |= CONTROL_IOMMU_EN | CONTROL_CMD_BUF_EN | CONTROL_EVENT_LOG_EN;
    write64(u, AMDVI_CONTROL, control);
    return wait_for_status(u, STATUS_CMD_BUF_RUN, STATUS_CMD_BUF_RUN) && forget_all(u);
}

int amdvi_unit_start(struct amdvi_unit *u, volatile uint64_t *status, hpa_t status_hpa)
{
    int error = look_at(u);
    if (error != 0)
        return error;
    u->status = status;
    u->status_hpa = status_hpa;
    u->commands = u->machine->alloc(1);
    u->events = u->machine->alloc(1);
    if (u->commands == NULL || u->events == NULL) {
        log_line("iommu %u: no memory for its tables; make the host pool larger", u->number);
        return -ENOMEM;
    }
    if (!turn_on(u))
        return -EIO;
    u->on = true;
    log_line("iommu %u: at 0x%lx, features 0x%lx: up to %u levels, its walks snoop, snooping can "
             "be forced, %u devices, interrupts remapped%s by entries of %u bits",
             u->number, u->ivrs->base, u->features, amdvi_levels(u), u->devices->count,
             u->x2apic ? ", to any APIC ID," : "", u->wide ? 128 : 32);
    if (amdvi_levels(u) == 0)
        log_line("iommu %u: no tables of the hypervisor's can translate for its devices (HATDis, "
                 "or HATS is 3): no VM can have one",
                 u->number);
    return 0;
}
