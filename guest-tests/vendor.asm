; Instructions that a guest does not have, or not at CPL 3: a table of forms for vendor.c.
; SPDX-License-Identifier: BSD-2-Clause

%include "guest-tests/runtime/segments.inc"

; enum gate of vendor.c: what of CPUID shows the instruction, or what else decides.
ABSENT equ 0                    ; nothing shows it to a guest
HYPERCALL_INTEL equ 1           ; the hypercall of the vendor, and absent on the other
HYPERCALL_AMD equ 2
INVPCID_ equ 3
MONITOR_ equ 4
XSAVES_ equ 5
RDRAND_ equ 6
RDSEED_ equ 7
RDTSCP_ equ 8
RDPMC_ equ 9
WAITPKG_ equ 10
PRIVILEGED equ 11               ; there, but not for CPL 3

UNMAPPED equ 0x200000000        ; what is read behind an instruction that CPL 3 can execute

    extern form_done

; insn GATE, NAME, BYTES: a struct vendor_form.
%macro insn 3+
    [section .text]
    align 16
%%kernel:
    db %3
    jmp form_done
%%user:
    db %3
    mov al, [abs qword UNMAPPED]
%%kernel_32:
    db %3
    bits 32
    jmp dword SEL_CODE64:form_done
    bits 64
    [section .rodata]
%%name: db %2, 0
    [section .data]
    dq %%name, %%kernel, %%kernel_32, %%user, %1
%endmacro

section .data
    global vendor_forms
    align 8
vendor_forms:
insn HYPERCALL_INTEL, "VMCALL",  0x0f, 0x01, 0xc1
insn HYPERCALL_AMD, "VMMCALL",   0x0f, 0x01, 0xd9

; Intel's virtualization, and what came with it
insn ABSENT, "VMXON",            0xf3, 0x0f, 0xc7, 0x33
insn ABSENT, "VMXOFF",           0x0f, 0x01, 0xc4
insn ABSENT, "VMLAUNCH",         0x0f, 0x01, 0xc2
insn ABSENT, "VMRESUME",         0x0f, 0x01, 0xc3
insn ABSENT, "VMPTRLD",          0x0f, 0xc7, 0x33
insn ABSENT, "VMPTRST",          0x0f, 0xc7, 0x3b
insn ABSENT, "VMCLEAR",          0x66, 0x0f, 0xc7, 0x33
insn ABSENT, "VMREAD",           0x0f, 0x78, 0xc1
insn ABSENT, "VMWRITE",          0x0f, 0x79, 0xc1
insn ABSENT, "INVEPT",           0x66, 0x0f, 0x38, 0x80, 0x03
insn ABSENT, "INVVPID",          0x66, 0x0f, 0x38, 0x81, 0x03
insn ABSENT, "VMFUNC",           0x0f, 0x01, 0xd4
insn ABSENT, "GETSEC",           0x0f, 0x37
insn ABSENT, "ENCLS",            0x0f, 0x01, 0xcf
insn ABSENT, "ENCLU",            0x0f, 0x01, 0xd7
insn ABSENT, "ENCLV",            0x0f, 0x01, 0xc0
insn ABSENT, "PCONFIG",          0x0f, 0x01, 0xc5
insn ABSENT, "SEAMCALL",         0x66, 0x0f, 0x01, 0xcf
insn ABSENT, "TDCALL",           0x66, 0x0f, 0x01, 0xcc
insn WAITPKG_, "UMONITOR",       0xf3, 0x0f, 0xae, 0xf0
insn WAITPKG_, "UMWAIT",         0xf2, 0x0f, 0xae, 0xf0
insn WAITPKG_, "TPAUSE",         0x66, 0x0f, 0xae, 0xf0
insn ABSENT, "RDPKRU",           0x0f, 0x01, 0xee
insn ABSENT, "WRPKRU",           0x0f, 0x01, 0xef
insn ABSENT, "LOADIWKEY",        0xf3, 0x0f, 0x38, 0xdc, 0xc1
insn ABSENT, "RDMSRLIST",        0xf2, 0x0f, 0x01, 0xc6

; AMD's
insn ABSENT, "VMRUN",            0x0f, 0x01, 0xd8
insn ABSENT, "VMLOAD",           0x0f, 0x01, 0xda
insn ABSENT, "VMSAVE",           0x0f, 0x01, 0xdb
insn ABSENT, "STGI",             0x0f, 0x01, 0xdc
insn ABSENT, "CLGI",             0x0f, 0x01, 0xdd
insn ABSENT, "SKINIT",           0x0f, 0x01, 0xde
insn ABSENT, "INVLPGA",          0x0f, 0x01, 0xdf
insn ABSENT, "MONITORX",         0x0f, 0x01, 0xfa
insn ABSENT, "MWAITX",           0x0f, 0x01, 0xfb
insn ABSENT, "RDPRU",            0x0f, 0x01, 0xfd
insn ABSENT, "MCOMMIT",          0xf3, 0x0f, 0x01, 0xfa
insn ABSENT, "INVLPGB",          0x0f, 0x01, 0xfe
insn ABSENT, "TLBSYNC",          0x0f, 0x01, 0xff

; both vendors'
insn ABSENT, "RSM",              0x0f, 0xaa
insn MONITOR_, "MONITOR",        0x0f, 0x01, 0xc8
insn MONITOR_, "MWAIT",          0x0f, 0x01, 0xc9
insn INVPCID_, "INVPCID",        0x66, 0x0f, 0x38, 0x82, 0x03
insn XSAVES_, "XSAVES",          0x0f, 0xc7, 0x2b
insn XSAVES_, "XRSTORS",         0x0f, 0xc7, 0x1b
insn RDRAND_, "RDRAND",          0x0f, 0xc7, 0xf0
insn RDSEED_, "RDSEED",          0x0f, 0xc7, 0xf8
insn RDTSCP_, "RDTSCP",          0x0f, 0x01, 0xf9
insn RDPMC_, "RDPMC",            0x0f, 0x33

insn PRIVILEGED, "HLT",          0xf4
insn PRIVILEGED, "CLI",          0xfa
insn PRIVILEGED, "STI",          0xfb
insn PRIVILEGED, "IN",           0xec
insn PRIVILEGED, "OUT",          0xee
insn PRIVILEGED, "CLTS",         0x0f, 0x06
insn PRIVILEGED, "INVD",         0x0f, 0x08
insn PRIVILEGED, "WBINVD",       0x0f, 0x09
insn PRIVILEGED, "MOV from CR0", 0x0f, 0x20, 0xc0
insn PRIVILEGED, "MOV to CR0",   0x0f, 0x22, 0xc0
insn PRIVILEGED, "MOV to CR3",   0x0f, 0x22, 0xd8
insn PRIVILEGED, "MOV from CR4", 0x0f, 0x20, 0xe0
insn PRIVILEGED, "MOV to CR4",   0x0f, 0x22, 0xe0
insn PRIVILEGED, "MOV from CR8", 0x44, 0x0f, 0x20, 0xc0
insn PRIVILEGED, "MOV to CR8",   0x44, 0x0f, 0x22, 0xc0
insn PRIVILEGED, "MOV from DR0", 0x0f, 0x21, 0xc0
insn PRIVILEGED, "MOV to DR7",   0x0f, 0x23, 0xf8
insn PRIVILEGED, "LMSW",         0x0f, 0x01, 0xf0
insn PRIVILEGED, "LGDT",         0x0f, 0x01, 0x13
insn PRIVILEGED, "LIDT",         0x0f, 0x01, 0x1b
insn PRIVILEGED, "LLDT",         0x0f, 0x00, 0xd0
insn PRIVILEGED, "LTR",          0x0f, 0x00, 0xd8
insn PRIVILEGED, "INVLPG",       0x0f, 0x01, 0x3b
insn PRIVILEGED, "SWAPGS",       0x0f, 0x01, 0xf8
insn PRIVILEGED, "XSETBV",       0x0f, 0x01, 0xd1

section .data
    global vendor_forms_end
vendor_forms_end:
