; Enters a guest by VMLAUNCH or VMRESUME and comes back at its exit (SDM, "VM Entries").
; SPDX-License-Identifier: BSD-2-Clause
bits 64
global vmx_enter, vmx_exit_point

; Offsets in the array of general registers: enum gpr of vmm/virt.h. RSP travels in the VMCS.
RCX_ equ 1 * 8
RDX_ equ 2 * 8
RBX_ equ 3 * 8
RBP_ equ 5 * 8
RSI_ equ 6 * 8
RDI_ equ 7 * 8

VMCS_HOST_RSP equ 0x6c14

section .text
; RDI: registers, SIL: launched before. AL: 1 after an exit, 0 where the entry instruction failed.
vmx_enter:
    push rbx
    push rbp
    push r12
    push r13
    push r14
    push r15
    push rdi
    mov eax, VMCS_HOST_RSP
    vmwrite rax, rsp
    test sil, sil               ; MOV leaves the flags
    mov rax, [rdi]
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
    jnz .resume
    vmlaunch
    jmp .refused
.resume:
    vmresume
.refused:
    pop rdi
    xor eax, eax
    jmp restore

vmx_exit_point:
    push rdi
    mov rdi, [rsp + 8]
    mov [rdi], rax
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
    pop rdi
    mov eax, 1
restore:
    pop r15
    pop r14
    pop r13
    pop r12
    pop rbp
    pop rbx
    ret
