"""Devices in guests' hands behind AMD's IOMMU: what they reach, by the tables and by the data."""
# SPDX-License-Identifier: BSD-2-Clause
import struct

import pytest

from machine import WAITING, Machine
from test_passthrough import (AMD_REGISTERS, CONTROL, EDU, EDU_2, LAST, PAGE, WRITTEN, device,
                              memory_of, pieces, root_of, sections)
from test_vms import config, vm
from walker import walk_amd

AMD = ["--iommu", "amd"]
OWN = 0x10     # 00:02.0, the IOMMU's function
PLACE = 0x28   # 00:05.0, the edu
EXCLUSION, UNITY = 8, 7


def with_ivrs(tmp_path, ioapic, memory=b""):
    """
    Arguments of a machine whose firmware names an I/O APIC by that ID, None: none, and MEMORY's
    blocks (AMD IOMMU, "I/O Virtualization Reporting Structure").
    """
    entries = struct.pack("<BHBBHB", 3, 8, 0, 4, 0xFF, 0)
    if ioapic is not None:
        entries += struct.pack("<BHBBHB", 0x48, 0, 0, 0, ioapic, 1)
    unit = struct.pack("<BBHHHQHHI", 0x10, 0, 24 + len(entries), OWN, 0x40, AMD_REGISTERS, 0, 0, 0)
    (tmp_path / "ivrs").write_bytes(struct.pack("<IQ", 0x203040, 0) + unit + entries + memory)
    return ["-m", "512M", "-machine", "acpi=off",  # else QEMU's own table comes first
            "-acpitable", f"sig=IVRS,rev=2,data={tmp_path}/ivrs"]


def run_value(system, *arguments):
    """A guest that only ends, with 0 and an edu."""
    return system.svm("--device", "edu", *AMD, "--cmdline", "value=0", system.guest("value"), "--",
                      *arguments)


def reserved(flags, start, size):
    """An IVMD for the edu."""
    return struct.pack("<BBHHHQQQ", 0x21, flags, 32, PLACE, 0, 0, start, size)


@pytest.mark.parametrize("words, snoops", [("edu", True), ("edu dma=non-coherent", False)])
def test_a_device_reaches_its_vm(system, tmp_path, words, snoops):
    with Machine(system, tmp_path, "--device", words, *AMD, system.guest("spin")) as machine:
        found = walk_amd(machine.page, root_of(machine, "amd"))
        log = machine.log.read_text()
    (memory,) = memory_of(log).values()
    assert list(found) == [EDU] and pieces(found[EDU][2]) == memory
    assert {leaf.rights for leaf in found[EDU][2]} == {"rw"}
    assert {leaf.snoop for leaf in found[EDU][2]} == {snoops}
    assert f"device {EDU} is {'' if snoops else 'not '}coherent" in log


def test_devices_of_two_vms(system, tmp_path):
    cfg = config(system, tmp_path, [vm("a", "spin", device=device(EDU)),
                                    vm("b", "spin", serial="log", device=device(EDU_2))])
    with Machine(system, tmp_path, *cfg, "--device", "edu", "--device", "edu-2", *AMD) as machine:
        found = walk_amd(machine.page, root_of(machine, "amd"))
        memory = memory_of(machine.log.read_text())
    assert list(found) == [EDU, EDU_2] and found[EDU][0] != found[EDU_2][0]
    assert pieces(found[EDU][2]) == memory["a"] and pieces(found[EDU_2][2]) == memory["b"]


def test_the_image_is_as_it_was(system, tmp_path):
    """After all attacks; events are recorded by no emulator, so the data are the proof."""
    with Machine(system, tmp_path, *CONTROL, "--device", "edu", *AMD, "--cmdline",
                 "dma=coherent index=yes stays=yes", system.guest("attack"), last="stays",
                 emulator=WAITING) as m:
        for at, data in sections():
            start = at & -PAGE
            memory = b"".join(m.page(page) for page in range(start, at + len(data), PAGE))
            assert memory[at - start:at - start + len(data)] == data, f"{at:#x}"
    assert not [line for line in m.said if line.startswith("not ok")]


def test_reserved_memory_is_refused(system, tmp_path):
    outcome = run_value(system, *with_ivrs(tmp_path, 0xA0, reserved(UNITY, LAST, PAGE)))
    assert outcome.status == 122
    assert f"device {EDU} has reserved memory that the firmware" in outcome.log_text


@pytest.mark.parametrize("flags", [UNITY, EXCLUSION], ids=("unity", "exclusion"))
def test_reserved_memory_is_reached(system, tmp_path, flags):
    """By the tables: the unit's own exclusion range is not used."""
    cmdline = f"dma=coherent faults=1 at={LAST} stays=yes"
    with Machine(system, tmp_path, *CONTROL, "--device", "edu rmrr=map", *AMD, "--cmdline", cmdline,
                 system.guest("attack"), last="stays",
                 emulator=with_ivrs(tmp_path, 0xA0, reserved(flags, LAST, PAGE))) as machine:
        found = walk_amd(machine.page, root_of(machine, "amd"))
        log, page = machine.log.read_text(), machine.page(LAST)
    (memory,) = memory_of(log).values()
    assert pieces(found[EDU][2]) == [*memory, (LAST, LAST, PAGE)]
    assert page[:4000] == WRITTEN


@pytest.mark.parametrize("memory, why", [
    (reserved(UNITY, 0x1000000, PAGE), "is not all in memory that the firmware keeps"),
    (reserved(UNITY, LAST, 1), "is not of whole pages")], ids=("over RAM", "of length 1"))
def test_reserved_memory_that_makes_no_sense(system, tmp_path, memory, why):
    outcome = run_value(system, *with_ivrs(tmp_path, 0xA0, memory))
    assert outcome.status == 0 and why in outcome.log_text


def test_an_i_o_apic_without_a_name(system, tmp_path):
    outcome = run_value(system, *with_ivrs(tmp_path, None))
    assert outcome.status == 0
    assert "ivrs: it names no I/O APIC: interrupts of lines (INTx) are blocked" in outcome.log_text


def test_what_sends_as_an_i_o_apic_is_refused(system, tmp_path):
    outcome = run_value(system, *with_ivrs(tmp_path, PLACE))
    assert outcome.status == 122
    assert f"device {EDU} sends interrupts as an I/O APIC of the host's does" in outcome.log_text


def test_the_iommu_itself_is_refused(system):
    outcome = system.svm("--set", "device=00:02.0", *AMD, system.guest("value"), "--",
                         "-machine", "q35")
    assert outcome.status == 122
    assert "device 00:02.0 is an IOMMU, which is the host's; leave it out" in outcome.log_text
