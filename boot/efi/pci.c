/* Stops all DMA before the firmware is left, so that no device writes to memory that has a new
 * owner. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include <efi.h>
#include <efipciio.h>

#include "boot/efi/loader.h"
#include "lib/log.h"

/* PCI Local Bus Specification 3.0, "Configuration Space Header". */
enum { PCI_COMMAND = 0x04, PCI_BASE_CLASS = 0x0b };
enum { COMMAND_BUS_MASTER = 1 << 2 };
enum { CLASS_DISPLAY = 0x03, CLASS_BRIDGE = 0x06 };

typedef void on_function(struct loader *loader, EFI_HANDLE handle, EFI_PCI_IO_PROTOCOL *pci);

/*
 * A display goes on scanning out its memory, and a bridge passes on what is behind it. The console
 * on a serial port hangs on the ISA bridge: with its driver go the messages of the steps that
 * follow.
 */
static bool is_kept(EFI_PCI_IO_PROTOCOL *pci)
{
    uint8_t class = 0;
    EFI_STATUS status = pci->Pci.Read(pci, EfiPciIoWidthUint8, PCI_BASE_CLASS, 1, &class);
    return !EFI_ERROR(status) && (class == CLASS_DISPLAY || class == CLASS_BRIDGE);
}

static void for_each_function(struct loader *loader, on_function *act)
{
    EFI_GUID guid = EFI_PCI_IO_PROTOCOL_GUID;
    EFI_BOOT_SERVICES *boot = loader->boot;
    EFI_HANDLE *handles;
    UINTN count;
    EFI_STATUS status = boot->LocateHandleBuffer(ByProtocol, &guid, NULL, &count, &handles);
    if (EFI_ERROR(status))
        return;
    for (UINTN i = 0; i < count; i++) {
        EFI_PCI_IO_PROTOCOL *pci;
        status = boot->HandleProtocol(handles[i], &guid, (void **)&pci);
        if (!EFI_ERROR(status) && !is_kept(pci))
            act(loader, handles[i], pci);
    }
    boot->FreePool(handles);
}

static void disconnect(struct loader *loader, EFI_HANDLE handle, EFI_PCI_IO_PROTOCOL *pci)
{
    (void)pci;
    /* A driver that refuses loses its device by the bus master bit all the same. */
    loader->boot->DisconnectController(handle, NULL, NULL);
}

/* 16 bits wide: the status register, whose bits are cleared by ones, is in the other half. */
static void stop_dma(struct loader *loader, EFI_HANDLE handle, EFI_PCI_IO_PROTOCOL *pci)
{
    uint16_t command = 0;
    (void)loader;
    EFI_STATUS status = pci->Pci.Read(pci, EfiPciIoWidthUint16, PCI_COMMAND, 1, &command);
    command &= (uint16_t)~COMMAND_BUS_MASTER;
    if (!EFI_ERROR(status))
        status = pci->Pci.Write(pci, EfiPciIoWidthUint16, PCI_COMMAND, 1, &command);
    if (EFI_ERROR(status))
        log_line("loader: PCI function %p: cannot turn bus mastering off (status %llx); take the "
                 "device out",
                 handle, (unsigned long long)status);
}

void pci_quiesce(struct loader *loader)
{
    for_each_function(loader, disconnect);
    for_each_function(loader, stop_dma);
}
