; Code whose every instruction counts: the shadow of STI.
; SPDX-License-Identifier: BSD-2-Clause

    bits 64
section .text

; shadow NAME, BEFORE, AT: an interrupt is pending; after BEFORE, which casts the shadow, AT runs
; first, and is left to.
%macro shadow 3
    global shadow_%1, shadow_%1_end
shadow_%1:
    push rbx
    %2
    %3
shadow_%1_end:
    nop
    nop
    cli
    pop rbx
    ret
%endmacro

%macro clear_sti 0
    xor eax, eax
    sti
%endmacro

%macro port_sti 0
    mov edx, 0x580              ; an unassigned one
    sti
%endmacro

    shadow nop, sti, nop
    shadow cpuid, clear_sti, cpuid
    shadow out, port_sti, {out dx, al}
    shadow hlt, sti, hlt

; POPF casts no shadow.
    global popf_nop, popf_nop_end
popf_nop:
    push 0x202
    popf
popf_nop_end:
    nop
    nop
    cli
    ret
