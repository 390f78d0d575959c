/* Fuzzes the parser of nosnoop.cfg: any bytes are answered, and what is accepted keeps its
 * promises. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/host.h"
#include "vmm/config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define require(cond)                                                                              \
    do {                                                                                           \
        if (!(cond)) {                                                                             \
            fprintf(stderr, "broken: %s\n", #cond);                                                \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

#define require_string(field) require(memchr(field, '\0', sizeof(field)) != NULL)

static void check_devices(const struct vm_config *vm)
{
    require(vm->region_count <= CONFIG_MAX_REGIONS && vm->device_count <= CONFIG_MAX_DEVICES);
    for (unsigned i = 0; i < vm->region_count; i++) {
        const struct config_region *region = &vm->regions[i];
        require(region->size > 0 && region->start + region->size > region->start);
        require((region->start | region->size) % 4096 == 0);
        require(region->type <= MT_WB && region->type != 2 && region->type != 3);
    }
    for (unsigned i = 0; i < vm->device_count; i++) {
        const struct config_device *device = &vm->devices[i];
        require(device->device < 32 && device->function < 8 && device->dma <= DMA_NON_COHERENT);
        require(device->intx <= CONFIG_MAX_GSI || device->intx == CONFIG_NOT_GIVEN);
        for (unsigned k = 0; k < CONFIG_BARS; k++)
            require(device->bar[k] <= MT_WB || device->bar[k] == CONFIG_NOT_GIVEN);
    }
}

static void check_vm(const struct vm_config *vm)
{
    require_string(vm->name);
    require_string(vm->kernel);
    require_string(vm->cmdline);
    require_string(vm->policy);
    require(vm->name[0] != '\0' && vm->kernel[0] != '\0' && vm->line > 0);
    require(vm->memory >= 0x100000 && vm->memory % 4096 == 0 && vm->memory <= 1ull << 47);
    require(vm->cpus >= 1 && vm->cpus <= CONFIG_MAX_CPUS);
    require(vm->pin_count == 0 || vm->pin_count == vm->cpus);
    require(vm->serial <= PORT_NONE && vm->serial != PORT_NUMBER && vm->cd <= KNOB_CD_WB_IPAT);
    require(vm->module_count <= CONFIG_MAX_MODULES);
    for (unsigned i = 0; i < vm->module_count; i++) {
        require_string(vm->modules[i].file);
        require_string(vm->modules[i].string);
        require(vm->modules[i].file[0] != '\0' && vm->modules[i].line > vm->line);
    }
    check_devices(vm);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct config config;
    host_log_reset();
    memset(&config, 0xa5, sizeof(config));
    int result = config_parse((const char *)data, size, &config);
    require((result == 0) == (host_log[0] == '\0'));
    require(strchr(host_log, '\r') == NULL);
    if (result != 0)
        return 0;
    require(config.vm_count >= 1 && config.vm_count <= CONFIG_MAX_VMS);
    require(config.host.log != PORT_LOG);
    for (unsigned i = 0; i < config.vm_count; i++)
        check_vm(&config.vms[i]);
    config_check_supported(&config);
    return 0;
}
