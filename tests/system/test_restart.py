"""on_reset = restart: what is loaded again, and a log that a guest's resets cannot flood."""
# SPDX-License-Identifier: BSD-2-Clause
import re

import pytest

from machine import bochs_machine

CD = 1 << 30
TIMEOUT, STOPPED = 124, 126
EACH = list(range(1, 11))  # restarts that the log names each; then the powers of two


def restarts(outcome):
    """The restarts that the log names, with what asked for them."""
    return re.findall(r"^\[ *\d+ 0\] vm restart: reset by (.*): restart (\d+)$",
                      outcome.log_text, re.M)


def run(system, bed, cmdline, *args):
    """A run of the guest restart."""
    return system.run("--bed", bed, "--set", "on_reset=restart", "--cmdline", cmdline, *args,
                      system.guest("restart"))


@pytest.mark.parametrize("bed", ["svm", "vmx"])
def test_modules_are_loaded_again(system, tmp_path, bed):
    (tmp_path / "module").write_bytes(b"M" * 10000)
    outcome = run(system, bed, "by=port64", "--module", tmp_path / "module")
    assert outcome.status == 0, outcome.guest
    assert b"the module\n" in outcome.guest.replace(b"\r", b"")
    assert restarts(outcome) == [("a port", "1"), ("a port", "2"), ("a port", "3")]


def test_the_log_names_the_first_and_then_fewer(system):
    outcome = run(system, "svm", "by=triple boots=34")
    assert outcome.status == 0, outcome.guest
    assert restarts(outcome) == [("triple fault", str(n)) for n in [*EACH, 16, 32]]
    assert outcome.log_text.count("restart.elf enters at") == 1


def test_resets_without_end(system):
    outcome = run(system, "svm", "by=port64 boots=0", "--timeout", "4")
    assert outcome.status == TIMEOUT
    numbers = [int(n) for _, n in restarts(outcome)]
    assert numbers[:10] == EACH and len(numbers) < 10 + 32
    assert len(outcome.log_text) < 10000


@pytest.mark.parametrize("bed", ["svm", "vmx"])  # emulator: Bochs's SVM leaves the step to the host
def test_a_step_that_is_pending_is_forgotten(system, bed):
    outcome = run(system, bed, "by=port64 step=yes")
    assert outcome.status == 0, outcome.guest


def test_cd_of_the_boot_before_is_forgotten(system):
    keys = ["--set", "on_reset=restart", "--set", "policy=exact", "--set", "cd=hw"]
    with bochs_machine("vmx", *keys, "--timeout", "40", "--cmdline", "by=port64 wait=yes",
                       system.guest("restart"), last="waiting") as machine:
        assert len(machine.logged(r"vm restart: reset by a port: restart \d")) == 3
        assert machine.register("creg", rb"CR0=0x([0-9a-f]+)") & CD == 0


@pytest.mark.parametrize("cpus", [2, 4])
def test_the_others_come_late(system, cpus):
    """By --icount each CPU has its turn: a VM is reset, or ends, before the others look again."""
    outcome = run(system, "svm", "by=triple boots=60", "--cpus", cpus, "--icount", "--timeout",
                  "40")
    assert outcome.status == 0, outcome.messages + outcome.log_text
    assert restarts(outcome) == [("triple fault", str(n)) for n in [*EACH, 16, 32]]
    assert outcome.log_text.splitlines()[-1].endswith("end: all VMs ended")


def test_stop_is_the_default(system):
    outcome = system.svm("--cmdline", "by=port64", system.guest("restart"))
    assert outcome.status == STOPPED
    assert "stopped: vm restart reset" in outcome.log_text


@pytest.mark.parametrize("iommu", ["snoop", "amd"])
@pytest.mark.parametrize("name, kept, method", [
    ("e1000e-port", "no", "bus"), ("wire-e1000e", "yes", "PM")])  # emulator: D3hot keeps all
def test_what_a_device_forgets(system, iommu, name, kept, method):
    """Everything by a reset of the bus behind a port; no DMA of it is needed to see that."""
    outcome = system.svm("--set", "on_reset=restart", "--device", name, "--iommu", iommu,
                         "--cmdline", f"kept={kept}", system.guest("forgets"))
    assert outcome.status == 0, outcome.guest
    assert re.search(rf"pci \S+: 8086:10d3 class 020000, group \d+, reset {method},",
                     outcome.log_text)
    assert "vm forgets: reset by a port: restart 1" in outcome.log_text
