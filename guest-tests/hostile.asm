; How hostile.c goes into each mode, and the exception handlers that never go back: whatever the
; interrupted code did, they put the machine right and go on at the next slot of the code page.
; SPDX-License-Identifier: BSD-2-Clause

%include "guest-tests/hostile/layout.inc"

CR0_PG equ 1 << 31
MSR_EFER equ 0xc0000080
DR7_RESET equ 0x400
FLAG_TF equ 1 << 8
FLAG_VM equ 1 << 17
VECTOR_BP equ 3
VECTOR_PF equ 14
OTHERS equ 32                   ; software interrupts beyond the exceptions are counted together

%define has_error(v) (v == 8 || (v >= 10 && v <= 14) || v == 17 || v == 21 || v == 29 || v == 30)

; --- long mode: all vectors have a stack of their own, so that RSP may be anything ---------------
section .text.hostile progbits alloc exec nowrite align=4096
    bits 64
    global hostile_text, hostile_text_end, hostile_landing, hostile_run
hostile_text:
hostile_landing:                ; where SYSCALL, SYSENTER and call gates lead
    times 16 int3

%assign vector 0
%rep OTHERS + 1
long_ %+ vector:
    push vector
    jmp long_common
%assign vector vector + 1
%endrep

long_common:
    pop rax
    cld
    inc dword [hostile_counts + rax * 4]
    mov rbx, cr0
    mov rcx, [hostile_mode.cr0]
    cmp rbx, rcx
    je .cr4
    mov cr0, rcx
.cr4:
    cmp eax, VECTOR_PF          ; what else could come between two writes of CR4
    jne .dr7
    mov rbx, cr4
    mov rcx, [hostile_mode.cr4]
    cmp rbx, rcx
    je .dr7
    mov cr4, rcx
.dr7:
    mov rbx, dr7
    mov ecx, DR7_RESET
    cmp rbx, rcx
    je .slot
    mov dr7, rcx
.slot:
    mov rbx, [stack_top - 5 * 8]        ; RIP, whether there is an error code below it or not
    sub rbx, [hostile_mode.base]
    cmp rbx, 2 * PAGE
    jb .in_range
    mov ebx, -1
.in_range:
    call next_slot
    jc leave64

; RBX: the offset to go on at; EDX: more flags.
resume64:
    mov rsp, stack_top
    add rbx, [hostile_mode.base]
    or rdx, [hostile_mode.flags]
    push qword [hostile_mode.ss]
    push qword [hostile_mode.sp]
    push rdx
    push qword [hostile_mode.cs]
    push rbx
    mov eax, [hostile_mode.ds]
    mov ds, ax
    mov es, ax
    mov fs, ax
    mov gs, ax
    call next_pool
    mov eax, eax
    mov rbx, [rax + 3 * 8]
    mov rcx, [rax + 1 * 8]
    mov rdx, [rax + 2 * 8]
    mov rbp, [rax + 5 * 8]
    mov rsi, [rax + 6 * 8]
    mov rdi, [rax + 7 * 8]
    mov r8, [rax + 8 * 8]
    mov r9, [rax + 9 * 8]
    mov r10, [rax + 10 * 8]
    mov r11, [rax + 11 * 8]
    mov r12, [rax + 12 * 8]
    mov r13, [rax + 13 * 8]
    mov r14, [rax + 14 * 8]
    mov r15, [rax + 15 * 8]
    mov rax, [rax]
    iretq

; What the handlers of all protected modes share is assembled for both code sizes: EAX is the
; vector, EBX the offset in the code and landing pages, -1 elsewhere. Returns in EBX the offset to
; go on at and in EDX more flags; CF: the last slot is done.
%macro shared 0-1
next_slot%1:
    mov ecx, [hostile_last]
    cmp byte [hostile_stepping], 0
    jne .next                   ; one instruction: wherever it went, the slot is done
    cmp ebx, -1
    je .next
    mov edx, ebx
    and edx, PAGE - 1
    shr edx, SLOT_SHIFT
    cmp edx, ecx
    jb .next
    mov ecx, edx
    cmp eax, VECTOR_BP
    jne .next
    cmp ebx, PAGE
    jae .next
    mov [hostile_last], ecx     ; INT3 begins a slot whose next instruction is single-stepped
    mov byte [hostile_stepping], 1
    mov edx, FLAG_TF
    clc
    ret
.next:
    mov byte [hostile_stepping], 0
    xor edx, edx
    inc ecx
    mov [hostile_last], ecx
    mov ebx, ecx
    shl ebx, SLOT_SHIFT
    cmp ecx, SLOTS
    cmc
    ret

; EAX: the next set of registers.
next_pool%1:
    mov eax, [hostile_pool_at]
    add eax, POOL_ENTRY
    and eax, PAGE - 1
    mov [hostile_pool_at], eax
    add eax, hostile_pool
    ret
%endmacro

    shared

; void hostile_run(enum family)
hostile_run:
    push rbx
    push rbp
    push r12
    push r13
    push r14
    push r15
    mov [saved_rsp], rsp
    mov rax, cr3
    mov [saved_cr3], rax
    mov rax, cr4
    mov [saved_cr4], rax
    mov rax, cr0
    mov [saved_cr0], rax
    mov ecx, MSR_EFER
    rdmsr
    mov [saved_efer], eax
    sidt [saved_idt]
    lgdt [hostile_gdt_pointer]
    mov dword [hostile_last], 0
    mov byte [hostile_stepping], 0
    cmp edi, FAMILY_LONG
    jne .legacy
    and byte [hostile_gdt + SEL_TSS64 + 5], ~2
    mov eax, SEL_TSS64
    ltr ax
    lidt [hostile_idt64_pointer]
    mov rax, [hostile_mode.cr3]
    mov cr3, rax
    mov rax, [hostile_mode.cr4]
    mov cr4, rax
    mov rax, [hostile_mode.cr0]
    mov cr0, rax
    xor ebx, ebx
    xor edx, edx
    jmp resume64
.legacy:
    push SEL_FLAT32
    push legacy_enter
    retfq

leave64:
    mov eax, SEL_FLAT
    mov ds, ax
    mov es, ax
    mov ss, ax
    mov rax, [saved_cr3]
    mov cr3, rax
    mov rax, [saved_cr4]
    mov cr4, rax
    mov rax, [saved_cr0]
    mov cr0, rax
    mov eax, DR7_RESET
    mov dr7, rax
    lgdt [hostile_gdt_pointer]
    and byte [hostile_gdt + SEL_TSS64 + 5], ~2
    mov eax, SEL_TSS64
    ltr ax
    lidt [saved_idt]
    xor eax, eax
    lldt ax
    mov rsp, [saved_rsp]
    push 2
    popfq
    pop r15
    pop r14
    pop r13
    pop r12
    pop rbp
    pop rbx
    ret

; --- protected mode without IA-32e mode ----------------------------------------------------------
    bits 32
%assign vector 0
%rep OTHERS + 1
legacy_ %+ vector:
%if !has_error(vector)
    push 0
%endif
    push vector
    jmp legacy_common
%assign vector vector + 1
%endrep

; At CPL 0 the stack is what the interrupted code had: SEL_STACK16, of which every SP is good.
legacy_common:
    cld
    mov ecx, esp
    mov eax, ss
    cmp ax, SEL_STACK16
    jne .flat
    movzx ecx, cx
    add ecx, STACK
.flat:
    mov eax, SEL_FLAT
    mov ds, ax
    mov es, ax
    mov eax, [ecx]
    mov ebx, [ecx + 8]
    mov ss, [flat_selector]
    mov esp, stack_top
    inc dword [hostile_counts + eax * 4]
    mov edx, cr0
    mov ecx, [hostile_mode.cr0]
    cmp edx, ecx
    je .cr4
    mov cr0, ecx
.cr4:
    cmp eax, VECTOR_PF          ; what else could come between two writes of CR4
    jne .dr7
    mov edx, cr4
    mov ecx, [hostile_mode.cr4]
    cmp edx, ecx
    je .dr7
    mov cr4, ecx
.dr7:
    mov edx, dr7
    mov ecx, DR7_RESET
    cmp edx, ecx
    je .slot
    mov dr7, ecx
.slot:
    sub ebx, [hostile_mode.base]
    cmp ebx, 2 * PAGE
    jb .in_range
    mov ebx, -1
.in_range:
    call next_slot32
    jc leave32

resume32:
    mov esp, stack_top
    add ebx, [hostile_mode.base]
    or edx, [hostile_mode.flags]
    mov eax, [hostile_mode.ds]
    test edx, FLAG_VM
    jnz .virtual
    mov es, ax
    mov fs, ax
    mov gs, ax
    test byte [hostile_mode.cs], 3
    jnz .outer
    lss esp, [hostile_mode.stack]
    jmp .frame
.virtual:                       ; Emulator deviation: Bochs keeps L of a code segment that one of
    mov ecx, SEL_FLAT           ; these held before, which no VM entry may have in this mode
    mov es, cx
    mov fs, cx
    mov gs, cx
    push eax
    push eax
    push eax
    push eax
.outer:
    push dword [hostile_mode.ss]
    push dword [hostile_mode.sp]
.frame:
    push edx
    push dword [hostile_mode.cs]
    push ebx
    test edx, FLAG_VM
    jz .selector
    mov eax, SEL_FLAT
.selector:
    push eax
    call next_pool32
    mov ebx, [eax + 3 * 8]
    mov ecx, [eax + 1 * 8]
    mov edx, [eax + 2 * 8]
    mov ebp, [eax + 5 * 8]
    mov esi, [eax + 6 * 8]
    mov edi, [eax + 7 * 8]
    mov eax, [eax]
    pop ds
    iretd

    shared 32

legacy_enter:
    mov eax, SEL_FLAT
    mov ds, ax
    mov es, ax
    mov ss, ax
    mov esp, stack_top
    mov eax, cr0
    and eax, ~CR0_PG
    mov cr0, eax
    mov ecx, MSR_EFER
    mov eax, [hostile_mode.efer]
    xor edx, edx
    wrmsr
    mov eax, [hostile_mode.cr3]
    mov cr3, eax
    mov eax, [hostile_mode.cr4]
    mov cr4, eax
    mov eax, [hostile_mode.cr0]
    or eax, 1
    mov cr0, eax
    and byte [hostile_gdt + SEL_TSS32 + 5], ~2
    mov eax, SEL_TSS32
    ltr ax
    xor ebx, ebx
    xor edx, edx
    cmp edi, FAMILY_REAL
    je .real
    lidt [hostile_idt32_pointer]
    jmp resume32
.real:
    lidt [hostile_ivt_pointer]
    mov eax, SEL_REAL_DATA
    mov ds, ax
    mov es, ax
    mov fs, ax
    mov gs, ax
    mov ss, ax
    jmp SEL_REAL_CODE:real_enter - hostile_real

leave32:
    mov eax, SEL_FLAT
    mov ds, ax
    mov es, ax
    mov ss, ax
    mov esp, stack_top
    mov eax, [saved_cr0]
    and eax, ~CR0_PG
    mov cr0, eax
    mov eax, [saved_cr4]
    mov cr4, eax
    mov eax, [saved_cr3]
    mov cr3, eax
    mov ecx, MSR_EFER
    mov eax, [saved_efer]
    and eax, ~(1 << 10)
    xor edx, edx
    wrmsr
    mov eax, [saved_cr0]
    mov cr0, eax
    jmp SEL_CODE64:leave64

; --- real mode: copied to REAL, with what it needs, as no segment reaches the core ---------------
    bits 16
    global hostile_real, hostile_real_end, hostile_real_data, hostile_real_entries
hostile_real:
%assign vector 0
%rep OTHERS + 1
real_ %+ vector:
    push vector
    jmp real_common
%assign vector vector + 1
%endrep

%define at(label) (label - hostile_real)

real_common:
    cld
    mov ax, cs
    mov ds, ax
    pop bx
    pop dx
    pop cx
    shl bx, 2
    inc dword [bx + at(real_counts)]
    mov eax, cr0
    cmp eax, [at(real_cr0)]
    je .dr7
    mov eax, [at(real_cr0)]
    mov cr0, eax
.dr7:
    mov eax, dr7
    cmp eax, DR7_RESET
    je .slot
    mov eax, DR7_RESET
    mov dr7, eax
.slot:
    movzx ecx, cx               ; EDX: the offset in the code and landing pages
    shl ecx, 4
    movzx edx, dx
    add edx, ecx
    sub edx, CODE
    mov cx, [at(real_last)]
    cmp byte [at(real_stepping)], 0
    jne .next
    cmp edx, 2 * PAGE
    jae .next
    mov ax, dx
    and ax, PAGE - 1
    shr ax, SLOT_SHIFT
    cmp ax, cx
    jb .next
    mov cx, ax
    cmp bx, VECTOR_BP * 4
    jne .next
    cmp dx, PAGE
    jae .next
    mov [at(real_last)], cx
    mov byte [at(real_stepping)], 1
    mov bx, FLAG_TF
    jmp real_resume
.next:
    mov byte [at(real_stepping)], 0
    inc cx
    mov [at(real_last)], cx
    cmp cx, SLOTS
    jae real_leave
    mov dx, cx
    shl dx, SLOT_SHIFT
    xor bx, bx

real_resume:                    ; DX: where to go on; BX: more flags
    lss sp, [at(real_stack)]
    or bx, [at(real_flags)]
    push bx
    push CODE >> 4
    push dx
    mov ax, DATA >> 4
    mov es, ax
    mov fs, ax
    mov gs, ax
    mov bx, [at(real_pool_at)]
    add bx, POOL_ENTRY
    and bx, PAGE - 1
    mov [at(real_pool_at)], bx
    mov ecx, [bx + REAL_POOL + 1 * 8]
    mov edx, [bx + REAL_POOL + 2 * 8]
    mov ebp, [bx + REAL_POOL + 5 * 8]
    mov esi, [bx + REAL_POOL + 6 * 8]
    mov edi, [bx + REAL_POOL + 7 * 8]
    mov eax, [bx + REAL_POOL + 3 * 8]
    push eax
    mov eax, [bx + REAL_POOL]
    push es
    pop ds
    pop ebx
    iret

real_enter:
    mov eax, cr0
    and al, ~1
    mov cr0, eax
    jmp REAL >> 4:at(.real)
.real:
    mov ax, cs
    mov ds, ax
    xor dx, dx
    xor bx, bx
    jmp real_resume

real_leave:
    o32 lgdt [at(real_gdt_pointer)]
    mov eax, cr0
    or al, 1
    mov cr0, eax
    jmp dword SEL_FLAT32:leave32

    align 8
hostile_real_data:              ; struct real_data of hostile.h
real_cr0: dd 0
real_flags: dw 0
real_last: dw 0
real_stepping: dw 0
real_pool_at: dw 0
real_stack: dw 0, STACK >> 4
real_counts: times OTHERS + 1 dd 0
real_gdt_pointer:
    dw GDT_SIZE - 1
    dd hostile_gdt
hostile_real_end:

    align 4096
hostile_text_end:

section .rodata
    global hostile_long_entries, hostile_legacy_entries
    align 8
hostile_long_entries:
%assign vector 0
%rep OTHERS + 1
    dq long_ %+ vector
%assign vector vector + 1
%endrep
hostile_legacy_entries:
%assign vector 0
%rep OTHERS + 1
    dq legacy_ %+ vector
%assign vector vector + 1
%endrep
hostile_real_entries:
%assign vector 0
%rep OTHERS + 1
    dw at(real_ %+ vector)
%assign vector vector + 1
%endrep

; --- the core: what exceptions need, and the arena's tables map for CPL 0 alone -----------------
section .data.core progbits alloc noexec write align=4096
    global hostile_core, hostile_core_end, hostile_gdt, hostile_idt64, hostile_idt32, hostile_ivt
    global hostile_tss64, hostile_tss32, hostile_stack_top, hostile_mode, hostile_last
    global hostile_counts, hostile_pool, hostile_gdt_pointer, hostile_idt64_pointer
    global hostile_idt32_pointer, hostile_ivt_pointer, hostile_ldt
hostile_core:
hostile_gdt: times GDT_SIZE db 0
hostile_ldt: times 4 dq 0
hostile_tss64: times 104 db 0
hostile_tss32: times 104 db 0
    align 16
hostile_gdt_pointer:
    dw GDT_SIZE - 1
    dq hostile_gdt
hostile_idt64_pointer:
    dw 256 * 16 - 1
    dq hostile_idt64
hostile_idt32_pointer:
    dw 256 * 8 - 1
    dq hostile_idt32
hostile_ivt_pointer:
    dw 256 * 4 - 1
    dq hostile_ivt
saved_idt:
    dw 0
    dq 0
flat_selector: dw SEL_FLAT
    align 8
hostile_mode:                   ; struct mode_state of hostile.h
.cs: dq 0
.ss: dq 0
.ds: dq 0
.sp: dq 0
.flags: dq 0
.base: dq 0
.cr0: dq 0
.cr3: dq 0
.cr4: dq 0
.efer: dq 0
.stack: dd 0, 0                 ; SP and SS once more, for LSS
saved_rsp: dq 0
saved_cr0: dq 0
saved_cr3: dq 0
saved_cr4: dq 0
saved_efer: dq 0
hostile_last: dd 0
hostile_pool_at: dd 0
hostile_stepping: dq 0
hostile_counts: times OTHERS + 1 dd 0
    align 16
hostile_idt64: times 256 * 2 dq 0
hostile_idt32: times 256 dq 0
hostile_ivt: times 256 dd 0
    align 4096
hostile_pool: times PAGE db 0
    times 2 * PAGE db 0
stack_top:
hostile_stack_top:
    align 4096
hostile_core_end:
