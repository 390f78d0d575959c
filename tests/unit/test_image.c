/* vmm/image.c on images laid by hand: offsets are those of the Multiboot Specification 0.6.96 and
 * the ELF ABI. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include <stdio.h>

#include "tests/unit/host.h"
#include "vmm/image.h"

enum { FILE_SIZE = 0x3000 };

static uint8_t bytes[FILE_SIZE + 8];
static struct image_plan plan;

static const struct range ram64m = {0, 0x4000000};

static void put16(unsigned at, unsigned v)
{
    bytes[at] = (uint8_t)v;
    bytes[at + 1] = (uint8_t)(v >> 8);
}

static void put32(unsigned at, uint32_t v)
{
    put16(at, v & 0xffff);
    put16(at + 2, v >> 16);
}

static void put64(unsigned at, uint64_t v)
{
    put32(at, (uint32_t)v);
    put32(at + 4, (uint32_t)(v >> 32));
}

static uint32_t get32(const uint8_t *at)
{
    return (uint32_t)at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
}

static void read_bytes(const struct image_file *file, uint64_t offset, void *to, size_t n)
{
    assert_true(n <= file->size && offset <= file->size - n);
    memcpy(to, bytes + offset, n);
}

static int plan_sized(uint64_t size)
{
    struct image_file file = {"k", size, read_bytes, NULL};
    memset(&plan, 0xa5, sizeof(plan));
    host_log_reset();
    return image_plan(&file, &ram64m, 1, &plan);
}

static void good(void)
{
    assert_int_equal(plan_sized(FILE_SIZE), 0);
    assert_string_equal(host_log, "");
}

/* The file of SIZE bytes is refused with ERROR and exactly the log line "guest image k: LOG". */
static void bad_sized(uint64_t size, int error, const char *log)
{
    char expected[256];
    snprintf(expected, sizeof(expected), "guest image k: %s\n", log);
    assert_int_equal(plan_sized(size), error);
    assert_string_equal(host_log, expected);
}

static void bad(int error, const char *log)
{
    bad_sized(FILE_SIZE, error, log);
}

static void expect_segment(unsigned i, uint64_t offset, uint64_t file_size, uint64_t at,
                           uint64_t mem_size)
{
    assert_true(i < plan.count);
    assert_int_equal(plan.segments[i].offset, offset);
    assert_int_equal(plan.segments[i].file_size, file_size);
    assert_int_equal(plan.segments[i].gpa.v, at);
    assert_int_equal(plan.segments[i].mem_size, mem_size);
}

/* A multiboot header without address fields. */
static void lay_header(unsigned at, uint32_t flags)
{
    put32(at, 0x1badb002);
    put32(at + 4, flags);
    put32(at + 8, 0u - 0x1badb002u - flags);
}

/* ELF32 of one segment: file 1000h-17FFh at 1 MiB, 2000h bytes in memory. */
static void lay_elf32(void)
{
    memset(bytes, 0, sizeof(bytes));
    put32(0, 0x464c457f);
    bytes[4] = 1;             /* EI_CLASS: 32 bits */
    bytes[5] = 1;             /* EI_DATA: little endian */
    bytes[6] = 1;             /* EI_VERSION */
    put16(16, 2);             /* e_type: ET_EXEC */
    put16(18, 3);             /* e_machine: EM_386 */
    put32(20, 1);             /* e_version */
    put32(24, 0x100010);      /* e_entry */
    put32(28, 52);            /* e_phoff */
    put16(42, 32);            /* e_phentsize */
    put16(44, 1);             /* e_phnum */
    put32(52, 1);             /* p_type: PT_LOAD */
    put32(52 + 4, 0x1000);    /* p_offset */
    put32(52 + 8, 0x100000);  /* p_vaddr */
    put32(52 + 12, 0x100000); /* p_paddr */
    put32(52 + 16, 0x800);    /* p_filesz */
    put32(52 + 20, 0x2000);   /* p_memsz */
    lay_header(0x1000, 0);
}

static void lay_phdr64(unsigned i, uint64_t offset, uint64_t vaddr, uint64_t paddr, uint64_t filesz,
                       uint64_t memsz)
{
    unsigned at = 64 + 56 * i;
    put32(at, 1);
    put64(at + 8, offset);
    put64(at + 16, vaddr);
    put64(at + 24, paddr);
    put64(at + 32, filesz);
    put64(at + 40, memsz);
    put16(56, i + 1); /* e_phnum */
}

/* ELF64 without segments, entered at ENTRY. */
static void lay_elf64(uint64_t entry)
{
    memset(bytes, 0, sizeof(bytes));
    put32(0, 0x464c457f);
    bytes[4] = 2;
    bytes[5] = 1;
    bytes[6] = 1;
    put16(16, 2);
    put16(18, 62); /* EM_X86_64 */
    put32(20, 1);
    put64(24, entry);
    put64(32, 64); /* e_phoff */
    put16(54, 56); /* e_phentsize */
    lay_header(0x400, 0);
}

/* Address fields, in a header at AT. */
static void lay_addresses(unsigned at, uint32_t header, uint32_t load, uint32_t load_end,
                          uint32_t bss_end, uint32_t entry)
{
    memset(bytes, 0, sizeof(bytes));
    lay_header(at, 0x10000);
    put32(at + 12, header);
    put32(at + 16, load);
    put32(at + 20, load_end);
    put32(at + 24, bss_end);
    put32(at + 28, entry);
}

static void elf32(void **state)
{
    (void)state;
    lay_elf32();
    good();
    assert_int_equal(plan.count, 1);
    expect_segment(0, 0x1000, 0x800, 0x100000, 0x2000);
    assert_int_equal(plan.entry, 0x100010);
    assert_int_equal(plan.end, 0x102000);
    assert_false(plan.page_align_modules);
    put16(18, 62);
    good();
    put16(42, 40); /* larger program headers: what is behind the known fields is passed over */
    good();
}

static void elf64(void **state)
{
    (void)state;
    lay_elf64(0x200004);
    lay_phdr64(0, 0x400, 0x300000, 0x300000, 0, 0x1234); /* bss alone */
    lay_phdr64(1, 0x1000, 0x200000, 0x200000, 0x1000, 0x1000);
    lay_phdr64(2, 0, 0x200000, 0x200000, 0, 0);         /* empty: nothing */
    lay_phdr64(3, 0, 0x200000, 0x200000, 0x800, 0x800); /* not PT_LOAD */
    put32(64 + 3 * 56, 4);
    good();
    assert_int_equal(plan.count, 2);
    assert_int_equal(plan.segments[0].file_size, 0);
    assert_int_equal(plan.segments[0].mem_size, 0x1234);
    expect_segment(1, 0x1000, 0x1000, 0x200000, 0x1000);
    assert_int_equal(plan.entry, 0x200004);
    assert_int_equal(plan.end, 0x301234);
    put16(18, 3); /* EM_386 */
    good();
}

/* A virtual entry becomes the physical one of its segment; where no segment has it, it is physical.
 */
static void virtual_entry(void **state)
{
    (void)state;
    lay_elf64(0xffffffff80201ffc);
    lay_phdr64(0, 0x400, 0xffffffff80100000, 0x100000, 0x10, 0x1000);
    lay_phdr64(1, 0x400, 0xffffffff80200000, 0x180000, 0x10, 0x1ffd);
    good();
    assert_int_equal(plan.entry, 0x181ffc);
    put64(24, 0x100008);
    good();
    assert_int_equal(plan.entry, 0x100008);
    put64(24, 0xffffffff80201ffd);
    bad(-8, "its entry 0xffffffff80201ffd is not in a segment below 4 GiB; correct the entry");
    put64(24, 0xffffffff800fffff);
    bad(-8, "its entry 0xffffffff800fffff is not in a segment below 4 GiB; correct the entry");
    /* Both a virtual address of one and a physical one of the other: virtual wins. */
    lay_elf64(0x200010);
    lay_phdr64(0, 0x400, 0x200000, 0x100000, 0x100, 0x100);
    lay_phdr64(1, 0x400, 0x900000, 0x200000, 0x100, 0x100);
    good();
    assert_int_equal(plan.entry, 0x100010);
    /* Two segments have it: the first. */
    lay_phdr64(1, 0x400, 0x200000, 0x300000, 0x100, 0x100);
    good();
    assert_int_equal(plan.entry, 0x100010);
    /* A virtual range that wraps has nothing at its other end. */
    lay_elf64(0x500);
    lay_phdr64(0, 0x400, 0xfffffffffffff000, 0x100000, 0x10, 0x2000);
    lay_phdr64(1, 0x400, 0x800000, 0, 0x10, 0x1000);
    good();
    assert_int_equal(plan.entry, 0x500);
}

static void bad_entries(void **state)
{
    (void)state;
    lay_elf32();
    put32(24, 0x101fff);
    good();
    put32(24, 0x102000);
    bad(-8, "its entry 0x102000 is not in a segment below 4 GiB; correct the entry");
    put32(24, 0xfffff);
    bad(-8, "its entry 0xfffff is not in a segment below 4 GiB; correct the entry");
    lay_elf64(0x100100000);
    lay_phdr64(0, 0x400, 0x100000, 0x100000, 0x10, 0x1000);
    bad(-8, "its entry 0x100100000 is not in a segment below 4 GiB; correct the entry");
    lay_elf64(UINT64_MAX);
    lay_phdr64(0, 0x400, 0x100000, 0x100000, 0x10, 0x1000);
    bad(-8, "its entry 0xffffffffffffffff is not in a segment below 4 GiB; correct the entry");
    lay_addresses(0, 0x100000, 0x100000, 0, 0, 0x103000);
    bad(-8, "its entry 0x103000 is not in a segment below 4 GiB; correct the entry");
}

/* A segment and an entry above 4 GiB, in RAM. */
static void above_4g(void **state)
{
    (void)state;
    static const struct range ram[] = {{0, 0xc0000000}, {0x100000000, 0x140000000}};
    struct image_file file = {"k", FILE_SIZE, read_bytes, NULL};
    lay_elf64(0x100000010);
    lay_phdr64(0, 0x400, 0x100000000, 0x100000000, 0x10, 0x1000);
    host_log_reset();
    assert_int_equal(image_plan(&file, ram, 2, &plan), -8);
    assert_string_equal(host_log,
                        "guest image k: its entry 0x100000010 is not in a segment below 4 "
                        "GiB; correct the entry\n");
    lay_phdr64(1, 0x400, 0xbffff000, 0xbffff000, 0x10, 0x1000);
    put64(24, 0xbffffffc);
    assert_int_equal(image_plan(&file, ram, 2, &plan), 0);
    assert_int_equal(plan.entry, 0xbffffffc);
    assert_int_equal(plan.end, 0x100001000);
    lay_phdr64(1, 0x400, 0xbffff000, 0xbffff000, 0x10, 0x40002000); /* over the hole */
    assert_int_equal(image_plan(&file, ram, 2, &plan), -7);
}

static void bad_elf_headers(void **state)
{
    (void)state;
    lay_elf32();
    bytes[0] = 0;
    bad(-8, "neither ELF nor address fields (header flags bit 16); link it as ELF");
    lay_elf32();
    bytes[5] = 2; /* big endian */
    bad(-8, "an ELF file of type 2 for machine 3; link an x86 executable (not PIE)");
    lay_elf32();
    put16(16, 3); /* ET_DYN */
    bad(-8, "an ELF file of type 3 for machine 3; link an x86 executable (not PIE)");
    lay_elf32();
    put16(18, 183); /* AArch64 */
    bad(-8, "an ELF file of type 2 for machine 183; link an x86 executable (not PIE)");
    lay_elf32();
    bytes[4] = 3;
    bad(-8, "its ELF header of class 3 is cut; copy it again");
    lay_elf32();
    put16(42, 31);
    bad(-8, "program headers of 31 bytes are too small; link it again");
    lay_elf64(0);
    put16(54, 55);
    bad(-8, "program headers of 55 bytes are too small; link it again");
    lay_elf32();
    put32(52, 2); /* PT_DYNAMIC alone */
    bad(-8, "none of its 1 program headers is to be loaded; link it again");
    lay_elf32();
    put16(44, 0);
    bad(-8, "none of its 0 program headers is to be loaded; link it again");
}

static void truncated(void **state)
{
    (void)state;
    lay_elf32();
    lay_header(0x20, 0); /* over fields of the ELF header that nobody reads, and e_phentsize */
    bad_sized(23, -8, "no multiboot header in the first 8192 bytes; link one there");
    lay_elf32();
    lay_header(0x1000, 0);
    assert_int_equal(plan_sized(0x1800), 0);
    bad_sized(0x17ff, -8,
              "it ends at 0x17ff, before its segment of 0x800 bytes at 0x1000 does; copy "
              "it again");
    bad_sized(0x100b, -8, "no multiboot header in the first 8192 bytes; link one there");
    bad_sized(0, -8, "no multiboot header in the first 8192 bytes; link one there");
    put32(28, 0x1000 - 32 + 0x800);
    memcpy(bytes + 0x17e0, bytes + 52, 32);
    assert_int_equal(plan_sized(0x1800), 0);
    put32(28, 0x17e1);
    bad_sized(0x1800, -8, "its program header 0 lies behind its end; copy it again");
    put32(28, 0xffffffff);
    bad_sized(0x1800, -8, "its program header 0 lies behind its end; copy it again");
    lay_elf64(0x100000);
    put16(56, 1);
    put64(32, 0xffffffffffffffff);
    bad(-8, "its program header 0 lies behind its end; copy it again");
    lay_elf64(0x100000);
    lay_phdr64(0, 0x400, 0x100000, 0x100000, 0x10, 0x1000);
    put16(54, 0xffff);
    put16(56, 2);
    bad(-8, "its program header 1 lies behind its end; copy it again");
    memset(bytes, 0, sizeof(bytes));
    lay_header(0, 0); /* shorter than an ELF header */
    bad_sized(12, -8, "neither ELF nor address fields (header flags bit 16); link it as ELF");
}

static void hostile_segments(void **state)
{
    (void)state;
    lay_elf64(0x100000);
    lay_phdr64(0, 0x400, 0, 0xfffffffffffff000, 0x10, 0x1000);
    bad(-8,
        "a segment of 0x1000 bytes, 0x10 of them in the file, at 0xfffffffffffff000 is malformed; "
        "link it again");
    lay_phdr64(0, 0x400, 0, 0x100000, 0x10, UINT64_MAX);
    bad(-8, "a segment of 0xffffffffffffffff bytes, 0x10 of them in the file, at 0x100000 is "
            "malformed; link it again");
    lay_phdr64(0, 0x400, 0, 0x100000, 0x1001, 0x1000);
    bad(-8,
        "a segment of 0x1000 bytes, 0x1001 of them in the file, at 0x100000 is malformed; link it "
        "again");
    lay_phdr64(0, 0xfffffffffffffff8, 0, 0x100000, 0x10, 0x1000);
    bad(-8,
        "it ends at 0x3000, before its segment of 0x10 bytes at 0xfffffffffffffff8 does; copy it "
        "again");
    lay_phdr64(0, 0xfffffffffffffff8, 0x100000, 0x100000, 0, 0x1000); /* no byte of the file */
    good();
    lay_phdr64(0, 0x400, 0x100000, 0x3fff000, 0x10, 0x1000);
    good();
    lay_phdr64(0, 0x400, 0x100000, 0x3fff000, 0x10, 0x1001);
    bad(-7, "0x3fff000-0x4000000 is not in the guest's RAM; raise memory or link it elsewhere");
    lay_phdr64(0, 0x400, 0x100000, 0x4000000, 0x10, 0x10);
    bad(-7, "0x4000000-0x400000f is not in the guest's RAM; raise memory or link it elsewhere");
    lay_phdr64(0, 0x400, 0x100000, 0x100000, 0x10, 0x1000);
    lay_phdr64(1, 0x400, 0x800000, 0xff001, 0x10, 0x1000);
    bad(-8, "two segments overlap at 0x100000; link it again");
    lay_phdr64(1, 0x400, 0x800000, 0x100fff, 0x10, 0x1000);
    bad(-8, "two segments overlap at 0x100fff; link it again");
    lay_phdr64(1, 0x400, 0x800000, 0x101000, 0x10, 0x1000);
    good();
    lay_phdr64(1, 0x400, 0x800000, 0xff000, 0x10, 0x1000);
    good();
}

static void many_segments(void **state)
{
    (void)state;
    lay_elf64(0x100000);
    lay_header(0x1000, 0);
    for (unsigned i = 0; i < 16; i++)
        lay_phdr64(i, 0, 0x100000 + 0x1000 * i, 0x100000 + 0x1000 * i, 0x10, 0x1000);
    good();
    assert_int_equal(plan.count, 16);
    lay_phdr64(16, 0, 0x110000, 0x110000, 0x10, 0x1000);
    bad(-8, "more than 16 segments; join some");
}

static void addresses(void **state)
{
    (void)state;
    lay_addresses(0x104, 0x200104, 0x200000, 0x201800, 0x204000, 0x200010);
    good();
    assert_int_equal(plan.count, 1);
    expect_segment(0, 0, 0x1800, 0x200000, 0x4000);
    assert_int_equal(plan.entry, 0x200010);
    assert_int_equal(plan.end, 0x204000);
    /* The part of the file before load_addr is left out. */
    lay_addresses(0x104, 0x200004, 0x200000, 0x201800, 0x204000, 0x200010);
    good();
    expect_segment(0, 0x100, 0x1800, 0x200000, 0x4000);
    /* load_end_addr 0: all of the file; bss_end_addr 0: no bss. */
    lay_addresses(0x104, 0x200004, 0x200000, 0, 0, 0x200010);
    good();
    expect_segment(0, 0x100, 0x2f00, 0x200000, 0x2f00);
    lay_addresses(0x104, 0x200004, 0x200000, 0, 0x210000, 0x200010);
    good();
    expect_segment(0, 0x100, 0x2f00, 0x200000, 0x10000);
    lay_addresses(0x104, 0x200004, 0x200000, 0x202f00, 0, 0x200010);
    good();
    expect_segment(0, 0x100, 0x2f00, 0x200000, 0x2f00);
    /* The fields count in an ELF file too. */
    lay_elf32();
    lay_header(0x1000, 0x10000);
    put32(0x1000 + 12, 0x300000);
    put32(0x1000 + 16, 0x300000);
    put32(0x1000 + 28, 0x300020);
    good();
    expect_segment(0, 0x1000, 0x2000, 0x300000, 0x2000);
    assert_int_equal(plan.entry, 0x300020);
}

static void bad_addresses(void **state)
{
    (void)state;
    lay_addresses(0x104, 0x200000, 0x200004, 0, 0, 0x200010);
    bad(-8, "header_addr 0x200000 and load_addr 0x200004 do not agree with a header at 0x104; "
            "correct them");
    lay_addresses(0x104, 0x10, 0xfffffff0, 0, 0, 0x10);
    bad(-8,
        "header_addr 0x10 and load_addr 0xfffffff0 do not agree with a header at 0x104; correct "
        "them");
    lay_addresses(0x104, 0x200108, 0x200000, 0, 0, 0x200010);
    bad(-8, "header_addr 0x200108 and load_addr 0x200000 do not agree with a header at 0x104; "
            "correct them");
    lay_addresses(0, 0x200000, 0x200000, 0x1fffff, 0, 0x200010);
    bad(-8, "load_addr 0x200000 lies above the end addresses; correct them");
    lay_addresses(0, 0x200000, 0x200000, 0, 0x1fffff, 0x200010);
    bad(-8, "load_addr 0x200000 lies above the end addresses; correct them");
    lay_addresses(0, 0x200000, 0x200000, 0x200000, 0, 0x200000);
    bad(-8, "there is nothing to load at 0x200000; correct load_end_addr");
    lay_addresses(0, 0x200000, 0x200000, 0x203001, 0, 0x200010);
    bad(-8, "it ends at 0x3000, before its segment of 0x3001 bytes at 0x0 does; copy it again");
    lay_addresses(0, 0x200000, 0x200000, 0x201000, 0x200fff, 0x200010);
    bad(-8,
        "a segment of 0xfff bytes, 0x1000 of them in the file, at 0x200000 is malformed; link it "
        "again");
    lay_addresses(0, 0x200000, 0x200000, 0, 0x202fff, 0x200010);
    bad(-8,
        "a segment of 0x2fff bytes, 0x3000 of them in the file, at 0x200000 is malformed; link it "
        "again");
    lay_addresses(0, 0xfffff000, 0xfffff000, 0, 0, 0xfffff010);
    bad(-7, "0xfffff000-0x100001fff is not in the guest's RAM; raise memory or link it elsewhere");
}

static void where_headers_are(void **state)
{
    (void)state;
    static const unsigned fine[] = {0x1000, 0x104, 124, 128, 120, 116, 8180};
    for (size_t i = 0; i < ARRAY_SIZE(fine); i++) {
        lay_elf32();
        put32(0x1000, 0);
        put32(28, 0x2800); /* the program header out of the way */
        memcpy(bytes + 0x2800, bytes + 52, 32);
        lay_header(fine[i], 0);
        good();
    }
    static const unsigned wrong[] = {0x1002, 0x1001, 8184, 8188, 8192};
    for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
        lay_elf32();
        put32(0x1000, 0);
        lay_header(wrong[i], 0);
        bad(-8, "no multiboot header in the first 8192 bytes; link one there");
    }
    /* A wrong checksum is passed over, and the next one is found. */
    lay_elf32();
    put32(0x1008, 0x12345678);
    bad(-8, "no multiboot header in the first 8192 bytes; link one there");
    lay_header(0x1010, 1);
    good();
    assert_true(plan.page_align_modules);
    /* With address fields the whole of them lies there. */
    lay_addresses(8160, 0x201fe0, 0x200000, 0, 0, 0x200010);
    good();
    lay_addresses(8164, 0x201fe4, 0x200000, 0, 0, 0x200010);
    bad(-8, "the address fields of its multiboot header are cut at 0x1fe4; move the header up");
    lay_addresses(0x100, 0x200100, 0x200000, 0, 0, 0x200010);
    assert_int_equal(plan_sized(0x120), 0);
    bad_sized(0x11f, -8,
              "the address fields of its multiboot header are cut at 0x100; move the header up");
}

static void header_flags(void **state)
{
    (void)state;
    lay_elf32();
    lay_header(0x1000, 3);
    good();
    assert_true(plan.page_align_modules);
    lay_header(0x1000, 0xfffe0000); /* optional bits that nobody knows */
    good();
    lay_header(0x1000, 4);
    assert_int_equal(plan_sized(FILE_SIZE), 0);
    assert_string_equal(host_log,
                        "guest image k: its wish for a video mode is ignored; there is none\n");
    for (unsigned bit = 3; bit < 16; bit++) {
        char log[128];
        lay_header(0x1000, 1u << bit | 3);
        snprintf(log, sizeof(log),
                 "its multiboot header needs unknown features, flags 0x%x; clear these bits",
                 1u << bit);
        bad(-8, log);
    }
}

/* Whatever three bytes are wrong, no byte outside is read and a plan that is made is sound. */
static void hostile(void **state)
{
    (void)state;
    uint64_t seed = 7;
    for (unsigned i = 0; i < 60000; i++) {
        if (i % 2 == 0) {
            lay_elf32();
        } else {
            lay_elf64(0x100000);
            lay_phdr64(0, 0x400, 0x100000, 0x100000, 0x10, 0x1000);
            lay_phdr64(1, 0x600, 0x102000, 0x102000, 0x10, 0x1000);
        }
        for (unsigned k = 0; k < 3; k++)
            bytes[host_random(&seed) % 176] = (uint8_t)host_random(&seed);
        uint64_t size = i % 5 == 0 ? host_random(&seed) % FILE_SIZE : FILE_SIZE;
        if (plan_sized(size) != 0)
            continue;
        for (unsigned k = 0; k < plan.count; k++) {
            const struct image_segment *s = &plan.segments[k];
            assert_true(s->file_size <= s->mem_size);
            assert_true(s->gpa.v + s->mem_size <= 0x4000000);
            assert_true(s->file_size == 0 || s->offset + s->file_size <= size);
        }
    }
}

/* --- the information -------------------------------------------------------------------------- */

static uint8_t out[4096];
static size_t used;

static void plan_one(uint64_t start, uint64_t end)
{
    memset(&plan, 0, sizeof(plan));
    plan.count = 1;
    plan.segments[0].gpa = gpa(start);
    plan.segments[0].mem_size = end - start;
    plan.end = end;
}

static int build(struct image_boot *boot, size_t size)
{
    host_log_reset();
    memset(out, 0xa5, sizeof(out));
    return image_boot_info(&plan, boot, out, size, &used);
}

static void expect_map_entry(unsigned at, uint64_t base, uint64_t length, uint32_t type)
{
    assert_int_equal(get32(out + at), 20);
    assert_int_equal(get32(out + at + 4) | (uint64_t)get32(out + at + 8) << 32, base);
    assert_int_equal(get32(out + at + 12) | (uint64_t)get32(out + at + 16) << 32, length);
    assert_int_equal(get32(out + at + 20), type);
}

/* Every field of the whole, with two modules, at 1000h. */
static void information(void **state)
{
    (void)state;
    struct image_module modules[] = {{0x1801, "m x", {0}}, {0x1000, "second", {0}}};
    struct image_boot boot = {&ram64m, 1, "a  b", modules, 2, {0}, IMAGE_LOW_END};
    plan_one(0x100000, 0x105123);
    assert_int_equal(build(&boot, sizeof(out)), 0);
    assert_string_equal(host_log, "");
    assert_int_equal(boot.info.v, 0x1000);
    assert_int_equal(modules[0].gpa.v, 0x106000);
    assert_int_equal(modules[1].gpa.v, 0x108000);
    /* 116, two modules of 16, four ranges of 24, "m x", "second", "a  b", "nosnoop" */
    assert_int_equal(used, 116 + 32 + 96 + 4 + 7 + 5 + 8);
    assert_int_equal(get32(out), 0x24d);       /* bits 0, 2, 3, 6, 9 */
    assert_int_equal(get32(out + 4), 639);     /* mem_lower */
    assert_int_equal(get32(out + 8), 64512);   /* mem_upper: 63 MiB */
    assert_int_equal(get32(out + 12), 0);      /* boot_device */
    assert_int_equal(get32(out + 16), 0x10ff); /* cmdline: 1000h + 244 + 11 */
    assert_string_equal((char *)out + 255, "a  b");
    assert_int_equal(get32(out + 20), 2);      /* mods_count */
    assert_int_equal(get32(out + 24), 0x1074); /* mods_addr: 1000h + 116 */
    assert_int_equal(get32(out + 44), 96);     /* mmap_length */
    assert_int_equal(get32(out + 48), 0x1094); /* mmap_addr: 1000h + 148 */
    assert_int_equal(get32(out + 64), 0x1104); /* boot_loader_name */
    assert_string_equal((char *)out + 260, "nosnoop");
    for (unsigned at = 28; at < 116; at += 4)
        if (at != 44 && at != 48 && at != 64)
            assert_int_equal(get32(out + at), 0);
    assert_int_equal(get32(out + 116), 0x106000); /* mod_start */
    assert_int_equal(get32(out + 120), 0x107801); /* mod_end */
    assert_int_equal(get32(out + 124), 0x10f4);   /* string: 1000h + 244 */
    assert_int_equal(get32(out + 128), 0);
    assert_string_equal((char *)out + 244, "m x");
    assert_int_equal(get32(out + 132), 0x108000);
    assert_int_equal(get32(out + 136), 0x109000);
    assert_int_equal(get32(out + 140), 0x10f8);
    assert_string_equal((char *)out + 248, "second");
    expect_map_entry(148, 0, 0x9fc00, 1);
    expect_map_entry(172, 0x9fc00, 0x60400, 2);
    expect_map_entry(196, 0x100000, 0x3f00000, 1);
    expect_map_entry(220, 0xc0000000, 0x40000000, 2);
    for (size_t i = used; i < sizeof(out); i++)
        assert_int_equal(out[i], 0xa5);
}

static void maps(void **state)
{
    (void)state;
    static const struct range split[] = {{0, 0xc0000000}, {0x100000000, 0x140000000}};
    static const struct range whole = {0, 0x140000000}, least = {0, 0x100000};
    struct image_boot boot = {split, 2, "", NULL, 0, {0}, IMAGE_LOW_END};
    plan_one(0x100000, 0x101000);
    for (unsigned i = 0; i < 2; i++) { /* RAM with and without the hole in it */
        assert_int_equal(build(&boot, sizeof(out)), 0);
        assert_int_equal(used, 116 + 5 * 24 + 1 + 8);
        assert_int_equal(get32(out + 8), 3144704); /* 3 GiB less 1 MiB, in KiB */
        assert_int_equal(get32(out + 20), 0);
        expect_map_entry(116, 0, 0x9fc00, 1);
        expect_map_entry(140, 0x9fc00, 0x60400, 2);
        expect_map_entry(164, 0x100000, 0xbff00000, 1);
        expect_map_entry(188, 0xc0000000, 0x40000000, 2);
        expect_map_entry(212, 0x100000000, 0x40000000, 1);
        boot.ram = &whole;
        boot.ram_count = 1;
    }
    plan_one(0x10000, 0x11000);
    boot.ram = &least;
    assert_int_equal(build(&boot, sizeof(out)), 0);
    assert_int_equal(get32(out + 4), 639);
    assert_int_equal(get32(out + 8), 0);
    assert_int_equal(get32(out + 44), 3 * 24);
    expect_map_entry(116, 0, 0x9fc00, 1);
    expect_map_entry(140, 0x9fc00, 0x60400, 2);
    expect_map_entry(164, 0xc0000000, 0x40000000, 2);
}

/* Gaps in RAM are no place for devices, nor is memory below 1 MiB that they do not reach. */
static void maps_with_gaps(void **state)
{
    (void)state;
    static const struct range pieces[] = {
        {0, 0x4000000}, {0x4400000, 0x8000000}, {0x100000000, 0x100200000}};
    struct image_boot boot = {pieces, 3, "", NULL, 0, {0}, 0x9f000};
    plan_one(0x100000, 0x101000);
    assert_int_equal(build(&boot, sizeof(out)), 0);
    assert_int_equal(boot.info.v, 0x1000);
    assert_int_equal(get32(out + 4), 636);   /* KiB to 9F000h */
    assert_int_equal(get32(out + 8), 64512); /* to the first gap */
    assert_int_equal(get32(out + 44), 8 * 24);
    expect_map_entry(116, 0, 0x9f000, 1);
    expect_map_entry(140, 0x9f000, 0x61000, 2);
    expect_map_entry(164, 0x100000, 0x3f00000, 1);
    expect_map_entry(188, 0x4000000, 0x400000, 2);
    expect_map_entry(212, 0x4400000, 0x3c00000, 1);
    expect_map_entry(236, 0x8000000, 0xb8000000, 2); /* to C0000000h */
    expect_map_entry(260, 0xc0000000, 0x40000000, 2);
    expect_map_entry(284, 0x100000000, 0x200000, 1);
    boot.low_end = 0x1000; /* nothing below 1 MiB but page 0 */
    assert_int_equal(build(&boot, sizeof(out)), 0);
    assert_int_equal(boot.info.v, 0x101000);
}

/* As many ranges as there may be, two of which hold what is reserved. */
static void most_ranges(void **state)
{
    (void)state;
    static struct range pieces[IMAGE_MAX_RAM];
    for (unsigned i = 0; i < IMAGE_MAX_RAM; i++)
        pieces[i] = (struct range){i * 0x200000ull, i * 0x200000ull + 0x180000};
    pieces[IMAGE_MAX_RAM - 1] = (struct range){0x80000000, 0x180000000};
    struct image_boot boot = {pieces, IMAGE_MAX_RAM, "", NULL, 0, {0}, IMAGE_LOW_END};
    plan_one(0x100000, 0x101000);
    assert_int_equal(build(&boot, sizeof(out)), 0);
    assert_int_equal(get32(out + 44) / 24, 2 * IMAGE_MAX_RAM - 1 + 2 * 2);
}

/* The information goes around the image and the modules, and never into what is not called RAM. */
static void places(void **state)
{
    (void)state;
    struct image_module modules[] = {{0x8f000, "a", {0}}, {0x1000, "b", {0}}, {0, "c", {0}}};
    struct image_boot boot = {&ram64m, 1, "", modules, 2, {0}, IMAGE_LOW_END};
    plan_one(0x800, 0x1001);
    assert_int_equal(build(&boot, sizeof(out)), 0);
    assert_int_equal(modules[0].gpa.v, 0x2000);
    assert_int_equal(modules[1].gpa.v, 0x91000);
    assert_int_equal(boot.info.v, 0x92000);
    modules[0].size = 0x9dc01; /* one byte too large to end at 9FC00h */
    assert_int_equal(build(&boot, sizeof(out)), 0);
    assert_int_equal(modules[0].gpa.v, 0x100000);
    assert_int_equal(modules[1].gpa.v, 0x2000);
    assert_int_equal(boot.info.v, 0x3000);
    modules[0].size = 0x9dc00;
    assert_int_equal(build(&boot, sizeof(out)), 0);
    assert_int_equal(modules[0].gpa.v, 0x2000);
    assert_int_equal(modules[1].gpa.v, 0x100000);
    assert_int_equal(boot.info.v, 0x101000);
    modules[0].size = 0x1000;
    plan_one(0x1000, 0x200000); /* nothing left below */
    boot.module_count = 3;
    assert_int_equal(build(&boot, sizeof(out)), 0);
    assert_int_equal(modules[0].gpa.v, 0x200000);
    assert_int_equal(modules[1].gpa.v, 0x201000);
    assert_int_equal(boot.info.v, 0x202000);
    /* An empty module takes no room; its start is its end. */
    assert_int_equal(get32(out + 148), 0x200000);
    assert_int_equal(get32(out + 148), get32(out + 152));
}

/* Between two segments of the image, in a hole that is just large enough. */
static void between_segments(void **state)
{
    (void)state;
    struct image_boot boot = {&ram64m, 1, "", NULL, 0, {0}, IMAGE_LOW_END};
    plan_one(0, 0x5000);
    plan.count = 2;
    plan.segments[1].gpa = gpa(0x6000);
    plan.segments[1].mem_size = 0x200000;
    plan.end = 0x206000;
    assert_int_equal(build(&boot, sizeof(out)), 0);
    assert_int_equal(boot.info.v, 0x5000);
    plan.segments[0].mem_size = 0x5001;
    assert_int_equal(build(&boot, sizeof(out)), 0);
    assert_int_equal(boot.info.v, 0x206000);
}

static void no_room(void **state)
{
    (void)state;
    static const struct range high[] = {{0, 0x200000}, {0x100000000, 0x200000000}};
    static const struct range full = {0, 0x140000000};
    struct image_module module = {0xff001, "big", {0}};
    struct image_boot boot = {high, 2, "", &module, 1, {0}, IMAGE_LOW_END};
    plan_one(0x100000, 0x100001);
    assert_int_equal(build(&boot, sizeof(out)), -7);
    assert_string_equal(host_log,
                        "guest module big: no room for its 0xff001 bytes above the image, "
                        "which ends at 0x100001; raise memory\n");
    module.size = 0xff000;
    assert_int_equal(build(&boot, sizeof(out)), 0);
    assert_int_equal(module.gpa.v, 0x101000);
    module.size = UINT64_MAX;
    assert_int_equal(build(&boot, sizeof(out)), -7);
    module.size = 0x1000;
    boot.ram = &full; /* the image above what 32 bits name */
    boot.ram_count = 1;
    plan_one(0x100000000, 0x100001000);
    assert_int_equal(build(&boot, sizeof(out)), -7);
    plan_one(0x0, 0xbffff001);
    assert_int_equal(build(&boot, sizeof(out)), -7);
    boot.module_count = 0;
    assert_int_equal(build(&boot, sizeof(out)), -7);
    assert_string_equal(
        host_log, "guest: no room for the 245 bytes of multiboot information; raise memory\n");
}

static void small_buffer(void **state)
{
    (void)state;
    struct image_boot boot = {&ram64m, 1, "", NULL, 0, {0}, IMAGE_LOW_END};
    plan_one(0x100000, 0x101000);
    assert_int_equal(build(&boot, 221), 0); /* 116 + 4 * 24 + 1 + 8 */
    assert_int_equal(used, 221);
    assert_int_equal(build(&boot, 220), -7);
    assert_string_equal(host_log, "guest: the multiboot information has 221 bytes, of at most 220; "
                                  "shorten cmdline and the modules' strings\n");
    for (size_t i = 0; i < sizeof(out); i++)
        assert_int_equal(out[i], 0xa5);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(elf32),          cmocka_unit_test(elf64),
        cmocka_unit_test(virtual_entry),  cmocka_unit_test(bad_entries),
        cmocka_unit_test(above_4g),       cmocka_unit_test(bad_elf_headers),
        cmocka_unit_test(truncated),      cmocka_unit_test(hostile_segments),
        cmocka_unit_test(many_segments),  cmocka_unit_test(addresses),
        cmocka_unit_test(bad_addresses),  cmocka_unit_test(where_headers_are),
        cmocka_unit_test(header_flags),   cmocka_unit_test(hostile),
        cmocka_unit_test(information),    cmocka_unit_test(maps),
        cmocka_unit_test(maps_with_gaps), cmocka_unit_test(most_ranges),
        cmocka_unit_test(places),         cmocka_unit_test(between_segments),
        cmocka_unit_test(no_room),        cmocka_unit_test(small_buffer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
