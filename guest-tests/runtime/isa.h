/*
 * ISA interrupts on the first CPU, by either of their ways: the 8259s and LINT0, or the I/O APIC;
 * and a line whose level a test sets: COM1's, which is high while its transmitter's interrupt is
 * pending.
 */
/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "guest-tests/runtime/interrupt.h"

enum { IRQ_PIT, IRQ_CASCADE = 2, IRQ_COM2, IRQ_COM1, IRQ_RTC = 8, IRQ_SCI, IRQS = 16 };
enum { PIC_1 = 0x20, PIC_1_DATA, PIC_2 = 0xa0, PIC_2_DATA, ELCR_1 = 0x4d0, ELCR_2 };
enum { PIC_AUTO_EOI = 1 << 1 }; /* of ICW4 */
enum { PIC_EOI = 0x20, PIC_SPECIFIC = 0x60, PIC_ROTATE = 0xa0, PIC_ROTATE_THIS = 0xe0 };
enum { PIC_ROTATE_AUTO = 0x80, PIC_LOWEST_IS = 0xc0, PIC_NOTHING = 0x40 };
enum { PIC_READ_IRR = 0x0a, PIC_READ_ISR, PIC_POLL, PIC_SPECIAL_OFF = 0x48, PIC_SPECIAL_ON = 0x68 };
enum { VECTOR_PIC = 0x20, VECTOR_PIN = 0x30, VECTOR_SPURIOUS = 0xff };
enum { LINT_EXTINT = 0x700 };
enum { RTC_INDEX = 0x70, RTC_DATA, RTC_A = 10, RTC_B, RTC_C, RTC_PERIODIC = 1 << 6 };
enum { COM1_DATA = 0x3f8, COM1_IER, COM1_IIR, COM1_LCR, COM1_MCR, COM1_LSR, COM1_MSR };

/* The I/O APIC's registers, and bits of its entries. */
enum { IOAPIC_ID, IOAPIC_VERSION, IOAPIC_TABLE = 0x10, IOAPIC_PINS = 24 };
enum { PIN_LOGICAL = 1 << 11, PIN_PENDING = 1 << 12, PIN_LOW_ACTIVE = 1 << 13 };
enum { PIN_REMOTE_IRR = 1 << 14, PIN_LEVEL = 1 << 15, PIN_MASKED = 1 << 16 };

enum way { BY_PIC, BY_IOAPIC };

/* Taken since isa_clear(): of each IRQ, the 8259s' spurious ones, and all that nobody has asked
 * for. */
extern volatile uint32_t isa_taken[IRQS], isa_spurious, isa_odd;

/* Called before the EOI, if it is not NULL. */
extern void (*isa_hook)(unsigned irq);

/* What the 8259s are told at the end: pic_eoi() from isa_clear() on. */
extern void (*isa_eoi)(unsigned irq);

/* All masked, with the APIC enabled and the 8259s as IBM's BIOS has them but for their vectors. */
void isa_init(void);
void isa_clear(void);

/* ICW1 to ICW4 of both 8259s, the last with MORE; both are masked then. */
void pic_start(uint8_t more);
void pic_mask(unsigned irq, bool masked);
void pic_eoi(unsigned irq);
/* IRR or ISR of both, by PIC_READ_*. */
unsigned pic_read(uint8_t which);

uint32_t ioapic_get(unsigned reg);
void ioapic_set(unsigned reg, uint32_t value);
uint64_t pin_get(unsigned pin);
/* Masked while the two halves do not belong together. */
void pin_set(unsigned pin, uint64_t entry);
unsigned pin_of(unsigned irq);

/* The IRQ gets in by that way alone, as an edge or by level; or not at all. */
void isa_open(unsigned irq, enum way way, bool level);
void isa_close(unsigned irq);
/* A cell of the RTC. */
uint8_t rtc_get(unsigned cell);
void rtc_put(unsigned cell, unsigned value);

/* CAUSES of its interrupts, bits of register B, and no others; none is pending. */
void rtc_enable(unsigned causes);

/* Masks one that is open, where its way is: it stays as it is else. */
void isa_mask(unsigned irq, enum way way, bool masked);

/* With interrupts on until the IRQ has been taken COUNT times; false: for long it has not. */
bool isa_wait(unsigned irq, uint32_t count);

/* Interrupts on for a while. */
void isa_let_in(void);

/* COM1's line. Nothing may be printed while it is high. */
void line_init(void);
void line_set(bool high);

/*
 * Raises COM1's line N times in all orders of raising, masking and taking that there are, with the
 * PIT meanwhile: each is taken once.
 */
void isa_storm(enum way way, bool level, unsigned n);

/* The second CPU raises it while the first masks and unmasks it. Needs two, and smp_start(). */
void isa_race(enum way way, bool level, unsigned n);
const char *needs_two_cpus(void);

/* The PIT's channel 0 in MODE with COUNT (65536 as 0). */
enum { PIT_HZ = 1193182 };
void pit_start(unsigned mode, uint16_t count);

/*
 * Starts the PIT's channel 0, and has its cycles and the TSC's ticks of MS milliseconds. Where
 * something holds the guest up it begins again, a few times; false: that was so all the time.
 */
bool pit_measure(unsigned ms, uint64_t *cycles, uint64_t *ticks);

/* The TSC's ticks of a second: told, or else measured so; 0: it could not be. */
uint64_t pit_second(void);

/*
 * Whether N interrupts, told by isa_note() as they come, have that PERIOD of the TSC within a
 * thousandth. Interrupts may be late, or lost by who is held up: it looks at those that are least
 * late in the first and the last third. None may come too often; where no time is lost, as under
 * Bochs, each has to come.
 */
struct meter {
    uint64_t period, first, last;
    unsigned n, taken;
    struct {
        uint64_t at;
        int64_t late;
    } least[2];
};
enum { METER_TRIES = 20 }; /* an emulator may be held up; a wrong rate is never right */
void isa_note(struct meter *meter);
bool isa_has_rate(const struct meter *meter);

/* A number that looks random: always the same ones. */
uint32_t isa_random(void);
