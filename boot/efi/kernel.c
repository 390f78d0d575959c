/* Loads the kernel's image from nosnoop.elf. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "boot/efi/elf.h"
#include "boot/efi/loader.h"
#include "lib/errno.h"

#define KERNEL_ALIGN (2 * MIB)

static const char name[] = "nosnoop.elf";

/* Firmware that maps EfiLoaderData as not executable still lets EfiLoaderCode run. */
static int place(struct loader *loader, const uint8_t *file, const struct elf_plan *plan)
{
    void *pages = memory_take(loader, plan->image_size + KERNEL_ALIGN, EfiLoaderCode, name);
    if (pages == NULL)
        return -ENOMEM;
    uint64_t end = align_up((uint64_t)pages, KERNEL_ALIGN) + plan->image_size;
    loader->kernel = align_up((uint64_t)pages, KERNEL_ALIGN);
    loader->kernel_entry = plan->entry;
    elf_build(file, plan, (uint8_t *)loader->kernel);
    boot_add_range(loader->info, loader->kernel, end, MEM_HYPERVISOR, EfiLoaderCode);
    return 0;
}

int kernel_load(struct loader *loader)
{
    struct elf_plan plan;
    struct bytes file;
    int error = file_read(loader, name, &file);
    if (error == -ENOENT)
        loader_panic("\\nosnoop\\%s is missing; copy it to the volume", name);
    if (error != 0)
        return error;
    const char *wrong = elf_plan(file.data, file.size, &plan);
    if (wrong != NULL) {
        loader_panic("\\nosnoop\\%s %s; build it again with `make` and copy it to the volume", name,
                     wrong);
        return -ENOEXEC;
    }
    return place(loader, file.data, &plan);
}
