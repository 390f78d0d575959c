/* Puts a guest's files into its memory before its first entry. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "vmm/guest.h"

#include "lib/errno.h"
#include "lib/x86.h"
#include "vmm/host/host.h"
#include "vmm/image.h"
#include "vmm/host/log.h"
#include "vmm/host/panic.h"
#include "vmm/passthrough/passthrough.h"
#include "vmm/devices/platform.h"

enum { MULTIBOOT_MAGIC = 0x2badb002 };

static void read_file(const struct image_file *file, uint64_t offset, void *to, size_t n)
{
    const struct boot_file *boot = file->context;
    host_read(this_cpu(), hpa(boot->hpa + offset), to, n);
}

static const struct boot_file *find_file(const struct vm *vm, const struct boot_info *info,
                                         const char *name, uint32_t line)
{
    const struct boot_file *file = boot_find_file(info, name);
    if (file == NULL)
        log_line("nosnoop.cfg:%u: vm %s: file %s was not given to the boot loader; put it beside "
                 "nosnoop.cfg or add it as a module",
                 line, vm->config->name, name);
    return file;
}

/* Where N bytes at GPA are, to the end of their page; the planner has checked that they are RAM. */
static hpa_t guest_part(const struct vm *vm, gpa_t at, uint64_t n, uint64_t *part)
{
    hpa_t where;
    if (!extent_byte(vm->extents, vm->extent_count, at, &where))
        panic("GPA 0x%lx was planned for a file, but is not RAM of vm %s", at.v, vm->config->name);
    *part = min_u64(n, PAGE_SIZE - at.v % PAGE_SIZE);
    return where;
}

/* Copies from physical memory (SOURCE), from a buffer (DATA), or zeroes. */
static void put(struct vm *vm, gpa_t to, const hpa_t *source, const void *data, uint64_t n)
{
    for (uint64_t done = 0, part = 0; done < n; done += part) {
        hpa_t at = guest_part(vm, gpa(to.v + done), n - done, &part);
        if (source != NULL)
            host_copy(this_cpu(), at, hpa(source->v + done), part);
        else if (data != NULL)
            host_write(this_cpu(), at, (const char *)data + done, part);
        else
            host_zero(this_cpu(), at, part);
    }
}

static void load_segments(struct vm *vm, const struct image_plan *plan,
                          const struct boot_file *kernel)
{
    for (unsigned i = 0; i < plan->count; i++) {
        const struct image_segment *s = &plan->segments[i];
        hpa_t source = hpa(kernel->hpa + s->offset);
        put(vm, s->gpa, &source, NULL, s->file_size);
        put(vm, gpa(s->gpa.v + s->file_size), NULL, NULL, s->mem_size - s->file_size);
    }
}

static int load_modules_and_info(struct vm *vm, const struct boot_info *info,
                                 const struct image_plan *plan, gpa_t *at)
{
    const struct vm_config *config = vm->config;
    const struct boot_file *files[CONFIG_MAX_MODULES];
    struct image_module modules[CONFIG_MAX_MODULES];
    struct image_boot boot = {
        vm->ram, vm->ram_count, config->cmdline, modules, config->module_count, {0}, vm->low_end};
    size_t used;
    for (unsigned i = 0; i < config->module_count; i++) {
        const struct config_module *m = &config->modules[i];
        files[i] = find_file(vm, info, m->file, m->line);
        if (files[i] == NULL)
            return -ENOENT;
        modules[i] =
            (struct image_module){files[i]->size, m->string[0] != '\0' ? m->string : m->file, {0}};
    }
    int error = image_boot_info(plan, &boot, vm->information, sizeof(vm->information), &used);
    if (error != 0)
        return error;
    for (unsigned i = 0; i < config->module_count; i++) {
        hpa_t source = hpa(files[i]->hpa);
        put(vm, modules[i].gpa, &source, NULL, modules[i].size);
    }
    put(vm, boot.info, NULL, vm->information, used);
    *at = boot.info;
    return 0;
}

/* A BIOS's data: where the extended area is and of which size, and the KiB below it. */
static void put_bios_data(struct vm *vm)
{
    static const uint16_t ebda = 0x9fc0, kib_below = 639, kib_of_ebda = 1;
    put(vm, gpa(0x40e), NULL, &ebda, sizeof(ebda));
    put(vm, gpa(0x413), NULL, &kib_below, sizeof(kib_below));
    put(vm, gpa((uint64_t)ebda * 16), NULL, NULL, KIB);
    put(vm, gpa((uint64_t)ebda * 16), NULL, &kib_of_ebda, sizeof(kib_of_ebda));
}

/* Where the image has other things, it has them. */
static void put_firmware(struct vm *vm)
{
    struct platform platform = {
        .cpus = vm->config->cpus,
        .ioapic_id = platform_ioapic_id(vm->config->cpus),
        .coms = PLATFORM_COM2 | (vm->devices.com[0].base != 0 ? PLATFORM_COM1 : 0),
        .signature = vm->cpuid.basic[1].eax,
        .features = vm->cpuid.basic[1].edx,
        .dsdt = dsdt_start,
        .dsdt_size = (size_t)(dsdt_end - dsdt_start),
    };
    passthrough_describe(vm, &platform);
    put_bios_data(vm);
    platform_tables(vm->firmware, sizeof(vm->firmware), PLATFORM_TABLES_GPA, &platform);
    put(vm, gpa(PLATFORM_TABLES_GPA), NULL, vm->firmware, sizeof(vm->firmware));
}

int guest_load(struct vm *vm, const struct boot_info *info)
{
    const struct boot_file *kernel =
        find_file(vm, info, vm->config->kernel, vm->config->kernel_line);
    struct image_plan plan;
    gpa_t at;
    vm->boot = info;
    if (kernel == NULL)
        return -ENOENT;
    struct image_file file = {kernel->name, kernel->size, read_file, (void *)(uintptr_t)kernel};
    int error = image_plan(&file, vm->ram, vm->ram_count, &plan);
    if (error != 0)
        return error;
    if (vm->restarts == 0)
        put(vm, gpa(SCREEN_START), NULL, NULL, SCREEN_SIZE);
    put_firmware(vm);
    load_segments(vm, &plan, kernel);
    error = load_modules_and_info(vm, info, &plan, &at);
    if (error != 0)
        return error;
    wbinvd();
    struct guest_state *state = &vm->vcpus[0]->state;
    state->rip = plan.entry;
    state->gpr[RAX] = MULTIBOOT_MAGIC;
    state->gpr[RBX] = at.v;
    if (vm->restarts == 0)
        log_line("vm %s: %s enters at 0x%x, information at 0x%lx", vm->config->name, kernel->name,
                 plan.entry, at.v);
    return 0;
}
