// What a guest finds by ACPI's namespace: the devices of a PC that have fixed places.
// SPDX-License-Identifier: BSD-2-Clause
DefinitionBlock ("", "DSDT", 2, "NOSNOP", "NOSNOOP", 1)
{
    // Soft off: SLP_TYP of the PM1a control block.
    Name (\_S5, Package (4) {0, 0, 0, 0})

    // Which COM ports there are: a bit for each. The value is patched (vmm/platform_acpi.c).
    Name (\COMS, 0xA5)

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

        // Nothing else may be put here: power management, resets, the APICs' pages.
        Device (SYSR)
        {
            Name (_HID, EisaId ("PNP0C02"))
            Name (_CRS, ResourceTemplate ()
            {
                IO (Decode16, 0x92, 0x92, 1, 1)
                IO (Decode16, 0xF4, 0xF4, 1, 1)
                IO (Decode16, 0x600, 0x600, 1, 16)
                IO (Decode16, 0xCF9, 0xCF9, 1, 1)
                Memory32Fixed (ReadWrite, 0xFEC00000, 0x1000)
                Memory32Fixed (ReadWrite, 0xFEE00000, 0x1000)
            })
        }
    }
}
