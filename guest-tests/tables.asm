; Instructions that reach page tables in the hole.
; SPDX-License-Identifier: BSD-2-Clause

%include "guest-tests/runtime/form.inc"
%include "guest-tests/runtime/mode.inc"

form form_load, 64, {mov eax, [rbx]}
form form_store, 64, {mov [rbx], eax}
form form_jump, 64, {jmp rbx}
form form_load_byte, 64, {movzx eax, byte [rbx]}
form form_stos, 64, {rep stosq}
form form_xadd, 64, {lock xadd [rbx], eax}
form form_ud2, 64, ud2
form form_divide, 64, {div bl}
form form_outsb, 64, outsb
form form_outsd, 64, outsd
form form_insb, 64, insb
form form_insd, 64, insd

; GS is the segment that begins at 0 in all modes.
    global op_load, op_store, op_jump, op_load_cr3
mode_code op_load, nop, {mov eax, [gs:ebx]}, {mov eax, [gs:rbx]}
mode_code op_store, nop, {mov [gs:ebx], eax}, {mov [gs:rbx], eax}
mode_code op_jump, nop, {jmp ebx}, {jmp rbx}
mode_code op_load_cr3, nop, {mov cr3, ebx}, {mov cr3, rbx}
