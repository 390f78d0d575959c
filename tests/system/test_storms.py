"""Storms of which QEMU knows nothing (alignment checks), or dies (a breakpoint in delivery)."""
# SPDX-License-Identifier: BSD-2-Clause
import pytest

STOPPED = 126


@pytest.mark.parametrize("bed", ["vmx", "svm-bochs"])
@pytest.mark.parametrize("by, vector", [("data", 1), ("ac", 17)])
def test_storm_ends(system, bed, by, vector):
    outcome = system.run("--bed", bed, "--timeout", "20", "--cmdline", f"by={by}",
                         system.guest("storms"))
    assert outcome.status == STOPPED, outcome.messages + outcome.log_text
    assert f"stopped: vm storms delivery of vector {vector} raises it for ever" in outcome.log_text
