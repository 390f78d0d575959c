/*
 * A guest that never ends: it says that it runs, then spins, so that it can be looked at.
 *
 * row: spin end=124 timeout=3 control=124 control-timeout=2
 */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "guest-tests/runtime/console.h"
#include "guest-tests/runtime/machine.h"
#include "lib/x86.h"

void test_main(void)
{
    print("spinning\n");
    for (;;)
        cpu_relax();
}
