/* vmm/config.c and vmm/config_check.c against what is specified of nosnoop.cfg. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include <stdio.h>

#include "tests/unit/host.h"
#include "vmm/config.h"

static struct config config;

/* The text is handed over without a NUL, in a block of just its size, so that a sanitizer sees
 * more. */
static int parse_bytes(const char *text, size_t size)
{
    char *copy = test_malloc(size + 1);
    memcpy(copy + 1, text, size);
    host_log_reset();
    memset(&config, 0xa5, sizeof(config));
    int result = config_parse(copy + 1, size, &config);
    test_free(copy);
    return result;
}

#define GUEST "[vm a]\nkernel = k\n"

static void good(const char *text)
{
    assert_int_equal(parse_bytes(text, strlen(text)), 0);
    assert_string_equal(host_log, "");
}

/* TEXT is refused with exactly the lines LOG. */
static void bad(const char *text, const char *log)
{
    assert_int_equal(parse_bytes(text, strlen(text)), -22);
    assert_string_equal(host_log, log);
}

/* A line below [vm a], which is line 3 of the file, is refused with what follows "nosnoop.cfg:3: ".
 */
static void bad_key(const char *line, const char *log)
{
    static char text[1024], expected[512];
    snprintf(text, sizeof(text), GUEST "%s\n", line);
    snprintf(expected, sizeof(expected), "nosnoop.cfg:3: %s\n", log);
    bad(text, expected);
}

static const struct vm_config *good_key(const char *line)
{
    static char text[1024];
    snprintf(text, sizeof(text), GUEST "%s\n", line);
    good(text);
    return &config.vms[0];
}

static void defaults(void **state)
{
    (void)state;
    good(GUEST);
    const struct vm_config *vm = &config.vms[0];
    assert_int_equal(config.vm_count, 1);
    assert_int_equal(config.host.log, PORT_COM2);
    assert_int_equal(config.host.cpus, 0);
    assert_int_equal(config.host.iommu, IOMMU_ON);
    assert_int_equal(config.host.on_end, ON_END_HALT);
    assert_false(config.host.dangerous);
    assert_int_equal(config.host.line, 0);
    assert_string_equal(vm->name, "a");
    assert_string_equal(vm->kernel, "k");
    assert_string_equal(vm->cmdline, "");
    assert_string_equal(vm->policy, "");
    assert_int_equal(vm->line, 1);
    assert_int_equal(vm->memory, 67108864);
    assert_int_equal(vm->cpus, 1);
    assert_int_equal(vm->pin_count, 0);
    assert_int_equal(vm->serial, PORT_COM1);
    assert_int_equal(vm->mtrr, 0);
    assert_int_equal(vm->pat, 0);
    assert_int_equal(vm->cd, 0);
    assert_int_equal(vm->mmio, 0);
    assert_int_equal(vm->report, 0);
    assert_int_equal(vm->reset, 0);
    assert_int_equal(vm->module_count + vm->region_count + vm->device_count, 0);
    assert_false(vm->control);
    assert_int_equal(vm->on_reset, ON_RESET_STOP);
    assert_int_equal(vm->unmapped, UNMAPPED_ONES);
    assert_int_equal(vm->apic, APIC_HARDWARE);
}

static void all_host_keys(void **state)
{
    (void)state;
    good("[host]\nlog=none\ncpus=256\niommu=unsafe-identity\non_end=poweroff\ndangerous="
         "yes\n" GUEST);
    assert_int_equal(config.host.line, 1);
    assert_int_equal(config.host.log, PORT_NONE);
    assert_int_equal(config.host.cpus, 256);
    assert_int_equal(config.host.iommu, IOMMU_UNSAFE_IDENTITY);
    assert_int_equal(config.host.on_end, ON_END_POWEROFF);
    assert_true(config.host.dangerous && config.vms[0].dangerous);
    good("[host]\ncpus=all\niommu=off\non_end=reset\nlog=com2\n" GUEST);
    assert_int_equal(config.host.cpus, 0);
    assert_int_equal(config.host.iommu, IOMMU_OFF);
    assert_int_equal(config.host.on_end, ON_END_RESET);
    good("[host]\nlog = 0x3e8\n" GUEST);
    assert_int_equal(config.host.log, PORT_NUMBER);
    assert_int_equal(config.host.log_port, 0x3e8);
    good("[host]\nlog = 1000\n" GUEST);
    assert_int_equal(config.host.log_port, 1000);
    good("[host]\nlog = 0x2F8\n" GUEST);
    assert_int_equal(config.host.log, PORT_COM2);
    assert_int_equal(config.host.log_port, 0);
}

static void all_vm_keys(void **state)
{
    (void)state;
    good("\xef\xbb\xbf# a comment with \x01\xff\r\n\r\n\t; another\r\n"
         " [ vm  test-1.a_B ] \r\n  kernel=boot/k.elf\r\ncmdline =  a=b; #c  \"d\"\t e \r\n"
         "memory = 2G\r\ncpus = 2\r\npin = 3 ,2\r\nserial=log\r\npolicy = exact\r\nmtrr=ignore\r\n"
         "pat=guest\r\ncd=uc-ipat\r\nmmio=uc\r\nreport=hidden\r\nreset=architectural\r\n"
         "control=yes\r\non_reset=restart\r\nunmapped=stop\r\napic=software");
    const struct vm_config *vm = &config.vms[0];
    assert_int_equal(vm->line, 4);
    assert_int_equal(vm->kernel_line, 5);
    assert_string_equal(vm->name, "test-1.a_B");
    assert_string_equal(vm->kernel, "boot/k.elf");
    assert_string_equal(vm->cmdline, "a=b; #c  \"d\"\t e");
    assert_int_equal(vm->memory, 0x80000000);
    assert_int_equal(vm->cpus, 2);
    assert_int_equal(vm->pin_count, 2);
    assert_memory_equal(vm->pin, "\x03\x02", 2);
    assert_int_equal(vm->serial, PORT_LOG);
    assert_string_equal(vm->policy, "exact");
    assert_int_equal(vm->mtrr, KNOB_MTRR_IGNORE);
    assert_int_equal(vm->pat, KNOB_PAT_GUEST);
    assert_int_equal(vm->cd, KNOB_CD_UC_IPAT);
    assert_int_equal(vm->mmio, KNOB_MMIO_UC);
    assert_int_equal(vm->report, KNOB_REPORT_HIDDEN);
    assert_int_equal(vm->reset, KNOB_RESET_ARCHITECTURAL);
    assert_true(vm->control);
    assert_int_equal(vm->on_reset, ON_RESET_RESTART);
    assert_int_equal(vm->unmapped, UNMAPPED_STOP);
    assert_int_equal(vm->apic, APIC_SOFTWARE);
}

/* Every legal word of every knob, as the contract lists them. */
static void all_words(void **state)
{
    (void)state;
    assert_int_equal(good_key("mtrr = guest")->mtrr, KNOB_MTRR_GUEST);
    assert_int_equal(good_key("pat = ignore")->pat, KNOB_PAT_IGNORE);
    assert_int_equal(good_key("cd = view")->cd, KNOB_CD_VIEW);
    assert_int_equal(good_key("cd = hw")->cd, KNOB_CD_HW);
    assert_int_equal(good_key("cd = ignore")->cd, KNOB_CD_IGNORE);
    assert_int_equal(good_key("cd = pat-uc")->cd, KNOB_CD_PAT_UC);
    assert_int_equal(good_key("cd = wb-ipat")->cd, KNOB_CD_WB_IPAT);
    assert_int_equal(good_key("mmio = clamp")->mmio, KNOB_MMIO_CLAMP);
    assert_int_equal(good_key("report = stored")->report, KNOB_REPORT_STORED);
    assert_int_equal(good_key("report = fixed")->report, KNOB_REPORT_FIXED);
    assert_int_equal(good_key("reset = firmware")->reset, KNOB_RESET_FIRMWARE);
    assert_int_equal(good_key("serial = none")->serial, PORT_NONE);
    assert_int_equal(good_key("serial = com1")->serial, PORT_COM1);
    assert_int_equal(good_key("on_reset = stop")->on_reset, ON_RESET_STOP);
    assert_int_equal(good_key("unmapped = ones")->unmapped, UNMAPPED_ONES);
    assert_int_equal(good_key("apic = hardware")->apic, APIC_HARDWARE);
    assert_int_equal(good_key("control = no")->control, false);
    assert_string_equal(good_key("cmdline =")->cmdline, "");
    good("[host]\ndangerous = yes\n" GUEST "mmio = guest\n");
    assert_int_equal(config.vms[0].mmio, KNOB_MMIO_GUEST);
    good(GUEST "mmio = guest\n[host]\ndangerous = yes\n");
    bad(GUEST "mmio = guest\n", "nosnoop.cfg:1: vm a: mmio = guest needs dangerous = yes in "
                                "[host]; write mmio = uc\n");
    bad("[host]\ndangerous = no\n" GUEST "mmio = guest\n",
        "nosnoop.cfg:3: vm a: mmio = guest needs dangerous = yes in [host]; write mmio = uc\n");
}

static void policies(void **state)
{
    (void)state;
    static const char *const names[] = {
        "exact",   "wb",           "kvm-2008", "kvm-4.19", "kvm-6.7", "kvm-6.11",  "kvm-6.16",
        "kvm-svm", "kvm-svm-2015", "xen",      "bhyve",    "acrn",    "jailhouse", "bitvisor",
    };
    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        char line[64];
        snprintf(line, sizeof(line), "policy = %s", names[i]);
        assert_string_equal(good_key(line)->policy, names[i]);
    }
    static const char *const values[] = {"kvm", "Exact", "exact wb", "kvm-6.1", "exactly"};
    for (size_t i = 0; i < ARRAY_SIZE(values); i++) {
        char line[64], log[256];
        snprintf(line, sizeof(line), "policy = %s", values[i]);
        snprintf(
            log, sizeof(log),
            "bad value \"%s\" of policy; write one of: exact, wb, kvm-2008, kvm-4.19, kvm-6.7, "
            "kvm-6.11, kvm-6.16, kvm-svm, kvm-svm-2015, xen, bhyve, acrn, jailhouse, bitvisor",
            values[i]);
        bad_key(line, log);
    }
}

static void names_of_files(void **state)
{
    (void)state;
    good(GUEST "module = a/k.img\nmodule = a/k.img again\nmodule = k\n");
    good(GUEST "[vm b]\nkernel = k\nserial = none\nmodule = a/x\n[vm c]\nkernel = a/x\n"
               "serial = none\n");
    bad(GUEST "module = a/k x\n", "nosnoop.cfg:3: a/k and k have the same name; rename one\n");
    bad("[vm a]\nkernel = /a/k\nmodule = x\nmodule = a/k\nmodule = b/x y\n",
        "nosnoop.cfg:4: a/k and /a/k have the same name; rename one\n"
        "nosnoop.cfg:5: b/x and x have the same name; rename one\n");
    bad(GUEST "[vm b]\nserial = none\nkernel = a/b/k\n",
        "nosnoop.cfg:5: a/b/k and k have the same name; rename one\n");
    bad("[vm a]\nkernel = k/\n[vm b]\nserial = none\n",
        "nosnoop.cfg:3: vm b has no kernel; add kernel = FILE\n");
}

static void modules(void **state)
{
    (void)state;
    good(GUEST "module = dir/initrd.img  root=/dev/ram0  x\nmodule=two\n");
    const struct vm_config *vm = &config.vms[0];
    assert_int_equal(vm->module_count, 2);
    assert_string_equal(vm->modules[0].file, "dir/initrd.img");
    assert_string_equal(vm->modules[0].string, "root=/dev/ram0  x");
    assert_int_equal(vm->modules[0].line, 3);
    assert_string_equal(vm->modules[1].file, "two");
    assert_string_equal(vm->modules[1].string, "");
    assert_int_equal(vm->modules[1].line, 4);
    bad(GUEST "module=1\nmodule=2\nmodule=3\nmodule=4\nmodule=5\nmodule=6\nmodule=7\nmodule=8\n"
              "module=9\n",
        "nosnoop.cfg:11: more than 8 modules; remove one\n");
    assert_int_equal(config.vms[0].module_count, 8);
}

static void memory_sizes(void **state)
{
    (void)state;
    assert_int_equal(good_key("memory = 1M")->memory, 0x100000);
    assert_int_equal(good_key("memory = 1028K")->memory, 0x101000);
    assert_int_equal(good_key("memory = 1052672")->memory, 0x101000);
    assert_int_equal(good_key("memory = 0x40000000")->memory, 0x40000000);
    assert_int_equal(good_key("memory = 5G")->memory, 0x140000000);
    assert_int_equal(good_key("memory = 131072G")->memory, 0x800000000000);
    bad_key("memory = 1023K", "memory is 0xffc00 bytes; write at least 1M");
    bad_key("memory = 512", "memory is 0x200 bytes; write at least 1M");
    bad_key("memory = 1026K", "memory is 0x100800 bytes; write a multiple of 4K");
    static const char *const values[] = {
        "131073G",
        "17179869184G",
        "17179869248G",
        "18446744073709551616",
        "18446744073709551616M",
        "64m",
        "64MB",
        "M",
        "-64M",
        "64 M",
        "0x10000g",
        "0x",
        "1.5G",
        "99999999999999999999",
        "64T",
        "18446744073710600192",
    };
    for (size_t i = 0; i < ARRAY_SIZE(values); i++) {
        char line[64], log[128];
        snprintf(line, sizeof(line), "memory = %s", values[i]);
        snprintf(log, sizeof(log),
                 "bad value \"%s\" of memory; write a size up to 128T, as in 512M (K, M or G)",
                 values[i]);
        bad_key(line, log);
    }
}

static void numbers_of_cpus(void **state)
{
    (void)state;
    assert_int_equal(good_key("cpus = 64")->cpus, 64);
    bad_key("cpus = 65", "bad value \"65\" of cpus; write 1 to 64");
    bad_key("cpus = 0", "bad value \"0\" of cpus; write 1 to 64");
    bad_key("cpus = all", "bad value \"all\" of cpus; write 1 to 64");
    bad_key("cpus = 4294967297", "bad value \"4294967297\" of cpus; write 1 to 64");
    good("[host]\ncpus = 3\n" GUEST "cpus = 2\n[vm b]\nkernel = k\nserial = none\n");
    bad(GUEST "cpus = 2\n[vm b]\nkernel = k\nserial = none\ncpus = 2\n\n[host]\ncpus = 3\n",
        "nosnoop.cfg:9: the VMs have 4 CPUs, of 3 in [host]; lower their cpus\n");
    bad("[host]\ncpus = 257\n" GUEST,
        "nosnoop.cfg:2: bad value \"257\" of cpus; write all, or 1 to 256\n");
    bad("[host]\ncpus = 0\n" GUEST,
        "nosnoop.cfg:2: bad value \"0\" of cpus; write all, or 1 to 256\n");
}

static void pins(void **state)
{
    (void)state;
    assert_int_equal(good_key("pin = 255")->pin[0], 255);
    static const char *const values[] = {"256", "1,", ",1", "1,,2", "a", "1 2", "-1", "1,2,x"};
    for (size_t i = 0; i < ARRAY_SIZE(values); i++) {
        char line[64], log[128];
        snprintf(line, sizeof(line), "pin = %s", values[i]);
        snprintf(log, sizeof(log),
                 "bad value \"%s\" of pin; write at most 64 CPU numbers of 0 to 255, as in 2,3",
                 values[i]);
        bad_key(line, log);
    }
    good("[host]\ncpus = 3\n" GUEST "pin = 2\n");
    bad("[host]\ncpus = 2\n" GUEST "pin = 2\n",
        "nosnoop.cfg:3: vm a is pinned to CPU 2, of 2 in [host]; choose another CPU\n");
    bad("[host]\ncpus = 1\n" GUEST "cpus = 2\npin = 0,1\n",
        "nosnoop.cfg:3: vm a is pinned to CPU 1, of 1 in [host]; choose another CPU\n"
        "nosnoop.cfg:1: the VMs have 2 CPUs, of 1 in [host]; lower their cpus\n");
    bad_key("cpus = x\npin = 1,2", "bad value \"x\" of cpus; write 1 to 64");
    bad(GUEST "pin = 1,2\n", "nosnoop.cfg:1: vm a: pin names 2 CPUs, cpus is 1; make them equal\n");
    bad(GUEST "cpus = 3\npin = 7,5,7\n",
        "nosnoop.cfg:1: vm a is pinned to CPU 7, as vm a is; choose another CPU\n");
    bad(GUEST "pin = 4\n[vm b]\nkernel = k\nserial = none\npin = 4\n",
        "nosnoop.cfg:4: vm b is pinned to CPU 4, as vm a is; choose another CPU\n");
    good(GUEST "pin = 4\n[vm b]\nkernel = k\nserial = none\npin = 5\n");
}

static void too_many_pins(void **state)
{
    (void)state;
    static char text[1024] = GUEST "cpus = 64\npin = 0";
    for (int i = 1; i < 64; i++)
        sprintf(text + strlen(text), ",%d", i);
    good(text);
    assert_int_equal(config.vms[0].pin_count, 64);
    assert_int_equal(config.vms[0].pin[63], 63);
    strcat(text, ",64");
    bad(text,
        "nosnoop.cfg:4: bad value \"0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16\" of pin; write at "
        "most 64 CPU numbers of 0 to 255, as in 2,3\n");
    assert_int_equal(config.vms[0].pin_count, 0);
}

static void shared_ports(void **state)
{
    (void)state;
    bad(GUEST "serial = com2\n",
        "nosnoop.cfg:1: vm a has com2, where the log goes; write serial = log\n");
    bad("[host]\nlog = com1\n" GUEST,
        "nosnoop.cfg:3: vm a has com1, where the log goes; write serial = log\n");
    bad("[host]\nlog = 0x3f8\n" GUEST,
        "nosnoop.cfg:3: vm a has com1, where the log goes; write serial = log\n");
    good("[host]\nlog = com1\n" GUEST "serial = com2\n");
    good("[host]\nlog = none\n" GUEST "serial = com2\n");
    good("[host]\nlog = none\n" GUEST "serial = none\n");
    bad(GUEST "[vm b]\nkernel = k\n",
        "nosnoop.cfg:3: vm b has com1, as vm a has; write serial = log\n");
    good("[host]\nlog=none\n" GUEST "[vm b]\nkernel=k\nserial=com2\n");
    good(GUEST "serial=log\n[vm b]\nkernel=k\nserial=log\n[vm c]\nkernel=k\nserial=none\n"
               "[vm d]\nkernel=k\nserial=none\n");
    bad("[host]\nlog = com3\n" GUEST,
        "nosnoop.cfg:2: bad value \"com3\" of log; write com1, com2, none or the first of a UART's "
        "8 ports, as in 0x3e8\n");
    static const char *const logs[] = {"0x3e9", "0x10000", "0", "7", "log", "0xfffc"};
    for (size_t i = 0; i < ARRAY_SIZE(logs); i++) {
        char text[64];
        snprintf(text, sizeof(text), "[host]\nlog = %s\n" GUEST, logs[i]);
        assert_int_equal(parse_bytes(text, strlen(text)), -22);
    }
    good("[host]\nlog = 0xfff8\n" GUEST);
    good("[host]\nlog = 8\n" GUEST);
}

static void regions(void **state)
{
    (void)state;
    good(GUEST "region = 0xd0000000+16M wc\nregion = 1G+4K  uc\nregion=0+4K wt\nregion=4K+4K wp\n"
               "region = 0x100000000+0xffff00000000 wb\n");
    const struct config_region *region = config.vms[0].regions;
    assert_int_equal(config.vms[0].region_count, 5);
    assert_int_equal(region[0].start, 0xd0000000);
    assert_int_equal(region[0].size, 0x1000000);
    assert_int_equal(region[0].type, MT_WC);
    assert_int_equal(region[0].line, 3);
    assert_int_equal(region[1].start, 0x40000000);
    assert_int_equal(region[1].type, MT_UC);
    assert_int_equal(region[2].type, MT_WT);
    assert_int_equal(region[3].type, MT_WP);
    assert_int_equal(region[3].start, 0x1000);
    assert_int_equal(region[4].size, 0xffff00000000);
    assert_int_equal(region[4].type, MT_WB);
    bad_key("region = 0+4K uc-",
            "bad value \"uc-\" of the region's type; write one of: uc, wc, wt, wp, wb");
    bad_key("region = 0+4K",
            "bad value \"\" of the region's type; write one of: uc, wc, wt, wp, wb");
    bad_key("region = 0+4K uc wc",
            "bad value \"uc wc\" of the region's type; write one of: uc, wc, wt, wp, wb");
    bad(GUEST "region = 64K+8K uc\nregion = 56K+8K wc\nregion = 68K+4K uc\nregion = 60K+16K wb\n"
              "region = 72K+4K uc\n[vm b]\nkernel = k\nserial = log\nregion = 64K+8K wb\n",
        "nosnoop.cfg:5: region \"68K+4K uc\" overlaps that of line 3; keep them apart\n"
        "nosnoop.cfg:6: region \"60K+16K wb\" overlaps that of line 3; keep them apart\n");
    bad_key("region = 0-4K uc", "bad value \"0-4K uc\" of region; write START+SIZE TYPE, as in "
                                "0xd0000000+16M wc");
    static const char *const places[] = {
        "0x800+4K",
        "4K+2K",
        "4K+0",
        "0x1000+0x1000000000000",
        "0x2000000000000+4K",
        "0xfffffffffffff000+4K",
        "0x1000+0xfffffffffffff000",
    };
    for (size_t i = 0; i < ARRAY_SIZE(places); i++) {
        char line[64], log[128];
        snprintf(line, sizeof(line), "region = %s uc", places[i]);
        snprintf(log, sizeof(log),
                 "region \"%s uc\" is not of whole pages below 2^48; write multiples of 4K",
                 places[i]);
        bad_key(line, log);
    }
    bad(GUEST "region=0+4K uc\nregion=4K+4K uc\nregion=8K+4K uc\nregion=12K+4K uc\n"
              "region=16K+4K uc\nregion=20K+4K uc\nregion=24K+4K uc\nregion=28K+4K uc\n"
              "region=32K+4K uc\n",
        "nosnoop.cfg:11: more than 8 regions; remove one\n");
}

static void devices(void **state)
{
    (void)state;
    good(GUEST "device = 00:1f.7\ndevice = ABcd:fe:02.1  dma=auto \t bar0=wc\n");
    const struct config_device *device = config.vms[0].devices;
    assert_int_equal(config.vms[0].device_count, 2);
    assert_int_equal(device[0].segment, 0);
    assert_int_equal(device[0].bus, 0);
    assert_int_equal(device[0].device, 0x1f);
    assert_int_equal(device[0].function, 7);
    assert_int_equal(device[0].dma, DMA_AUTO);
    for (unsigned i = 0; i < CONFIG_BARS; i++)
        assert_int_equal(device[0].bar[i], CONFIG_NOT_GIVEN);
    assert_int_equal(device[0].intx, CONFIG_NOT_GIVEN);
    assert_int_equal(device[0].no_reset + device[0].map_rmrr, 0);
    assert_int_equal(device[1].segment, 0xabcd);
    assert_int_equal(device[1].bus, 0xfe);
    assert_int_equal(device[1].device, 2);
    assert_int_equal(device[1].function, 1);
    assert_int_equal(device[1].line, 4);
    assert_int_equal(device[1].dma, DMA_AUTO);
    assert_int_equal(device[1].bar[0], MT_WC);
    assert_int_equal(device[1].bar[1], CONFIG_NOT_GIVEN);
    static const char *const values[] = {
        "00:20.0",    "00:1f.8",   "0:1f.0",  "00:1f",   "00:1f.",   "00:1f.00",   "00.1f.0",
        "00000:00.0", "000:00:00", "g0:00.0", "00:00:0", "00:1f.0x", "00:00:00.0",
    };
    for (size_t i = 0; i < ARRAY_SIZE(values); i++) {
        char line[64], log[128];
        snprintf(line, sizeof(line), "device = %s", values[i]);
        snprintf(log, sizeof(log),
                 "bad value \"%s\" of device; write [SSSS:]BB:DD.F in hexadecimal, as in 00:1f.2",
                 values[i]);
        bad_key(line, log);
    }
    bad(GUEST "device = 00:1f.7 dma=coherent\ndevice = 0000:00:1f.7\n",
        "nosnoop.cfg:4: the device of line 3 a second time; remove one\n");
    bad(GUEST "device = 1:2.3\ndevice = 01:02.3\n[vm b]\nkernel = k\nserial = log\n"
              "device = 01:02.4\ndevice = 0001:01:02.3\ndevice = 01:02.3 intx=1\n",
        "nosnoop.cfg:3: bad value \"1:2.3\" of device; write [SSSS:]BB:DD.F in hexadecimal, as in "
        "00:1f.2\n"
        "nosnoop.cfg:10: the device of line 4 a second time; remove one\n");
    bad("[host]\niommu = off\n" GUEST "device = 00:01.0\n",
        "nosnoop.cfg:3: vm a has a device, and iommu is off; write iommu = on\n");
    good("[host]\niommu = unsafe-identity\n" GUEST "device = 00:01.0\ndevice = 00:02.0\n"
         "[vm b]\nkernel = k\nserial = none\n");
    assert_true(config_at_own_addresses(&config, &config.vms[0]));
    assert_false(config_at_own_addresses(&config, &config.vms[1]));
    bad("[host]\niommu = unsafe-identity\n" GUEST "device = 00:01.0\n"
        "[vm b]\nkernel = k\nserial = none\ndevice = 00:02.0\n",
        "nosnoop.cfg:6: vm b has a device, as has vm a: with iommu = unsafe-identity only one VM "
        "can be where devices find it; give it all, or write iommu = on\n");
    good(GUEST "device = 00:01.0\n[vm b]\nkernel = k\nserial = none\ndevice = 00:02.0\n");
    assert_false(config_at_own_addresses(&config, &config.vms[0]));
    bad(GUEST "device=00:01.0\ndevice=00:02.0\ndevice=00:03.0\ndevice=00:04.0\ndevice=00:05.0\n"
              "device=00:06.0\ndevice=00:07.0\ndevice=00:08.0\ndevice=00:09.0\n",
        "nosnoop.cfg:11: more than 8 devices; remove one\n");
}

static void device_options(void **state)
{
    (void)state;
    good(GUEST "device = 00:01.0 dma=coherent bar0=uc bar1=wc bar2=wt bar3=wp bar4=wb bar5=uc "
               "intx=0 reset=none rmrr=map\n"
               "device = 00:02.0\trmrr=map dma=non-coherent\t intx=1023 bar5=wb\n"
               "device = 00:03.0 intx=0x10\n");
    const struct config_device *device = config.vms[0].devices;
    static const uint16_t bars[CONFIG_BARS] = {MT_UC, MT_WC, MT_WT, MT_WP, MT_WB, MT_UC};
    assert_int_equal(device[0].dma, DMA_COHERENT);
    assert_memory_equal(device[0].bar, bars, sizeof(bars));
    assert_int_equal(device[0].intx, 0);
    assert_int_equal(device[0].no_reset, 1);
    assert_int_equal(device[0].map_rmrr, 1);
    assert_int_equal(device[1].dma, DMA_NON_COHERENT);
    assert_int_equal(device[1].bar[0], CONFIG_NOT_GIVEN);
    assert_int_equal(device[1].bar[5], MT_WB);
    assert_int_equal(device[1].intx, 1023);
    assert_int_equal(device[1].no_reset, 0);
    assert_int_equal(device[1].map_rmrr, 1);
    assert_int_equal(device[2].intx, 16);
}

static void bad_device_options(void **state)
{
    (void)state;
#define DEVICE "device = 00:01.0 "
    bad_key(DEVICE "dma=snoop",
            "bad value \"snoop\" of dma; write one of: auto, coherent, non-coherent");
    bad_key(DEVICE "dma=", "bad value \"\" of dma; write one of: auto, coherent, non-coherent");
    bad_key(DEVICE "bar1=uc-", "bad value \"uc-\" of bar1; write one of: uc, wc, wt, wp, wb");
    bad_key(DEVICE "intx=1024", "bad value \"1024\" of intx; write a number up to 1023");
    bad_key(DEVICE "intx=18446744073709551616",
            "bad value \"18446744073709551616\" of intx; write a number up to 1023");
    bad_key(DEVICE "intx=", "bad value \"\" of intx; write a number up to 1023");
    bad_key(DEVICE "reset=flr", "bad value \"flr\" of reset; write one of: none");
    bad_key(DEVICE "rmrr=yes", "bad value \"yes\" of rmrr; write one of: map");
    bad_key(DEVICE "bar0=wc dma=auto bar0=wc", "bar0 a second time for this device; remove one");
    static const char *const values[] = {"bar6=uc", "bar=uc", "uc", "=", "DMA=auto", "iommu=on"};
    for (size_t i = 0; i < ARRAY_SIZE(values); i++) {
        char line[64], log[160];
        snprintf(line, sizeof(line), DEVICE "%s", values[i]);
        snprintf(log, sizeof(log),
                 "unknown option \"%s\" of a device; write dma=, bar0= to bar5=, intx=, reset=none "
                 "or rmrr=map",
                 values[i]);
        bad_key(line, log);
    }
    bad_key(DEVICE "dma", "bad value \"\" of dma; write one of: auto, coherent, non-coherent");
    bad_key(DEVICE "intx =1",
            "bad value \"\" of intx; write a number up to 1023\n"
            "nosnoop.cfg:3: unknown option \"=1\" of a device; write dma=, bar0= to bar5=, intx=, "
            "reset=none or rmrr=map");
}

static void unknown_keys(void **state)
{
    (void)state;
    bad_key("memroy = 1M", "unknown key \"memroy\" in [vm]; write memory");
    bad_key("kernal = x", "unknown key \"kernal\" in [vm]; write kernel");
    bad_key("on-reset = stop", "unknown key \"on-reset\" in [vm]; write on_reset");
    bad_key("memry = 1M", "unknown key \"memry\" in [vm]; write memory");
    bad_key("memoryyy = 1M", "unknown key \"memoryyy\" in [vm]; write memory");
    bad_key("ins = 1", "unknown key \"ins\" in [vm]; write pin");
    bad_key("iommu = on", "\"iommu\" is no key of [vm]; move it to [host]");
    bad("[host]\nmemory = 1M\n" GUEST,
        "nosnoop.cfg:2: \"memory\" is no key of [host]; move it to [vm]\n");
    bad("[host]\nxy = 1\n" GUEST, "nosnoop.cfg:2: unknown key \"xy\" in [host]; write one of: log, "
                                  "cpus, iommu, on_end, dangerous\n");
    bad_key(
        "a_very_long_key_that_nobody_knows_and_that_is_cut = 1",
        "unknown key \"a_very_long_key_that_nobody_knows_and_th\" in [vm]; write one of: kernel, "
        "cmdline, module, memory, cpus, pin, serial, policy, mtrr, pat, cd, mmio, report, "
        "reset, region, device, control, on_reset, unmapped, apic");
    bad_key("Memory = 1M", "unknown key \"Memory\" in [vm]; write memory");
}

static void bad_values(void **state)
{
    (void)state;
    bad_key("serial = com3", "bad value \"com3\" of serial; write one of: com1, com2, log, none");
    bad_key("serial = com", "bad value \"com\" of serial; write one of: com1, com2, log, none");
    bad_key("serial = none # no port",
            "bad value \"none # no port\" of serial; write one of: com1, com2, log, none");
    bad_key("cd = vieww", "bad value \"vieww\" of cd; write one of: view, hw, ignore, pat-uc, "
                          "uc-ipat, wb-ipat");
    bad_key("apic = yes", "bad value \"yes\" of apic; write one of: hardware, software");
    bad_key("control = true", "bad value \"true\" of control; write one of: no, yes");
    bad("[vm a]\nkernel = a b\n",
        "nosnoop.cfg:2: \"b\" after the name in kernel; write one name without blanks\n");
    bad_key("policy =", "policy has no value; write policy = VALUE");
    bad_key("module = \t", "module has no value; write module = VALUE");
    bad_key("memory", "no = in \"memory\"; write KEY = VALUE");
    bad_key("= 1", "unknown key \"\" in [vm]; write one of: kernel, cmdline, module, memory, cpus, "
                   "pin, serial, policy, mtrr, pat, cd, mmio, report, reset, region, device, "
                   "control, on_reset, unmapped, apic");
    bad_key("kernel = again", "kernel a second time in this section; remove one");
    assert_string_equal(config.vms[0].kernel, "k");
    bad("[host]\nlog = none\nlog = none\n" GUEST,
        "nosnoop.cfg:3: log a second time in this section; remove one\n");
    bad("[host]\non_end = off\n" GUEST, "nosnoop.cfg:2: bad value \"off\" of on_end; write one of: "
                                        "halt, reset, poweroff\n");
}

static void lengths(void **state)
{
    (void)state;
    static char name[300], text[700];
    memset(name, 'x', sizeof(name));
    name[255] = '\0';
    snprintf(text, sizeof(text), GUEST "cmdline = %s\nmodule = f %s\n", name, name);
    good(text);
    assert_string_equal(config.vms[0].cmdline, name);
    assert_string_equal(config.vms[0].modules[0].string, name);
    name[255] = 'x';
    name[256] = '\0';
    snprintf(text, sizeof(text), GUEST "cmdline = %s\nmodule = f %s\n", name, name);
    bad(text, "nosnoop.cfg:3: cmdline is 256 bytes long; shorten it to at most 255\n"
              "nosnoop.cfg:4: the module's string is 256 bytes long; shorten it to at most 255\n");
    snprintf(text, sizeof(text), GUEST "device = 00:01.0 %.255s\n", name);
    bad(text, "nosnoop.cfg:3: unknown option \"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\" of a "
              "device; write dma=, bar0= to bar5=, intx=, reset=none or rmrr=map\n");
    snprintf(text, sizeof(text), "[vm %.31s]\nkernel = %.63s\n", name, name);
    good(text);
    assert_memory_equal(config.vms[0].kernel, name, 63);
    assert_int_equal(config.vms[0].kernel[63], '\0');
    snprintf(text, sizeof(text), "[vm %.32s]\nkernel = %.64s\nmodule = %.64s\n", name, name, name);
    bad(text, "nosnoop.cfg:1: the VM's name is 32 bytes long; shorten it to at most 31\n"
              "nosnoop.cfg:2: kernel is 64 bytes long; shorten it to at most 63\n"
              "nosnoop.cfg:3: the module's file is 64 bytes long; shorten it to at most 63\n");
}

static void sections(void **state)
{
    (void)state;
    bad(GUEST "[host]\nlog = com2\n[host]\ncpus = 1\n",
        "nosnoop.cfg:5: a second [host]; move its keys to the one in line 3\n");
    bad(GUEST GUEST "serial = none\n",
        "nosnoop.cfg:3: a second vm a, after that in line 1; give it another name\n");
    bad("[vm]\nkernel = k\n", "nosnoop.cfg:1: a [vm] without a name; write [vm NAME]\n");
    bad("[vm a b]\nkernel = k\n",
        "nosnoop.cfg:1: bad VM name \"a b\"; write letters, digits, - _ and .\n");
    bad(GUEST "[host x]\nnonsense\n",
        "nosnoop.cfg:3: unknown section \"[host x]\"; write [host] or [vm NAME]\n");
    bad(GUEST "[guest]\nnonsense\n",
        "nosnoop.cfg:3: unknown section \"[guest]\"; write [host] or [vm NAME]\n");
    bad(GUEST "[]\n", "nosnoop.cfg:3: unknown section \"[]\"; write [host] or [vm NAME]\n");
    bad(GUEST "[host\n", "nosnoop.cfg:3: bad section \"[host\"; write [host] or [vm NAME]\n");
    bad(GUEST "[\n", "nosnoop.cfg:3: bad section \"[\"; write [host] or [vm NAME]\n");
    bad(GUEST "[host] x\n", "nosnoop.cfg:3: bad section \"[host] x\"; write [host] or [vm NAME]\n");
    bad(GUEST "[vm b]\n[vm c]\nserial = log\n",
        "nosnoop.cfg:3: vm b has no kernel; add kernel = FILE\n"
        "nosnoop.cfg:3: vm b has com1, as vm a has; write serial = log\n"
        "nosnoop.cfg:4: vm c has no kernel; add kernel = FILE\n");
    bad("log = com1\n" GUEST,
        "nosnoop.cfg:1: \"log\" before any section; begin with [host] or [vm NAME]\n");
}

static void too_many_vms(void **state)
{
    (void)state;
    static char text[1024] = "";
    for (int i = 1; i <= 8; i++)
        sprintf(text + strlen(text), "[vm %d]\nkernel=k\nserial=log\n", i);
    good(text);
    assert_int_equal(config.vm_count, 8);
    assert_string_equal(config.vms[7].name, "8");
    strcat(text, "[vm 9]\nkernel=k\nserial=log\nnonsense\n");
    bad(text, "nosnoop.cfg:25: more than 8 VMs; remove one\n");
    assert_int_equal(config.vm_count, 8);
}

static void no_guest(void **state)
{
    (void)state;
    static const char log[] = "no guest: there is no [vm] section; add a [vm NAME] section with "
                              "kernel = FILE\n";
    char expected[128];
    static const char *const texts[] = {"", "\n", "# nothing", "\xef\xbb\xbf",
                                        "[host]\nlog = none\n"};
    static const int lines[] = {1, 1, 1, 1, 2};
    for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
        snprintf(expected, sizeof(expected), "nosnoop.cfg:%d: %s", lines[i], log);
        bad(texts[i], expected);
    }
}

static void binary(void **state)
{
    (void)state;
    static const char nul[] = "[vm a]\nkernel = k\0x\nserial = \x80\ncmdline = a\rb\n";
    assert_int_equal(parse_bytes(nul, sizeof(nul) - 1), -22);
    assert_string_equal(host_log, "nosnoop.cfg:2: byte 0x00 in column 11; write plain ASCII text\n"
                                  "nosnoop.cfg:3: byte 0x80 in column 10; write plain ASCII text\n"
                                  "nosnoop.cfg:4: byte 0x0d in column 12; write plain ASCII text\n"
                                  "nosnoop.cfg:1: vm a has no kernel; add kernel = FILE\n");
    static const char gzip[] = "\x1f\x8b\x08\x00\x00";
    assert_int_equal(parse_bytes(gzip, sizeof(gzip) - 1), -22);
    assert_non_null(strstr(host_log, "nosnoop.cfg:1: byte 0x1f in column 1;"));
    bad(GUEST "cmdline = \x7f\n",
        "nosnoop.cfg:3: byte 0x7f in column 11; write plain ASCII text\n");
}

/* 20 problems are told, the others counted. */
static void many_problems(void **state)
{
    (void)state;
    static char text[1024] = GUEST, expected[4096] = "";
    for (int i = 0; i < 20; i++) {
        strcat(text, "cpus\n");
        sprintf(expected + strlen(expected),
                "nosnoop.cfg:%d: no = in \"cpus\"; write KEY = VALUE\n", i + 3);
    }
    bad(text, expected);
    strcat(text, "cpus\n");
    strcat(expected, "nosnoop.cfg:23: 21 problems in all; mend the first 20 to see the others\n");
    bad(text, expected);
}

/* Cut anywhere, and with any byte changed, it answers and stays inside its bounds. */
static void hostile(void **state)
{
    (void)state;
    static const char text[] =
        "[host]\r\nlog=0x3e8\ncpus=4\n[vm a]\nkernel=k\nmemory=512M\ncpus=2\n"
        "pin=2,3\nmodule=f s\nregion=0x1000+4K wc\n"
        "device=0000:00:01.0 dma=auto\n";
    char changed[sizeof(text)];
    uint64_t seed = 1;
    for (size_t n = 0; n < sizeof(text); n++)
        parse_bytes(text, n);
    for (unsigned i = 0; i < 20000; i++) {
        memcpy(changed, text, sizeof(text));
        for (unsigned k = 0; k < 3; k++)
            changed[host_random(&seed) % (sizeof(text) - 1)] = (char)host_random(&seed);
        int result = parse_bytes(changed, sizeof(text) - 1);
        assert_true(result == 0 || result == -22);
        assert_int_equal(result == 0, host_log[0] == '\0');
    }
}

/* --- config_check_supported() ----------------------------------------------------------------- */

static void supported(const char *text)
{
    good(text);
    assert_int_equal(config_check_supported(&config), 0);
    assert_string_equal(host_log, "");
}

static void unsupported(const char *text, const char *log)
{
    good(text);
    assert_int_equal(config_check_supported(&config), -22);
    assert_string_equal(host_log, log);
}

static void what_is_supported(void **state)
{
    (void)state;
    supported(GUEST);
    supported("[host]\nlog=none\ncpus=64\ndangerous=yes\niommu=off\non_end=reset\n" GUEST
              "cmdline=x\nmodule=m\nmemory=3G\ncpus=1\npin=0\nserial=com2\ncontrol=yes\n"
              "on_reset=restart\nunmapped=stop\napic=software\n");
    supported(GUEST "policy = exact\nmtrr = guest\npat = ignore\ncd = ignore\nmmio = uc\n"
                    "report = stored\nreset = architectural\nregion = 0+4K uc\n");
    supported("[host]\ndangerous = yes\n" GUEST "policy = xen\ncd = wb-ipat\nmmio = guest\n"
              "report = hidden\n");
    supported("[host]\niommu = unsafe-identity\n" GUEST "device = 00:01.0\n");
    supported("[host]\nlog=0x3e8\ncpus=all\niommu=on\non_end=halt\n" GUEST "serial=log\n");
    supported(GUEST "device = 00:01.0 dma=auto bar0=wc intx=16 reset=none rmrr=map\n");
    supported(GUEST "pin = 1\n[vm b]\nkernel = k\nserial = none\n");
}

static void what_is_not(void **state)
{
    (void)state;
    unsupported("[host]\ncpus = 65\n" GUEST, "nosnoop.cfg:1: host: more than 64 CPUs is not "
                                             "supported yet; write cpus = all\n");
    unsupported("\n[host]\non_end = poweroff\n" GUEST,
                "nosnoop.cfg:2: host: on_end = poweroff is not supported yet; write on_end = halt "
                "or reset\n");
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults),        cmocka_unit_test(all_host_keys),
        cmocka_unit_test(all_vm_keys),     cmocka_unit_test(all_words),
        cmocka_unit_test(policies),        cmocka_unit_test(names_of_files),
        cmocka_unit_test(device_options),  cmocka_unit_test(bad_device_options),
        cmocka_unit_test(modules),         cmocka_unit_test(memory_sizes),
        cmocka_unit_test(numbers_of_cpus), cmocka_unit_test(pins),
        cmocka_unit_test(too_many_pins),   cmocka_unit_test(shared_ports),
        cmocka_unit_test(regions),         cmocka_unit_test(devices),
        cmocka_unit_test(unknown_keys),    cmocka_unit_test(bad_values),
        cmocka_unit_test(lengths),         cmocka_unit_test(sections),
        cmocka_unit_test(too_many_vms),    cmocka_unit_test(no_guest),
        cmocka_unit_test(binary),          cmocka_unit_test(many_problems),
        cmocka_unit_test(hostile),         cmocka_unit_test(what_is_supported),
        cmocka_unit_test(what_is_not),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
