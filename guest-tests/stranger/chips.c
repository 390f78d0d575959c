/* The PICs, the PIT, the I/O APIC and the local APIC, which is an x2APIC where the CPU has one. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "tick.h"

/* --- PICs --- */

enum { PIC1 = 0x20, PIC2 = 0xa0 };

/* As every tutorial does it: vectors from VECTOR_PIC on, all masked. */
void pic_init(void)
{
    outb(PIC1, 0x11);
    outb(PIC2, 0x11);
    outb(PIC1 + 1, VECTOR_PIC);
    outb(PIC2 + 1, VECTOR_PIC + 8);
    outb(PIC1 + 1, 4);
    outb(PIC2 + 1, 2);
    outb(PIC1 + 1, 1);
    outb(PIC2 + 1, 1);
    outb(PIC1 + 1, 0xfb);
    outb(PIC2 + 1, 0xff);
}

void pic_open(unsigned irq, bool open)
{
    uint16_t port = irq < 8 ? PIC1 + 1 : PIC2 + 1;
    uint8_t bit = (uint8_t)(1 << irq % 8);
    outb(port, open ? inb(port) & (uint8_t)~bit : inb(port) | bit);
}

void pic_eoi(unsigned irq)
{
    if (irq >= 8)
        outb(PIC2, 0x20);
    outb(PIC1, 0x20);
}

/* --- PIT --- */

enum { PIT_HZ = 1193182 };

void pit_ticks(unsigned hz)
{
    unsigned divisor = PIT_HZ / hz;
    outb(0x43, 0x34);
    outb(0x40, (uint8_t)divisor);
    outb(0x40, (uint8_t)(divisor >> 8));
}

/* By channel 2, with the speaker off. */
void wait_us(unsigned us)
{
    unsigned count = us * (PIT_HZ / 1000) / 1000;
    outb(0x61, (inb(0x61) & 0xfc) | 1);
    outb(0x43, 0xb0);
    outb(0x42, (uint8_t)count);
    outb(0x42, (uint8_t)(count >> 8));
    while ((inb(0x61) & 0x20) == 0)
        ;
}

/* --- I/O APIC --- */

static void ioapic_write(unsigned reg, uint32_t value)
{
    mmio(machine.ioapic)[0] = reg;
    mmio(machine.ioapic)[4] = value;
}

/* To this CPU. */
void ioapic_open(unsigned irq, unsigned vector, bool open)
{
    unsigned pin = machine.gsi[irq] - machine.ioapic_base, flags = machine.flags[irq];
    uint32_t low =
        vector | ((flags & 3) == 3 ? 1u << 13 : 0) | ((flags >> 2 & 3) == 3 ? 1u << 15 : 0);
    ioapic_write(0x10 + 2 * pin + 1, apic_id() << 24);
    ioapic_write(0x10 + 2 * pin, low | (open ? 0 : 1u << 16));
}

/* --- local APIC --- */

enum { APIC_ID = 2, APIC_TPR = 8, APIC_EOI = 0xb, APIC_SVR = 0xf, APIC_ICR = 0x30 };
enum { APIC_TIMER = 0x32, APIC_INITIAL = 0x38, APIC_CURRENT = 0x39, APIC_DIVIDE = 0x3e };
enum { MSR_APIC_BASE = 0x1b, MSR_X2APIC = 0x800 };

static bool x2;

static uint32_t apic_read(unsigned reg)
{
    return x2 ? (uint32_t)rdmsr(MSR_X2APIC + reg) : mmio(machine.lapic)[reg * 4];
}

static void apic_write(unsigned reg, uint32_t value)
{
    if (x2)
        wrmsr(MSR_X2APIC + reg, value);
    else
        mmio(machine.lapic)[reg * 4] = value;
}

/* Of each CPU. The 32-bit kernel is older than x2APICs. */
void apic_init(void)
{
    uint64_t base = rdmsr(MSR_APIC_BASE);
    wrmsr(MSR_APIC_BASE, base | 0x800);
#ifdef __x86_64__
    x2 = (cpuid_1_ecx() >> 21 & 1) != 0;
    if (x2)
        wrmsr(MSR_APIC_BASE, base | 0xc00);
#endif
    apic_write(APIC_TPR, 0);
    apic_write(APIC_SVR, 0x100 | VECTOR_SPURIOUS);
}

const char *apic_name(void)
{
    return x2 ? "x2APIC" : "xAPIC";
}

uint32_t apic_id(void)
{
    return x2 ? apic_read(APIC_ID) : apic_read(APIC_ID) >> 24;
}

void apic_eoi(void)
{
    apic_write(APIC_EOI, 0);
}

void apic_send(uint32_t to, uint32_t command)
{
    if (x2) {
        wrmsr(MSR_X2APIC + APIC_ICR, (uint64_t)to << 32 | command);
        return;
    }
    apic_write(APIC_ICR + 1, to << 24);
    apic_write(APIC_ICR, command);
    while ((apic_read(APIC_ICR) & 0x1000) != 0)
        ;
}

/* In bus ticks by 16; 0 stops it. */
void apic_timer(uint32_t count, bool periodic)
{
    apic_write(APIC_DIVIDE, 3);
    apic_write(APIC_TIMER, VECTOR_TIMER | (periodic ? 1u << 17 : 0));
    apic_write(APIC_INITIAL, count);
}

uint32_t apic_timer_left(void)
{
    return apic_read(APIC_CURRENT);
}
