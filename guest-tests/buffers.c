/*
 * A device that does not snoop, and buffers of every type that a driver can make: what the guest's
 * MTRR and PAT say of each, what the hypervisor's leaf has, what comes of both, what bare metal
 * makes of it, and whether the device reads and writes what it should.
 *
 * row: buffers end=0 waits=yes timeout=60 control-timeout=30 device=edu iommu=no-snoop
 *      set=control=yes
 * row: buffers.amd end=0 waits=yes timeout=60 device="edu dma=non-coherent" iommu=amd
 *      set=control=yes control=skip control-reason="as buffers"
 */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "guest-tests/runtime/apic.h"
#include "guest-tests/runtime/console.h"
#include "guest-tests/runtime/dma.h"
#include "guest-tests/runtime/edu.h"
#include "guest-tests/runtime/ktap.h"
#include "guest-tests/runtime/machine.h"
#include "guest-tests/runtime/memtypes.h"
#include "guest-tests/runtime/taken.h"

enum { BYTES = 4000 };

static uint8_t byte_of(unsigned i, unsigned seed)
{
    return (uint8_t)(seed + i * 11 + (i >> 8));
}

static bool holds(const volatile uint8_t *buffer, unsigned seed)
{
    dma_sync(buffer, PAGE_SIZE);
    for (unsigned i = 0; i < BYTES; i++)
        if (buffer[i] != byte_of(i, seed))
            return false;
    return dma_is_pattern(buffer + BYTES, PAGE_SIZE - BYTES);
}

/* The device takes the bytes of one buffer and writes them to the other. */
static bool carries(volatile uint8_t *from, volatile uint8_t *to, unsigned seed)
{
    for (unsigned i = 0; i < BYTES; i++)
        from[i] = byte_of(i, seed);
    dma_sync(from, PAGE_SIZE);
    dma_sync(to, PAGE_SIZE);
    return edu_transfer(dma_address(from), EDU_BUFFER, BYTES, 0) &&
           edu_transfer(EDU_BUFFER, dma_address(to), BYTES, DMA_FROM_DEVICE) && holds(to, seed) &&
           holds(from, seed);
}

/* What the oracle says; in a control run there is none to ask. */
static bool ask(const volatile void *at, struct type_answer *answer)
{
    return machine.nosnoop && oracle_ask(HYPERCALL_TYPE_LINEAR, (uint64_t)at, 0, answer) == 0 &&
           answer->gpa == dma_address(at) && answer->present != 0;
}

static void show(const volatile uint8_t *buffer, enum dma_type type, bool ok)
{
    const struct dma_kind *kind = &dma_kinds[type];
    unsigned mtrr = index_of(mtrr_types, TYPES, kind->mtrr);
    unsigned pat = index_of(pat_types, PATS, kind->pat);
    struct type_answer a;
    bool told = ask(buffer, &a);
    print("# %-8lx  %-4s  %-3s  %-4s  %-9s  %-10s  %s\n", dma_address(buffer),
          encoded_name(kind->mtrr), encoded_name(kind->pat), told ? encoded_name(a.leaf_type) : "-",
          told ? type_name(a.effective) : "-", type_name(native(mtrr, pat)), ok ? "ok" : "WRONG");
    expect(ok, "%s: the device did not carry its bytes", kind->name);
    if (machine.nosnoop)
        expect(told && a.effective == expected(mtrr, pat), "%s: not as on bare metal", kind->name);
}

static void through(enum dma_type type)
{
    dma_begin(type);
    volatile uint8_t *from = dma_take(1), *to = dma_take(1);
    show(from, type, carries(from, to, type));
    dma_end();
}

/* Of two buffers one gets another type between two transfers. */
static void made_wc(void)
{
    dma_begin(DMA_WB);
    volatile uint8_t *from = dma_take(1), *to = dma_take(1);
    show(from, DMA_WB, carries(from, to, 100));
    dma_retype((void *)(uintptr_t)from, 1, DMA_WC_PAT);
    show(from, DMA_WC_PAT, carries(from, to, 101));
    dma_end();
}

static void all(void)
{
    print("# buffer    MTRR  PAT  leaf  effective  bare metal  DMA\n");
    for (unsigned type = 0; type < DMA_ALL_TYPES; type++)
        through((enum dma_type)type);
    print("# one that becomes WC between two transfers:\n");
    made_wc();
}

static const struct test_case cases[] = {
    {"the function is found", NULL, edu_expect},
    {"DMA through buffers of each type", needs_edu, all},
    {"no other memory has changed", needs_edu, dma_check_memory},
};

void test_main(void)
{
    taken_init();
    apic_enable();
    pci_init();
    edu_find();
    if (edu != PCI_NOT_THERE)
        pci_command(edu, COMMAND_MASTER, 0);
    dma_init();
    ktap_all(cases, ARRAY_SIZE(cases));
}
