; Code that is copied to memory of any type, and a question from before anything is set up.
; SPDX-License-Identifier: BSD-2-Clause

SPOT equ 0x2000000              ; as in mtrrs.c
ANSWER_SIZE equ 48              ; struct type_answer
HYPERCALL_TYPE_LINEAR equ 2

    bits 32
section .text
    global before_paging
before_paging:
    pusha
    mov eax, 0x40000000
    cpuid
    cmp ebx, 'NoSn'             ; on a bare machine a hypercall is #UD
    jne .done
    xor eax, eax
    cpuid
    mov esi, ebx
    mov eax, HYPERCALL_TYPE_LINEAR
    mov ebx, SPOT
    mov ecx, early_answer
    cmp esi, 'Genu'
    je .intel
    vmmcall
    jmp .done
.intel:
    vmcall
.done:
    popa
    ret

    bits 64
section .rodata
    global code_start, code_end, hole_code_start, hole_code_end
code_start:
    cpuid
    ret
code_end:
hole_code_start:
    mov eax, [rbx]
    ret
hole_code_end:

section .bss
    global early_answer
    align 8
early_answer: resb ANSWER_SIZE
