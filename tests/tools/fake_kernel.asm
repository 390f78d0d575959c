; A stand-in for the hypervisor, and for a guest: a multiboot 1 kernel; its last module is a script.
; SPDX-License-Identifier: BSD-2-Clause
; Script, one command a line: Gtext to COM1, Ltext to COM2, C the first module's bytes to COM1,
; M all module strings to COM1, A the command line to COM1, Xc out 0xf4 the byte c, T a triple
; fault, R a reset, H halt.

bits 32
org 0x100000
COM1 equ 0x3f8
COM2 equ 0x2f8
EXIT equ 0xf4
RESET equ 0xcf9
LINE_CONTROL equ 3
DIVISOR_8N1 equ 0x83
ONLY_8N1 equ 3
LINE_STATUS equ 5
THRE equ 1 << 5
FLAGS equ 0x00010003

header:
    dd 0x1badb002, FLAGS, -(0x1badb002 + FLAGS)
    dd header, header, file_end, memory_end, entry

entry:
    mov esp, memory_end
    mov edx, COM1
    call port
    mov edx, COM2
    call port
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
    cmp al, 'R'
    je reset
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
    call send
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

reset:
    mov dx, RESET
    mov al, 6
    out dx, al
    jmp halt

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
    call send
    pop edx
    ret

; The serial port DX to 8 bits without parity, as fast as it goes.
port:
    add edx, LINE_CONTROL
    mov al, DIVISOR_8N1
    out dx, al
    sub edx, LINE_CONTROL
    mov al, 1
    out dx, al
    inc edx
    mov al, 0
    out dx, al
    add edx, LINE_CONTROL - 1
    mov al, ONLY_8N1
    out dx, al
    ret

; AL to the serial port DX, once that has room.
send:
    mov ah, al
    add dx, LINE_STATUS
.wait:
    in al, dx
    test al, THRE
    jz .wait
    sub dx, LINE_STATUS
    mov al, ah
    out dx, al
    ret

no_idt: times 6 db 0
modules: dd 0
file_end:
    align 16
memory_end equ $ + 4096
