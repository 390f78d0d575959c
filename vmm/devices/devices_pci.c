/* A VM's PCI bus as its vCPUs come to it, one at a time. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "vmm/devices/devices.h"
#include "vmm/passthrough/passthrough.h"
#include "vmm/vm.h"

/* What a function's owner does may take the help of the VM's other vCPUs: these go on helping. */
static struct vpci_bus *begin(struct vcpu *vcpu)
{
    request_lock(&vcpu->vm->pci_lock, vcpu->cpu_index);
    return &vcpu->vm->pci;
}

static void end(struct vcpu *vcpu)
{
    request_unlock(&vcpu->vm->pci_lock);
}

bool devices_in_pci(struct vcpu *vcpu, uint16_t port, unsigned width, uint32_t *value)
{
    bool any = vpci_bus_in(begin(vcpu), port, width, value);
    end(vcpu);
    return any;
}

bool devices_out_pci(struct vcpu *vcpu, uint16_t port, unsigned width, uint32_t value)
{
    bool any = vpci_bus_out(begin(vcpu), port, width, value);
    passthrough_follow(vcpu);
    end(vcpu);
    return any;
}

uint64_t devices_read_pci(struct vcpu *vcpu, unsigned page, unsigned offset, unsigned width)
{
    uint32_t at = page * (uint32_t)PAGE_SIZE + offset;
    uint64_t value = vpci_bus_read(begin(vcpu), at, width);
    end(vcpu);
    return value;
}

void devices_write_pci(struct vcpu *vcpu, unsigned page, unsigned offset, unsigned width,
                       uint64_t value)
{
    vpci_bus_write(begin(vcpu), page * (uint32_t)PAGE_SIZE + offset, width, value);
    passthrough_follow(vcpu);
    end(vcpu);
}
