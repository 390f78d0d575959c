; mode_enter(): from 64-bit mode by way of 32-bit mode without paging to any mode of the CPU, runs a
; piece of code there until its exception, and comes back. What runs outside 64-bit mode lies in the
; block from low_start to low_end, which mode.c copies to LOW.
; SPDX-License-Identifier: BSD-2-Clause

LOW      equ 0x20000            ; as in mode.h
LOW_DATA equ 0x30000
LOW_HOLE equ 0x40000            ; in virtual-8086 mode its page is mapped to the hole
STACK    equ 0xff00             ; in LOW; of CPL 3 a bit below
USER_GAP equ 0x100

; struct mode_box of mode.h
BOX_GPR    equ 0
BOX_FLAGS  equ 128
BOX_VECTOR equ 136
BOX_ERROR  equ 140
BOX_RIP    equ 144
BOX_CODE   equ 152
BOX_CR0    equ 160
BOX_CR3    equ 164
BOX_CR4    equ 168
BOX_EFER   equ 172
BOX_KIND   equ 176
BOX_IDT    equ 180
BOX_OLD    equ 192              ; CR0, CR3, CR4, EFER
BOX_CODE64 equ 208

CR0_PE equ 1
CR0_NOT_PG equ 0x7fffffff
MSR_EFER equ 0xc0000080

SEL_CODE64   equ 0x08           ; the first three as in the GDT of start.asm
SEL_DATA     equ 0x10
SEL_CODE32   equ 0x18
SEL_CODE16   equ 0x20
SEL_DATA16   equ 0x28
SEL_SEGMENT  equ 0x30
SEL_TSS32    equ 0x38
SEL_USER32   equ 0x40 | 3
SEL_USERDATA equ 0x48 | 3
SEL_USERSEG  equ 0x50 | 3
; 0x58: 32-bit code whose base mode.c sets

KIND_BIG_REAL equ 4
TSS_AVAILABLE equ 0x89

%define AT(label) (LOW + (label) - low_start)
%define OFFSET(label) ((label) - low_start)

section .text
    bits 64
    global mode_enter
mode_enter:
    push rbx
    push rbp
    push r12
    push r13
    push r14
    push r15
    mov [mode_rsp], rsp
    sgdt [old_gdt]
    sidt [old_idt]
    str [old_tr]
    mov rax, cr0
    mov [LOW + BOX_OLD], eax
    mov rax, cr3
    mov [LOW + BOX_OLD + 4], eax
    mov rax, cr4
    mov [LOW + BOX_OLD + 8], eax
    mov ecx, MSR_EFER
    rdmsr
    mov [LOW + BOX_OLD + 12], eax
    lgdt [AT(low_gdtr)]
    push SEL_CODE32
    push AT(to_legacy)
    retfq

mode_left:                      ; 64-bit mode again, on the runtime's tables
    lgdt [old_gdt]
    lidt [old_idt]
    movzx eax, word [old_tr]
    mov rcx, [old_gdt + 2]
    and byte [rcx + rax + 5], ~2 ; not busy
    ltr ax
    mov ax, SEL_DATA
    mov ds, ax
    mov es, ax
    mov ss, ax
    mov fs, ax
    mov gs, ax
    mov rsp, [mode_rsp]
    pop r15
    pop r14
    pop r13
    pop r12
    pop rbp
    pop rbx
    cld
    ret

section .bss
    align 8
mode_rsp: resq 1
old_gdt: resb 10
old_idt: resb 10
old_tr: resw 1

section .rodata
    global low_start, low_end, low_tss, low_based, low_real_idt, low_idt32, low_idt64
    align 256
low_start:
    times 256 db 0              ; the box

low_gdt:
    dq 0
    dq 0x00af9b000000ffff       ; 64-bit code
    dq 0x00cf93000000ffff       ; data
    dq 0x00cf9b000000ffff       ; 32-bit code
    dq 0x00009b000000ffff | LOW << 16 ; 16-bit code
    dq 0x000093000000ffff | LOW << 16 ; as real mode's
    dq 0x000093000000ffff | LOW_DATA << 16
low_tss:
    dq 0
    dq 0x00cffb000000ffff       ; 32-bit code of CPL 3
    dq 0x00cff3000000ffff       ; data of CPL 3
    dq 0x0000f3000000ffff | LOW_DATA << 16
low_based:
    dq 0x00cf9b000000ffff
    dq 0x0000970000000fff | LOW_DATA << 16 ; SEL_EXPAND_DOWN: offsets 1000h to FFFFh
    dq 0x00cf93001000ffff       ; SEL_WRAPS
low_gdtr:
    dw $ - low_gdt - 1
    dq AT(low_gdt)
targets:                        ; by enum mode_kind
    dd AT(to_32), AT(to_16), AT(to_64), AT(to_real), AT(to_real), AT(to_v86), AT(to_user)

    bits 32
%macro load_tss 0
    mov byte [AT(low_tss) + 5], TSS_AVAILABLE
    mov ax, SEL_TSS32
    ltr ax
%endmacro

to_legacy:                      ; compatibility mode
    mov ax, SEL_DATA
    mov ss, ax
    mov ds, ax
    mov esp, LOW + STACK
    mov eax, cr0
    and eax, CR0_NOT_PG
    mov cr0, eax
    jmp short .unpaged
.unpaged:
    mov ecx, MSR_EFER
    mov eax, [LOW + BOX_EFER]
    xor edx, edx
    wrmsr
    mov eax, [LOW + BOX_CR4]
    mov cr4, eax
    mov eax, [LOW + BOX_CR3]
    mov cr3, eax
    lidt [LOW + BOX_IDT]
    load_tss
    mov eax, [LOW + BOX_CR0]
    mov cr0, eax
    jmp short .there
.there:
    mov eax, [LOW + BOX_KIND]
    jmp [AT(targets) + eax * 4]

%macro load_registers 1         ; all but ESP, from the box at %1
    mov eax, [%1 + BOX_GPR + 0 * 8]
    mov ecx, [%1 + BOX_GPR + 1 * 8]
    mov edx, [%1 + BOX_GPR + 2 * 8]
    mov ebx, [%1 + BOX_GPR + 3 * 8]
    mov ebp, [%1 + BOX_GPR + 5 * 8]
    mov esi, [%1 + BOX_GPR + 6 * 8]
    mov edi, [%1 + BOX_GPR + 7 * 8]
%endmacro

%macro store_registers 1
    mov [%1 + BOX_GPR + 0 * 8], eax
    mov [%1 + BOX_GPR + 1 * 8], ecx
    mov [%1 + BOX_GPR + 2 * 8], edx
    mov [%1 + BOX_GPR + 3 * 8], ebx
    mov [%1 + BOX_GPR + 5 * 8], ebp
    mov [%1 + BOX_GPR + 6 * 8], esi
    mov [%1 + BOX_GPR + 7 * 8], edi
%endmacro

%macro load_64 2
    mov %1, [LOW + BOX_GPR + %2 * 8]
%endmacro

%macro store_64 2
    mov [LOW + BOX_GPR + %2 * 8], %1
%endmacro

%macro each_64 1                ; all but RSP
    %1 rax, 0
    %1 rcx, 1
    %1 rdx, 2
    %1 rbx, 3
    %1 rbp, 5
    %1 rsi, 6
    %1 rdi, 7
%assign i 8
%rep 8
    %1 r %+ i, i
%assign i i + 1
%endrep
%endmacro

to_32:
    mov ax, SEL_SEGMENT
    mov ds, ax
    mov es, ax
    mov fs, ax
    mov ax, SEL_DATA
    mov gs, ax
    load_registers ss:LOW
    push dword [ss:LOW + BOX_FLAGS]
    popfd
    jmp far [ss:LOW + BOX_CODE]

to_user:
    push dword SEL_USERDATA
    push dword LOW + STACK - USER_GAP
    push dword [LOW + BOX_FLAGS]
    push dword SEL_USER32
    push dword [LOW + BOX_CODE]
    mov ax, SEL_USERDATA
    mov gs, ax
    mov ax, SEL_USERSEG
    mov es, ax
    mov fs, ax
    mov ds, ax
    load_registers ss:LOW
    iretd

to_v86:
    push dword LOW_HOLE >> 4    ; GS
    push dword LOW_DATA >> 4    ; FS
    push dword LOW_DATA >> 4    ; DS
    push dword LOW_DATA >> 4    ; ES
    push dword LOW >> 4         ; SS
    push dword STACK - USER_GAP
    push dword [LOW + BOX_FLAGS]
    push dword LOW >> 4         ; CS
    push dword [LOW + BOX_CODE]
    load_registers LOW
    iretd

to_64:
    jmp SEL_CODE64:AT(code_64)
to_16:
    jmp SEL_CODE16:OFFSET(code_16)
to_real:
    jmp SEL_CODE16:OFFSET(leave_protected)

    bits 16
code_16:
    mov ax, SEL_SEGMENT
    mov ds, ax
    mov es, ax
    mov fs, ax
    mov ax, SEL_DATA
    mov gs, ax
enter_16:
    load_registers cs:0
    push dword [cs:BOX_FLAGS]
    popfd
    jmp [cs:BOX_CODE]

leave_protected:                ; the segments keep these limits in real mode
    mov ax, SEL_DATA16
    mov ss, ax
    cmp byte [cs:BOX_KIND], KIND_BIG_REAL
    jne .limits
    mov ax, SEL_DATA
.limits:
    mov ds, ax
    mov es, ax
    mov fs, ax
    mov gs, ax
    mov eax, cr0
    and al, ~CR0_PE
    mov cr0, eax
    jmp (LOW >> 4):OFFSET(.real)
.real:
    mov ax, cs
    mov ss, ax
    mov sp, STACK
    mov ax, LOW_DATA >> 4
    mov ds, ax
    mov es, ax
    mov fs, ax
    cmp byte [cs:BOX_KIND], KIND_BIG_REAL
    je enter_16                 ; GS keeps base 0
    mov gs, ax
    jmp enter_16

    bits 64
code_64:
    mov ax, SEL_SEGMENT
    mov ds, ax
    mov es, ax
    mov fs, ax
    mov ax, SEL_DATA
    mov gs, ax
    push qword [LOW + BOX_FLAGS]
    popfq
    each_64 load_64
    jmp [LOW + BOX_CODE64]

; The entries of exceptions: real mode has no error codes.
%macro has_no_error 1
%if %1 != 8 && (%1 < 10 || %1 > 14) && %1 != 17 && %1 != 21 && %1 != 29 && %1 != 30
    push 0
%endif
%endmacro

    bits 16
    align 4
low_real_idt:
%assign vector 0
%rep 32
    dw OFFSET(real_ %+ vector), LOW >> 4
%assign vector vector + 1
%endrep
%assign vector 0
%rep 32
real_ %+ vector:
    push vector
    jmp near handle_real
%assign vector vector + 1
%endrep

handle_real:
    store_registers cs:0
    xor eax, eax
    mov [cs:BOX_ERROR], eax
    pop ax
    mov [cs:BOX_VECTOR], eax
    pop ax
    mov [cs:BOX_RIP], eax
    pop cx                      ; CS
    pop ax
    mov [cs:BOX_FLAGS], eax
    mov eax, cr0
    or al, CR0_PE
    mov cr0, eax
    jmp dword SEL_CODE32:AT(back)

    bits 32
%assign vector 0
%rep 32
legacy_ %+ vector:
    has_no_error vector
    push vector
    jmp near handle_legacy
%assign vector vector + 1
%endrep

handle_legacy:                  ; SS is SEL_DATA at CPL 0
    store_registers ss:LOW
    pop eax
    mov [ss:LOW + BOX_VECTOR], eax
    pop eax
    mov [ss:LOW + BOX_ERROR], eax
    pop eax
    mov [ss:LOW + BOX_RIP], eax
    pop eax
    pop eax
    mov [ss:LOW + BOX_FLAGS], eax
    jmp back

    bits 64
%assign vector 0
%rep 32
long_ %+ vector:
    has_no_error vector
    push vector
    jmp near handle_long
%assign vector vector + 1
%endrep

handle_long:
    each_64 store_64
    pop rax
    mov [LOW + BOX_VECTOR], eax
    pop rax
    mov [LOW + BOX_ERROR], eax
    pop rax
    mov [LOW + BOX_RIP], rax
    pop rax
    pop rax
    mov [LOW + BOX_FLAGS], rax
    push SEL_CODE32
    push AT(back)
    retfq

    bits 32
back:                           ; any 32-bit code, paged or not, long mode or not
    mov ax, SEL_DATA
    mov ds, ax
    mov es, ax
    mov ss, ax
    mov esp, LOW + STACK
    mov eax, cr0
    and eax, CR0_NOT_PG
    mov cr0, eax
    jmp short .unpaged
.unpaged:                       ; PAE before LME: QEMU's CPU is lost at an exit with LME alone
    mov eax, [LOW + BOX_OLD + 8]
    mov cr4, eax
    mov ecx, MSR_EFER
    mov eax, [LOW + BOX_OLD + 12]
    xor edx, edx
    wrmsr
    mov eax, [LOW + BOX_OLD + 4]
    mov cr3, eax
    load_tss                    ; long mode wants none of 16 bits
    mov eax, [LOW + BOX_OLD]
    mov cr0, eax
    jmp short .long
.long:
    jmp SEL_CODE64:mode_left

    align 8
low_idt32:
%assign vector 0
%rep 32
    dw AT(legacy_ %+ vector) & 0xffff, SEL_CODE32, 0x8e00, AT(legacy_ %+ vector) >> 16
%assign vector vector + 1
%endrep
low_idt64:
%assign vector 0
%rep 32
    dw AT(long_ %+ vector) & 0xffff, SEL_CODE64, 0x8e00, AT(long_ %+ vector) >> 16
    dq 0
%assign vector vector + 1
%endrep
low_end:
