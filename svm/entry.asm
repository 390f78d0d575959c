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

section .text
; RDI: registers, RSI: VMCB, RDX: the host's VMCB. Keeps RBP and RSP. With GIF clear, so that not
; even an NMI sees the host with the guest's GS. IF is set for VMRUN alone: a pending interrupt is
; to exit.
svm_enter:
    push rbp
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
    xchg rdi, [rsp]
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
    pop rax
    vmload
    cli
    stgi
    pop rbp
    ret
