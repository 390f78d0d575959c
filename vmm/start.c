/* The order of start-up: from the doors to the first entry of a guest, and to the machine's end. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "boot/boot_info.h"
#include "boot/mb1.h"
#include "boot/mb2.h"
#include "drivers/apic.h"
#include "drivers/pic.h"
#include "drivers/serial.h"
#include "lib/string.h"
#include "lib/x86.h"
#include "mm/host_types.h"
#include "mm/memtype.h"
#include "vmm/host/area.h"
#include "vmm/host/clock.h"
#include "vmm/host/host.h"
#include "vmm/passthrough/identity.h"
#include "vmm/host/iommu_host.h"
#include "vmm/host/layout.h"
#include "vmm/host/log.h"
#include "vmm/instruments/monitor.h"
#include "vmm/host/panic.h"
#include "vmm/host/pci_host.h"
#include "vmm/host/smp.h"
#include "vmm/host/topology.h"
#include "vmm/vms.h"
#include "version.h"

enum { CONFIG_TEXT_SIZE = 16384 };

static struct cpu early_cpu; /* until its area is mapped */
static struct boot_info boot_info;
static struct host host;
static struct config config;
static struct firmware_cpus firmware_cpus;

noreturn void start(uint32_t door, uint64_t info, uint64_t image);

static const void *identity(uint64_t address)
{
    return address < 4 * GIB ? (const void *)address : NULL;
}

/* Boot data lies below 4 GiB, which the boot tables map one to one. */
static void take_boot_info(uint32_t door, uint64_t from)
{
    switch (door) {
    case DOOR_MULTIBOOT1:
        if (mb1_boot_info((const struct mb1_info *)from, identity, &boot_info) != 0)
            panic("the boot loader gives no memory map; use one that does");
        break;
    case DOOR_MULTIBOOT2:
        if (mb2_boot_info(from, identity, &boot_info) != 0)
            panic("the boot loader gives no memory map; use one that does");
        break;
    case DOOR_UEFI:
        memcpy(&boot_info, (const void *)from, sizeof(boot_info));
        if (boot_info.version != BOOT_INFO_VERSION)
            panic("BOOTX64.EFI and nosnoop.elf are of different builds; install both");
        break;
    default:
        panic("unknown boot loader: use UEFI, GRUB's multiboot2, or multiboot 1");
    }
}

static void log_banner(void)
{
    static const char *const doors[] = {"?", "multiboot 1", "multiboot 2", "UEFI"};
    char brand[49] = "";
    for (uint32_t i = 0; i < 3 && cpuid(0x80000000, 0).eax >= 0x80000004; i++) {
        struct cpuid_regs r = cpuid(0x80000002 + i, 0);
        memcpy(&brand[i * sizeof(r)], &r, sizeof(r));
    }
    log_line("nosnoop %s (%s) build %s, by %s, on %s", NOSNOOP_VERSION, NOSNOOP_GIT, NOSNOOP_BUILD,
             doors[boot_info.door], brand);
}

/* The machine's own MTRRs, as the firmware left them: they stay as they are. */
static void log_mtrrs(void)
{
    const struct mtrr_state *mtrr = &host.mtrr;
    log_line("host MTRR default 0x%lx (%s), %u variable ranges", mtrr->def_type,
             memtype_name(mtrr->def_type & 0xff), mtrr->count);
    for (unsigned i = 0; i < mtrr->count; i++)
        if ((mtrr->variable[i].mask & MTRR_MASK_V) != 0)
            log_line("host MTRR %u base 0x%lx mask 0x%lx (%s)", i, mtrr->variable[i].base,
                     mtrr->variable[i].mask, memtype_name(mtrr->variable[i].base & 0xff));
}

static void judge_types(void)
{
    uint64_t syscfg = host_types_read(rdmsr_safe, cpu_phys_bits(), &host.mtrr);
    log_mtrrs();
    host_types_judge(&host.mtrr, syscfg, &host.map);
}

static void log_memory(void)
{
    if (boot_info.dropped_ranges + boot_info.dropped_files != 0)
        log_line("boot: %u memory ranges and %u files left out: too many, or senseless",
                 boot_info.dropped_ranges, boot_info.dropped_files);
    uint64_t ram = 0;
    for (unsigned i = 0; i < host.map.count; i++)
        if (host.map.r[i].kind == MEM_RAM)
            ram += host.map.r[i].end - host.map.r[i].start;
    uint64_t own = (uint64_t)(image_end - image_start) + POOL_SIZE + AREA_SIZE;
    log_line(
        "memory: hypervisor %lu KiB (image at 0x%lx, pool at 0x%lx), %lu KiB free in %u ranges",
        own / KIB, host.image.v, host_address(&host, (void *)POOL_VA).v, ram / KIB, host.map.count);
    if (boot_info.framebuffer.format == 0)
        log_line("boot: no framebuffer (GOP): the log is all there is to see");
    judge_types();
    log_line("host PAT 0x%lx, host CR3 0x%lx", rdmsr(MSR_PAT), read_cr3());
}

static int read_config(void)
{
    static char text[CONFIG_TEXT_SIZE];
    const struct boot_file *file = boot_find_file(&boot_info, "nosnoop.cfg");
    if (file == NULL) {
        log_line("no guest: there is no nosnoop.cfg; give it to the boot loader beside the guest");
        return -1;
    }
    if (file->size > sizeof(text)) {
        log_line("nosnoop.cfg: larger than %u bytes; shorten it", CONFIG_TEXT_SIZE);
        return -1;
    }
    host_read(this_cpu(), hpa(file->hpa), text, file->size);
    int error = config_parse(text, file->size, &config);
    return error != 0 ? error : config_check_supported(&config);
}

static void choose_log(void)
{
    static const uint16_t ports[] = {[PORT_COM1] = COM1, [PORT_COM2] = COM2};
    enum config_port choice = config.host.log;
    uint16_t port = choice == PORT_NUMBER ? config.host.log_port
                    : choice == PORT_NONE ? 0
                                          : ports[choice];
    if (!log_to_port(port))
        log_line("log: no UART at port 0x%x", port);
}

static int check_cpus(void)
{
    uint32_t has = firmware_cpus.count == 0 ? 1 : firmware_cpus.count;
    if (config.host.cpus <= has)
        return 0;
    log_line("nosnoop.cfg:%u: host: cpus = %u, of %u that the machine has; write cpus = all",
             config.host.line, config.host.cpus, has);
    return -1;
}

static void log_cpus(void)
{
    unsigned count = cpu_count(smp_cpus());
    bool any = config.host.iommu == IOMMU_ON && iommu_host() != NULL;
    const char *iommu = any ? "the IOMMU" : "no IOMMU";
    if (count == 1)
        log_line("host: one CPU is used, and %s", iommu);
    else
        log_line("host: %u CPUs are used, and %s", count, iommu);
}

static noreturn void end_machine(void)
{
    const char *reason = "all VMs ended";
    if (config.host.on_end != ON_END_RESET)
        end_halt(reason);
    log_line("end: %s", reason);
    log_drain();
    out8(0xcf9, 0x02);
    out8(0xcf9, 0x06);
    out8(0x64, 0xfe);
    end_halt("the machine did not reset");
}

static void start_on_own_tables(void)
{
    pic_init();
    topology_find_rsdp(&host, &boot_info);
    apic_init(&host, topology_asks_for_xapic(&host, &boot_info));
    apic_take_pic();
    log_memory();
    pci_host_init(&host, &boot_info);
    if (read_config() != 0)
        end_halt("config");
    choose_log();
    monitor_init();
    clock_init();
    topology_read(&host, &boot_info, &firmware_cpus);
    if (check_cpus() != 0)
        end_halt("config");
    if (config.host.iommu != IOMMU_OFF)
        iommu_host_start(&host, &boot_info, config.host.iommu == IOMMU_UNSAFE_IDENTITY);
    if (config.host.iommu == IOMMU_UNSAFE_IDENTITY)
        identity_make_way(&host, &boot_info);
    smp_start(&host, &firmware_cpus, config.host.cpus);
    log_cpus();
    if (vms_make(&config, &host, &boot_info) != 0)
        end_halt("config");
    vms_run();
    end_machine();
}

/* From boot/entry.asm: 64-bit mode at the high address, on the boot tables and the boot stack. */
noreturn void start(uint32_t door, uint64_t info, uint64_t image)
{
    traps_init();
    cpu_load_tables(&early_cpu);
    if (!log_to_port(COM2))
        log_to_port(COM1);
    take_boot_info(door, info);
    log_banner();
    cpu_set_modes();
    if (host_init(&host, &boot_info, hpa(image)) != 0)
        panic("no memory for the hypervisor: the line above says why");
    host_enter(&host, start_on_own_tables);
}
