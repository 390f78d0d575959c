"""The TSC's rate: of emulated CPUs whose rate is known, and of a machine that cannot tell it."""
# SPDX-License-Identifier: BSD-2-Clause
import re

import pytest


def rate(outcome):
    """The rate in kHz that the log tells, or None."""
    assert "first entry after" in outcome.log_text, outcome.messages
    match = re.search(r"clock: TSC at (\d+) kHz, by the PIT", outcome.log_text)
    return match and int(match[1])


def check(outcome, khz):
    """The log and the guest's CPUID leaves tell the TSC's rate to within a thousandth."""
    assert rate(outcome) == pytest.approx(khz, rel=0.001)
    told, hz = re.search(rb"^# the TSC: (\d+) kHz, by leaf 15h (\d+) Hz", outcome.guest,
                         re.M).groups()
    assert int(told) == pytest.approx(khz, rel=0.001)
    assert int(hz) == pytest.approx(khz * 1000, rel=0.001)


def test_counted_instructions(system):
    """QEMU's -icount shift=0: one nanosecond an instruction."""
    check(system.svm("--icount", system.guest("cpuid")), 1e6)


@pytest.mark.parametrize("bed", ["vmx", "svm-bochs"])
def test_bochs(system, bed):
    """Fifty million instructions a second, where they are to be counted, else ten."""
    check(system.run("--bed", bed, "--icount", "--timeout", "30", system.guest("cpuid")), 50e3)
    slow = system.run("--bed", bed, "--timeout", "30", system.guest("cpuid"))
    assert rate(slow) == pytest.approx(10e3, rel=0.001)


def test_no_pit(system):
    outcome = system.svm(system.guest("halt"), "--", "-machine", "pit=off")
    assert rate(outcome) is None
    assert "neither CPUID 15h nor a PIT" in outcome.log_text
