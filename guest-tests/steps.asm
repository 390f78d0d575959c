; Instructions to step over, most of them ones that exit, for the tables of steps.c.
; SPDX-License-Identifier: BSD-2-Clause

%include "guest-tests/runtime/form.inc"

; step NAME, CODE: CODE, then NOP at NAME_next, and the end of the form.
%macro step 2+
    [section .text]
    global %1, %1_next
    bits 64
    align 16
%1:
    %2
%1_next:
    nop
    jmp form_done
    __?SECT?__
%endmacro

; The same, with other code in front, whose steps are no matter of the test.
%macro step_behind 3+
    [section .text]
    global %1, %1_next, %1_before
    bits 64
    align 16
%1_before:
    %2
%1:
    %3
%1_next:
    nop
    jmp form_done
    __?SECT?__
%endmacro

%macro set_tf 0
    push 0x102
    popfq
%endmacro

step step_nop, nop
step step_cpuid, cpuid
step step_rdmsr, rdmsr
step step_wrmsr, wrmsr
step step_in, {in al, dx}
step step_out, {out dx, al}
step step_outsb, outsb
step step_insb, insb
step step_rep_outsb, rep outsb
step step_rep_insb, rep insb
step step_rep_movsb, rep movsb
step step_vmcall, vmcall
step step_vmmcall, vmmcall
step step_mov_from_cr4, {mov rax, cr4}
step step_mov_to_cr4, {mov cr4, rax}
step step_wbinvd, wbinvd
step step_load, {mov eax, [rbx]}
step step_store, {mov [rbx], eax}
step step_stosb, stosb
step step_rep_stosb, rep stosb
step step_icebp, {db 0xf1}
step step_int3, int3
step step_mov_to_dr7, {mov dr7, rsi}
step step_mov_from_dr6, {mov rsi, dr6}

step_behind step_ss_cpuid, {mov ss, ebp}, cpuid
step_behind step_ss_nop, {mov ss, ebp}, nop
step_behind step_ss_out, {mov ss, ebp}, {out dx, al}
step_behind step_ss_load, {mov ss, ebp}, {mov eax, [rbx]}
step_behind step_ss_memory_cpuid, {mov ss, [r8]}, cpuid
step_behind step_popf_cpuid, set_tf, cpuid
step_behind step_popf_load, set_tf, {mov eax, [rbx]}

; STI shadows no step: the first comes behind it.
step step_sti, sti
step_behind step_sti_cpuid, sti, cpuid

    [section .text]
    global step_compat, step_compat_next
    bits 32
    align 16
step_compat:
    cpuid
step_compat_next:
    nop
    jmp dword SEL_CODE64:form_done
    __?SECT?__
