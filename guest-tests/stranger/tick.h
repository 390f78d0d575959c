/* What the files of the kernel share. */
/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { MAX_CPUS = 16, ISA_IRQS = 16 };

/* Interrupt vectors. */
enum { VECTOR_PIC = 0x20, VECTOR_TIMER = 0x40, VECTOR_IPI = 0x41, VECTOR_SPURIOUS = 0xff };

/* --- instructions --- */

static inline void outb(uint16_t port, uint8_t value)
{
    __asm__ volatile("outb %0, %1" : : "a"(value), "Nd"(port) : "memory");
}

static inline void outl(uint16_t port, uint32_t value)
{
    __asm__ volatile("outl %0, %1" : : "a"(value), "Nd"(port) : "memory");
}

static inline uint8_t inb(uint16_t port)
{
    uint8_t value;
    __asm__ volatile("inb %1, %0" : "=a"(value) : "Nd"(port) : "memory");
    return value;
}

static inline uint32_t inl(uint16_t port)
{
    uint32_t value;
    __asm__ volatile("inl %1, %0" : "=a"(value) : "Nd"(port) : "memory");
    return value;
}

static inline uint64_t rdmsr(uint32_t msr)
{
    uint32_t low, high;
    __asm__ volatile("rdmsr" : "=a"(low), "=d"(high) : "c"(msr));
    return (uint64_t)high << 32 | low;
}

static inline void wrmsr(uint32_t msr, uint64_t value)
{
    __asm__ volatile("wrmsr"
                     :
                     : "a"((uint32_t)value), "d"((uint32_t)(value >> 32)), "c"(msr)
                     : "memory");
}

static inline uint32_t cpuid_1_ecx(void)
{
    uint32_t eax = 1, ebx, ecx = 0, edx;
    __asm__ volatile("cpuid" : "+a"(eax), "=b"(ebx), "+c"(ecx), "=d"(edx));
    return ecx;
}

/* Sleeps until there has been an interrupt. */
static inline void sleep_once(void)
{
    __asm__ volatile("sti; hlt; cli" : : : "memory");
}

static inline volatile uint32_t *mmio(uint32_t address)
{
    return (volatile uint32_t *)(uintptr_t)address;
}

/* --- text.c --- */

void serial_init(void);
void print(const char *text);
void print_number(const char *before, uint32_t number, const char *after);

/* Ends QEMU, with 0 for "well". */
__attribute__((noreturn)) void quit(uint32_t code);
__attribute__((noreturn)) void fail(const char *why);

/* --- tables.c: what firmware says of the machine --- */

struct machine {
    unsigned cpus;
    uint8_t apic_id[MAX_CPUS];
    uint32_t lapic, ioapic, ioapic_base; /* addresses; the GSI of its first pin */
    uint32_t gsi[ISA_IRQS];
    uint16_t flags[ISA_IRQS]; /* polarity and trigger, as in the tables */
    uint16_t pm_timer;        /* port; 0: unknown */
};

extern struct machine machine;

bool find_by_acpi(void);
bool find_by_mp(void);

/* --- chips.c: PICs, PIT, I/O APIC, local APIC --- */

void pic_init(void);
void pic_open(unsigned irq, bool open);
void pic_eoi(unsigned irq);
void pit_ticks(unsigned hz);
void wait_us(unsigned us); /* at most 50000 */
void ioapic_open(unsigned irq, unsigned vector, bool open);
void apic_init(void);
const char *apic_name(void);
uint32_t apic_id(void);
void apic_eoi(void);
void apic_send(uint32_t to, uint32_t command);
void apic_timer(uint32_t count, bool periodic);
uint32_t apic_timer_left(void);

enum {
    IPI_INIT = 0x4500,
    IPI_STARTUP = 0x4600,
    IPI_FIXED = 0x4000,
    IPI_TO_OTHERS = 0xc0000,
};

/* --- interrupts.c --- */

void idt_init(void);
void idt_load(void);

/* How often each of the vectors has come, on any CPU. */
extern volatile unsigned taken[256];
extern bool by_pic; /* IRQs are ended there */

/* main.c: COM1 has room for more. */
void serial_interrupt(void);
