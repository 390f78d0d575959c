/*
 * The 82540EM network controller (PCI/PCI-X Family of Gigabit Ethernet Controllers Software
 * Developer's Manual), whose emulated network answers: echo requests are sent and their answers
 * received, with rings and frames in memory of every type, told by INTx.
 *
 * row: e1000 end=0 timeout=60 control-timeout=30 device=e1000 iommu=no-snoop set=control=yes
 */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "guest-tests/runtime/apic.h"
#include "guest-tests/runtime/console.h"
#include "guest-tests/runtime/dma.h"
#include "guest-tests/runtime/ktap.h"
#include "guest-tests/runtime/machine.h"
#include "guest-tests/runtime/pci.h"
#include "guest-tests/runtime/taken.h"
#include "lib/assert.h"

enum { E1000_VENDOR = 0x8086, E1000_DEVICE = 0x100e, E1000_SIZE = 0x20000 };

/* "Register Descriptions". */
enum {
    CTRL = 0x0000,
    STATUS = 0x0008,
    CAUSES = 0x00c0,
    IMS = 0x00d0,
    IMC = 0x00d8,
    RCTL = 0x0100,
    TCTL = 0x0400,
    RDBAL = 0x2800,
    RDBAH = 0x2804,
    RDLEN = 0x2808,
    RDH = 0x2810,
    RDT = 0x2818,
    TDBAL = 0x3800,
    TDBAH = 0x3804,
    TDLEN = 0x3808,
    TDH = 0x3810,
    TDT = 0x3818,
};
enum { CTRL_LINK_UP = 1 << 6, CTRL_RESET = 1 << 26, STATUS_LINK_UP = 2 };
enum { ICR_TXDW = 1 << 0, ICR_RXT0 = 1 << 7 };
enum { RCTL_EN = 1 << 1, RCTL_UPE = 1 << 3, RCTL_MPE = 1 << 4, RCTL_BAM = 1 << 15 };
enum { TCTL_EN = 1 << 1, TCTL_PSP = 1 << 3, TCTL_CT = 0xf << 4, TCTL_COLD = 0x40 << 12 };

/* "Legacy Transmit Descriptor Format", "Receive Descriptor Format". */
struct descriptor {
    uint64_t address;
    uint16_t length;
    uint8_t checksum, command; /* of a receive descriptor its checksum */
    uint8_t status, other;
    uint16_t special;
};
static_assert(sizeof(struct descriptor) == 16, "Legacy Transmit Descriptor Format");
enum { TX_EOP = 1, TX_IFCS = 2, TX_RS = 8, DONE = 1, RX_EOP = 2 };

enum { DESCRIPTORS = 8, CRC = 4, VECTOR_INTX = 0x51, LONG_MS = 2000 };

static bdf_t nic;
static struct pci_bar bar;
static volatile uint8_t *registers;
static volatile uint32_t causes;
static const uint8_t our_mac[] = {0x52, 0x54, 0, 0x12, 0x34, 0x56};

static const char *needs_nic(void)
{
    return nic != PCI_NOT_THERE ? NULL : "there is no e1000";
}

static uint32_t get(unsigned reg)
{
    return *(const volatile uint32_t *)(uintptr_t)(registers + reg);
}

static void put(unsigned reg, uint32_t value)
{
    *(volatile uint32_t *)(uintptr_t)(registers + reg) = value;
}

static void find(void)
{
    nic = pci_find(E1000_VENDOR, E1000_DEVICE);
    if (nic == PCI_NOT_THERE)
        return;
    bar = pci_bar(nic, 0);
    registers = pci_map(&bar);
    pci_command(nic, COMMAND_MEMORY | COMMAND_MASTER, 0);
}

/* Waits until BITS of a register are VALUE. */
static bool wait_for(unsigned reg, uint32_t bits, uint32_t value)
{
    uint64_t start = rdtsc();
    while ((get(reg) & bits) != value)
        if (rdtsc() - start > machine_ticks(LONG_MS))
            return false;
    return true;
}

/* --- the controller --------------------------------------------------------------------------- */

static bool reset(void)
{
    put(IMC, ~0u);
    put(CTRL, get(CTRL) | CTRL_RESET);
    bool ready = wait_for(CTRL, CTRL_RESET, 0);
    put(IMC, ~0u);
    (void)get(CAUSES);
    return ready;
}

/* In volatile memory: what devices read and write. */
struct ring {
    volatile struct descriptor *at;
    volatile uint8_t *buffers; /* a page for each descriptor */
    unsigned next;
};
static struct ring sender, receiver;

static struct ring make_ring(void)
{
    struct ring ring = {.at = dma_take(1), .buffers = dma_take(DESCRIPTORS)};
    for (unsigned i = 0; i < DESCRIPTORS; i++)
        ring.at[i] = (struct descriptor){.address = dma_address(ring.buffers + i * PAGE_SIZE)};
    dma_sync(ring.at, PAGE_SIZE);
    dma_sync(ring.buffers, DESCRIPTORS * PAGE_SIZE);
    return ring;
}

static void set_ring(const struct ring *ring, unsigned base)
{
    put(base, (uint32_t)dma_address(ring->at));
    put(base + RDBAH - RDBAL, (uint32_t)(dma_address(ring->at) >> 32));
    put(base + RDLEN - RDBAL, DESCRIPTORS * sizeof(struct descriptor));
    put(base + RDH - RDBAL, 0);
    put(base + RDT - RDBAL, 0);
}

static bool start(void)
{
    bool ready = reset();
    sender = make_ring();
    receiver = make_ring();
    set_ring(&sender, TDBAL);
    set_ring(&receiver, RDBAL);
    put(CTRL, get(CTRL) | CTRL_LINK_UP);
    ready = ready && wait_for(STATUS, STATUS_LINK_UP, STATUS_LINK_UP);
    put(RDT, DESCRIPTORS - 1);
    put(RCTL, RCTL_EN | RCTL_UPE | RCTL_MPE | RCTL_BAM);
    put(TCTL, TCTL_EN | TCTL_PSP | TCTL_CT | TCTL_COLD);
    return expect(ready, "no reset or no link: status %x", get(STATUS));
}

static void stop(void)
{
    put(RCTL, 0);
    put(TCTL, 0);
    reset();
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

static void put_bytes(volatile uint8_t *at, const uint8_t *bytes, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        at[i] = bytes[i];
}

/* RFC 1071: stored where AT + PLACE is, which is 0 before. */
static void put_checksum(volatile uint8_t *at, unsigned size, unsigned place)
{
    uint32_t sum = 0;
    for (unsigned i = 0; i < size; i += 2)
        sum += (uint32_t)at[i] << 8 | at[i + 1];
    sum = (sum & 0xffff) + (sum >> 16);
    sum = (sum & 0xffff) + (sum >> 16);
    at[place] = (uint8_t)(~sum >> 8);
    at[place + 1] = (uint8_t)~sum;
}

static void head(volatile uint8_t *frame, const uint8_t *to, unsigned type)
{
    for (unsigned i = 0; i < FRAME; i++)
        frame[i] = 0;
    put_bytes(frame, to, 6);
    put_bytes(frame + 6, our_mac, 6);
    frame[12] = (uint8_t)(type >> 8);
    frame[13] = (uint8_t)type;
}

/* Who has their address? */
static unsigned make_question(volatile uint8_t *frame)
{
    static const uint8_t start[] = {0, 1, 8, 0, 6, 4, 0, 1}, all[] = {255, 255, 255, 255, 255, 255};
    head(frame, all, 0x0806);
    put_bytes(frame + ETHERNET, start, sizeof(start));
    put_bytes(frame + ETHERNET + 8, our_mac, 6);
    put_bytes(frame + ETHERNET + 14, our_ip, 4);
    put_bytes(frame + ETHERNET + 24, their_ip, 4);
    return SHORTEST;
}

/* An echo request, whose data come back. */
static unsigned make_echo(volatile uint8_t *frame, unsigned number)
{
    static const uint8_t start[] = {
        0x45, 0, (IP + ECHO + DATA) >> 8, (IP + ECHO + DATA) & 0xff, 0, 0, 0x40, 0, 64, 1};
    head(frame, their_mac, 0x0800);
    put_bytes(frame + ETHERNET, start, sizeof(start));
    put_bytes(frame + ETHERNET + 12, our_ip, 4);
    put_bytes(frame + ETHERNET + 16, their_ip, 4);
    put_checksum(frame + ETHERNET, IP, 10);
    frame[ECHO_AT] = 8;
    frame[ECHO_AT + 7] = (uint8_t)number;
    for (unsigned i = 0; i < DATA; i++)
        frame[ECHO_AT + ECHO + i] = data_byte(number, i);
    put_checksum(frame + ECHO_AT, ECHO + DATA, 2);
    return FRAME;
}

static bool is_done(const volatile struct descriptor *d)
{
    uint64_t begin = rdtsc();
    do {
        dma_sync(d, sizeof(*d));
        if ((d->status & DONE) != 0)
            return true;
    } while (rdtsc() - begin < machine_ticks(LONG_MS));
    return false;
}

/* The page that the next frame to be sent is made in. */
static volatile uint8_t *to_send(void)
{
    return sender.buffers + sender.next * PAGE_SIZE;
}

static bool send(unsigned length)
{
    volatile struct descriptor *d = &sender.at[sender.next];
    dma_sync(to_send(), PAGE_SIZE);
    d->status = 0;
    d->length = (uint16_t)length;
    d->command = TX_EOP | TX_IFCS | TX_RS;
    dma_sync(d, sizeof(*d));
    sender.next = (sender.next + 1) % DESCRIPTORS;
    put(TDT, sender.next);
    return expect(is_done(d), "a frame is not sent");
}

/* The next frame that comes: where the next descriptor says, and nothing else in its page has
 * changed. Its length, without the CRC; 0: it has not come. */
static unsigned receive(volatile uint8_t **frame)
{
    volatile struct descriptor *d = &receiver.at[receiver.next];
    *frame = receiver.buffers + receiver.next * PAGE_SIZE;
    if (!expect(is_done(d), "no frame has come"))
        return 0;
    unsigned length = d->length;
    dma_sync(*frame, PAGE_SIZE);
    expect((d->status & RX_EOP) != 0 && d->command == 0 && length <= PAGE_SIZE,
           "%u bytes, status %x, errors %x", length, d->status, d->command);
    expect(dma_is_pattern(*frame + length, PAGE_SIZE - length), "bytes behind it have changed");
    d->status = 0;
    dma_sync(d, sizeof(*d));
    put(RDT, receiver.next);
    receiver.next = (receiver.next + 1) % DESCRIPTORS;
    return length - CRC;
}

static bool ask(void)
{
    volatile uint8_t *frame;
    if (!send(make_question(to_send())) || receive(&frame) == 0)
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
    unsigned length = receive(&frame);
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
        causes |= get(CAUSES);
}

/* Frames whose ends are told by INTx. */
static void tell(void)
{
    unsigned pin;
    if (!expect(pci_intx(nic, &pin) && pci_open_intx(nic, VECTOR_INTX), "no INTx"))
        return;
    print("# INTx is pin %u\n", pin);
    taken_clear();
    taken_hook = take;
    (void)get(CAUSES);
    put(IMS, ICR_TXDW | ICR_RXT0);
    causes = 0;
    if (send(make_echo(to_send(), 0)))
        expect_echo(0);
    for (uint32_t n = 1; (causes & ICR_RXT0) == 0 && dma_wait(VECTOR_INTX, n); n++)
        ;
    expect((causes & (ICR_TXDW | ICR_RXT0)) == (ICR_TXDW | ICR_RXT0), "%u interrupts, causes %x",
           taken_of(smp_index(), VECTOR_INTX), causes);
    put(IMC, ~0u);
    pci_close_intx(nic);
}

/* As many frames as the rings have descriptors. */
static void echoes(void)
{
    if (!start() || !ask())
        return;
    for (unsigned number = 1; number < DESCRIPTORS; number++)
        if (send(make_echo(to_send(), number)))
            expect_echo(number);
    tell();
    stop();
}

/* --- other cases ------------------------------------------------------------------------------ */

static void is_found(void)
{
    expect(nic != PCI_NOT_THERE, "there is no e1000");
}

static void registers_work(void)
{
    expect(bar.size == E1000_SIZE && !bar.io && !bar.prefetchable, "BAR 0: %lx bytes", bar.size);
    expect(reset(), "no reset");
    put(RDBAL, 0x12345670);
    put(TDBAL, 0x89abcde0);
    expect(get(RDBAL) == 0x12345670 && get(TDBAL) == 0x89abcde0, "%x, %x", get(RDBAL), get(TDBAL));
    expect(reset(), "no reset");
}

/* Rings and buffers become WC, after frames and before more of them. */
static void retyped(void)
{
    dma_begin(DMA_WB);
    if (start() && ask()) {
        dma_retype((void *)(uintptr_t)sender.at, 1, DMA_WC_PAT);
        dma_retype((void *)(uintptr_t)receiver.buffers, DESCRIPTORS, DMA_WC_PAT);
        for (unsigned number = 1; number < DESCRIPTORS; number++)
            if (send(make_echo(to_send(), number)))
                expect_echo(number);
        stop();
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
    find();
    dma_init();
    ktap_begin(DMA_TYPES + ARRAY_SIZE(cases));
    dma_run("echoes", needs_nic, echoes);
    ktap_run(cases, ARRAY_SIZE(cases));
    ktap_end();
}
