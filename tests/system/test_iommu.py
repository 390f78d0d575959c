"""The machine's IOMMU while a guest runs: on, and everything blocked."""
# SPDX-License-Identifier: BSD-2-Clause
import re
import struct

import pytest

from machine import Machine

REGISTERS = 0xFED90000
CAP, ECAP, GSTS, RTADDR, PMEN, IQA, IRTA = 0x08, 0x10, 0x1C, 0x20, 0x64, 0x90, 0xB8
TES, RTPS, QIES, IRES, IRTPS, CFIS = (1 << bit for bit in (31, 30, 26, 25, 24, 23))
ADDRESS = 0xFFFFFFFFFF000


def arguments(*more):
    """A machine with an IOMMU."""
    device = ",".join(("intel-iommu", "intremap=on", "aw-bits=48", *more))
    return "-machine", "q35", "-device", device


# A port too, so that the table is for more than a bus.
AMD = ("-machine", "q35", "-device", "amd-iommu,intremap=on",
       "-device", "pcie-root-port,id=port0,chassis=1,slot=1,addr=06.0")


def words(data, size):
    """As little-endian numbers of SIZE bytes."""
    return struct.unpack(f"<{len(data) // size}{'Q' if size == 8 else 'I'}", data)


@pytest.fixture(scope="module", params=[(), ("snoop-control=on",), ("caching-mode=on",)],
                ids=lambda more: more[0] if more else "plain")
def live(request, system, tmp_path_factory):
    """The log, the registers by offset, and a function that reads a page."""
    place = tmp_path_factory.mktemp("iommu")
    with Machine(system, place, system.guest("spin"), emulator=arguments(*request.param)) as m:
        output = m.monitor.command("human-monitor-command",
                                   **{"command-line": f"xp /64wx {REGISTERS:#x}"})
        values = [int(word, 16) for word in re.findall(r" (0x[0-9a-f]{8})\b", output)]
        registers = {4 * i: value for i, value in enumerate(values)}
        wide = {at: registers[at] | registers[at + 4] << 32 for at in range(0, 0xF8, 8)}
        tables = {at: m.page(wide[at] & ADDRESS) for at in (RTADDR, IQA, IRTA)}
        log = m.log.read_text()
    return log, registers, wide, tables, request.param


def test_the_log_says_what_it_is(live):
    log, _, wide, _, more = live
    line = re.search(r"iommu 0: at 0xfed90000, .*", log)[0]
    assert f"CAP {wide[CAP]:#x}, ECAP {wide[ECAP]:#x}:" in line
    assert "addresses of 48 bits" in line and "its walks do not snoop" in line
    forced = "can be forced" if "snoop-control=on" in more else "cannot be forced"
    assert f"snooping {forced}" in line and "interrupts remapped" in line
    assert "host: one CPU is used, and the IOMMU" in log


def test_translation_and_remapping_are_on(live):
    _, registers, wide, _, _ = live
    on = TES | RTPS | QIES | IRES | IRTPS
    assert registers[GSTS] & (on | CFIS) == on
    assert wide[RTADDR] & 0xC00 == 0  # legacy mode
    assert wide[IRTA] & 0xF == 9      # 1024 entries


def test_every_device_is_blocked(live):
    _, _, _, tables, _ = live
    assert not any(words(tables[RTADDR], 8))


def test_no_interrupt_has_an_entry(live):
    _, _, _, tables, _ = live
    assert not any(words(tables[IRTA], 8))


def test_the_queue_has_been_used(live):
    """A wait descriptor behind each command; the first forgets all contexts."""
    _, _, _, tables, _ = live
    descriptors = words(tables[IQA], 8)
    assert descriptors[0] == 0x11 and descriptors[2] & 0xF == 5


@pytest.mark.parametrize("flags", [1, 3])
def test_firmware_asks_for_xapic_mode(system, tmp_path, flags):
    """A DMAR with X2APIC_OPT_OUT, and one without."""
    unit = struct.pack("<HHBBHQ", 0, 16, 1, 0, 0, REGISTERS)
    (tmp_path / "dmar").write_bytes(struct.pack("<BB10x", 38, flags) + unit)
    outcome = system.svm("--cmdline", "value=0", system.guest("value"), "--", *arguments(),
                         "-machine", "acpi=off",  # else QEMU's own table comes first
                         "-acpitable", f"sig=DMAR,data={tmp_path}/dmar")
    assert outcome.status == 0 and "iommu 0: at" in outcome.log_text
    assert ("asks for no x2APIC mode (DMAR, X2APIC_OPT_OUT)" in outcome.log_text) == (flags == 3)


@pytest.fixture(scope="module")
def amd(system, tmp_path_factory):
    """Of AMD's: the log, registers by offset, and the device table and both buffers' pages."""
    place = tmp_path_factory.mktemp("amd")
    base = 0xFED80000
    with Machine(system, place, system.guest("spin"), emulator=AMD) as m:
        output = "".join(m.monitor.command("human-monitor-command",
                                           **{"command-line": f"xp /8gx {base + at:#x}"})
                         for at in (0, 0x2000))
        values = [int(word, 16) for word in re.findall(r" (0x[0-9a-f]{16})\b", output)]
        registers = dict(zip([*range(0, 0x40, 8), *range(0x2000, 0x2040, 8)], values))
        pages = (registers[0] & 0x1FF) + 1
        devices = b"".join(m.page((registers[0] & ADDRESS) + 4096 * i) for i in range(pages))
        commands = m.page(registers[8] & ADDRESS)
        log = m.log.read_text()
    return log, registers, words(devices, 8), words(commands, 8)


def test_amd_is_on(amd):
    log, registers, _, _ = amd
    assert "iommu 0: at 0xfed80000, features 0x29d3: up to 6 levels" in log
    assert "512 devices, interrupts remapped by entries of 128 bits" in log
    assert "host: one CPU is used, and the IOMMU" in log
    assert registers[0x18] == 0x2140F  # IommuEn, HtTunEn, EventLog and its interrupt, Coherent,
    assert registers[0x20] == registers[0x28] == 0  # CmdBufEn, GAEn; no exclusion range
    assert registers[0x08] >> 56 == registers[0x10] >> 56 == 8
    assert registers[0x2020] & 0x18 == 0x18


def test_amd_blocks_every_device(amd):
    _, _, devices, _ = amd
    entries = list(zip(*[iter(devices)] * 4))
    assert len(entries) == 512  # buses 0 and 1
    ioapic = entries.pop(0xA0)
    assert set(entries) == {(3, 0, 1, 0)}  # V, TV, no mode, IR or IW; IV
    assert ioapic[:2] == (3, 0) and ioapic[2] & ~ADDRESS == 2 << 60 | 9 << 1 | 1  # remapped


def test_amd_has_been_told_to_forget(amd):
    _, registers, _, commands = amd
    assert commands[:2] == (8 << 60, 0)
    assert commands[2] >> 60 == 1 and commands[2] & 7 == 1 and commands[3] == 1
    assert registers[0x2000] == registers[0x2008] == 80  # and of the I/O APIC's entry


@pytest.mark.parametrize("machine", [
    arguments(), arguments("snoop-control=on", "caching-mode=on"), AMD], ids=("", "full", "amd"))
def test_a_guest_runs_as_before(system, machine):
    outcome = system.svm(system.guest("cpuid"), "--", *machine)
    assert outcome.status == 0 and "iommu 0: at" in outcome.log_text
    assert "fault:" not in outcome.log_text


@pytest.mark.parametrize("machine", [arguments(), AMD], ids=("intel", "amd"))
def test_it_can_be_left_alone(system, machine):
    outcome = system.svm("--host", "iommu=off", system.guest("cpuid"), "--", *machine)
    assert outcome.status == 0
    assert "iommu" not in outcome.log_text.replace("no IOMMU", "")
    assert "and no IOMMU" in outcome.log_text


@pytest.mark.parametrize("machine", [arguments(), AMD], ids=("intel", "amd"))
def test_two_cpus(system, machine):
    outcome = system.svm("--cpus", "2", system.guest("locks"), "--", *machine)
    assert outcome.status == 0
    assert "CPUs are used, and the IOMMU" in outcome.log_text


@pytest.mark.parametrize("iommu", ["no-snoop", "amd"])
def test_what_a_large_vm_costs(system, iommu):
    outcome = system.run("--bed", "svm", "--timeout", "40", "--mem", "8G",
                         "--device", "edu dma=non-coherent", "--iommu", iommu,
                         "--set", "control=yes", "--cmdline", "n=1", system.guest("edu"))
    assert outcome.status == 0, outcome.guest.decode() + outcome.log_text
    (pages,) = re.findall(r"its devices reach its memory by (\d+) table pages", outcome.log_text)
    assert int(pages) <= 4  # the root, a table of 1G leaves, and one at each edge of less


def test_one_that_does_not_remap_interrupts(system):
    """No VM gets a device; one that has none runs."""
    unit = "-device", "intel-iommu,intremap=off,aw-bits=48"
    outcome = system.svm("--iommu", "none", "--host", "iommu=on", "--device", "edu",
                         system.guest("value"), "--", *unit)
    assert outcome.status == 122, outcome.log_text
    assert ("device 00:05.0 has an IOMMU that does not remap interrupts: it could send any CPU any "
            "vector; turn remapping on in the firmware's set-up") in outcome.log_text
    outcome = system.svm("--cmdline", "value=0", system.guest("value"), "--", "-machine", "q35",
                         *unit)
    assert outcome.status == 0 and "interrupts not remapped" in outcome.log_text
