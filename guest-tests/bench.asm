; What operations that a hypervisor may intercept cost, in TSC ticks: in 32-bit code before paging
; is on, and in 64-bit code on 4 KiB pages.
; SPDX-License-Identifier: BSD-2-Clause

REPEAT equ 1000
UNUSED equ 0x580                ; an unassigned port
UNKNOWN equ 0x7fffffff          ; a hypercall that is none
HOLE equ 0xd0000000             ; no device's, where the hypervisor answers
UNTOUCHED equ 16 << 20          ; RAM that nothing has used
PAGE equ 4096

MSR_MTRR_LAST_PAIR equ 0x20e
MSR_MTRR_FIX64K equ 0x250
MSR_PAT equ 0x277
MSR_MTRR_DEF_TYPE equ 0x2ff
MTRR_DEF_E equ 1 << 11
MTRR_MASK_V equ 1 << 11
CR0_NW equ 1 << 29
CR0_CD equ 1 << 30
CPUID_HYPERVISOR equ 0x40000000 ; as in vmm/abi.h

PIC equ 0x20
PIC_MASK equ 0x21
EOI equ 0x20                    ; of what is in service, not specific
POLL equ 0x0c
ALL_BUT_0 equ 0xfe
PIT_0 equ 0x40
PIT_COMMAND equ 0x43
LATCH_0 equ 0xd2                ; read-back: the count of channel 0
MODE_0 equ 0x30                 ; control words for channel 0: its output falls
MODE_2 equ 0x34                 ; it rises

APIC_TPR equ 0xfee00080
APIC_BASE_OFF equ 0xfee00100
APIC_BASE_X equ 0xfee00900
APIC_BASE_X2 equ 0xfee00d00
APIC_SVR_ON equ 0x1ff
LVT_DEADLINE equ 2 << 17
MSR_APIC_BASE equ 0x1b
MSR_TSC_DEADLINE equ 0x6e0
MSR_X2APIC_EOI equ 0x80b
MSR_X2APIC_SVR equ 0x80f
MSR_X2APIC_LVT_TIMER equ 0x832
WAKES equ 0x71                  ; a vector
ENOUGH equ 8000                 ; ticks of the TSC: more than arming the timer and HLT take
SEL_CODE32 equ 0x18
SEL_CODE64 equ 0x08
GATE equ 0x8e00

; When an operation exists: values of bench_hypercall.
ALWAYS equ 0
BY_VMCALL equ 1
BY_VMMCALL equ 2
NOSNOOP equ 3                   ; any but ALWAYS

; Offsets in a struct measurement of bench.c.
FULL equ 0
EMPTY equ 4

%macro cpuid_0 0
    xor eax, eax
    cpuid
%endmacro

; Every write stores what was there.
%macro read_msr 1
    mov ecx, %1
    rdmsr
%endmacro

%macro read_pair 0
    read_msr MSR_MTRR_LAST_PAIR + 1
    mov ebx, eax
    mov ebp, edx
    read_msr MSR_MTRR_LAST_PAIR
%endmacro

%macro write_pair 0-1
%rep 2
    %1
    xor ecx, 1
    xchg eax, ebx
    xchg edx, ebp
%endrep
%endmacro

; The same with values that are new each time, and the old ones after an even number.
%macro change_pair 0-1
    xor eax, PAGE
    xor ebx, MTRR_MASK_V
    write_pair %1
%endmacro

%macro disable_and_read_pair 0
    read_msr MSR_MTRR_DEF_TYPE
    and eax, ~MTRR_DEF_E
    wrmsr
    read_pair
%endmacro

; As firmware leaves it.
%macro enable 0
    read_msr MSR_MTRR_DEF_TYPE
    or eax, MTRR_DEF_E
    wrmsr
%endmacro

; Another value each time, and the old one after an even number: PA1 is WT or WP.
%macro change_pat 0-1
    xor eax, 1 << 8
    %1
%endmacro

; Twice: E is cleared and set again, or the other way round.
%macro toggle_e 0-1
%rep 2
    xor eax, MTRR_DEF_E
    %1
%endrep
%endmacro

; CR0 is moved from and to a register as wide as the code.
%macro from_cr0 1
%if __?BITS?__ == 64
    mov r%1, cr0
%else
    mov e%1, cr0
%endif
%endmacro

%macro to_cr0 1
%if __?BITS?__ == 64
    mov cr0, r%1
%else
    mov cr0, e%1
%endif
%endmacro

%macro read_cr0 0
    from_cr0 bx
    and ebx, ~(CR0_CD | CR0_NW)
    mov eax, ebx
    or eax, CR0_CD
%endmacro

%macro set_clear_cd 0
    to_cr0 ax
    to_cr0 bx
%endmacro

%macro set_cd_and_read_pair 0
    read_cr0
    to_cr0 ax
    read_pair
%endmacro

%macro clear_cd 0
    read_cr0
    to_cr0 bx
%endmacro

; EBX: pages that no operation has had before.
%macro next_pages 0
    mov ebx, [bench_untouched]
    add dword [bench_untouched], REPEAT * PAGE
%endmacro

%macro read_bx 0
%if __?BITS?__ == 64
    mov eax, [rbx]
%else
    mov eax, [ebx]
%endif
%endmacro

%macro write_bx 1
%if __?BITS?__ == 64
    mov dword [rbx], %1
%else
    mov dword [ebx], %1
%endif
%endmacro

%macro write_port 2
    mov al, %2
    out %1, al
%endmacro

%macro write_msr 2
    mov ecx, %1
    mov eax, %2
    xor edx, edx
    wrmsr
%endmacro

; With what WRMSR needs for an EOI.
%macro to_x2apic 0
    write_msr MSR_APIC_BASE, APIC_BASE_X2
    write_msr MSR_X2APIC_SVR, APIC_SVR_ON
    write_msr MSR_X2APIC_LVT_TIMER, LVT_DEADLINE | WAKES
    mov ecx, MSR_X2APIC_EOI
    xor eax, eax
%endmacro

%macro from_x2apic 0
    write_msr MSR_APIC_BASE, APIC_BASE_OFF
    write_msr MSR_APIC_BASE, APIC_BASE_X
%endmacro

%macro far_deadline 0
    to_x2apic
    mov ecx, MSR_TSC_DEADLINE
    rdtsc
    add edx, 0x100000
%endmacro

%macro to_hlt 0
    to_x2apic
    sidt [bench_idtr_before]
%if __?BITS?__ == 64
    mov eax, wakes_64
    mov [bench_idt_64 + WAKES * 16], ax
    shr eax, 16
    mov [bench_idt_64 + WAKES * 16 + 6], ax
    lidt [bench_idtr_64]
%else
    mov eax, wakes_32
    mov [bench_idt_32 + WAKES * 8], ax
    shr eax, 16
    mov [bench_idt_32 + WAKES * 8 + 6], ax
    lidt [bench_idtr_32]
%endif
%endmacro

%macro from_hlt 0
    lidt [bench_idtr_before]
    from_x2apic
%endmacro

; EBP:EBX: when the wait is over. The EOI of the last interrupt and the arming are part of it: what
; it takes beyond is the way from the timer to here.
%macro until 0
    rdtsc
    add eax, ENOUGH
    adc edx, 0
    mov ebx, eax
    mov ebp, edx
%endmacro

%macro hlt_until 0
    until
    write_msr MSR_X2APIC_EOI, 0
    mov ecx, MSR_TSC_DEADLINE
    mov eax, ebx
    mov edx, ebp
    wrmsr
    sti
    hlt
    cli
%endmacro

%macro spin_until 0
    until
%%again:
    rdtsc
    sub eax, ebx
    sbb edx, ebp
    jc %%again
%endmacro

%macro touch 0-1
    %1
    add ebx, PAGE
%endmacro

; Not measured. EMPTY has the same with nothing.
%macro untimed 0-1
    rdtsc
    mov ebp, eax
    %1
    rdtsc
    sub eax, ebp
    add edi, eax
%endmacro

; In OPERATION with an OUT, and what makes the next one do the same; in EMPTY without both.
%macro latch 0-2
    mov al, LATCH_0
    %1
    untimed %2
%endmacro

%macro read_latched 0
    in al, PIT_0
    in al, PIT_0
%endmacro

%macro end_irq 0-2
    mov al, EOI
    %1
    untimed %2
%endmacro

; IRQ 0 rises, and is acknowledged by a poll: it is in service.
%macro serve_irq_0 0
    write_port PIT_COMMAND, MODE_0
    write_port PIT_COMMAND, MODE_2
    write_port PIC, POLL
    in al, PIC
%endmacro

%macro to_irq_0 0
    in al, PIC_MASK
    mov bl, al
    write_port PIC_MASK, ALL_BUT_0
    serve_irq_0
%endmacro

; The timer has its longest period, as firmware leaves it.
%macro from_irq_0 0
    write_port PIC, EOI
    mov al, bl
    out PIC_MASK, al
    write_port PIT_0, 0
    write_port PIT_0, 0
%endmacro

%define RESULT(part) bench_results + result * 16 + (__?BITS?__ / 64) * 8 + part

; operation NAME, WHEN, INIT, OPERATION, EMPTY, UNDO: INIT runs once, then OPERATION and, for what
; the loop itself costs, EMPTY run REPEAT times each, then UNDO. ESI and EDI, when it began, are not
; theirs.
%macro operation 5-6
%if %2 == NOSNOOP
    cmp byte [bench_hypercall], ALWAYS
    je %%next
%elif %2 != ALWAYS
    cmp byte [bench_hypercall], %2
    jne %%next
%endif
    timed_warm RESULT(FULL), {%3}, {%4}, {%6}
    timed_warm RESULT(EMPTY), {%3}, {%5}, {%6}
%%next:
    %assign result result + 1
%if __?BITS?__ == 64
    [section .rodata]
%%name: db %1, 0
    [section .bench_names]
    dq %%name
    __?SECT?__
%endif
%endmacro

%macro timed 4
    rdtsc
    mov edi, eax
    %2
    mov esi, REPEAT
    align 32                    ; no instruction is near the end of a page
%%again:
    %3
    dec esi
    jnz %%again
    rdtsc
    sub eax, edi
    mov [%1], eax
    %4
%endmacro

; Twice: the first time warms up what an emulator caches. INIT and UNDO too run twice.
%macro timed_warm 4
    timed %1, {%2}, {%3}, {%4}
    timed %1, {%2}, {%3}, {%4}
%endmacro

section .bench_names align=8 noexec nowrite
    global bench_names
bench_names:

section .text
    bits 32
    global before_paging
before_paging:
    pushad
    call find_hypercall
%include "guest-tests/bench.inc"
    popad
    ret

; The hypercall instruction, if this is the hypervisor: by its signature and the CPU's vendor.
find_hypercall:
    mov eax, 1
    cpuid
    test ecx, ecx
    jns .none
    mov eax, CPUID_HYPERVISOR
    cpuid
    cmp ebx, "NoSn"
    jne .none
    cmp ecx, "oopH"
    jne .none
    cmp edx, "yper"
    jne .none
    xor eax, eax
    cpuid
    mov byte [bench_hypercall], BY_VMCALL
    cmp ebx, "Genu"
    je .none
    mov byte [bench_hypercall], BY_VMMCALL
.none:
    ret

wakes_32:
    iret

    bits 64
wakes_64:
    iretq

    global bench_long_mode
bench_long_mode:
    push rbx
    push rbp
%include "guest-tests/bench.inc"
    pop rbp
    pop rbx
    ret

section .bench_names
    global bench_names_end
bench_names_end:

section .data
    global bench_results, bench_hypercall
    align 8
bench_results: times bench_count * 2 dq 0
bench_hypercall: db ALWAYS
    align 4
bench_untouched: dd UNTOUCHED
    align 8
bench_idt_32:
    times WAKES dq 0
    dw 0, SEL_CODE32, GATE, 0
bench_idtr_32:
    dw bench_idtr_32 - bench_idt_32 - 1
    dd bench_idt_32
    align 8
bench_idt_64:
    times WAKES dq 0, 0
    dw 0, SEL_CODE64, GATE, 0, 0, 0, 0, 0
bench_idtr_64:
    dw bench_idtr_64 - bench_idt_64 - 1
    dq bench_idt_64
bench_idtr_before: times 10 db 0
