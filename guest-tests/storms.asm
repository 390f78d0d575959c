; The storm of #AC, which needs 32-bit mode: there delivery does not align the stack.
; SPDX-License-Identifier: BSD-2-Clause

%include "guest-tests/runtime/segments.inc"

SEL_USER_CODE32 equ 0x40 | 3    ; in the place of the 16-bit code segment
SEL_USER_DATA   equ 0x28 | 3
VECTOR_AC       equ 17
CR0_AM          equ 1 << 18
RFLAGS_AC       equ 1 << 18
IOPL_3          equ 3 << 12
INFO_CMDLINE    equ 16
PORT_EXIT       equ 0xf4

section .text
    global before_paging
    extern gdt, multiboot_info
    bits 32

; Returns unless the command line ends in "ac".
before_paging:
    mov esi, [multiboot_info]
    mov esi, [esi + INFO_CMDLINE]
.next:
    lodsb
    test al, al
    jnz .next
    cmp word [esi - 3], "ac"
    je storm
    ret

; A handler of CPL 3 is given its error by pushes to the stack of the code that erred: each of them
; is misaligned, and errs.
storm:
    mov dword [gdt + 0x40], 0x0000ffff
    mov dword [gdt + 0x44], 0x00cffb00
    mov eax, handler
    mov [idt + VECTOR_AC * 8], ax
    mov word [idt + VECTOR_AC * 8 + 2], SEL_USER_CODE32
    mov word [idt + VECTOR_AC * 8 + 4], 0xee00
    shr eax, 16
    mov [idt + VECTOR_AC * 8 + 6], ax
    lidt [idt_pointer]
    mov eax, cr0
    or eax, CR0_AM
    mov cr0, eax
    push SEL_USER_DATA
    push user_stack + 1
    push RFLAGS_AC | IOPL_3 | 2
    push SEL_USER_CODE32
    push user
    iretd
user:
    push eax
handler:                        ; never reached: nothing of this ends
    mov al, 2
    out PORT_EXIT, al
    jmp handler

section .data
    align 8
idt: times (VECTOR_AC + 1) * 2 dd 0
idt_pointer:
    dw (VECTOR_AC + 1) * 8 - 1
    dd idt

section .bss
    align 16
    resb 1024
user_stack: resb 16
