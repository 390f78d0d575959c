"""The machine's other CPUs: how they come up, what they map, and what happens to odd ones."""
# SPDX-License-Identifier: BSD-2-Clause
import re
import struct
import subprocess
import time

import pytest

from machine import Machine, Monitor, bochs_machine, halted_registers
from nosnoop import beds, doors, gdb, options, paths
from nosnoop.emulator import Emulator, Lines
from nosnoop.run import payload_of
from test_watchdog import PANIC, Stuck
from walker import walk

BAD = 122
AREA_VA, AREA_SIZE = 0xFFFFFFFFC0000000, 15 * 4096
MODE = {"svm": "xAPIC", "svm-bochs": "xAPIC", "vmx": "x2APIC"}
OWN_PAGES = 1 + 4 + 3 * 2 + 1  # struct cpu, stacks, the page table with the windows


def numbers(text):
    """1-3,5 as a list."""
    parts = [part.split("-") for part in text.split(",")]
    return [n for part in parts for n in range(int(part[0]), int(part[-1]) + 1)]


def parked(log):
    """The CPUs that the log says are parked."""
    match = re.search(r" 0\] cpu ([0-9,-]+): parked$", log, re.M)
    return numbers(match[1]) if match else []


def check_up(outcome, total):
    """All of TOTAL CPUs are up, all but the first parked, and the guest has run."""
    assert outcome.status == 7, outcome.messages + outcome.log_text
    used = "one CPU is" if total == 1 else f"{total} CPUs are"
    assert f"host: {used} used, and no IOMMU" in outcome.log_text
    assert parked(outcome.log_text) == list(range(1, total))
    agree = re.search(r"clock: the TSCs of all CPUs agree, to within (\d+) ticks",
                      outcome.log_text)
    assert bool(agree) == (total > 1)


def run(system, bed, total, *args):
    """A run of a guest on a machine with TOTAL CPUs."""
    return system.run("--bed", bed, "--machine-cpus", total, "--cmdline", "value=7", "--timeout",
                      "40", *args, system.guest("value"))


@pytest.mark.parametrize("bed, total", [("svm", 1), ("svm", 2), ("svm", 4), ("vmx", 1), ("vmx", 2),
                                        ("vmx", 4), ("svm-bochs", 2)])
def test_all_come_up(system, bed, total):
    """An INIT clears the MTRRs in QEMU 7.2, and leaves them alone in Bochs, as it should."""
    outcome = run(system, bed, total)
    check_up(outcome, total)
    assert total == 1 or f"cpus: {MODE[bed]}, areas" in outcome.log_text
    mended = re.search(r" 0\] cpu ([0-9,-]+): MTRRs were not those of CPU 0, and have been made "
                       r"so$", outcome.log_text, re.M)
    assert (numbers(mended[1]) if mended else []) == (list(range(1, total)) if bed == "svm" else [])
    assert f"acpi: local APIC at 0xfee00000, CPUs {total}" in outcome.log_text


NO_TABLES = pytest.mark.skip(reason="emulator: OVMF under Bochs gives no ACPI tables: no other CPU "
                                    "is known")


@pytest.mark.parametrize("bed, total", [("svm", 2), ("svm", 4),
                                        pytest.param("vmx", 2, marks=NO_TABLES)])
def test_from_the_hands_of_uefi(system, bed, total):
    check_up(run(system, bed, total, "--door", "uefi"), total)


@pytest.mark.limit(90)
def test_sixty_four(system):
    """By --icount a second is instructions, so that each of 64 gets its share of the start."""
    outcome = run(system, "svm", 64, "--icount")
    check_up(outcome, 64)
    assert len(outcome.log_text.splitlines()) < 40  # dense


def test_more_than_there_is_room_for(system):
    outcome = run(system, "svm", 65, "--host", "cpus=2")
    check_up(outcome, 2)
    assert "cpus: 63 are not started" in outcome.log_text


def test_one_is_enough(system):
    outcome = run(system, "svm", 4, "--host", "cpus=1")
    check_up(outcome, 1)
    assert "cpus: 3 are not started" in outcome.log_text


def test_more_than_the_machine_has(system):
    outcome = run(system, "svm", 4, "--host", "cpus=5")
    assert outcome.status == BAD
    assert "nosnoop.cfg:1: host: cpus = 5, of 4 that the machine has; write cpus = all" in \
        outcome.log_text


def test_no_local_apic(system):
    outcome = system.svm("--cmdline", "value=7", system.guest("value"), "--", "-cpu",
                         "EPYC,-apic")
    assert outcome.status == 7, outcome.messages + outcome.log_text
    assert "host: one CPU is used" in outcome.log_text


# --- what each CPU maps ---------------------------------------------------------------------------

def mappings_of_each(machine, total):
    """The mappings of each CPU, by its root in the log."""
    (first,) = machine.logged(r"host CR3 (0x[0-9a-f]+)")[:1]
    (second,) = machine.logged(r"host CR3 of CPU 1 (0x[0-9a-f]+)")
    roots = [int(first, 16)] + [int(second, 16) + i * AREA_SIZE for i in range(total - 1)]
    return [list(walk(machine.page, root)) for root in roots]


def check_mappings(machine, total, guest):
    """No page is writable and executable; what is a CPU's own is mapped there alone, and once."""
    each = mappings_of_each(machine, total)
    memory = [(int(hpa, 16), int(hpa, 16) + int(end, 16) - int(start, 16)) for start, end, hpa in
              machine.logged(rf"vm {guest}: memory GPA 0x(\w+)-0x(\w+) at HPA 0x(\w+)")]
    assert memory
    owned = [[m for m in mappings if m.va >= AREA_VA] for mappings in each]
    assert [len(own) for own in owned] == [OWN_PAGES] * total
    for mappings, own in zip(each, owned):
        assert [m for m in mappings if m.write and m.execute or m.user] == []
        assert [m for m in mappings for r in memory if m.overlaps(*r)] == []
        foreign = [page for other in owned if other is not own for page in other]
        assert [m for m in mappings for page in foreign
                if m.overlaps(page.pa, page.pa + page.size)] == []
        for page in own:
            assert [m.va for m in mappings if m.overlaps(page.pa, page.pa + page.size)] == [page.va]
    shared = [[m for m in mappings if m.va < AREA_VA] for mappings in each]
    assert all(mappings == shared[0] for mappings in shared)


def test_what_each_maps(system, tmp_path):
    with Machine(system, tmp_path, "--machine-cpus", "4", system.guest("spin")) as machine:
        check_mappings(machine, 4, "spin")


def test_what_each_maps_on_the_other_vendors(system):
    with bochs_machine("vmx", "--machine-cpus", "2", system.guest("spin"),
                       last="spinning") as machine:
        check_mappings(machine, 2, "spin")


# --- odd CPUs -------------------------------------------------------------------------------------

class Debugger(gdb.Stub):
    """Reads and writes the memory of a machine that stands at the kernel's entry."""

    MOST = 1024  # bytes of a packet

    def read(self, address, size):
        """SIZE bytes at ADDRESS."""
        data = b""
        while len(data) < size:
            part = min(self.MOST, size - len(data))
            data += bytes.fromhex(self.command(f"m{address + len(data):x},{part:x}"))
        return data

    def write(self, address, data):
        """Writes DATA at ADDRESS."""
        assert self.command(f"M{address:x},{len(data):x}:{data.hex()}") == "OK"


def rsdp_of(debugger):
    """The address and the bytes of the RSDP, which lies in the BIOS's segment."""
    bios = debugger.read(0xF0000, 0x10000)
    (at,) = [at for at in range(0, 0x10000, 16)
             if bios[at:at + 8] == b"RSD PTR " and sum(bios[at:at + 20]) & 0xFF == 0]
    return 0xF0000 + at, bios[at:at + 20]


def madt_of(debugger):
    """The address and the bytes of the MADT."""
    _, rsdp = rsdp_of(debugger)
    rsdt = int.from_bytes(rsdp[16:20], "little")
    size = int.from_bytes(debugger.read(rsdt + 4, 4), "little")
    entries = debugger.read(rsdt + 36, size - 36)
    for i in range(0, len(entries), 4):
        address = int.from_bytes(entries[i:i + 4], "little")
        if debugger.read(address, 4) == b"APIC":
            size = int.from_bytes(debugger.read(address + 4, 4), "little")
            return address, debugger.read(address, size)
    raise AssertionError("no MADT")


def run_changed(system, place, change):
    """The log of a run with 4 CPUs in whose memory CHANGE(debugger) acts before the kernel does."""
    socket = place / "gdb"
    process = system.start("--bed", "svm", "--log", place / "log", "--cmdline", "value=7",
                           system.guest("value"), "--", "-smp", "4,sockets=4", "-S", "-gdb",
                           f"unix:{socket},server=on,wait=off")
    entry = gdb.header_entry(paths.built("nosnoop.elf"))
    debugger = Debugger(str(socket))
    debugger.run_to(entry)
    debugger.arrived(entry)
    change(debugger)
    debugger.resume()
    _, messages = process.communicate(timeout=40)
    log = (place / "log").read_text()
    assert process.returncode == 7, messages + log
    return log


def run_with_madt(system, place, change):
    """The same where CHANGE(bytearray) changes the MADT."""
    def change_madt(debugger):
        address, madt = madt_of(debugger)
        madt = bytearray(madt)
        change(madt)
        madt[9] = (madt[9] - sum(madt)) & 0xFF
        debugger.write(address, madt)

    return run_changed(system, place, change_madt)


def test_without_acpi(system, tmp_path):
    log = run_changed(system, tmp_path, lambda debugger:
                      debugger.write(rsdp_of(debugger)[0], b"no table"))
    assert "mp table: local APIC at 0xfee00000, CPUs 4" in log
    assert parked(log) == [1, 2, 3]


def test_a_cpu_that_does_not_start(system, tmp_path):
    def other_id(madt):
        assert madt[44 + 16:44 + 24] == bytes([0, 8, 2, 2, 1, 0, 0, 0])
        madt[44 + 16 + 3] = 77

    log = run_with_madt(system, tmp_path, other_id)
    assert "cpu 2: APIC ID 77 does not start: left out" in log
    assert parked(log) == [1, 3]
    assert "host: 3 CPUs are used" in log


def test_disabled_and_senseless_entries(system, tmp_path):
    def disable(madt):
        madt[44 + 8 + 4] = 0        # disabled
        madt[44 + 16 + 4] = 2       # online-capable
        madt[44 + 24 + 3] = 0       # the first one's ID a second time

    log = run_with_madt(system, tmp_path, disable)
    assert "acpi: CPUs disabled 1, online-capable 1, entries that make no sense 1" in log
    assert "host: one CPU is used" in log


def x2apic_entry(apic_id):
    """ACPI, "Processor Local x2APIC Structure": as long as two entries of the other kind."""
    return struct.pack("<BBHIII", 9, 16, 0, apic_id, 1, 0)


def test_x2apic_entries(system, tmp_path):
    def one_for_two(madt):
        madt[44 + 8:44 + 24] = x2apic_entry(2)

    log = run_with_madt(system, tmp_path, one_for_two)
    assert "acpi: local APIC at 0xfee00000, CPUs 3" in log
    assert parked(log) == [1, 2]
    assert "are not started" not in log


@pytest.mark.parametrize("apic_id", [255, 256 + 1, 0xFFFFFFFE])
def test_ids_that_an_xapic_does_not_reach(system, tmp_path, apic_id):
    """None of them is taken for the one that has its low 8 bits."""
    def far(madt):
        madt[44 + 8:44 + 24] = x2apic_entry(apic_id)

    log = run_with_madt(system, tmp_path, far)
    assert "cpus: 1 are not started" in log
    assert parked(log) == [1]
    assert "host: 2 CPUs are used" in log


def test_a_list_that_breaks_off(system, tmp_path):
    def no_length(madt):
        madt[44 + 16 + 1] = 0

    log = run_with_madt(system, tmp_path, no_length)
    assert "acpi: MADT: the entry at byte 60 has the length 0" in log
    assert parked(log) == [1]


def test_a_cpu_with_other_features(system):
    outcome = system.svm("--cmdline", "value=7", system.guest("value"), "--", "-smp",
                         "1,maxcpus=3,cores=3", *other_cpu(1, "smep=off"), *other_cpu(2, ""))
    assert outcome.status == 7, outcome.messages + outcome.log_text
    assert re.search(r" 1\] cpu: CPUID 0x7 differs from CPU 0's, by bits 0x0 0x80 0x0 0x0: "
                     r"left out$", outcome.log_text, re.M)
    assert parked(outcome.log_text) == [2]


def other_cpu(core, features):
    """QEMU's arguments for one more CPU."""
    device = f"EPYC-x86_64-cpu,socket-id=0,die-id=0,core-id={core},thread-id=0"
    return ["-device", ",".join(filter(None, [device, features]))]


# --- the end --------------------------------------------------------------------------------------

def symbol_range(name):
    """Where a function of the kernel lies, of each of its name."""
    symbols = subprocess.run(["nm", "-S", str(paths.built("nosnoop.elf"))], capture_output=True,
                             text=True, check=True).stdout
    return [(int(at, 16), int(at, 16) + int(size, 16)) for at, size in
            re.findall(rf"^(\w+) (\w+) \w {name}$", symbols, re.M)]


def halted_at(private, *emulator_arguments):
    """Where each of four CPUs has halted when the log has ended, and what the log says."""
    chosen = options.parse(["--bed", "svm", "--machine-cpus", "4",
                            str(paths.built("guests/value.elf")), "--", *emulator_arguments])
    chosen.door = doors.DOORS["mb1"]
    log = []
    with Emulator() as emulator:
        serial = [emulator.pipe(Lines(lines.append).feed) for lines in ([], log)]
        argv = beds.BEDS["svm"].hypervisor(payload_of(chosen), chosen, serial, private)
        emulator.start([*argv, "-qmp", f"unix:{private}/qmp,server=on,wait=off"], {},
                       lambda data: None)
        deadline = time.monotonic() + 30
        assert emulator.follow(lambda: deadline, lambda: any(" end: " in line for line in log))
        monitor = Monitor(f"{private}/qmp")
        registers = halted_registers(monitor, 4, deadline)
        monitor.close()
    return [int(at, 16) for at in re.findall(r"RIP=([0-9a-f]+)", registers)], log


def is_in(address, names):
    """Whether ADDRESS lies in one of these functions."""
    return any(start <= address <= end for name in names for start, end in symbol_range(name))


def test_a_cpu_that_does_not_answer(system, tmp_path):
    """One that is asked for its TSC, and never comes back from that, is named."""
    place = tmp_path / "build"
    place.mkdir()
    outcome = Stuck(place, "tsc_answer").run("--bed", "svm", "--machine-cpus", "3", "--timeout",
                                             "40", "--cmdline", "value=7", system.guest("value"))
    assert outcome.status == PANIC, outcome.messages + outcome.log_text
    assert re.search(r" 0\] panic: CPU 1, APIC ID 1, does not answer$", outcome.log_text, re.M)


def test_a_panic_stops_all(tmp_path):
    """Each CPU has halted in panic.c, and none is where it was parked."""
    where, log = halted_at(tmp_path, "-cpu", "EPYC,-svm")
    assert any("panic: this CPU cannot run guests" in line for line in log)
    assert len(where) == 4
    assert all(is_in(at, ["end_halt", "panic_stop_if_elsewhere"]) for at in where), where


def test_parked(tmp_path):
    where, _ = halted_at(tmp_path)
    assert len(where) == 4
    assert is_in(where[0], ["end_halt"])
    assert all(is_in(at, ["smp_enter", "smp_wait"]) for at in where[1:])
