/* Tables of named test cases, reported by the Kernel Test Anything Protocol, version 1. */
/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <stdnoreturn.h>

struct test_case {
    const char *name;
    const char *(*needs)(
        void);         /* precondition: NULL if met, else the reason to skip; may be NULL */
    void (*run)(void); /* calls expect() and skip() */
};

/* Prints the head and the plan: exactly COUNT results follow before ktap_end(). */
void ktap_begin(unsigned count);

/* Runs the COUNT cases of a table, one result each. */
void ktap_run(const struct test_case *cases, unsigned count);

/* For cases that are no test_case: one result between these two. */
void ktap_start(const char *name);
void ktap_finish(void);

/* The current case passes only if every condition was true; a false one is explained by FMT. */
__attribute__((format(printf, 2, 3))) bool expect(bool condition, const char *fmt, ...);

/* The current case's result is SKIP, unless it fails. */
void skip(const char *reason);

/* Ends the machine: 0 if as many results as planned were printed and none failed, else 1. */
noreturn void ktap_end(void);

/* All of it, for a test of one table. */
noreturn void ktap_all(const struct test_case *cases, unsigned count);
