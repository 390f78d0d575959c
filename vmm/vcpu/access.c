/* Guest memory as an instruction sees it: by segment, linear and guest-physical address. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "vmm/vcpu/access.h"

#include "lib/assert.h"
#include "lib/errno.h"
#include "lib/string.h"
#include "lib/x86.h"
#include "vmm/vcpu/decode.h"
#include "vmm/host/host.h"
#include "vmm/vcpu/walk_code.h"
#include "vmm/typing/views.h"

enum gpa_kind vm_gpa_kind(const struct vm *vm, gpa_t gpa)
{
    if (gpa.v >= GUEST_HOLE_START && gpa.v < GUEST_HOLE_END)
        return vm->config->unmapped == UNMAPPED_STOP ? GPA_NOWHERE : GPA_HOLE;
    for (unsigned i = 0; i < vm->ram_count; i++)
        if (gpa.v >= vm->ram[i].start && gpa.v < vm->ram[i].end)
            return GPA_RAM;
    return GPA_NOWHERE;
}

/* Memory of which the leaf has to be asked. */
static __attribute__((noinline)) char *open_other(struct vcpu *vcpu, enum window_slot slot,
                                                  gpa_t gpa, enum memtype pat)
{
    hpa_t at;
    const struct vm *vm = vcpu->vm;
    const struct policy *policy = &vm->map.typing.policy;
    if (!extent_byte(vm->extents, vm->extent_count, gpa, &at))
        return NULL;
    struct pt_attr leaf = pt_query(&vcpu->map->typing.views[vcpu->view].pt, gpa.v).attr;
    bool cd = policy_cd_acts(policy, (vcpu->state.cr0 & CR0_CD) != 0);
    enum memtype host = (enum memtype)mtrr_type(&vm->host->mtrr, at.v).type;
    return window_open(vcpu->cpu, slot, at, policy_window(vm->caps->types, leaf, pat, cd, host));
}

static inline bool is_plain(const struct plain *plain, gpa_t gpa)
{
    return gpa.v - plain->start < plain->size;
}

/* The type of a window for plain memory where the guest's PAT says TYPE. */
static inline enum memtype plain_type(const struct vcpu *vcpu, enum memtype type)
{
    return (vcpu->state.cr0 & vcpu->moot) != 0 ? MT_UC : (enum memtype)vcpu->plain->types[type];
}

/*
 * The guest's RAM from GPA to the end of its page in a window, through the type that the guest's
 * own access has where its PAT says TYPE; NULL where GPA is not RAM. CR0 has been fetched.
 */
static inline char *open_page(struct vcpu *vcpu, enum window_slot slot, gpa_t gpa,
                              enum memtype type)
{
    const struct plain *plain = vcpu->plain;
    if (!is_plain(plain, gpa))
        return open_other(vcpu, slot, gpa, type);
    return window_open(vcpu->cpu, slot, hpa(gpa.v + plain->to_hpa), plain_type(vcpu, type));
}

static int read_nothing(struct vcpu *vcpu, gpa_t gpa, uint64_t *value)
{
    *value = UINT64_MAX;
    if (vm_gpa_kind(vcpu->vm, gpa) != GPA_HOLE)
        return -EIO;
    vcpu->hole_reads++;
    return 0;
}

static int walk_read(void *context, gpa_t gpa, unsigned width, enum memtype type, uint64_t *value)
{
    struct vcpu *vcpu = context;
    char *entry = open_page(vcpu, WINDOW_WALK, gpa, type);
    if (entry == NULL)
        return read_nothing(vcpu, gpa, value);
    *value = width == 8 ? *(volatile uint64_t *)(void *)entry : *(volatile uint32_t *)(void *)entry;
    window_close(vcpu->cpu, WINDOW_WALK);
    return 0;
}

int vcpu_read_entry(struct vcpu *vcpu, gpa_t gpa, unsigned width, enum memtype type,
                    uint64_t *value)
{
    return walk_read(vcpu, gpa, width, type, value);
}

int vcpu_read_table(struct vcpu *vcpu, gpa_t gpa, unsigned size, enum memtype type, uint64_t *table)
{
    const char *page = open_page(vcpu, WINDOW_WALK, gpa, type);
    if (page == NULL)
        return -EIO;
    for (unsigned i = 0; i < size / 8; i++)
        table[i] = ((const volatile uint64_t *)(const void *)page)[i];
    window_close(vcpu->cpu, WINDOW_WALK);
    return 0;
}

static int walk_set_bits(void *context, gpa_t gpa, unsigned width, enum memtype type, uint64_t old,
                         uint64_t bits)
{
    struct vcpu *vcpu = context;
    char *entry = open_page(vcpu, WINDOW_WALK, gpa, type);
    uint32_t old32 = (uint32_t)old;
    bool same;
    if (entry == NULL)
        return vm_gpa_kind(vcpu->vm, gpa) == GPA_HOLE ? 0 : -EIO;
    if (width == 8)
        same = __atomic_compare_exchange_n((uint64_t *)(void *)entry, &old, old | bits, false,
                                           __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
    else
        same =
            __atomic_compare_exchange_n((uint32_t *)(void *)entry, &old32, old32 | (uint32_t)bits,
                                        false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
    window_close(vcpu->cpu, WINDOW_WALK);
    return same ? 0 : -EEXIST;
}

static bool in_limit(const struct seg *seg, uint64_t offset, unsigned width)
{
    bool expand_down = (seg->attr & (SEG_S | 0xc)) == (SEG_S | 0x4);
    uint64_t last = offset + width - 1;
    if (!expand_down)
        return last <= seg->limit;
    return offset > seg->limit && last <= ((seg->attr & SEG_D) != 0 ? UINT32_MAX : UINT16_MAX);
}

static bool allows(struct vcpu *vcpu, const struct seg *seg, bool write)
{
    if ((vcpu->state.cr0 & CR0_PE) == 0 || (vcpu->state.rflags & RFLAGS_VM) != 0)
        return true;
    bool code = (seg->attr & 8) != 0, second = (seg->attr & 2) != 0;
    return (seg->attr & SEG_P) != 0 && (write ? !code && second : !code || second);
}

static bool is_canonical(const struct vcpu *vcpu, uint64_t address)
{
    unsigned shift = (vcpu->state.cr4 & CR4_LA57) != 0 ? 64 - 57 : 64 - 48;
    return (uint64_t)((int64_t)(address << shift) >> shift) == address;
}

bool vcpu_linear(struct vcpu *vcpu, enum seg_reg seg_reg, uint64_t offset, unsigned width,
                 bool write, gva_t *linear)
{
    unsigned code_size = vcpu_code_size(vcpu);
    vcpu_fetch(vcpu, STATE_SEG);
    const struct seg *seg = &vcpu->state.seg[seg_reg];
    bool legal;
    if (code_size == 8) {
        *linear = gva((seg_reg >= SEG_FS ? seg->base : 0) + offset);
        legal = is_canonical(vcpu, linear->v) && is_canonical(vcpu, linear->v + width - 1);
    } else {
        *linear = gva((uint32_t)(seg->base + offset));
        legal = in_limit(seg, offset, width) && allows(vcpu, seg, write);
    }
    if (!legal)
        vcpu_raise(vcpu, seg_reg == SEG_SS ? VECTOR_SS : VECTOR_GP, 0);
    return legal;
}

void vcpu_stop_nowhere(struct vcpu *vcpu, gpa_t gpa, unsigned access)
{
    const char *what = (access & PT_W) != 0 ? "write" : (access & PT_X) != 0 ? "fetch" : "read";
    vm_stop(vcpu->vm, "%s at GPA 0x%lx, where nothing is, by RIP 0x%lx", what, gpa.v,
            vcpu->state.rip);
}

void vcpu_stop_tables(struct vcpu *vcpu, gpa_t gpa)
{
    vm_stop(vcpu->vm, "page tables at GPA 0x%lx, where nothing is, by RIP 0x%lx", gpa.v,
            vcpu->state.rip);
}

static const struct walk_state *walk_state(struct vcpu *vcpu)
{
    const struct guest_state *guest = &vcpu->state;
    struct walk_state *state = &vcpu->walk;
    state->cr0 = guest->cr0;
    state->cr3 = guest->cr3;
    state->cr4 = guest->cr4;
    state->efer = guest->efer;
    state->rflags = guest->rflags;
    state->pat = guest->pat;
    state->cpl = guest->cpl;
    if (state->pdpte_valid)
        memcpy(state->pdpte, guest->pdpte, sizeof(state->pdpte));
    return state;
}

const struct walk_state *vcpu_walk_state(struct vcpu *vcpu)
{
    vcpu_fetch(vcpu, STATE_CR | STATE_MODE | STATE_CODE);
    return walk_state(vcpu);
}

static __attribute__((noinline)) int walk(struct vcpu *vcpu, gva_t linear, unsigned access,
                                          struct walk_result *result)
{
    const struct walk_memory memory = {walk_read, walk_set_bits, vcpu};
    return guest_walk(vcpu_walk_state(vcpu), &memory, linear, access, result);
}

/* What walk_code() reads from. */
struct tables {
    struct cpu *cpu;
    const struct plain *plain;
    enum memtype type; /* of the window */
    bool open;
};

static inline bool read_plain(void *context, gpa_t gpa, uint64_t *entry)
{
    struct tables *tables = context;
    if (!is_plain(tables->plain, gpa))
        return false;
    hpa_t at = hpa(gpa.v + tables->plain->to_hpa);
    *entry = *(volatile uint64_t *)window_move(tables->cpu, WINDOW_WALK, at, tables->type);
    tables->open = true;
    return true;
}

static inline bool walk_plain(struct vcpu *vcpu, gva_t linear, struct walk_result *result)
{
    const struct guest_state *guest = &vcpu->state;
    const struct walk_state state = {
        .cr3 = guest->cr3,
        .cr4 = guest->cr4,
        .efer = guest->efer,
        .pat = guest->pat,
        .cpl = guest->cpl,
        .phys_bits = vcpu->walk.phys_bits,
    };
    struct tables tables = {vcpu->cpu, vcpu->plain, plain_type(vcpu, entry_type(&state, 0, 0)),
                            false};
    bool done = walk_code(&state, read_plain, &tables, linear, result);
    if (tables.open)
        window_close(vcpu->cpu, WINDOW_WALK);
    return done;
}

/* Only the fetch of code is short of time. */
static inline int walk_fetch(struct vcpu *vcpu, gva_t linear, struct walk_result *result)
{
    vcpu_fetch(vcpu, STATE_CR | STATE_MODE | STATE_CODE);
    if ((vcpu->state.cr0 & CR0_PG) == 0) {
        walk_unpaged(linear, result);
        return 0;
    }
    return walk_plain(vcpu, linear, result) ? 0 : walk(vcpu, linear, WALK_FETCH, result);
}

bool vcpu_read_pdptes(struct vcpu *vcpu, uint64_t cr3, uint64_t pdpte[4])
{
    const uint64_t present = 1, reserved_low = 0x1e6;
    uint64_t reserved = reserved_low | ~((1ull << vcpu->mtrr.phys_bits) - 1);
    for (unsigned i = 0; i < 4; i++) {
        gpa_t at = gpa((uint32_t)align_down(cr3, 32) + 8 * i);
        if (walk_read(vcpu, at, 8, MT_WB, &pdpte[i]) != 0) {
            vcpu_stop_tables(vcpu, at);
            return false;
        }
        if ((pdpte[i] & present) != 0 && (pdpte[i] & reserved) != 0)
            return false;
    }
    return true;
}

/* A walk that failed: the guest gets its fault, or is stopped. */
static void refuse(struct vcpu *vcpu, gva_t linear, int error, const struct walk_result *result)
{
    if (error == -EFAULT)
        vcpu_raise_page_fault(vcpu, linear, result->error);
    else if (error == -EINVAL)
        vcpu_raise(vcpu, VECTOR_GP, 0);
    else
        vcpu_stop_tables(vcpu, result->at);
}

/* Where a part of an access inside one page goes; false: a fault is queued, or the VM stopped. */
static bool translate(struct vcpu *vcpu, gva_t linear, unsigned access, struct walk_result *result)
{
    int error = walk(vcpu, linear, access, result);
    if (error != 0)
        refuse(vcpu, linear, error, result);
    else if (vm_gpa_kind(vcpu->vm, result->gpa) == GPA_NOWHERE)
        vcpu_stop_nowhere(vcpu, result->gpa, access);
    else
        return true;
    return false;
}

static void copy_part(struct vcpu *vcpu, const struct walk_result *at, unsigned access, char *data,
                      unsigned width)
{
    char *page = open_page(vcpu, WINDOW_DATA, at->gpa, (enum memtype)at->pat_type);
    bool write = (access & WALK_WRITE) != 0;
    if (page == NULL) {
        if (!write)
            memset(data, 0xff, width);
        vcpu->hole_writes += write ? 1 : 0;
        vcpu->hole_reads += write ? 0 : 1;
        return;
    }
    if (write)
        memcpy(page, data, width);
    else
        memcpy(data, page, width);
    window_close(vcpu->cpu, WINDOW_DATA);
}

/* How many of WIDTH bytes lie in the page of LINEAR. */
static unsigned first_part(gva_t linear, unsigned width)
{
    assert(width > 0 && width <= 16);
    return (unsigned)min_u64(width, PAGE_SIZE - linear.v % PAGE_SIZE);
}

/*
 * HIGH is set where the access goes on in a second page; a fault there leaves the flags of the
 * first page alone.
 */
static bool translate_all(struct vcpu *vcpu, gva_t linear, unsigned access, unsigned width,
                          struct walk_result *low, struct walk_result *high)
{
    unsigned first = first_part(linear, width);
    gva_t second = gva(linear.v + first);
    if (first < width && vcpu_code_size(vcpu) != 8)
        second.v = (uint32_t)second.v;
    if (first < width && (!translate(vcpu, linear, access | WALK_PEEK, low) ||
                          !translate(vcpu, second, access, high)))
        return false;
    return translate(vcpu, linear, access, low);
}

bool vcpu_probe(struct vcpu *vcpu, gva_t linear, unsigned access, unsigned width)
{
    struct walk_result low, high;
    return translate_all(vcpu, linear, access, width, &low, &high);
}

bool vcpu_access(struct vcpu *vcpu, gva_t linear, unsigned access, void *data, unsigned width)
{
    unsigned first = first_part(linear, width);
    struct walk_result low, high;
    if (!translate_all(vcpu, linear, access, width, &low, &high))
        return false;
    copy_part(vcpu, &low, access, data, first);
    if (first < width)
        copy_part(vcpu, &high, access, (char *)data + first, width - first);
    return true;
}

bool vcpu_peek(struct vcpu *vcpu, gva_t linear, uint64_t *value)
{
    struct walk_result at;
    return walk(vcpu, linear, WALK_READ, &at) == 0 && vm_gpa_kind(vcpu->vm, at.gpa) == GPA_RAM &&
           walk_read(vcpu, at.gpa, 8, (enum memtype)at.pat_type, value) == 0;
}

unsigned vcpu_fetch_code(struct vcpu *vcpu, unsigned code_size, unsigned have, uint8_t *bytes)
{
    gva_t linear = vcpu_code_address(vcpu, code_size, have);
    struct walk_result at;
    unsigned n = (unsigned)min_u64(INSN_MAX_LENGTH - have, PAGE_SIZE - linear.v % PAGE_SIZE);
    int error = walk_fetch(vcpu, linear, &at);
    if (error != 0) {
        refuse(vcpu, linear, error, &at);
        return 0;
    }
    const char *page = open_page(vcpu, WINDOW_DATA, at.gpa, (enum memtype)at.pat_type);
    if (page == NULL) {
        vcpu_stop_nowhere(vcpu, at.gpa, PT_X);
        return 0;
    }
    if (n == INSN_MAX_LENGTH) /* nearly always, and then no call */
        memcpy(bytes, page, INSN_MAX_LENGTH);
    else
        memcpy(bytes + have, page, n);
    window_close(vcpu->cpu, WINDOW_DATA);
    return have + n;
}
