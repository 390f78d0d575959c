; I/O instructions in every form, for the tables of io.c.
; SPDX-License-Identifier: BSD-2-Clause

%include "guest-tests/runtime/form.inc"

UNUSED8 equ 0xe4                ; an unassigned port that fits an immediate

form form_in_al_imm, 64, {in al, UNUSED8}
form form_in_ax_imm, 64, {in ax, UNUSED8}
form form_in_eax_imm, 64, {in eax, UNUSED8}
form form_in_ax_dx, 64, {in ax, dx}
form form_in_eax_dx, 64, {in eax, dx}
form form_in_rexw_dx, 64, {db 0x48, 0xed}
form form_out_imm_al, 64, {out UNUSED8, al}
form form_out_imm_ax, 64, {out UNUSED8, ax}
form form_out_imm_eax, 64, {out UNUSED8, eax}
form form_out_dx_ax, 64, {out dx, ax}
form form_out_dx_eax, 64, {out dx, eax}
form form_in_ax_compat, 32, {in ax, dx}
form form_in_eax_compat, 32, {in eax, dx}
form form_in_ax_16, 16, {in ax, dx}
form form_in_eax_16, 16, {in eax, dx}

form form_outsb, 64, outsb
form form_outsw, 64, outsw
form form_outsd, 64, outsd
form form_insb, 64, insb
form form_insw, 64, insw
form form_insd, 64, insd
form form_rep_outsb, 64, rep outsb
form form_rep_outsw, 64, rep outsw
form form_rep_outsd, 64, rep outsd
form form_rep_insb, 64, rep insb
form form_rep_insw, 64, rep insw
form form_rep_insd, 64, rep insd
form form_repne_insb, 64, repne insb
form form_rep_outsb_fs, 64, {db 0x64, 0xf3, 0x6e}
form form_rep_outsb_a32, 64, a32 rep outsb
form form_rep_insb_a32, 64, a32 rep insb

form form_rep_outsb_32, 32, rep outsb
form form_rep_insb_32, 32, rep insb
form form_rep_outsb_es_32, 32, {db 0x26, 0xf3, 0x6e}
form form_rep_outsb_a16_32, 32, {db 0x67, 0x26, 0xf3, 0x6e}
form form_rep_insb_a16_32, 32, a16 rep insb
form form_rep_insb_16, 16, rep insb
form form_rep_insd_a32_16, 16, a32 rep insd
