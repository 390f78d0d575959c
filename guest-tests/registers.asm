; Accesses to XCR0 and to the debug registers, for registers.c.
; SPDX-License-Identifier: BSD-2-Clause

%include "guest-tests/runtime/form.inc"

form form_xsetbv, 64, xsetbv
form form_xsetbv_32, 32, xsetbv
form form_xgetbv, 64, xgetbv
form form_xsave, 64, xsave [rbx]
form form_xrstor, 64, xrstor [rbx]
form form_avx, 64, vxorps ymm0, ymm0, ymm0
form form_avx512, 64, vpxord zmm16, zmm16, zmm16

; MOV between RAX and DR0 to DR15, of which the last eight do not exist.
%macro mov_dr 3
    [section .text]
    align 16
%%code:
    db %2, 0x0f, %1, 0xc0 + (%3 & 7) * 8
    jmp form_done
    [section .rodata]
    dq %%code
%endmacro

section .rodata
    global form_from_dr, form_to_dr
    align 8
form_from_dr:
%assign i 0
%rep 16
    mov_dr 0x21, 0x48 | i >> 1 & 4, i
    %assign i i + 1
%endrep
form_to_dr:
%assign i 0
%rep 16
    mov_dr 0x23, 0x48 | i >> 1 & 4, i
    %assign i i + 1
%endrep
