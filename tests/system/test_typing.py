"""Memory types: policies and regions that rows do not have, what is refused, and what is owed."""
# SPDX-License-Identifier: BSD-2-Clause
import re

import pytest

BAD_CONFIG, STOPPED = 122, 126
# As in guest-tests/mtrrs.c: each type across an edge of 2 MiB, and one that begins in WB memory and
# ends in UC.
REGIONS = [f"region={0x21FD000 + i * 0x200000:#x}+20K {kind}"
           for i, kind in enumerate(["uc", "wc", "wt", "wp", "wb"])] + ["region=0x9f000+8K wt"]


def sets(*pairs):
    """The options that set keys of [vm]."""
    return [word for pair in pairs for word in ("--set", pair)]


def run(system, bed, guest, cmdline, *pairs):
    """A run of a guest that may ask the oracle."""
    return system.run("--bed", bed, "--timeout", "40", *sets("control=yes", *pairs),
                      "--cmdline", cmdline, system.guest(guest))


@pytest.mark.parametrize("bed", ["svm", "vmx"])
@pytest.mark.parametrize("cmdline, pairs", [
    ("regions=yes", ["policy=exact", *REGIONS]),
    ("regions=yes mtrr=ignore pat=wb cd=ignore", ["policy=wb", *REGIONS]),
    ("reset=architectural", ["policy=exact", "reset=architectural"]),
    ("reset=architectural cd=ignore", ["policy=exact", "cd=ignore", "reset=architectural"]),
])
def test_random_writes(system, bed, cmdline, pairs):
    outcome = run(system, bed, "mtrrs", cmdline, *pairs)
    assert outcome.status == 0, outcome.guest.decode() + outcome.log_text


def test_random_writes_on_uc_ipat(system):
    outcome = run(system, "vmx", "mtrrs", "", "policy=exact", "cd=uc-ipat")
    assert outcome.status == 0, outcome.guest.decode() + outcome.log_text


@pytest.mark.parametrize("bed, pairs, message", [
    ("svm", ["cd=view"], "vm value: cd = view: this CPU's nested tables cannot override a PAT; "
                         "write cd = hw, ignore or pat-uc"),
    ("svm", ["cd=wb-ipat"], "vm value: cd = wb-ipat: this CPU's nested tables cannot override"),
    ("svm", ["policy=kvm-6.16"], "vm value: policy = kvm-6.16 has no rules for NPT; write one of: "
                                 "exact, wb, kvm-svm, kvm-svm-2015, xen, bhyve, jailhouse, "
                                 "bitvisor"),
    ("vmx", ["policy=kvm-svm"], "vm value: policy = kvm-svm has no rules for EPT; write one of: "
                                "exact, wb, kvm-2008, kvm-4.19, kvm-6.7, kvm-6.11, kvm-6.16, xen, "
                                "bhyve, acrn, jailhouse, bitvisor"),
    ("vmx", ["policy=wb", "cd=pat-uc"], "vm value: cd = pat-uc: leaves ignore the PAT, so that it "
                                        "cannot act; write pat = guest, or another cd"),
    ("svm", ["policy=best"], "best"),
    ("svm", ["mmio=guest"], "mmio = guest needs dangerous = yes in [host]"),
    *(("svm", [f"region={place} {kind}"], "has device registers, which a cacheable type lets "
                                          "machine-check; write uc or wc")
      for kind in ["wb", "wt", "wp"]
      for place in ["0xd0000000+16M", "0xbffff000+8K", "0xfffff000+4K"]),
])
def test_refused(system, bed, pairs, message):
    outcome = system.run("--bed", bed, *sets(*pairs), system.guest("value"))
    assert outcome.status == BAD_CONFIG
    assert message in outcome.log_text


def test_dangerous_is_told_of(system):
    outcome = system.svm(*sets("mmio=guest"), "--host", "dangerous=yes", "--cmdline", "value=7",
                         system.guest("value"))
    assert outcome.status == 7, outcome.log_text
    assert ("vm value: dangerous: mmio = guest: a cacheable type over device registers can "
            "machine-check") in outcome.log_text


@pytest.mark.parametrize("kind", ["uc", "wc"])
def test_region_over_the_hole(system, kind):
    outcome = system.svm(*sets(f"region=0xd0000000+16M {kind}"), "--cmdline", "value=7",
                         system.guest("value"))
    assert outcome.status == 7, outcome.log_text


def exits(outcome, kind):
    """How many exits of a kind the log counts."""
    match = re.search(rf"exits {kind} (\d+)$", outcome.log_text, re.M)
    return int(match[1]) if match else 0


# How many writes of CR0 exit of the two that set CD and clear it.
@pytest.mark.parametrize("bed, repeated, each_time", [
    ("svm", "clean", 0), ("svm", "owed", 1), ("svm", "cancelled", 0), ("svm-bochs", "owed", 1),
    ("vmx", "cancelled", 2)])
def test_exits_that_are_owed(system, bed, repeated, each_time):
    outcomes = [run(system, bed, "oracle", f"repeat={repeated} n={n}", "policy=exact")
                for n in (0, 100)]
    assert [outcome.status for outcome in outcomes] == [0, 0]
    assert exits(outcomes[1], "CR") - exits(outcomes[0], "CR") == 100 * each_time


def test_undefined_overlap_is_reported(system):
    outcome = run(system, "svm", "types", "", "policy=exact")
    assert outcome.status == 0, outcome.guest.decode()
    reports = re.findall(r"MTRRs overlap at GPA (0x[0-9a-f]+), undefined by the manuals: "
                         r"undefined-is-uc$", outcome.log_text, re.M)
    assert reports == ["0x2000000"]


def test_five_levels(system):
    outcome = system.svm("--set", "control=yes", "--set", "policy=exact", system.guest("oracle"),
                         "--", "-cpu", "max")
    assert outcome.status == 0, outcome.guest.decode()
    assert re.search(rb"^ok \d+ questions with 5 levels\r?$", outcome.guest, re.M)


def test_a_cpu_that_is_started_without_tables(system):
    """Three CPUs have types of their own, one has been waiting while the others took tables."""
    outcome = system.svm("--cpus", "3", "--mem", "320M", "--set", "policy=exact",
                         system.guest("crowded"))
    assert outcome.status == STOPPED, outcome.messages + outcome.log_text
    assert re.search(r" 1\] stopped: vm crowded its memory types need more tables than there are$",
                     outcome.log_text, re.M)
