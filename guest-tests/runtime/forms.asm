; Single instructions that several tests run by form_run() with registers of their choice.
; SPDX-License-Identifier: BSD-2-Clause

%include "guest-tests/runtime/form.inc"

form form_cpuid, 64, cpuid
form form_rdmsr, 64, rdmsr
form form_wrmsr, 64, wrmsr
form form_vmcall, 64, vmcall
form form_vmmcall, 64, vmmcall
form form_in_al_dx, 64, {in al, dx}
form form_out_dx_al, 64, {out dx, al}
