/* How fast the TSC counts: as CPUID says, or as the PIT measures. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "vmm/host/clock.h"

#include "mm/types.h"
#include "vmm/host/log.h"

/* The 8254's channel 2, whose gate and output are in port 61h: no interrupt is needed. */
enum { PIT_CHANNEL2 = 0x42, PIT_COMMAND = 0x43, PORT_B = 0x61 };
enum { PORT_B_GATE2 = 1 << 0, PORT_B_SPEAKER = 1 << 1, PORT_B_OUT2 = 1 << 5 };
enum { PIT_MODE0 = 2 << 6 | 3 << 4 }; /* channel 2, both bytes; OUT rises at the end of the count */
enum { PIT_HZ = 1193182, TRIES = 5 };
enum { LONGEST = 64000000 };                 /* ticks: 3 ms of any TSC, and what no PIT wastes */
enum { SLOWEST = 1000, FASTEST = 20000000 }; /* kHz */

static uint32_t tsc_khz;

static uint32_t plausible(uint64_t khz)
{
    return khz >= SLOWEST && khz <= FASTEST ? (uint32_t)khz : 0;
}

uint32_t clock_khz_of_crystal(struct cpuid_regs r)
{
    if (r.eax == 0 || r.ebx == 0 || r.ecx == 0)
        return 0;
    return plausible((uint64_t)r.ecx * r.ebx / r.eax / 1000);
}

uint32_t clock_khz_of_pit(uint64_t ticks)
{
    return ticks > LONGEST ? 0 : plausible(ticks * PIT_HZ / CLOCK_PIT_COUNT / 1000);
}

/*
 * Ticks while the PIT counts; 0: it does not. The end is believed between two looks at it; GAP gets
 * the longest time between looks: long where something else, such as an SMI, had the CPU.
 */
static uint64_t time_pit(uint64_t *gap)
{
    uint64_t start, before, now;
    bool ended;
    out8(PIT_COMMAND, PIT_MODE0);
    out8(PIT_CHANNEL2, CLOCK_PIT_COUNT & 0xff);
    out8(PIT_CHANNEL2, CLOCK_PIT_COUNT >> 8);
    start = now = rdtsc();
    *gap = 0;
    if ((in8(PORT_B) & PORT_B_OUT2) != 0)
        return 0;
    do {
        before = now;
        ended = (in8(PORT_B) & PORT_B_OUT2) != 0;
        now = rdtsc();
        *gap = max_u64(*gap, now - before);
    } while (!ended && now - start < LONGEST);
    return ended ? (before + now) / 2 - start : 0;
}

/* Of several tries the one that was disturbed least: the first where that is little. */
static uint32_t measure(void)
{
    uint64_t ticks = 0, least = UINT64_MAX, gap;
    uint8_t port_b = in8(PORT_B);
    out8(PORT_B, (uint8_t)((port_b & ~PORT_B_SPEAKER) | PORT_B_GATE2));
    for (unsigned i = 0; i < TRIES && (ticks == 0 || least > ticks / 1024); i++) {
        uint64_t got = time_pit(&gap);
        if (got == 0 || gap >= least)
            continue;
        ticks = got;
        least = gap;
    }
    out8(PORT_B, port_b);
    return clock_khz_of_pit(ticks);
}

void clock_init(void)
{
    const char *how = "CPUID";
    if (cpuid(0, 0).eax >= 0x15)
        tsc_khz = clock_khz_of_crystal(cpuid(0x15, 0));
    if (tsc_khz == 0) {
        how = "the PIT";
        tsc_khz = measure();
    }
    if (tsc_khz != 0)
        log_line("clock: TSC at %u kHz, by %s", tsc_khz, how);
    else
        log_line("clock: neither CPUID 15h nor a PIT tells the TSC's rate: guests are not told");
}

uint32_t clock_tsc_khz(void)
{
    return tsc_khz;
}

uint64_t clock_ticks(uint64_t us)
{
    return us * (tsc_khz != 0 ? tsc_khz : FASTEST) / 1000;
}
