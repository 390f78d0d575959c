/*
 * Two network controllers on one wire, an 82540EM (e1000) and an 82574 (e1000e): frames of many
 * lengths both ways, with rings and frames in memory of every type; told by INTx on the one, and by
 * MSI-X and by MSI on the other. With `apart=yes` on the command line it has one of them, and the
 * other one is in another VM that runs it, too.
 *
 * row: nics end=0 waits=yes timeout=60 control-timeout=30 device=wire-e1000 device=wire-e1000e
 *      set=control=yes cmdline=dma=coherent
 * row: nics.amd end=0 waits=yes timeout=60 device=wire-e1000 device=wire-e1000e iommu=amd
 *      set=control=yes cmdline=dma=coherent control=skip control-reason="as nics"
 * row: nics.amd-non-coherent end=0 waits=yes timeout=60 device="wire-e1000 dma=non-coherent"
 *      device="wire-e1000e dma=non-coherent" iommu=amd set=control=yes control=skip
 *      control-reason="as nics"
 * row: nics.no-snoop end=0 waits=yes timeout=60 device=wire-e1000 device=wire-e1000e
 *      iommu=no-snoop set=control=yes control=skip control-reason="as nics"
 */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "guest-tests/runtime/apic.h"
#include "guest-tests/runtime/console.h"
#include "guest-tests/runtime/dma.h"
#include "guest-tests/runtime/ktap.h"
#include "guest-tests/runtime/machine.h"
#include "guest-tests/runtime/nic.h"
#include "guest-tests/runtime/taken.h"
#include "lib/assert.h"

enum {
    PIN_NIC,
    MESSAGE_NIC,
    NICS,
    VECTOR_INTX = 0x51,
    VECTOR_MSI,
    VECTOR_RX,
    VECTOR_TX,
    VECTOR_SLEEP
};
enum { LONG_MS = 2000, THROTTLED_MS = 20 };
enum told { POLLED, BY_MSI, BY_MSIX, WAYS }; /* of MESSAGE_NIC; the other's frames by INTx then */

static struct nic nics[NICS];
static volatile uint32_t causes[NICS];
static enum told how;

static bool is_there(unsigned nic)
{
    return nics[nic].bdf != PCI_NOT_THERE;
}

static const char *needs_nics(void)
{
    return is_there(PIN_NIC) && is_there(MESSAGE_NIC) ? NULL : "there are not both controllers";
}

/* --- frames ----------------------------------------------------------------------------------- */

/* IEEE 802.3, and 802, "Local Experimental EtherTypes". */
enum { ETHERNET = 14, EXPERIMENTAL = 0x88b5, SUM_AT = 0, NUMBER_AT = 2, DATA_AT = 4 };
static const uint16_t lengths[] = {60, 61, 571, 1499, 1514};
static_assert(3 * ARRAY_SIZE(lengths) <= NIC_DESCRIPTORS, "each buffer once");

static uint8_t data_byte(unsigned from, unsigned number, unsigned i)
{
    return (uint8_t)(from * 101 + number * 31 + i * 5 + (i >> 7));
}

static void make(volatile uint8_t *frame, unsigned from, unsigned number)
{
    const uint8_t head[ETHERNET] = {0x52,
                                    0x54,
                                    0,
                                    0,
                                    1,
                                    (uint8_t)!from,
                                    0x52,
                                    0x54,
                                    0,
                                    0,
                                    1,
                                    (uint8_t)from,
                                    EXPERIMENTAL >> 8,
                                    EXPERIMENTAL & 0xff};
    unsigned length = lengths[number];
    volatile uint8_t *body = frame + ETHERNET;
    nic_put_bytes(frame, head, sizeof(head));
    for (unsigned i = DATA_AT; i < length - ETHERNET; i++)
        body[i] = data_byte(from, number, i);
    body[SUM_AT] = body[SUM_AT + 1] = 0;
    body[NUMBER_AT] = (uint8_t)from;
    body[NUMBER_AT + 1] = (uint8_t)number;
    nic_put_checksum(body, length - ETHERNET, SUM_AT);
}

static void check(const volatile uint8_t *frame, unsigned length, unsigned from, unsigned number)
{
    unsigned wrong = 0;
    if (!expect(length == lengths[number], "from %u, frame %u has %u bytes", from, number, length))
        return;
    const volatile uint8_t *body = frame + ETHERNET;
    expect(frame[5] == !from && frame[11] == from && body[NUMBER_AT] == from &&
               body[NUMBER_AT + 1] == number,
           "from %u to %u, number %u, not %u", frame[11], frame[5], body[NUMBER_AT + 1], number);
    for (unsigned i = DATA_AT; i < length - ETHERNET; i++)
        wrong += body[i] != data_byte(from, number, i);
    uint16_t sum = nic_checksum(body, length - ETHERNET);
    expect(wrong == 0 && sum == 0, "frame %u: %u bytes are wrong, checksum %x", number, wrong, sum);
}

static void expect_frame(unsigned from, unsigned number)
{
    volatile uint8_t *frame;
    unsigned length = nic_receive(&nics[!from], &frame);
    check(frame, length, from, number);
}

/* --- interrupts ------------------------------------------------------------------------------- */

/* With MSI-X a cause is cleared and masked as its message goes: 82574, "MSI-X Mode". */
static void take(unsigned cpu, unsigned vector)
{
    (void)cpu;
    if (vector == VECTOR_INTX)
        causes[PIN_NIC] |= nic_get(&nics[PIN_NIC], NIC_CAUSES);
    if (vector == VECTOR_MSI)
        causes[MESSAGE_NIC] |= nic_get(&nics[MESSAGE_NIC], NIC_CAUSES);
    if (vector != VECTOR_RX && vector != VECTOR_TX)
        return;
    causes[MESSAGE_NIC] |= vector == VECTOR_RX ? CAUSE_RECEIVED : CAUSE_SENT;
    nic_put(&nics[MESSAGE_NIC], NIC_IMS, vector == VECTOR_RX ? CAUSE_RX_QUEUE : CAUSE_TX_QUEUE);
}

static void open_pin(void)
{
    const struct nic *nic = &nics[PIN_NIC];
    if (!pci_expect_intx(nic->bdf, VECTOR_INTX))
        return;
    nic_put(nic, NIC_IMS, CAUSE_SENT | CAUSE_RECEIVED);
}

static void open_messages(void)
{
    const struct nic *nic = &nics[MESSAGE_NIC];
    enum { RX_ENTRY, TX_ENTRY, ENTRIES };
    static_assert(VECTOR_RX + TX_ENTRY == VECTOR_TX, "one behind the other");
    if (how == BY_MSI) {
        expect(pci_open_msi(nic->bdf, VECTOR_MSI), "no MSI");
        nic_put(nic, NIC_IMS, CAUSE_SENT | CAUSE_RECEIVED);
        return;
    }
    expect(pci_open_msix(nic->bdf, VECTOR_RX, ENTRIES), "no MSI-X of %u vectors", ENTRIES);
    nic_put(nic, NIC_IVAR,
            (RX_ENTRY | IVAR_VALID) << IVAR_RX_AT | (TX_ENTRY | IVAR_VALID) << IVAR_TX_AT);
    nic_put(nic, NIC_EIAC, CAUSE_RX_QUEUE | CAUSE_TX_QUEUE);
    nic_put(nic, NIC_IMS, CAUSE_RX_QUEUE | CAUSE_TX_QUEUE);
}

static void open_interrupts(enum told told)
{
    how = told;
    taken_clear();
    taken_hook = take;
    for (unsigned i = 0; i < NICS; i++)
        if (is_there(i))
            (void)nic_get(&nics[i], NIC_CAUSES);
    if (told != POLLED && is_there(PIN_NIC))
        open_pin();
    if (told != POLLED && is_there(MESSAGE_NIC))
        open_messages();
}

/* QEMU's 82574 asserts that what throttles interrupts ends with the interrupts as it began. */
static void close_interrupts(void)
{
    for (unsigned i = 0; i < NICS; i++)
        if (is_there(i))
            nic_put(&nics[i], NIC_IMC, ~0u);
    for (uint64_t start = rdtsc(); how != POLLED && rdtsc() - start < machine_ticks(THROTTLED_MS);)
        cpu_relax();
    if (how == BY_MSIX && is_there(MESSAGE_NIC))
        pci_close_msix(nics[MESSAGE_NIC].bdf);
    if (how == BY_MSI)
        pci_close_msi(nics[MESSAGE_NIC].bdf);
    if (how != POLLED && is_there(PIN_NIC))
        pci_close_intx(nics[PIN_NIC].bdf);
    how = POLLED;
}

/* Waits, with interrupts on, until one has told CAUSE. */
static bool wait_told(unsigned nic, uint32_t cause)
{
    uint64_t start = rdtsc();
    sti();
    while ((causes[nic] & cause) == 0 && rdtsc() - start < machine_ticks(LONG_MS))
        smp_relax();
    cli();
    return (causes[nic] & cause) != 0;
}

/* --- cases ------------------------------------------------------------------------------------ */

static void send(unsigned from, unsigned number)
{
    struct nic *nic = &nics[from];
    causes[PIN_NIC] = causes[MESSAGE_NIC] = 0;
    make(nic_to_send(nic), from, number);
    if (nic_send(nic, lengths[number]))
        expect_frame(from, number);
    if (how != POLLED)
        expect(wait_told(from, CAUSE_SENT) && wait_told(!from, CAUSE_RECEIVED),
               "from %u, frame %u: causes %x and %x", from, number, causes[PIN_NIC],
               causes[MESSAGE_NIC]);
}

static bool start(void)
{
    return nic_start(&nics[PIN_NIC]) && nic_start(&nics[MESSAGE_NIC]);
}

static void stop(void)
{
    nic_stop(&nics[PIN_NIC]);
    nic_stop(&nics[MESSAGE_NIC]);
}

/* All lengths both ways, by polling, and told by INTx with MSI and with MSI-X. */
static void both_ways(void)
{
    if (!start())
        return;
    for (unsigned told = POLLED; told < WAYS; told++) {
        open_interrupts((enum told)told);
        for (unsigned i = 0; i < ARRAY_SIZE(lengths); i++) {
            send(PIN_NIC, i);
            send(MESSAGE_NIC, i);
        }
        close_interrupts();
    }
    stop();
}

static void are_found(void)
{
    expect(needs_nics() == NULL, "%x and %x", nics[PIN_NIC].bdf, nics[MESSAGE_NIC].bdf);
}

static void retype(const struct nic *nic)
{
    dma_retype((void *)(uintptr_t)nic->sender.at, 1, DMA_WC_PAT);
    dma_retype((void *)(uintptr_t)nic->receiver.at, 1, DMA_WC_PAT);
    dma_retype((void *)(uintptr_t)nic->receiver.buffers, NIC_DESCRIPTORS, DMA_WC_PAT);
}

/* One's rings and buffers become WC, after frames and before more of them. */
static void retyped(void)
{
    dma_begin(DMA_WB);
    if (start()) {
        send(PIN_NIC, 0);
        send(MESSAGE_NIC, 1);
        retype(&nics[MESSAGE_NIC]);
        for (unsigned i = 2; i < ARRAY_SIZE(lengths); i++) {
            send(PIN_NIC, i);
            send(MESSAGE_NIC, i);
        }
        stop();
    }
    dma_end();
}

/* --- each in a VM of its own ------------------------------------------------------------------ */

/* A frame that says no more than that its sender is there, of the first length. */
enum { HELLO = 0, FIRST = 1, HELLO_MS = 200, HELLOS = 100 };

static const char *needs_one(void)
{
    return is_there(PIN_NIC) != is_there(MESSAGE_NIC) ? NULL : "there is not one controller";
}

/* Sleeps until a frame is there; false: for MS there is none. */
static bool comes(const struct nic *nic, unsigned ms)
{
    enum { TICKS = 2000000 };
    uint64_t begin = rdtsc();
    while (!nic_has_received(nic)) {
        if (rdtsc() - begin > machine_ticks(ms))
            return false;
        apic_sleep(VECTOR_SLEEP, TICKS);
    }
    return true;
}

static void transmit(unsigned own, unsigned number)
{
    make(nic_to_send(&nics[own]), own, number);
    if (nic_send(&nics[own], lengths[number]))
        expect(wait_told(own, CAUSE_SENT), "frame %u: causes %x", number, causes[own]);
    causes[own] &= ~(uint32_t)CAUSE_SENT;
}

/* The other one's; what it said before it had an answer may come first. */
static void take_frame(unsigned own, unsigned number)
{
    volatile uint8_t *frame;
    unsigned length;
    do {
        if (!expect(comes(&nics[own], LONG_MS), "frame %u has not come", number))
            return;
        length = nic_receive(&nics[own], &frame);
    } while (number != HELLO && frame[ETHERNET + NUMBER_AT + 1] == HELLO);
    check(frame, length, !own, number);
    expect(wait_told(own, CAUSE_RECEIVED), "frame %u: causes %x", number, causes[own]);
    causes[own] &= ~(uint32_t)CAUSE_RECEIVED;
}

/* One says that it is there until the other one answers, which waits for that. */
static bool meet(unsigned own)
{
    bool met = false;
    for (unsigned i = 0; i < HELLOS && !met; i++) {
        if (own == PIN_NIC)
            transmit(own, HELLO);
        met = comes(&nics[own], HELLO_MS);
    }
    if (!expect(met, "there is no other one"))
        return false;
    take_frame(own, HELLO);
    if (own != PIN_NIC)
        transmit(own, HELLO);
    return true;
}

/* By turns; while nothing is on its way to it the rings and buffers of each become WC. */
static void with_another_vm(void)
{
    enum { RETYPED = 3 };
    unsigned own = is_there(PIN_NIC) ? PIN_NIC : MESSAGE_NIC;
    dma_begin(DMA_WB);
    if (nic_start(&nics[own])) {
        open_interrupts(BY_MSIX);
        for (unsigned i = meet(own) ? FIRST : ARRAY_SIZE(lengths); i < ARRAY_SIZE(lengths); i++)
            for (unsigned from = 0; from < NICS; from++) {
                if (from == own && i == RETYPED)
                    retype(&nics[own]);
                if (from == own)
                    transmit(own, i);
                else
                    take_frame(own, i);
            }
        close_interrupts();
        nic_stop(&nics[own]);
    }
    dma_end();
}

/* --- tables ----------------------------------------------------------------------------------- */

static const struct test_case cases[] = {
    {"memory that is made WC between frames", needs_nics, retyped},
    {"no other memory has changed", needs_nics, dma_check_memory},
};
static const struct test_case first[] = {
    {"both functions are found", NULL, are_found},
};
static const struct test_case apart[] = {
    {"frames from and to another VM", needs_one, with_another_vm},
    {"no other memory has changed", needs_one, dma_check_memory},
};

void test_main(void)
{
    taken_init();
    apic_enable();
    pci_init();
    nic_find(&nics[PIN_NIC], NIC_82540);
    nic_find(&nics[MESSAGE_NIC], NIC_82574);
    dma_init();
    if (cmdline_has("apart", "yes")) {
        ktap_all(apart, ARRAY_SIZE(apart));
    }
    ktap_begin(ARRAY_SIZE(first) + DMA_TYPES + ARRAY_SIZE(cases));
    ktap_run(first, ARRAY_SIZE(first));
    dma_run("frames both ways", needs_nics, both_ways);
    ktap_run(cases, ARRAY_SIZE(cases));
    ktap_end();
}
