/* Guest state in the CPU's own registers: nothing of an earlier owner may be left there. */
/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

/*
 * Gives x87, SSE and AVX registers, XCR0, IA32_XSS, DR0 to DR3 and TSC_AUX of the running CPU the
 * values that they have after a reset (SDM, "Processor State After Reset"). To be called before a
 * VM's first entry.
 */
void fpu_reset(void);

/* Only DR0 to DR3. */
void fpu_reset_breakpoints(void);
