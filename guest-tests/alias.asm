; Hypercalls for every mode. SPDX-License-Identifier: BSD-2-Clause

%include "guest-tests/runtime/mode.inc"

code op_vmcall, vmcall
code op_vmmcall, vmmcall
