"""Devices of a VM take no memory after it was made: by what the kernel's functions call."""
# SPDX-License-Identifier: BSD-2-Clause
import re

import pytest

from calls import Calls, plain
from nosnoop import paths

ALLOCATORS = {"frames_alloc", "extents_alloc"}
MADE = {"devices_create"}  # before any vCPU runs
# Registers of passed-through devices, and what these do by themselves.
OTHERS = {"passthrough_take", "passthrough_ended", "passthrough_read", "passthrough_write",
          "passthrough_in", "passthrough_out"}

# What is called by pointers, by those that are reached from devices: functions, or tables of them.
CPU, IOMMU = ("svm_ops", "vmx_ops"), ("vtd_ops", "amdvi_ops")
PASSED = ("read_real", "write_real", "master_bus", "passed_decode", "passed_interrupts",
          "passed_message", "reset_real")  # a device's model has them of vmm/passthrough/
RESETS = ("reset_by_flr", "reset_by_af", "reset_by_pm", "reset_by_bus", "wait_us")
TARGETS = {
    "log_line": ("wipe", "draw"),  # the monitor's
    "vm_stop": CPU,
    **dict.fromkeys(("look_at_faults", "passed_message", "open_line"), IOMMU),
    **dict.fromkeys(("vpci_real", "vpci_write", "vpci_tell", "vpci_write_cap", "vpci_reset",
                     "vpci_tell_interrupts", "vpci_restore_caps", "set_command", "restore",
                     "tell"), PASSED),
    **dict.fromkeys(("read", "write"), ("machine", "read_ecam", "write_ecam")),
    # vmm/host/iommu_host.c has what a driver of IOMMUs needs of the machine.
    **dict.fromkeys(("wait_for", "read32", "read64"), ("read_register",)),
    **dict.fromkeys(("write32", "write64"), ("write_register",)),
    "vtd_flush": ("iommu_host.c:flush",), "late": ("iommu_host.c:stop",),
    **dict.fromkeys(("pci_reset", *RESETS), RESETS),
}
# Where memory may be taken: BARs have been moved, and the VM's tables follow.
CUTS = {"passthrough_follow"}


@pytest.fixture(scope="module", name="calls")
def kernel_calls():
    return Calls(str(paths.built("nosnoop.elf")))


def entries():
    """All that vmm/devices/devices.h declares, and OTHERS."""
    text = (paths.ROOT / "vmm/devices/devices.h").read_text(encoding="utf-8")
    declared = set(re.findall(r"^\w[\w ]*[ *](\w+)\(", text, re.M))
    return declared - MADE | OTHERS


def ways_to_memory(calls, roots):
    """For each allocator that ROOTS may come to how they do, as names."""
    reached = calls.reach(roots, TARGETS, CUTS)
    return [calls.path(reached, address) for address in reached
            if plain(calls.names[address]) in ALLOCATORS]


def test_devices_take_no_memory(calls):
    assert {"devices_in", "devices_out", "devices_run", "devices_write_pci"} <= entries()
    assert not ways_to_memory(calls, entries())


def test_who_takes_memory_is_found(calls):
    assert ways_to_memory(calls, {"svm_vcpu_create"})
    with pytest.raises(AssertionError, match="which functions"):
        calls.reach({"pt_map"}, TARGETS)  # by its tables' owner
