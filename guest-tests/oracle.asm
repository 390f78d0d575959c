; Hypercalls, and CR0 with CD set, for every mode. SPDX-License-Identifier: BSD-2-Clause

%include "guest-tests/runtime/mode.inc"

CD equ 1 << 30

code op_vmcall, vmcall
code op_vmmcall, vmmcall

; CD is set; the MSR ECX, one of the MTRRs, written; CR0 changed and read by each instruction that
; can, to EDI and ESI; CD cleared. EBX: CR0 as it was. By bytes: MOV, LMSW BP, SMSW DI or EDI.
%macro owed 0
    db 0x0f, 0x20, 0xc3         ; mov ebx, cr0
    or ebx, CD
    db 0x0f, 0x22, 0xc3         ; mov cr0, ebx
    wrmsr
    db 0x0f, 0x01, 0xf5         ; lmsw bp
    db 0x0f, 0x01, 0xe7         ; smsw edi
    mov esi, 0x10
    smsw [fs:esi]
    lmsw [fs:esi]
    clts
    db 0x0f, 0x20, 0xc6         ; mov esi, cr0
    and ebx, ~CD
    db 0x0f, 0x22, 0xc3         ; mov cr0, ebx
%endmacro
code op_owed, owed
