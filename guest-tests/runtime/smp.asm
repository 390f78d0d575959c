; Where the other CPUs begin: from real mode to 64-bit mode and smp_enter().
; SPDX-License-Identifier: BSD-2-Clause

%include "guest-tests/runtime/segments.inc"

SMP_MAX    equ 8                ; as in smp.h
STACK_BITS equ 13

CR0_PE equ 1
CR0_NE equ 1 << 5
CR0_WP equ 1 << 16
CR0_NW equ 1 << 29
CR0_CD equ 1 << 30
CR0_PG equ 1 << 31
CR4_PAE equ 1 << 5
MSR_EFER equ 0xc0000080
EFER_LME equ 1 << 8

section .rodata
    global smp_trampoline, smp_trampoline_end, smp_nmi_entries
    extern gdt
    bits 16
smp_trampoline:
    cli
    mov ax, cs
    movzx esp, ax               ; for NMIs: the page's end
    shl esp, 4
    add esp, 0x1000
    o32 lgdt [cs:.gdtr - smp_trampoline]
    mov eax, cr0
    and eax, ~(CR0_CD | CR0_NW) ; INIT leaves them as they are, a reset sets them
    or al, CR0_PE
    mov cr0, eax
    jmp dword SEL_CODE32:protected
.gdtr:
    dw SEL_CODE32 + 7
    dd gdt
smp_trampoline_end:

section .text
    extern smp_enter, pml4
    bits 32
protected:
    mov ax, SEL_DATA
    mov ds, ax
    mov es, ax
    mov fs, ax
    mov gs, ax
    mov ss, ax
    mov eax, CR4_PAE
    mov cr4, eax
    mov eax, pml4
    mov cr3, eax
    mov ecx, MSR_EFER
    rdmsr
    or eax, EFER_LME
    wrmsr
    mov eax, cr0
    or eax, CR0_PG | CR0_WP | CR0_NE
    mov cr0, eax
    jmp SEL_CODE64:long_mode

    bits 64
long_mode:
    mov eax, 1                  ; the APIC ID is the index
    cpuid
    shr ebx, 24
    cmp ebx, SMP_MAX
    jae .halt
    mov edi, ebx
    shl rbx, STACK_BITS
    lea rsp, [rbx + smp_stacks + (1 << STACK_BITS)]
    xor ebp, ebp
    call smp_enter
.halt:
    cli
    hlt
    jmp .halt

section .rodata
smp_nmi_entries:                ; in 32-bit and in 64-bit mode
    dq protected, long_mode

section .bss
    alignb 16
smp_stacks: resb SMP_MAX << STACK_BITS
