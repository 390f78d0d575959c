"""VMs of several vCPUs side by side with others: none sees what becomes of another."""
# SPDX-License-Identifier: BSD-2-Clause
import pytest

from test_vms import config, ends, run, vm

STOPPED, VALUE = 126, 7
BEDS = ["svm", "vmx"]


@pytest.mark.parametrize("bed, by, end", [("svm", "exit", "exit: vm crash value 7"),
                                          ("svm", "triple", "stopped: vm crash reset"),
                                          ("vmx", "triple", "stopped: vm crash reset")])
def test_one_ends_beside_two(system, tmp_path, bed, by, end):
    """Three VMs of two, one and one CPUs: the first ends early, the others all that they do."""
    outcome = run(system, bed, config(system, tmp_path, [
        vm("crash", "ends", f"by={by} who=1 others=exits", cpus="2", memory="64M", serial="none"),
        vm("one", "registers", serial="log"), vm("other", "cpuid")]))
    assert outcome.status == (VALUE if by == "exit" else STOPPED), outcome.log_text
    parts = [what for _, what in ends(outcome.log_text)]
    assert sorted(parts[:-1]) == sorted([end, "exit: vm one value 0", "exit: vm other value 0"])


@pytest.mark.parametrize("bed", BEDS)
def test_two_of_two(system, tmp_path, bed):
    """IPIs of one VM do not come to the other, whose CPUs have the same IDs."""
    outcome = run(system, bed, config(system, tmp_path, [
        vm("a", "ipi", "ipis=500", cpus="2", memory="64M"),
        vm("b", "ipi", "ipis=500", cpus="2", memory="64M", serial="log")]))
    assert outcome.status == 0, outcome.messages + outcome.log_text
    assert sorted(what for _, what in ends(outcome.log_text)[:-1]) == [
        "exit: vm a value 0", "exit: vm b value 0"]


def test_one_crashes_on_one_cpu_beside_two(system, tmp_path):
    outcome = run(system, "svm", config(system, tmp_path, [
        vm("two", "locks", cpus="2", memory="64M"),
        vm("crash", "shutdown", "by=triple", serial="none"), vm("one", "apic", serial="log")]))
    assert outcome.status == STOPPED, outcome.log_text
    assert sorted(what for _, what in ends(outcome.log_text)[:-1]) == [
        "exit: vm one value 0", "exit: vm two value 0", "stopped: vm crash reset"]
