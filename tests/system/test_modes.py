"""Modes that the usual emulated CPU lacks: 5-level paging, and UMIP, which QEMU's `max` has."""
# SPDX-License-Identifier: BSD-2-Clause
import pytest


@pytest.mark.parametrize("guest", ["modes", "cr", "tables"])
def test_all_that_the_emulator_has(system, guest):
    run = system.svm(system.guest(guest), "--", "-cpu", "max")
    assert run.status == 0, run.messages + run.log_text
    lines = run.guest.decode().splitlines()
    lacking = [line for line in lines if "5-level" in line or "UMIP" in line and "SKIP" in line]
    assert lines and not lacking
