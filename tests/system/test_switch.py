"""A change of policy at run time touches the leaves that change; what CPUs get of a policy."""
# SPDX-License-Identifier: BSD-2-Clause
import re

import pytest

from machine import bochs_machine

MEGABYTE = 1 << 20
RANGE, SCREEN = 2 * MEGABYTE, 0x20000  # what the guest's MTRRs have as UC, and A0000 to BFFFF
WB, KVM_6_11, BITVISOR = 1, 5, 13      # enum policy_number
PAT_RESET = 0x0007040600070406
CD = 1 << 30


def rewritten(system, bed, memory, policy, times):
    """Bytes of leaves rewritten while a policy comes and goes, its guest's own change aside."""
    outcome = system.run("--bed", bed, "--mem", memory, "--timeout", "40",
                         "--set", "policy=exact", "--set", "control=yes",
                         "--cmdline", f"to={policy} times={times}", system.guest("switch"))
    assert outcome.status == 0, outcome.guest.decode() + outcome.log_text
    (size,) = re.findall(r"types (\d+) bytes of leaves rewritten", outcome.log_text)
    return int(size) - RANGE


@pytest.mark.parametrize("bed, memory", [("svm", "8G"), ("vmx", "64M")])
def test_the_same_leaves_are_not_touched(system, bed, memory):
    assert rewritten(system, bed, memory, BITVISOR, 9) == 0


@pytest.mark.parametrize("bed, memory, policy, times", [
    ("svm", "8G", WB, 1), ("svm", "8G", WB, 3), ("vmx", "64M", KVM_6_11, 2)])
def test_only_other_leaves_are_touched(system, bed, memory, policy, times):
    assert rewritten(system, bed, memory, policy, times) == 2 * times * (RANGE + SCREEN)


def test_each_leaf_changes_where_it_ignores_the_pat(system):
    assert rewritten(system, "vmx", "64M", WB, 1) == 2 * 64 * MEGABYTE


@pytest.mark.parametrize("bed, state, policy, sets, cd, pat", [
    ("vmx", "cd", "exact", [], 0, PAT_RESET),
    ("vmx", "cd", "exact", ["cd=hw"], CD, PAT_RESET),
    ("vmx", "typed", "exact", ["cd=hw"], 0, PAT_RESET),
    ("vmx", "cd", "acrn", [], 0, 0),
    ("vmx", "typed", "acrn", [], 0, PAT_RESET),
    ("vmx", "disabled", "jailhouse", [], 0, 0),
    ("svm-bochs", "cd", "exact", [], CD, PAT_RESET),
    ("svm-bochs", "cd", "exact", ["cd=ignore"], 0, PAT_RESET),
    ("svm-bochs", "disabled", "jailhouse", [], 0, 0),
])
def test_what_the_cpu_gets_while_the_guest_runs(system, bed, state, policy, sets, cd, pat):
    keys = [f"policy={policy}", "control=yes", *sets]
    options = [word for key in keys for word in ("--set", key)]
    with bochs_machine(bed, *options, "--timeout", "40", "--cmdline", f"state={state} wait=yes",
                       system.guest("typemap"), last="waiting") as machine:
        assert machine.register("creg", rb"CR0=0x([0-9a-f]+)") & CD == cd
        assert machine.register('show "cpu0.MSR.pat"', rb"pat = 0x([0-9a-f]+)") == pat
