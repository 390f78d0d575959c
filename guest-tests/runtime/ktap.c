/* Runs tables of test cases and prints their results. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "guest-tests/runtime/ktap.h"

#include <stddef.h>

#include "guest-tests/runtime/console.h"
#include "lib/assert.h"
#include "lib/format.h"

enum { MAX_DETAILS = 8 }; /* lines that explain one failed case */

static struct {
    unsigned planned, done, failed;
    const char *name; /* of the current case, NULL between two */
    const char *skip;
    unsigned failures;
} ktap;

void ktap_begin(unsigned count)
{
    ktap.planned = count;
    print("KTAP version 1\n1..%u\n", count);
}

void ktap_start(const char *name)
{
    assert(ktap.name == NULL);
    ktap.name = name;
    ktap.skip = NULL;
    ktap.failures = 0;
}

bool expect(bool condition, const char *fmt, ...)
{
    if (condition)
        return true;
    assert(ktap.name != NULL);
    if (__atomic_fetch_add(&ktap.failures, 1, __ATOMIC_RELAXED) >= MAX_DETAILS)
        return false;
    char text[256];
    va_list args;
    va_start(args, fmt);
    format_v(text, sizeof(text), fmt, args);
    va_end(args);
    print("# %s: %s\n", ktap.name, text);
    return false;
}

void skip(const char *reason)
{
    assert(ktap.name != NULL);
    ktap.skip = reason;
}

void ktap_finish(void)
{
    assert(ktap.name != NULL);
    ktap.done++;
    if (ktap.failures > 0) {
        ktap.failed++;
        print("not ok %u %s\n", ktap.done, ktap.name);
    } else if (ktap.skip != NULL) {
        print("ok %u %s # SKIP %s\n", ktap.done, ktap.name, ktap.skip);
    } else {
        print("ok %u %s\n", ktap.done, ktap.name);
    }
    ktap.name = NULL;
}

void ktap_run(const struct test_case *cases, unsigned count)
{
    for (const struct test_case *c = cases; c < cases + count; c++) {
        ktap_start(c->name);
        const char *unmet = c->needs == NULL ? NULL : c->needs();
        if (unmet != NULL)
            skip(unmet);
        else
            c->run();
        ktap_finish();
    }
}

noreturn void ktap_end(void)
{
    guest_exit(ktap.failed == 0 && ktap.done == ktap.planned ? 0 : 1);
}

void ktap_all(const struct test_case *cases, unsigned count)
{
    ktap_begin(count);
    ktap_run(cases, count);
    ktap_end();
}
