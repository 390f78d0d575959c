; Enters a guest by VMRESUME or VMLAUNCH and comes back at its exit (SDM, "VM Entries").
; SPDX-License-Identifier: BSD-2-Clause
bits 64
global vmx_enter, vmx_exit_point, vmx_exit_point_uncached

; Offsets in the array of general registers: enum gpr of vmm/virt.h. RSP travels in the VMCS.
RCX_ equ 1 * 8
RDX_ equ 2 * 8
RBX_ equ 3 * 8
RBP_ equ 5 * 8
RSI_ equ 6 * 8
RDI_ equ 7 * 8

VMCS_VM_INSTRUCTION_ERROR equ 0x4400
VMCS_HOST_RSP             equ 0x6c14
RESUME_OF_NON_LAUNCHED    equ 5 ; SDM, "VM Instruction Error Numbers"
CR0_CD                    equ 1 << 30

; Loads the general registers from the array at RDI.
%macro load_guest 0
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
%endmacro

section .text
; RDI: registers. CF: the CPU refused the entry; an exit clears it. Keeps RDI, RBP and RSP. The
; first entry of a VMCS must be a launch: VMRESUME says so, and costs nothing ever after.
vmx_enter:
    push rbp
    push rdi
    mov ecx, VMCS_HOST_RSP
    vmwrite rcx, rsp
    load_guest
    vmresume
    mov rdi, [rsp]
    mov eax, VMCS_VM_INSTRUCTION_ERROR
    vmread rcx, rax
    cmp ecx, RESUME_OF_NON_LAUNCHED
    jne .refused
    load_guest
    vmlaunch
.refused:
    pop rdi
    pop rbp
    stc
    ret

vmx_exit_point_uncached:
    push rax
    mov rax, cr0
    and rax, ~CR0_CD ; clears CF too
    mov cr0, rax
    pop rax
vmx_exit_point:
    xchg rdi, [rsp]
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
    pop rbp
    ret
