/* A local APIC: its registers, priorities, IPIs and timer, as the manuals describe them. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "vmm/devices/lapic.h"

#include "lib/assert.h"
#include "lib/rare.h"
#include "lib/string.h"

enum { MODES = LAPIC_BASE_ENABLE | LAPIC_BASE_X2APIC, LOWEST_VECTOR = 16, CLASS = 0xf0 };

/* ICR: what a write keeps. Delivery status, bit 12, always reads as 0: an IPI is sent at once. */
#define ICR_KEPT          0x000ccfffull
#define ICR_LEVEL         (1u << 14)
#define ICR_TRIGGER_LEVEL (1u << 15)

#define LVT_REMOTE_IRR (1u << 14)

enum { R = 1, W = 2, RW = R | W };

struct rule {
    uint8_t xapic, x2apic; /* whether it can be read and written; 0: it is not there */
    uint32_t writable;
    uint32_t read_only; /* all other bits are reserved: #GP in x2APIC mode */
};

/* SDM, "Local APIC Register Address Map" and "Local APIC Register Address Map Supported by x2APIC".
 */
/* clang-format off */
static const struct rule rules[LAPIC_REGS] = {
    [LAPIC_ID]          = {R, R, 0, 0},
    [LAPIC_VERSION]     = {R, R, 0, 0},
    [LAPIC_TPR]         = {RW, RW, 0xff, 0},
    [LAPIC_APR]         = {R, 0, 0, 0},
    [LAPIC_PPR]         = {R, R, 0, 0},
    [LAPIC_EOI]         = {W, W, 0, 0},
    [LAPIC_RRD]         = {R, 0, 0, 0},
    [LAPIC_LDR]         = {RW, R, 0xff000000, 0},
    [LAPIC_DFR]         = {RW, 0, 0xf0000000, 0},
    [LAPIC_SVR]         = {RW, RW, 0x3ff, 0},
    [LAPIC_ESR]         = {RW, RW, 0, 0},
    [LAPIC_ICR]         = {RW, RW, ICR_KEPT, 0},
    [LAPIC_ICR_HIGH]    = {RW, 0, 0xff000000, 0},
    [LAPIC_LVT_TIMER]   = {RW, RW, 0x000700ff, 0x1000},
    [LAPIC_LVT_THERMAL] = {RW, RW, 0x000107ff, 0x1000},
    [LAPIC_LVT_PMC]     = {RW, RW, 0x000107ff, 0x1000},
    [LAPIC_LVT_LINT0]   = {RW, RW, 0x0001a7ff, 0x5000},
    [LAPIC_LVT_LINT1]   = {RW, RW, 0x0001a7ff, 0x5000},
    [LAPIC_LVT_ERROR]   = {RW, RW, 0x000100ff, 0x1000},
    [LAPIC_INITIAL]     = {RW, RW, 0xffffffff, 0},
    [LAPIC_CURRENT]     = {R, R, 0, 0},
    [LAPIC_DIVIDE]      = {RW, RW, 0xb, 0},
    [LAPIC_SELF_IPI]    = {0, W, 0xff, 0},
};
/* clang-format on */

/* Version 14h, with six LVT entries; the broadcast of EOIs cannot be suppressed. */
enum { VERSION = 0x14 | (LAPIC_LVT_ERROR - LAPIC_LVT_TIMER) << 16 };

bool lapic_is_in_page(unsigned reg)
{
    bool vectors = reg >= LAPIC_ISR && reg < LAPIC_ESR;
    return vectors || (reg < LAPIC_REGS && (rules[reg].x2apic & R) != 0 && reg != LAPIC_CURRENT);
}

/* R and W; 0: there is no such register in this mode. */
static unsigned access_of(const struct lapic *l, unsigned reg)
{
    if (reg >= LAPIC_ISR && reg < LAPIC_ESR)
        return R; /* of ISR, TMR and IRR eight each */
    if (reg >= LAPIC_REGS)
        return 0;
    return lapic_x2apic(l) ? rules[reg].x2apic : rules[reg].xapic;
}

static unsigned timer_mode(const struct lapic *l)
{
    return l->lvt_timer >> 17 & 3;
}

/* What reads otherwise in the two modes (SDM, "Logical x2APIC ID", "x2APIC State Transitions"). */
static void follow_mode(struct lapic *l)
{
    *lapic_reg(l, LAPIC_ID) = lapic_x2apic(l) ? l->id : l->id << 24;
    if (!lapic_x2apic(l))
        return;
    *lapic_reg(l, LAPIC_LDR) = (l->id >> 4) << 16 | 1u << (l->id & 0xf);
    lapic_reg(l, LAPIC_ICR)[1] = *lapic_reg(l, LAPIC_ICR_HIGH);
}

void lapic_init(struct lapic *l)
{
    enum { KEPT = offsetof(struct lapic, lvt_timer) };
    memset((uint8_t *)l + KEPT, 0, sizeof(*l) - KEPT);
    l->lvt_timer = LAPIC_LVT_MASK;
    memset(l->page, 0, PAGE_SIZE);
    *lapic_reg(l, LAPIC_VERSION) = VERSION;
    *lapic_reg(l, LAPIC_DFR) = UINT32_MAX;
    *lapic_reg(l, LAPIC_SVR) = 0xff;
    for (unsigned i = LAPIC_LVT_TIMER; i <= LAPIC_LVT_ERROR; i++)
        *lapic_reg(l, i) = LAPIC_LVT_MASK;
    follow_mode(l);
}

RARE void lapic_reset(struct lapic *l, uint32_t *page, uint32_t id, bool bsp)
{
    l->page = page;
    l->base = LAPIC_ADDRESS | LAPIC_BASE_ENABLE | (bsp ? LAPIC_BASE_BSP : 0);
    l->id = id;
    lapic_init(l);
}

RARE void lapic_set_virtual_wire(struct lapic *l)
{
    *lapic_reg(l, LAPIC_SVR) |= LAPIC_SVR_ENABLE;
    *lapic_reg(l, LAPIC_LVT_LINT0) = LAPIC_LVT_EXTINT;
    *lapic_reg(l, LAPIC_LVT_LINT1) = LAPIC_LVT_NMI;
}

/* By EXTD and EN together: off, in xAPIC and in x2APIC mode; EXTD without EN is none. */
enum { OFF, XAPIC = 2, X2APIC = 3 };

RARE bool lapic_set_base(struct lapic *l, uint64_t value)
{
    static const uint8_t legal[] = {
        [OFF] = 1 << OFF | 1 << XAPIC,
        [XAPIC] = 1 << OFF | 1 << XAPIC | 1 << X2APIC,
        [X2APIC] = 1 << OFF | 1 << X2APIC,
    };
    unsigned old = l->base >> 10 & 3, next = value >> 10 & 3;
    if ((legal[old] >> next & 1) == 0 ||
        (value & ~(uint64_t)(MODES | LAPIC_BASE_BSP)) != LAPIC_ADDRESS)
        return false;
    l->base = value;
    if (next == OFF && old != OFF)
        lapic_init(l); /* nothing is kept (SDM, "Enabling or Disabling the Local APIC") */
    else if (next != old)
        follow_mode(l);
    return true;
}

/* --- vectors and priorities ------------------------------------------------------------------ */

/* Of the eight registers from FIRST on, of which no others than WORDS have any bit; 0: none, as no
 * vector below LOWEST_VECTOR is requested. */
static unsigned highest(const struct lapic *l, unsigned first, unsigned words)
{
    while (words != 0) {
        unsigned i = 31 - (unsigned)__builtin_clz(words);
        uint32_t bits = *lapic_reg(l, first + i);
        if (bits != 0)
            return 32 * i + 31 - (unsigned)__builtin_clz(bits);
        words &= ~(1u << i);
    }
    return 0;
}

static unsigned highest_requested(const struct lapic *l)
{
    return highest(l, LAPIC_IRR, l->irr_words);
}

static unsigned highest_served(const struct lapic *l)
{
    return highest(l, LAPIC_ISR, l->isr_words);
}

static void set_bit(const struct lapic *l, unsigned first, uint8_t *words, unsigned vector)
{
    *lapic_reg(l, first + vector / 32) |= 1u << vector % 32;
    *words |= (uint8_t)(1u << vector / 32);
}

static void clear_bit(const struct lapic *l, unsigned first, uint8_t *words, unsigned vector)
{
    uint32_t *reg = lapic_reg(l, first + vector / 32);
    *reg &= ~(1u << vector % 32);
    if (*reg == 0)
        *words &= (uint8_t) ~(1u << vector / 32);
}

static bool has_bit(const struct lapic *l, unsigned first, unsigned vector)
{
    return (*lapic_reg(l, first + vector / 32) >> vector % 32 & 1) != 0;
}

RARE unsigned lapic_highest(struct lapic *l)
{
    unsigned requested = highest_requested(l), served = highest_served(l);
    l->irr_words &= lapic_words(requested);
    l->isr_words &= lapic_words(served);
    return requested | served << 8;
}

uint8_t lapic_ppr(const struct lapic *l)
{
    unsigned served = highest_served(l) & CLASS, tpr = *lapic_reg(l, LAPIC_TPR);
    return (uint8_t)((tpr & CLASS) >= served ? tpr : served);
}

int lapic_pending(const struct lapic *l)
{
    unsigned top = highest_requested(l);
    return (top & CLASS) > (lapic_ppr(l) & CLASS) ? (int)top : -1;
}

void lapic_take(struct lapic *l, unsigned vector)
{
    assert(has_bit(l, LAPIC_IRR, vector));
    clear_bit(l, LAPIC_IRR, &l->irr_words, vector);
    set_bit(l, LAPIC_ISR, &l->isr_words, vector);
}

static enum lapic_effect if_requested(const struct lapic *l)
{
    return lapic_requests(l) ? LAPIC_EVENTS : LAPIC_DONE;
}

unsigned lapic_end(struct lapic *l)
{
    unsigned top = highest_served(l);
    if (top == 0)
        return 0;
    clear_bit(l, LAPIC_ISR, &l->isr_words, top);
    return l->levels && has_bit(l, LAPIC_TMR, top) ? top : 0;
}

static __attribute__((noinline)) enum lapic_effect end_of_interrupt(struct lapic *l,
                                                                    struct ipi *ipi)
{
    ipi->vector = (uint8_t)lapic_end(l);
    return ipi->vector != 0 ? LAPIC_ENDED : if_requested(l);
}

/* The first error since the last write of ESR raises the interrupt (SDM, "Error Handling"). */
static void note_error(struct lapic *l, uint8_t error)
{
    bool first = l->errors == 0;
    uint32_t lvt = *lapic_reg(l, LAPIC_LVT_ERROR);
    l->errors |= error;
    if (first && (lvt & LAPIC_LVT_MASK) == 0)
        lapic_post(l, lvt & 0xff);
}

/* Before the first of them there is nothing in TMR. */
static RARE void put_level(const struct lapic *l, unsigned vector, bool level)
{
    uint32_t *tmr = lapic_reg(l, LAPIC_TMR + vector / 32), bit = 1u << vector % 32;
    *tmr = level ? *tmr | bit : *tmr & ~bit;
}

/* SDM, "Interrupt Acceptance for Fixed Interrupts": what TMR says is of the last one. */
static void accept(struct lapic *l, unsigned vector, bool level)
{
    if (vector < LOWEST_VECTOR) {
        note_error(l, LAPIC_RECEIVE_ILLEGAL);
        return;
    }
    set_bit(l, LAPIC_IRR, &l->irr_words, vector);
    l->levels |= level;
    if (l->levels)
        put_level(l, vector, level);
}

void lapic_post(struct lapic *l, unsigned vector)
{
    accept(l, vector, false);
}

/* --- IPIs ------------------------------------------------------------------------------------ */

/* SDM, "Interrupt Command Register (ICR)", with its tables of valid combinations. */
static RARE __attribute__((noinline)) enum lapic_effect command(struct lapic *l, struct ipi *ipi)
{
    uint32_t low = *lapic_reg(l, LAPIC_ICR), high = *lapic_reg(l, LAPIC_ICR_HIGH);
    *ipi = (struct ipi){
        .dest = lapic_x2apic(l)     ? lapic_reg(l, LAPIC_ICR)[1]
                : high >> 24 == 255 ? IPI_BROADCAST
                                    : high >> 24,
        .mode = low >> 8 & 7,
        .vector = low & 0xff,
        .shorthand = low >> 18 & 3,
        .logical = (low >> 11 & 1) != 0,
    };
    switch (ipi->mode) {
    case IPI_FIXED:
    case IPI_LOWEST:
        if (ipi->vector < LOWEST_VECTOR) {
            note_error(l, LAPIC_SEND_ILLEGAL);
            return if_requested(l);
        }
        break;
    case IPI_INIT:
        if ((low & (ICR_LEVEL | ICR_TRIGGER_LEVEL)) == ICR_TRIGGER_LEVEL)
            return LAPIC_DONE;
        break;
    case IPI_NMI:
    case IPI_STARTUP:
        break;
    default: /* SMIs go nowhere, the others are reserved */
        return LAPIC_DONE;
    }
    bool to_self = ipi->shorthand == IPI_TO_SELF || ipi->shorthand == IPI_TO_ALL;
    return to_self && ipi->mode != IPI_FIXED ? LAPIC_DONE : LAPIC_SEND;
}

static RARE __attribute__((noinline)) enum lapic_effect self_ipi(struct lapic *l, unsigned vector)
{
    if (vector < LOWEST_VECTOR)
        note_error(l, LAPIC_SEND_ILLEGAL);
    else
        lapic_receive(l, vector, false);
    return if_requested(l);
}

void lapic_receive(struct lapic *l, unsigned vector, bool level)
{
    if ((*lapic_reg(l, LAPIC_SVR) & LAPIC_SVR_ENABLE) != 0)
        accept(l, vector, level);
}

/* SDM, "Local Vector Table", "Remote IRR Flag"; that of any other interrupt is undefined. */
static RARE bool has_remote_irr(const struct lapic *l, uint32_t lvt)
{
    return (lvt & (LAPIC_LVT_LEVEL | LAPIC_LVT_MODE)) == LAPIC_LVT_LEVEL &&
           (has_bit(l, LAPIC_IRR, lvt & 0xff) || has_bit(l, LAPIC_ISR, lvt & 0xff));
}

RARE void lapic_hold_lint0(struct lapic *l)
{
    uint32_t lvt = *lapic_reg(l, LAPIC_LVT_LINT0);
    bool level = (lvt & (LAPIC_LVT_MASK | LAPIC_LVT_MODE | LAPIC_LVT_LEVEL)) == LAPIC_LVT_LEVEL;
    if (level && !has_remote_irr(l, lvt))
        lapic_receive(l, lvt & 0xff, true);
}

/* SDM, "Determining IPI Destination", "Extended Message Addressing". */
static RARE bool is_addressed(const struct lapic *l, const struct ipi *ipi)
{
    uint32_t dest = ipi->dest, logical = *lapic_reg(l, LAPIC_LDR);
    if (!lapic_enabled(l))
        return false;
    if (dest == IPI_BROADCAST)
        return true;
    if (!ipi->logical)
        return dest == (lapic_x2apic(l) ? l->id : l->id & 0xff);
    if (lapic_x2apic(l))
        return logical >> 16 == dest >> 16 && (logical & dest & 0xffff) != 0;
    logical >>= 24;
    if (dest > 0xff)
        return false;
    if (*lapic_reg(l, LAPIC_DFR) >> 28 == 0) /* clusters */
        return logical >> 4 == dest >> 4 && (logical & dest & 0xf) != 0;
    return (logical & dest) != 0;
}

static RARE bool is_target(struct lapic *const *set, unsigned i, unsigned self,
                           const struct ipi *ipi)
{
    switch ((enum ipi_shorthand)ipi->shorthand) {
    case IPI_TO_SELF:
        return i == self;
    case IPI_TO_ALL:
        return lapic_enabled(set[i]);
    case IPI_TO_OTHERS:
        return i != self && lapic_enabled(set[i]);
    case IPI_TO_DEST:
        break;
    }
    return is_addressed(set[i], ipi);
}

RARE uint64_t lapic_targets(struct lapic *const *set, unsigned count, unsigned self,
                            const struct ipi *ipi)
{
    uint64_t targets = 0, lowest = 0;
    unsigned least = UINT32_MAX;
    assert(count <= 64 && self < count);
    for (unsigned i = 0; i < count; i++) {
        if (!is_target(set, i, self, ipi))
            continue;
        targets |= 1ull << i;
        if ((*lapic_reg(set[i], LAPIC_SVR) & LAPIC_SVR_ENABLE) != 0 && lapic_ppr(set[i]) < least) {
            least = lapic_ppr(set[i]);
            lowest = 1ull << i;
        }
    }
    return ipi->mode == IPI_LOWEST ? lowest : targets;
}

/* --- the timer ------------------------------------------------------------------------------- */

/* Of a tick of the divided bus, in TSC ticks: a power of two (SDM, "APIC Timer"). */
static unsigned tick_shift(const struct lapic *l)
{
    unsigned code = (l->divide & 3) | (l->divide >> 1 & 4);
    return LAPIC_BUS_SHIFT + ((code + 1) & 7);
}

static uint64_t period(const struct lapic *l)
{
    return (uint64_t)l->initial << tick_shift(l);
}

static void fire(struct lapic *l)
{
    if ((l->lvt_timer & LAPIC_LVT_MASK) == 0)
        lapic_post(l, l->lvt_timer & 0xff);
}

static void tick_count(struct lapic *l, uint64_t now)
{
    uint64_t elapsed = now - l->start;
    if (elapsed < period(l))
        return;
    l->counting = timer_mode(l) == LAPIC_PERIODIC;
    l->start += elapsed / period(l) * period(l);
    fire(l);
}

void lapic_tick(struct lapic *l, struct lapic_now now)
{
    if (l->counting) {
        tick_count(l, now.host);
    } else if (l->deadline != 0 && now.guest >= l->deadline) {
        l->deadline = 0;
        fire(l);
    }
}

static inline uint64_t until_next(const struct lapic *l, struct lapic_now now)
{
    uint32_t lvt = l->lvt_timer;
    if ((lvt & 0xff) < LOWEST_VECTOR || (lvt & LAPIC_LVT_MASK) != 0)
        return UINT64_MAX;
    if (l->counting) {
        uint64_t elapsed = now.host - l->start;
        return period(l) > elapsed ? period(l) - elapsed : 0;
    }
    if (l->deadline == 0)
        return UINT64_MAX;
    return l->deadline > now.guest ? l->deadline - now.guest : 0;
}

uint64_t lapic_timer_left(const struct lapic *l, struct lapic_now now)
{
    unsigned vector = l->lvt_timer & 0xff;
    return has_bit(l, LAPIC_IRR, vector) ? UINT64_MAX : until_next(l, now);
}

RARE uint64_t lapic_timer_next(const struct lapic *l, struct lapic_now now)
{
    return until_next(l, now);
}

static uint32_t current_count(struct lapic *l, struct lapic_now now)
{
    lapic_tick(l, now);
    return l->counting ? l->initial - (uint32_t)((now.host - l->start) >> tick_shift(l)) : 0;
}

static RARE __attribute__((noinline)) enum lapic_effect set_initial(struct lapic *l, uint32_t value,
                                                                    struct lapic_now now)
{
    if (timer_mode(l) == LAPIC_DEADLINE)
        return LAPIC_EVENTS;
    lapic_tick(l, now);
    l->initial = *lapic_reg(l, LAPIC_INITIAL) = value;
    l->start = now.host;
    l->counting = value != 0;
    return LAPIC_EVENTS;
}

/* The count goes on from where it is, at the new rate. */
static RARE __attribute__((noinline)) enum lapic_effect set_divide(struct lapic *l, uint32_t value,
                                                                   struct lapic_now now)
{
    uint64_t counted = l->initial - current_count(l, now);
    l->divide = *lapic_reg(l, LAPIC_DIVIDE) = value;
    l->start = now.host - (counted << tick_shift(l));
    return LAPIC_EVENTS;
}

/*
 * To and from the deadline mode the timer is disarmed (SDM, "TSC-Deadline Mode"); between the
 * others it counts on, as CPUs do that have no more.
 */
static void set_timer(struct lapic *l, uint32_t value)
{
    bool was_deadline = timer_mode(l) == LAPIC_DEADLINE;
    l->lvt_timer = *lapic_reg(l, LAPIC_LVT_TIMER) = value;
    if (was_deadline == (timer_mode(l) == LAPIC_DEADLINE))
        return;
    l->counting = false;
    l->initial = *lapic_reg(l, LAPIC_INITIAL) = 0;
    l->deadline = 0;
}

void lapic_set_deadline(struct lapic *l, uint64_t value, struct lapic_now now)
{
    lapic_tick(l, now);
    if (timer_mode(l) == LAPIC_DEADLINE)
        l->deadline = value;
}

uint64_t lapic_deadline(struct lapic *l, struct lapic_now now)
{
    lapic_tick(l, now);
    return l->deadline;
}

/* --- registers ------------------------------------------------------------------------------- */

static RARE uint64_t read_register(struct lapic *l, unsigned reg, struct lapic_now now)
{
    if (reg >= LAPIC_TMR && reg < LAPIC_ESR) /* and IRR */
        lapic_tick(l, now);
    switch (reg) {
    case LAPIC_PPR:
        return lapic_ppr(l);
    case LAPIC_ICR:
        return *lapic_reg(l, reg) | (uint64_t)lapic_reg(l, reg)[1] << 32;
    case LAPIC_CURRENT:
        return current_count(l, now);
    case LAPIC_LVT_LINT0:
        return *lapic_reg(l, reg) | (has_remote_irr(l, *lapic_reg(l, reg)) ? LVT_REMOTE_IRR : 0);
    default: /* APR, RRD and EOI are never written here */
        return *lapic_reg(l, reg);
    }
}

static RARE __attribute__((noinline)) enum lapic_effect write_svr(struct lapic *l, uint32_t value,
                                                                  struct lapic_now now)
{
    lapic_tick(l, now);
    *lapic_reg(l, LAPIC_SVR) = value;
    for (unsigned i = LAPIC_LVT_TIMER; i <= LAPIC_LVT_ERROR; i++)
        if ((value & LAPIC_SVR_ENABLE) == 0)
            *lapic_reg(l, i) |= LAPIC_LVT_MASK;
    l->lvt_timer = *lapic_reg(l, LAPIC_LVT_TIMER);
    return LAPIC_EVENTS;
}

/* While software-disabled an entry stays masked (SDM, "Local APIC State After It Has Been Software
 * Disabled"). */
static RARE __attribute__((noinline)) enum lapic_effect write_lvt(struct lapic *l, unsigned reg,
                                                                  uint32_t value,
                                                                  struct lapic_now now)
{
    lapic_tick(l, now);
    if ((*lapic_reg(l, LAPIC_SVR) & LAPIC_SVR_ENABLE) == 0)
        value |= LAPIC_LVT_MASK;
    if (reg == LAPIC_LVT_TIMER)
        set_timer(l, value);
    else
        *lapic_reg(l, reg) = value;
    return LAPIC_EVENTS;
}

static RARE __attribute__((noinline)) enum lapic_effect publish_errors(struct lapic *l,
                                                                       struct lapic_now now)
{
    lapic_tick(l, now);
    *lapic_reg(l, LAPIC_ESR) = l->errors;
    l->errors = 0;
    return LAPIC_DONE;
}

static enum lapic_effect write_icr(struct lapic *l, uint64_t value, struct ipi *ipi)
{
    *lapic_reg(l, LAPIC_ICR) = (uint32_t)value;
    if (lapic_x2apic(l))
        lapic_reg(l, LAPIC_ICR)[1] = (uint32_t)(value >> 32);
    return command(l, ipi);
}

/* VALUE has the bits that may be written. What is called is not inlined: nothing is saved then. */
static enum lapic_effect write_register(struct lapic *l, unsigned reg, uint64_t value,
                                        struct lapic_now now, struct ipi *ipi)
{
    switch (reg) {
    case LAPIC_TPR:
        *lapic_reg(l, LAPIC_TPR) = (uint32_t)value;
        return if_requested(l);
    case LAPIC_EOI:
        return end_of_interrupt(l, ipi);
    case LAPIC_DFR:
        *lapic_reg(l, LAPIC_DFR) = (uint32_t)value | 0x0fffffff;
        return LAPIC_DONE;
    case LAPIC_SVR:
        return write_svr(l, (uint32_t)value, now);
    case LAPIC_ESR:
        return publish_errors(l, now);
    case LAPIC_ICR:
        return write_icr(l, value, ipi);
    case LAPIC_LVT_TIMER:
    case LAPIC_LVT_THERMAL:
    case LAPIC_LVT_PMC:
    case LAPIC_LVT_LINT0:
    case LAPIC_LVT_LINT1:
    case LAPIC_LVT_ERROR:
        return write_lvt(l, reg, (uint32_t)value, now);
    case LAPIC_INITIAL:
        return set_initial(l, (uint32_t)value, now);
    case LAPIC_DIVIDE:
        return set_divide(l, (uint32_t)value, now);
    case LAPIC_SELF_IPI:
        return self_ipi(l, (unsigned)value);
    default: /* LDR, the high half of ICR */
        *lapic_reg(l, reg) = (uint32_t)value;
        return LAPIC_DONE;
    }
}

RARE bool lapic_read_msr(struct lapic *l, uint32_t msr, struct lapic_now now, uint64_t *value)
{
    unsigned reg = msr - LAPIC_MSRS;
    if (!lapic_x2apic(l) || (access_of(l, reg) & R) == 0)
        return false;
    *value = read_register(l, reg, now);
    return true;
}

enum lapic_effect lapic_write_msr(struct lapic *l, uint32_t msr, uint64_t value,
                                  struct lapic_now now, struct ipi *ipi)
{
    unsigned reg = msr - LAPIC_MSRS;
    if (!lapic_x2apic(l) || reg >= LAPIC_REGS || (rules[reg].x2apic & W) == 0)
        return LAPIC_REFUSED;
    uint64_t writable = rules[reg].writable;
    if (reg == LAPIC_ICR)
        writable |= (uint64_t)UINT32_MAX << 32;
    if ((value & ~writable & ~(uint64_t)rules[reg].read_only) != 0)
        return LAPIC_REFUSED;
    return write_register(l, reg, value & writable, now, ipi);
}

RARE uint64_t lapic_read_mmio(struct lapic *l, unsigned offset, unsigned width,
                              struct lapic_now now)
{
    unsigned reg = offset / LAPIC_STRIDE, byte = offset % LAPIC_STRIDE;
    if (access_of(l, reg) == 0)
        note_error(l, LAPIC_ILLEGAL_REGISTER);
    else if (byte + width <= 4)
        return read_register(l, reg, now) >> 8 * byte;
    return 0;
}

static bool can_write(unsigned reg)
{
    return reg < LAPIC_REGS && (rules[reg].xapic & W) != 0;
}

/* Not all of a register, or more than one, or one that cannot be written. */
static RARE __attribute__((noinline)) enum lapic_effect write_odd(struct lapic *l, unsigned offset,
                                                                  unsigned width, uint32_t value,
                                                                  struct lapic_now now,
                                                                  struct ipi *ipi)
{
    unsigned reg = offset / LAPIC_STRIDE, byte = offset % LAPIC_STRIDE;
    if (can_write(reg) && byte + width <= 4) {
        uint32_t mask = ((1u << 8 * width) - 1) << 8 * byte;
        value = (*lapic_reg(l, reg) & ~mask) | (value << 8 * byte & mask);
        return write_register(l, reg, value & rules[reg].writable, now, ipi);
    }
    if (access_of(l, reg) == 0)
        note_error(l, LAPIC_ILLEGAL_REGISTER);
    return if_requested(l);
}

enum lapic_effect lapic_write_mmio(struct lapic *l, unsigned offset, unsigned width, uint32_t value,
                                   struct lapic_now now, struct ipi *ipi)
{
    unsigned reg = offset / LAPIC_STRIDE;
    if (can_write(reg) && offset % LAPIC_STRIDE == 0 && width == 4)
        return write_register(l, reg, value & rules[reg].writable, now, ipi);
    return write_odd(l, offset, width, value, now, ipi);
}

/* ID cannot be written, INITIAL not in every mode of the timer. */
RARE enum lapic_effect lapic_wrote(struct lapic *l, unsigned reg, struct lapic_now now,
                                   struct ipi *ipi)
{
    uint32_t value = *lapic_reg(l, reg);
    enum lapic_effect effect = lapic_write_mmio(l, reg * LAPIC_STRIDE, 4, value, now, ipi);
    *lapic_reg(l, LAPIC_INITIAL) = l->initial;
    follow_mode(l);
    return effect;
}
