/* Loads nosnoop.cfg and the files that its VMs name. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "boot/efi/loader.h"
#include "lib/errno.h"
#include "lib/log.h"
#include "lib/string.h"
#include "vmm/config.h"

/* Loads a file unless it is there already. Returns 0 also where it is missing or has no place. */
static int load(struct loader *loader, const char *path, const char *cure)
{
    struct bytes bytes;
    const struct boot_file *same = boot_find_file(loader->info, path);
    if (same != NULL && strcmp(same->string, path) != 0)
        log_line("loader: '%s' and '%s' have the same name and the first one is taken for both; "
                 "rename one",
                 same->string, path);
    if (path[0] == '\0' || same != NULL)
        return 0;
    int error = file_read(loader, path, &bytes);
    if (error == -ENOENT) {
        log_line("loader: \\nosnoop\\%s is missing; %s", path, cure);
        return 0;
    }
    if (error == 0)
        boot_add_file(loader->info, path, (uint64_t)bytes.data, bytes.size);
    return error;
}

static int load_vm(struct loader *loader, const struct vm_config *vm)
{
    static const char cure[] = "copy it there, or mend its name in nosnoop.cfg";
    int error = load(loader, vm->kernel, cure);
    for (uint32_t i = 0; i < vm->module_count && error == 0; i++)
        error = load(loader, vm->modules[i].file, cure);
    return error;
}

int files_load(struct loader *loader)
{
    static const char name[] = "nosnoop.cfg";
    int error = load(loader, name, "write one (README.md)");
    const struct boot_file *text = boot_find_file(loader->info, name);
    if (error != 0 || text == NULL)
        return error;
    struct config *config = memory_take(loader, sizeof(*config), EfiLoaderData, name);
    if (config == NULL)
        return -ENOMEM;
    /* The kernel reports the same errors again, on its log, and ends with their status. */
    config_parse((const char *)text->hpa, text->size, config);
    for (uint32_t i = 0; i < config->vm_count && error == 0; i++)
        error = load_vm(loader, &config->vms[i]);
    return error;
}
