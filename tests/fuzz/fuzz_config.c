/*
 * Fuzzes the parser of nosnoop.cfg: any bytes are answered, each refusal has a line and a cure, and
 * what is accepted lies within what is documented of every key.
 */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/fuzz/fuzz.h"
#include "vmm/config.h"

enum { MOST_MESSAGES = 21, COM1 = 0x3f8, COM2 = 0x2f8 };

static bool is_text(const char *text)
{
    while (*text >= ' ' && *text < 0x7f)
        text++;
    return *text == '\0';
}

/* Text within its array, printable. */
#define require_text(field)                                                                        \
    do {                                                                                           \
        require_string(field);                                                                     \
        require(is_text(field));                                                                   \
    } while (0)

/* --- messages --------------------------------------------------------------------------------- */

/* "nosnoop.cfg:LINE: problem; cure", of printable characters and tabs. Returns what follows. */
static const char *check_message(const char *message, unsigned lines)
{
    static const char head[] = "nosnoop.cfg:";
    const char *end = strchr(message, '\n');
    char *after;
    require(end != NULL && strncmp(message, head, sizeof(head) - 1) == 0);
    unsigned long line = strtoul(message + sizeof(head) - 1, &after, 10);
    require(line >= 1 && line <= lines && strncmp(after, ": ", 2) == 0);
    const char *cure = strstr(after, "; ");
    require(cure != NULL && cure < end);
    for (; message < end; message++)
        require((*message >= ' ' && *message < 0x7f) || *message == '\t');
    return end + 1;
}

/* Returns how many messages there are. */
static unsigned check_messages(unsigned lines)
{
    unsigned count = 0;
    for (const char *at = host_log; *at != '\0'; count++)
        at = check_message(at, lines);
    return count;
}

static unsigned lines_of(const uint8_t *data, size_t size)
{
    unsigned lines = 1;
    for (size_t i = 0; i < size; i++)
        lines += data[i] == '\n';
    return lines;
}

/* --- what is accepted ------------------------------------------------------------------------- */

static void check_host(const struct host_config *host)
{
    require(host->log <= PORT_NONE && host->log != PORT_LOG);
    if (host->log == PORT_NUMBER)
        require(host->log_port >= 8 && host->log_port % 8 == 0 && host->log_port != COM1 &&
                host->log_port != COM2);
    else
        require(host->log_port == 0);
    require(host->cpus <= CONFIG_MAX_HOST_CPUS);
    require(host->iommu <= IOMMU_UNSAFE_IDENTITY && host->on_end <= ON_END_POWEROFF);
}

static void check_regions(const struct vm_config *vm)
{
    require(vm->region_count <= CONFIG_MAX_REGIONS);
    for (unsigned i = 0; i < vm->region_count; i++) {
        const struct config_region *region = &vm->regions[i];
        require(region->size > 0 && region->start <= 1ull << 48 &&
                region->size <= (1ull << 48) - region->start);
        require((region->start | region->size) % 4096 == 0);
        require(region->type <= MT_WB && region->type != 2 && region->type != 3);
        require(region->line > vm->line);
        for (const struct config_region *r = vm->regions; r < region; r++)
            require(r->start + r->size <= region->start ||
                    region->start + region->size <= r->start);
    }
}

static bool same_function(const struct config_device *a, const struct config_device *b)
{
    return a->segment == b->segment && a->bus == b->bus && a->device == b->device &&
           a->function == b->function;
}

static void check_devices(const struct vm_config *vm)
{
    require(vm->device_count <= CONFIG_MAX_DEVICES);
    for (unsigned i = 0; i < vm->device_count; i++) {
        const struct config_device *device = &vm->devices[i];
        require(device->device < 32 && device->function < 8 && device->dma <= DMA_NON_COHERENT);
        require(device->intx <= CONFIG_MAX_GSI || device->intx == CONFIG_NOT_GIVEN);
        for (unsigned k = 0; k < CONFIG_BARS; k++)
            require(device->bar[k] <= MT_WB || device->bar[k] == CONFIG_NOT_GIVEN);
        require(device->no_reset <= 1 && device->map_rmrr <= 1 && device->line > vm->line);
    }
}

static bool is_name(const char *name)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                  "0123456789-_.";
    return name[0] != '\0' && name[strspn(name, letters)] == '\0';
}

static void check_modules(const struct vm_config *vm)
{
    require(vm->module_count <= CONFIG_MAX_MODULES);
    for (unsigned i = 0; i < vm->module_count; i++) {
        const struct config_module *module = &vm->modules[i];
        require_text(module->file);
        require_string(module->string);
        require(module->file[0] != '\0' && strchr(module->file, ' ') == NULL);
        require(module->line > vm->line);
    }
}

static void check_vm(const struct vm_config *vm)
{
    require_string(vm->name);
    require_string(vm->cmdline);
    require_text(vm->kernel);
    require_text(vm->policy);
    require(is_name(vm->name) && vm->line > 0 && vm->kernel_line > vm->line);
    require(vm->kernel[0] != '\0' && strchr(vm->kernel, ' ') == NULL);
    require(vm->memory >= 0x100000 && vm->memory % 4096 == 0 && vm->memory <= 1ull << 47);
    require(vm->cpus >= 1 && vm->cpus <= CONFIG_MAX_CPUS);
    require(vm->pin_count == 0 || vm->pin_count == vm->cpus);
    require(vm->serial <= PORT_NONE && vm->serial != PORT_NUMBER);
    require(vm->mtrr <= KNOB_MTRR_IGNORE && vm->pat <= KNOB_PAT_IGNORE);
    require(vm->cd <= KNOB_CD_WB_IPAT && vm->mmio <= KNOB_MMIO_GUEST);
    require(vm->report <= KNOB_REPORT_HIDDEN && vm->reset <= KNOB_RESET_ARCHITECTURAL);
    require(vm->on_reset <= ON_RESET_RESTART && vm->unmapped <= UNMAPPED_STOP);
    require(vm->apic <= APIC_SOFTWARE);
    check_modules(vm);
    check_regions(vm);
    check_devices(vm);
}

/* No name, port or function of a device belongs to two. */
static void check_pair(const struct vm_config *a, const struct vm_config *b)
{
    bool port = a->serial == PORT_COM1 || a->serial == PORT_COM2;
    require(strcmp(a->name, b->name) != 0);
    require(!port || a->serial != b->serial);
    for (unsigned i = 0; i < a->device_count; i++)
        for (unsigned k = 0; k < b->device_count; k++)
            require(!same_function(&a->devices[i], &b->devices[k]));
}

/* No CPU belongs to two, and no VM has more than the host. */
static void check_cpus(const struct config *config)
{
    bool pinned[CONFIG_MAX_HOST_CPUS] = {false};
    unsigned most = config->host.cpus == 0 ? CONFIG_MAX_HOST_CPUS : config->host.cpus, cpus = 0;
    for (unsigned i = 0; i < config->vm_count; i++) {
        const struct vm_config *vm = &config->vms[i];
        for (unsigned k = 0; k < vm->pin_count; k++) {
            require(vm->pin[k] < most && !pinned[vm->pin[k]]);
            pinned[vm->pin[k]] = true;
        }
        cpus += vm->cpus;
    }
    require(config->host.cpus == 0 || cpus <= most);
}

static void check_together(const struct config *config)
{
    const struct host_config *host = &config->host;
    unsigned with_devices = 0;
    check_cpus(config);
    for (unsigned i = 0; i < config->vm_count; i++) {
        const struct vm_config *vm = &config->vms[i];
        require((vm->serial != PORT_COM1 && vm->serial != PORT_COM2) || vm->serial != host->log);
        require(vm->mmio != KNOB_MMIO_GUEST || host->dangerous);
        require(vm->device_count == 0 || host->iommu != IOMMU_OFF);
        with_devices += vm->device_count > 0;
        for (unsigned k = 0; k < i; k++)
            check_pair(vm, &config->vms[k]);
        for (unsigned k = 0; k < vm->device_count; k++)
            for (unsigned j = 0; j < k; j++)
                require(!same_function(&vm->devices[k], &vm->devices[j]));
    }
    require(host->iommu != IOMMU_UNSAFE_IDENTITY || with_devices <= 1);
}

/* A second parse, over other remains, gives the same. */
static void check_repeatable(const uint8_t *data, size_t size, const struct config *first)
{
    static struct config again;
    memset(&again, 0x5a, sizeof(again));
    require(config_parse((const char *)data, size, &again) == 0);
    require(memcmp(&again, first, sizeof(again)) == 0);
}

/* What this build cannot do yet is refused with a message, in a line too; the rest without one. */
static void check_supported(const struct config *config, unsigned lines)
{
    int result = config_check_supported(config);
    require(result == 0 || result == -22);
    require((check_messages(lines) == 0) == (result == 0));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct config config;
    unsigned lines = lines_of(data, size);
    host_log_reset();
    int result = config_parse((const char *)data, size, &config);
    unsigned messages = check_messages(lines);
    require(result == 0 || result == -22);
    require((result == 0) == (messages == 0) && messages <= MOST_MESSAGES);
    if (result != 0)
        return 0;
    require(config.vm_count >= 1 && config.vm_count <= CONFIG_MAX_VMS);
    check_host(&config.host);
    for (unsigned i = 0; i < config.vm_count; i++)
        check_vm(&config.vms[i]);
    check_together(&config);
    check_repeatable(data, size, &config);
    check_supported(&config, lines);
    return 0;
}
