/* One VT-d unit: turned on, told to forget, and asked for faults. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "drivers/vtd.h"
#include "lib/errno.h"
#include "lib/log.h"

/* "Global Command Register" and "Global Status Register". */
#define GLOBAL_TE   (1u << 31) /* translation */
#define GLOBAL_RTP  (1u << 30) /* the root table's pointer, taken once */
#define GLOBAL_WBF  (1u << 27) /* the write buffer, flushed once */
#define GLOBAL_QIE  (1u << 26) /* queued invalidation */
#define GLOBAL_IRE  (1u << 25) /* interrupt remapping */
#define GLOBAL_IRTP (1u << 24) /* its table's pointer, taken once */
#define GLOBAL_CFI  (1u << 23) /* interrupts of compatibility format pass */
#define GLOBAL_KEPT (GLOBAL_TE | GLOBAL_QIE | GLOBAL_IRE | GLOBAL_CFI)

/* "Context Command Register", and "IOTLB Invalidate Register" 8 bytes behind ECAP.IRO. */
#define CCMD_ICC     (1ull << 63)
#define CCMD_GLOBAL  (1ull << 61)
#define IOTLB_IVT    (1ull << 63)
#define IOTLB_GLOBAL (1ull << 60)
#define IOTLB_DOMAIN (2ull << 60)
#define IOTLB_DRAIN  (3ull << 48) /* reads and writes */
#define IOTLB_ID(id) ((uint64_t)(id) << 32)
enum { IOTLB = 8 };

/* "Invalidation Descriptors": the first of two words. */
#define QI_CONTEXT_GLOBAL   (1ull | 1 << 4)
#define QI_IOTLB_GLOBAL     (2ull | 1 << 4 | 3 << 6)
#define QI_IOTLB_DOMAIN(id) (2ull | 2 << 4 | 3 << 6 | (uint64_t)(id) << 16)
#define QI_IEC_GLOBAL       4ull
#define QI_IEC_INDEX(index) (4ull | 1 << 4 | (uint64_t)(index) << 32)
#define QI_WAIT             (5ull | 1 << 5 | (uint64_t)QI_DONE << 32) /* writes QI_DONE */
enum { QI_DONE = 1, QI_ENTRIES = 256 };
static_assert(QI_ENTRIES * 16 == PAGE_SIZE, "VT-d, Invalidation Queue Address Register, QS 0");

/* "Fault Status Register", "Fault Recording Registers" (words of 4 bytes). */
enum { FSTS_PFO = 1 << 0, FSTS_PPF = 1 << 1, FSTS_IQE = 1 << 4, FSTS_ICE = 1 << 5 };
enum { FSTS_ITE = 1 << 6, FSTS_CLEAR = FSTS_PFO | FSTS_IQE | FSTS_ICE | FSTS_ITE };
#define FECTL_IM (1u << 31)
#define RECORD_F (1u << 31)
enum { RECORD_F_WORD = 12 };

/* "Root Table Address Register": the Translation Table Mode, 0: legacy. */
#define RTADDR_TTM (3ull << 10)

/* "Protected Memory Enable Register". */
#define PMEN_EPM (1u << 31)
#define PMEN_PRS (1u << 0)

/* "Interrupt Remapping Table Address Register": 2^(S+1) entries. */
enum { IRTA_S = 9, IRTA_EIME = 1 << 11 };
static_assert(2 << IRTA_S == VTD_INTERRUPTS && VTD_INTERRUPTS_SIZE % PAGE_SIZE == 0, "VT-d, IRTA");

/* Looks at a register, each of 100 ns or more, until it is taken for stuck. */
enum { PATIENCE = 1000000 };

/* Faults that are logged of one unit at a time. */
enum { FAULT_LINES = 4 };

/* --- registers -------------------------------------------------------------------------------- */

static uint32_t read32(const struct vtd_unit *u, unsigned reg)
{
    return (uint32_t)u->machine->read(u->registers + reg, 4);
}

static uint64_t read64(const struct vtd_unit *u, unsigned reg)
{
    return u->machine->read(u->registers + reg, 8);
}

static void write32(const struct vtd_unit *u, unsigned reg, uint32_t value)
{
    u->machine->write(u->registers + reg, 4, value);
}

static void write64(const struct vtd_unit *u, unsigned reg, uint64_t value)
{
    u->machine->write(u->registers + reg, 8, value);
}

/* A wait has been too long. */
static bool late(const struct vtd_unit *u, const char *what)
{
    log_line("iommu %u: %s: it has not come in time", u->number, what);
    if (u->on)
        u->machine->stop("an IOMMU does not answer: its register stands in the line above");
    return false;
}

/* Waits until REG has the bits WANT of MASK. */
static bool wait_for(const struct vtd_unit *u, unsigned reg, unsigned size, uint64_t mask,
                     uint64_t want, const char *what)
{
    for (unsigned i = 0; i < PATIENCE; i++) {
        if ((u->machine->read(u->registers + reg, size) & mask) == want)
            return true;
        __builtin_ia32_pause();
    }
    return late(u, what);
}

/* "Global Command Register": one command at a time, beside what stays set. */
static bool command(struct vtd_unit *u, uint32_t bit, bool on, const char *what)
{
    uint32_t kept = read32(u, VTD_GSTS) & GLOBAL_KEPT & ~bit;
    write32(u, VTD_GCMD, on ? kept | bit : kept);
    return wait_for(u, VTD_GSTS, 4, bit, on ? bit : 0, what);
}

/* "Write Buffer Flushing". */
static bool flush_writes(struct vtd_unit *u)
{
    if ((u->cap & VTD_CAP_RWBF) == 0)
        return true;
    write32(u, VTD_GCMD, (read32(u, VTD_GSTS) & GLOBAL_KEPT) | GLOBAL_WBF);
    return wait_for(u, VTD_GSTS, 4, GLOBAL_WBF, 0, "GSTS.WBFS");
}

void vtd_flush(const struct vtd_unit *u, const volatile void *at, size_t n)
{
    if ((u->ecap & VTD_ECAP_C) == 0)
        u->machine->flush((const void *)(uintptr_t)at, n);
}

/* --- invalidation ----------------------------------------------------------------------------- */

static void put(struct vtd_unit *u, uint64_t low, uint64_t high)
{
    uint64_t *entry = &u->queue[u->tail * 2];
    entry[0] = low;
    entry[1] = high;
    vtd_flush(u, entry, 16);
    u->tail = (u->tail + 1) % QI_ENTRIES;
}

/* Until the wait descriptor has been reached: the memory is looked at no faster than a register. */
static bool wait_for_queue(struct vtd_unit *u)
{
    for (unsigned i = 0; i < PATIENCE; i++) {
        vtd_flush(u, u->status, sizeof(*u->status));
        if ((uint32_t)*u->status == QI_DONE)
            return true;
        if ((read32(u, VTD_FSTS) & (FSTS_IQE | FSTS_ICE | FSTS_ITE)) != 0)
            return late(u, "the queue ends in an error (FSTS.IQE, ICE, ITE)");
    }
    return late(u, "IQH: what a wait descriptor writes");
}

/* "Queued Invalidation Interface": does what the descriptor says, and waits for it. */
static bool submit(struct vtd_unit *u, uint64_t descriptor)
{
    *u->status = 0;
    vtd_flush(u, u->status, sizeof(*u->status));
    put(u, descriptor, 0);
    put(u, QI_WAIT, u->status_hpa.v);
    write64(u, VTD_IQT, (uint64_t)u->tail << 4);
    return wait_for_queue(u);
}

static bool invalidate_contexts(struct vtd_unit *u)
{
    if (u->queued)
        return submit(u, QI_CONTEXT_GLOBAL);
    write64(u, VTD_CCMD, CCMD_ICC | CCMD_GLOBAL);
    return wait_for(u, VTD_CCMD, 8, CCMD_ICC, 0, "CCMD.ICC");
}

/* By registers: SCOPE is IOTLB_GLOBAL, or IOTLB_DOMAIN with its ID. */
static bool invalidate_iotlb(struct vtd_unit *u, uint64_t descriptor, uint64_t scope)
{
    unsigned reg = VTD_ECAP_IRO(u->ecap) + IOTLB;
    if (u->queued)
        return submit(u, descriptor);
    write64(u, reg, IOTLB_IVT | IOTLB_DRAIN | scope);
    return wait_for(u, reg, 8, IOTLB_IVT, 0, "IOTLB.IVT");
}

/* "Context-cache Invalidate": the IOTLB may have what it was filled by. */
bool vtd_forget_all(struct vtd_unit *u)
{
    lock_take(&u->lock);
    bool done = invalidate_contexts(u) && invalidate_iotlb(u, QI_IOTLB_GLOBAL, IOTLB_GLOBAL);
    lock_release(&u->lock);
    return done;
}

bool vtd_forget_domain(struct vtd_unit *u, uint16_t id)
{
    lock_take(&u->lock);
    bool done = invalidate_iotlb(u, QI_IOTLB_DOMAIN(id), IOTLB_DOMAIN | IOTLB_ID(id));
    lock_release(&u->lock);
    return done;
}

bool vtd_forget_interrupt(struct vtd_unit *u, unsigned index)
{
    lock_take(&u->lock);
    bool done = flush_writes(u) && submit(u, QI_IEC_INDEX(index));
    lock_release(&u->lock);
    return done;
}

void vtd_tell_of_more(struct vtd_unit *u, uint16_t id)
{
    if ((u->cap & VTD_CAP_CM) != 0) {
        vtd_forget_domain(u, id); /* flushes writes, too */
        return;
    }
    lock_take(&u->lock);
    flush_writes(u);
    lock_release(&u->lock);
}

/* --- faults ----------------------------------------------------------------------------------- */

static unsigned record_at(const struct vtd_unit *u, unsigned i)
{
    return VTD_CAP_FRO(u->cap) + i * 16;
}

/* "Fault Recording Registers"; reasons from 20h on are of interrupts. */
static void log_fault(const struct vtd_unit *u, uint64_t low, uint64_t high)
{
    unsigned reason = high >> 32 & 0xff;
    struct pci_name name = pci_name(pci_of_id(u->dmar->segment, (uint16_t)high));
    if (reason >= 0x20)
        log_line("iommu %u: fault: %s, interrupt of index %u, reason 0x%x", u->number, name.text,
                 (unsigned)(low >> 48), reason);
    else
        log_line("iommu %u: fault: %s, %s of 0x%lx, reason 0x%x", u->number, name.text,
                 (high >> 62 & 1) != 0 ? "read" : "write", align_down(low, PAGE_SIZE), reason);
}

unsigned vtd_unit_faults(struct vtd_unit *u)
{
    unsigned count = 0;
    uint32_t status = read32(u, VTD_FSTS);
    if ((status & (FSTS_PPF | FSTS_PFO)) == 0)
        return 0;
    for (unsigned i = 0; i < VTD_CAP_NFR(u->cap); i++) {
        unsigned at = record_at(u, i);
        uint64_t high = read64(u, at + 8);
        if ((high >> 63) == 0)
            continue;
        if (count++ < FAULT_LINES)
            log_fault(u, read64(u, at), high);
        write32(u, at + RECORD_F_WORD, RECORD_F);
    }
    write32(u, VTD_FSTS, status & FSTS_PFO);
    if (count > FAULT_LINES || (status & FSTS_PFO) != 0)
        log_line("iommu %u: %u faults recorded%s", u->number, count,
                 (status & FSTS_PFO) != 0 ? ", and others for which there was no room" : "");
    return count;
}

/* What was there before counts for nothing. From now on MACHINE->faults is sent for each. */
static void clear_faults(const struct vtd_unit *u)
{
    const struct iommu_message *message = &u->machine->faults;
    for (unsigned i = 0; i < VTD_CAP_NFR(u->cap); i++)
        write32(u, record_at(u, i) + RECORD_F_WORD, RECORD_F);
    write32(u, VTD_FSTS, FSTS_CLEAR);
    write32(u, VTD_FEDATA, message->data);
    write32(u, VTD_FEADDR, (uint32_t)message->address);
    write32(u, VTD_FEUADDR, (uint32_t)(message->address >> 32));
    write32(u, VTD_FECTL, message->address != 0 ? 0 : FECTL_IM);
}

/* --- start ------------------------------------------------------------------------------------ */

/* Finds out what the unit can; false: it is none that can be used. */
static int look_at(struct vtd_unit *u)
{
    u->registers = u->machine->map_mmio(hpa(u->dmar->base), PAGE_SIZE);
    if (u->registers == NULL)
        return -ENOMEM;
    u->cap = read64(u, VTD_CAP);
    u->ecap = read64(u, VTD_ECAP);
    if (u->cap == UINT64_MAX || u->ecap == UINT64_MAX || (VTD_CAP_SAGAW(u->cap) & 0xe) == 0) {
        log_line("iommu %u: at 0x%lx there is none (CAP 0x%lx, ECAP 0x%lx); left out", u->number,
                 u->dmar->base, u->cap, u->ecap);
        return -ENODEV;
    }
    uint64_t size = max_u64(VTD_ECAP_IRO(u->ecap) + 16, record_at(u, VTD_CAP_NFR(u->cap)));
    if (size > PAGE_SIZE)
        u->registers = u->machine->map_mmio(hpa(u->dmar->base), size);
    return u->registers == NULL ? -ENOMEM : 0;
}

static bool make_tables(struct vtd_unit *u, bool remaps)
{
    u->queued = (u->ecap & VTD_ECAP_QI) != 0;
    u->remaps = remaps && u->queued && (u->ecap & VTD_ECAP_IR) != 0;
    u->x2apic = u->remaps && u->machine->x2apic && (u->ecap & VTD_ECAP_EIM) != 0;
    u->root = u->machine->alloc(1);
    u->queue = u->queued ? u->machine->alloc(1) : NULL;
    u->remapping = u->remaps ? u->machine->alloc(VTD_INTERRUPTS_SIZE / PAGE_SIZE) : NULL;
    if (u->root == NULL || (u->queued && u->queue == NULL) || (u->remaps && u->remapping == NULL)) {
        log_line("iommu %u: no memory for its tables; make the host pool larger", u->number);
        return false;
    }
    vtd_flush(u, u->root, PAGE_SIZE);
    if (u->remaps)
        vtd_flush(u, u->remapping, VTD_INTERRUPTS_SIZE);
    return true;
}

/* "Protected Memory Regions": they hold back DMA until translation does. */
static bool drop_protected(const struct vtd_unit *u)
{
    if ((u->cap & (VTD_CAP_PLMR | VTD_CAP_PHMR)) == 0)
        return true;
    write32(u, VTD_PMEN, read32(u, VTD_PMEN) & ~PMEN_EPM);
    return wait_for(u, VTD_PMEN, 4, PMEN_PRS, 0, "PMEN.PRS");
}

/* All memory, where the unit has such regions: what it reads by itself is not held back. */
static bool protect_all(const struct vtd_unit *u)
{
    if ((u->cap & (VTD_CAP_PLMR | VTD_CAP_PHMR)) == 0)
        return true;
    if (!drop_protected(u))
        return false;
    if ((u->cap & VTD_CAP_PLMR) != 0) {
        write32(u, VTD_PLMBASE, 0);
        write32(u, VTD_PLMLIMIT, UINT32_MAX);
    }
    if ((u->cap & VTD_CAP_PHMR) != 0) {
        write64(u, VTD_PHMBASE, 4 * GIB);
        write64(u, VTD_PHMLIMIT, UINT64_MAX);
    }
    write32(u, VTD_PMEN, read32(u, VTD_PMEN) | PMEN_EPM);
    return wait_for(u, VTD_PMEN, 4, PMEN_PRS, PMEN_PRS, "PMEN.PRS");
}

/* Below 4 GiB and from there on memory has a region each. */
static const char *protection(const struct vtd_unit *u)
{
    bool low = (u->cap & VTD_CAP_PLMR) != 0, high = (u->cap & VTD_CAP_PHMR) != 0;
    return low && high ? ", with memory protected from DMA"
           : low       ? ", with memory protected from DMA below 4 GiB alone"
           : high      ? ", with memory protected from DMA above 4 GiB alone"
                       : "";
}

/*
 * "Root Table Address Register": its mode changes only while translation is off. Meanwhile the
 * protected regions hold back DMA; without them what still masters the bus, a display, goes where
 * it will.
 */
static bool leave_mode(struct vtd_unit *u)
{
    uint64_t root = read64(u, VTD_RTADDR);
    if ((read32(u, VTD_GSTS) & GLOBAL_TE) == 0 || (root & RTADDR_TTM) == 0)
        return true;
    log_line("iommu %u: it has been left in another mode (RTADDR 0x%lx), and is off for a moment%s",
             u->number, root, protection(u));
    return protect_all(u) && command(u, GLOBAL_TE, false, "GSTS.TES");
}

/*
 * Until all that stands in the queue of a system before is done. At a descriptor that is none, or
 * behind one whose device has not answered, the unit fetches no more until the error is cleared
 * ("Invalidation Queue Error", "Invalidation Time-out Error"): the rest is dropped then, as all is
 * invalidated before translation counts again.
 */
static bool empty_queue(const struct vtd_unit *u)
{
    for (unsigned i = 0; i < PATIENCE; i++) {
        uint32_t error = read32(u, VTD_FSTS) & (FSTS_IQE | FSTS_ITE);
        uint64_t head = read64(u, VTD_IQH);
        if (error != 0) {
            write64(u, VTD_IQT, head);
            write32(u, VTD_FSTS, error);
        } else if (head == read64(u, VTD_IQT)) {
            return true;
        }
        __builtin_ia32_pause();
    }
    return late(u, "IQH");
}

/*
 * What firmware, or a system before, has left on. Translation stays on, so that nothing that it
 * blocks can pass before the tables change.
 */
static bool quiet(struct vtd_unit *u)
{
    uint32_t status = read32(u, VTD_GSTS);
    if ((status & GLOBAL_IRE) != 0 && !command(u, GLOBAL_IRE, false, "GSTS.IRES"))
        return false;
    if ((status & GLOBAL_QIE) == 0)
        return true;
    return empty_queue(u) && command(u, GLOBAL_QIE, false, "GSTS.QIES");
}

static bool start_queue(struct vtd_unit *u)
{
    if (!u->queued)
        return true;
    write64(u, VTD_IQT, 0);
    write64(u, VTD_IQA, u->machine->hpa(u->queue).v);
    return command(u, GLOBAL_QIE, true, "GSTS.QIES");
}

/* "Set Interrupt Remap Table Pointer Operation". Messages of compatibility format do not pass. */
static bool start_remapping(struct vtd_unit *u)
{
    if (!u->remaps)
        return true;
    uint64_t mode = u->x2apic ? IRTA_EIME : 0;
    write64(u, VTD_IRTA, u->machine->hpa(u->remapping).v | mode | IRTA_S);
    return command(u, GLOBAL_IRTP, true, "GSTS.IRTPS") && submit(u, QI_IEC_GLOBAL) &&
           command(u, GLOBAL_CFI, false, "GSTS.CFIS") && command(u, GLOBAL_IRE, true, "GSTS.IRES");
}

/* "Software Use of Remapping Hardware" and "Set Root Table Pointer Operation": in legacy mode. */
static bool turn_on(struct vtd_unit *u)
{
    if (!quiet(u) || !leave_mode(u))
        return false;
    clear_faults(u);
    if (!flush_writes(u))
        return false;
    write64(u, VTD_RTADDR, u->machine->hpa(u->root).v);
    return command(u, GLOBAL_RTP, true, "GSTS.RTPS") && start_queue(u) && vtd_forget_all(u) &&
           start_remapping(u) && command(u, GLOBAL_TE, true, "GSTS.TES") && drop_protected(u);
}

static void log_unit(const struct vtd_unit *u)
{
    uint32_t version = read32(u, VTD_VER);
    log_line("iommu %u: at 0x%lx, version %u.%u, CAP 0x%lx, ECAP 0x%lx: addresses of %u bits%s%s, "
             "its walks %s, snooping %s, invalidated by %s, interrupts %s",
             u->number, u->dmar->base, version >> 4 & 0xf, version & 0xf, u->cap, u->ecap,
             VTD_CAP_MGAW(u->cap), (u->cap & VTD_CAP_SL2M) != 0 ? ", 2M" : "",
             (u->cap & VTD_CAP_SL1G) != 0 ? ", 1G" : "",
             (u->ecap & VTD_ECAP_C) != 0 ? "snoop" : "do not snoop",
             (u->ecap & VTD_ECAP_SC) != 0 ? "can be forced" : "cannot be forced",
             u->queued ? "a queue" : "registers",
             u->x2apic   ? "remapped, to any APIC ID"
             : u->remaps ? "remapped"
                         : "not remapped");
}

int vtd_unit_start(struct vtd_unit *u, bool remaps, volatile uint64_t *status, hpa_t status_hpa)
{
    int error = look_at(u);
    if (error != 0)
        return error;
    u->status = status;
    u->status_hpa = status_hpa;
    if (!make_tables(u, remaps))
        return -ENOMEM;
    if (!turn_on(u))
        return -EIO;
    u->on = true;
    log_unit(u);
    return 0;
}
