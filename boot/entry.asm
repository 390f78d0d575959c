; The kernel's first instructions: each door's entry, then one path to 64-bit mode, high up.
; SPDX-License-Identifier: BSD-2-Clause

%include "boot/entry.inc"

extern start, image_end, data_end, image_start
global multiboot1_start, early_pml4, early_pd_high, entry_tsc

%define OFFSET(symbol) (symbol - IMAGE_VA)              ; from the image's start
%define LOADED(symbol) (symbol - IMAGE_VA + IMAGE_LOAD) ; where multiboot puts it

section .head exec
; Multiboot Specification 0.6.96, "OS image format": aligned modules, memory map, address fields.
MULTIBOOT1_FLAGS equ 0x00010003
header:
    dd 0x1badb002, MULTIBOOT1_FLAGS, -(0x1badb002 + MULTIBOOT1_FLAGS)
    dd LOADED(header), LOADED(header), LOADED(data_end), LOADED(image_end)
    dd LOADED(multiboot1_start)
    times 0x38 - ($ - header) db 0
; What the UEFI loader looks for: a mark, and its entry's offset in the image.
    db "NOSNOOP1"
    dq OFFSET(efi_start)

; Multiboot2 Specification 2.0, "OS image format". The relocatable tag lets the loader choose
; another place where the firmware has something at IMAGE_LOAD.
MULTIBOOT2_MAGIC    equ 0xe85250d6
MULTIBOOT2_OPTIONAL equ 1
align 8, db 0
header2:
    dd MULTIBOOT2_MAGIC, 0, header2_end - header2
    dd -(MULTIBOOT2_MAGIC + header2_end - header2)
    dw 1, MULTIBOOT2_OPTIONAL ; information request: modules, memory, framebuffer, ACPI, EFI map
    dd 8 + 7 * 4
    dd 3, 4, 6, 8, 14, 15, 17
    align 8, db 0
    dw 2, 0                   ; address
    dd 24, LOADED(header2), LOADED(header), LOADED(data_end), LOADED(image_end)
    dw 3, 0                   ; entry address
    dd 12, LOADED(multiboot2_start)
    align 8, db 0
    dw 6, 0                   ; aligned modules
    dd 8
    dw 10, MULTIBOOT2_OPTIONAL ; relocatable: lowest, highest byte, alignment, as low as possible
    dd 24, IMAGE_LOAD, 0xffffffff, 1 << 21, 1
    dw 0, 0                   ; end
    dd 8
header2_end:

section .text
bits 64
; RDI: struct boot_info, RSI: the image, both physical below 4 GiB and mapped one to one. Leaves
; long mode, so that whatever paging the firmware had (5 levels too) ends here.
efi_start:
    cli
    cld
    mov ebp, esi
    mov ebx, edi
    mov rax, cr4                ; paging and WP cannot be left with these set
    and eax, ~(CR4_CET | CR4_PCIDE)
    mov cr4, rax
    lea rax, [rbp + OFFSET(early_gdt)]
    mov [rbp + OFFSET(early_gdtr) + 2], rax
    lgdt [rbp + OFFSET(early_gdtr)]
    mov ax, EARLY_DATA
    mov ds, ax
    mov es, ax
    mov ss, ax
    mov esi, DOOR_UEFI
    lea rsp, [rbp + OFFSET(early_stack_end)]
    push EARLY_CODE32
    lea rax, [rbp + OFFSET(leave_long_mode)]
    push rax
    o64 retf

bits 32
leave_long_mode:
    mov eax, CR0_PE
    mov cr0, eax
    mov ecx, MSR_EFER
    xor eax, eax
    xor edx, edx
    wrmsr
    jmp enter_long_mode

; EBX: the information; its reserved word takes what CALL pushes, as there is no stack yet.
multiboot2_start:
    cmp eax, 0x36d76289
    jne multiboot1_start
    cli
    cld
    lea esp, [ebx + 8]
    call .here
.here:
    pop ebp
    sub ebp, OFFSET(multiboot2_start.here)
    mov esi, DOOR_MULTIBOOT2
    jmp enter_long_mode

multiboot1_start:
    cli
    cld
    mov ebp, IMAGE_LOAD
    mov esi, DOOR_MULTIBOOT1
    cmp eax, 0x2badb002
    je enter_long_mode
    xor esi, esi

; EBP: the image's address, ESI: the door (0: an unknown loader), EBX: what it gives. CD and NW end
; here.
enter_long_mode:
    lea esp, [ebp + OFFSET(early_stack_end)]
    rdtsc
    mov [ebp + OFFSET(entry_tsc)], eax
    mov [ebp + OFFSET(entry_tsc) + 4], edx
    mov eax, 0x80000000
    cpuid_keep_ebx
    cmp eax, 0x80000001
    jb no_long_mode
    mov eax, 0x80000001
    cpuid_keep_ebx
    bt edx, 29
    jnc no_long_mode
    call build_tables
    mov eax, CR4_PAE | CR4_MCE
    mov cr4, eax
    lea eax, [ebp + OFFSET(early_pml4)]
    mov cr3, eax
    mov ecx, MSR_EFER
    mov eax, EFER_LME
    xor edx, edx
    wrmsr
    mov eax, CR0_PG | CR0_WP | CR0_NE | CR0_ET | CR0_MP | CR0_PE
    mov cr0, eax
    lea eax, [ebp + OFFSET(early_gdt)]
    mov [ebp + OFFSET(early_gdtr) + 2], eax
    lgdt [ebp + OFFSET(early_gdtr)]
    push EARLY_CODE64
    lea eax, [ebp + OFFSET(low_64)]
    push eax
    retf

; The identity map of 4 GiB and the image's first 4 MiB at IMAGE_VA, all in 2 MiB pages.
build_tables:
    lea edi, [ebp + OFFSET(early_pd)]
    mov eax, PTE_PS | PTE_W | PTE_P
    xor ecx, ecx
.identity:
    mov [edi + ecx * 8], eax
    add eax, 1 << 21
    inc ecx
    cmp ecx, 4 * 512
    jb .identity
    lea eax, [edi + PTE_W + PTE_P]
    lea edi, [ebp + OFFSET(early_pdpt)]
    xor ecx, ecx
.directories:
    mov [edi + ecx * 8], eax
    add eax, 4096
    inc ecx
    cmp ecx, 4
    jb .directories
    lea eax, [edi + PTE_W + PTE_P]
    mov [ebp + OFFSET(early_pml4)], eax
    lea eax, [ebp + OFFSET(early_pdpt_high) + PTE_W + PTE_P]
    mov [ebp + OFFSET(early_pml4) + 511 * 8], eax
    lea eax, [ebp + OFFSET(early_pd_high) + PTE_W + PTE_P]
    mov [ebp + OFFSET(early_pdpt_high) + 510 * 8], eax
    lea eax, [ebp + PTE_PS + PTE_W + PTE_P]
    mov [ebp + OFFSET(early_pd_high)], eax
    add eax, 1 << 21
    mov [ebp + OFFSET(early_pd_high) + 8], eax
    ret

; The one message that cannot wait for C: on COM2, where the log will be.
no_long_mode:
    lea esi, [ebp + OFFSET(no_long_mode_text)]
.next:
    lodsb
    test al, al
    jz .halt
    mov dx, 0x2f8
    out dx, al
    mov dx, 0x2fd
    mov ecx, 100000
.wait:
    in al, dx
    test al, 0x20
    loopz .wait
    jmp .next
.halt:
    hlt
    jmp .halt

bits 64
low_64:
    mov rax, high_64
    jmp rax
high_64:
    mov eax, EARLY_DATA
    mov ds, eax
    mov es, eax
    mov ss, eax
    xor eax, eax
    mov fs, eax
    mov gs, eax
    mov rsp, early_stack_end
    mov edi, esi        ; the door
    mov esi, ebx        ; what it gives
    mov edx, ebp        ; the image
    xor ebp, ebp        ; ends backtraces
    call start
    ud2

section .data
align 8
early_gdt:
    dq 0
    dq 0x00cf9b000000ffff ; EARLY_CODE32
    dq 0x00af9b000000ffff ; EARLY_CODE64
    dq 0x00cf93000000ffff ; EARLY_DATA
early_gdtr:
    dw early_gdtr - early_gdt - 1
    dq 0
align 8
entry_tsc:
    dq 0                ; the TSC when the kernel was entered
no_long_mode_text:
    db "[         0 0] panic: the CPU has no 64-bit mode: nosnoop needs x86-64", 10
    db "[         0 0] end: panic", 10, 0

section .early_tables nobits alloc write align=4096
early_pml4:      resb 4096
early_pdpt:      resb 4096
early_pdpt_high: resb 4096
early_pd_high:   resb 4096
early_pd:        resb 4 * 4096

section .bss nobits alloc write align=16
early_stack:     resb 16384
early_stack_end:
