/*
 * QEMU's firmware configuration device in its selector form (QEMU documentation, "QEMU Firmware
 * Configuration (fw_cfg) Device"): how many CPUs and how much memory there are, and no files.
 */
/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include "mm/types.h"

enum { FWCFG_PORT = 0x510, FWCFG_PORTS = 2 };

struct fwcfg {
    uint64_t ram; /* bytes */
    uint16_t cpus;
    uint16_t selector;
    uint8_t offset; /* of the next byte in what is selected */
};

void fwcfg_reset(struct fwcfg *fwcfg, unsigned cpus, uint64_t ram);

/*
 * Accesses of WIDTH bytes: of one they are data at both ports, as in QEMU; 2 bytes to PORT 0 of the
 * two are the selector; and there is nothing else: false. What is not configured reads as 0, and no
 * item can be written.
 */
bool fwcfg_read(struct fwcfg *fwcfg, unsigned width, uint32_t *value);
bool fwcfg_write(struct fwcfg *fwcfg, unsigned port, unsigned width, uint32_t value);

/* Text for a person, lines that each end with a newline; returns its length. */
size_t fwcfg_describe(const struct fwcfg *fwcfg, char *text, size_t size);
