/* All VMs of the machine: which CPU each has, how they are made, and how they run side by side. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "vmm/vms.h"

#include "lib/errno.h"
#include "lib/string.h"
#include "mm/host_types.h"
#include "vmm/guest.h"
#include "vmm/host.h"
#include "vmm/log.h"
#include "vmm/panic.h"
#include "vmm/request.h"
#include "vmm/smp.h"
#include "vmm/timer.h"
#include "vmm/trace.h"
#include "vmm/watchdog.h"

static struct vm *vms[CONFIG_MAX_VMS];
static uint32_t cpus[CONFIG_MAX_VMS]; /* that they run on */
static unsigned count;
static unsigned running; /* VMs that have not ended */

static const struct virt_ops *ops;
static struct virt_caps caps;
static struct host *host;
static const struct boot_info *files;
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

static struct cpu_set pinned(const struct config *config)
{
    struct cpu_set set = {0};
    for (const struct vm_config *vm = config->vms; vm < config->vms + config->vm_count; vm++)
        if (vm->pin_count > 0 && vm->pin[0] < MAX_CPUS)
            set.bits |= 1ull << vm->pin[0];
    return set;
}

/* LEFT: CPUs that no VM has or is pinned to. */
static int choose_cpu(const struct vm_config *vm, struct cpu_set *left, uint32_t *cpu)
{
    struct cpu_set up = smp_cpus();
    if (vm->pin_count > 0) {
        *cpu = vm->pin[0];
        if (*cpu < MAX_CPUS && (up.bits >> *cpu & 1) != 0)
            return 0;
        log_line("nosnoop.cfg:%u: vm %s: pin = %u, and there is no such CPU; choose another",
                 vm->line, vm->name, *cpu);
        return -EINVAL;
    }
    if (left->bits == 0) {
        log_line("nosnoop.cfg:%u: vm %s: no CPU is left for it, of %u that are used; give the "
                 "machine more CPUs, or leave a VM out",
                 vm->line, vm->name, cpu_count(up));
        return -EINVAL;
    }
    *cpu = (uint32_t)__builtin_ctzll(left->bits);
    left->bits &= left->bits - 1;
    return 0;
}

static int choose_cpus(const struct config *config)
{
    struct cpu_set left = {smp_cpus().bits & ~pinned(config).bits};
    int result = 0;
    for (unsigned i = 0; i < config->vm_count; i++)
        if (choose_cpu(&config->vms[i], &left, &cpus[i]) != 0)
            result = -EINVAL;
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
    error = vm_create(vm, vm->config, host);
    if (error == 0)
        error = guest_load(vm, files);
}

/* The first CPU may wait for this VM, or for what its monitor wants of it. */
static void run(void *context)
{
    const struct vm *vm = context;
    vcpu_run(vm->vcpus);
    ops->cpu_stop(this_cpu());
    (void)__atomic_sub_fetch(&running, 1, __ATOMIC_ACQ_REL);
    if (this_cpu()->index != 0)
        request_kick(0);
}

/* --- on the first CPU ------------------------------------------------------------------------- */

static int prepare(const struct config *config)
{
    ops = backend_pick();
    if (ops == NULL)
        panic("this CPU cannot run guests: the line above says why");
    for (unsigned i = 0; i < config->vm_count; i++)
        smp_call(cpus[i], start_cpu, NULL);
    if (extents_init(&host->guest, &host->map) != 0)
        return -ENOMEM;
    return caps.host_types_count ? host_types_keep_wb(&host->mtrr, &host->guest) : 0;
}

static int make_one(const struct vm_config *config, uint32_t cpu)
{
    enum { PAGES = (sizeof(struct vm) + PAGE_SIZE - 1) / PAGE_SIZE };
    struct vm *vm = frames_alloc(&host->frames, PAGES);
    if (vm == NULL) {
        log_line("vm %s: no memory for it in the hypervisor's pool", config->name);
        return -ENOMEM;
    }
    vm->config = config;
    smp_call(cpu, make, vm);
    vms[count] = vm;
    count += error == 0 ? 1 : 0;
    return error;
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
    error = choose_cpus(config);
    if (error == 0)
        error = prepare(config);
    for (unsigned i = 0; i < config->vm_count && error == 0; i++)
        error = make_one(&config->vms[i], cpus[i]);
    if (error == 0)
        share_pool();
    return error;
}

static bool all_have_ended(void)
{
    return __atomic_load_n(&running, __ATOMIC_ACQUIRE) == 0;
}

void vms_run(void)
{
    struct vm *own = NULL;
    running = count;
    watchdog_start();
    for (unsigned i = 0; i < count; i++)
        if (cpus[i] == 0)
            own = vms[i];
        else
            smp_begin(cpus[i], run, vms[i]);
    if (own != NULL)
        run(own);
    smp_wait(all_have_ended);
    watchdog_stop();
}
