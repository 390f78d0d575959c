"""Several vCPUs that write MTRRs: one rewrites the leaves for all; who differs is named once."""
# SPDX-License-Identifier: BSD-2-Clause
import re

import pytest

PAGE = 4096
SPOT = "2000000"  # where the guest's ranges begin


def run(system, bed, cpus, cmdline, *args):
    """A run of the guest, which must pass."""
    outcome = system.run("--bed", bed, "--cpus", cpus, "--timeout", "40", "--set", "policy=exact",
                         "--set", "control=yes", "--cmdline", cmdline, *args,
                         system.guest("mpmtrr"))
    assert outcome.status == 0, outcome.guest.decode() + outcome.log_text
    return outcome


def named(outcome):
    """The vCPUs whose MTRRs are not those of another, the other, and from where on."""
    return re.findall(r"vm mpmtrr: the MTRRs of vCPU (\d+) are not those of vCPU (\d+) from GPA "
                      r"0x(\w+) on$", outcome.log_text, re.M)


BEDS = pytest.mark.parametrize("bed, cpus", [("svm", 2), ("svm", 4), ("vmx", 2),
                                             ("svm-bochs", 2)])


@BEDS
def test_one_rewrites_for_all(system, bed, cpus):
    """
    Each time a page becomes UC and, but for the first time, another one WB. A second view that is
    made, as some are still on the first one, says from the start what it should. Time counts
    instructions, so that no CPU stands still in the midst of the sequence.
    """
    times = 60
    outcome = run(system, bed, cpus, f"only=pages times={times}", "--icount")
    (size,) = re.findall(r"types (\d+) bytes of leaves rewritten", outcome.log_text)
    assert 2 * times - 3 <= int(size) / PAGE <= 2 * times - 1
    assert not named(outcome)


@BEDS
def test_who_differs_is_named_once(system, bed, cpus):
    """Longer than 0.2 s until the next look, which is in a second at most; and that twice."""
    found = named(run(system, bed, cpus, "only=disagree hold=1500"))
    assert len(found) == cpus - 1 and {at for _, _, at in found} == {SPOT}
    assert len({other for _, other, _ in found}) == 1
    assert {int(one) for one, _, _ in found} | {int(found[0][1])} == set(range(cpus))
