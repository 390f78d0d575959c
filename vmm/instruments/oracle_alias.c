/* The alias detector at work on a VM: its tables, its live view, and what is told of an alias. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "vmm/instruments/alias.h"

#include "lib/assert.h"
#include "lib/errno.h"
#include "lib/format.h"
#include "lib/string.h"
#include "mm/memtype.h"
#include "vmm/vcpu/access.h"
#include "vmm/host/host.h"
#include "vmm/typing/oracle.h"
#include "vmm/host/watchdog.h"

/* Pages that a scan takes, of those left to the VM, if there are so many in a row; lines of a list.
 */
enum { MOST_PAGES = 128, MOST_LINES = 24 };

static int read_table(void *context, gpa_t gpa, unsigned size, enum memtype type, uint64_t *table)
{
    watchdog_look(); /* a guest may have many */
    return vcpu_read_table(context, gpa, size, type, table);
}

static void find_type(void *context, gpa_t gpa, enum memtype pat, struct alias_type *out)
{
    struct type_answer answer;
    oracle_physical(context, gpa, pat, &answer);
    *out = (struct alias_type){.present = answer.present != 0,
                               .effective = answer.effective,
                               .hpa = hpa(answer.hpa),
                               .next = answer.next};
}

/* What becomes of the aliases of a scan: an answer, or lines. */
struct report {
    uint64_t root[1 + ALIAS_ROOTS]; /* the vCPU's own, and then those of the question */
    unsigned roots;
    uint64_t index; /* counts down to the one that is asked for */
    struct alias_answer *answer;
    void (*line)(const char *text);
    unsigned lines;
};

typedef void found_fn(void *context, const struct alias_run *cacheable,
                      const struct alias_run *uncacheable);

/* Takes the roots of a question behind the vCPU's own; false: there are too many. */
static bool take_roots(struct report *report, const struct alias_question *question)
{
    if (question->count > ALIAS_ROOTS)
        return false;
    report->roots = 1 + (unsigned)question->count;
    memcpy(&report->root[1], question->root, sizeof(question->root));
    return true;
}

/* Reads the tables of all roots. *COUNT: the aliases that were found. 0 or a negative errno. */
static int scan(struct vcpu *vcpu, struct report *report, found_fn *found, unsigned *count)
{
    const struct alias_memory memory = {read_table, find_type, vcpu};
    struct walk_state state = *vcpu_walk_state(vcpu);
    struct frames *frames = &vcpu->vm->host->frames;
    unsigned pages = (unsigned)min_u64(MOST_PAGES, vcpu->vm->most_tables - vcpu->vm->tables);
    void *room = NULL;
    *count = 0;
    if ((state.cr0 & CR0_PG) == 0) /* then each byte has one address */
        return 0;
    for (; pages >= ALIAS_LEAST / PAGE_SIZE; pages /= 2)
        if ((room = frames_alloc(frames, pages)) != NULL)
            break;
    if (room == NULL)
        return -ENOMEM;
    struct alias_scan *scan = alias_begin(room, pages * PAGE_SIZE, &memory);
    int error = 0;
    report->root[0] = state.cr3;
    for (unsigned i = 0; i < report->roots && error == 0; i++) {
        state.cr3 = report->root[i];
        error = alias_read(scan, &state, i);
        state.pdpte_valid = false; /* they are those of the CR3 that is loaded */
    }
    *count = alias_find(scan, found, report);
    frames_free(frames, room, pages);
    return error;
}

static struct alias_path path_of(const struct report *report, const struct alias_run *run)
{
    return (struct alias_path){.root = report->root[run->root],
                               .linear = run->linear.v,
                               .gpa = run->gpa.v,
                               .page = 1u << run->page_shift,
                               .pat_type = run->pat_type,
                               .effective = run->effective};
}

static void answer_one(void *context, const struct alias_run *cacheable,
                       const struct alias_run *uncacheable)
{
    struct report *report = context;
    if (report->index-- != 0)
        return;
    *report->answer = (struct alias_answer){.hpa = cacheable->hpa.v,
                                            .size = cacheable->pages * PAGE_SIZE,
                                            .cacheable = path_of(report, cacheable),
                                            .uncacheable = path_of(report, uncacheable)};
}

int64_t oracle_alias(struct vcpu *vcpu, const struct alias_question *question, uint64_t index,
                     struct alias_answer *answer)
{
    struct report report = {.index = index, .answer = answer};
    unsigned count;
    if (!take_roots(&report, question))
        return -EINVAL;
    int error = scan(vcpu, &report, answer_one, &count);
    return error != 0 ? error : (int64_t)count;
}

static size_t put_path(char *out, size_t size, const struct report *report,
                       const struct alias_run *run)
{
    unsigned shift = run->page_shift;
    return format(out, size, ", %s by CR3 0x%lx at 0x%lx (GPA 0x%lx, pages of %u%c, PAT %s)",
                  effective_name(run->effective), report->root[run->root], run->linear.v,
                  run->gpa.v, 1u << shift % 10, "KMG"[shift / 10 - 1], memtype_name(run->pat_type));
}

static void list_one(void *context, const struct alias_run *cacheable,
                     const struct alias_run *uncacheable)
{
    struct report *report = context;
    char text[240];
    if (report->lines++ >= MOST_LINES)
        return;
    size_t n = format(text, sizeof(text), "alias: HPA 0x%lx+0x%lx", cacheable->hpa.v,
                      cacheable->pages * PAGE_SIZE);
    n += put_path(text + n, sizeof(text) - n, report, cacheable);
    put_path(text + n, sizeof(text) - n, report, uncacheable);
    report->line(text);
}

void alias_list(struct vcpu *vcpu, const struct alias_question *question,
                void (*line)(const char *text))
{
    struct report report = {.line = line};
    char text[80];
    unsigned count;
    bool taken = take_roots(&report, question);
    assert(taken);
    int error = scan(vcpu, &report, list_one, &count);
    format(text, sizeof(text), "aliases: %u%s", count,
           error == -E2BIG    ? ", but the search gave up: there is too much to read"
           : error == -ENOMEM ? "; there was no memory for the search"
                              : "");
    line(text);
}
