; CPUID outside 64-bit mode, for cpuid.c.
; SPDX-License-Identifier: BSD-2-Clause

%include "guest-tests/runtime/form.inc"

form form_cpuid_32, 32, cpuid
