"""The doors lead to the same place: what a run gives does not depend on the firmware."""
# SPDX-License-Identifier: BSD-2-Clause
import re


WAYS = [("svm", "mb1", "multiboot 1"), ("svm", "uefi", "UEFI"), ("svm", "grub", "multiboot 2"),
        ("svm", "grub-uefi", "multiboot 2"), ("svm-bochs", "grub", "multiboot 2"),
        ("svm-bochs", "mb1", "multiboot 1"), ("vmx", "grub", "multiboot 2"),
        ("vmx", "mb1", "multiboot 1")]


def without_rates(stream):
    """A guest's stream without what it has measured: each run's TSC has a rate of its own."""
    return [line for line in stream.splitlines() if b" kHz" not in line]


def test_streams_are_the_same_by_all_doors(system):
    streams = set()
    for bed, door, by in WAYS:
        run = system.run("--bed", bed, "--door", door, "--timeout", "30", system.guest("cpuid"))
        assert run.status == 0, run.messages
        assert run.guest.startswith(b"KTAP")
        streams.add(tuple(without_rates(run.guest)))
        first = run.log_text.splitlines()[0]
        assert re.match(rf"\[ *\d+ 0\] nosnoop \d.* by {by}, on ", first)
    assert len(streams) == 1


def test_icount_repeats_to_the_digit(system):
    logs = [system.svm("--icount", system.guest("cpuid")).log_text for _ in range(2)]
    assert "first entry after" in logs[0]
    assert logs[0] == logs[1]
