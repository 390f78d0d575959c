/* Asks the firmware for the framebuffer and the ACPI tables. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "boot/efi/loader.h"
#include "lib/string.h"

static enum boot_pixel pixel_of(EFI_GRAPHICS_PIXEL_FORMAT format)
{
    if (format == PixelRedGreenBlueReserved8BitPerColor)
        return BOOT_PIXEL_RGBX;
    return format == PixelBlueGreenRedReserved8BitPerColor ? BOOT_PIXEL_BGRX : BOOT_PIXEL_NONE;
}

/* UEFI, "Graphics Output Protocol". */
static void find_framebuffer(struct loader *loader)
{
    EFI_GUID guid = EFI_GRAPHICS_OUTPUT_PROTOCOL_GUID;
    EFI_GRAPHICS_OUTPUT_PROTOCOL *gop;
    EFI_STATUS status = loader->boot->LocateProtocol(&guid, NULL, (void **)&gop);
    if (EFI_ERROR(status) || gop->Mode == NULL || gop->Mode->Info == NULL)
        return;
    const EFI_GRAPHICS_OUTPUT_MODE_INFORMATION *mode = gop->Mode->Info;
    if (mode->PixelsPerScanLine > UINT32_MAX / 4)
        return;
    boot_set_framebuffer(loader->info, (struct boot_framebuffer){
                                           .hpa = gop->Mode->FrameBufferBase,
                                           .width = mode->HorizontalResolution,
                                           .height = mode->VerticalResolution,
                                           .pitch = mode->PixelsPerScanLine * 4,
                                           .format = pixel_of(mode->PixelFormat),
                                       });
}

/* The address of the configuration table of that GUID, 0 if there is none. */
static uint64_t find_table(const EFI_SYSTEM_TABLE *system, EFI_GUID guid)
{
    for (UINTN i = 0; i < system->NumberOfTableEntries; i++) {
        const EFI_CONFIGURATION_TABLE *table = &system->ConfigurationTable[i];
        if (memcmp(&table->VendorGuid, &guid, sizeof(guid)) == 0)
            return (uint64_t)table->VendorTable;
    }
    return 0;
}

void machine_describe(struct loader *loader)
{
    find_framebuffer(loader);
    loader->info->rsdp = find_table(loader->system, (EFI_GUID)ACPI_20_TABLE_GUID);
    if (loader->info->rsdp == 0)
        loader->info->rsdp = find_table(loader->system, (EFI_GUID)ACPI_TABLE_GUID);
}
