"""A VM with devices and no IOMMU: its memory lies at the machine's own addresses."""
# SPDX-License-Identifier: BSD-2-Clause
import re

import pytest

from machine import Machine
from walker import walk, walk_npt

MIB = 1 << 20
MEMORY = r"vm spin: memory GPA 0x(\w+)-0x(\w+) at HPA 0x(\w+)"
HOST_PAT = 0x0007050100070406
WARNING = ("iommu: unsafe-identity: a VM's devices reach all memory, the hypervisor's and other "
           "VMs' too, and interrupt any CPU: nothing isolates them")
IDE = ("--device", "ide")


def numbers(groups):
    """Hexadecimal numbers of matches."""
    return [tuple(int(text, 16) for text in group) for group in groups]


@pytest.fixture(scope="module")
def live(system, tmp_path_factory):
    """
    Of a guest whose memory reaches beyond the hypervisor at 64 MiB: its memory by the log, the
    leaves of its tables, and what the hypervisor maps for itself.
    """
    place = tmp_path_factory.mktemp("identity")
    with Machine(system, place, *IDE, "--mem", "160M", system.guest("spin")) as machine:
        memory = numbers(machine.logged(MEMORY))
        (root,) = machine.logged(r"nested page table, root (0x[0-9a-f]+)")
        (cr3,) = machine.logged(r"host CR3 (0x[0-9a-f]+)")
        leaves = list(walk_npt(machine.page, int(root, 16), HOST_PAT))
        own = list(walk(machine.page, int(cr3, 16)))
        log = machine.log.read_text()
    return memory, leaves, own, log


def test_the_log_says_what_it_means(live):
    *_, log = live
    assert log.count(WARNING) == 1
    assert "host: one CPU is used, and no IOMMU" in log


def test_devices_find_its_memory(live):
    """But for page 0 and what firmware has below 1 MiB."""
    memory, leaves, _, _ = live
    assert sum(end - start for start, end, _ in memory) == 160 * MIB
    assert sum(leaf.size for leaf in leaves) == 160 * MIB
    elsewhere = sorted((start, end) for start, end, at in memory if start != at)
    assert elsewhere == [(0, 0x1000), (0x9F000, 0x100000)]
    for leaf in leaves:
        same = leaf.gpa == leaf.hpa
        assert same != any(start <= leaf.gpa < end for start, end in elsewhere), leaf


def test_it_begins_where_kernels_are_linked(live):
    memory, *_ = live
    assert (0x100000, 64 * MIB, 0x100000) in memory


def test_it_has_none_of_the_hypervisor(live):
    _, leaves, own, _ = live
    assert any(m.execute for m in own)
    assert [m for m in own for leaf in leaves if m.overlaps(leaf.hpa, leaf.hpa + leaf.size)] == []


def test_a_map_with_holes(system):
    """All that the map calls RAM is some."""
    outcome = system.svm(*IDE, "--mem", "160M", system.guest("memory"))
    assert outcome.status == 0
    pages = int(re.search(rb"# RAM: (\d+) pages", outcome.guest)[1])
    assert pages > 159 * MIB // 4096


@pytest.mark.parametrize("door", ["uefi", "grub-uefi"])
def test_other_doors(system, door):
    outcome = system.svm("--timeout", "40", "--door", door, *IDE, "--set", "control=yes",
                         system.guest("ide"))
    assert outcome.status == 0 and b"not ok" not in outcome.guest


def test_a_restart(system):
    outcome = system.svm(*IDE, "--set", "on_reset=restart", "--cmdline", "by=port64",
                         system.guest("restart"))
    assert outcome.status == 0 and "restart 1" in outcome.log_text


def sections(*vms):
    """A config in which the VMs have these lines."""
    host = "[host]\niommu = unsafe-identity\n"
    return host + "".join(f"[vm v{i}]\n{lines}\n" for i, lines in enumerate(vms))


def config(system, tmp_path, *vms):
    """The arguments for a machine with that."""
    path = tmp_path / "two.cfg"
    path.write_text(sections(*vms).replace("DIR/", f"{system.guest('ide').parent}/"))
    return "--device", "ide", "--config", path


def test_another_vm_beside_it(system, tmp_path):
    """Which has what is left, though the config has it first."""
    outcome = system.svm(*config(
        system, tmp_path, "kernel = DIR/value.elf\ncmdline = value=3\nserial = none\nmemory = 100M",
        "kernel = DIR/ide.elf\ncontrol = yes\ndevice = 00:01.1 reset=none"))
    assert outcome.status == 3 and b"not ok" not in outcome.guest
    assert "exit: vm v1 value 0" in outcome.log_text
    assert "vm v1: memory GPA 0x100000-0x4000000 at HPA 0x100000" in outcome.log_text


def test_two_with_devices(system, tmp_path):
    vm = "kernel = DIR/value.elf\nserial = none\ndevice = 00:0{}.1 reset=none"
    outcome = system.svm(*config(system, tmp_path, vm.format(1), vm.format(2)))
    assert outcome.status == 122 and "with iommu = unsafe-identity only one VM" in outcome.log_text


def test_more_memory_than_there_is(system):
    outcome = system.svm(*IDE, "--mem", "1G", system.guest("ide"), "--", "-m", "300M")
    assert outcome.status == 122
    assert re.search(r"vm ide: memory = 1048576 KiB, and at addresses that a guest may have "
                     r"\(iommu = unsafe-identity\) the machine has 30\d{4} KiB free in \d "
                     r"pieces; lower it",
                     outcome.log_text)


def test_without_the_word(system):
    outcome = system.svm(*IDE, "--host", "iommu=on", system.guest("ide"))
    assert outcome.status == 122
    assert ("vm ide: device 00:01.1 has no IOMMU in use; turn it on in the "
            "firmware's set-up, or write iommu = unsafe-identity in [host] if that is meant"
            ) in outcome.log_text


def test_two_controllers_of_one_channel(system):
    """Of QEMU's the one that is not the VM's would answer."""
    outcome = system.svm(*IDE, system.guest("ide"), "--", "-device", "piix4-ide,addr=05.0")
    assert outcome.status == 122
    assert ("vm ide: device 00:01.1 answers at the ports of IDE's primary channel, and so does "
            "00:05.0; in the firmware's set-up turn one of them off, or to native mode or AHCI"
            ) in outcome.log_text


def test_a_function_that_cannot_be_sized(system):
    """Bochs's VGA decodes always."""
    lines = ("pci: enabled=1, chipset=i440fx, slot1=pcivga", "vga: extension=vbe")
    outcome = system.run("--bed", "vmx", "--timeout", "40", "--host", "iommu=unsafe-identity",
                         "--host", "dangerous=yes", "--set", "device=00:02.0 reset=none",
                         system.guest("wc"), "--", *lines)
    assert outcome.status == 122
    assert "device 00:02.0 goes on decoding when it is told not to" in outcome.log_text
