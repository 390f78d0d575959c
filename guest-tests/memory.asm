; Instructions that reach the hole of the guest-physical map: a table of forms for memory.c.
; SPDX-License-Identifier: BSD-2-Clause

%include "guest-tests/runtime/form.inc"

HOLE equ 0xd0000000

; hole MODE, REGISTER, KEEP, SET, RDI_STEP, INSTRUCTION: a struct hole_form. What a load leaves in
; REGISTER is what it was, masked by KEEP, with SET; -1: none changes. RDI_STEP: bytes, for STOS.
; FLAGS is defined before: -1 where none changes, else what CF, PF, ZF, SF and OF become, and AF
; where it is defined.
%define FLAGS -1
AF_DEFINED equ 1 << 16
%macro hole 6+
    %defstr %%text %6
    [section .text]
    bits %1
    align 16
%%code:
    %6
    form_end %1
    [section .rodata]
%%name: db %%text, 0
    [section .hole_forms]
    dq %%name, %%code, %3, %4
    dd %1, %2, %5, FLAGS
    __?SECT?__
%endmacro

%macro load 4+
    hole 64, %1, %2, %3, 0, %4
%endmacro
%macro store 1+
    hole 64, -1, 0, 0, 0, %1
%endmacro
%macro stos 2+
    hole 64, -1, 0, 0, %1, %2
%endmacro

; KEEP and SET by what the instruction writes: part of a register, or all of it zero-extended.
%define LOW8   ~0xff, 0xff
%define HIGH8  ~0xff00, 0xff00
%define LOW16  ~0xffff, 0xffff
%define BYTE16 ~0xffff, 0xff
%define ZERO8  0, 0xff
%define ZERO16 0, 0xffff
%define ALL32  0, 0xffffffff
%define ALL64  0, -1

section .hole_forms align=8 noexec write
    global hole_forms
hole_forms:

; registers KEEP, SET, REGISTERS in the order of their encodings: one load and one store each.
%macro registers 3-*
    %define %%keep %1
    %define %%set %2
    %rotate 2
    %assign %%number 0
    %rep %0 - 2
        load %%number, %%keep, %%set, mov %1, [rbx + 0x40]
        store mov [rbx + 0x40], %1
        %assign %%number %%number + 1
        %rotate 1
    %endrep
%endmacro

registers LOW8, al, cl, dl, bl, spl, bpl, sil, dil, r8b, r9b, r10b, r11b, r12b, r13b, r14b, r15b
registers HIGH8, ah, ch, dh, bh
registers LOW16, ax, cx, dx, bx, sp, bp, si, di, r8w, r9w, r10w, r11w, r12w, r13w, r14w, r15w
registers ALL32, eax, ecx, edx, ebx, esp, ebp, esi, edi, r8d, r9d, r10d, r11d, r12d, r13d, r14d, \
    r15d
registers ALL64, rax, rcx, rdx, rbx, rsp, rbp, rsi, rdi, r8, r9, r10, r11, r12, r13, r14, r15

; Every way to form an address. RBX, RSP, RBP, R12, R13 and RDI hold addresses in the hole; RCX is
; 16.
load 0, ALL32, mov eax, [rbx]
load 0, ALL32, mov eax, [rsp]
load 0, ALL32, mov eax, [rsp + 8]
load 0, ALL32, mov eax, [rbp + 0]
load 0, ALL32, mov eax, [r12]
load 0, ALL32, mov eax, [r13]
load 0, ALL32, mov eax, [rbx - 0x80]
load 0, ALL32, mov eax, [rbx + 0x12345678]
load 0, ALL32, mov eax, [rbx + rcx]
load 0, ALL32, mov eax, [rbx + rcx * 2 + 4]
load 0, ALL32, mov eax, [rbp + rcx * 8 + 0x1000]
load 0, ALL32, mov eax, [r13 + rcx * 4]
load 0, ALL32, mov eax, [rsp + rcx]
load 0, ALL32, mov eax, [rcx * 4 + rbx]
load 0, ALL32, mov eax, [rcx * 8 + 0x10 + rbp]
load 0, ALL32, mov eax, [nosplit rbx * 1 + 0x10]
load 0, ALL32, mov eax, [ebx + ecx * 4]
load 0, ALL32, a32 mov eax, [abs dword HOLE]
load 0, ALL32, mov eax, [fs:rbx]
load 0, ALL32, mov eax, [gs:rbx + 8]
load 0, LOW8, mov al, [qword HOLE + 1]
load 0, LOW16, mov ax, [qword HOLE + 2]
load 0, ALL32, mov eax, [qword HOLE + 4]
load 0, ALL64, mov rax, [qword HOLE + 8]
load 0, ALL64, mov rax, [rbx + 0xffc]   ; across pages, not aligned
load 0, ALL32, mov eax, [rbx + 0xfff]
load 0, LOW16, mov ax, [rbx + 3]

load 2, BYTE16, movzx dx, byte [rbx]
load 2, ZERO8, movzx edx, byte [rbx]
load 10, ZERO8, movzx r10, byte [rbx]
load 2, ZERO16, movzx edx, word [rbx]
load 10, ZERO16, movzx r10, word [rbx]
load 2, LOW16, movsx dx, byte [rbx]
load 2, ALL32, movsx edx, byte [rbx]
load 10, ALL64, movsx r10, byte [rbx]
load 2, ALL32, movsx edx, word [rbx]
load 10, ALL64, movsx r10, word [rbx]
load 10, ALL64, movsxd r10, dword [rbx]

store mov [qword HOLE + 1], al
store mov [qword HOLE + 2], ax
store mov [qword HOLE + 4], eax
store mov [qword HOLE + 8], rax
store mov byte [rbx + 0x40], 0x12
store mov word [rbx + 0x40], 0x1234
store mov dword [rbx + 0x40], 0x12345678
store mov qword [rbx + 0x40], -2
store mov byte [rbx + rcx * 4 + 0x12345], 0x12
store mov dword [r13 + rcx * 8 + 0x40], 0x12345678
store mov [rbx + 0xffc], rax
store mov [fs:rbx], eax

stos 1, stosb
stos 2, stosw
stos 4, stosd
stos 8, stosq
stos 16, rep stosb
stos 32, rep stosw
stos 64, rep stosd
stos 128, rep stosq
stos -16, rep stosb
stos -4, stosd
stos 64, a32 rep stosd

load 2, ALL32, xchg [rbx], edx
load 10, ALL64, xchg r10, [rbx]
load 2, HIGH8, xchg [rbx], dh
load 1, LOW16, xchg cx, [rbx + 0x40]

; The hole's ones with an operand; EAX is 01010101h.
%define FLAGS 0x84                      ; PF, SF
store or [rbx], eax
store or byte [rbx + 0x40], 0
load 0, ALL32, or eax, [rbx]
load 10, ALL64, or r10, [rbx]
store test dword [rbx], 0x80000000
%define FLAGS 0x44                      ; PF, ZF
store and dword [rbx + 0x40], 0
store and qword [rbx], 0
store cmp word [rbx], -1
store cmp qword [rbx], -1
%define FLAGS 0
load 0, 0xffffffff, 0, and eax, [rbx]
%define FLAGS 0x11 | AF_DEFINED         ; CF, AF
store cmp eax, [rbx]
store cmp ah, [rbx]
%define FLAGS 0x84 | AF_DEFINED
store cmp dword [rbx], 5
%define FLAGS 0x80 | AF_DEFINED
store cmp word [rbx], 0x1234
store cmp [rbx], rax
%define FLAGS 0 | AF_DEFINED
store cmp byte [rbx], 0x80
store cmp qword [rbx], -2
%define FLAGS 0x84 | AF_DEFINED
store sub dword [rbx], 5
%define FLAGS 0x80 | AF_DEFINED
store sub [rbx], rax
%define FLAGS 0x11 | AF_DEFINED
load 0, 0, 0x01010102, sub eax, [rbx]
load 0, ~0xff00, 0x0200, sub ah, [rbx]
%define FLAGS 0x15 | AF_DEFINED         ; CF, PF, AF
load 0, 0, 0x01010100, add eax, [rbx]
%define FLAGS 0x55 | AF_DEFINED
store add dword [rbx], 1
%define FLAGS 0x05 | AF_DEFINED
store add [rbx + 0x40], rcx
%define FLAGS 0x801 | AF_DEFINED        ; CF, OF
store add byte [rbx], 0x80
%define FLAGS 0x80
load 0, 0, 0xfefefefe, xor eax, [rbx]
%define FLAGS 0x84
store xor dword [rbx + 0x40], 0x10000
%define FLAGS 0x44
store xor qword [rbx], -1
%define FLAGS 0
store test byte [rbx], 1
store test [rbx], rax
store test [rbx + 0x40], al
%define FLAGS -1

%macro load32 4+
    hole 32, %1, %2, %3, 0, %4
%endmacro
load32 0, LOW8, mov al, [HOLE]
load32 0, ALL32, mov eax, [HOLE]
load32 1, ALL32, mov ecx, [HOLE]
load32 3, HIGH8, mov bh, [HOLE]
load32 0, ALL32, mov eax, [ebx]
load32 2, LOW16, mov dx, [ebx + ecx * 4 + 0x100]
load32 0, ALL32, mov eax, [ebp + 4]
load32 0, ALL32, mov eax, [esp + ecx]
load32 6, ZERO8, movzx esi, byte [ebx]
load32 6, ALL32, movsx esi, word [ebx]
load32 2, ALL32, xchg edx, [ebx]
%define FLAGS 0x84
hole 32, -1, 0, 0, 0, or dword [HOLE], 0x100
hole 32, -1, 0, 0, 0, test dword [ebx], 0x80001000
hole 32, -1, 0, 0, 0, xor dword [HOLE + 0x350], 0x10000
%define FLAGS 0x11 | AF_DEFINED
load32 0, 0, 0x01010102, sub eax, [ebx]
%define FLAGS -1
hole 32, -1, 0, 0, 0, mov [HOLE + 4], eax
hole 32, -1, 0, 0, 0, mov dword [ebx], 0x12345678
hole 32, -1, 0, 0, 4, stosd
hole 32, -1, 0, 0, 64, rep stosd

; In 16-bit code ES begins in the hole: 16-bit addresses are offsets from there.
%macro load16 4+
    hole 16, %1, %2, %3, 0, %4
%endmacro
load16 0, LOW16, mov ax, [es:0x1234]
load16 0, LOW8, mov al, [es:0x1234]
load16 1, LOW16, mov cx, [es:si]
load16 2, LOW16, mov dx, [es:si + 8]
load16 2, ALL32, mov edx, [es:di + 0x100]
load16 2, ALL32, mov edx, [es:bx + si]
load16 2, ALL32, mov edx, [es:bp + di + 0x10]
load16 2, ALL32, mov edx, [dword ebx]
load16 2, ZERO8, movzx edx, byte [es:si]
hole 16, -1, 0, 0, 0, mov [es:si], ax
hole 16, -1, 0, 0, 0, mov word [es:si + 4], 0x1234
hole 16, -1, 0, 0, 2, stosw
hole 16, -1, 0, 0, 64, rep stosd

    global hole_forms_end
hole_forms_end:

; What no hypervisor of this kind completes in the guest's place.
form form_lock_xadd, 64, lock xadd [rbx], eax
