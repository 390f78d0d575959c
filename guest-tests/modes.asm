; Instructions that exit, for every mode. SPDX-License-Identifier: BSD-2-Clause

%include "guest-tests/runtime/mode.inc"

code op_cpuid, cpuid
code op_rdmsr, rdmsr
code op_wrmsr, wrmsr
code op_wbinvd, wbinvd
code op_hlt, hlt
code op_clts, clts
code op_cli, cli
code op_smsw, {db 0x0f, 0x01, 0xe0} ; eax
code op_lmsw, lmsw ax


code op_in8, {in al, dx}
code op_in16, {in ax, dx}
code op_in32, {in eax, dx}
code op_out8, {out dx, al}
code op_out32, {out dx, eax}

; By bytes: 67h takes the other size of addresses, 64h FS.
code op_outsb, outsb
code op_outsb_other, {db 0x67, 0x6e}
code op_outsb_fs, {db 0x64, 0x6e}
code op_rep_outsb, rep outsb
code op_rep_outsb_other, {db 0x67, 0xf3, 0x6e}
code op_insb, insb
code op_rep_insb, rep insb
code op_rep_insb_other, {db 0x67, 0xf3, 0x6c}
code op_rep_insd, rep insd

; MOV to and from control registers: register 0 is EAX or RAX in every mode. The new value in EAX,
; the old one in ECX, what is read between in EBX, what after in EDX.
%macro moves 2
    mode_code %1, {%2}, {%2}, {%2}, 3
%endmacro
moves op_cr0, {db 0x0f, 0x22, 0xc0, 0x0f, 0x20, 0xc3, 0x0f, 0x22, 0xc1, 0x0f, 0x20, 0xc2}
moves op_cr4, {db 0x0f, 0x22, 0xe0, 0x0f, 0x20, 0xe3, 0x0f, 0x22, 0xe1, 0x0f, 0x20, 0xe2}
code op_from_cr0, {db 0x0f, 0x20, 0xc0}
code op_from_cr3, {db 0x0f, 0x20, 0xd8}
code op_from_cr4, {db 0x0f, 0x20, 0xe0}
moves op_to_cr3, {db 0x0f, 0x22, 0xd8, 0x0f, 0x20, 0xdb}

mode_code op_load, {mov eax, [gs:ebx]}, {mov eax, [gs:ebx]}, {mov eax, [gs:rbx]}
mode_code op_load8, {mov dl, [gs:ebx + 3]}, {mov dl, [gs:ebx + 3]}, {mov dl, [gs:rbx + 3]}
mode_code op_store, {mov [gs:ebx], eax}, {mov [gs:ebx], eax}, {mov [gs:rbx], eax}

; With segments that forbid it: the last instruction faults.
SEL_CODE32 equ 0x18
SEL_EXPAND_DOWN equ 0x60
SEL_WRAPS equ 0x68
code op_outsb_ss_other, {db 0x67, 0x36, 0x6e}
code op_insb_null, {db 0x31, 0xc0, 0x8e, 0xc0, 0x6c} ; xor eax, eax; mov es, eax; insb
%macro load_es 2                ; two instructions more
    mov ax, %1
    mov es, ax
    %2
%endmacro
code op_insb_code, {load_es SEL_CODE32, insb}
code op_insb_down, {load_es SEL_EXPAND_DOWN, insb}
code op_insd_wraps, {load_es SEL_WRAPS, insd}
code op_insd_down, {load_es SEL_EXPAND_DOWN, insd}
