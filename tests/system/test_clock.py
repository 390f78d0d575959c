"""The TSC's rate: of emulated CPUs whose rate is known, and of a machine that cannot tell it."""
# SPDX-License-Identifier: BSD-2-Clause
import re

import pytest


def rate(outcome):
    """The rate in kHz that the log tells, or None."""
    assert "first entry after" in outcome.log_text, outcome.messages
    match = re.search(r"clock: TSC at (\d+) kHz, by the PIT", outcome.log_text)
    return match and int(match[1])


def test_counted_instructions(system):
    """QEMU's -icount shift=0: one nanosecond an instruction."""
    assert rate(system.svm("--icount", system.guest("halt"))) == pytest.approx(1e6, rel=0.005)


def test_bochs(system):
    """Fifty million instructions a second."""
    outcome = system.run("--bed", "vmx", "--timeout", "30", system.guest("halt"))
    assert rate(outcome) == pytest.approx(50e3, rel=0.005)


def test_no_pit(system):
    outcome = system.svm(system.guest("halt"), "--", "-machine", "pit=off")
    assert rate(outcome) is None
    assert "neither CPUID 15h nor a PIT" in outcome.log_text
