/*
 * What operations that a hypervisor may intercept cost, in TSC ticks (instructions, where the
 * emulator counts them): in 32-bit code without paging and in 64-bit code on 4 KiB pages.
 *
 * row: bench end=0 long=yes
 *
 * tools/bench runs it, under two policies.
 */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "guest-tests/runtime/console.h"
#include "guest-tests/runtime/ktap.h"
#include "guest-tests/runtime/machine.h"
#include "lib/assert.h"
#include "lib/format.h"
#include "lib/string.h"

enum { REPEAT = 1000, FORMS = 2 }; /* as in bench.asm */

/* TSC ticks of REPEAT times the operation, and of the same loop without it; 0: never run. */
struct measurement {
    uint32_t full, empty;
};
static_assert(sizeof(struct measurement) == 8, "results in bench.asm");

extern const char *const bench_names[], *const bench_names_end[];
extern const struct measurement bench_results[][FORMS];
void bench_long_mode(void);

static const unsigned bits[FORMS] = {32, 64};

static bool is_hypercall(unsigned i)
{
    return strcmp(bench_names[i], "hypercall_unknown") == 0;
}

/* What a bare machine may not have, or not take back. */
static bool is_of_nosnoop(unsigned i)
{
    static const char *const names[] = {"x2apic_eoi", "tsc_deadline_rearm", "hlt_wake"};
    for (unsigned k = 0; k < ARRAY_SIZE(names); k++)
        if (strcmp(bench_names[i], names[k]) == 0)
            return true;
    return is_hypercall(i);
}

static void report(unsigned i, unsigned form)
{
    const struct measurement *m = &bench_results[i][form];
    char name[64];
    format(name, sizeof(name), "%s %u", bench_names[i], bits[form]);
    ktap_start(name);
    if (is_of_nosnoop(i) && !machine.nosnoop) {
        skip("only under the hypervisor");
    } else if (expect(m->full > 0 && m->empty > 0, "%u ticks with it, %u without", m->full,
                      m->empty)) {
        uint32_t ticks = m->full > m->empty ? m->full - m->empty : 0; /* real time has noise */
        print("# bench %s %u\n", name, (ticks + REPEAT / 2) / REPEAT);
    }
    ktap_finish();
}

/* There is one hypercall for each vendor: the one that is not this CPU's was not run. */
static bool is_other_vendors(unsigned i)
{
    bool first = is_hypercall(i) && is_hypercall(i + 1);
    bool second = is_hypercall(i) && !first;
    return machine.intel ? second : first;
}

void test_main(void)
{
    unsigned count = (unsigned)(bench_names_end - bench_names);
    bench_long_mode();
    ktap_begin((count - 1) * FORMS);
    for (unsigned form = 0; form < FORMS; form++)
        for (unsigned i = 0; i < count; i++)
            if (!is_other_vendors(i))
                report(i, form);
    ktap_end();
}
