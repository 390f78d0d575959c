/* The parser of nosnoop.cfg: a table of keys for each section, and a setter for each kind of value.
 */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "vmm/config.h"

#include "lib/errno.h"
#include "lib/format.h"
#include "lib/log.h"
#include "lib/string.h"

enum { MAX_LOGGED = 20, LONGEST_KEY = 16, MAX_SHOWN = 40 };

#define MIN_MEMORY  MIB
#define MAX_ADDRESS (1ull << 48) /* what four levels of EPT or NPT reach */

/* A part of the file. */
struct text {
    const char *at;
    size_t size;
};

/* Arguments for %.*s; a long text is cut. */
#define SHOWN(text) (int)min_u64((text).size, MAX_SHOWN), (text).at

struct section;

struct parser {
    struct config *config;
    struct text rest; /* not read yet */
    uint32_t line;
    unsigned errors;
    const struct section *section; /* NULL: none yet, or one whose keys are passed over */
    void *base;                    /* what the section's keys set */
    uint32_t seen;                 /* a bit for each key of the section that was given */
    bool pass_over;                /* the section's head was refused */
};

struct word {
    const char *name;
    unsigned value;
};

struct key {
    const char *name;
    void (*set)(struct parser *p, const struct key *key, struct text value, void *field);
    size_t offset;            /* of the field; 0 where SET takes the whole section */
    const struct word *words; /* legal words, ended by one without a name; NULL: none */
    uint32_t limit;           /* bytes of a string with its NUL, or the largest number */
    bool repeats, may_be_empty;
};

struct section {
    const char *name;
    const struct key *keys;
    unsigned count;
};

__attribute__((format(printf, 3, 4))) static void problem(struct parser *p, uint32_t line,
                                                          const char *fmt, ...)
{
    char message[320];
    va_list args;
    if (++p->errors > MAX_LOGGED)
        return;
    va_start(args, fmt);
    format_v(message, sizeof(message), fmt, args);
    va_end(args);
    log_line("nosnoop.cfg:%u: %s", line, message);
}

/* --- texts ------------------------------------------------------------------------------------ */

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

static bool is_name_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '_' || c == '.';
}

static void drop(struct text *text, size_t n)
{
    assert(n <= text->size);
    text->at += n;
    text->size -= n;
}

static struct text trim(struct text text)
{
    while (text.size > 0 && is_blank(text.at[0]))
        drop(&text, 1);
    while (text.size > 0 && is_blank(text.at[text.size - 1]))
        text.size--;
    return text;
}

/* Takes what stands before the first END, and END; all of it where there is none. */
static struct text take_until(struct text *text, char end)
{
    struct text part = {text->at, 0};
    while (part.size < text->size && text->at[part.size] != end)
        part.size++;
    drop(text, part.size < text->size ? part.size + 1 : part.size);
    return part;
}

/* Takes the first word and the blanks around it. */
static struct text take_word(struct text *text)
{
    *text = trim(*text);
    struct text word = {text->at, 0};
    while (word.size < text->size && !is_blank(text->at[word.size]))
        word.size++;
    drop(text, word.size);
    *text = trim(*text);
    return word;
}

static bool equal(struct text text, const char *name)
{
    return strlen(name) == text.size && strncmp(text.at, name, text.size) == 0;
}

/* Copies TEXT, cut where it does not fit SIZE with its NUL. */
static void copy(struct text text, char *to, size_t size)
{
    if (text.size > size - 1)
        text.size = size - 1;
    memcpy(to, text.at, text.size);
    to[text.size] = '\0';
}

/* Copies at most LIMIT bytes with the NUL, or says that it is too long. */
static void copy_checked(struct parser *p, const char *what, struct text text, char *to,
                         size_t limit)
{
    copy(text, to, limit);
    if (text.size >= limit)
        problem(p, p->line, "%s is %zu bytes long; shorten it to at most %zu", what, text.size,
                limit - 1);
}

static int digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return 16;
}

/* Takes a number, decimal or hexadecimal with 0x. False: none there, or more than 64 bits. */
static bool take_number(struct text *text, uint64_t *out)
{
    int base = 10;
    uint64_t value = 0;
    size_t n = 0;
    if (text->size > 2 && text->at[0] == '0' && text->at[1] == 'x') {
        base = 16;
        drop(text, 2);
    }
    for (; n < text->size && digit(text->at[n]) < base; n++)
        if (__builtin_mul_overflow(value, (uint64_t)base, &value) ||
            __builtin_add_overflow(value, (uint64_t)digit(text->at[n]), &value))
            return false;
    drop(text, n);
    *out = value;
    return n > 0;
}

/* TEXT is one number, or one with K, M or G for a SIZE, and nothing else. */
static bool parse_number(struct text text, uint64_t *out)
{
    return take_number(&text, out) && text.size == 0;
}

static bool parse_size(struct text text, uint64_t *out)
{
    uint64_t unit = 1;
    if (!take_number(&text, out) || text.size > 1)
        return false;
    if (text.size == 1) {
        const char *units = "KMG", *at = strchr(units, text.at[0]);
        if (at == NULL)
            return false;
        unit = 1ull << (10 * (at - units + 1));
    }
    return !__builtin_mul_overflow(*out, unit, out);
}

/* Exactly DIGITS hexadecimal digits and then END ('\0': the end), of a value up to MAX. */
static bool take_hex(struct text *text, unsigned digits, char end, unsigned max, unsigned *out)
{
    unsigned value = 0;
    size_t needed = end == '\0' ? digits : digits + 1;
    if (end == '\0' ? text->size != needed : text->size < needed || text->at[digits] != end)
        return false;
    for (unsigned i = 0; i < digits; i++) {
        if (digit(text->at[i]) >= 16)
            return false;
        value = value * 16 + (unsigned)digit(text->at[i]);
    }
    drop(text, needed);
    *out = value;
    return value <= max;
}

/* --- values ----------------------------------------------------------------------------------- */

/* "a, b, c" */
static void list_words(const struct word *words, char *out, size_t size)
{
    size_t used = 0;
    out[0] = '\0';
    for (const struct word *word = words; word->name != NULL; word++)
        used += format(out + used, size - used, used == 0 ? "%s" : ", %s", word->name);
}

static bool find_word(const struct word *words, struct text text, unsigned *value)
{
    for (; words != NULL && words->name != NULL; words++) {
        if (equal(text, words->name)) {
            *value = words->value;
            return true;
        }
    }
    return false;
}

static bool choose(struct parser *p, const char *what, const struct word *words, struct text text,
                   unsigned *value)
{
    char legal[160];
    if (find_word(words, text, value))
        return true;
    list_words(words, legal, sizeof(legal));
    problem(p, p->line, "bad value \"%.*s\" of %s; write one of: %s", SHOWN(text), what, legal);
    return false;
}

static void set_choice(struct parser *p, const struct key *key, struct text value, void *field)
{
    choose(p, key->name, key->words, value, field);
}

static void set_bool(struct parser *p, const struct key *key, struct text value, void *field)
{
    static const struct word words[] = {{"no", 0}, {"yes", 1}, {NULL, 0}};
    unsigned yes = 0;
    if (choose(p, key->name, words, value, &yes))
        *(bool *)field = yes == 1;
}

static void set_string(struct parser *p, const struct key *key, struct text value, void *field)
{
    copy_checked(p, key->name, value, field, key->limit);
}

/* A word that is kept as it is written. */
static void set_word(struct parser *p, const struct key *key, struct text value, void *field)
{
    unsigned unused;
    if (choose(p, key->name, key->words, value, &unused))
        copy(value, field, key->limit);
}

static void set_kernel(struct parser *p, const struct key *key, struct text value, void *field)
{
    struct vm_config *vm = field;
    struct text rest = value, word = take_word(&rest);
    vm->kernel_line = p->line;
    copy_checked(p, key->name, word, vm->kernel, sizeof(vm->kernel));
    if (rest.size > 0)
        problem(p, p->line, "\"%.*s\" after the name in kernel; write one name without blanks",
                SHOWN(rest));
}

static void set_cpus(struct parser *p, const struct key *key, struct text value, void *field)
{
    uint32_t *cpus = field;
    uint64_t number = 0;
    if (find_word(key->words, value, cpus))
        return;
    *cpus = 0;
    if (parse_number(value, &number) && number >= 1 && number <= key->limit)
        *cpus = (uint32_t)number;
    else
        problem(p, p->line, "bad value \"%.*s\" of cpus; write %s1 to %u", SHOWN(value),
                key->words == NULL ? "" : "all, or ", key->limit);
}

static void set_log(struct parser *p, const struct key *key, struct text value, void *field)
{
    struct host_config *host = field;
    uint64_t port = 0;
    unsigned choice = 0;
    if (find_word(key->words, value, &choice)) {
        host->log = (enum config_port)choice;
    } else if (!parse_number(value, &port) || port < 8 || port > 0xfff8 || port % 8 != 0) {
        problem(p, p->line,
                "bad value \"%.*s\" of log; write com1, com2, none or the first of a UART's 8 "
                "ports, as in 0x3e8",
                SHOWN(value));
    } else {
        host->log = port == 0x3f8 ? PORT_COM1 : port == 0x2f8 ? PORT_COM2 : PORT_NUMBER;
        host->log_port = host->log == PORT_NUMBER ? (uint16_t)port : 0;
    }
}

static void set_memory(struct parser *p, const struct key *key, struct text value, void *field)
{
    uint64_t *memory = field, size = 0;
    (void)key;
    if (!parse_size(value, &size) || size > MAX_ADDRESS / 2)
        problem(p, p->line,
                "bad value \"%.*s\" of memory; write a size up to 128T, as in 512M (K, M or G)",
                SHOWN(value));
    else if (size < MIN_MEMORY)
        problem(p, p->line, "memory is 0x%lx bytes; write at least 1M", size);
    else if (!is_aligned(size, PAGE_SIZE))
        problem(p, p->line, "memory is 0x%lx bytes; write a multiple of 4K", size);
    else
        *memory = size;
}

static void set_pin(struct parser *p, const struct key *key, struct text value, void *field)
{
    struct vm_config *vm = field;
    struct text rest = value;
    uint64_t cpu = 0;
    (void)key;
    while (vm->pin_count < CONFIG_MAX_CPUS && parse_number(trim(take_until(&rest, ',')), &cpu) &&
           cpu < CONFIG_MAX_HOST_CPUS) {
        vm->pin[vm->pin_count++] = (uint8_t)cpu;
        if (rest.size == 0 && value.at[value.size - 1] != ',')
            return;
    }
    vm->pin_count = 0;
    problem(p, p->line,
            "bad value \"%.*s\" of pin; write at most %u CPU numbers of 0 to %u, as in 2,3",
            SHOWN(value), CONFIG_MAX_CPUS, CONFIG_MAX_HOST_CPUS - 1);
}

/* FILE [STR] */
static void set_module(struct parser *p, const struct key *key, struct text value, void *field)
{
    struct vm_config *vm = field;
    if (vm->module_count == key->limit) {
        problem(p, p->line, "more than %u modules; remove one", key->limit);
        return;
    }
    struct config_module *module = &vm->modules[vm->module_count++];
    struct text rest = value, file = take_word(&rest);
    module->line = p->line;
    copy_checked(p, "the module's file", file, module->file, sizeof(module->file));
    copy_checked(p, "the module's string", rest, module->string, sizeof(module->string));
}

/* A region of VM that has a byte of REGION, or NULL. */
static const struct config_region *find_overlap(const struct vm_config *vm,
                                                const struct config_region *region)
{
    for (unsigned i = 0; i < vm->region_count; i++) {
        const struct config_region *r = &vm->regions[i];
        if (r->start < region->start + region->size && region->start < r->start + r->size)
            return r;
    }
    return NULL;
}

/* START+SIZE TYPE */
static void set_region(struct parser *p, const struct key *key, struct text value, void *field)
{
    struct vm_config *vm = field;
    struct text rest = value, place = take_word(&rest), start = take_until(&place, '+');
    struct config_region region = {.line = p->line};
    const struct config_region *other;
    unsigned type = 0;
    if (vm->region_count == key->limit) {
        problem(p, p->line, "more than %u regions; remove one", key->limit);
        return;
    }
    if (!parse_size(start, &region.start) || !parse_size(place, &region.size))
        problem(p, p->line,
                "bad value \"%.*s\" of region; write START+SIZE TYPE, as in 0xd0000000+16M wc",
                SHOWN(value));
    else if (region.size == 0 || !is_aligned(region.start | region.size, PAGE_SIZE) ||
             region.start > MAX_ADDRESS || region.size > MAX_ADDRESS - region.start)
        problem(p, p->line,
                "region \"%.*s\" is not of whole pages below 2^48; write multiples of 4K",
                SHOWN(value));
    else if ((other = find_overlap(vm, &region)) != NULL)
        problem(p, p->line, "region \"%.*s\" overlaps that of line %u; keep them apart",
                SHOWN(value), other->line);
    else if (choose(p, "the region's type", key->words, rest, &type)) {
        region.type = (enum memtype)type;
        vm->regions[vm->region_count++] = region;
    }
}

/* An option of a device: OFFSET is that of its uint16_t. */
struct option {
    const char *name;
    const struct word *words; /* NULL: a GSI */
    size_t offset;
};

static const struct word type_words[] = {{"uc", MT_UC}, {"wc", MT_WC}, {"wt", MT_WT},
                                         {"wp", MT_WP}, {"wb", MT_WB}, {NULL, 0}};
static const struct word dma_words[] = {
    {"auto", DMA_AUTO}, {"coherent", DMA_COHERENT}, {"non-coherent", DMA_NON_COHERENT}, {NULL, 0}};
static const struct word none_words[] = {{"none", 1}, {NULL, 0}};
static const struct word map_words[] = {{"map", 1}, {NULL, 0}};

#define DEVICE(field) offsetof(struct config_device, field)
static const struct option options[] = {
    {"dma", dma_words, DEVICE(dma)},         {"bar0", type_words, DEVICE(bar[0])},
    {"bar1", type_words, DEVICE(bar[1])},    {"bar2", type_words, DEVICE(bar[2])},
    {"bar3", type_words, DEVICE(bar[3])},    {"bar4", type_words, DEVICE(bar[4])},
    {"bar5", type_words, DEVICE(bar[5])},    {"intx", NULL, DEVICE(intx)},
    {"reset", none_words, DEVICE(no_reset)}, {"rmrr", map_words, DEVICE(map_rmrr)},
};

/* The value of OPTION in FIELD. */
static void set_option(struct parser *p, const struct option *option, struct text value,
                       uint16_t *field)
{
    unsigned choice = 0;
    uint64_t number = 0;
    if (option->words != NULL) {
        if (choose(p, option->name, option->words, value, &choice))
            *field = (uint16_t)choice;
    } else if (parse_number(value, &number) && number <= CONFIG_MAX_GSI) {
        *field = (uint16_t)number;
    } else {
        problem(p, p->line, "bad value \"%.*s\" of %s; write a number up to %u", SHOWN(value),
                option->name, CONFIG_MAX_GSI);
    }
}

/* SEEN has a bit for each option that was given. */
static void parse_option(struct parser *p, struct config_device *device, struct text word,
                         unsigned *seen)
{
    struct text value = word, name = take_until(&value, '=');
    unsigned i = 0;
    while (i < ARRAY_SIZE(options) && !equal(name, options[i].name))
        i++;
    if (i == ARRAY_SIZE(options)) {
        problem(p, p->line,
                "unknown option \"%.*s\" of a device; write dma=, bar0= to bar5=, intx=, "
                "reset=none or rmrr=map",
                SHOWN(word));
        return;
    }
    if ((*seen & 1u << i) != 0)
        problem(p, p->line, "%s a second time for this device; remove one", options[i].name);
    *seen |= 1u << i;
    set_option(p, &options[i], value, (uint16_t *)(void *)((char *)device + options[i].offset));
}

/* Who has the function of DEVICE, which stands in CONFIG itself, before it; or NULL. */
static const struct config_device *find_device(const struct config *config,
                                               const struct config_device *device)
{
    for (const struct vm_config *vm = config->vms; vm < config->vms + config->vm_count; vm++)
        for (const struct config_device *d = vm->devices; d < vm->devices + vm->device_count; d++)
            if (d != device && d->segment == device->segment && d->bus == device->bus &&
                d->device == device->device && d->function == device->function)
                return d;
    return NULL;
}

/* [SSSS:]BB:DD.F options */
static void set_device(struct parser *p, const struct key *key, struct text value, void *field)
{
    struct vm_config *vm = field;
    struct text rest = value, bdf = take_word(&rest);
    unsigned segment = 0, bus = 0, slot = 0, function = 0, seen = 0;
    if (vm->device_count == key->limit) {
        problem(p, p->line, "more than %u devices; remove one", key->limit);
        return;
    }
    bool has_segment = bdf.size > 4 && bdf.at[4] == ':';
    if ((has_segment && !take_hex(&bdf, 4, ':', 0xffff, &segment)) ||
        !take_hex(&bdf, 2, ':', 0xff, &bus) || !take_hex(&bdf, 2, '.', 0x1f, &slot) ||
        !take_hex(&bdf, 1, '\0', 7, &function)) {
        problem(p, p->line,
                "bad value \"%.*s\" of device; write [SSSS:]BB:DD.F in hexadecimal, as in 00:1f.2",
                SHOWN(value));
        return;
    }
    struct config_device *device = &vm->devices[vm->device_count++];
    *device = (struct config_device){.segment = (uint16_t)segment,
                                     .bus = (uint8_t)bus,
                                     .device = (uint8_t)slot,
                                     .function = (uint8_t)function,
                                     .intx = CONFIG_NOT_GIVEN,
                                     .line = p->line};
    memset(device->bar, 0xff, sizeof(device->bar));
    while (rest.size > 0)
        parse_option(p, device, take_word(&rest), &seen);
    const struct config_device *other = find_device(p->config, device);
    if (other != NULL)
        problem(p, p->line, "the device of line %u a second time; remove one", other->line);
}

/* --- the keys --------------------------------------------------------------------------------- */

static const struct word all_words[] = {{"all", 0}, {NULL, 0}};
static const struct word log_words[] = {
    {"com2", PORT_COM2}, {"com1", PORT_COM1}, {"none", PORT_NONE}, {NULL, 0}};
static const struct word iommu_words[] = {
    {"on", IOMMU_ON}, {"off", IOMMU_OFF}, {"unsafe-identity", IOMMU_UNSAFE_IDENTITY}, {NULL, 0}};
static const struct word on_end_words[] = {
    {"halt", ON_END_HALT}, {"reset", ON_END_RESET}, {"poweroff", ON_END_POWEROFF}, {NULL, 0}};
static const struct word serial_words[] = {
    {"com1", PORT_COM1}, {"com2", PORT_COM2}, {"log", PORT_LOG}, {"none", PORT_NONE}, {NULL, 0}};
static const struct word mtrr_words[] = {
    {"guest", KNOB_MTRR_GUEST}, {"ignore", KNOB_MTRR_IGNORE}, {NULL, 0}};
static const struct word pat_words[] = {
    {"guest", KNOB_PAT_GUEST}, {"ignore", KNOB_PAT_IGNORE}, {NULL, 0}};
static const struct word cd_words[] = {{"view", KNOB_CD_VIEW},
                                       {"hw", KNOB_CD_HW},
                                       {"ignore", KNOB_CD_IGNORE},
                                       {"pat-uc", KNOB_CD_PAT_UC},
                                       {"uc-ipat", KNOB_CD_UC_IPAT},
                                       {"wb-ipat", KNOB_CD_WB_IPAT},
                                       {NULL, 0}};
static const struct word mmio_words[] = {
    {"clamp", KNOB_MMIO_CLAMP}, {"uc", KNOB_MMIO_UC}, {"guest", KNOB_MMIO_GUEST}, {NULL, 0}};
static const struct word report_words[] = {{"stored", KNOB_REPORT_STORED},
                                           {"fixed", KNOB_REPORT_FIXED},
                                           {"hidden", KNOB_REPORT_HIDDEN},
                                           {NULL, 0}};
static const struct word reset_words[] = {
    {"firmware", KNOB_RESET_FIRMWARE}, {"architectural", KNOB_RESET_ARCHITECTURAL}, {NULL, 0}};
static const struct word policy_words[] = {
    {"exact", 0},    {"wb", 0},       {"kvm-2008", 0},  {"kvm-4.19", 0},     {"kvm-6.7", 0},
    {"kvm-6.11", 0}, {"kvm-6.16", 0}, {"kvm-svm", 0},   {"kvm-svm-2015", 0}, {"xen", 0},
    {"bhyve", 0},    {"acrn", 0},     {"jailhouse", 0}, {"bitvisor", 0},     {NULL, 0}};
static const struct word on_reset_words[] = {
    {"stop", ON_RESET_STOP}, {"restart", ON_RESET_RESTART}, {NULL, 0}};
static const struct word unmapped_words[] = {
    {"ones", UNMAPPED_ONES}, {"stop", UNMAPPED_STOP}, {NULL, 0}};
static const struct word apic_words[] = {
    {"hardware", APIC_HARDWARE}, {"software", APIC_SOFTWARE}, {NULL, 0}};

#define HOST(field) offsetof(struct host_config, field)
#define VM(field)   offsetof(struct vm_config, field)

/* clang-format off */
static const struct key host_keys[] = {
    {"log",       set_log,    0,               log_words,    0,                    false, false},
    {"cpus",      set_cpus,   HOST(cpus),      all_words,    CONFIG_MAX_HOST_CPUS, false, false},
    {"iommu",     set_choice, HOST(iommu),     iommu_words,  0,                    false, false},
    {"on_end",    set_choice, HOST(on_end),    on_end_words, 0,                    false, false},
    {"dangerous", set_bool,   HOST(dangerous), NULL,         0,                    false, false},
};

static const struct key vm_keys[] = {
    {"kernel",   set_kernel, 0,            NULL,           0,                  false, false},
    {"cmdline",  set_string, VM(cmdline),  NULL,           CONFIG_STRING_SIZE, false, true},
    {"module",   set_module, 0,            NULL,           CONFIG_MAX_MODULES, true,  false},
    {"memory",   set_memory, VM(memory),   NULL,           0,                  false, false},
    {"cpus",     set_cpus,   VM(cpus),     NULL,           CONFIG_MAX_CPUS,    false, false},
    {"pin",      set_pin,    0,            NULL,           0,                  false, false},
    {"serial",   set_choice, VM(serial),   serial_words,   0,                  false, false},
    {"policy",   set_word,   VM(policy),   policy_words,   CONFIG_NAME_SIZE,   false, false},
    {"mtrr",     set_choice, VM(mtrr),     mtrr_words,     0,                  false, false},
    {"pat",      set_choice, VM(pat),      pat_words,      0,                  false, false},
    {"cd",       set_choice, VM(cd),       cd_words,       0,                  false, false},
    {"mmio",     set_choice, VM(mmio),     mmio_words,     0,                  false, false},
    {"report",   set_choice, VM(report),   report_words,   0,                  false, false},
    {"reset",    set_choice, VM(reset),    reset_words,    0,                  false, false},
    {"region",   set_region, 0,            type_words,     CONFIG_MAX_REGIONS, true,  false},
    {"device",   set_device, 0,            NULL,           CONFIG_MAX_DEVICES, true,  false},
    {"control",  set_bool,   VM(control),  NULL,           0,                  false, false},
    {"on_reset", set_choice, VM(on_reset), on_reset_words, 0,                  false, false},
    {"unmapped", set_choice, VM(unmapped), unmapped_words, 0,                  false, false},
    {"apic",     set_choice, VM(apic),     apic_words,     0,                  false, false},
};
/* clang-format on */

static const struct section host_section = {"host", host_keys, ARRAY_SIZE(host_keys)};
static const struct section vm_section = {"vm", vm_keys, ARRAY_SIZE(vm_keys)};

static_assert(ARRAY_SIZE(vm_keys) <= 32 && ARRAY_SIZE(host_keys) <= 32, "bits of parser.seen");

static const struct key *find_key(const struct section *section, struct text name)
{
    for (unsigned i = 0; i < section->count; i++)
        if (equal(name, section->keys[i].name))
            return &section->keys[i];
    return NULL;
}

/* Letters to insert, delete or replace (Levenshtein's distance); A has at most LONGEST_KEY. */
static unsigned distance(struct text a, const char *b)
{
    unsigned row[LONGEST_KEY + 1]; /* of the letters of A so far to each part of B */
    size_t size = strlen(b);
    assert(a.size <= LONGEST_KEY && size <= LONGEST_KEY);
    for (unsigned j = 0; j <= size; j++)
        row[j] = j;
    for (unsigned i = 0; i < a.size; i++) {
        unsigned diagonal = row[0];
        row[0] = i + 1;
        for (size_t j = 1; j <= size; j++) {
            unsigned replaced = diagonal + (a.at[i] != b[j - 1]);
            diagonal = row[j];
            row[j] = 1 + (row[j] < row[j - 1] ? row[j] : row[j - 1]);
            if (replaced < row[j])
                row[j] = replaced;
        }
    }
    return row[size];
}

/* The key that NAME was meant to be, or NULL. */
static const char *closest_key(const struct section *section, struct text name)
{
    const char *closest = NULL;
    unsigned least = 3; /* two wrong letters at most, and one right */
    if (name.size > LONGEST_KEY)
        return NULL;
    for (unsigned i = 0; i < section->count; i++) {
        unsigned d = distance(name, section->keys[i].name);
        if (d < least && d < name.size) {
            least = d;
            closest = section->keys[i].name;
        }
    }
    return closest;
}

static void unknown_key(struct parser *p, struct text name)
{
    const struct section *other = p->section == &vm_section ? &host_section : &vm_section;
    const char *closest = closest_key(p->section, name);
    char known[200];
    size_t used = 0;
    if (find_key(other, name) != NULL) {
        problem(p, p->line, "\"%.*s\" is no key of [%s]; move it to [%s]", SHOWN(name),
                p->section->name, other->name);
    } else if (closest != NULL) {
        problem(p, p->line, "unknown key \"%.*s\" in [%s]; write %s", SHOWN(name), p->section->name,
                closest);
    } else {
        for (unsigned i = 0; i < p->section->count; i++)
            used += format(known + used, sizeof(known) - used, used == 0 ? "%s" : ", %s",
                           p->section->keys[i].name);
        problem(p, p->line, "unknown key \"%.*s\" in [%s]; write one of: %s", SHOWN(name),
                p->section->name, known);
    }
}

/* --- lines ------------------------------------------------------------------------------------ */

static void begin_host(struct parser *p)
{
    struct host_config *host = &p->config->host;
    if (host->line != 0)
        problem(p, p->line, "a second [host]; move its keys to the one in line %u", host->line);
    else
        host->line = p->line;
    p->section = &host_section;
    p->base = host;
}

static void check_name(struct parser *p, struct text name)
{
    if (name.size == 0)
        problem(p, p->line, "a [vm] without a name; write [vm NAME]");
    for (size_t i = 0; i < name.size; i++) {
        if (!is_name_char(name.at[i])) {
            problem(p, p->line, "bad VM name \"%.*s\"; write letters, digits, - _ and .",
                    SHOWN(name));
            return;
        }
    }
}

static void begin_vm(struct parser *p, struct text name)
{
    struct config *config = p->config;
    if (config->vm_count == CONFIG_MAX_VMS) {
        problem(p, p->line, "more than %u VMs; remove one", CONFIG_MAX_VMS);
        return;
    }
    check_name(p, name);
    for (unsigned i = 0; i < config->vm_count; i++)
        if (equal(name, config->vms[i].name))
            problem(p, p->line, "a second vm %s, after that in line %u; give it another name",
                    config->vms[i].name, config->vms[i].line);
    struct vm_config *vm = &config->vms[config->vm_count++];
    copy_checked(p, "the VM's name", name, vm->name, sizeof(vm->name));
    vm->line = p->line;
    vm->memory = 64 * MIB;
    vm->cpus = 1;
    p->section = &vm_section;
    p->base = vm;
}

/* [host] or [vm NAME]. The keys below a head that is neither are passed over. */
static void parse_head(struct parser *p, struct text head)
{
    struct text rest = {head.at + 1, head.size - 1}, inside = take_until(&rest, ']');
    bool closed = inside.size + 2 <= head.size && rest.size == 0;
    struct text name = inside, kind = take_word(&name);
    p->seen = 0;
    p->section = NULL;
    p->pass_over = true;
    if (!closed)
        problem(p, p->line, "bad section \"%.*s\"; write [host] or [vm NAME]", SHOWN(head));
    else if (equal(kind, "host") && name.size == 0)
        begin_host(p);
    else if (equal(kind, "vm"))
        begin_vm(p, name);
    else
        problem(p, p->line, "unknown section \"%.*s\"; write [host] or [vm NAME]", SHOWN(head));
}

/* KEY = VALUE */
static void parse_key(struct parser *p, struct text line)
{
    struct text value = line, name = take_until(&value, '=');
    bool has_value = name.size < line.size;
    name = trim(name);
    value = trim(value);
    if (p->section == NULL) {
        if (!p->pass_over)
            problem(p, p->line, "\"%.*s\" before any section; begin with [host] or [vm NAME]",
                    SHOWN(name));
        return;
    }
    if (!has_value) {
        problem(p, p->line, "no = in \"%.*s\"; write KEY = VALUE", SHOWN(line));
        return;
    }
    const struct key *key = find_key(p->section, name);
    if (key == NULL) {
        unknown_key(p, name);
        return;
    }
    uint32_t bit = 1u << (key - p->section->keys);
    if ((p->seen & bit) != 0 && !key->repeats)
        problem(p, p->line, "%s a second time in this section; remove one", key->name);
    else if (value.size == 0 && !key->may_be_empty)
        problem(p, p->line, "%s has no value; write %s = VALUE", key->name, key->name);
    else
        key->set(p, key, value, (char *)p->base + key->offset);
    p->seen |= bit;
}

/* Says what is wrong with the first byte that is not printable ASCII. */
static bool check_bytes(struct parser *p, struct text line)
{
    for (size_t i = 0; i < line.size; i++) {
        unsigned char byte = (unsigned char)line.at[i];
        if ((byte < ' ' && byte != '\t') || byte >= 0x7f) {
            problem(p, p->line, "byte 0x%02x in column %zu; write plain ASCII text", byte, i + 1);
            return false;
        }
    }
    return true;
}

static void parse_line(struct parser *p, struct text line)
{
    if (line.size > 0 && line.at[line.size - 1] == '\r')
        line.size--;
    struct text content = trim(line);
    if (content.size == 0 || content.at[0] == '#' || content.at[0] == ';')
        return;
    if (!check_bytes(p, line))
        return;
    if (content.at[0] == '[')
        parse_head(p, content);
    else
        parse_key(p, content);
}

/* --- what no line shows alone ----------------------------------------------------------------- */

/* The port that the log keeps for itself. */
static bool is_log_port(const struct host_config *host, enum config_port port)
{
    return (port == PORT_COM1 || port == PORT_COM2) && port == host->log;
}

static void check_serial(struct parser *p, const struct vm_config *vm)
{
    const char *port = vm->serial == PORT_COM1 ? "com1" : "com2";
    if (is_log_port(&p->config->host, vm->serial))
        problem(p, vm->line, "vm %s has %s, where the log goes; write serial = log", vm->name,
                port);
    if (vm->serial != PORT_COM1 && vm->serial != PORT_COM2)
        return;
    for (const struct vm_config *other = p->config->vms; other < vm; other++) {
        if (other->serial == vm->serial) {
            problem(p, vm->line, "vm %s has %s, as vm %s has; write serial = log", vm->name, port,
                    other->name);
            return;
        }
    }
}

/* The VM that has the CPU of VM's pin INDEX already, or NULL. */
static const struct vm_config *pinned_before(const struct config *config,
                                             const struct vm_config *vm, unsigned index)
{
    for (const struct vm_config *other = config->vms; other <= vm; other++) {
        unsigned count = other == vm ? index : other->pin_count;
        for (unsigned i = 0; i < count; i++)
            if (other->pin[i] == vm->pin[index])
                return other;
    }
    return NULL;
}

static void check_pins(struct parser *p, const struct vm_config *vm)
{
    if (vm->pin_count != 0 && vm->cpus != 0 && vm->pin_count != vm->cpus)
        problem(p, vm->line, "vm %s: pin names %u CPUs, cpus is %u; make them equal", vm->name,
                vm->pin_count, vm->cpus);
    uint32_t host_cpus = p->config->host.cpus;
    for (unsigned i = 0; i < vm->pin_count; i++) {
        const struct vm_config *other = pinned_before(p->config, vm, i);
        if (host_cpus != 0 && vm->pin[i] >= host_cpus)
            problem(p, vm->line, "vm %s is pinned to CPU %u, of %u in [host]; choose another CPU",
                    vm->name, vm->pin[i], host_cpus);
        if (other != NULL)
            problem(p, vm->line, "vm %s is pinned to CPU %u, as vm %s is; choose another CPU",
                    vm->name, vm->pin[i], other->name);
    }
}

static const char *file_of(const struct vm_config *vm, unsigned i)
{
    return i == 0 ? vm->kernel : vm->modules[i - 1].file;
}

static const char *last_part(const char *path)
{
    for (const char *slash; (slash = strchr(path, '/')) != NULL; path = slash + 1)
        continue;
    return path;
}

/* The boot loader's files are found by the last part of their names alone. */
static void check_file(struct parser *p, const struct vm_config *vm, unsigned index)
{
    const char *file = file_of(vm, index), *name = last_part(file);
    uint32_t line = index == 0 ? vm->kernel_line : vm->modules[index - 1].line;
    if (*name == '\0')
        return; /* no kernel, or no name, which no file has */
    for (const struct vm_config *other = p->config->vms; other <= vm; other++)
        for (unsigned i = 0; i < (other == vm ? index : 1 + other->module_count); i++) {
            const char *earlier = file_of(other, i);
            if (strcmp(file, earlier) != 0 && strcmp(name, last_part(earlier)) == 0) {
                problem(p, line, "%s and %s have the same name; rename one", file, earlier);
                return;
            }
        }
}

/* What the sections of a VM and of the host say together. */
static void check_with_host(struct parser *p, const struct vm_config *vm)
{
    const struct host_config *host = &p->config->host;
    if (vm->mmio == KNOB_MMIO_GUEST && !host->dangerous)
        problem(p, vm->line, "vm %s: mmio = guest needs dangerous = yes in [host]; write mmio = uc",
                vm->name);
    if (vm->device_count > 0 && host->iommu == IOMMU_OFF)
        problem(p, vm->line, "vm %s has a device, and iommu is off; write iommu = on", vm->name);
    for (const struct vm_config *other = p->config->vms; other < vm; other++)
        if (config_at_own_addresses(p->config, other) && vm->device_count > 0)
            problem(
                p, vm->line,
                "vm %s has a device, as has vm %s: with iommu = unsafe-identity only one VM can "
                "be where devices find it; give it all, or write iommu = on",
                vm->name, other->name);
}

static void check_all(struct parser *p)
{
    const struct config *config = p->config;
    uint32_t cpus = 0;
    if (config->vm_count == 0)
        problem(p, p->line,
                "no guest: there is no [vm] section; add a [vm NAME] section with kernel = FILE");
    for (unsigned i = 0; i < config->vm_count; i++) {
        const struct vm_config *vm = &config->vms[i];
        if (vm->kernel[0] == '\0')
            problem(p, vm->line, "vm %s has no kernel; add kernel = FILE", vm->name);
        check_serial(p, vm);
        check_pins(p, vm);
        check_with_host(p, vm);
        for (unsigned k = 0; k <= vm->module_count; k++)
            check_file(p, vm, k);
        cpus += vm->cpus;
    }
    if (config->host.cpus != 0 && cpus > config->host.cpus)
        problem(p, config->host.line, "the VMs have %u CPUs, of %u in [host]; lower their cpus",
                cpus, config->host.cpus);
}

int config_parse(const char *text, size_t size, struct config *out)
{
    struct parser p = {.config = out, .rest = {text, size}, .line = 1};
    memset(out, 0, sizeof(*out));
    out->host.log = PORT_COM2;
    if (size >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0)
        drop(&p.rest, 3);
    while (p.rest.size > 0) {
        parse_line(&p, take_until(&p.rest, '\n'));
        if (p.rest.size > 0)
            p.line++;
    }
    for (unsigned i = 0; i < out->vm_count; i++)
        out->vms[i].dangerous = out->host.dangerous;
    check_all(&p);
    if (p.errors > MAX_LOGGED)
        log_line("nosnoop.cfg:%u: %u problems in all; mend the first %u to see the others", p.line,
                 p.errors, MAX_LOGGED);
    return p.errors == 0 ? 0 : -EINVAL;
}
