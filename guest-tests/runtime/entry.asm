; Entries of the 32 exceptions, and form_run(), which runs one piece of code with chosen registers.
; SPDX-License-Identifier: BSD-2-Clause

%include "guest-tests/runtime/segments.inc"

    bits 64
section .text
    extern fault_handle, fault_resume

; struct fault_frame of fault.h: general registers, vector, error code, what the CPU pushed.
%assign vector 0
%rep 32
exception_ %+ vector:
%if vector != 8 && (vector < 10 || vector > 14) && vector != 17 && vector != 21 && \
    vector != 29 && vector != 30
    push 0                      ; no error code from the CPU
%endif
    push vector
    jmp exception_common
%assign vector vector + 1
%endrep

exception_common:
    cld
    push rax
    mov rax, cr2
    xchg rax, [rsp]
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
    call fault_handle
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
    add rsp, 24                 ; CR2, vector, error code
    iretq

; void form_enter(struct registers *registers, uint64_t rip, uint64_t cs, uint64_t ss)
    global form_enter, form_done
form_enter:
    push rbx
    push rbp
    push r12
    push r13
    push r14
    push r15
    mov [kernel_rsp], rsp
    mov [form_registers], rdi
    mov qword [fault_resume], form_done
    push rcx
    push qword [rdi + 4 * 8]
    push qword [rdi + 16 * 8]
    push rdx
    push rsi
    mov rax, [rdi + 0 * 8]
    mov rcx, [rdi + 1 * 8]
    mov rdx, [rdi + 2 * 8]
    mov rbx, [rdi + 3 * 8]
    mov rbp, [rdi + 5 * 8]
    mov rsi, [rdi + 6 * 8]
    mov r8, [rdi + 8 * 8]
    mov r9, [rdi + 9 * 8]
    mov r10, [rdi + 10 * 8]
    mov r11, [rdi + 11 * 8]
    mov r12, [rdi + 12 * 8]
    mov r13, [rdi + 13 * 8]
    mov r14, [rdi + 14 * 8]
    mov r15, [rdi + 15 * 8]
    mov rdi, [rdi + 7 * 8]
    iretq

form_done:                      ; forms end here, in 64-bit mode at CPL 0; so do their faults
    mov [form_rdi], rdi
    mov rdi, [form_registers]
    mov [rdi + 0 * 8], rax
    mov [rdi + 1 * 8], rcx
    mov [rdi + 2 * 8], rdx
    mov [rdi + 3 * 8], rbx
    mov [rdi + 4 * 8], rsp
    mov [rdi + 5 * 8], rbp
    mov [rdi + 6 * 8], rsi
    mov [rdi + 8 * 8], r8
    mov [rdi + 9 * 8], r9
    mov [rdi + 10 * 8], r10
    mov [rdi + 11 * 8], r11
    mov [rdi + 12 * 8], r12
    mov [rdi + 13 * 8], r13
    mov [rdi + 14 * 8], r14
    mov [rdi + 15 * 8], r15
    mov rax, [form_rdi]
    mov [rdi + 7 * 8], rax
    mov rsp, [kernel_rsp]
    pushfq
    pop qword [rdi + 16 * 8]
    cld
    mov qword [fault_resume], 0
    mov ax, SEL_DATA            ; iretq may have cleared them on its way to another CPL
    mov ds, ax
    mov es, ax
    mov ss, ax
    pop r15
    pop r14
    pop r13
    pop r12
    pop rbp
    pop rbx
    ret

section .rodata
    global exception_entries
    align 8
exception_entries:
%assign vector 0
%rep 32
    dq exception_ %+ vector
%assign vector vector + 1
%endrep

section .bss
    align 8
kernel_rsp: resq 1
form_registers: resq 1
form_rdi: resq 1
