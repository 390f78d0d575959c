/* Pages for what the kernel is to find, all below 4 GiB. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "boot/efi/loader.h"
#include "lib/string.h"

void *memory_take(struct loader *loader, uint64_t size, EFI_MEMORY_TYPE type, const char *what)
{
    EFI_PHYSICAL_ADDRESS at = 4 * GIB - 1;
    uint64_t pages = size == 0 ? 1 : (size - 1) / PAGE_SIZE + 1;
    EFI_STATUS status = loader->boot->AllocatePages(AllocateMaxAddress, type, pages, &at);
    if (EFI_ERROR(status)) {
        loader_panic("%s: no %llu KiB of memory below 4 GiB (status %llx); give the machine more",
                     what, (unsigned long long)(pages * PAGE_SIZE / KIB),
                     (unsigned long long)status);
        return NULL;
    }
    void *memory = (void *)at;
    memset(memory, 0, pages * PAGE_SIZE);
    return memory;
}
