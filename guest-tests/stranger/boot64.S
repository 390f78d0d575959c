/* Multiboot entry of the 64-bit kernel, an ELF64 loaded by addresses, and of the other CPUs. */
/* SPDX-License-Identifier: BSD-2-Clause */
    .section .multiboot, "a"
    .balign 4
header:
    .long 0x1badb002, 0x10003, -(0x1badb002 + 0x10003)
    .long header, load_start, load_end, bss_end, start

    .text
    .code32
    .globl start
start:
    cli
    movl $stack, %esp
    movl %eax, %ebp
    movl $pd, %edi          /* 4 GiB in 2 MiB pages, each as it is */
    movl $0x83, %eax
    movl $2048, %ecx
1:  movl %eax, (%edi)
    addl $0x200000, %eax
    addl $8, %edi
    loop 1b
    call long_mode
    lgdt gdtr
    ljmp $8, $2f
    .code64
2:  movl %ebp, %edi
    movl %ebx, %esi
    call segments
    call kernel_main
3:  hlt
    jmp 3b

segments:
    movw $16, %ax
    movw %ax, %ds
    movw %ax, %es
    movw %ax, %ss
    ret

    .code32
long_mode:
    movl %cr4, %eax
    orl $0x20, %eax
    movl %eax, %cr4
    movl $pml4, %eax
    movl %eax, %cr3
    movl $0xc0000080, %ecx
    rdmsr
    orl $0x100, %eax
    wrmsr
    movl %cr0, %eax
    orl $0x80000001, %eax
    movl %eax, %cr0
    ret

/* Copied to AP_BASE, a page below 64K: real mode, CS = AP_BASE / 16. */
#define AP_BASE 0x8000
#define AT(label) (AP_BASE + label - ap_start)
    .globl ap_start, ap_end
    .code16
ap_start:
    cli
    cs lgdtl AT(ap_gdtr) - AP_BASE
    movl %cr0, %eax
    orl $1, %eax
    movl %eax, %cr0
    ljmpl $24, $AT(ap_32)
    .code32
ap_32:
    movw $16, %ax
    movw %ax, %ds
    movw %ax, %ss
    movl $1, %eax
    lock xaddl %eax, ap_count
    incl %eax
    shll $12, %eax
    leal ap_stacks(%eax), %esp
    movl $long_mode, %eax
    call *%eax
    ljmp $8, $ap_64
ap_gdtr:
    .word 31
    .long gdt
ap_end:
    .code64
ap_64:
    call segments
    call ap_main
1:  hlt
    jmp 1b

    .data
    .balign 4096
pml4:
    .quad pdpt + 3
    .skip 4088
pdpt:
    .quad pd + 3, pd + 0x1003, pd + 0x2003, pd + 0x3003
    .skip 4064
gdt:
    .quad 0, 0x00af9a000000ffff, 0x00cf92000000ffff, 0x00cf9a000000ffff
gdtr:
    .word 31
    .quad gdt
    .globl ap_count
ap_count:
    .long 0

    .bss
    .balign 4096
pd: .skip 4 * 4096
    .skip 16384
stack:
ap_stacks:
    .skip 4096 * 16
