/* Hypercalls: VMCALL on Intel, VMMCALL on AMD. Shared with the guests; numbers are never reused. */
/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/* Number in RAX, arguments RBX RCX RDX RSI, result in RAX: >= 0, or a negative errno. CPL 0 only.
 */
enum hypercall {
    HYPERCALL_VERSION = 0, /* result: HYPERCALL_ABI */
};

enum { HYPERCALL_ABI = 1 };

/* CPUID leaf 40000000h: EBX, ECX, EDX spell NOSNOOP_SIGNATURE; EAX is the highest hypervisor leaf.
 */
#define CPUID_HYPERVISOR  0x40000000u
#define NOSNOOP_SIGNATURE "NoSnoopHyper"

/* EAX: the rate of the guest's TSC in kHz; EBX: that of the APIC's bus. 0: not known. */
#define CPUID_HYPERVISOR_TIMING 0x40000010u
#define CPUID_HYPERVISOR_LAST   CPUID_HYPERVISOR_TIMING

/* A write of any width ends the VM with the value. */
#define PORT_EXIT 0xf4
