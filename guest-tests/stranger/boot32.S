/* Multiboot entry of the 32-bit kernel, and where the other CPUs begin. */
/* SPDX-License-Identifier: BSD-2-Clause */
    .section .multiboot, "a"
    .balign 4
    .long 0x1badb002, 3, -(0x1badb002 + 3)

    .text
    .code32
    .globl start
start:
    cli
    movl $stack, %esp
    lgdt gdtr
    ljmp $8, $1f
1:  movw $16, %cx
    movw %cx, %ds
    movw %cx, %es
    movw %cx, %ss
    xorl %ecx, %ecx
    movw %cx, %fs
    movw %cx, %gs
    pushl %ebx
    pushl %eax
    call kernel_main
2:  hlt
    jmp 2b

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
    ljmpl $8, $AT(ap_32)
    .code32
ap_32:
    movw $16, %ax
    movw %ax, %ds
    movw %ax, %es
    movw %ax, %ss
    movl $1, %eax
    lock xaddl %eax, ap_count
    incl %eax
    shll $12, %eax
    leal ap_stacks(%eax), %esp
    movl $ap_main, %eax
    call *%eax
1:  hlt
    jmp 1b
ap_gdtr:
    .word 23
    .long gdt
ap_end:

    .data
    .balign 8
gdt:
    .quad 0, 0x00cf9a000000ffff, 0x00cf92000000ffff
gdtr:
    .word 23
    .long gdt
    .globl ap_count
ap_count:
    .long 0

    .bss
    .balign 16
    .skip 16384
stack:
ap_stacks:
    .skip 4096 * 16
