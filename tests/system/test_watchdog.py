"""The watchdog: a hypervisor CPU that is stuck is named; one that has much to do is not."""
# SPDX-License-Identifier: BSD-2-Clause
import re
import struct
import subprocess
import time

import pytest

from machine import Machine
from nosnoop import paths
from nosnoop.testing import Tool
from test_vms import config, vm

PANIC, TIMEOUT = 125, 124
LOOP = b"\xeb\xfe"  # jmp itself


def file_offset(elf, address):
    """Where the byte of a linear ADDRESS stands in a 64-bit ELF file."""
    table, = struct.unpack_from("<Q", elf, 32)
    size, count = struct.unpack_from("<HH", elf, 54)
    for i in range(count):
        offset, start, _, length = struct.unpack_from("<QQQQ", elf, table + i * size + 8)
        if start <= address < start + length:
            return offset + address - start
    raise AssertionError(hex(address))


class Stuck(Tool):
    """tools/run on a kernel one of whose functions never comes to an end."""

    def __init__(self, place, function):
        super().__init__(place)
        for built in paths.BUILD.iterdir():
            (place / built.name).symlink_to(built)
        kernel = place / "nosnoop.elf"
        kernel.unlink()
        kernel.write_bytes(self.changed(paths.built("nosnoop.elf"), function))

    @staticmethod
    def changed(kernel, function):
        """The kernel's bytes with the loop."""
        symbols = subprocess.run(["nm", str(kernel)], capture_output=True, text=True, check=True)
        address, = re.findall(rf"^(\w+) T {function}$", symbols.stdout, re.M)
        elf = bytearray(kernel.read_bytes())
        at = file_offset(elf, int(address, 16))
        elf[at:at + 2] = LOOP
        return bytes(elf)


@pytest.fixture
def stuck(tmp_path):
    """A kernel in which a VM that ends with a value does not."""
    place = tmp_path / "build"
    place.mkdir()
    return Stuck(place, "vm_exit_value")


def check_report(outcome, cpu):
    """CPU has told where it is, and how it came there."""
    assert outcome.status == PANIC, outcome.messages + outcome.log_text
    log = outcome.log_text
    assert re.search(rf"^\[ *\d+ {cpu}\] panic: CPU {cpu} is stuck in the hypervisor: ", log, re.M)
    assert re.search(rf"^\[ *\d+ {cpu}\]   at   \w+ vm_exit_value\+0x0$", log, re.M), log
    assert re.search(rf"^\[ *\d+ {cpu}\]   from \w+ vcpu_run\+0x", log, re.M), log
    assert log.splitlines()[-1].endswith(f" {cpu}] end: panic")
    assert log.count("panic:") == 1


def never_exits(bed, **keys):
    """A VM whose guest never exits on its own; by `if=0` Bochs 2.7 would hold interrupts back."""
    return vm("b", "idle", "if=0" if bed == "svm" else "", memory="48M", serial="none", **keys)


@pytest.mark.parametrize("bed, cpu", [("svm", 0), ("svm", 1), ("vmx", 1), ("svm-bochs", 0)])
def test_beside_a_guest_that_never_exits(system, stuck, tmp_path, bed, cpu):
    """The other CPU comes out of its guest by the watchdog's timer alone."""
    outcome = stuck.run("--bed", bed, "--timeout", "40", *config(system, tmp_path, [
        vm("a", "value", "value=1", pin=str(cpu)), never_exits(bed, pin=str(1 - cpu))]),
        "--machine-cpus", "2")
    check_report(outcome, cpu)


def test_seen_by_a_parked_cpu(system, stuck):
    outcome = stuck.run("--bed", "svm", "--timeout", "40", "--machine-cpus", "2", "--cmdline",
                        "value=1", system.guest("value"))
    check_report(outcome, 0)


# --- what is not stuck ----------------------------------------------------------------------------

@pytest.mark.parametrize("bed, seconds", [("svm", 5), ("vmx", 6)])
def test_guests_that_never_exit(system, tmp_path, bed, seconds):
    """Bochs 2.7 holds back the second one's kicks: there an NMI gets the answer."""
    outcome = system.run("--bed", bed, "--timeout", seconds, *config(system, tmp_path, [
        vm("a", "idle", memory="48M"),
        vm("b", "idle", "if=0", memory="48M", serial="none")]), "--machine-cpus", "3")
    assert outcome.status == TIMEOUT, outcome.log_text
    assert "watchdog: each CPU is looked at" in outcome.log_text


def test_a_machine_that_stands_still(system, tmp_path):
    """The whole machine, again and again, for longer than a CPU may be silent."""
    with Machine(system, tmp_path, *config(system, tmp_path, [
            vm("a", "idle", memory="48M"), vm("b", "idle", "if=0", memory="48M", serial="none"),
            ])) as machine:
        for _ in range(4):
            machine.monitor.command("cont")
            time.sleep(0.7)
            machine.monitor.command("stop")
            time.sleep(1.5)
        machine.monitor.command("cont")
        time.sleep(2.5)
        assert machine.logged("panic") == []


def test_one_cpu_has_no_watchdog(system):
    outcome = system.svm("--cmdline", "value=7", system.guest("value"))
    assert outcome.status == 7 and "watchdog" not in outcome.log_text
