; Entry stubs of the host's 256 vectors: each pushes its number, then all save the registers for C.
; SPDX-License-Identifier: BSD-2-Clause
bits 64
global trap_stubs
extern trap

; Vectors that push an error code: 8, 10 to 14, 17, 21, 29, 30.
ERROR_CODES equ 1 << 8 | 0x1f << 10 | 1 << 17 | 1 << 21 | 3 << 29

; Exceptions have stubs of 16 bytes; the interrupts behind them, which push no error code, of 8.
section .text
align 16
trap_stubs:
%assign vector 0
%rep 32
    align 16, db 0xcc
    %if (ERROR_CODES >> vector) & 1 == 0
    push byte 0
    %endif
    push byte vector
    jmp strict near save
    %assign vector vector + 1
%endrep
align 16, db 0xcc
%rep 224
    push byte (vector ^ 128) - 128 ; the byte, sign-extended
    jmp strict near save_interrupt
    align 8, db 0xcc
    %assign vector vector + 1
%endrep

save_interrupt:                 ; the number moves down, and 0 takes the error code's place
    push qword [rsp]
    mov qword [rsp + 8], 0
    and qword [rsp], 0xff
save:
    push rax
    push rbx
    push rcx
    push rdx
    push rsi
    push rdi
    push rbp
    push r8
    push r9
    push r10
    push r11
    push r12
    push r13
    push r14
    push r15
    cld
    mov rdi, rsp
    call trap
    pop r15
    pop r14
    pop r13
    pop r12
    pop r11
    pop r10
    pop r9
    pop r8
    pop rbp
    pop rdi
    pop rsi
    pop rdx
    pop rcx
    pop rbx
    pop rax
    add rsp, 16
    iretq
