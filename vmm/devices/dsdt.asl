// What a guest finds by ACPI's namespace: the devices of a PC that have fixed places.
// SPDX-License-Identifier: BSD-2-Clause
DefinitionBlock ("", "DSDT", 2, "NOSNOP", "NOSNOOP", 1)
{
    // Soft off: SLP_TYP of the PM1a control block.
    Name (\_S5, Package (4) {0, 0, 0, 0})

    // Which COM ports there are: a bit for each. The value is patched (vmm/devices/platform_acpi.c).
    Name (\COMS, 0xA5)

    // Which interrupt controller is used, as the system says: 0 for the 8259s.
    Name (PICM, 0)
    Method (\_PIC, 1)
    {
        PICM = Arg0
    }

    Scope (\_SB)
    {
        Device (PIC)
        {
            Name (_HID, EisaId ("PNP0000"))
            Name (_CRS, ResourceTemplate ()
            {
                IO (Decode16, 0x20, 0x20, 1, 2)
                IO (Decode16, 0xA0, 0xA0, 1, 2)
                IO (Decode16, 0x4D0, 0x4D0, 1, 2)
                IRQNoFlags () {2}
            })
        }

        Device (PIT)
        {
            Name (_HID, EisaId ("PNP0100"))
            Name (_CRS, ResourceTemplate ()
            {
                IO (Decode16, 0x40, 0x40, 1, 4)
                IRQNoFlags () {0}
            })
        }

        Device (SPKR)
        {
            Name (_HID, EisaId ("PNP0800"))
            Name (_CRS, ResourceTemplate ()
            {
                IO (Decode16, 0x61, 0x61, 1, 1)
            })
        }

        Device (RTC)
        {
            Name (_HID, EisaId ("PNP0B00"))
            Name (_CRS, ResourceTemplate ()
            {
                IO (Decode16, 0x70, 0x70, 1, 2)
                IRQNoFlags () {8}
            })
        }

        Device (COM1)
        {
            Name (_HID, EisaId ("PNP0501"))
            Name (_UID, 1)
            Method (_STA)
            {
                If (COMS & 1)
                {
                    Return (0x0F)
                }
                Return (0)
            }
            Name (_CRS, ResourceTemplate ()
            {
                IO (Decode16, 0x3F8, 0x3F8, 8, 8)
                IRQNoFlags () {4}
            })
        }

        Device (COM2)
        {
            Name (_HID, EisaId ("PNP0501"))
            Name (_UID, 2)
            Method (_STA)
            {
                If (COMS & 2)
                {
                    Return (0x0F)
                }
                Return (0)
            }
            Name (_CRS, ResourceTemplate ()
            {
                IO (Decode16, 0x2F8, 0x2F8, 8, 8)
                IRQNoFlags () {3}
            })
        }

        Device (FWCF)
        {
            Name (_HID, "QEMU0002")
            Name (_STA, 0x0B)
            Name (_CRS, ResourceTemplate ()
            {
                IO (Decode16, 0x510, 0x510, 1, 2)
            })
        }

        // One bus; BARs go where nothing else is.
        Device (PCI0)
        {
            Name (_HID, EisaId ("PNP0A08"))
            Name (_CID, EisaId ("PNP0A03"))
            Name (_SEG, 0)
            Name (_BBN, 0)
            Name (_UID, 0)
            Name (_CRS, ResourceTemplate ()
            {
                WordBusNumber (ResourceProducer, MinFixed, MaxFixed, PosDecode,
                    0, 0, 0, 0, 1)
                IO (Decode16, 0xCF8, 0xCF8, 1, 8)
                WordIO (ResourceProducer, MinFixed, MaxFixed, PosDecode, EntireRange,
                    0, 0x0D00, 0xFFFF, 0, 0xF300)
                DWordMemory (ResourceProducer, PosDecode, MinFixed, MaxFixed, NonCacheable,
                    ReadWrite, 0, 0xC0000000, 0xDFFFFFFF, 0, 0x20000000)
                DWordMemory (ResourceProducer, PosDecode, MinFixed, MaxFixed, NonCacheable,
                    ReadWrite, 0, 0xE0100000, 0xFEBFFFFF, 0, 0x1EB00000)
            })

            // INTA to INTD of each device (vmm/devices/platform.h): IRQ 11 of the 8259s, or a pin of the
            // I/O APIC.
            Method (_PRT, 0, Serialized)
            {
                Local0 = Package (128) {}
                Local1 = 0
                While (Local1 < 128)
                {
                    Local2 = Local1 >> 2
                    Local3 = Local1 & 3
                    Local4 = Package (4) {0, 0, 0, 11}
                    Local4 [0] = (Local2 << 16) | 0xFFFF
                    Local4 [1] = Local3
                    If (PICM)
                    {
                        Local4 [3] = 16 + ((Local2 + Local3) & 7)
                    }
                    Local0 [Local1] = Local4
                    Local1++
                }
                Return (Local0)
            }
        }

        // Nothing else may be put here: power management, resets, PCI's ECAM, the APICs' pages.
        Device (SYSR)
        {
            Name (_HID, EisaId ("PNP0C02"))
            Name (_CRS, ResourceTemplate ()
            {
                IO (Decode16, 0x92, 0x92, 1, 1)
                IO (Decode16, 0xF4, 0xF4, 1, 1)
                IO (Decode16, 0x600, 0x600, 1, 16)
                Memory32Fixed (ReadWrite, 0xE0000000, 0x100000)
                Memory32Fixed (ReadWrite, 0xFEC00000, 0x1000)
                Memory32Fixed (ReadWrite, 0xFEE00000, 0x1000)
            })
        }
    }
}
