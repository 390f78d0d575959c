/* Reads the firmware's tables through windows: which CPUs the machine has, and for others. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "vmm/host/topology.h"

#include "drivers/dmar.h"
#include "drivers/mptable.h"
#include "vmm/host/host.h"
#include "vmm/host/log.h"

/* Tables lie in the first MiB, or in memory of which the firmware's map says so. */
static bool may_hold_tables(const struct memmap *map, uint64_t at, uint64_t end)
{
    enum { HOLD = 1 << MEM_RAM | 1 << MEM_FILE | 1 << MEM_ACPI | 1 << MEM_FIRMWARE };
    return at < MIB || memmap_is_all(map, at, end, HOLD);
}

static bool read_memory(const struct firmware *firmware, uint64_t at, void *to, size_t n)
{
    const struct host *host = ((const struct host_firmware *)(const void *)firmware)->host;
    uint64_t top = 1ull << cpu_phys_bits();
    if (n > top || at > top - n || !may_hold_tables(&host->map, at, at + n))
        return false;
    host_read(this_cpu(), hpa(at), to, n);
    return true;
}

struct host_firmware topology_firmware(const struct host *host)
{
    return (struct host_firmware){{read_memory}, host};
}

void topology_find_rsdp(const struct host *host, struct boot_info *info)
{
    const struct host_firmware from = topology_firmware(host);
    if (info->rsdp == 0 && info->door != DOOR_UEFI)
        info->rsdp = acpi_find_rsdp(&from.firmware);
}

bool topology_find(const struct host_firmware *from, const struct boot_info *info,
                   const char *signature, struct acpi_table *table)
{
    return info->rsdp != 0 && acpi_find(&from->firmware, info->rsdp, signature, table);
}

bool topology_asks_for_xapic(const struct host *host, const struct boot_info *info)
{
    const struct host_firmware from = topology_firmware(host);
    struct acpi_table dmar;
    if (!topology_find(&from, info, "DMAR", &dmar) || !dmar_asks_for_xapic(&from.firmware, &dmar))
        return false;
    log_line("acpi: the firmware asks for no x2APIC mode (DMAR, X2APIC_OPT_OUT): local APICs stay "
             "in the mode that they are in");
    return true;
}

void topology_read(const struct host *host, const struct boot_info *info,
                   struct firmware_cpus *cpus)
{
    const struct host_firmware from = topology_firmware(host);
    struct acpi_table madt;
    const char *source = NULL;
    *cpus = (struct firmware_cpus){0};
    if (topology_find(&from, info, "APIC", &madt)) {
        acpi_cpus(&from.firmware, &madt, cpus);
        source = "acpi";
    } else if (info->door != DOOR_UEFI && mptable_cpus(&from.firmware, cpus)) {
        source = "mp table";
    }
    if (source == NULL) {
        log_line("cpus: neither an ACPI table nor an MP table names them: going on with one");
        return;
    }
    log_line("%s: local APIC at 0x%lx, CPUs %u", source, cpus->local_apic,
             cpus->count + cpus->beyond);
    if (cpus->disabled + cpus->later + cpus->senseless != 0)
        log_line("%s: CPUs disabled %u, online-capable %u, entries that make no sense %u", source,
                 cpus->disabled, cpus->later, cpus->senseless);
}
