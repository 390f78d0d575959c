/* Error numbers: functions return 0 or one of these, negated; the values are those of POSIX. */
/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

enum {
    EPERM = 1,       /* not allowed to this caller */
    ENOENT = 2,      /* a named thing is missing */
    EIO = 5,         /* memory or a device does not answer */
    E2BIG = 7,       /* larger than what holds it */
    ENOEXEC = 8,     /* an image or an instruction that is not understood */
    ENOMEM = 12,     /* out of frames, extents or slots */
    EFAULT = 14,     /* an address that is not mapped */
    EEXIST = 17,     /* there already */
    ENODEV = 19,     /* the CPU or the machine lacks it */
    EINVAL = 22,     /* a bad value */
    ENOSPC = 28,     /* out of numbers or entries */
    ERANGE = 34,     /* more than can be said or reached */
    ENOSYS = 38,     /* no such call, or not built yet */
    ENODATA = 61,    /* the input ends too early */
    EOPNOTSUPP = 95, /* not on this CPU */
};
