; Accesses to control registers. SPDX-License-Identifier: BSD-2-Clause

%include "guest-tests/runtime/form.inc"
%include "guest-tests/runtime/mode.inc"

; By bytes, as the assembler refuses those that do not exist. RAX is the other register.
%macro moves 1                  ; 44h: CR8 and beyond
    form form_from_cr %+ %1, 64, {db 0x40 | (%1 / 8) << 2, 0x0f, 0x20, 0xc0 | (%1 % 8) << 3}
    form form_to_cr %+ %1, 64, {db 0x40 | (%1 / 8) << 2, 0x0f, 0x22, 0xc0 | (%1 % 8) << 3}
%endmacro

%assign i 0
%rep 16
moves i
%assign i i + 1
%endrep

form form_clts, 64, clts
form form_lmsw, 64, lmsw ax
form form_smsw, 64, smsw rax
form form_smsw_ud2, 64, {db 0x48, 0x0f, 0x01, 0xe0, 0x0f, 0x0b} ; smsw rax; ud2: ends at CPL 3

; Encodings: from and to CR4 by RAX whatever mod says, with prefixes, and by other registers.
form form_cr4_mod0, 64, {db 0x0f, 0x20, 0x20, 0x0f, 0x22, 0x20}
form form_cr4_mod1, 64, {db 0x0f, 0x20, 0x60, 0x0f, 0x22, 0x60}
form form_cr4_mod2, 64, {db 0x0f, 0x20, 0xa0, 0x0f, 0x22, 0xa0}
form form_cr4_66, 64, {db 0x66, 0x0f, 0x20, 0xe0, 0x66, 0x0f, 0x22, 0xe0}
form form_cr4_rexw, 64, {db 0x48, 0x0f, 0x20, 0xe0, 0x48, 0x0f, 0x22, 0xe0}
form form_cr4_segment, 64, {db 0x2e, 0x64, 0x67, 0x0f, 0x20, 0xe0, 0x65, 0x0f, 0x22, 0xe0}
form form_cr4_long, 64, {db 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, \
    0x66, 0x0f, 0x20, 0xe0, 0x0f, 0x22, 0xe0}
form form_cr4_rsp, 64, {db 0x0f, 0x20, 0xe4, 0x0f, 0x22, 0xe4, 0x48, 0x89, 0xe0} ; mov rax, rsp
form form_cr4_rbp, 64, {db 0x0f, 0x20, 0xe5, 0x0f, 0x22, 0xe5, 0x48, 0x89, 0xe8}
form form_cr4_r12, 64, {db 0x41, 0x0f, 0x20, 0xe4, 0x41, 0x0f, 0x22, 0xe4, 0x4c, 0x89, 0xe0}
form form_cr4_r15, 64, {db 0x41, 0x0f, 0x20, 0xe7, 0x41, 0x0f, 0x22, 0xe7, 0x4c, 0x89, 0xf8}
form form_cr8_r12, 64, {db 0x45, 0x0f, 0x20, 0xc4, 0x45, 0x0f, 0x22, 0xc4, 0x4c, 0x89, 0xe0}
form form_cr8_rsp, 64, {db 0x44, 0x0f, 0x20, 0xc4, 0x44, 0x0f, 0x22, 0xc4, 0x48, 0x89, 0xe0}

section .rodata
    global forms_from, forms_to
    align 8
forms_from:
%assign i 0
%rep 16
    dq form_from_cr %+ i
%assign i i + 1
%endrep
forms_to:
%assign i 0
%rep 16
    dq form_to_cr %+ i
%assign i i + 1
%endrep

code op_rdmsr, rdmsr
code op_wrmsr, wrmsr
code op_to_cr0, {db 0x0f, 0x22, 0xc0}
code op_to_cr3, {db 0x0f, 0x22, 0xd8}
code op_to_cr4, {db 0x0f, 0x22, 0xe0}
code op_cr3_load, {db 0x0f, 0x22, 0xd8, 0x65, 0x8b, 0x03} ; mov eax, [gs:ebx]

; The PDPTE at EBX becomes EDX:ECX, and CR0 or CR4 is written.
%macro pdpte 2+
    mode_code %1, nop, {pdpte_code {%2}}, nop
%endmacro
%macro pdpte_code 1
    mov [gs:ebx], ecx
    mov [gs:ebx + 4], edx
    %1
%endmacro
pdpte op_pdpte_cr0, mov cr0, eax
pdpte op_pdpte_cr4, mov cr4, eax

; From real mode by LMSW, which does not go back, and to it by MOV to CR0; CPUID in both.
%macro lmsw_code 0
    lmsw ax                     ; PE = 1
    smsw si
    xor eax, eax
    lmsw ax
    smsw di
    cpuid
    mov ebp, ebx
    mov eax, cr0
    and al, 0xfe
    mov cr0, eax
    xor eax, eax
    cpuid
%endmacro
mode_code op_lmsw_pe, lmsw_code, nop, nop

; To long mode and back by MOV to CR0; CPUID and EFER there.
%macro long_code 0
    mov ebp, eax
    mov cr0, eax
    jmp short %%there
%%there:
    xor eax, eax
    cpuid
    mov esi, ebx
    mov ecx, 0xc0000080
    rdmsr
    mov ebx, eax
    mov eax, edi
    mov cr0, eax
    jmp short %%back
%%back:
    rdmsr
%endmacro
mode_code op_long_cr0, nop, long_code, nop

; The TSS whose descriptor is at EBX becomes a 16-bit one and is loaded, then CR0.
%macro tss16_code 0
    mov byte [gs:ebx + 5], 0x81
    mov cx, 0x38
    ltr cx
    mov cr0, eax
%endmacro
mode_code op_tss16_cr0, nop, tss16_code, nop
