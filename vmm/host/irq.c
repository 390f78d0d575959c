/* Vectors of the host for interrupts of devices that guests have. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "vmm/host/irq.h"

#include "drivers/apic.h"
#include "lib/assert.h"
#include "lib/errno.h"
#include "vmm/host/host.h"
#include "vmm/host/log.h"
#include "vmm/host/traps.h"

enum { VECTORS = APIC_HOST_VECTORS - IRQ_FIRST_VECTOR };

/* A CPU's: a page of the host's pool. */
struct vectors {
    struct irq *irq[VECTORS]; /* NULL from the first one on that is free */
};
static_assert(sizeof(struct vectors) <= PAGE_SIZE, "one page");

static struct vectors *all[MAX_CPUS];

static void device_interrupt(uint8_t vector)
{
    struct vectors *own = all[this_cpu()->index];
    struct irq *irq = __atomic_load_n(&own->irq[vector - IRQ_FIRST_VECTOR], __ATOMIC_ACQUIRE);
    if (irq != NULL)
        irq->came(irq);
}

int irq_prepare(struct host *host)
{
    struct vectors **own = &all[this_cpu()->index];
    if (*own != NULL)
        return 0;
    *own = frames_alloc(&host->frames, 1);
    if (*own == NULL) {
        log_line("cpu: no memory for the interrupts of devices");
        return -ENOMEM;
    }
    for (unsigned vector = IRQ_FIRST_VECTOR; vector < APIC_HOST_VECTORS; vector++)
        traps_on_interrupt((uint8_t)vector, device_interrupt);
    apic_take_from(IRQ_FIRST_VECTOR);
    return 0;
}

int irq_take(unsigned cpu, struct irq *irq)
{
    struct vectors *of = all[cpu];
    unsigned i = 0;
    assert(of != NULL && irq->came != NULL);
    while (i < VECTORS && of->irq[i] != NULL && of->irq[i] != irq)
        i++;
    if (i == VECTORS)
        return -ENOSPC;
    __atomic_store_n(&of->irq[i], irq, __ATOMIC_RELEASE);
    return (int)(IRQ_FIRST_VECTOR + i);
}
