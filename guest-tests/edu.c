/*
 * QEMU's device for education (docs/specs/edu.txt), as a driver uses it: its registers, interrupts
 * by pin and by message, DMA both ways through memory of every type.
 *
 * row: edu end=0 waits=yes timeout=60 control-timeout=30 device=edu set=control=yes
 *      cmdline=dma=coherent
 * row: edu.non-coherent end=0 waits=yes timeout=60 device="edu dma=non-coherent" set=control=yes
 *      control=skip control-reason="as edu"
 * row: edu.narrow end=0 timeout=60 device=edu iommu=narrow set=control=yes
 *      cmdline="n=1 dma=coherent" control=skip control-reason="as edu"
 * row: edu.no-snoop end=0 waits=yes timeout=60 device=edu iommu=no-snoop set=control=yes
 *      control=skip control-reason="as edu"
 * row: edu.gsi end=0 waits=yes timeout=60 device="edu intx=21" set=control=yes
 *      cmdline=dma=coherent control=skip control-reason="as edu"
 * row: edu.amd end=0 waits=yes timeout=60 device=edu iommu=amd set=control=yes
 *      cmdline=dma=coherent control=skip control-reason="as edu"
 * row: edu.amd-non-coherent end=0 waits=yes timeout=60 device="edu dma=non-coherent" iommu=amd
 *      set=control=yes control=skip control-reason="as edu"
 * row: edu.amd-port end=0 waits=yes timeout=60 device=edu-port iommu=amd set=control=yes
 *      cmdline=dma=coherent control=skip control-reason="as edu.port"
 * row: edu.amd-bridge end=0 waits=yes timeout=60 device=edu-bridge iommu=amd set=control=yes
 *      cmdline=dma=coherent control=skip control-reason="as edu.bridge"
 * row: edu.port end=0 waits=yes timeout=60 control-timeout=30 device=edu-port set=control=yes
 *      cmdline=dma=coherent
 * row: edu.bridge end=0 waits=yes timeout=60 control-timeout=30 device=edu-bridge
 *      set=control=yes cmdline=dma=coherent
 * row: edu.4 end=0 timeout=90 control-timeout=60 cpus=4 device=edu set=control=yes
 *      cmdline=dma=coherent
 * row: edu.4-no-snoop end=0 timeout=90 cpus=4 device=edu iommu=no-snoop
 *      set=control=yes control=skip control-reason="as edu.4"
 * row: edu.amd-4 end=0 timeout=90 cpus=4 device=edu iommu=amd set=control=yes cmdline=dma=coherent
 *      control=skip control-reason="as edu.4"
 *
 * With `n=N` on the command line it does no more than N DMAs; with `trace=yes` no more than what
 * tests/system/test_passthrough.py looks for in the trace.
 */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "guest-tests/runtime/apic.h"
#include "guest-tests/runtime/console.h"
#include "guest-tests/runtime/dma.h"
#include "guest-tests/runtime/edu.h"
#include "guest-tests/runtime/ktap.h"
#include "guest-tests/runtime/machine.h"
#include "guest-tests/runtime/policies.h"
#include "guest-tests/runtime/smp.h"
#include "guest-tests/runtime/taken.h"

enum { VECTOR_INTX = 0x51, VECTOR_MSI = 0x52, EPERM = 1, EOPNOTSUPP = 95 };

static volatile uint32_t causes; /* that interrupts came with */

static const char *needs_room(void)
{
    if (needs_edu() != NULL)
        return needs_edu();
    return edu >> 8 == 0 ? NULL : "a bridge leads to no other place";
}

/* --- registers -------------------------------------------------------------------------------- */

static bool is_there(void)
{
    return (edu_get(EDU_ID) & 0xffff) == 0x00ed;
}

static void registers_work(void)
{
    static const uint32_t values[] = {0, 1, 0x12345678, 0xffffffff};
    expect(edu_bar.size == EDU_SIZE && !edu_bar.io && !edu_bar.wide && !edu_bar.prefetchable,
           "BAR 0: %lx bytes", edu_bar.size);
    expect(is_there(), "identification %x", edu_get(EDU_ID));
    for (unsigned i = 0; i < ARRAY_SIZE(values); i++) {
        edu_put(EDU_LIVE, values[i]);
        expect(edu_get(EDU_LIVE) == ~values[i], "%x gives %x", values[i], edu_get(EDU_LIVE));
    }
}

static void config_by_both_ways(void)
{
    for (unsigned reg = 0; reg < 0x100; reg += 4)
        expect(pci_get(edu, reg, 4) == pci_get_by_port(edu, reg, 4), "register %x: %x and %x", reg,
               pci_get(edu, reg, 4), pci_get_by_port(edu, reg, 4));
    expect(pci_get(edu, PCI_DEVICE, 2) == EDU_DEVICE, "16 bits");
    expect(pci_get(edu, PCI_DEVICE + 1, 1) == EDU_DEVICE >> 8, "8 bits");
}

static const char *needs_ecam(void)
{
    return needs_edu() != NULL ? needs_edu() : pci_has_ecam() ? NULL : "no ECAM";
}

/* REP STOS over all BARs, of which there is one: PCI Local Bus Specification, "Address Maps". */
static void sized_at_once(void)
{
    pci_command(edu, 0, COMMAND_MEMORY);
    pci_fill(edu, PCI_BAR, UINT32_MAX, 6);
    uint32_t first = pci_get(edu, PCI_BAR, 4), last = pci_get(edu, PCI_BAR + 20, 4);
    pci_fill(edu, PCI_BAR, 0, 6);
    uint32_t zero = pci_get(edu, PCI_BAR, 4);
    pci_move_bar(edu, 0, edu_bar.address);
    pci_command(edu, COMMAND_MEMORY, 0);
    expect(first == -(uint32_t)EDU_SIZE && last == 0, "BARs 0 and 5: %x, %x", first, last);
    expect(zero == 0, "BAR 0: %x", zero);
    registers_work();
}

static void moved(void)
{
    const uint64_t old = edu_bar.address, new = 0xd0000000;
    struct pci_bar other = edu_bar;
    other.address = new;
    pci_command(edu, 0, COMMAND_MEMORY);
    pci_move_bar(edu, 0, new);
    pci_command(edu, COMMAND_MEMORY, 0);
    edu_map(&other);
    registers_work();
    edu_map(&edu_bar);
    expect(!is_there(), "it is still where it was");
    pci_command(edu, 0, COMMAND_MEMORY);
    expect(!is_there(), "it is there without decoding");
    pci_move_bar(edu, 0, old);
    pci_command(edu, COMMAND_MEMORY, 0);
    registers_work();
}

/* --- interrupts ------------------------------------------------------------------------------- */

static void take(unsigned cpu, unsigned vector)
{
    (void)cpu;
    if (vector != VECTOR_INTX && vector != VECTOR_MSI)
        return;
    causes = edu_get(EDU_IRQ);
    edu_put(EDU_ACK, causes);
}

static void begin(void)
{
    taken_clear();
    taken_hook = take;
    causes = 0;
}

static void factorial(uint32_t n, uint32_t want)
{
    edu_put(EDU_FACTORIAL, n);
    expect(edu_wait_clear(EDU_STATUS, STATUS_BUSY), "%u: busy", n);
    expect(edu_get(EDU_FACTORIAL) == want, "%u! = %u, not %u", n, edu_get(EDU_FACTORIAL), want);
}

static void factorials(void)
{
    factorial(1, 1);
    factorial(5, 120);
    factorial(12, 479001600);
    factorial(13, 1932053504); /* modulo 2^32 */
}

/* One interrupt a factorial, and one that is raised by hand. */
static void interrupts(unsigned vector)
{
    unsigned cpu = smp_index();
    begin();
    edu_put(EDU_STATUS, STATUS_INTERRUPTS);
    for (unsigned n = 1; n <= 3; n++) {
        factorial(4 + n, n == 1 ? 120 : n == 2 ? 720 : 5040);
        expect(dma_wait(vector, n) && causes == IRQ_FACTORIAL, "%u taken, cause %x",
               taken_of(cpu, vector), causes);
    }
    edu_put(EDU_STATUS, 0);
    edu_put(EDU_RAISE, 0x12340000);
    expect(dma_wait(vector, 4) && causes == 0x12340000, "by hand: %u taken, cause %x",
           taken_of(cpu, vector), causes);
    expect(taken_of(cpu, VECTOR_INTX) + taken_of(cpu, VECTOR_MSI) == 4, "INTx %u times, MSI %u",
           taken_of(cpu, VECTOR_INTX), taken_of(cpu, VECTOR_MSI));
}

static void intx(void)
{
    if (!pci_expect_intx(edu, VECTOR_INTX))
        return;
    interrupts(VECTOR_INTX);
    pci_close_intx(edu);
}

static void msi(void)
{
    if (!expect(pci_open_msi(edu, VECTOR_MSI), "no MSI"))
        return;
    interrupts(VECTOR_MSI);
    pci_close_msi(edu);
}

/* --- several CPUs ----------------------------------------------------------------------------- */

static void on(unsigned cpu, void (*work)(unsigned cpu))
{
    if (cpu == smp_index()) {
        work(cpu);
        return;
    }
    smp_begin(cpu, work);
    smp_wait(cpu);
}

static void raise_by_msi(unsigned cpu)
{
    (void)cpu;
    pci_open_msi(edu, VECTOR_MSI);
    edu_put(EDU_RAISE, 0x100);
    dma_wait(VECTOR_MSI, 1);
    pci_close_msi(edu);
}

static void raise_by_intx(unsigned cpu)
{
    (void)cpu;
    pci_open_intx(edu, VECTOR_INTX);
    edu_put(EDU_RAISE, 0x200);
    dma_wait(VECTOR_INTX, 1);
    pci_close_intx(edu);
}

/* The one that opens an interrupt gets it, once, and no other does. */
static void to_each(void)
{
    for (unsigned cpu = 0; cpu < smp_count(); cpu++) {
        begin();
        on(cpu, raise_by_msi);
        on(cpu, raise_by_intx);
        for (unsigned i = 0; i < smp_count(); i++)
            expect(taken_of(i, VECTOR_MSI) == (i == cpu) && taken_of(i, VECTOR_INTX) == (i == cpu),
                   "for CPU %u: %u by MSI, %u by INTx to CPU %u", cpu, taken_of(i, VECTOR_MSI),
                   taken_of(i, VECTOR_INTX), i);
    }
}

static const char *needs_others(void)
{
    if (needs_room() != NULL)
        return needs_room();
    if (smp_count() == 1)
        return "there is one CPU";
    return machine.nosnoop ? NULL : "emulator: while a BAR moves others read anything";
}

static volatile bool is_settled;
static uint32_t there[SMP_MAX], odd[SMP_MAX];
static bool last[SMP_MAX];

/* What no device answers is all ones. */
static void read_on(unsigned cpu)
{
    there[cpu] = odd[cpu] = 0;
    do {
        uint32_t id = edu_get(EDU_ID);
        there[cpu] += (id & 0xffff) == 0x00ed;
        odd[cpu] += (id & 0xffff) != 0x00ed && id != UINT32_MAX;
        smp_relax();
    } while (!is_settled);
    last[cpu] = is_there();
}

static void moved_under_others(void)
{
    enum { TIMES = 20 };
    is_settled = false;
    for (unsigned cpu = 1; cpu < smp_count(); cpu++)
        smp_begin(cpu, read_on);
    for (unsigned i = 0; i < 2 * TIMES; i++) {
        pci_command(edu, 0, COMMAND_MEMORY);
        pci_move_bar(edu, 0, i % 2 == 0 ? 0xd0000000 : edu_bar.address);
        pci_command(edu, COMMAND_MEMORY, 0);
    }
    is_settled = true;
    for (unsigned cpu = 1; cpu < smp_count(); cpu++) {
        smp_wait(cpu);
        expect(odd[cpu] == 0, "CPU %u: %u times odd", cpu, odd[cpu]);
        expect(last[cpu], "CPU %u: it is not there, but was %u times", cpu, there[cpu]);
    }
    registers_work();
}

/* --- DMA -------------------------------------------------------------------------------------- */

/* Starts at odd addresses, and crosses a page. */
enum { OFFSET = 0x133, BYTES = 4001 };

static void fill(volatile uint8_t *buffer, uint8_t seed)
{
    for (unsigned i = 0; i < BYTES; i++)
        buffer[OFFSET + i] = (uint8_t)(seed + i * 7 + (i >> 8));
    dma_sync(buffer, 2 * PAGE_SIZE);
}

/* The buffer holds what fill() writes, and around it what was there. */
static void expect_filled(const volatile uint8_t *buffer, uint8_t seed)
{
    unsigned wrong = 0;
    dma_sync(buffer, 2 * PAGE_SIZE);
    for (unsigned i = 0; i < BYTES; i++)
        wrong += buffer[OFFSET + i] != (uint8_t)(seed + i * 7 + (i >> 8));
    expect(wrong == 0, "%u bytes are wrong", wrong);
    expect(dma_is_pattern(buffer, OFFSET), "bytes before it have changed");
    expect(dma_is_pattern(buffer + OFFSET + BYTES, 2 * PAGE_SIZE - OFFSET - BYTES),
           "bytes behind it have changed");
}

static void there_and_back(volatile uint8_t *from, volatile uint8_t *to, uint8_t seed)
{
    fill(from, seed);
    dma_sync(to, 2 * PAGE_SIZE);
    expect(edu_transfer(dma_address(from) + OFFSET, EDU_BUFFER, BYTES, 0), "to the device: no end");
    expect(edu_transfer(EDU_BUFFER, dma_address(to) + OFFSET, BYTES, DMA_FROM_DEVICE),
           "from it: no end");
    expect_filled(to, seed);
    expect_filled(from, seed);
}

static void both_ways(void)
{
    there_and_back(dma_take(2), dma_take(2), 1);
}

/* A DMA whose end is told by an interrupt. */
static void told(void)
{
    volatile uint8_t *from = dma_take(2), *to = dma_take(2);
    begin();
    fill(from, 2);
    dma_sync(to, 2 * PAGE_SIZE);
    pci_open_msi(edu, VECTOR_MSI);
    edu_start(dma_address(from) + OFFSET, EDU_BUFFER, BYTES, DMA_INTERRUPTS);
    expect(dma_wait(VECTOR_MSI, 1) && causes == IRQ_DMA, "by MSI: cause %x", causes);
    pci_close_msi(edu);
    pci_open_intx(edu, VECTOR_INTX);
    edu_start(EDU_BUFFER, dma_address(to) + OFFSET, BYTES, DMA_FROM_DEVICE | DMA_INTERRUPTS);
    expect(dma_wait(VECTOR_INTX, 1) && causes == IRQ_DMA, "by INTx: cause %x", causes);
    pci_close_intx(edu);
    expect_filled(to, 2);
}

/* Of two buffers one becomes WC, after DMA and before more of it. */
static void retyped(void)
{
    dma_begin(DMA_WB);
    uint8_t *one = dma_take(2), *other = dma_take(2);
    there_and_back(one, other, 3);
    dma_retype(one, 2, DMA_WC_PAT);
    there_and_back(one, other, 4);
    there_and_back(other, one, 5);
    dma_end();
}

/* PCI Local Bus Specification, "Device Control": a function without that bit is no master. */
static void no_master(void)
{
    dma_begin(DMA_WB);
    volatile uint8_t *from = dma_take(2), *to = dma_take(2);
    there_and_back(from, to, 6);
    pci_command(edu, 0, COMMAND_MASTER);
    fill(from, 7);
    expect(edu_transfer(EDU_BUFFER, dma_address(to) + OFFSET, BYTES, DMA_FROM_DEVICE), "no end");
    fill(from, 6);
    pci_command(edu, COMMAND_MASTER, 0);
    expect_filled(to, 6);
    dma_end();
}

/* --- rules ------------------------------------------------------------------------------------ */

static const char *needs_no_snoop(void)
{
    if (needs_nosnoop() != NULL || needs_edu() != NULL)
        return needs_nosnoop() != NULL ? needs_nosnoop() : needs_edu();
    return cmdline_has("dma", "coherent") ? "the device looks into the caches" : NULL;
}

static void expect_rules(const struct rules *rules, volatile uint8_t *at)
{
    struct type_answer a = {0};
    struct mtrrs mtrrs;
    mtrrs_read(&mtrrs);
    int64_t result = oracle_ask(HYPERCALL_TYPE_LINEAR, (uint64_t)at, 0, &a);
    unsigned want = memory_by(rules, &mtrrs, false, dma_address(at), MT_WB).effective;
    expect(result == 0 && a.effective == want, "%s: %s, not %s", policy_names[rules->policy],
           type_name(a.effective), type_name(want));
}

/* It is the VM's device that decides how they are, whatever the guest says of it. */
static void rules_of_others(void)
{
    dma_begin(DMA_UC_MTRR);
    volatile uint8_t *buffer = dma_take(1);
    for (unsigned policy = 0; policy < POLICIES; policy++) {
        const struct rules *rules = rules_of(policy, true);
        int64_t result = policy_call(policy, 0);
        int64_t want = policy == POLICY_WB ? -EPERM : rules == NULL ? -EOPNOTSUPP : 0;
        expect(result == want, "%s: %ld", policy_names[policy], result);
        if (result == 0)
            expect_rules(rules, buffer);
    }
    expect(policy_call(POLICY_WB, 1) == -EPERM, "rules that ignore the MTRRs");
    expect(policy_call(POLICY_EXACT, 0) == 0, "back to exact");
    dma_end();
}

/* What has its exits counted: DMAs whose ends are told by MSI. */
static void again_and_again(void)
{
    dma_begin(DMA_WB);
    volatile uint8_t *from = dma_take(2);
    begin();
    fill(from, 8);
    pci_open_msi(edu, VECTOR_MSI);
    for (uint32_t n = 1; n <= cmdline_number("n", 0); n++) {
        sti(); /* as while any driver runs: the interrupt is taken as it comes */
        edu_start(dma_address(from) + OFFSET, EDU_BUFFER, BYTES, DMA_INTERRUPTS);
        expect(dma_wait(VECTOR_MSI, n), "%u: no interrupt", n);
    }
    pci_close_msi(edu);
    dma_end();
}

/* --- tables ----------------------------------------------------------------------------------- */

static const struct test_case cases[] = {
    {"the function is found", NULL, edu_expect},
    {"identification and liveness", needs_edu, registers_work},
    {"configuration space by ECAM and by ports", needs_edu, config_by_both_ways},
    {"BARs that are sized by REP STOS", needs_ecam, sized_at_once},
    {"a BAR that is moved", needs_room, moved},
    {"factorials", needs_edu, factorials},
    {"interrupts by INTx", needs_edu, intx},
    {"interrupts by MSI", needs_edu, msi},
    {"interrupts to each CPU", needs_edu, to_each},
    {"a BAR that is moved while others read it", needs_others, moved_under_others},
    {"a buffer that is made WC between DMAs", needs_edu, retyped},
    {"no DMA without bus mastering", needs_edu, no_master},
    {"rules for a device that does not snoop", needs_no_snoop, rules_of_others},
    {"no other memory has changed", needs_edu, dma_check_memory},
};

/* DMA through memory as it was typed before, what empties the caches, and DMA through UC memory. */
static void traced(void)
{
    pci_command(edu, 0, COMMAND_MASTER);
    int64_t on = hypercall_trace(TRACE_CALL_ON);
    pci_command(edu, COMMAND_MASTER, 0);
    dma_begin(DMA_WB);
    there_and_back(dma_take(2), dma_take(2), 1);
    wbinvd();
    __asm__ volatile("invd" : : : "memory");
    dma_end();
    dma_begin(DMA_UC_MTRR);
    there_and_back(dma_take(2), dma_take(2), 2);
    dma_end();
    int64_t off = hypercall_trace(TRACE_CALL_OFF), dump = hypercall_trace(TRACE_CALL_DUMP);
    expect(on == 0 && off == 0 && dump == 0, "on %ld, off %ld, dump %ld", on, off, dump);
}

static const struct test_case under_trace[] = {
    {"DMA under the trace", needs_edu, traced},
};

static const struct test_case repeated[] = {
    {"DMA again and again", needs_edu, again_and_again},
};

void test_main(void)
{
    taken_init();
    apic_enable();
    pci_init();
    edu_find();
    if (smp_count() > 1)
        smp_start();
    if (edu != PCI_NOT_THERE)
        pci_command(edu, COMMAND_MASTER, 0);
    dma_init();
    if (cmdline_number("n", UINT64_MAX) != UINT64_MAX)
        ktap_all(repeated, ARRAY_SIZE(repeated));
    if (cmdline_has("trace", "yes"))
        ktap_all(under_trace, ARRAY_SIZE(under_trace));
    ktap_begin(2 * DMA_TYPES + ARRAY_SIZE(cases));
    dma_run("DMA both ways", needs_edu, both_ways);
    dma_run("DMA whose ends are told by MSI and INTx", needs_edu, told);
    ktap_run(cases, ARRAY_SIZE(cases));
    ktap_end();
}
