/* nosnoop.cfg: its keys, and what they say. The same parser runs in the kernel and in the UEFI
 * loader. */
/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include "lib/assert.h"
#include "mm/types.h"

enum {
    CONFIG_MAX_VMS = 8,
    CONFIG_MAX_MODULES = 8,
    CONFIG_MAX_REGIONS = 8,
    CONFIG_MAX_DEVICES = 8,
    CONFIG_MAX_CPUS = 64,       /* of one VM */
    CONFIG_MAX_HOST_CPUS = 256, /* pins are 0 to 255 */
    CONFIG_MAX_GSI = 1023,
    CONFIG_BARS = 6,
    CONFIG_NOT_GIVEN = 0xffff, /* of a device's BAR type or GSI */
    CONFIG_NAME_SIZE = 32,
    CONFIG_FILE_SIZE = 64,
    CONFIG_STRING_SIZE = 256,
};

enum config_port { PORT_COM1, PORT_COM2, PORT_NUMBER, PORT_LOG, PORT_NONE };
enum config_iommu { IOMMU_ON, IOMMU_OFF, IOMMU_UNSAFE_IDENTITY };
enum config_on_end { ON_END_HALT, ON_END_RESET, ON_END_POWEROFF };
enum config_on_reset { ON_RESET_STOP, ON_RESET_RESTART };
enum config_unmapped { UNMAPPED_ONES, UNMAPPED_STOP };
enum config_apic { APIC_HARDWARE, APIC_SOFTWARE };
enum config_dma { DMA_AUTO, DMA_COHERENT, DMA_NON_COHERENT };

/* The knobs of a policy; KNOB_DEFAULT: as the policy says. No word of the config gives the last of
   MTRR and of CD: they are presets' own. */
enum knob_mtrr { KNOB_MTRR_DEFAULT, KNOB_MTRR_GUEST, KNOB_MTRR_IGNORE, KNOB_MTRR_PRESET };
enum knob_pat { KNOB_PAT_DEFAULT, KNOB_PAT_GUEST, KNOB_PAT_IGNORE };
enum knob_cd {
    KNOB_CD_DEFAULT,
    KNOB_CD_VIEW,
    KNOB_CD_HW,
    KNOB_CD_IGNORE,
    KNOB_CD_PAT_UC,
    KNOB_CD_UC_IPAT,
    KNOB_CD_WB_IPAT,
    KNOB_CD_WB,
};
enum knob_mmio { KNOB_MMIO_DEFAULT, KNOB_MMIO_CLAMP, KNOB_MMIO_UC, KNOB_MMIO_GUEST };
enum knob_report { KNOB_REPORT_DEFAULT, KNOB_REPORT_STORED, KNOB_REPORT_FIXED, KNOB_REPORT_HIDDEN };
enum knob_reset { KNOB_RESET_DEFAULT, KNOB_RESET_FIRMWARE, KNOB_RESET_ARCHITECTURAL };

struct host_config {
    uint32_t line;        /* of the section's head, for messages; 0: there is none */
    enum config_port log; /* COM1, COM2, NUMBER, NONE */
    uint16_t log_port;    /* with PORT_NUMBER: never that of COM1 or COM2 */
    uint32_t cpus;        /* 0: all */
    enum config_iommu iommu;
    enum config_on_end on_end;
    bool dangerous;
};

struct config_module {
    char file[CONFIG_FILE_SIZE];
    char string[CONFIG_STRING_SIZE]; /* the module's string as the guest sees it; empty: the file's
                                        name */
    uint32_t line;
};

struct config_region {
    uint64_t start, size; /* guest-physical bytes */
    enum memtype type;
    uint32_t line;
};

struct config_device {
    uint16_t segment;
    uint8_t bus, device, function;
    uint16_t dma;              /* enum config_dma */
    uint16_t bar[CONFIG_BARS]; /* enum memtype */
    uint16_t intx;             /* GSI */
    uint16_t no_reset;         /* 1: it cannot be reset, and that is accepted */
    uint16_t map_rmrr;         /* 1: its reserved memory is mapped */
    uint32_t line;
};

struct vm_config {
    char name[CONFIG_NAME_SIZE];
    uint32_t line; /* of the section's head, for messages */
    char kernel[CONFIG_FILE_SIZE];
    uint32_t kernel_line;
    char cmdline[CONFIG_STRING_SIZE];
    struct config_module modules[CONFIG_MAX_MODULES];
    uint32_t module_count;
    uint64_t memory; /* bytes, a multiple of 4096 */
    uint32_t cpus;
    uint8_t pin[CONFIG_MAX_CPUS];
    uint32_t pin_count;            /* 0: the next free CPUs */
    enum config_port serial;       /* COM1, COM2, LOG, NONE */
    char policy[CONFIG_NAME_SIZE]; /* empty: the default */
    enum knob_mtrr mtrr;
    enum knob_pat pat;
    enum knob_cd cd;
    enum knob_mmio mmio;
    enum knob_report report;
    enum knob_reset reset;
    struct config_region regions[CONFIG_MAX_REGIONS];
    uint32_t region_count;
    struct config_device devices[CONFIG_MAX_DEVICES];
    uint32_t device_count;
    bool control;
    enum config_on_reset on_reset;
    enum config_unmapped unmapped;
    enum config_apic apic; /* whether the CPU's help for local APICs is used */
    bool dangerous;        /* as [host] says */
};

struct config {
    struct host_config host;
    struct vm_config vms[CONFIG_MAX_VMS];
    uint32_t vm_count;
};

/* Whether the VM's memory is to lie at the machine's own addresses: nothing translates its
 * devices'. */
static inline bool config_at_own_addresses(const struct config *config, const struct vm_config *vm)
{
    return config->host.iommu == IOMMU_UNSAFE_IDENTITY && vm->device_count > 0;
}

static_assert(sizeof(struct config) <= 64 * 1024, "it is a static object of kernel and loader");

/*
 * Parses the SIZE bytes of TEXT (not ended by a NUL; any bytes) into OUT, every field of which is
 * set. Errors are logged as `nosnoop.cfg:LINE: problem; cure`: the first 20, and how many more
 * there are. Returns 0 or -EINVAL.
 */
int config_parse(const char *text, size_t size, struct config *out);

/*
 * Refuses by name, with the line, every value whose feature this build does not have yet. Apart
 * from the parser: it shrinks as features come. Returns 0 or -EINVAL.
 */
int config_check_supported(const struct config *config);
