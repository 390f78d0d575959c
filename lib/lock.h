/* A lock for what CPUs share: held for a bounded time, and never while waiting for another CPU. */
/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include <stdbool.h>

struct lock {
    bool held;
};

static inline void lock_take(struct lock *lock)
{
    while (__atomic_exchange_n(&lock->held, true, __ATOMIC_ACQUIRE))
        __builtin_ia32_pause();
}

static inline void lock_release(struct lock *lock)
{
    __atomic_store_n(&lock->held, false, __ATOMIC_RELEASE);
}
