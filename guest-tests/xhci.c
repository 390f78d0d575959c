/*
 * A USB controller (xHCI 1.1) with a keyboard (USB 2.0; Device Class Definition for Human Interface
 * Devices 1.11), as a driver uses them: reset, rings, a device that is addressed, described and
 * configured, and its reports; with rings, contexts and data in memory of every type; told by MSI-X
 * and by INTx. Nobody presses a key: the keyboard is told to report that again and again.
 *
 * row: xhci end=0 timeout=60 control-timeout=30 device=xhci set=control=yes cmdline=dma=coherent
 * row: xhci.no-snoop end=0 timeout=60 device=xhci iommu=no-snoop set=control=yes control=skip
 *      control-reason="as xhci"
 * row: xhci.amd end=0 timeout=60 device=xhci iommu=amd set=control=yes cmdline=dma=coherent
 *      control=skip control-reason="as xhci"
 * row: xhci.amd-non-coherent end=0 timeout=60 device="xhci dma=non-coherent" iommu=amd
 *      set=control=yes control=skip control-reason="as xhci"
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
#include "lib/string.h"

enum { XHCI_CLASS = 0x0c0330, CLASS_MASK = 0xffffff };

/* "Host Controller Capability Registers". */
enum { CAPLENGTH = 0x00, PARAMETERS_1 = 0x04, PARAMETERS_2 = 0x08, PARAMETERS_C = 0x10 };
enum { DOORBELLS = 0x14, RUNTIME = 0x18, PORTS_AT = 24, CONTEXT_64 = 1 << 2 };
#define SCRATCHPADS 0xfbe00000u

/* "Host Controller Operational Registers", from the first of them. */
enum { COMMAND = 0x00, STATUS = 0x04, RING = 0x18, CONTEXTS = 0x30, CONFIG = 0x38, PORTS = 0x400 };
enum { COMMAND_RUN = 1, COMMAND_RESET = 2, COMMAND_IRQ = 4, PORT_SIZE = 16 };
enum { STATUS_HALTED = 1, STATUS_EVENT = 8, STATUS_NOT_READY = 1 << 11 };
enum { PORT_DEVICE = 1, PORT_ENABLED = 2, PORT_RESET = 1 << 4, PORT_POWER = 1 << 9 };
enum { PORT_SPEED_AT = 10, PORT_SPEED = 15, SPEED_HIGH = 3 };

/* "Host Controller Runtime Registers": of interrupter 0. */
enum { IMAN = 0x20, ERSTSZ = 0x28, ERSTBA = 0x30, ERDP = 0x38 };
enum { IMAN_PENDING = 1, IMAN_ENABLE = 2, ERDP_BUSY = 8 };

/* "Transfer Request Block (TRB)". */
struct trb {
    uint64_t parameter;
    uint32_t status, control;
};
static_assert(sizeof(struct trb) == 16, "TRB");
enum { TRB_NORMAL = 1, TRB_SETUP, TRB_DATA, TRB_STATUS, TRB_LINK = 6 };
enum { TRB_ENABLE_SLOT = 9, TRB_ADDRESS = 11, TRB_CONFIGURE, TRB_TRANSFER = 32, TRB_COMPLETION };
enum { CYCLE = 1, TOGGLE = 2, TRB_IRQ = 1 << 5, IMMEDIATE = 1 << 6, TYPE_AT = 10, TYPE = 63 };
enum { DIRECTION_IN = 1 << 16, STAGE_IN = 3 << 16, SLOT_AT = 24, CODE_AT = 24, SUCCESS = 1 };

/* "Device Context": 32 bytes each; the slot's, then by "Device Context Index". */
enum { CONTEXT = 32, CONTROL_ENDPOINT = 1, REPORTS_ENDPOINT = 3, ENTRIES_AT = 27 };
enum { CONTROL_TYPE = 4, INTERRUPT_IN = 7, THREE_ERRORS = 3 << 1, HIGH_PACKET = 64 };

/* USB, "Standard Device Requests", "Standard USB Descriptor Definitions"; HID, "Requests". */
enum { GET_DESCRIPTOR = 0x0680, SET_CONFIGURATION = 0x0900, SET_IDLE = 0x0a21 };
enum { DEVICE_DESCRIPTOR = 1, CONFIGURATION_DESCRIPTOR, INTERFACE_DESCRIPTOR = 4 };
enum { ENDPOINT_DESCRIPTOR = 5, DEVICE_SIZE = 18, CONFIGURATION_SIZE = 34, REPORT = 8 };
enum { HID_CLASS = 3, BOOT = 1, KEYBOARD = 1, ENDPOINT_1_IN = 0x81 };

enum { RING_TRBS = 8, EVENTS = 256, VECTOR = 0x51, LONG_MS = 3000, REPORTS = 3 };
enum told { POLLED, BY_MSIX, BY_INTX };

struct ring {
    volatile struct trb *at; /* a page */
    unsigned next, cycle;
};

static bdf_t xhci;
static struct pci_bar bar;
static volatile uint8_t *registers, *operational, *runtime, *doorbells;
static volatile uint64_t *contexts; /* by slot, a page */
static volatile uint8_t *input;     /* an Input Context, a page */
static struct ring commands, control, reports, events;
static unsigned slot;
static enum told how;

/* --- registers -------------------------------------------------------------------------------- */

static uint32_t get(const volatile uint8_t *base, unsigned reg)
{
    return *(const volatile uint32_t *)(uintptr_t)(base + reg);
}

static void put(volatile uint8_t *base, unsigned reg, uint32_t value)
{
    *(volatile uint32_t *)(uintptr_t)(base + reg) = value;
}

static void put_wide(volatile uint8_t *base, unsigned reg, uint64_t value)
{
    put(base, reg, (uint32_t)value);
    put(base, reg + 4, (uint32_t)(value >> 32));
}

/* Waits until BITS of an operational register are VALUE. */
static bool wait_for(unsigned reg, uint32_t bits, uint32_t value)
{
    uint64_t start = rdtsc();
    while ((get(operational, reg) & bits) != value)
        if (rdtsc() - start > machine_ticks(LONG_MS))
            return false;
    return true;
}

/* --- rings ------------------------------------------------------------------------------------ */

static volatile void *clear_page(void)
{
    void *page = dma_take(1);
    memset(page, 0, PAGE_SIZE);
    dma_sync(page, PAGE_SIZE);
    return page;
}

static void make_ring(struct ring *ring)
{
    *ring = (struct ring){.at = clear_page(), .cycle = CYCLE};
}

/* The last TRB leads to the first, and toggles the cycle. */
static void enqueue(struct ring *ring, uint64_t parameter, uint32_t status, uint32_t bits)
{
    volatile struct trb *trb = &ring->at[ring->next];
    *trb = (struct trb){parameter, status, bits | ring->cycle};
    dma_sync(trb, sizeof(*trb));
    if (++ring->next < RING_TRBS - 1)
        return;
    trb = &ring->at[ring->next];
    *trb = (struct trb){dma_address(ring->at), 0, TRB_LINK << TYPE_AT | TOGGLE | ring->cycle};
    dma_sync(trb, sizeof(*trb));
    ring->next = 0;
    ring->cycle ^= CYCLE;
}

/* The next event of TYPE, past others; false: none comes. */
static bool next_event(unsigned type, struct trb *event)
{
    for (uint64_t start = rdtsc(); rdtsc() - start < machine_ticks(LONG_MS);) {
        volatile struct trb *trb = &events.at[events.next];
        dma_sync(trb, sizeof(*trb));
        if ((trb->control & CYCLE) != events.cycle)
            continue;
        *event = *trb;
        events.next = (events.next + 1) % EVENTS;
        events.cycle ^= events.next == 0;
        put_wide(runtime, ERDP, dma_address(&events.at[events.next]) | ERDP_BUSY);
        if ((event->control >> TYPE_AT & TYPE) == type)
            return true;
    }
    return false;
}

/* Has the controller look at a ring (TARGET of DOORBELL), and waits for the end of its last TRB. */
static bool ring_bell(unsigned doorbell, unsigned target, unsigned type, struct trb *event)
{
    uint32_t before = taken_of(smp_index(), VECTOR);
    put(doorbells, 4 * doorbell, target);
    if (how != POLLED && !expect(dma_wait(VECTOR, before + 1), "no interrupt"))
        return false;
    return expect(next_event(type, event), "no event of type %u", type) &&
           expect(event->status >> CODE_AT == SUCCESS, "completion code %u",
                  event->status >> CODE_AT);
}

static bool execute(unsigned type, uint64_t parameter, struct trb *event)
{
    enqueue(&commands, parameter, 0, type << TYPE_AT | slot << SLOT_AT);
    return ring_bell(0, 0, TRB_COMPLETION, event);
}

/* --- the controller --------------------------------------------------------------------------- */

static bool reset(void)
{
    put(operational, COMMAND, 0);
    bool ready = wait_for(STATUS, STATUS_HALTED, STATUS_HALTED);
    put(operational, COMMAND, COMMAND_RESET);
    ready = ready && wait_for(COMMAND, COMMAND_RESET, 0);
    return ready && wait_for(STATUS, STATUS_NOT_READY, 0);
}

static void make_events(void)
{
    volatile struct trb *segment = clear_page();
    make_ring(&events);
    *segment = (struct trb){dma_address(events.at), EVENTS, 0};
    dma_sync(segment, sizeof(*segment));
    put(runtime, ERSTSZ, 1);
    put_wide(runtime, ERDP, dma_address(events.at) | ERDP_BUSY);
    put_wide(runtime, ERSTBA, dma_address(segment));
    put(runtime, IMAN, IMAN_PENDING | IMAN_ENABLE);
}

/* "Host Controller Initialization". */
static bool start(void)
{
    bool ready = reset();
    slot = 0;
    contexts = clear_page();
    input = clear_page();
    make_ring(&commands);
    make_ring(&control);
    make_ring(&reports);
    put(operational, CONFIG, 1);
    put_wide(operational, CONTEXTS, dma_address(contexts));
    put_wide(operational, RING, dma_address(commands.at) | CYCLE);
    make_events();
    put(operational, COMMAND, COMMAND_RUN | COMMAND_IRQ);
    return expect(ready && wait_for(STATUS, STATUS_HALTED, 0), "it does not run: %x",
                  get(operational, STATUS));
}

/* The number, from 1, of the first port with a device, which has been reset; 0: there is none. */
static unsigned find_port(void)
{
    unsigned count = get(registers, PARAMETERS_1) >> PORTS_AT;
    for (unsigned i = 0; i < count; i++) {
        unsigned reg = PORTS + i * PORT_SIZE;
        if ((get(operational, reg) & PORT_DEVICE) == 0)
            continue;
        put(operational, reg, PORT_POWER | PORT_RESET);
        return wait_for(reg, PORT_RESET | PORT_ENABLED, PORT_ENABLED) ? i + 1 : 0;
    }
    return 0;
}

/* --- interrupts ------------------------------------------------------------------------------- */

static void take(unsigned cpu, unsigned vector)
{
    (void)cpu;
    if (vector != VECTOR || how != BY_INTX)
        return;
    put(operational, STATUS, STATUS_EVENT);
    put(runtime, IMAN, IMAN_PENDING | IMAN_ENABLE);
}

static void open_interrupts(enum told by)
{
    how = by;
    taken_clear();
    taken_hook = take;
    if (by == BY_MSIX)
        expect(pci_open_msix(xhci, VECTOR, 1), "no MSI-X");
    if (by == BY_INTX)
        pci_expect_intx(xhci, VECTOR);
}

static void close_interrupts(void)
{
    if (how == BY_MSIX)
        pci_close_msix(xhci);
    if (how == BY_INTX)
        pci_close_intx(xhci);
    how = POLLED;
}

/* --- the keyboard ----------------------------------------------------------------------------- */

static void put_context(unsigned index, unsigned reg, uint32_t value)
{
    put(input, (1 + index) * CONTEXT + reg, value);
}

static void put_endpoint(unsigned index, unsigned type, unsigned packet, const struct ring *ring)
{
    uint64_t at = dma_address(ring->at) | CYCLE;
    put_context(index, 4, THREE_ERRORS | type << 3 | packet << 16);
    put_context(index, 8, (uint32_t)at);
    put_context(index, 12, (uint32_t)(at >> 32));
    put_context(index, 16, packet);
}

/* "Device Slot Assignment", "Address Assignment". */
static bool address_device(unsigned port)
{
    struct trb event;
    unsigned speed = get(operational, PORTS + (port - 1) * PORT_SIZE) >> PORT_SPEED_AT & PORT_SPEED;
    if (!expect(speed == SPEED_HIGH, "speed %u", speed) || !execute(TRB_ENABLE_SLOT, 0, &event))
        return false;
    slot = event.control >> SLOT_AT;
    contexts[slot] = dma_address(clear_page());
    dma_sync(contexts, PAGE_SIZE);
    put(input, 4, 1 << 0 | 1 << CONTROL_ENDPOINT);
    put_context(0, 0, speed << 20 | (unsigned)CONTROL_ENDPOINT << ENTRIES_AT);
    put_context(0, 4, port << 16);
    put_endpoint(CONTROL_ENDPOINT, CONTROL_TYPE, HIGH_PACKET, &control);
    dma_sync(input, PAGE_SIZE);
    return execute(TRB_ADDRESS, dma_address(input), &event);
}

/* Request NUMBER (bRequest, bmRequestType) with VALUE; BYTES come to BUFFER if there are any. */
static bool request(unsigned number, unsigned value, const volatile uint8_t *buffer, unsigned bytes)
{
    struct trb event;
    uint64_t setup = number | (uint64_t)value << 16 | (uint64_t)bytes << 48;
    enqueue(&control, setup, 8, TRB_SETUP << TYPE_AT | IMMEDIATE | (bytes != 0 ? STAGE_IN : 0));
    if (bytes != 0)
        enqueue(&control, dma_address(buffer), bytes, TRB_DATA << TYPE_AT | DIRECTION_IN);
    enqueue(&control, 0, 0,
            TRB_STATUS << TYPE_AT | TRB_IRQ | (bytes != 0 ? 0 : (unsigned)DIRECTION_IN));
    bool ended = ring_bell(slot, CONTROL_ENDPOINT, TRB_TRANSFER, &event);
    if (bytes != 0) {
        dma_sync(buffer, PAGE_SIZE);
        expect(dma_is_pattern(buffer + bytes, PAGE_SIZE - bytes), "bytes behind it have changed");
    }
    return ended;
}

/* A configuration with a keyboard's interface, whose reports come from endpoint 1. */
static void expect_keyboard(const volatile uint8_t *at)
{
    bool keyboard = false, endpoint = false;
    for (unsigned i = 0; i < CONFIGURATION_SIZE && at[i] != 0; i += at[i]) {
        if (at[i + 1] == INTERFACE_DESCRIPTOR)
            keyboard = at[i + 5] == HID_CLASS && at[i + 6] == BOOT && at[i + 7] == KEYBOARD;
        if (at[i + 1] == ENDPOINT_DESCRIPTOR)
            endpoint = at[i + 2] == ENDPOINT_1_IN && at[i + 4] == REPORT;
    }
    expect(keyboard && endpoint, "interface %u, endpoint %u", keyboard, endpoint);
}

static bool describe(void)
{
    volatile uint8_t *device = dma_take(1), *configuration = dma_take(1);
    if (!request(GET_DESCRIPTOR, DEVICE_DESCRIPTOR << 8, device, DEVICE_SIZE) ||
        !request(GET_DESCRIPTOR, CONFIGURATION_DESCRIPTOR << 8, configuration, CONFIGURATION_SIZE))
        return false;
    expect(device[0] == DEVICE_SIZE && device[1] == DEVICE_DESCRIPTOR, "descriptor %x, type %x",
           device[0], device[1]);
    expect_keyboard(configuration);
    return request(SET_CONFIGURATION, configuration[5], NULL, 0);
}

/* "Configure Endpoint"; a report each 4 ms, or what the controller has for that: 2^5 * 125 us. */
static bool configure(void)
{
    struct trb event;
    put(input, 4, 1 << 0 | 1 << REPORTS_ENDPOINT);
    put_context(0, 0, SPEED_HIGH << 20 | (unsigned)REPORTS_ENDPOINT << ENTRIES_AT);
    put_context(REPORTS_ENDPOINT, 0, 5 << 16);
    put_endpoint(REPORTS_ENDPOINT, INTERRUPT_IN, REPORT, &reports);
    put_context(REPORTS_ENDPOINT, 16, REPORT | REPORT << 16);
    dma_sync(input, PAGE_SIZE);
    return execute(TRB_CONFIGURE, dma_address(input), &event) && request(SET_IDLE, 1 << 8, NULL, 0);
}

/* No key is pressed, and the report's bytes are 0. */
static void report(void)
{
    struct trb event;
    const volatile uint8_t *buffer = dma_take(1);
    enqueue(&reports, dma_address(buffer), REPORT, TRB_NORMAL << TYPE_AT | TRB_IRQ);
    if (!ring_bell(slot, REPORTS_ENDPOINT, TRB_TRANSFER, &event))
        return;
    unsigned ones = 0;
    dma_sync(buffer, PAGE_SIZE);
    for (unsigned i = 0; i < REPORT; i++)
        ones |= buffer[i];
    expect(ones == 0, "bytes of a report: %x", ones);
    expect(dma_is_pattern(buffer + REPORT, PAGE_SIZE - REPORT), "bytes behind it have changed");
}

/* From reset to reports. */
static bool start_keyboard(void)
{
    if (!start())
        return false;
    unsigned port = find_port();
    return expect(port != 0, "no device at a port") && address_device(port) && describe() &&
           configure();
}

/* --- cases ------------------------------------------------------------------------------------ */

static const char *needs_xhci(void)
{
    return xhci != PCI_NOT_THERE ? NULL : "there is no xHCI controller";
}

static void find(void)
{
    xhci = pci_find_class(XHCI_CLASS, CLASS_MASK);
    if (xhci == PCI_NOT_THERE)
        return;
    bar = pci_bar(xhci, 0);
    registers = pci_map(&bar);
    pci_command(xhci, COMMAND_MEMORY | COMMAND_MASTER, 0);
    operational = registers + (get(registers, CAPLENGTH) & 0xff);
    runtime = registers + get(registers, RUNTIME);
    doorbells = registers + get(registers, DOORBELLS);
}

static void is_found(void)
{
    if (!expect(xhci != PCI_NOT_THERE, "there is no xHCI controller"))
        return;
    expect((get(registers, PARAMETERS_C) & CONTEXT_64) == 0, "contexts of 64 bytes");
    expect((get(registers, PARAMETERS_2) & SCRATCHPADS) == 0, "scratchpads");
}

static void use(enum told by)
{
    open_interrupts(by);
    if (start_keyboard())
        for (unsigned i = 0; i < REPORTS; i++)
            report();
    reset();
    close_interrupts();
}

static void keyboard(void)
{
    use(POLLED);
    use(BY_MSIX);
    use(BY_INTX);
}

/* Rings and contexts become WC, after they have been used and before they are again. */
static void retyped(void)
{
    dma_begin(DMA_WB);
    if (start_keyboard()) {
        report();
        dma_retype((void *)(uintptr_t)reports.at, 1, DMA_WC_PAT);
        dma_retype((void *)(uintptr_t)events.at, 1, DMA_WC_PAT);
        dma_retype((void *)(uintptr_t)control.at, 1, DMA_WC_PAT);
        report();
        request(SET_IDLE, 2 << 8, NULL, 0);
        report();
    }
    reset();
    dma_end();
}

static const struct test_case first[] = {
    {"the function is found", NULL, is_found},
};

static const struct test_case cases[] = {
    {"memory that is made WC between reports", needs_xhci, retyped},
    {"no other memory has changed", needs_xhci, dma_check_memory},
};

void test_main(void)
{
    taken_init();
    apic_enable();
    pci_init();
    find();
    dma_init();
    ktap_begin(ARRAY_SIZE(first) + DMA_TYPES + ARRAY_SIZE(cases));
    ktap_run(first, ARRAY_SIZE(first));
    dma_run("a keyboard by polling, MSI-X and INTx", needs_xhci, keyboard);
    ktap_run(cases, ARRAY_SIZE(cases));
    ktap_end();
}
