/*
 * PCI functions: what QEMU 7.2's have in their configuration space after power-on, and two that are
 * made up; and what a guest must see of them, with the bits that it can write.
 */
/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include "drivers/pci.h"

struct word {
    uint16_t reg;
    uint32_t value;
};

struct shown {
    uint16_t reg;
    uint32_t value, writable;
};

struct record {
    const char *name;
    struct pci_bar bar[PCI_BARS];
    unsigned pm, msi, msix, pcie, af;
    unsigned entries; /* of MSI-X */
    struct word real[32];
    struct shown shown[40]; /* but for registers that the real function changes */
};

#define MEMORY32(at, bytes)                                                                        \
    {                                                                                              \
        .address = (at), .size = (bytes), .kind = PCI_BAR_MEMORY                                   \
    }
#define MEMORY64(at, bytes)                                                                        \
    {                                                                                              \
        .address = (at), .size = (bytes), .kind = PCI_BAR_MEMORY, .wide = true                     \
    }
#define PREFETCHABLE64(at, bytes)                                                                  \
    {                                                                                              \
        .address = (at), .size = (bytes), .kind = PCI_BAR_MEMORY, .wide = true,                    \
        .prefetchable = true                                                                       \
    }
#define PORTS(at, bytes)                                                                           \
    {                                                                                              \
        .address = (at), .size = (bytes), .kind = PCI_BAR_IO                                       \
    }

static const struct record records[] = {
    {
        .name = "edu",
        .bar = {MEMORY32(0xfea00000, 0x100000)},
        .msi = 0x40,
        .real = {{0x00, 0x11e81234},
                 {0x04, 0x00100000},
                 {0x08, 0x00ff0010},
                 {0x10, 0xfea00000},
                 {0x2c, 0x11001af4},
                 {0x34, 0x00000040},
                 {0x3c, 0x00000100},
                 {0x40, 0x00800005}},
        .shown = {{0x00, 0x11e81234, 0},
                  {0x08, 0x00ff0010, 0},
                  {0x10, 0x00000000, 0xfff00000},
                  {0x2c, 0x11001af4, 0},
                  {0x34, 0x00000040, 0},
                  {0x3c, 0x00000100, 0x000000ff},
                  {0x40, 0x00800005, 0x00010000},
                  {0x44, 0x00000000, 0xfffffffc},
                  {0x48, 0x00000000, 0xffffffff},
                  {0x4c, 0x00000000, 0x0000ffff}},
    },
    {
        .name = "nvme",
        .bar = {MEMORY64(0xfebd0000, 0x4000)},
        .pm = 0x60,
        .msix = 0x40,
        .pcie = 0x80,
        .entries = 65,
        .real = {{0x00, 0x00101b36},
                 {0x04, 0x00100000},
                 {0x08, 0x01080202},
                 {0x10, 0xfebd0004},
                 {0x2c, 0x11001af4},
                 {0x34, 0x00000040},
                 {0x3c, 0x00000100},
                 {0x40, 0x00408011},
                 {0x44, 0x00002000},
                 {0x48, 0x00003000},
                 {0x60, 0x00030001},
                 {0x64, 0x00000008},
                 {0x80, 0x00026010}, /* behind a root port */
                 {0x84, 0x10008000},
                 {0x8c, 0x00000411},
                 {0x90, 0x00110000},
                 {0xa4, 0x00300000}},
        .shown = {{0x00, 0x00101b36, 0},
                  {0x08, 0x01080202, 0},
                  {0x10, 0x00000004, 0xffffc000},
                  {0x14, 0x00000000, 0xffffffff},
                  {0x2c, 0x11001af4, 0},
                  {0x34, 0x00000040, 0},
                  {0x3c, 0x00000100, 0x000000ff},
                  {0x40, 0x00408011, 0xc0000000},
                  {0x44, 0x00002000, 0},
                  {0x48, 0x00003000, 0},
                  {0x60, 0x00030001, 0},
                  {0x64, 0x00000008, 0x00000003},
                  {0x80, 0x00926010, 0},
                  {0x84, 0x10008000, 0}},
    },
    {
        .name = "e1000e",
        .bar = {MEMORY32(0xfeb40000, 0x20000), MEMORY32(0xfeb60000, 0x20000), PORTS(0xc040, 0x20),
                MEMORY32(0xfeb80000, 0x4000)},
        .pm = 0xc8,
        .msi = 0xd0,
        .msix = 0xa0,
        .pcie = 0xe0,
        .entries = 5,
        .real = {{0x00, 0x10d38086},  {0x04, 0x00100000},  {0x08, 0x02000000}, {0x10, 0xfeb40000},
                 {0x14, 0xfeb60000},  {0x18, 0x0000c041},  {0x1c, 0xfeb80000}, {0x2c, 0x00008086},
                 {0x30, 0xfeb00000},  {0x34, 0x000000c8},  {0x3c, 0x00000100}, {0xa0, 0x00040011},
                 {0xa4, 0x00000003},  {0xa8, 0x00002003},  {0xc8, 0x0022d001}, {0xd0, 0x0080e005},
                 {0xe0, 0x0091a010},  {0xe4, 0x00008000},  {0xec, 0x00000411}, {0xf0, 0x00110000},
                 {0x100, 0x14020001}, {0x10c, 0x00462030}, {0x140, 0x00010003}},
        .shown = {{0x00, 0x10d38086, 0},          {0x08, 0x02000000, 0},
                  {0x10, 0x00000000, 0xfffe0000}, {0x14, 0x00000000, 0xfffe0000},
                  {0x18, 0x00000001, 0xffffffe0}, {0x1c, 0x00000000, 0xffffc000},
                  {0x2c, 0x00008086, 0},          {0x34, 0x000000c8, 0},
                  {0x3c, 0x00000100, 0x000000ff}, {0xa0, 0x00040011, 0xc0000000},
                  {0xa4, 0x00000003, 0},          {0xa8, 0x00002003, 0},
                  {0xc8, 0x0022d001, 0},          {0xcc, 0x00000000, 0x00000003},
                  {0xd0, 0x0080e005, 0x00010000}, {0xd4, 0x00000000, 0xfffffffc},
                  {0xd8, 0x00000000, 0xffffffff}, {0xdc, 0x00000000, 0x0000ffff},
                  {0xe0, 0x0091a010, 0},          {0xe4, 0x00008000, 0}},
    },
    {
        .name = "virtio-rng", /* vendor-specific capabilities */
        .bar = {PORTS(0xc000, 0x20),
                MEMORY32(0xfebd1000, 0x1000),
                {.kind = PCI_BAR_NONE},
                {.kind = PCI_BAR_NONE},
                PREFETCHABLE64(0xfe000000, 0x4000)},
        .msix = 0x98,
        .entries = 2,
        .real = {{0x00, 0x10051af4}, {0x04, 0x00100000}, {0x08, 0x00ff0000}, {0x10, 0x0000c001},
                 {0x14, 0xfebd1000}, {0x20, 0xfe00000c}, {0x2c, 0x00041af4}, {0x34, 0x00000098},
                 {0x3c, 0x00000100}, {0x40, 0x01100009}, {0x44, 0x00000004}, {0x4c, 0x00001000},
                 {0x50, 0x03104009}, {0x54, 0x00000004}, {0x58, 0x00001000}, {0x5c, 0x00001000},
                 {0x60, 0x04105009}, {0x64, 0x00000004}, {0x68, 0x00002000}, {0x6c, 0x00001000},
                 {0x70, 0x02146009}, {0x74, 0x00000004}, {0x78, 0x00003000}, {0x7c, 0x00001000},
                 {0x80, 0x00000004}, {0x84, 0x05147009}, {0x98, 0x00018411}, {0x9c, 0x00000001},
                 {0xa0, 0x00000801}},
        .shown = {{0x00, 0x10051af4, 0},          {0x08, 0x00ff0000, 0},
                  {0x10, 0x00000001, 0xffffffe0}, {0x14, 0x00000000, 0xfffff000},
                  {0x20, 0x0000000c, 0xffffc000}, {0x24, 0x00000000, 0xffffffff},
                  {0x2c, 0x00041af4, 0},          {0x34, 0x00000098, 0},
                  {0x3c, 0x00000100, 0x000000ff}, {0x40, 0x01100009, 0},
                  {0x44, 0x00000004, 0},          {0x4c, 0x00001000, 0},
                  {0x50, 0x03104009, 0},          {0x54, 0x00000004, 0},
                  {0x58, 0x00001000, 0},          {0x5c, 0x00001000, 0},
                  {0x60, 0x04105009, 0},          {0x64, 0x00000004, 0},
                  {0x68, 0x00002000, 0},          {0x6c, 0x00001000, 0},
                  {0x70, 0x02146009, 0},          {0x74, 0x00000004, 0},
                  {0x78, 0x00003000, 0},          {0x7c, 0x00001000, 0},
                  {0x80, 0x00000004, 0},          {0x84, 0x05147009, 0},
                  {0x98, 0x00018411, 0xc0000000}, {0x9c, 0x00000001, 0},
                  {0xa0, 0x00000801, 0}},
    },
    {
        .name = "ahci", /* a capability that is not understood */
        .bar = {[4] = PORTS(0xc060, 0x20), [5] = MEMORY32(0xfebd2000, 0x1000)},
        .msi = 0x80,
        .real = {{0x00, 0x29228086},
                 {0x04, 0x00100000},
                 {0x08, 0x01060102},
                 {0x20, 0x0000c061},
                 {0x24, 0xfebd2000},
                 {0x2c, 0x11001af4},
                 {0x34, 0x00000080},
                 {0x3c, 0x00000100},
                 {0x80, 0x0080a805},
                 {0x90, 0x00000040},
                 {0xa8, 0x00100012},
                 {0xac, 0x00000048}},
        .shown = {{0x00, 0x29228086, 0},
                  {0x08, 0x01060102, 0},
                  {0x20, 0x00000001, 0xffffffe0},
                  {0x24, 0x00000000, 0xfffff000},
                  {0x2c, 0x11001af4, 0},
                  {0x34, 0x00000080, 0},
                  {0x3c, 0x00000100, 0x000000ff},
                  {0x80, 0x00800005, 0x00010000},
                  {0x84, 0x00000000, 0xfffffffc},
                  {0x88, 0x00000000, 0xffffffff},
                  {0x8c, 0x00000000, 0x0000ffff},
                  {0x90, 0x00000040, 0}},
    },
    {
        .name = "ivshmem", /* no interrupt, no capabilities */
        .bar = {MEMORY32(0xfebd3000, 0x100),
                {.kind = PCI_BAR_NONE},
                PREFETCHABLE64(0xfe400000, 0x400000)},
        .real = {{0x00, 0x11101af4},
                 {0x08, 0x05000001},
                 {0x10, 0xfebd3000},
                 {0x18, 0xfe40000c},
                 {0x2c, 0x11001af4}},
        .shown = {{0x00, 0x11101af4, 0},
                  {0x08, 0x05000001, 0},
                  {0x10, 0x00000000, 0xffffff00},
                  {0x18, 0x0000000c, 0xffc00000},
                  {0x1c, 0x00000000, 0xffffffff},
                  {0x2c, 0x11001af4, 0},
                  {0x3c, 0x00000000, 0x000000ff}},
    },
    {
        /* 32 vectors with masks; VPD; D1, but not D2; a BAR of 8 GiB; AF; a reset by D3hot. */
        .name = "conventional",
        .bar = {PREFETCHABLE64(0x400000000, 0x200000000)},
        .pm = 0x58,
        .msi = 0x70,
        .af = 0x50,
        .real = {{0x00, 0x56781234},
                 {0x04, 0x02b00000},
                 {0x08, 0x12345678},
                 {0x0c, 0x00804010},
                 {0x10, 0x0000000c},
                 {0x14, 0x00000004},
                 {0x28, 0x12345678},
                 {0x2c, 0x11112222},
                 {0x34, 0x00000043}, /* the low two bits do not count */
                 {0x38, 0xffffffff},
                 {0x3c, 0x20080200},
                 {0x40, 0x80005003}, /* VPD */
                 {0x44, 0x12345678},
                 {0x50, 0x03065813},
                 {0x58, 0xfb8a7001}, /* version 2, PME, D1 */
                 {0x5c, 0x11000000},
                 {0x70, 0x010a0005}, /* as a 32-bit one, with masks */
                 {0x90, 0xdeadbeef}},
        .shown = {{0x00, 0x56781234, 0},
                  {0x08, 0x12345678, 0},
                  {0x10, 0x0000000c, 0},
                  {0x14, 0x00000000, 0xfffffffe},
                  {0x2c, 0x11112222, 0},
                  {0x34, 0x00000050, 0},
                  {0x3c, 0x20080200, 0x000000ff},
                  {0x50, 0x03065813, 0},
                  {0x58, 0x02027001, 0},
                  {0x5c, 0x00000000, 0x00000003},
                  {0x70, 0x010a0005, 0x00710000},
                  {0x74, 0x00000000, 0xfffffffc},
                  {0x78, 0x00000000, 0x0000ffff},
                  {0x7c, 0x00000000, 0xffffffff},
                  {0x90, 0xdeadbeef, 0}},
    },
    {
        /* The most entries, and their pending bits in the same page as other registers. */
        .name = "large",
        .bar = {{.kind = PCI_BAR_NONE}, MEMORY32(0xf8000000, 0x1000000)},
        .msi = 0x60,
        .msix = 0xf4,
        .entries = 2048,
        .real = {{0x00, 0x00011234},
                 {0x04, 0x00100000},
                 {0x08, 0xff000000},
                 {0x14, 0xf8000000},
                 {0x34, 0x000000f4},
                 {0x3c, 0x00000400},
                 {0x60, 0x01860005}, /* 8 vectors, 64 bits, masks */
                 {0xf4, 0x07ff6011},
                 {0xf8, 0x00123451},
                 {0xfc, 0x0012b451}},
        .shown = {{0x00, 0x00011234, 0},
                  {0x08, 0xff000000, 0},
                  {0x14, 0x00000000, 0xff000000},
                  {0x34, 0x000000f4, 0},
                  {0x3c, 0x00000400, 0x000000ff},
                  {0x60, 0x01860005, 0x00710000},
                  {0x64, 0x00000000, 0xfffffffc},
                  {0x68, 0x00000000, 0xffffffff},
                  {0x6c, 0x00000000, 0x0000ffff},
                  {0x70, 0x00000000, 0x000000ff},
                  {0xf4, 0x07ff6011, 0xc0000000},
                  {0xf8, 0x00123451, 0},
                  {0xfc, 0x0012b451, 0}},
    },
};
