; Instructions that raise exceptions, for the tables of exceptions.c, and two taken before paging is
; on: in 32-bit protected mode and in real mode.
; SPDX-License-Identifier: BSD-2-Clause

%include "guest-tests/runtime/form.inc"

SEL_CODE16  equ 0x40
UNKNOWN_MSR equ 0x12345
CR0_PE      equ 1
VECTOR_GP   equ 13

; raise NAME, MODE, CODE: CODE whose first instruction raises, then NAME_next.
%macro raise 3+
    [section .text]
    global raise_%1, raise_%1_next
    bits %2
    align 16
raise_%1:
    %3
raise_%1_next:
    form_end %2
    __?SECT?__
%endmacro

; The same, behind code that leads up to it.
%macro raise_behind 4+
    [section .text]
    global raise_%1, raise_%1_next, raise_%1_before
    bits %2
    align 16
raise_%1_before:
    %3
raise_%1:
    %4
raise_%1_next:
    form_end %2
    __?SECT?__
%endmacro

raise div, 64, {div ecx}
raise div_32, 32, {div ecx}
raise int3, 64, int3
raise int3_32, 32, int3
raise int_3, 64, {db 0xcd, 3}
raise int_4, 64, {int 4}
raise into, 32, into
raise bound, 32, {bound eax, [edi]}
raise ud, 64, ud2
raise ud_32, 32, ud2
raise fnop, 64, fnop
raise int_31, 64, {int 31}
raise int_31_32, 32, {int 31}
raise int_6, 64, {int 6}
raise mov_ds, 64, {mov ds, eax}
raise mov_ss, 64, {mov ss, eax}
raise push, 64, {push rax}
raise load, 64, {mov al, [rbx]}
raise store, 64, {mov [rbx], al}
raise rdmsr, 64, rdmsr
raise rdmsr_32, 32, rdmsr
raise mov_cr4, 64, {mov cr4, rax}
raise vmrun, 64, vmrun
raise vmxon, 64, {vmxon [rbx]}
raise misaligned, 64, {mov eax, [rdi + 1]}

%macro pending_fpu_error 0
    fninit
    fldcw [rdi]
    fld1
    fldz
    fdivp st1, st0
%endmacro
raise_behind fwait, 64, pending_fpu_error, wait

%macro unmasked_simd 0
    xorps xmm1, xmm1
    movups xmm0, [rdi + 16]
    ldmxcsr [rdi]
%endmacro
raise_behind divps, 64, unmasked_simd, {divps xmm0, xmm1}

; Real-mode code addresses the image, which begins at 1 MiB, by the segment FFFFh.
%define REAL(label) (label - 0xffff0)

section .text
    global before_paging, early
    extern gdt
    bits 32
before_paging:
    pushad
    mov [early_esp], esp
    mov eax, protected_handler
    mov [protected_idt + VECTOR_GP * 8], ax
    mov word [protected_idt + VECTOR_GP * 8 + 2], SEL_CODE32
    mov word [protected_idt + VECTOR_GP * 8 + 4], 0x8e00
    shr eax, 16
    mov [protected_idt + VECTOR_GP * 8 + 6], ax
    lidt [protected_pointer]
    mov ecx, UNKNOWN_MSR
    rdmsr
protected_done:
    mov word [VECTOR_GP * 4 + 2], 0xffff
    mov eax, REAL(real_handler)
    mov [VECTOR_GP * 4], ax
    lidt [real_pointer]
    mov word [gdt + SEL_CODE16 + 2], 0xfff0
    mov byte [gdt + SEL_CODE16 + 4], 0x0f
    jmp SEL_CODE16:REAL(leave_protected)

protected_handler:
    pop dword [early + 0]
    mov dword [early + 4], 1
    mov dword [esp], protected_done
    iretd

    bits 16
leave_protected:
    mov eax, cr0
    and al, ~CR0_PE
    mov cr0, eax
    jmp dword 0xffff:REAL(real)
real:
    mov ax, 0x7000
    mov ss, ax
    mov esp, 0x1000
    mov ecx, UNKNOWN_MSR
    rdmsr
    jmp real_done
real_handler:                   ; IP, CS and FLAGS, no error code
    mov ax, 0xffff
    mov ds, ax
    add sp, 6
    mov ebx, REAL(early)
    mov [ebx + 8], esp
    mov dword [ebx + 12], 1
real_done:
    mov eax, cr0
    or al, CR0_PE
    mov cr0, eax
    jmp dword SEL_CODE32:protected

    bits 32
protected:
    mov ax, SEL_DATA
    mov ds, ax
    mov es, ax
    mov ss, ax
    mov esp, [early_esp]
    mov word [gdt + SEL_CODE16 + 2], 0
    mov byte [gdt + SEL_CODE16 + 4], 0
    popad
    ret

; Among the code, where real mode reaches it.
    align 8
early: times 4 dd 0             ; error code and whether there was one; SP, the same
early_esp: dd 0
protected_pointer:
    dw (VECTOR_GP + 1) * 8 - 1
    dd protected_idt
real_pointer:
    dw 0x3ff
    dd 0
    align 8
protected_idt: times VECTOR_GP + 1 dq 0
