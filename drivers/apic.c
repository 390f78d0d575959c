/* The local APIC of the running CPU, in either mode. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "drivers/apic.h"

#include "lib/x86.h"
#include "vmm/host/host.h"

enum { BASE_BOOT_CPU = 1 << 8, BASE_X2APIC = 1 << 10, BASE_ENABLE = 1 << 11 };

/* SDM, "Local APIC Register Address Map". */
enum { ID = 0x20, TPR = 0x80, EOI = 0xb0, SVR = 0xf0, ISR = 0x100, ICR = 0x300, ICR_HIGH = 0x310 };
enum { LVT_TIMER = 0x320, LVT_LINT0 = 0x350, INITIAL_COUNT = 0x380, CURRENT_COUNT = 0x390 };
enum { DIVIDE = 0x3e0, DIVIDE_BY_1 = 0xb };
enum { SVR_ENABLE = 1 << 8, LVT_EXTINT = 7 << 8, ICR_PENDING = 1 << 12, ICR_ASSERT = 1 << 14 };

/* Reads of the ICR until what it sends is taken for stuck: each takes 20 ns or more. */
enum { PATIENCE = 100000 };

static volatile char *registers; /* NULL: none, or by MSRs */
static uint64_t place;           /* of the registers in physical memory */
static bool by_msrs;

static uint32_t read_reg(unsigned reg)
{
    if (by_msrs)
        return (uint32_t)rdmsr(MSR_X2APIC + reg / 16);
    return *(volatile uint32_t *)(volatile void *)(registers + reg);
}

static void write_reg(unsigned reg, uint32_t value)
{
    if (by_msrs)
        wrmsr(MSR_X2APIC + reg / 16, value);
    else
        *(volatile uint32_t *)(volatile void *)(registers + reg) = value;
}

bool apic_is_on(void)
{
    return by_msrs || registers != NULL;
}

void apic_init(struct host *host, bool asks_for_xapic)
{
    uint64_t base;
    if (!rdmsr_safe(MSR_APIC_BASE, &base) || (base & BASE_ENABLE) == 0)
        return;
    place = align_down(base, PAGE_SIZE);
    by_msrs = (base & BASE_X2APIC) != 0 || (!asks_for_xapic && cpu_has(1, 2, 21));
    if (!by_msrs)
        registers = host_map_mmio(host, hpa(place), PAGE_SIZE);
    apic_join();
}

void apic_join(void)
{
    if (!apic_is_on())
        return;
    uint64_t boot_cpu = rdmsr(MSR_APIC_BASE) & BASE_BOOT_CPU;
    wrmsr(MSR_APIC_BASE, place | boot_cpu | BASE_ENABLE | (by_msrs ? BASE_X2APIC : 0));
    write_reg(SVR, APIC_SPURIOUS); /* masks every entry of the LVT, for good */
    write_reg(TPR, APIC_HOST_VECTORS - 1);
    write_reg(SVR, SVR_ENABLE | APIC_SPURIOUS);
}

void apic_take_from(unsigned vector)
{
    assert(vector % 16 == 0 && vector > 16);
    if (apic_is_on())
        write_reg(TPR, vector - 1);
}

void apic_take_pic(void)
{
    if (apic_is_on())
        write_reg(LVT_LINT0, LVT_EXTINT);
}

void apic_end(uint8_t vector)
{
    bool own = vector >= APIC_HOST_VECTORS && vector != APIC_SPURIOUS;
    if (apic_is_on() && (own || (read_reg(ISR + vector / 32 * 16u) >> vector % 32 & 1) != 0))
        write_reg(EOI, 0);
}

uint32_t apic_id(void)
{
    return by_msrs ? read_reg(ID) : read_reg(ID) >> 24;
}

uint32_t apic_last_id(void)
{
    return by_msrs ? UINT32_MAX - 1 : 0xfe;
}

/* What was written before is to be seen by who gets the IPI: this WRMSR orders nothing. */
static void send_by_msr(uint32_t to, uint32_t command)
{
    __asm__ volatile("mfence\n\tlfence" : : : "memory");
    wrmsr(MSR_X2APIC + ICR / 16, (uint64_t)to << 32 | command);
}

bool apic_send(uint32_t to, uint32_t command)
{
    assert(apic_is_on() && to <= apic_last_id());
    if (by_msrs) {
        send_by_msr(to, command | ICR_ASSERT);
        return true;
    }
    write_reg(ICR_HIGH, to << 24);
    write_reg(ICR, command | ICR_ASSERT);
    for (unsigned i = 0; i < PATIENCE; i++) {
        if ((read_reg(ICR) & ICR_PENDING) == 0)
            return true;
        cpu_relax();
    }
    return false;
}

bool apic_timer_init(uint8_t vector)
{
    if (!apic_is_on())
        return false;
    write_reg(DIVIDE, DIVIDE_BY_1);
    write_reg(LVT_TIMER, vector);
    return true;
}

void apic_timer_start(uint32_t count)
{
    write_reg(INITIAL_COUNT, count);
}

uint32_t apic_timer_count(void)
{
    return read_reg(CURRENT_COUNT);
}
