/* All VMs of the machine: which CPU each has, how they are made, and how they run side by side. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "vmm/vms.h"

#include "lib/errno.h"
#include "lib/string.h"
#include "mm/host_types.h"
#include "vmm/guest.h"
#include "vmm/host/host.h"
#include "vmm/host/log.h"
#include "vmm/host/panic.h"
#include "vmm/passthrough/passthrough.h"
#include "vmm/host/request.h"
#include "vmm/host/smp.h"
#include "vmm/host/timer.h"
#include "vmm/instruments/trace.h"
#include "vmm/typing/views.h"
#include "vmm/host/watchdog.h"

static struct vm *vms[CONFIG_MAX_VMS];
static uint8_t cpus[CONFIG_MAX_VMS][CONFIG_MAX_CPUS]; /* that their vCPUs run on */
static unsigned count;
static unsigned running; /* vCPUs whose VM has not ended */

static const struct virt_ops *ops;
static struct virt_caps caps;
static struct host *host;
static const struct boot_info *files;
static const struct config *all;
static int error; /* what came of the making of a VM */

struct vm *vms_get(unsigned index)
{
    return index < count ? vms[index] : NULL;
}

bool vms_is_running(const struct vm *vm)
{
    enum vm_state state = __atomic_load_n(&vm->state, __ATOMIC_ACQUIRE);
    return state == VM_RUNNING || state == VM_RESETTING;
}

bool vms_any_is_running(void)
{
    for (unsigned i = 0; i < count; i++)
        if (vms_is_running(vms[i]))
            return true;
    return false;
}

struct vm *vms_named(const char *name)
{
    for (unsigned i = 0; i < count; i++)
        if (strcmp(vms[i]->config->name, name) == 0)
            return vms[i];
    return NULL;
}

/* --- which CPU a VM has ----------------------------------------------------------------------- */

static struct cpu_set pins(const struct vm_config *vm)
{
    struct cpu_set set = {0};
    for (unsigned i = 0; i < vm->pin_count; i++)
        set.bits |= vm->pin[i] < MAX_CPUS ? 1ull << vm->pin[i] : 0;
    return set;
}

static int check_pins(const struct vm_config *vm)
{
    struct cpu_set up = smp_cpus();
    for (unsigned i = 0; i < vm->pin_count; i++) {
        if (vm->pin[i] < MAX_CPUS && (up.bits >> vm->pin[i] & 1) != 0)
            continue;
        log_line("nosnoop.cfg:%u: vm %s: pin = %u, and there is no such CPU; choose another",
                 vm->line, vm->name, vm->pin[i]);
        return -EINVAL;
    }
    return 0;
}

/* LEFT: CPUs that no VM has or is pinned to. */
static int choose_free(const struct vm_config *vm, struct cpu_set *left, uint8_t *cpu)
{
    unsigned free = cpu_count(*left);
    if (free < vm->cpus) {
        log_line("nosnoop.cfg:%u: vm %s: %u of its %u CPUs are left, of %u that are used; give the "
                 "machine more CPUs, or leave a VM out",
                 vm->line, vm->name, free, vm->cpus, cpu_count(smp_cpus()));
        return -EINVAL;
    }
    for (unsigned i = 0; i < vm->cpus; i++, left->bits &= left->bits - 1)
        cpu[i] = (uint8_t)__builtin_ctzll(left->bits);
    return 0;
}

static int choose_cpus(const struct config *config)
{
    struct cpu_set left = smp_cpus();
    int result = 0;
    for (unsigned i = 0; i < config->vm_count; i++)
        left.bits &= ~pins(&config->vms[i]).bits;
    for (unsigned i = 0; i < config->vm_count; i++) {
        const struct vm_config *vm = &config->vms[i];
        memcpy(cpus[i], vm->pin, sizeof(cpus[i]));
        if ((vm->pin_count > 0 ? check_pins(vm) : choose_free(vm, &left, cpus[i])) != 0)
            result = -EINVAL;
    }
    return result;
}

/* --- on the CPU of a VM ----------------------------------------------------------------------- */

static void start_cpu(void *context)
{
    (void)context;
    if (ops->cpu_start(this_cpu(), host, &caps) != 0)
        panic("this CPU cannot run guests: the line above says why");
    timer_init();
    (void)trace_init(host, this_cpu());
}

static void make(void *context)
{
    struct vm *vm = context;
    vm->ops = ops;
    vm->caps = &caps;
    vm->boot = files;
    error = vm_create(vm, all, vm->config, host);
}

static void add_vcpu(void *context)
{
    struct vm *vm = context;
    error = vm_add_vcpu(vm, vm->vcpu_count);
}

static void load(void *context)
{
    struct vm *vm = context;
    passthrough_reset(vm);
    views_log(vm);
    error = guest_load(vm, files);
}

/* The first CPU may wait for this VM, or for what its monitor wants of it. */
static void run(void *context)
{
    vcpu_run(context);
    ops->cpu_stop(this_cpu());
    (void)__atomic_sub_fetch(&running, 1, __ATOMIC_ACQ_REL);
    if (this_cpu()->index != 0)
        request_kick(0);
}

/* --- on the first CPU ------------------------------------------------------------------------- */

/* From where on RAM is for guests: who is at the machine's own addresses has low ones, too. */
static uint64_t lowest(const struct config *config)
{
    for (unsigned i = 0; i < config->vm_count; i++)
        if (config_at_own_addresses(config, &config->vms[i]))
            return PAGE_SIZE;
    return MIB;
}

static int prepare(const struct config *config)
{
    ops = backend_pick();
    if (ops == NULL)
        panic("this CPU cannot run guests: the line above says why");
    for (unsigned i = 0; i < config->vm_count; i++)
        for (unsigned j = 0; j < config->vms[i].cpus; j++)
            smp_call(cpus[i][j], start_cpu, NULL);
    if (extents_init(&host->guest, &host->map, lowest(config)) != 0)
        return -ENOMEM;
    return caps.host_types_count ? host_types_keep_wb(&host->mtrr, &host->guest) : 0;
}

static int make_one(const struct vm_config *config, const uint8_t *on)
{
    enum { PAGES = (sizeof(struct vm) + PAGE_SIZE - 1) / PAGE_SIZE };
    struct vm *vm = frames_alloc(&host->frames, PAGES);
    if (vm == NULL) {
        log_line("vm %s: no memory for it in the hypervisor's pool", config->name);
        return -ENOMEM;
    }
    vm->config = config;
    smp_call(on[0], make, vm);
    for (unsigned i = 0; i < config->cpus && error == 0; i++)
        smp_call(on[i], add_vcpu, vm);
    if (error == 0)
        smp_call(on[0], load, vm);
    vms[count] = vm;
    count += error == 0 ? 1 : 0;
    return error;
}

/* Of those that are, or are not, at the machine's own addresses. */
static void make_these(const struct config *config, bool at_own)
{
    for (unsigned i = 0; i < config->vm_count && error == 0; i++)
        if (config_at_own_addresses(config, &config->vms[i]) == at_own)
            error = make_one(&config->vms[i], cpus[i]);
}

/* No VM's tables can take what another's may need. */
static void share_pool(void)
{
    for (unsigned i = 0; i < count; i++)
        vms[i]->most_tables = vms[i]->tables + host->frames.free / count;
}

int vms_make(const struct config *config, struct host *machine, const struct boot_info *info)
{
    host = machine;
    files = info;
    all = config;
    error = choose_cpus(config);
    if (error == 0)
        error = prepare(config);
    make_these(config, true);
    make_these(config, false);
    if (error == 0)
        share_pool();
    return error;
}

static bool all_have_ended(void)
{
    return __atomic_load_n(&running, __ATOMIC_ACQUIRE) == 0;
}

/* All but the running CPU's, which is returned, or NULL. */
static struct vcpu *begin(const struct vm *vm)
{
    struct vcpu *own = NULL;
    for (unsigned i = 0; i < vm->vcpu_count; i++)
        if (vm->vcpus[i]->cpu_index == this_cpu()->index)
            own = vm->vcpus[i];
        else
            smp_begin(vm->vcpus[i]->cpu_index, run, vm->vcpus[i]);
    return own;
}

void vms_run(void)
{
    struct vcpu *own = NULL;
    watchdog_start();
    for (unsigned i = 0; i < count; i++)
        running += vms[i]->vcpu_count;
    for (unsigned i = 0; i < count; i++) {
        struct vcpu *here = begin(vms[i]);
        own = here != NULL ? here : own;
    }
    if (own != NULL)
        run(own);
    smp_wait(all_have_ended);
    watchdog_stop();
}
