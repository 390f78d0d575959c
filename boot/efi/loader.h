/* The UEFI loader: what its files share. */
/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include <efi.h>

#include "boot/boot_info.h"

/* Where everything of ours is on the loader's own volume. */
#define LOADER_DIRECTORY u"\\nosnoop"

struct loader {
    EFI_HANDLE image;
    EFI_SYSTEM_TABLE *system;
    EFI_BOOT_SERVICES *boot;
    EFI_FILE_HANDLE directory; /* LOADER_DIRECTORY */
    struct boot_info *info;    /* below 4 GiB */
    uint64_t kernel;           /* physical address of the kernel's image, below 4 GiB */
    uint64_t kernel_entry;     /* offset in the image */
};

struct bytes {
    const uint8_t *data;
    uint64_t size;
};

/* console.c: must be called before anything that prints. */
void console_open(EFI_HANDLE image, EFI_SYSTEM_TABLE *system);

/* From here on the firmware's console is not used; what is printed goes to COM2 alone. */
void console_close(void);

/* One line `panic: loader: ...` on the console and on COM2: the machine does not start. */
__attribute__((format(printf, 1, 2))) void loader_panic(const char *fmt, ...);

/*
 * memory.c: zeroed pages below 4 GiB for SIZE bytes (0 counts as 1). WHAT is named where there are
 * none left. Returns NULL then, after loader_panic().
 */
void *memory_take(struct loader *loader, uint64_t size, EFI_MEMORY_TYPE type, const char *what);

/* file.c: opens LOADER_DIRECTORY on the volume that the loader came from. Returns 0 or -ENOENT. */
int file_open_directory(struct loader *loader);

/*
 * Reads a file of that directory ('/' parts components) to pages below 4 GiB. Returns 0; -ENOENT,
 * logged by nobody; or -EIO, -ENOMEM or -E2BIG after loader_panic().
 */
int file_read(struct loader *loader, const char *name, struct bytes *file);

/* kernel.c: loads nosnoop.elf. Returns 0 or a negative errno after loader_panic(). */
int kernel_load(struct loader *loader);

/*
 * files.c: loads nosnoop.cfg and what its VMs name. What is missing is logged and left to the
 * kernel to refuse. Returns 0, or a negative errno after loader_panic().
 */
int files_load(struct loader *loader);

/* machine.c: the framebuffer and the RSDP, if the firmware has them. */
void machine_describe(struct loader *loader);

/*
 * pci.c: takes the drivers off every PCI function but displays and bridges, and turns the bus
 * mastering of those functions off: from here on no device writes to memory.
 */
void pci_quiesce(struct loader *loader);

/*
 * leave.c: ends boot services; on success the memory map is in the boot information and no service
 * of the firmware may be called any more. Returns 0, or a negative errno after loader_panic().
 */
int leave_firmware(struct loader *loader);
