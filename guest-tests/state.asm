; What exits, in every form that state.c storms with, and code that keeps hidden parts of segments.
; SPDX-License-Identifier: BSD-2-Clause

%include "guest-tests/runtime/form.inc"

MSR_MTRRCAP equ 0xfe
HOLE equ 0xd0000000
UNUSED_PORT equ 0xe4
SEL_PARTS equ 0x60              ; four data segments, for DS, FS, GS and SS

form storm_cpuid, 64, cpuid
form storm_rdmsr, 64, rdmsr
form storm_wrmsr, 64, wrmsr
form storm_in_al, 64, {in al, dx}
form storm_in_ax, 64, {in ax, dx}
form storm_in_eax, 64, {in eax, dx}
form storm_out_al, 64, {out dx, al}
form storm_out_eax, 64, {out dx, eax}
form storm_outsb, 64, outsb
form storm_insd, 64, insd
form storm_rep_outsw, 64, rep outsw
form storm_rep_insb, 64, rep insb
form storm_vmcall, 64, vmcall
form storm_vmmcall, 64, vmmcall
form storm_load, 64, {mov eax, [rbx]}
form storm_store, 64, {mov [rbx], r15}
form storm_wbinvd, 64, wbinvd
form storm_invd, 64, invd
form storm_xsetbv, 64, xsetbv
form storm_rdpmc, 64, rdpmc
form storm_monitor, 64, monitor
form storm_nop, 64, nop

; Two exits each: to another value and back to the old one in RDX.
%macro there_and_back 2
    [section .text]
    global %1
    align 16
%1:
    mov %2, rax
    mov %2, rdx
    form_end 64
    __?SECT?__
%endmacro
there_and_back storm_cr0, cr0
there_and_back storm_cr4, cr4
there_and_back storm_cr8, cr8

; At CPL 3, with RFLAGS.AC: #AC where that is there, else it ends by #UD.
    [section .text]
    global storm_misaligned
storm_misaligned:
    mov eax, [rbx + 1]
    ud2

; 32-bit code: loads DS, FS, GS and SS, clears their descriptors and that of CS, to which EDI and
; EDX point, and exits in every way EBP times. Then EAX, EBX, ECX, EDX hold what lies at offset 0 of
; each, and the last access goes beyond the limit of one, by ESI.
    global parts_storm, parts_probe_ds, parts_probe_fs, parts_probe_gs, parts_probe_ss
    bits 32
    align 16
parts_storm:
%assign i 0
%rep 4
    mov eax, SEL_PARTS + i * 8
%if i == 0
    mov ds, ax
%elif i == 1
    mov fs, ax
%elif i == 2
    mov gs, ax
%else
    mov ss, ax
%endif
    %assign i i + 1
%endrep
    xor eax, eax
    mov ecx, 8
    cld
    rep stosd
    mov [es:edx], eax
    mov [es:edx + 4], eax
.round:
    xor eax, eax
    cpuid
    mov edx, UNUSED_PORT
    in al, dx
    out dx, al
    mov ecx, MSR_MTRRCAP
    rdmsr
    wbinvd
    mov eax, cr4
    mov cr4, eax
    mov eax, [es:HOLE]
    dec ebp
    jnz .round
    mov eax, [0]
    mov ebx, [fs:0]
    mov ecx, [gs:0]
    mov edx, [ss:0]
    dec esi
    js parts_probe_ds
    jz parts_probe_fs
    dec esi
    jz parts_probe_gs
parts_probe_ss:
    mov edi, [ss:0x4fe]
    jmp parts_end
parts_probe_ds:
    mov edi, [0x1fe]
    jmp parts_end
parts_probe_fs:
    mov edi, [fs:0x2fe]
    jmp parts_end
parts_probe_gs:
    mov edi, [gs:0x3fe]
parts_end:
    form_end 32
