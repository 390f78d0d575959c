; Enters a guest by VMRUN and comes back at its exit (APM, "VMRUN Instruction").
; SPDX-License-Identifier: BSD-2-Clause
bits 64
global svm_enter

; Offsets in the array of general registers: enum gpr of vmm/virt.h. RAX and RSP travel in the VMCB.
RCX_ equ 1 * 8
RDX_ equ 2 * 8
RBX_ equ 3 * 8
RBP_ equ 5 * 8
RSI_ equ 6 * 8
RDI_ equ 7 * 8
R8_  equ 8 * 8

section .text
; RDI: registers, RSI: VMCB, RDX: the host's VMCB. With GIF clear, so that not even an NMI sees the
; host with the guest's GS. IF is set for VMRUN alone: a pending interrupt is to exit, not to wait.
svm_enter:
    push rbx
    push rbp
    push r12
    push r13
    push r14
    push r15
    push rdx
    push rdi
    mov rax, rsi
    mov rcx, [rdi + RCX_]
    mov rdx, [rdi + RDX_]
    mov rbx, [rdi + RBX_]
    mov rbp, [rdi + RBP_]
    mov rsi, [rdi + RSI_]
%assign i 8
%rep 8
    mov r%[i], [rdi + i * 8]
    %assign i i + 1
%endrep
    mov rdi, [rdi + RDI_]
    clgi
    sti
    vmload
    vmrun
    vmsave
    push rdi
    mov rdi, [rsp + 8]
    mov [rdi + RCX_], rcx
    mov [rdi + RDX_], rdx
    mov [rdi + RBX_], rbx
    mov [rdi + RBP_], rbp
    mov [rdi + RSI_], rsi
%assign i 8
%rep 8
    mov [rdi + i * 8], r%[i]
    %assign i i + 1
%endrep
    pop qword [rdi + RDI_]
    mov rax, [rsp + 8]
    vmload
    cli
    stgi
    pop rdi
    pop rdx
    pop r15
    pop r14
    pop r13
    pop r12
    pop rbp
    pop rbx
    ret
