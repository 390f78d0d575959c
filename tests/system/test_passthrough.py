"""Devices in guests' hands: what they reach, what they do to others, and what the log says."""
# SPDX-License-Identifier: BSD-2-Clause
import re
import struct
import subprocess

import pytest

from machine import WAITING, Machine
from nosnoop import paths, trace
from observer import Gdb, kernel_places
from test_vms import config, vm
from walker import ADDRESS, walk_amd, walk_vtd

REGISTERS, ROOT, QUEUE, TABLE = 0xFED90000, 0x20, 0x90, 0xB8
AMD_REGISTERS = 0xFED80000  # the first is the device table's
AMD_COMMANDS, AMD_EVENTS = 8, 0x10
MIB = 1 << 20
PAGE = 4096
EDU, EDU_2, EDU_3, NVME_2 = "00:05.0", "00:08.0", "00:0b.0", "00:0a.0"
WIRE_E1000, WIRE_E1000E = "00:05.0", "00:06.0"
EDU_SOURCE = 0x80  # a register that DMA to the whole of its page would write
IMAGE_END = 0x200000  # a guest's, which it overwrites with what it is
KNOWN = 0x1800000  # in the guests' memory: a pattern, which they look at in the end
WRITE = 5         # VT-d, "Fault Reasons": no right to write
FAULT = re.compile(r"^\[ *(\d+) \d+\] iommu 0: fault: (\S+), (read|write) of 0x(\w+), "
                   r"reason 0x(\w+)$", re.M)
MANY = "iommu: many faults: others of this second are not reported"
MOST = 8          # looks at faults in a second, of which this unit records one each
CONTROL = ["--set", "control=yes"]


def device(name):
    """Words of a config for a device that nothing resets."""
    return f"{name} reset=none"


def register_of(machine, address):
    """The 8 bytes of a register there, which a read has no effect on."""
    output = machine.monitor.command("human-monitor-command",
                                     **{"command-line": f"xp /1gx {address:#x}"})
    return int(re.search(r": 0x(\w+)", output)[1], 16)


def root_of(machine, iommu="snoop"):
    """The register that says where the IOMMU's root table is, or its device table."""
    return register_of(machine, AMD_REGISTERS if iommu == "amd" else REGISTERS + ROOT)


def memory_of(log):
    """{VM: [(GPA, HPA, size)]}."""
    found = {}
    for name, start, end, hpa in re.findall(
            r"vm (\w+): memory GPA 0x(\w+)-0x(\w+) at HPA 0x(\w+)", log):
        found.setdefault(name, []).append((int(start, 16), int(hpa, 16),
                                           int(end, 16) - int(start, 16)))
    return found


def pieces(leaves):
    """Leaves as (address, HPA, size), joined where they go on."""
    joined = []
    for leaf in leaves:
        at, hpa, size = joined[-1] if joined else (0, 0, 0)
        if joined and (at + size, hpa + size) == (leaf.address, leaf.hpa):
            joined[-1] = (at, hpa, size + leaf.size)
        else:
            joined.append((leaf.address, leaf.hpa, leaf.size))
    return joined


# --- what they reach ------------------------------------------------------------------------------

@pytest.mark.parametrize("iommu", ["snoop", "no-snoop"])
def test_a_device_reaches_its_vm(system, tmp_path, iommu):
    with Machine(system, tmp_path, "--device", "edu", "--iommu", iommu,
                 system.guest("spin")) as machine:
        found = walk_vtd(machine.page, root_of(machine))
        log = machine.log.read_text()
    (memory,) = memory_of(log).values()
    assert list(found) == [EDU] and pieces(found[EDU][2]) == memory
    assert {leaf.rights for leaf in found[EDU][2]} == {"rw"}
    assert {leaf.snoop for leaf in found[EDU][2]} == {iommu == "snoop"}
    what = "coherent: its IOMMU forces" if iommu == "snoop" else "not coherent: "
    assert f"device {EDU} is {what}" in log


def test_messages_of_its_own_only(system, tmp_path):
    """VT-d, "Interrupt Remapping Table Entry": each is for one source, all of which is compared."""
    with Machine(system, tmp_path, "--device", "edu", system.guest("spin")) as machine:
        table = machine.page(register_of(machine, REGISTERS + TABLE) & -PAGE)
    words = struct.unpack("<512Q", table)
    present = [high for low, high in zip(words[::2], words[1::2]) if low & 1]
    assert len(present) == 1  # of the line of its INTx, whose source is QEMU's I/O APIC
    assert {high & 0xFFFF for high in present} == {0xFF00}
    assert {(high >> 18 & 3, high >> 16 & 3) for high in present} == {(1, 0)}


def test_devices_of_two_vms(system, tmp_path):
    """One VM has two of them, and neither domain has a page of the other."""
    cfg = config(system, tmp_path, [
        vm("a", "spin", device=device(EDU) + "\ndevice = 00:06.0"),
        vm("b", "spin", serial="log", device=device(EDU_2))])
    emulator = ["-device", "nvme,serial=1,addr=06.0"]
    with Machine(system, tmp_path, *cfg, "--device", "edu", "--device", "edu-2",
                 emulator=emulator) as machine:
        found = walk_vtd(machine.page, root_of(machine))
        memory = memory_of(machine.log.read_text())
    assert sorted(found) == [EDU, "00:06.0", EDU_2]
    assert found[EDU] == found["00:06.0"] and found[EDU][0] != found[EDU_2][0]
    assert pieces(found[EDU][2]) == memory["a"] and pieces(found[EDU_2][2]) == memory["b"]


# --- memory that firmware keeps for a device (RMRR) -----------------------------------------------

WRITTEN = bytes(5 + i * 11 + (i >> 8) & 0xFF for i in range(4000))  # by the guest's device
LAST = 0x1FFFF000  # the last page of 512 MiB, which SeaBIOS keeps


def with_rmrr(tmp_path, start, end):
    """Arguments of a machine whose firmware keeps that memory for the edu (VT-d, "RMRR")."""
    def structure(kind, body):
        return struct.pack("<HH", kind, 4 + len(body)) + body

    def scope(kind, place):
        return struct.pack("<BBHBBH", kind, 8, 0, 0, 0, place)

    (tmp_path / "dmar").write_bytes(struct.pack("<BB10x", 47, 1) + structure(
        0, struct.pack("<BBHQ", 1, 0, 0, REGISTERS) + scope(3, 0x1F)) + structure(
            1, struct.pack("<HHQQ", 0, 0, start, end - 1) + scope(1, 5)))
    return ["-m", "512M", "-machine", "acpi=off",  # else QEMU's own table comes first
            "-acpitable", f"sig=DMAR,rev=1,data={tmp_path}/dmar"]


@pytest.mark.parametrize("words, start, end, why", [
    ("edu", LAST, LAST + PAGE, "that the firmware may go on to use; write rmrr=map behind it"),
    ("edu rmrr=map", 0xF0000, 0x100000, "where the VM has its own; give the VM less")])
def test_such_a_device_is_refused(system, tmp_path, words, start, end, why):
    outcome = system.svm("--device", words, system.guest("value"), "--",
                         *with_rmrr(tmp_path, start, end))
    assert outcome.status == 122
    assert f"device {EDU} has reserved memory {why}" in outcome.log_text


def test_such_memory_is_reached(system, tmp_path):
    """By the address that the firmware knows it by, and it is the firmware's page itself."""
    cmdline = f"dma=coherent faults=1 at={LAST} stays=yes"
    with Machine(system, tmp_path, *CONTROL, "--device", "edu rmrr=map", "--cmdline", cmdline,
                 system.guest("attack"), last="stays",
                 emulator=with_rmrr(tmp_path, LAST, LAST + PAGE)) as machine:
        found = walk_vtd(machine.page, root_of(machine))
        log, page = machine.log.read_text(), machine.page(LAST)
    (memory,) = memory_of(log).values()
    assert pieces(found[EDU][2]) == [*memory, (LAST, LAST, PAGE)]
    assert faults_of(log) == []
    assert page[:4000] == WRITTEN


# --- what they do to others -----------------------------------------------------------------------

def faults_of(log):
    """(ticks, BDF, read or write, address) of each, in order."""
    return [(int(ticks), bdf, how, int(at, 16)) for ticks, bdf, how, at, _ in FAULT.findall(log)]


def sections():
    """(address, bytes) of what the hypervisor's image has and never writes to."""
    kernel = paths.built("nosnoop.elf")
    listed = subprocess.run(["objdump", "-hw", kernel], capture_output=True, text=True, check=True)
    data = kernel.read_bytes()
    for line in listed.stdout.splitlines():
        words = line.split()
        if len(words) > 6 and words[1].startswith((".text", ".rodata")) and "CONTENTS" in line:
            size, at, offset = (int(words[i], 16) for i in (2, 4, 5))
            yield at, data[offset:offset + size]


def test_the_image_is_as_it_was(system, tmp_path):
    """After all attacks: its first pages, which one was for, and all of its code."""
    with Machine(system, tmp_path, *CONTROL, "--device", "edu", "--cmdline",
                 "dma=coherent stays=yes", system.guest("attack"), last="stays",
                 emulator=WAITING) as machine:
        (image,) = machine.logged(r"image at 0x(\w+)")
        faults = faults_of(machine.log.read_text())
        for at, data in sections():
            start = at & -PAGE
            memory = b"".join(machine.page(page) for page in range(start, at + len(data), PAGE))
            assert memory[at - start:at - start + len(data)] == data, f"{at:#x}"
    assert not [line for line in machine.said if line.startswith("not ok")]
    assert {how for _, bdf, how, at in faults if (bdf, at) == (EDU, int(image, 16))} == {
        "read", "write"}


def tables_of(machine, iommu):
    """
    What devices reach; {address: bytes} of the tables that lead there; the addresses of the unit's
    queues and its table of interrupts, and of the root of the VM's own tables.
    """
    leading = {}

    def page(at):
        leading[at] = machine.page(at)
        return leading[at]

    root = root_of(machine, iommu)
    if iommu == "amd":
        found = walk_amd(page, root)
        entry = int(EDU[3:5], 16) << 3  # AMD IOMMU, "Device Table Entry Format": of 32 bytes
        others = [register_of(machine, AMD_REGISTERS + at) for at in (AMD_COMMANDS, AMD_EVENTS)]
        others += struct.unpack_from("<Q", leading[root & -PAGE], 32 * entry + 16)
    else:
        found = walk_vtd(page, root)
        others = [register_of(machine, REGISTERS + at) for at in (QUEUE, TABLE)]
    others += [int(at, 16) for at in machine.logged(r"policy .* root 0x(\w+)")]
    return found, leading, [at & ADDRESS for at in others]


@pytest.mark.parametrize("iommu", ["snoop", "amd"])
def test_tables_are_as_they_were(system, tmp_path, iommu):
    """DMA to where they are comes to what the guest has by that address."""
    for name in ("before", "after"):
        (tmp_path / name).mkdir()
    machine = [*CONTROL, "--iommu", iommu, "--device", "edu",
               "--mem", "128M"]  # reaches beyond what the hypervisor has
    with Machine(system, tmp_path / "before", *machine, "--cmdline", "dma=coherent",
                 system.guest("spin")) as before:
        found, leading, others = tables_of(before, iommu)
    at, *more = [*others, *leading]
    words = " ".join(f"at{i}={place}" for i, place in enumerate(more, 1))
    with Machine(system, tmp_path / "after", *machine, "--cmdline",
                 f"dma=coherent faults=1 at={at} {words} stays=yes", system.guest("attack"),
                 last="stays") as after:
        (((_, hpa, size),),) = memory_of(after.log.read_text()).values()
        assert tables_of(after, iommu) == (found, leading, others)
        assert faults_of(after.log.read_text()) == []
        for place in (at, *more):
            assert after.page(place)[:4000] != WRITTEN
            assert place < IMAGE_END or after.page(hpa + place)[:4000] == WRITTEN
    assert list(found) == [EDU] and pieces(found[EDU][2]) == [(0, hpa, size)]


@pytest.mark.parametrize("iommu, own", [("snoop", REGISTERS + ROOT), ("amd", AMD_REGISTERS)])
def test_registers_of_others(system, tmp_path, iommu, own):
    """Another device's, and the IOMMU's: they lie where they lie, but no device reaches them."""
    place, attacked = tmp_path / "place", ["--device", "edu", "--device", "edu-2", "--iommu", iommu]
    place.mkdir()
    with Machine(system, place, *attacked, system.guest("spin")) as machine:
        (bar,) = machine.logged(rf"pci {EDU_2}: .* bar0 mem 0x(\w+)")
        table = register_of(machine, own)
    for at, register, value in (int(bar, 16), int(bar, 16) + EDU_SOURCE, 0), (own & -PAGE, own,
                                                                           table):
        with Machine(system, tmp_path, *CONTROL, *attacked, "--cmdline",
                     f"dma=coherent faults=1 at={at} stays=yes", system.guest("attack"),
                     last="stays") as machine:
            assert register_of(machine, register) == value
            found = [fault[1:] for fault in faults_of(machine.log.read_text())]
        assert found == ([(EDU, "write", at)] if iommu == "snoop" else [])


def layout(system, tmp_path, second):
    """The HPA of each VM's memory, beside each other, found by a run of its own."""
    place = tmp_path / "layout"
    place.mkdir()
    outcome = system.svm(*config(system, place, [
        vm("a", "value", "value=0", memory="64M", device=device(EDU)),
        vm("b", "value", "value=0", memory="64M", device=second, serial="log")]),
                         "--device", "edu", "--device", "edu-3", "--device", "nvme-2")
    assert outcome.status == 0, outcome.log_text
    return {name: at for name, ((_, at, _),) in memory_of(outcome.log_text).items()}


@pytest.mark.parametrize("iommu, guest, cmdline, other", [
    ("snoop", "attack", "dma=coherent at={a}", device(EDU_3)),
    ("snoop", "edu", "dma=coherent", device(EDU_3)),
    ("snoop", "nvme", "dma=coherent", NVME_2),
    ("amd", "attack", "dma=coherent at={a}", device(EDU_3)),
    ("amd", "edu", "dma=coherent", device(EDU_3)),
    ("amd", "nvme", "dma=coherent", NVME_2)])
def test_one_attacks_the_other(system, tmp_path, iommu, guest, cmdline, other):
    """
    It has its own device, its interrupts and its data, and that is all that it has: what is
    attacked is memory whose contents both guests know, and look at in the end.
    """
    memory = layout(system, tmp_path, other)
    at = {name: hpa + KNOWN for name, hpa in memory.items()}
    # emulator: a forged message has no source, and edu counts its interrupts
    index = " index=yes" * (iommu == "amd" and guest != "edu")
    outcome = system.run("--bed", "svm", "--timeout", "40", *config(system, tmp_path, [
        vm("a", "attack", f"dma=coherent others=yes at={at['b']}{index}", memory="64M",
           control="yes", device=device(EDU)),
        vm("b", guest, cmdline.format(**at) + index, memory="64M", control="yes", device=other,
           serial="log")]), "--device", "edu", "--device", "edu-3", "--device", "nvme-2",
                         "--iommu", iommu, "--", *WAITING)
    assert outcome.status == 0, outcome.guest + outcome.log_text.encode()
    assert memory_of(outcome.log_text)["b"][0][1] + KNOWN == at["b"]
    if iommu == "amd":  # emulator: it records no events
        return
    faults = {(bdf, how, where) for _, bdf, how, where in faults_of(outcome.log_text)}
    if guest == "attack":  # the unit has one record: of faults at once it keeps one
        assert faults and {bdf for bdf, _, _ in faults} <= {EDU, EDU_3}
    else:
        assert {bdf for bdf, _, _ in faults} == {EDU}
        assert {(EDU, "read", at["b"]), (EDU, "write", at["b"])} <= faults


@pytest.mark.parametrize("iommu", ["snoop", "amd"])
def test_a_wire_between_two_vms(system, tmp_path, iommu):
    """Each has one of two network controllers: what the one sends the other one receives."""
    outcome = system.run("--bed", "svm", "--timeout", "40", *config(system, tmp_path, [
        vm(name, "nics", "dma=coherent apart=yes", memory="64M", control="yes",
           device=device(bdf), serial=serial)
        for name, bdf, serial in (("a", WIRE_E1000, "com1"), ("b", WIRE_E1000E, "log"))]),
                         "--device", "wire-e1000", "--device", "wire-e1000e", "--iommu", iommu)
    assert outcome.status == 0, outcome.guest + outcome.log_text.encode()
    came = "ok 1 frames from and to another VM\r?$"
    assert re.search("^" + came, outcome.guest.decode(), re.M)
    assert re.search(r"\[b\] " + came, outcome.log_text, re.M)
    assert faults_of(outcome.log_text) == []


def test_a_line_of_two_vms(system, tmp_path):
    """It is the first one's; the other's device has messages. SeaBIOS has both slots on IRQ 10."""
    outcome = system.svm(*config(system, tmp_path, [
        vm("a", "value", "value=0", device=device(EDU)),
        vm("b", "value", "value=0", device=device(EDU_2), serial="log")]),
                         "--device", "edu", "--device", "edu-2")
    assert outcome.status == 0, outcome.log_text
    assert f"vm a: device {EDU}: INTx is GSI 10" in outcome.log_text
    assert (f"vm b: device {EDU_2}: no INTx: a device of another VM has the same line"
            in outcome.log_text)


def nvme_at(place):
    """Arguments of an emulator that has one, which firmware can boot from."""
    return ["-drive", f"if=none,id=d{place},format=raw,file=null-co://",
            "-device", f"nvme,serial=1,drive=d{place},addr={place}.0"]


@pytest.mark.parametrize("arguments, more, masters", [
    (["--control"], ["-M", "q35", *nvme_at("0a")], [1, 1]),
    (["--device", "nvme-2"], [], [0, 0]),
    (["--device", "nvme-2", "--iommu", "amd"], [], [0, 0])], ids=("control", "snoop", "amd"))
def test_firmware_lets_them_master_the_bus(system, tmp_path, arguments, more, masters):
    """SeaBIOS does so with what it can boot from: off are a VM's, and one that no VM has."""
    with Machine(system, tmp_path, *arguments, system.guest("spin"),
                 emulator=[*more, *nvme_at("09")]) as machine:
        commands = [struct.unpack_from("<H", machine.page(0xB0000000 + (place << 15)), 4)[0]
                    for place in (0xA, 0x9)]
    assert [command >> 2 & 1 for command in commands] == masters


# --- what is done with caches and types -----------------------------------------------------------

def traced(system, iommu):
    """The Records of a guest's DMA, from where its device could begin."""
    words = "edu dma=non-coherent" if iommu == "amd" else "edu"
    cmdline = "trace=yes" + " dma=coherent" * (iommu == "snoop")
    outcome = system.svm(*CONTROL, "--device", words, "--iommu", iommu, "--cmdline", cmdline,
                         system.guest("edu"))
    assert outcome.status == 0, outcome.guest
    (found,), warnings = trace.read(outcome.log_text.encode())
    assert not warnings
    records = found.in_order()
    assert records[0].number == 0, "the ring has lost the first"
    (begin,) = (i for i, r in enumerate(records) if r.is_kind("master") and r.what)
    assert records[begin].a == 5 << 3
    return records[begin:]


@pytest.mark.parametrize("iommu, exits", [
    ("snoop", ["exit WBINVD"] * 4),  # two beside MTRRs; emulator: INVD exits as WBINVD does,
    ("no-snoop", []), ("amd", [])])  # and does not where that does not
def test_who_empties_the_caches(system, iommu, exits):
    """The CPU itself, where a device does not look into them; else it makes no difference."""
    names = [record.name for record in traced(system, iommu)]
    assert [name for name in names if name in ("exit WBINVD", "exit INVD")] == exits


# What follows a switch of rules, with and without a device that does not snoop. Emulator: on QEMU
# INVD has WBINVD's exit, or none.
NATIVE, INTERCEPTED = ["exit INVD", "flush"], ["exit WBINVD", "exit INVD"]
BY_BED = {"svm": [[], ["exit WBINVD", "exit WBINVD"]], "vmx": [NATIVE, INTERCEPTED],
          "svm-bochs": [NATIVE, INTERCEPTED], "vmx-snb": [NATIVE, INTERCEPTED]}


@pytest.mark.parametrize("bed", BY_BED)
def test_invd_becomes_wbinvd(system, bed):
    """As each vendor's CPU does it; by hypercall, as not all beds have such a device."""
    outcome = system.run("--bed", bed, "--timeout", "30", *CONTROL, system.guest("wbinvd"))
    assert outcome.status == 0, outcome.guest
    (found,), warnings = trace.read(outcome.log_text.encode())
    assert not warnings
    parts = []
    for record in found.in_order():
        if record.name == "exit hypercall":
            parts.append([])
        elif record.name in ("exit WBINVD", "exit INVD"):
            parts[-1].append(record.name)
        elif record.is_kind("flush") and parts[-1][-1:] == ["exit INVD"]:
            parts[-1].append("flush")
            assert record.what == 0 and record.b == 0, "of everything"
    assert parts == [*BY_BED[bed], []]


@pytest.mark.parametrize("words, iommu, times", [
    ("edu", "snoop", 0), ("edu", "no-snoop", 3), ("edu dma=non-coherent", "amd", 3)])
def test_caches_of_each_cpu_at_a_restart(system, words, iommu, times):
    """What another CPU still has of the guest before is not to come over what a device writes."""
    outcome = system.svm(*CONTROL, "--device", words, "--iommu", iommu, "--cpus", 2, "--set",
                         "on_reset=restart", "--cmdline",
                         "by=triple who=0 others=deaf boots=3 trace=yes", system.guest("ends"))
    assert outcome.status == 7, outcome.guest
    (found,), warnings = trace.read(outcome.log_text.encode())
    assert not warnings
    flushes = [record for record in found.in_order() if record.is_kind("flush")]
    assert len(flushes) == times and not any(record.b for record in flushes), "of everything"


WBINVD, INVD = 1 << 9, 1 << 22  # APM, "VMCB Layout": of the intercepts at 10h and at 0Ch


@pytest.mark.parametrize("iommu", ["snoop", "no-snoop"])
def test_what_exits_by_the_vmcb(system, tmp_path, iommu):
    with Machine(system, tmp_path, "--device", "edu", "--iommu", iommu, "--set", "serial=com1",
                 "--cmdline", "by=exits", system.guest("idle")) as machine:
        places, _ = kernel_places()
        gdb = Gdb(machine)
        vmrun = next(at for at, name in places.items() if name == "vmrun")
        gdb.set(vmrun)
        vmcb, rip = gdb.go()
        first, second = struct.unpack("<2I", gdb.read(vmcb + 0xC, 8))
        gdb.clear(vmrun)
        gdb.close()
    assert rip == vmrun and first & INVD and bool(second & WBINVD) == (iommu == "snoop")


@pytest.mark.parametrize("iommu", ["no-snoop", "amd"])
def test_types_change_when_the_guest_says_so(system, iommu):
    """Not by DMA or what comes with it: by an MTRR's write, or when CR0.CD is 0 again after it."""
    changes, written, last = 0, False, None
    for record in traced(system, iommu):
        if record.is_kind("exit"):
            written = written and not (last and last.name == "exit CR")
            last = record
        elif record.is_kind("MTRR"):
            written = written or record.what == 1
        elif record.name in ("leaf", "split", "join"):
            assert written and last.name in ("exit WRMSR", "exit CR"), record.details()
            changes += 1
    assert changes >= 2


# --- what the log says ----------------------------------------------------------------------------

def run_faults(system, cmdline, *args):
    """The faults in the log of a guest that does nothing else; the log; TSC ticks in a second."""
    outcome = system.run("--bed", "svm", "--timeout", "30", "--device", "edu", *CONTROL,
                         "--cmdline", f"dma=coherent {cmdline}", *args, system.guest("attack"),
                         "--", *WAITING)
    assert outcome.status == 0, outcome.guest
    (khz,) = re.findall(r"TSC at (\d+) kHz", outcome.log_text)
    return faults_of(outcome.log_text), outcome.log_text, int(khz) * 1000


def test_each_fault_is_reported(system):
    faults, log, _ = run_faults(system, "faults=3")
    assert [fault[1:] for fault in faults] == [
        (EDU, "write", 0x5000000 + i * PAGE) for i in range(3)]
    assert set(FAULT.findall(log)[i][4] for i in range(3)) == {f"{WRITE:x}"} and MANY not in log


@pytest.mark.parametrize("cpus", [1, 2])
def test_but_not_all_of_many(system, cpus):
    """And when it is quiet again they are, whether or not there is a CPU beside the guest's."""
    faults, log, second = run_faults(system, "faults=24 more=yes", "--machine-cpus", cpus,
                                     "--host", "cpus=all")
    assert MANY in log
    times = [fault[0] for fault in faults]
    for i, start in enumerate(times[:-MOST]):
        assert times[i + MOST] - start > second // 2, "in each second no more"
    assert faults[-1][3] == 0x5000000 + 24 * PAGE


def test_none_is_lost_at_the_end(system):
    """The last is one of too many."""
    faults, _, _ = run_faults(system, f"faults={MOST + 1}")
    assert faults[-1][3] == 0x5000000 + MOST * PAGE
