/* How the vCPUs of a VM share second-level tables. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "vmm/typing/sharing.h"

#include "lib/assert.h"
#include "lib/string.h"

/* The same values, or others that say the same of the VM's memory. */
static bool says_the_same(struct typing *typing, const struct mtrr_state *mtrr)
{
    const struct view *view = &typing->views[VIEW_TYPED];
    if (!view->made || (view->stale & STALE_POLICY) != 0)
        return false;
    return memcmp(&view->applied, mtrr, offsetof(struct mtrr_state, count)) == 0 ||
           !typing_owes(typing, mtrr);
}

/* One that ME may rewrite: its own, else one that has been made, else any. */
static struct typing *find_free(const struct sharing *sharing, unsigned me)
{
    struct typing *found = NULL;
    for (unsigned i = 0; i < sharing->count; i++) {
        struct typing *typing = sharing->typings[i];
        if (typing->on.bits == 1ull << me)
            return typing;
        if (typing->on.bits == 0 && (found == NULL || !found->views[VIEW_TYPED].made))
            found = typing;
    }
    assert(found != NULL); /* there are as many as vCPUs */
    return found;
}

static struct typing *find_typed(const struct sharing *sharing, unsigned me,
                                 const struct mtrr_state *mtrr, bool *ready)
{
    *ready = true;
    for (unsigned i = 0; i < sharing->count; i++)
        if (says_the_same(sharing->typings[i], mtrr))
            return sharing->typings[i];
    *ready = false;
    struct typing *typing = find_free(sharing, me);
    typing_mark(typing);
    return typing;
}

struct shared_view sharing_take(const struct sharing *sharing, unsigned me, enum view_kind kind,
                                const struct mtrr_state *mtrr)
{
    const struct cpu_set self = {1ull << me};
    struct shared_view taken = {.typing = sharing->typings[0]};
    bool ready = typing_is_ready(taken.typing, kind);
    if (kind == VIEW_TYPED)
        taken.typing = find_typed(sharing, me, mtrr, &ready);
    struct cpu_set *stale = &taken.typing->stale[kind];
    bool forgets = (stale->bits & self.bits) != 0;
    sharing_leave(sharing, self);
    if (kind == VIEW_TYPED)
        taken.typing->on.bits |= self.bits;
    stale->bits &= ~self.bits;
    if (!ready) {
        taken.changed = true;
        taken.error = typing_prepare(taken.typing, mtrr, kind);
        stale->bits = ~self.bits;
    }
    if (forgets && taken.error == 0)
        taken.typing->hooks->invalidate(taken.typing, taken.typing->views[kind].pt.root);
    return taken;
}

void sharing_leave(const struct sharing *sharing, struct cpu_set vcpus)
{
    for (unsigned i = 0; i < sharing->count; i++)
        sharing->typings[i]->on.bits &= ~vcpus.bits;
}

void sharing_set_policy(const struct sharing *sharing, const struct policy *policy)
{
    for (unsigned i = 0; i < sharing->count; i++) {
        sharing->typings[i]->policy = *policy;
        typing_mark_policy(sharing->typings[i]);
    }
}

int sharing_set_mmio(struct sharing *sharing, const struct mmio_range *ranges, unsigned count)
{
    int error = 0;
    assert(count <= MMIO_MAX_RANGES);
    for (unsigned i = 0; i < sharing->count && error == 0; i++) {
        struct typing *typing = sharing->typings[i];
        error = typing_set_mmio(typing, ranges, count);
        for (unsigned kind = 0; kind < VIEWS; kind++)
            typing->stale[kind].bits = UINT64_MAX;
    }
    memcpy(sharing->mmio, ranges, count * sizeof(*ranges));
    return error;
}

bool sharing_is_split(const struct sharing *sharing)
{
    unsigned used = 0;
    for (unsigned i = 0; i < sharing->count; i++)
        used += sharing->typings[i]->on.bits != 0;
    return used > 1;
}
