; What a guest finds at its entry, before the runtime changes it, and the way out of a boot.
; SPDX-License-Identifier: BSD-2-Clause

%include "guest-tests/runtime/segments.inc"

MSR_EFER equ 0xc0000080
COM1 equ 0x3f8
DIRT equ 0x5a5a5a5a5a5a5a5a     ; as in restart.c
; DF, IOPL 3, NT, AC, ID
FLAGS equ 1 << 1 | 1 << 10 | 3 << 12 | 1 << 14 | 1 << 18 | 1 << 21
TF equ 1 << 8

%macro store 2
    mov [entry_state + (%1) * 4], %2
%endmacro

%macro store_port 2
    mov edx, COM1 + %2
    in al, dx
    movzx eax, al
    store %1, eax
%endmacro

section .text
    bits 32
    global before_paging
before_paging:                  ; in the order of enum entry in restart.c
    store 0, ecx
    store 1, esi
    store 2, edi
    store 3, ebp
    shr edx, 16                 ; the runtime has used DX
    store 4, edx
    pushfd
    pop eax
    store 5, eax
    mov eax, cr0
    store 6, eax
    mov eax, cr2
    store 7, eax
    mov eax, cr3
    store 8, eax
    mov eax, cr4
    store 9, eax
    mov ecx, MSR_EFER
    rdmsr
    store 10, eax
    xor eax, eax
    str ax
    store 11, eax
    sldt ax
    store 12, eax
    store_port 13, 1            ; interrupt enable
    store_port 14, 3            ; line control
    store_port 15, 4            ; modem control
    store_port 16, 7            ; scratch
    ret

    bits 64
; void leave_by_port(uint16_t port, uint8_t value, unsigned way): the registers full of dirt, and at
; the OUT (enum way in restart.c) a single step, or the shadow of STI or of MOV SS.
    global leave_by_port
leave_by_port:
    mov r10d, edx
    mov eax, esi
    mov edx, DIRT & 0xffff0000
    mov dx, di
    mov rcx, DIRT
    mov rsi, rcx
    mov rdi, rcx
    mov rbp, rcx
    mov ebx, SEL_DATA
    cmp r10d, 3
    je .step
    push FLAGS
    popfq
    cmp r10d, 1
    je .sti
    ja .mov_ss
    out dx, al
    jmp .wait
.step:
    push FLAGS | TF
    popfq
    out dx, al
    jmp .wait
.sti:
    sti
    out dx, al
    jmp .wait
.mov_ss:
    mov ss, ebx
    out dx, al
.wait:                          ; a machine resets some instructions later
    mov ecx, 1000000
.again:
    pause
    dec ecx
    jnz .again
    ud2

section .bss
    global entry_state
    align 8
entry_state: resd 17
