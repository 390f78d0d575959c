; Entries of the vectors from 32 up.
; SPDX-License-Identifier: BSD-2-Clause

FIRST equ 32

    bits 64
section .text
    extern interrupt_handle

; struct interrupt_frame of interrupt.h.
%assign vector FIRST
%rep 256 - FIRST
interrupt_ %+ vector:
    push strict dword vector
    jmp strict near interrupt_common
%assign vector vector + 1
%endrep

interrupt_common:
    cld
    push rax
    push rcx
    push rdx
    push rbx
    push rbp
    push rsi
    push rdi
    push r8
    push r9
    push r10
    push r11
    push r12
    push r13
    push r14
    push r15
    mov rdi, rsp
    mov rbx, rsp
    and rsp, -16
    call interrupt_handle
    mov rsp, rbx
    pop r15
    pop r14
    pop r13
    pop r12
    pop r11
    pop r10
    pop r9
    pop r8
    pop rdi
    pop rsi
    pop rbp
    pop rbx
    pop rdx
    pop rcx
    pop rax
    add rsp, 8                  ; the vector
    iretq

section .rodata
    global interrupt_entries
    align 8
interrupt_entries:
%assign vector FIRST
%rep 256 - FIRST
    dq interrupt_ %+ vector
%assign vector vector + 1
%endrep
