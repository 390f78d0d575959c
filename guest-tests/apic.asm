; Entries of the vectors from 32 up, and code whose every instruction counts: the shadow of
; STI.
; SPDX-License-Identifier: BSD-2-Clause

FIRST equ 32

    bits 64
section .text
    extern interrupt_handle

; struct interrupt_frame of apic.c.
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

section .rodata
    global interrupt_entries
    align 8
interrupt_entries:
%assign vector FIRST
%rep 256 - FIRST
    dq interrupt_ %+ vector
%assign vector vector + 1
%endrep
