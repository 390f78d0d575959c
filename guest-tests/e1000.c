/*
 * The 82540EM network controller (PCI/PCI-X Family of Gigabit Ethernet Controllers Software
 * Developer's Manual), whose emulated network answers: echo requests are sent and their answers
 * received, with rings and frames in memory of every type, told by INTx.
 *
 * row: e1000 end=0 waits=yes timeout=60 control-timeout=30 device=e1000 iommu=no-snoop
 *      set=control=yes
 * row: e1000.amd end=0 waits=yes timeout=60 device=e1000 iommu=amd set=control=yes
 *      cmdline=dma=coherent control=skip control-reason="as e1000"
 * row: e1000.amd-non-coherent end=0 waits=yes timeout=60 device="e1000 dma=non-coherent"
 *      iommu=amd set=control=yes control=skip control-reason="as e1000"
 * row: e1000.snoop end=0 timeout=60 device=e1000 iommu=snoop set=control=yes
 *      cmdline=dma=coherent control=skip control-reason="as e1000"
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

enum { VECTOR_INTX = 0x51 };

static struct nic nic;
static volatile uint32_t causes;
static const uint8_t our_mac[] = {0x52, 0x54, 0, 0x12, 0x34, 0x56};

static const char *needs_nic(void)
{
    return nic.bdf != PCI_NOT_THERE ? NULL : "there is no e1000";
}

/* --- frames ----------------------------------------------------------------------------------- */

/*
 * RFC 894, 826, 791 and 792: all numbers are big-endian. Bochs's network echoes no more than 128
 * bytes.
 */
enum { ETHERNET = 14, ARP = 28, IP = 20, ECHO = 8, DATA = 86 };
enum { FRAME = ETHERNET + IP + ECHO + DATA, ECHO_AT = ETHERNET + IP, SHORTEST = 60 };
static const uint8_t our_ip[] = {192, 168, 10, 2}, their_ip[] = {192, 168, 10, 1};
static uint8_t their_mac[6];

static uint8_t data_byte(unsigned frame, unsigned i)
{
    return (uint8_t)(frame * 31 + i * 5 + (i >> 7));
}

static void head(volatile uint8_t *frame, const uint8_t *to, unsigned type)
{
    for (unsigned i = 0; i < FRAME; i++)
        frame[i] = 0;
    nic_put_bytes(frame, to, 6);
    nic_put_bytes(frame + 6, our_mac, 6);
    frame[12] = (uint8_t)(type >> 8);
    frame[13] = (uint8_t)type;
}

/* Who has their address? */
static unsigned make_question(volatile uint8_t *frame)
{
    static const uint8_t start[] = {0, 1, 8, 0, 6, 4, 0, 1}, all[] = {255, 255, 255, 255, 255, 255};
    head(frame, all, 0x0806);
    nic_put_bytes(frame + ETHERNET, start, sizeof(start));
    nic_put_bytes(frame + ETHERNET + 8, our_mac, 6);
    nic_put_bytes(frame + ETHERNET + 14, our_ip, 4);
    nic_put_bytes(frame + ETHERNET + 24, their_ip, 4);
    return SHORTEST;
}

/* An echo request, whose data come back. */
static unsigned make_echo(volatile uint8_t *frame, unsigned number)
{
    static const uint8_t start[] = {
        0x45, 0, (IP + ECHO + DATA) >> 8, (IP + ECHO + DATA) & 0xff, 0, 0, 0x40, 0, 64, 1};
    head(frame, their_mac, 0x0800);
    nic_put_bytes(frame + ETHERNET, start, sizeof(start));
    nic_put_bytes(frame + ETHERNET + 12, our_ip, 4);
    nic_put_bytes(frame + ETHERNET + 16, their_ip, 4);
    nic_put_checksum(frame + ETHERNET, IP, 10);
    frame[ECHO_AT] = 8;
    frame[ECHO_AT + 7] = (uint8_t)number;
    for (unsigned i = 0; i < DATA; i++)
        frame[ECHO_AT + ECHO + i] = data_byte(number, i);
    nic_put_checksum(frame + ECHO_AT, ECHO + DATA, 2);
    return FRAME;
}

static bool ask(void)
{
    volatile uint8_t *frame;
    if (!nic_send(&nic, make_question(nic_to_send(&nic))) || nic_receive(&nic, &frame) == 0)
        return false;
    for (unsigned i = 0; i < 6; i++)
        their_mac[i] = frame[6 + i];
    return expect(frame[12] == 8 && frame[13] == 6 && frame[ETHERNET + 7] == 2, "no answer: %x%x",
                  frame[12], frame[13]);
}

static void expect_echo(unsigned number)
{
    unsigned wrong = 0;
    volatile uint8_t *frame;
    unsigned length = nic_receive(&nic, &frame);
    expect(length == FRAME, "echo %u has %u bytes", number, length);
    expect(frame[ECHO_AT] == 0 && frame[ECHO_AT + 7] == number, "type %u, number %u, not %u",
           frame[ECHO_AT], frame[ECHO_AT + 7], number);
    for (unsigned i = 0; i < DATA; i++)
        wrong += frame[ECHO_AT + ECHO + i] != data_byte(number, i);
    expect(wrong == 0, "echo %u: %u bytes are wrong", number, wrong);
}

/* --- interrupts ------------------------------------------------------------------------------- */

/* Reading CAUSES clears it. */
static void take(unsigned cpu, unsigned vector)
{
    (void)cpu;
    if (vector == VECTOR_INTX)
        causes |= nic_get(&nic, NIC_CAUSES);
}

/* Frames whose ends are told by INTx. */
static void tell(void)
{
    if (!pci_expect_intx(nic.bdf, VECTOR_INTX))
        return;
    taken_clear();
    taken_hook = take;
    (void)nic_get(&nic, NIC_CAUSES);
    nic_put(&nic, NIC_IMS, CAUSE_SENT | CAUSE_RECEIVED);
    causes = 0;
    if (nic_send(&nic, make_echo(nic_to_send(&nic), 0)))
        expect_echo(0);
    for (uint32_t n = 1; (causes & CAUSE_RECEIVED) == 0 && dma_wait(VECTOR_INTX, n); n++)
        ;
    expect((causes & (CAUSE_SENT | CAUSE_RECEIVED)) == (CAUSE_SENT | CAUSE_RECEIVED),
           "%u interrupts, causes %x", taken_of(smp_index(), VECTOR_INTX), causes);
    nic_put(&nic, NIC_IMC, ~0u);
    pci_close_intx(nic.bdf);
}

/* As many frames as the rings have descriptors. */
static void echoes(void)
{
    if (!nic_start(&nic) || !ask())
        return;
    for (unsigned number = 1; number < NIC_DESCRIPTORS; number++)
        if (nic_send(&nic, make_echo(nic_to_send(&nic), number)))
            expect_echo(number);
    tell();
    nic_stop(&nic);
}

/* --- other cases ------------------------------------------------------------------------------ */

static void is_found(void)
{
    expect(nic.bdf != PCI_NOT_THERE, "there is no e1000");
}

static void registers_work(void)
{
    expect(nic.bar.size == NIC_SIZE && !nic.bar.io && !nic.bar.prefetchable, "BAR 0: %lx bytes",
           nic.bar.size);
    expect(nic_reset(&nic), "no reset");
    nic_put(&nic, NIC_RDBAL, 0x12345670);
    nic_put(&nic, NIC_TDBAL, 0x89abcde0);
    expect(nic_get(&nic, NIC_RDBAL) == 0x12345670 && nic_get(&nic, NIC_TDBAL) == 0x89abcde0,
           "%x, %x", nic_get(&nic, NIC_RDBAL), nic_get(&nic, NIC_TDBAL));
    expect(nic_reset(&nic), "no reset");
}

/* Rings and buffers become WC, after frames and before more of them. */
static void retyped(void)
{
    dma_begin(DMA_WB);
    if (nic_start(&nic) && ask()) {
        dma_retype((void *)(uintptr_t)nic.sender.at, 1, DMA_WC_PAT);
        dma_retype((void *)(uintptr_t)nic.receiver.buffers, NIC_DESCRIPTORS, DMA_WC_PAT);
        for (unsigned number = 1; number < NIC_DESCRIPTORS; number++)
            if (nic_send(&nic, make_echo(nic_to_send(&nic), number)))
                expect_echo(number);
        nic_stop(&nic);
    }
    dma_end();
}

static const struct test_case cases[] = {
    {"the function is found", NULL, is_found},
    {"registers and reset", needs_nic, registers_work},
    {"memory that is made WC between frames", needs_nic, retyped},
    {"no other memory has changed", needs_nic, dma_check_memory},
};

void test_main(void)
{
    taken_init();
    apic_enable();
    pci_init();
    nic_find(&nic, NIC_82540);
    dma_init();
    ktap_begin(DMA_TYPES + ARRAY_SIZE(cases));
    dma_run("echoes", needs_nic, echoes);
    ktap_run(cases, ARRAY_SIZE(cases));
    ktap_end();
}
