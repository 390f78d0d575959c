"""VMs of several vCPUs: how they end and start again, whatever each of them does."""
# SPDX-License-Identifier: BSD-2-Clause
import re

import pytest

STOPPED, VALUE = 126, 7
BEDS = ["svm", "vmx"]
OTHERS = ["spin", "deaf", "exits", "ipis", "sleep", "halt", "wait"]
HOW = {"exit": (VALUE, "exit: vm ends value 7"), "triple": (STOPPED, "stopped: vm ends reset"),
       "nowhere": (STOPPED, "stopped: vm ends read at GPA 0xb0000000")}


def ended(system, bed, cmdline, *args):
    """A run of the guest `ends` with four CPUs."""
    return system.run("--bed", bed, "--cpus", "4", "--timeout", "40", "--cmdline", cmdline, *args,
                      system.guest("ends"))


@pytest.mark.parametrize("bed, number", [("svm", number) for number in range(len(OTHERS))] +
                         [("vmx", OTHERS.index(others)) for others in ("exits", "ipis", "wait")])
def test_one_ends_all(system, bed, number):
    """By each of the ways, on the slower bed by one, and by another CPU each time."""
    ways = list(HOW.items()) if bed == "svm" else [list(HOW.items())[number % len(HOW)]]
    for who, (how, (status, words)) in enumerate(ways, number):
        outcome = ended(system, bed, f"by={how} who={who % 4} others={OTHERS[number]}")
        assert outcome.status == status, outcome.messages + outcome.log_text
        (end,) = re.findall(r"\] ((?:exit|stopped): .*)", outcome.log_text)
        assert end.startswith(words)
        assert outcome.log_text.splitlines()[-1].endswith("end: all VMs ended")


@pytest.mark.parametrize("bed", BEDS)
def test_all_halt_for_good(system, bed):
    outcome = ended(system, bed, "by=halt who=3 others=halt")
    assert outcome.status == STOPPED, outcome.messages + outcome.log_text
    assert "stopped: vm ends halted for good" in outcome.log_text


def test_one_that_sleeps_does_not_end_the_others(system):
    """Nobody could wake it, but there are others."""
    outcome = ended(system, "svm", "by=exit who=1 others=halt")
    assert outcome.status == VALUE, outcome.messages + outcome.log_text


@pytest.mark.parametrize("bed, others", [("svm", "exits"), ("svm", "halt"), ("svm", "ipis"),
                                         ("vmx", "exits")])
def test_start_again(system, bed, others):
    outcome = ended(system, bed, f"by=triple who=2 others={others} boots=20",
                    "--set", "on_reset=restart")
    assert outcome.status == VALUE, outcome.messages + outcome.log_text
    resets = re.findall(r"vm ends: reset by triple fault: restart (\d+)", outcome.log_text)
    assert resets == [str(n) for n in [*range(1, 11), 16]]
