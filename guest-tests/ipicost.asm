; What sends the IPIs of ipicost.c.
; SPDX-License-Identifier: BSD-2-Clause

%include "guest-tests/runtime/mode.inc"

X2APIC_ICR equ 0x830

; To the ICR what EDI and EBP say, until the word at RBX is not 0. ESI: the TSC before, low half.
%macro ping 1
    rdtsc
    mov esi, eax
    mov ecx, X2APIC_ICR
    mov eax, edi
    mov edx, ebp
    wrmsr
    xor ecx, ecx
%%wait:
    pause
    cmp [%1], ecx
    je %%wait
%endmacro

mode_code op_ping, nop, {ping gs:ebx}, {ping rbx}
