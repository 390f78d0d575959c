/* QEMU's device for education. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "guest-tests/runtime/edu.h"

#include "guest-tests/runtime/ktap.h"
#include "guest-tests/runtime/machine.h"
#include "lib/x86.h"

enum { LONG_MS = 10000 };

bdf_t edu = PCI_NOT_THERE;
struct pci_bar edu_bar;
static volatile uint8_t *registers;

void edu_map(const struct pci_bar *bar)
{
    registers = pci_map(bar);
}

void edu_find(void)
{
    edu = pci_find(EDU_VENDOR, EDU_DEVICE);
    if (edu == PCI_NOT_THERE)
        return;
    edu_bar = pci_bar(edu, 0);
    edu_map(&edu_bar);
    pci_command(edu, COMMAND_MEMORY, 0);
}

const char *needs_edu(void)
{
    return edu != PCI_NOT_THERE ? NULL : "there is no edu";
}

void edu_expect(void)
{
    expect(edu != PCI_NOT_THERE, "there is no edu");
}

uint32_t edu_get(unsigned reg)
{
    return *(const volatile uint32_t *)(uintptr_t)(registers + reg);
}

void edu_put(unsigned reg, uint32_t value)
{
    *(volatile uint32_t *)(uintptr_t)(registers + reg) = value;
}

static void put_wide(unsigned reg, uint64_t value)
{
    *(volatile uint64_t *)(uintptr_t)(registers + reg) = value;
}

bool edu_wait_clear(unsigned reg, uint32_t bits)
{
    uint64_t start = rdtsc();
    while ((edu_get(reg) & bits) != 0)
        if (rdtsc() - start > machine_ticks(LONG_MS))
            return false;
    return true;
}

void edu_start(uint64_t from, uint64_t to, uint64_t bytes, unsigned command)
{
    put_wide(EDU_SOURCE, from);
    put_wide(EDU_TARGET, to);
    put_wide(EDU_COUNT, bytes);
    put_wide(EDU_DMA, DMA_START | command);
}

bool edu_transfer(uint64_t from, uint64_t to, uint64_t bytes, unsigned command)
{
    edu_start(from, to, bytes, command);
    return edu_wait_clear(EDU_DMA, DMA_START);
}
