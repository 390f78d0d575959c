/* What can be typed at the monitor's prompt. Each command ends by itself in bounded time. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "lib/assert.h"
#include "lib/errno.h"
#include "lib/string.h"
#include "mm/memtype.h"
#include "vmm/abi.h"
#include "vmm/vcpu/access.h"
#include "vmm/instruments/alias.h"
#include "vmm/vcpu/exits.h"
#include "vmm/instruments/line.h"
#include "vmm/host/log.h"
#include "vmm/instruments/map.h"
#include "vmm/instruments/monitor.h"
#include "vmm/typing/oracle.h"
#include "vmm/instruments/trace.h"
#include "vmm/typing/views.h"
#include "vmm/vms.h"

enum { WORDS = 4, DEFAULT_LINES = 20, DEFAULT_BYTES = 64, MOST_BYTES = 4096 };

/* The words of a line; those that are not there are NULL. */
struct words {
    const char *at[WORDS + 1];
    unsigned count;
};

static bool number_of(const char *text, uint64_t *value)
{
    unsigned base = strncmp(text, "0x", 2) == 0 ? 16 : 10;
    const char *at = base == 16 ? text + 2 : text;
    for (*value = 0; *at != '\0'; at++) {
        char c = (char)(*at | 0x20);
        unsigned digit = c >= 'a' ? (unsigned)(c - 'a') + 10 : (unsigned)(*at - '0');
        if (c < 'a' && digit > 9)
            return false;
        if (digit >= base || *value > (UINT64_MAX - digit) / base)
            return false;
        *value = *value * base + digit;
    }
    return at != (base == 16 ? text + 2 : text);
}

/* The same for a word that need not be there; a complaint has been printed where it is wrong. */
static bool take_number(const char *text, uint64_t otherwise, uint64_t most, uint64_t *value)
{
    *value = otherwise;
    if (text == NULL || (number_of(text, value) && *value <= most))
        return true;
    monitor_print("%s: not a number up to 0x%lx; write it as 4096 or 0x1000\n", text, most);
    return false;
}

static struct vm *chosen; /* by the command vm; NULL: none yet */

/* The VM that commands are about, unless they name one. NULL: there is none yet. */
static struct vm *subject(void)
{
    return chosen != NULL ? chosen : vms_get(0);
}

static void show_vm(const struct vm *vm)
{
    monitor_print("%s: %s on CPU %u, %lu KiB, policy %s, %lu restarts\n", vm->config->name,
                  vms_is_running(vm) ? "running" : "ended", vm->vcpus[0]->cpu_index,
                  vm->config->memory / KIB, vm->map.typing.policy.preset->name, vm->restarts);
}

static void list_vms(struct vcpu *vcpu, const struct words *words)
{
    const struct vm *vm;
    (void)vcpu, (void)words;
    for (unsigned i = 0; (vm = vms_get(i)) != NULL; i++)
        show_vm(vm);
}

static void choose_vm(struct vcpu *vcpu, const struct words *words)
{
    (void)vcpu;
    if (words->at[1] != NULL)
        chosen = vms_named(words->at[1]);
    if (subject() != NULL)
        show_vm(subject());
}

static void show_segment(const char *name, const struct seg *seg)
{
    monitor_print("%-4s %04x base %016lx limit %08x attr %04x\n", name, seg->selector, seg->base,
                  seg->limit, seg->attr);
}

static void show_vcpu(struct vcpu *vcpu, const struct words *words)
{
    static const char gprs[GPRS][4] = {"rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi",
                                       "r8",  "r9",  "r10", "r11", "r12", "r13", "r14", "r15"};
    static const char segs[SEGS][5] = {"es", "cs", "ss", "ds", "fs", "gs", "ldtr", "tr"};
    const struct guest_state *s = &vcpu->state;
    (void)words;
    vcpu_fetch(vcpu, STATE_CR | STATE_MODE | STATE_CODE | STATE_SEG);
    monitor_print("rip %016lx rflags %08lx cpl %u on CPU %u\n", s->rip, s->rflags, s->cpl,
                  vcpu->cpu->index);
    for (unsigned i = 0; i < GPRS; i++)
        monitor_print("%-3s %016lx%s", gprs[i], s->gpr[i], i % 4 == 3 ? "\n" : " ");
    monitor_print("cr0 %lx cr2 %lx cr3 %lx cr4 %lx efer %lx\n", s->cr0, s->cr2, s->cr3, s->cr4,
                  s->efer);
    monitor_print("dr6 %lx dr7 %lx pat %016lx\n", s->dr6, s->dr7, s->pat);
    for (unsigned i = 0; i < SEGS; i++)
        show_segment(segs[i], &s->seg[i]);
    monitor_print("gdtr base %016lx limit %04x\nidtr base %016lx limit %04x\n", s->gdtr.base,
                  s->gdtr.limit, s->idtr.base, s->idtr.limit);
}

static void show_exits(struct vcpu *vcpu, const struct words *words)
{
    (void)words;
    for (unsigned kind = 0; kind < EXIT_KINDS; kind++)
        if (vcpu->exits[kind] != 0)
            monitor_print("%-12s %lu\n", exit_kind_name(kind), vcpu->exits[kind]);
}

static void show_memtype(const struct vcpu *vcpu, const struct type_answer *a)
{
    static const char *const sizes[] = {"?", "4 KiB", "2 MiB", "1 GiB"};
    monitor_print("GPA 0x%lx: guest MTRR %s (%s), CR0.CD %u, policy %s, view %s\n", a->gpa,
                  memtype_name(a->guest_type), mtrr_rule_name(a->guest_rule), a->cd,
                  vcpu->vm->map.typing.policy.preset->name, map_view_name(a->view));
    if (a->present)
        monitor_print("at HPA 0x%lx: %s leaf %s%s by rule %s, host MTRR %s, PAT %s\neffective %s",
                      a->hpa, sizes[a->leaf_level & 3], memtype_name(a->leaf_type),
                      a->leaf_ipat ? " (the PAT is ignored)" : "", map_rule_name(a->rule),
                      memtype_name(a->host_type), memtype_name(a->pat_type),
                      effective_name(a->effective));
    else
        monitor_print("no memory");
    monitor_print(", the same up to 0x%lx\n", a->next);
}

static void ask_memtype(struct vcpu *vcpu, const struct words *words)
{
    struct type_answer answer;
    uint64_t at;
    bool linear = strcmp(words->at[1], "-l") == 0;
    if (linear != (words->count == 3)) {
        monitor_print("memtype: give a guest-physical address, or -l and a linear one\n");
        return;
    }
    if (!take_number(words->at[linear ? 2 : 1], 0, UINT64_MAX, &at))
        return;
    if (!linear)
        oracle_physical(vcpu, gpa(at), MT_WB, &answer);
    else if (oracle_linear(vcpu, gva(at), 0, &answer) != 0) {
        monitor_print("0x%lx: the guest's page tables do not map it\n", at);
        return;
    }
    show_memtype(vcpu, &answer);
}

/* The lines are those of the log, but do not push others out of its ring. */
static void show_map(struct vcpu *vcpu, const struct words *words)
{
    (void)words;
    log_keep(false);
    map_log(vcpu->vm);
    log_keep(true);
}

static void print_line(const char *text)
{
    monitor_print("%s\n", text);
}

static void list_aliases(struct vcpu *vcpu, const struct words *words)
{
    struct alias_question others = {.count = words->count - 1};
    static_assert(WORDS - 1 <= ALIAS_ROOTS, "a question has room for all");
    for (unsigned i = 0; i < others.count; i++)
        if (!take_number(words->at[1 + i], 0, UINT64_MAX, &others.root[i]))
            return;
    alias_list(vcpu, &others, print_line);
}

static void show_mtrrs(struct vcpu *vcpu, const struct words *words)
{
    const struct mtrr_state *m = &vcpu->mtrr;
    (void)words;
    monitor_print("default %016lx: E %u FE %u %s\n", m->def_type, (m->def_type & MTRR_DEF_E) != 0,
                  (m->def_type & MTRR_DEF_FE) != 0, memtype_name(m->def_type & 0xff));
    for (unsigned i = 0; i < MTRR_FIXED; i++)
        monitor_print("fixed %-2u %016lx\n", i, m->fixed[i]);
    for (unsigned i = 0; i < m->count; i++)
        monitor_print(
            "variable %u base %016lx mask %016lx %s\n", i, m->variable[i].base, m->variable[i].mask,
            (m->variable[i].mask & MTRR_MASK_V) != 0 ? memtype_name(m->variable[i].base & 0xff)
                                                     : "off");
    vcpu_fetch(vcpu, STATE_CR);
    uint64_t pat = views_own_pat(vcpu);
    monitor_print("PAT %016lx", pat);
    for (unsigned i = 0; i < 8; i++)
        monitor_print(" %s", memtype_name(pat_type(pat, i)));
    monitor_print("\n");
    if (vcpu->state.pat != pat)
        monitor_print("PAT %016lx is in force\n", vcpu->state.pat);
}

static void show_policies(void)
{
    const struct preset *preset;
    for (unsigned i = 0; (preset = preset_find((enum policy_number)i)) != NULL; i++)
        monitor_print(" %s", preset->name);
    monitor_print("\n");
}

static void show_policy(const struct vcpu *vcpu)
{
    const struct policy *policy = &vcpu->vm->map.typing.policy;
    monitor_print("policy %s%s, view %s\n", policy->preset->name,
                  policy->noncoherent ? " noncoherent" : "", map_view_name(vcpu->view));
}

/* The knobs are those of the preset, whatever the config said. */
static void set_policy(struct vcpu *vcpu, const struct words *words)
{
    const char *name = words->at[1], *how = words->at[2];
    const struct preset *preset = name == NULL ? NULL : preset_named(name);
    if (name == NULL) {
        show_policy(vcpu);
    } else if (preset == NULL) {
        monitor_print("%s: no such policy; there are", name);
        show_policies();
    } else if (how != NULL && strcmp(how, "noncoherent") != 0) {
        monitor_print("%s: only noncoherent may stand there\n", how);
    } else {
        int error = views_switch(vcpu, preset->number, how != NULL);
        if (error == 0)
            show_policy(vcpu);
        else
            monitor_print("%s: it %s\n", name,
                          error == -EPERM ? "needs dangerous = yes in [host] beside the VM's device"
                                          : "has no rules for this CPU's tables");
    }
}

static void set_trace(struct vcpu *vcpu, const struct words *words)
{
    const char *what = words->at[1];
    bool on = strcmp(what, "on") == 0;
    (void)vcpu;
    if (strcmp(what, "dump") == 0) {
        log_keep(false);
        trace_dump();
        log_keep(true);
    } else if (!on && strcmp(what, "off") != 0) {
        monitor_print("%s: neither on, off nor dump\n", what);
    } else if (trace_set(on) != 0) {
        monitor_print("trace: this CPU has no ring; the log says why\n");
    }
}

/* Up to so many lines from the ring's end; an empty part of it holds zeros. */
static void show_log(struct vcpu *vcpu, const struct words *words)
{
    uint64_t lines;
    unsigned n = 0;
    (void)vcpu;
    if (!take_number(words->at[1], DEFAULT_LINES, LOG_RING_SIZE, &lines))
        return;
    for (uint64_t seen = 0; n < LOG_RING_SIZE; n++) {
        char c = log_ring.bytes[(log_ring.next - 1 - n) % LOG_RING_SIZE];
        if (c == '\0' || (c == '\n' && seen++ == lines))
            break;
    }
    for (; n > 0; n--)
        monitor_print("%c", log_ring.bytes[(log_ring.next - n) % LOG_RING_SIZE]);
}

/* Sixteen bytes from AT as the guest would read them; none where that is not the VM's memory. */
static bool show_row(struct vcpu *vcpu, uint64_t at)
{
    uint64_t part[2];
    const uint8_t *bytes = (const uint8_t *)part;
    char text[17] = "";
    for (unsigned i = 0; i < ARRAY_SIZE(part); i++)
        if (vm_gpa_kind(vcpu->vm, gpa(at + 8 * i)) != GPA_RAM ||
            vcpu_read_entry(vcpu, gpa(at + 8 * i), 8, MT_WB, &part[i]) != 0) {
            monitor_print("0x%lx: not the VM's memory\n", at + 8 * i);
            return false;
        }
    monitor_print("%012lx ", at);
    for (unsigned i = 0; i < sizeof(part); i++) {
        monitor_print(" %02x", bytes[i]);
        text[i] = bytes[i] >= ' ' && bytes[i] < 0x7f ? (char)bytes[i] : '.';
    }
    monitor_print("  %s\n", text);
    return true;
}

static void show_memory(struct vcpu *vcpu, const struct words *words)
{
    uint64_t at, n;
    if (!take_number(words->at[1], 0, UINT64_MAX - MOST_BYTES, &at) ||
        !take_number(words->at[2], DEFAULT_BYTES, MOST_BYTES, &n))
        return;
    uint64_t end = at + n;
    for (at = align_down(at, 16); at < end && show_row(vcpu, at); at += 16)
        ;
}

static void show_devices(struct vcpu *vcpu, const struct words *words)
{
    static char text[DEVICES_TEXT];
    (void)words;
    devices_describe(vcpu->vm, text);
    for (const char *line = text, *end; (end = strchr(line, '\n')) != NULL; line = end + 1)
        monitor_print("%.*s\n", (int)(end - line), line);
}

static void stop_vm(struct vcpu *vcpu, const struct words *words)
{
    (void)words;
    vm_stop(vcpu->vm, "by the monitor");
}

static void reset_vm(struct vcpu *vcpu, const struct words *words)
{
    (void)words;
    vm_begin_reset(vcpu->vm, "the monitor");
}

static void help(struct vcpu *vcpu, const struct words *words);

/* What a command needs: nothing, the VM that was chosen, or the one that its first word names. */
enum need { ANYWHERE, CHOSEN, NAMED, NAMED_ANYWHERE };

static const struct command {
    const char *name, *arguments;
    uint8_t least, most; /* of the arguments */
    uint8_t need;        /* enum need */
    void (*run)(struct vcpu *vcpu, const struct words *words);
    const char *help;
} commands[] = {
    {"help", "", 0, 0, ANYWHERE, help, "this list"},
    {"vms", "", 0, 0, ANYWHERE, list_vms, "the VMs: name, state, CPU, memory, policy"},
    {"vm", "[VM]", 0, 1, NAMED_ANYWHERE, choose_vm, "which VM the other commands are about"},
    {"vcpu", "[VM]", 0, 1, NAMED, show_vcpu, "the registers of its vCPU"},
    {"exits", "", 0, 0, CHOSEN, show_exits, "how often the guest has exited, by kind"},
    {"memtype", "GPA | -l LINEAR", 1, 2, CHOSEN, ask_memtype, "the memory type there, and why"},
    {"memmap", "", 0, 0, CHOSEN, show_map, "the memory map with all types"},
    {"alias", "[CR3]...", 0, WORDS - 1, CHOSEN, list_aliases,
     "memory mapped with and without caching"},
    {"mtrr", "", 0, 0, CHOSEN, show_mtrrs, "the guest's MTRRs and PAT"},
    {"policy", "[NAME [noncoherent]]", 0, 2, CHOSEN, set_policy,
     "whose rules are in force, or are to be"},
    {"devices", "", 0, 0, CHOSEN, show_devices, "the state of the VM's devices"},
    {"trace", "on | off | dump", 1, 1, CHOSEN, set_trace, "records of its CPU; dump: into the log"},
    {"log", "[N]", 0, 1, ANYWHERE, show_log, "the log's last N lines (20)"},
    {"mem", "GPA [N]", 1, 2, CHOSEN, show_memory, "N bytes (64) of guest-physical memory"},
    {"stop", "VM", 1, 1, NAMED, stop_vm, "ends the VM"},
    {"reset", "VM", 1, 1, NAMED, reset_vm, "starts the VM again"},
    {"quit", "", 0, 0, ANYWHERE, NULL, "closes the prompt, as Ctrl-] does"},
};

static void help(struct vcpu *vcpu, const struct words *words)
{
    (void)vcpu, (void)words;
    for (unsigned i = 0; i < ARRAY_SIZE(commands); i++)
        monitor_print("%-8s%-20s %s\n", commands[i].name, commands[i].arguments, commands[i].help);
}

/* Cuts TEXT at its blanks; false: there are more words than any command takes. */
static bool split(char *text, struct words *words)
{
    for (*words = (struct words){.count = 0}; *text != '\0';) {
        while (*text == ' ')
            *text++ = '\0';
        if (*text == '\0')
            break;
        if (words->count == WORDS)
            return false;
        words->at[words->count++] = text;
        while (*text != ' ' && *text != '\0')
            text++;
    }
    return true;
}

static const struct command *command_of(const struct words *words)
{
    for (unsigned i = 0; i < ARRAY_SIZE(commands) && words->count > 0; i++)
        if (strcmp(words->at[0], commands[i].name) == 0)
            return &commands[i];
    return NULL;
}

const struct vm *monitor_subject(const char *text)
{
    char copy[LINE_SIZE];
    struct words words;
    memcpy(copy, text, LINE_SIZE);
    (void)split(copy, &words);
    const struct command *c = command_of(&words);
    if (c == NULL || c->need == ANYWHERE || c->need == NAMED_ANYWHERE)
        return NULL;
    return c->need == NAMED && words.count > 1 ? vms_named(words.at[1]) : subject();
}

/* A complaint has been printed where VCPU, or the VM that is named, is not there. */
static bool has_its_vm(const struct command *c, const struct vcpu *vcpu, const struct words *words)
{
    bool names = (c->need == NAMED || c->need == NAMED_ANYWHERE) && words->count > 1;
    if (names && vms_named(words->at[1]) == NULL)
        monitor_print("%s: no such VM; vms lists them\n", words->at[1]);
    else if (vcpu == NULL && (c->need == CHOSEN || c->need == NAMED))
        monitor_print("the VM has ended, or does not run yet; vm NAME chooses another\n");
    else
        return true;
    return false;
}

bool monitor_command(struct vcpu *vcpu, const char *text)
{
    char copy[LINE_SIZE];
    struct words words;
    memcpy(copy, text, LINE_SIZE);
    bool fits = split(copy, &words);
    const struct command *c = command_of(&words);
    if (c == NULL) {
        if (words.count > 0)
            monitor_print("%s: no such command; help lists them\n", words.at[0]);
        return true;
    }
    if (!fits || words.count - 1 < c->least || words.count - 1 > c->most)
        monitor_print("%s takes: %s\n", c->name, c->most == 0 ? "nothing" : c->arguments);
    else if (c->run == NULL)
        return false;
    else if (has_its_vm(c, vcpu, &words))
        c->run(vcpu, &words);
    return true;
}
