; The DSDT, as iasl compiles it from vmm/devices/dsdt.asl.
; SPDX-License-Identifier: BSD-2-Clause
global dsdt_start, dsdt_end

section .rodata align=4
dsdt_start:
    incbin "dsdt.aml"
dsdt_end:

section .note.GNU-stack noalloc noexec nowrite progbits
