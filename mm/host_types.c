/* The machine's own memory types: reads its MTRRs and judges what the firmware made of them. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "mm/host_types.h"

#include "lib/errno.h"
#include "lib/log.h"
#include "lib/string.h"
#include "lib/x86.h"
#include "mm/memtype.h"

/* Pieces that are looked at before the rest is left, and lines that are logged. */
enum { MAX_PIECES = 1 << 16, MAX_WARNINGS = 32 };

enum { CAP_COUNT = 0xff, CAP_FIX = 1 << 8 };

static const uint32_t fixed_msrs[MTRR_FIXED] = {
    MSR_MTRR_FIX64K,      MSR_MTRR_FIX16K_0,    MSR_MTRR_FIX16K_1,    MSR_MTRR_FIX4K_0,
    MSR_MTRR_FIX4K_0 + 1, MSR_MTRR_FIX4K_0 + 2, MSR_MTRR_FIX4K_0 + 3, MSR_MTRR_FIX4K_0 + 4,
    MSR_MTRR_FIX4K_0 + 5, MSR_MTRR_FIX4K_0 + 6, MSR_MTRR_FIX4K_7,
};

static void read_ranges(host_msr_reader *read, uint64_t cap, struct mtrr_state *state)
{
    state->count = (uint8_t)min_u64(cap & CAP_COUNT, MTRR_MAX_VARIABLE);
    if ((cap & CAP_COUNT) > MTRR_MAX_VARIABLE)
        log_line("host MTRR: only %u of %lu variable ranges are looked at", MTRR_MAX_VARIABLE,
                 (unsigned long)(cap & CAP_COUNT));
    for (uint32_t i = 0; i < state->count; i++) {
        read(MSR_MTRR_PHYSBASE0 + 2 * i, &state->variable[i].base);
        read(MSR_MTRR_PHYSBASE0 + 2 * i + 1, &state->variable[i].mask);
    }
    for (unsigned i = 0; i < MTRR_FIXED && (cap & CAP_FIX) != 0; i++)
        read(fixed_msrs[i], &state->fixed[i]);
}

uint64_t host_types_read(host_msr_reader *read, unsigned phys_bits, struct mtrr_state *state)
{
    const uint64_t force = SYSCFG_TOM2_EN | SYSCFG_TOM2_FORCE_WB;
    uint64_t cap, syscfg = 0, top = 0;
    *state = (struct mtrr_state){.phys_bits = (uint8_t)phys_bits};
    if (!read(MSR_MTRRCAP, &cap) || !read(MSR_MTRR_DEF_TYPE, &state->def_type))
        return 0;
    read_ranges(read, cap, state);
    if ((cap & CAP_FIX) == 0)
        state->def_type &= ~MTRR_DEF_FE;
    if (read(MSR_SYSCFG, &syscfg) && (syscfg & force) == force && read(MSR_TOP_MEM2, &top))
        state->default_wb_end = top > 4 * GIB ? align_down(top, 8 * MIB) : 0;
    return syscfg;
}

void host_types_write(host_msr_writer *write, const struct mtrr_state *state)
{
    write(MSR_MTRR_DEF_TYPE, 0);
    for (unsigned i = 0; i < MTRR_FIXED && (state->def_type & MTRR_DEF_FE) != 0; i++)
        write(fixed_msrs[i], state->fixed[i]);
    for (uint32_t i = 0; i < state->count; i++) {
        write(MSR_MTRR_PHYSBASE0 + 2 * i, state->variable[i].base);
        write(MSR_MTRR_PHYSBASE0 + 2 * i + 1, state->variable[i].mask);
    }
    write(MSR_MTRR_DEF_TYPE, state->def_type);
}

bool host_types_equal(const struct mtrr_state *a, const struct mtrr_state *b)
{
    return a->count == b->count && a->phys_bits == b->phys_bits &&
           memcmp(a, b, offsetof(struct mtrr_state, count)) == 0;
}

/* --- warnings --------------------------------------------------------------------------------- */

struct judge {
    const struct mtrr_state *state;
    unsigned pieces, warnings;
};

/* One more piece and, if WARNS, one more warning; false: enough has been seen. */
static bool goes_on(struct judge *judge, bool warns)
{
    if (warns && ++judge->warnings > MAX_WARNINGS)
        return false;
    if (++judge->pieces < MAX_PIECES)
        return true;
    log_line("host MTRR: they cut memory into more than %u pieces: the rest is not judged",
             MAX_PIECES);
    return false;
}

/* The run from *AT, at most to END, of the same type and the same rule; *AT goes behind it. */
static struct mtrr_answer run_of(struct judge *judge, uint64_t *at, uint64_t end)
{
    struct mtrr_answer first = mtrr_type(judge->state, *at), next = first;
    while (next.type == first.type && next.rule == first.rule && *at < end) {
        *at = min_u64(next.next, end);
        if (++judge->pieces >= MAX_PIECES || *at == end)
            break;
        next = mtrr_type(judge->state, *at);
    }
    return first;
}

static bool judge_ram(struct judge *judge, uint64_t start, uint64_t end)
{
    for (uint64_t at = start, from = start; at < end; from = at) {
        struct mtrr_answer answer = run_of(judge, &at, end);
        bool undefined = answer.rule == MTRR_RULE_UNDEFINED, slow = answer.type != MT_WB;
        if (!goes_on(judge, slow || undefined))
            return false;
        if (undefined)
            log_line("host MTRR: RAM 0x%lx-0x%lx: ranges overlap in a way that the manuals leave "
                     "undefined; mend the firmware's set-up",
                     from, at);
        else if (slow)
            log_line("host MTRR: RAM 0x%lx-0x%lx is %s, not WB; mend the firmware's set-up", from,
                     at, memtype_name(answer.type));
    }
    return true;
}

void host_types_judge(const struct mtrr_state *state, uint64_t syscfg, const struct memmap *map)
{
    struct judge judge = {.state = state};
    if ((state->def_type & MTRR_DEF_E) == 0)
        log_line("host MTRR: disabled: all memory is UC; mend the firmware's set-up");
    if ((syscfg & SYSCFG_FIX_DRAM_MOD_EN) != 0)
        log_line("host MTRR: SYSCFG.MtrrFixDramModEn is open; mend the firmware's set-up");
    for (unsigned i = 0; i < map->count && (state->def_type & MTRR_DEF_E) != 0; i++)
        if (map->r[i].kind == MEM_RAM && map->r[i].start >= MIB &&
            !judge_ram(&judge, map->r[i].start, map->r[i].end))
            return;
}

void host_types_judge_bar(const struct mtrr_state *state, uint64_t at, const char *name)
{
    unsigned type = mtrr_type(state, at).type;
    if (type == MT_WB || type == MT_WT || type == MT_WP)
        log_line("host MTRR: registers of %s at 0x%lx are %s; mend the firmware's set-up", name, at,
                 memtype_name(type));
}

/* --- what guests may have --------------------------------------------------------------------- */

int host_types_keep_wb(const struct mtrr_state *state, struct extents *pool)
{
    struct judge judge = {.state = state};
    struct range free = {0, 0};
    for (uint64_t at = 0; extents_next(pool, at, &free);) {
        at = free.start;
        bool keep = run_of(&judge, &at, free.end).type == MT_WB;
        bool done = judge.pieces < MAX_PIECES &&
                    (keep || extents_withdraw(pool, (struct range){free.start, at}));
        if (!done) {
            log_line("host MTRR: they cut RAM into too many pieces; mend the firmware's set-up");
            return -E2BIG;
        }
    }
    return 0;
}
