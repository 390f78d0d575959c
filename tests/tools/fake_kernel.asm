; A stand-in for the hypervisor, and for a guest: a multiboot 1 kernel; its last module is a script.
; SPDX-License-Identifier: BSD-2-Clause
; Script, one command a line: Gtext to COM1, Ltext to COM2, C the first module's bytes to COM1,
; M all module strings to COM1, A the command line to COM1, Xc out 0xf4 the byte c, T a triple
; fault, H halt.

bits 32
org 0x100000
COM1 equ 0x3f8
COM2 equ 0x2f8
EXIT equ 0xf4
FLAGS equ 0x00010003

header:
    dd 0x1badb002, FLAGS, -(0x1badb002 + FLAGS)
    dd header, header, file_end, memory_end, entry

entry:
    mov esp, memory_end
    mov ebp, [ebx + 24]             ; mods_addr
    mov eax, [ebx + 20]             ; mods_count
    test eax, eax
    jz halt
    mov [modules], eax
    dec eax
    shl eax, 4
    mov esi, [ebp + eax]            ; the script
    mov edi, [ebp + eax + 4]        ; its end

next:
    cmp esi, edi
    jae halt
    lodsb
    cmp al, 'G'
    je guest_text
    cmp al, 'L'
    je log_text
    cmp al, 'C'
    je config
    cmp al, 'M'
    je strings
    cmp al, 'A'
    je command_line
    cmp al, 'X'
    je exit
    cmp al, 'T'
    je triple_fault
    cmp al, 'H'
    jne next                        ; a newline, or nothing known
halt:
    cli
    hlt
    jmp halt

guest_text:
    mov dx, COM1
    jmp text
log_text:
    mov dx, COM2
text:
    cmp esi, edi
    jae halt
    lodsb
    out dx, al
    cmp al, 10
    jne text
    jmp next

config:
    mov edx, [ebp]
    mov ecx, [ebp + 4]
.byte:
    cmp edx, ecx
    jae next
    mov al, [edx]
    call put
    inc edx
    jmp .byte

strings:
    xor ecx, ecx
.module:
    mov edx, ecx
    shl edx, 4
    mov edx, [ebp + edx + 8]
    call put_string
    inc ecx
    cmp ecx, [modules]
    jb .module
    jmp next

command_line:
    mov edx, [ebx + 16]
    call put_string
    jmp next

exit:
    lodsb
    out EXIT, al
    jmp next

triple_fault:
    lidt [no_idt]
    int3

; The string at EDX and a newline to COM1.
put_string:
    mov al, [edx]
    test al, al
    jz .end
    call put
    inc edx
    jmp put_string
.end:
    mov al, 10
put:
    push edx
    mov dx, COM1
    out dx, al
    pop edx
    ret

no_idt: times 6 db 0
modules: dd 0
file_end:
    align 16
memory_end equ $ + 4096
