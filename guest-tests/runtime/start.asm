; The multiboot 1 entry of every guest: from 32-bit protected mode to 64-bit mode and test_main().
; SPDX-License-Identifier: BSD-2-Clause

%include "guest-tests/runtime/segments.inc"

MAGIC equ 0x1badb002
FLAGS equ 3                     ; page-aligned modules, memory information

CR0_NE equ 1 << 5
CR0_WP equ 1 << 16
CR0_NW equ 1 << 29
CR0_CD equ 1 << 30
CR0_PG equ 1 << 31
CR4_PAE equ 1 << 5
MSR_EFER equ 0xc0000080
EFER_LME equ 1 << 8

PAGE_PWU equ 7                  ; present, writable, user
PAGE_LARGE equ 0x80

section .multiboot
    align 4
    dd MAGIC, FLAGS, -(MAGIC + FLAGS)

section .text
    bits 32
    global start
    extern before_paging:weak   ; what a test runs in 32-bit mode with paging off, if anything
    extern runtime_main
start:
    cli
    cld
    lgdt [gdt_pointer]
    jmp SEL_CODE32:.flat
.flat:
    mov dx, SEL_DATA
    mov ds, dx
    mov es, dx
    mov fs, dx
    mov gs, dx
    mov ss, dx
    mov esp, stack_top
    mov [multiboot_magic], eax
    mov [multiboot_info], ebx

    mov eax, cr0                ; some firmware leaves the caches off
    mov [entry_cr0], eax
    and eax, ~(CR0_CD | CR0_NW)
    mov cr0, eax

    mov eax, before_paging
    test eax, eax
    jz .paging
    call eax
.paging:
    mov eax, cr4
    or eax, CR4_PAE
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
    jmp SEL_CODE64:.long

    bits 64
.long:
    mov rsp, stack_top
    xor ebp, ebp
    call runtime_main
.end:
    cli
    hlt
    jmp .end

section .data
    global gdt, gdt_pointer, pml4, page_directories, page_table, window_table
    global pdpt, window_directory
    global multiboot_magic, multiboot_info, entry_cr0
    align 8
gdt:                            ; in the order of enum selector in fault.h
    dq 0
    dq 0x00af9b000000ffff       ; 64-bit code
    dq 0x00cf93000000ffff       ; data
    dq 0x00cf9b000000ffff       ; 32-bit code
    dq 0x00affb000000ffff       ; 64-bit code of CPL 3
    dq 0x00cff3000000ffff       ; data of CPL 3
    dq 0, 0                     ; the TSS, filled in by fault.c
    dq 0x00009b000000ffff       ; 16-bit code, base by segment_set_base()
    dq 0x00cf93000000ffff       ; data, base by segment_set_base()
gdt_end:
gdt_pointer:
    dw gdt_end - gdt - 1
    dq gdt

multiboot_magic: dd 0
multiboot_info: dd 0
entry_cr0: dd 0

; Linear addresses are physical up to 4 GiB: the first 2 MiB by 4 KiB pages, so that fetches of code
; walk all four levels, the others by 2 MiB pages. At 4 GiB lies the window of 512 pages for tests.
    align 4096
pml4:
    dq pdpt + PAGE_PWU
    times 511 dq 0
pdpt:
%assign i 0
%rep 4
    dq page_directories + i * 4096 + PAGE_PWU
%assign i i + 1
%endrep
    dq window_directory + PAGE_PWU
    times 507 dq 0
page_directories:
    dq page_table + PAGE_PWU
%assign i 1
%rep 4 * 512 - 1
    dq i * 0x200000 + PAGE_LARGE + PAGE_PWU
%assign i i + 1
%endrep
page_table:
%assign i 0
%rep 512
    dq i * 0x1000 + PAGE_PWU
%assign i i + 1
%endrep
window_directory:
    dq window_table + PAGE_PWU
    times 511 dq 0
window_table:
    times 512 dq 0

section .bss
    align 16
    resb 16384
stack_top:
