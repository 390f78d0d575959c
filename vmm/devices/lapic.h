/*
 * A local APIC as the manuals describe it (SDM, "Advanced Programmable Interrupt Controller
 * (APIC)"; APM, "Advanced Programmable Interrupt Controller (APIC)"): registers in both modes,
 * priorities, interprocessor interrupts and the timer. Pure: time is an argument.
 */
/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include "mm/types.h"

/* IA32_APIC_BASE. */
#define LAPIC_BASE_BSP    (1ull << 8)
#define LAPIC_BASE_X2APIC (1ull << 10)
#define LAPIC_BASE_ENABLE (1ull << 11)
#define LAPIC_ADDRESS     0xfee00000ull

/* MSRs of x2APIC mode; of the page in xAPIC mode each has 16 bytes. */
enum { LAPIC_MSRS = 0x800, LAPIC_STRIDE = 16 };

/* Registers, as they are numbered in both modes. */
enum lapic_reg {
    LAPIC_ID = 0x02,
    LAPIC_VERSION = 0x03,
    LAPIC_TPR = 0x08,
    LAPIC_APR = 0x09, /* reads as 0, as does RRD */
    LAPIC_PPR = 0x0a,
    LAPIC_EOI = 0x0b,
    LAPIC_RRD = 0x0c,
    LAPIC_LDR = 0x0d,
    LAPIC_DFR = 0x0e,
    LAPIC_SVR = 0x0f,
    LAPIC_ISR = 0x10, /* eight of each */
    LAPIC_TMR = 0x18,
    LAPIC_IRR = 0x20,
    LAPIC_ESR = 0x28,
    LAPIC_ICR = 0x30,
    LAPIC_ICR_HIGH = 0x31,
    LAPIC_LVT_TIMER = 0x32,
    LAPIC_LVT_THERMAL = 0x33,
    LAPIC_LVT_PMC = 0x34,
    LAPIC_LVT_LINT0 = 0x35,
    LAPIC_LVT_LINT1 = 0x36,
    LAPIC_LVT_ERROR = 0x37,
    LAPIC_INITIAL = 0x38,
    LAPIC_CURRENT = 0x39,
    LAPIC_DIVIDE = 0x3e,
    LAPIC_SELF_IPI = 0x3f,
    LAPIC_REGS = 0x40,
};

#define LAPIC_SVR_ENABLE (1u << 8)
#define LAPIC_LVT_MASK   (1u << 16)
#define LAPIC_LVT_MODE   0x700u
#define LAPIC_LVT_NMI    0x400u
#define LAPIC_LVT_EXTINT 0x700u
#define LAPIC_LVT_LEVEL  (1u << 15)

/* Modes of the timer, in bits 18:17 of its LVT entry. */
enum { LAPIC_ONE_SHOT, LAPIC_PERIODIC, LAPIC_DEADLINE };

/* What ESR says. */
enum {
    LAPIC_SEND_ILLEGAL = 1 << 5,
    LAPIC_RECEIVE_ILLEGAL = 1 << 6,
    LAPIC_ILLEGAL_REGISTER = 1 << 7,
};

/* The bus that the timer counts by, undivided, has a tick for each 2^LAPIC_BUS_SHIFT of the TSC. */
enum { LAPIC_BUS_SHIFT = 4 };

/*
 * The registers are in a page, at their places and as they read in the APIC's mode: all but PPR and
 * CURRENT, which are computed. So a CPU can use the page too, and change there what is requested
 * and in service, and TPR.
 */
struct lapic {
    /* Other CPUs look at these at any time: nothing but a reset of the VM clears them. */
    uint32_t *page;
    uint64_t base; /* IA32_APIC_BASE */
    uint32_t id;   /* in xAPIC mode its low 8 bits */
    /* An INIT clears what stands below. */
    uint32_t lvt_timer, initial, divide; /* of the timer, as they act: the page has them too */
    uint64_t start;                      /* host TSC at which the count was INITIAL */
    uint64_t deadline;                   /* guest TSC; 0: none */
    uint8_t irr_words; /* which of the eight registers may have any bit, by bits */
    uint8_t isr_words;
    uint8_t errors; /* since the last write of ESR */
    bool counting;
    bool levels; /* there has been a level-triggered interrupt */
};

/* Of eight that belong together, of 32 vectors each, the I-th is at FIRST + I. */
static inline uint32_t *lapic_reg(const struct lapic *lapic, unsigned reg)
{
    return lapic->page + reg * (LAPIC_STRIDE / sizeof(uint32_t));
}

/* The TSC as the host and as the guest reads it. */
struct lapic_now {
    uint64_t host, guest;
};

/* The last of them only of an I/O APIC, which has no STARTUP. */
enum ipi_mode { IPI_FIXED, IPI_LOWEST, IPI_SMI, IPI_NMI = 4, IPI_INIT, IPI_STARTUP, IPI_EXTINT };
enum ipi_shorthand { IPI_TO_DEST, IPI_TO_SELF, IPI_TO_ALL, IPI_TO_OTHERS };

#define IPI_BROADCAST UINT32_MAX

struct ipi {
    uint32_t dest; /* IPI_BROADCAST in either mode */
    uint8_t mode;  /* enum ipi_mode */
    uint8_t vector;
    uint8_t shorthand; /* enum ipi_shorthand */
    bool logical;
    bool level; /* of an I/O APIC: it is to get the EOI */
};

/* What a write has come to. */
enum lapic_effect {
    LAPIC_REFUSED, /* #GP */
    LAPIC_DONE,
    LAPIC_EVENTS, /* an interrupt may be deliverable now, or the timer has changed */
    LAPIC_SEND,   /* an IPI is to be sent */
    LAPIC_ENDED,  /* the same as EVENTS, and I/O APICs are to get the EOI of the IPI's VECTOR */
};

/*
 * As a reset leaves it: enabled, in xAPIC mode, with its registers in PAGE; and as an INIT does,
 * which keeps the mode.
 */
void lapic_reset(struct lapic *lapic, uint32_t *page, uint32_t id, bool bsp);
void lapic_init(struct lapic *lapic);

/*
 * As firmware leaves a reset boot CPU's (MultiProcessor Specification, "Virtual Wire Mode"):
 * enabled, ExtINT at LINT0, NMI at LINT1.
 */
void lapic_set_virtual_wire(struct lapic *lapic);

static inline bool lapic_enabled(const struct lapic *lapic)
{
    return (lapic->base & LAPIC_BASE_ENABLE) != 0;
}

static inline bool lapic_x2apic(const struct lapic *lapic)
{
    return (lapic->base & LAPIC_BASE_X2APIC) != 0;
}

/*
 * Writes IA32_APIC_BASE; false: #GP (SDM, "x2APIC State Transitions"). No address but
 * LAPIC_ADDRESS is taken.
 */
bool lapic_set_base(struct lapic *lapic, uint64_t value);

/* RDMSR and WRMSR of an MSR from LAPIC_MSRS on: #GP outside x2APIC mode. */
bool lapic_read_msr(struct lapic *lapic, uint32_t msr, struct lapic_now now, uint64_t *value);
enum lapic_effect lapic_write_msr(struct lapic *lapic, uint32_t msr, uint64_t value,
                                  struct lapic_now now, struct ipi *ipi);

/*
 * Whether in x2APIC mode a read of the register gives the 8 bytes at its place in the page, PPR
 * being kept there by a CPU that delivers what is requested.
 */
bool lapic_is_in_page(unsigned reg);

/*
 * Accesses of WIDTH bytes at OFFSET of the page, in xAPIC mode. Within a register's first 4 bytes a
 * part can be accessed, what is not reads as 0, and a write of it is dropped (SDM, "Local APIC":
 * these are undefined; and it is what CPUs do that use the page).
 */
uint64_t lapic_read_mmio(struct lapic *lapic, unsigned offset, unsigned width,
                         struct lapic_now now);
enum lapic_effect lapic_write_mmio(struct lapic *lapic, unsigned offset, unsigned width,
                                   uint32_t value, struct lapic_now now, struct ipi *ipi);

/*
 * A CPU that uses the page has put there what it wrote to REG in xAPIC mode: the write takes
 * effect, and the page gets what the register reads as.
 */
enum lapic_effect lapic_wrote(struct lapic *lapic, unsigned reg, struct lapic_now now,
                              struct ipi *ipi);

/* The processor's priority (SDM, "Task and Processor Priorities"). */
uint8_t lapic_ppr(const struct lapic *lapic);

/* The vector that the CPU would be given now, or -1: none, or none whose class is high enough. */
int lapic_pending(const struct lapic *lapic);

/* Whether any interrupt is requested; after lapic_follow(), whether any may be. */
static inline bool lapic_requests(const struct lapic *lapic)
{
    return lapic->irr_words != 0;
}

/* Whether nothing is requested or in service. */
static inline bool lapic_is_idle(const struct lapic *lapic)
{
    return (lapic->irr_words | lapic->isr_words) == 0;
}

/* Those of the eight registers that can have any bit if the highest is VECTOR; 0: there is none. */
static inline uint8_t lapic_words(unsigned vector)
{
    return (uint8_t)(vector == 0 ? 0 : (2u << vector / 32) - 1);
}

/*
 * A CPU that uses the page may have changed it: HIGHEST is the highest vector that is requested
 * now, or 0, and in bits 15:8 the highest in service.
 */
static inline void lapic_follow(struct lapic *lapic, unsigned highest)
{
    lapic->irr_words |= lapic_words(highest & 0xff);
    lapic->isr_words |= lapic_words(highest >> 8);
}

/* The same of what it is now. */
unsigned lapic_highest(struct lapic *lapic);

/* The CPU takes VECTOR, which lapic_pending() has named. */
void lapic_take(struct lapic *lapic, unsigned vector);

/*
 * An EOI, which a write to its register also makes. Returns the vector if I/O APICs are to get it,
 * else 0.
 */
unsigned lapic_end(struct lapic *lapic);

/* Requests VECTOR of the APIC's CPU by an edge; one below 16 is an error. */
void lapic_post(struct lapic *lapic, unsigned vector);

/*
 * Which of COUNT APICs an IPI of SET[SELF] goes to, as bits; of lowest priority to one at most. The
 * set is of a VM's vCPUs, by index.
 */
uint64_t lapic_targets(struct lapic *const *set, unsigned count, unsigned self,
                       const struct ipi *ipi);

/* A fixed interrupt arrives; one that is software-disabled does not take it. */
void lapic_receive(struct lapic *lapic, unsigned vector, bool level);

/*
 * LINT0 is high. Where it is level-triggered and fixed, its interrupt is requested, unless it is
 * or is in service already: again after each EOI (SDM, "Local Vector Table").
 */
void lapic_hold_lint0(struct lapic *lapic);

/* Has the timer fire if it is time. */
void lapic_tick(struct lapic *lapic, struct lapic_now now);

/*
 * Host TSC ticks until the timer next requests an interrupt; UINT64_MAX: it will not, or not before
 * the one that it has requested is taken; by the second, whether that has been or not.
 */
uint64_t lapic_timer_left(const struct lapic *lapic, struct lapic_now now);
uint64_t lapic_timer_next(const struct lapic *lapic, struct lapic_now now);

/* IA32_TSC_DEADLINE: in other modes of the timer it reads as 0, and a write is ignored. */
void lapic_set_deadline(struct lapic *lapic, uint64_t value, struct lapic_now now);
uint64_t lapic_deadline(struct lapic *lapic, struct lapic_now now);
