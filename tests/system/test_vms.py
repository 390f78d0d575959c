"""Several VMs side by side: each on a CPU of its own, in memory of its own, whatever others do."""
# SPDX-License-Identifier: BSD-2-Clause
import re
import time
from pathlib import Path

import pytest

from machine import Machine, Monitor, bochs_machine, halted_registers
from nosnoop import beds, doors, options
from nosnoop.emulator import Emulator, Lines
from nosnoop.run import payload_of, private_directory
from walker import walk_ept, walk_npt

BAD, STOPPED = 122, 126
INTERRUPTS_ON = 1 << 9  # of RFLAGS
BEDS = ["svm", "vmx", "svm-bochs"]


def config(system, place, vms, **host):
    """The options for a config of VMS, a dict of keys each, whose kernels are test guests."""
    sections = [("host", host)]
    for keys in vms:
        link = Path(place) / keys["kernel"]
        if not link.exists():
            link.symlink_to(system.guest(link.stem))
        sections.append(("vm " + keys["name"], {"memory": "16M", **keys}))
    path = Path(place) / "test.cfg"
    path.write_text("".join(f"[{head}]\n" + "".join(
        f"{key} = {value}\n" for key, value in keys.items() if key != "name" and value)
        for head, keys in sections))
    return ["--config", path]


def vm(name, guest, cmdline="", **keys):
    """The keys of a VM; all but the first need a `serial`."""
    return {"name": name, "kernel": f"{guest}.elf", "cmdline": cmdline, **keys}


def run(system, bed, options, *args):
    """A run to its end."""
    return system.run("--bed", bed, "--timeout", "50", *options, *args)


def ends(log):
    """(CPU, what) of each VM's end, in the order of the log, and of the machine's."""
    return re.findall(r"^\[ *\d+ (\d+)\] ((?:exit|stopped|end): .*)$", log, re.M)


@pytest.mark.parametrize("bed", BEDS)
def test_two_of_one_file(system, tmp_path, bed):
    outcome = run(system, bed, config(system, tmp_path, [
        vm("a", "value", "value=7"), vm("b", "value", "value=9", serial="log")]))
    assert outcome.status == 9, outcome.messages + outcome.log_text
    assert sorted(ends(outcome.log_text)[:-1]) == [("0", "exit: vm a value 7"),
                                                   ("1", "exit: vm b value 9")]
    assert outcome.guest.split() == b"# exit: value 7".split()
    assert re.search(r"^\[ *\d+ 1\] \[b\] # exit: value 9$", outcome.log_text, re.M)


@pytest.mark.parametrize("bed", BEDS)
def test_each_has_a_timer(system, tmp_path, bed):
    """On Bochs with periods of so many instructions that they can be exact."""
    outcome = run(system, bed, config(system, tmp_path, [
        vm("a", "apic"), vm("b", "apic", serial="log")]), *["--icount"] * (bed != "svm"))
    assert outcome.status == 0, outcome.messages + outcome.log_text
    assert sorted(ends(outcome.log_text)[:-1]) == [("0", "exit: vm a value 0"),
                                                   ("1", "exit: vm b value 0")]


@pytest.mark.parametrize("bed", BEDS)
def test_a_crash_leaves_the_others_running(system, tmp_path, bed):
    """One crashes at its start, one has its value at once, one does odd things for long."""
    outcome = run(system, bed, config(system, tmp_path, [
        vm("crash", "shutdown", "by=triple", serial="none"),
        vm("odd", "hostile", "seed=21 ops=50000"),
        vm("value", "value", "value=5", serial="log")]))
    assert outcome.status == STOPPED
    *parts, end = ends(outcome.log_text)
    assert ("0", "stopped: vm crash reset") in parts and ("2", "exit: vm value value 5") in parts
    assert parts[-1] == ("1", "exit: vm odd value 0") and len(parts) == 3
    assert end == ("0", "end: all VMs ended")
    assert b"not ok" not in outcome.guest and re.search(rb"^1\.\.(\d+)", outcome.guest, re.M)


@pytest.mark.parametrize("on_end", ["halt", "reset"])
def test_the_machine_ends_with_the_last(system, tmp_path, on_end):
    outcome = run(system, "svm", config(system, tmp_path, [
        vm("short", "value", "value=1"),
        vm("long", "hostile", "seed=21 ops=20000", serial="log")], on_end=on_end))
    assert outcome.status == 1, outcome.messages + outcome.log_text
    assert [what for _, what in ends(outcome.log_text)] == [
        "exit: vm short value 1", "exit: vm long value 0", "end: all VMs ended"]


def test_each_may_start_again(system, tmp_path):
    """Resets of three VMs at once, on all CPUs that there are: none gets another's image."""
    vms = [vm(name, "restart", "by=port64 boots=60", on_reset="restart", serial=serial,
              memory="64M")
           for name, serial in zip("abc", ("com1", "log", "log"))]
    outcome = run(system, "svm", config(system, tmp_path, vms))
    assert outcome.status == 0, outcome.messages + outcome.log_text
    assert sorted(what for _, what in ends(outcome.log_text)[:-1]) == [
        f"exit: vm {name} value 0" for name in "abc"]
    for name in "abc":
        assert f"vm {name}: reset by a port: restart 32" in outcome.log_text


# --- which CPU ------------------------------------------------------------------------------------

@pytest.mark.parametrize("bed", BEDS)
def test_pins(system, tmp_path, bed):
    """None on the first CPU; those that are not pinned get what is left."""
    outcome = run(system, bed, config(system, tmp_path, [
        vm("a", "value", "value=1", pin="1"),
        vm("b", "value", "value=2", pin="3", serial="log"),
        vm("c", "value", "value=3", serial="none"),
        vm("d", "value", "value=4", serial="none")]))
    assert outcome.status == 4, outcome.messages + outcome.log_text
    assert sorted(ends(outcome.log_text)[:-1], key=lambda end: end[1]) == [
        ("1", "exit: vm a value 1"), ("3", "exit: vm b value 2"), ("0", "exit: vm c value 3"),
        ("2", "exit: vm d value 4")]


@pytest.mark.parametrize("keys, cpus, words", [
    ([{"pin": "5"}], 2, "vm a: pin = 5, and there is no such CPU; choose another"),
    ([{"pin": "200"}], 2, "vm a: pin = 200, and there is no such CPU; choose another"),
    ([{}, {"serial": "log"}], 1, "vm b: 0 of its 1 CPUs are left, of 1 that are used; give the "
     "machine more CPUs, or leave a VM out"),
    ([{}, {"serial": "log", "pin": "0"}, {"serial": "none"}], 2, "vm c: 0 of its 1 CPUs are left")])
def test_too_few_cpus(system, tmp_path, keys, cpus, words):
    vms = [vm(name, "value", **more) for name, more in zip("abc", keys)]
    outcome = run(system, "svm", config(system, tmp_path, vms), "--", "-smp", str(cpus))
    assert outcome.status == BAD
    assert re.search(r"nosnoop\.cfg:\d+: " + re.escape(words), outcome.log_text)
    assert outcome.log_text.count(" vm ") == 1  # nothing was made


def test_too_little_memory_for_the_second(system, tmp_path):
    outcome = run(system, "svm", config(system, tmp_path, [
        vm("a", "value"), vm("b", "value", memory="900M", serial="log")]), "--", "-m", "512M")
    assert outcome.status == BAD
    assert "vm b: memory = 921600 KiB is more than the machine has free" in outcome.log_text
    assert "first entry" not in outcome.log_text


# --- whose memory ---------------------------------------------------------------------------------

TWO = [vm("a", "spin"), vm("b", "spin", serial="log"), vm("c", "spin", serial="none")]


def check_disjoint(machine, walked, count):
    """The VMs' tables reach what the log says, no page of two and none of the hypervisor's."""
    memory = re.compile(r"vm (\w): memory GPA 0x\w+-0x\w+ at HPA 0x\w+")
    roots = dict(machine.logged(r"vm (\w): policy .*, root 0x(\w+)"))
    assert len(roots) == count and len(machine.logged(memory.pattern)) >= count
    (image, pool), = machine.logged(r"image at 0x(\w+), pool at 0x(\w+)\)")
    areas = [(int(at, 16), 60 << 10) for at in machine.logged(r"areas of 60 KiB from 0x(\w+)")]
    owned = [(int(image, 16), 1 << 20), (int(pool, 16), 2 << 20), *areas]
    pages = [set(range(start >> 12, start + size >> 12)) for start, size in owned]
    for root in roots.values():
        leaves = list(walked(int(root, 16)))
        mine = {page for leaf in leaves
                for page in range(leaf.hpa >> 12, leaf.hpa + leaf.size >> 12)}
        assert len(mine) == 16 << 20 >> 12
        assert all(mine.isdisjoint(others) for others in pages)
        pages.append(mine)


def test_memory_is_disjoint(system, tmp_path):
    with Machine(system, tmp_path, *config(system, tmp_path, TWO)) as machine:
        (pat,) = machine.logged(r"host PAT 0x(\w+)")
        check_disjoint(machine, lambda root: walk_npt(machine.page, root, int(pat, 16)), 3)


def test_memory_is_disjoint_on_the_other_vendors(system, tmp_path):
    with bochs_machine("vmx", *config(system, tmp_path, TWO[:2]), last="spinning") as machine:
        check_disjoint(machine, lambda root: walk_ept(machine.page, root), 2)


@pytest.mark.parametrize("bed", ["svm", "vmx"])
def test_tables_of_one_are_not_taken_from_another(system, tmp_path, bed):
    """One wants more than there are; when it has been stopped, the other still gets its own."""
    exact = {"policy": "exact"}
    outcome = run(system, bed, config(system, tmp_path, [
        vm("greedy", "retype", "pieces=yes", memory="1G", **exact),
        vm("modest", "retype", "same=3000 pieces=yes", memory="64M", serial="log", **exact)]))
    assert outcome.status == STOPPED, outcome.messages + outcome.log_text
    assert [what for _, what in ends(outcome.log_text)] == [
        "stopped: vm greedy its memory types need more tables than there are",
        "exit: vm modest value 0", "end: all VMs ended"]
    (size,) = re.findall(r"vm modest: types (\d+) bytes of leaves", outcome.log_text)
    assert int(size) == 31 << 20  # every other MiB, but the first, of the fixed ranges


# --- a panic --------------------------------------------------------------------------------------

def test_a_panic_stops_all(system, tmp_path):
    """A machine check comes to the first CPU, while guests run on two others, each with exits."""
    chosen = options.parse(["--bed", "svm", *map(str, config(system, tmp_path, [
        vm("a", "idle", "by=exits", pin="1", memory="48M"),
        vm("b", "idle", "by=exits", pin="2", memory="48M", serial="none")]))])
    chosen.door = doors.DOORS["mb1"]
    said, log, deadline = [], [], time.monotonic() + 30
    with private_directory() as private, Emulator() as emulator:
        serial = [emulator.pipe(Lines(lines.append).feed) for lines in (said, log)]
        argv = beds.BEDS["svm"].hypervisor(payload_of(chosen), chosen, serial, private)
        emulator.start([*argv, "-qmp", f"unix:{private}/qmp,server=on,wait=off"], {},
                       lambda data: None)
        assert emulator.follow(lambda: deadline, lambda: "idle" in said)
        monitor = Monitor(f"{private}/qmp")
        monitor.command("human-monitor-command",
                        **{"command-line": "mce 0 0 0xb200000000000000 4 0 0"})
        assert emulator.follow(lambda: deadline, lambda: any(" end: " in line for line in log))
        registers = halted_registers(monitor, 3, deadline)
        monitor.close()
    assert any(re.search(r" 0\] panic: machine check", line) for line in log), log
    assert registers.count("HLT=1") == 3
    flags = re.findall(r"RFL=([0-9a-f]+)", registers)
    assert [int(value, 16) & INTERRUPTS_ON for value in flags] == [0] * 3
