; Where STARTUP IPIs lead: what a CPU finds is recorded, and it goes on to the runtime's start.
; SPDX-License-Identifier: BSD-2-Clause

SMP_PAGE equ 0x50000            ; as in smp.h
RECORD   equ 0x800              ; in the page; struct record of startup.c
STACK    equ 0xff0
MSR_EFER equ 0xc0000080

%macro record 2                 ; register, offset
    mov [cs:RECORD + %2], %1
%endmacro

%macro record_by_eax 2
    mov eax, %1
    record eax, %2
%endmacro

section .rodata
    global startup_probe, startup_probe_end, startup_spin, startup_spin_end
    global startup_halt, startup_halt_end
    bits 16
startup_probe:
    record eax, 0
    record ecx, 4
    record edx, 8
    record ebx, 12
    record esp, 16
    record ebp, 20
    record esi, 24
    record edi, 28
    record_by_eax cr0, 32
    record_by_eax cr2, 36
    record_by_eax cr3, 40
    record_by_eax cr4, 44
    record_by_eax dr0, 48
    record_by_eax dr6, 52
    record_by_eax dr7, 56
    record cs, 64
    record ds, 66
    record es, 68
    record ss, 70
    record fs, 72
    record gs, 74
    o32 sgdt [cs:RECORD + 76]
    o32 sidt [cs:RECORD + 82]
    mov ax, cs
    mov ss, ax
    mov sp, STACK
    pushfd
    pop dword [cs:RECORD + 60]
    mov ecx, MSR_EFER
    rdmsr
    record eax, 88
    inc dword [cs:RECORD + 92]
    jmp (SMP_PAGE >> 4):0
startup_probe_end:

startup_spin:                   ; for ever, in real mode
    inc dword [cs:RECORD + 92]
    sti                         ; as smp_relax() does
    cli
    jmp startup_spin
startup_spin_end:

startup_halt:
    inc dword [cs:RECORD + 92]
    cli
    hlt
    jmp startup_halt
startup_halt_end:
