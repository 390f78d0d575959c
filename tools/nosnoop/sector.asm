; The first sector of a disk from which Bochs starts a kernel: the multiboot 1 loader that QEMU has
; built in. What it loads stands behind it as it is to stand in memory: SECTORS of it at LOAD. It
; then goes to ENTRY with INFORMATION, an address. bootdisk.py has it assembled with these numbers.
; SPDX-License-Identifier: BSD-2-Clause
org 0x7c00

MAP          equ 0x8000         ; the memory map
MMAP_LENGTH  equ 44             ; in the multiboot information ("Boot information format")
ENTRY_SIZE   equ 20             ; of the map, but for the size itself
; The first channel's ports (AT Attachment, "I/O registers").
DATA         equ 0x1f0
COUNT        equ 0x1f2
COMMAND      equ 0x1f7          ; the status, where it is read
CONTROL      equ 0x3f6
READ_SECTORS equ 0x20
LBA_MASTER   equ 0xe0
NO_INTERRUPT equ 2
BUSY         equ 0x80
DATA_REQUEST equ 8

bits 16
    cli
    cld
    xor ax, ax
    mov ds, ax
    mov es, ax
    mov ss, ax
    mov sp, 0x7c00
    xor ebx, ebx
    mov di, MAP
.map:
    mov dword [di], ENTRY_SIZE
    add di, 4
    mov eax, 0xe820
    mov edx, 'PAMS'
    mov ecx, ENTRY_SIZE
    int 0x15
    jc .mapped
    add di, ENTRY_SIZE
    test ebx, ebx
    jnz .map
    add di, 4
.mapped:
    sub di, 4
    in al, 0x92
    or al, 2                    ; A20
    and al, ~1                  ; no reset
    out 0x92, al
    lgdt [gdtr]
    mov eax, cr0
    or al, 1
    mov cr0, eax
    jmp 8:protected

bits 32
protected:
    mov ax, 16
    mov ds, ax
    mov es, ax
    mov fs, ax
    mov gs, ax
    mov ss, ax
    mov esp, 0x7c00
    movzx ebp, di
    sub ebp, MAP
    mov al, NO_INTERRUPT
    mov edx, CONTROL
    out dx, al
    mov edi, LOAD
    mov esi, SECTORS
    mov ebx, 1                  ; the next sector
read:                           ; ESI: sectors that are left
    call ready
    mov ecx, 256
    cmp ecx, esi
    jbe .some
    mov ecx, esi
.some:
    mov edx, COUNT
    mov al, cl                  ; 0: 256
    out dx, al
    mov eax, ebx
    inc edx                     ; LBA_LOW
    out dx, al
    shr eax, 8
    inc edx                     ; LBA_MIDDLE
    out dx, al
    shr eax, 8
    inc edx                     ; LBA_HIGH
    out dx, al
    mov al, LBA_MASTER
    inc edx                     ; DRIVE
    out dx, al
    mov al, READ_SECTORS
    inc edx                     ; COMMAND
    out dx, al
    add ebx, ecx
    sub esi, ecx
.sector:
    call ready
    test al, DATA_REQUEST
    jz .sector
    push ecx
    mov ecx, 512 / 4
    mov edx, DATA
    rep insd
    pop ecx
    loop .sector
    test esi, esi
    jnz read
    xor eax, eax
    mov edx, CONTROL
    out dx, al
    mov ebx, INFORMATION
    mov [ebx + MMAP_LENGTH], ebp
    mov eax, 0x2badb002         ; "Machine state"
    mov ecx, ENTRY
    jmp ecx

ready:                          ; AL: the status, once the drive is not busy
    mov edx, COMMAND
.wait:
    in al, dx
    test al, BUSY
    jnz .wait
    ret

align 8, db 0
gdt:
    dq 0
    dq 0x00cf9a000000ffff       ; code, all 4 GiB
    dq 0x00cf92000000ffff       ; data, the same
gdtr:
    dw $ - gdt - 1
    dd gdt

    times 510 - ($ - $$) db 0
    dw 0xaa55
