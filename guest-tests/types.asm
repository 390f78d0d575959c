; Asks the oracle in 32-bit code, where paging is off, has two levels of 32-bit entries, or is PAE.
; SPDX-License-Identifier: BSD-2-Clause

SPOT equ 0x2000000              ; as in types.c
ANSWER_SIZE equ 48              ; struct type_answer
HYPERCALL_TYPE_LINEAR equ 2
MSR_PAT equ 0x277
MODES equ 4                     ; 4 MiB and 4 KiB pages of 32-bit entries, 2 MiB and 4 KiB of PAE
PAT_LOW equ 0x00070406          ; PAT_ALL of types.c
PAT_HIGH equ 0x07000105

CR0_PG equ 1 << 31
CR4_PSE equ 1 << 4
CR4_PAE equ 1 << 5
P_W equ 3
LARGE equ 0x80

; With the tables at %1 and CR4 %2: the answers for each slot in the entry at %3, whose PAT bit is
; bit %4 and whose other flags are %5.
%macro ask_paging 5
    mov esi, %3
    mov dword [slot_pat_bit], 1 << %4
    mov dword [entry_base], SPOT | P_W | %5
    mov eax, %1
    mov edx, %2
    call ask_slots
%endmacro

    bits 32
section .text
    global before_paging
before_paging:
    pusha
    xor eax, eax
    cpuid
    cmp ebx, 'Genu'
    sete [is_intel]
    mov ecx, MSR_PAT
    rdmsr
    mov [old_pat], eax
    mov [old_pat + 4], edx
    mov eax, PAT_LOW
    mov edx, PAT_HIGH
    wrmsr

    mov edi, early_answers      ; the first answer: with paging off
    call ask

    ask_paging pd32, CR4_PSE, pd32 + (SPOT >> 22) * 4, 12, LARGE
    mov dword [pd32 + (SPOT >> 22) * 4], spot_table + P_W
    ask_paging pd32, CR4_PSE, spot_table, 7, 0
    mov dword [spot_table], 0
    ask_paging pdpt_pae, CR4_PAE, pd_pae + (SPOT >> 21) * 8, 12, LARGE
    mov dword [pd_pae + (SPOT >> 21) * 8], spot_table + P_W
    ask_paging pdpt_pae, CR4_PAE, spot_table, 7, 0

    mov ecx, MSR_PAT
    mov eax, [old_pat]
    mov edx, [old_pat + 4]
    wrmsr
    popa
    ret

; With CR3 in EAX and CR4 in EDX, and the entry at ESI through each slot of the PAT: 8 answers.
ask_slots:
    mov cr4, edx
    mov cr3, eax
    mov eax, cr0
    or eax, CR0_PG
    mov cr0, eax
    xor ebp, ebp
.slot:
    mov eax, ebp                ; PWT and PCD are bits 3 and 4: slot bits 0 and 1
    and eax, 3
    shl eax, 3
    or eax, [entry_base]
    test ebp, 4
    jz .set
    or eax, [slot_pat_bit]
.set:
    mov [esi], eax
    invlpg [SPOT]
    call ask
    inc ebp
    cmp ebp, 8
    jb .slot
    mov eax, cr0
    and eax, ~CR0_PG
    mov cr0, eax
    xor eax, eax
    mov cr4, eax
    ret

; Asks about SPOT, with the answer at EDI, and steps EDI behind it.
ask:
    mov eax, HYPERCALL_TYPE_LINEAR
    mov ebx, SPOT
    mov ecx, edi
    cmp byte [is_intel], 0
    je .amd
    vmcall
    jmp .done
.amd:
    vmmcall
.done:
    or [early_result], eax
    add edi, ANSWER_SIZE
    ret

section .data
    align 4096
pd32:                           ; 4 MiB identity; the spot's entry is the test's
    dd LARGE + P_W
    times 1023 dd 0
spot_table:
    times 1024 dd 0
pd_pae:
    dq LARGE + P_W, 0x200000 + LARGE + P_W
    times 510 dq 0
pdpt_pae:
    dq pd_pae + 1, 0, 0, 0

section .bss
    global early_answers, early_result
    align 8
early_answers: resb ANSWER_SIZE * (1 + 8 * MODES)
early_result: resd 1
old_pat: resd 2
slot_pat_bit: resd 1
entry_base: resd 1
is_intel: resb 1
