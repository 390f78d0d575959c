; Where a CPU begins that the first one starts: from real mode to 64-bit mode, on its own tables.
; SPDX-License-Identifier: BSD-2-Clause

%include "boot/entry.inc"

extern smp_slots, smp_slot_count, smp_enter
global trampoline_start, trampoline_patch, trampoline_end

%define OFFSET(symbol) (symbol - trampoline_start) ; in the page that the code is copied to

; struct smp_slot of vmm/host/smp.c.
SLOT_ROOT    equ 0
SLOT_STACK   equ 8
SLOT_APIC_ID equ 16
SLOT_STATE   equ 20
SLOT_SIZE    equ 64
SLOT_CALLED  equ 1
SLOT_COMING  equ 2

section .rodata
align 16
; SDM, "MP Initialization": a STARTUP IPI leads to the first byte of a page, in real mode.
bits 16
trampoline_start:
    cli
    cld
    mov ax, cs
    mov ds, ax
    xor ebx, ebx
    mov bx, ax
    shl ebx, 4                  ; the page's address
    o32 lgdt [OFFSET(gdtr)]
    mov eax, CR0_ET | CR0_PE
    mov cr0, eax
    jmp dword far [OFFSET(to_32)]

bits 32
protected:
    mov ax, EARLY_DATA
    mov ds, ax
    mov eax, CR4_PAE | CR4_MCE
    mov cr4, eax
    mov eax, [ebx + OFFSET(boot_root)]
    mov cr3, eax
    mov ecx, MSR_EFER
    mov eax, EFER_LME | EFER_NXE
    xor edx, edx
    wrmsr
    mov eax, CR0_PG | CR0_WP | CR0_NE | CR0_ET | CR0_MP | CR0_PE
    mov cr0, eax                ; CD and NW end here
    jmp far [ebx + OFFSET(to_64)]

bits 64
long_mode:
    mov rax, find_slot
    jmp rax

align 8
gdt:
    dq 0
    dq 0x00cf9b000000ffff       ; EARLY_CODE32
    dq 0x00af9b000000ffff       ; EARLY_CODE64
    dq 0x00cf93000000ffff       ; EARLY_DATA
; struct trampoline_patch of vmm/host/smp.c: the first CPU adds the page's address to these three.
trampoline_patch:
gdtr:
    dw gdtr - gdt - 1
    dd OFFSET(gdt)
to_32:
    dd OFFSET(protected)
    dw EARLY_CODE32
to_64:
    dd OFFSET(long_mode)
    dw EARLY_CODE64
boot_root:
    dd 0                        ; the boot tables, which map all of this one to one
trampoline_end:

section .text
; In the image, on the boot tables, without a stack: what is this CPU to be?
find_slot:
    mov eax, EARLY_DATA
    mov ds, eax
    mov es, eax
    mov ss, eax
    xor eax, eax
    mov fs, eax
    mov gs, eax
    cpuid
    cmp eax, 0xb
    jb .short_id
    mov eax, 0xb                ; SDM, "CPUID": the x2APIC ID is in EDX, if EBX is not 0
    xor ecx, ecx
    cpuid
    test ebx, ebx
    jnz .have_id
.short_id:
    mov eax, 1
    cpuid
    shr ebx, 24
    mov edx, ebx
.have_id:
    mov rdi, smp_slots
    mov ecx, [smp_slot_count]
.next:
    sub ecx, 1
    jb .halt                    ; not one that was called
    cmp [rdi + SLOT_APIC_ID], edx
    je .found
    add rdi, SLOT_SIZE
    jmp .next
.found:
    mov eax, SLOT_CALLED
    mov edx, SLOT_COMING
    lock cmpxchg [rdi + SLOT_STATE], edx
    jne .halt                   ; it is too late
    mov rax, [rdi + SLOT_ROOT]
    mov cr3, rax
    mov rsp, [rdi + SLOT_STACK]
    xor ebp, ebp                ; ends backtraces
    call smp_enter
    ud2
.halt:
    cli
    hlt
    jmp .halt
