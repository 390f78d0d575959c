"""Where the INTx of devices that VMs have comes in, and what is said where it cannot."""
# SPDX-License-Identifier: BSD-2-Clause
import re

import pytest

BAD = 122


def run(system, device):
    """A guest that has DEVICE runs to its end."""
    return system.svm("--device", device, "--cmdline", "value=0", system.guest("value"))


@pytest.mark.parametrize("device, line", [
    ("edu", "GSI 10, active high, by the MP table"),  # of slot 5, as SeaBIOS says it
    ("edu-port", "GSI 11, active high, by the MP table"),  # of slot 6, where its port is
    ("edu-bridge", "GSI 11, active high, by Interrupt Line"),  # 00:06.0 INTB is in no table
    ("edu intx=21", "GSI 21, active low, by the config"),  # where QEMU has slot 5 of a q35
    ("edu intx=11", "GSI 11, active high, by the config")])  # as the MADT says of IRQ 11
def test_the_log_says_where_it_comes_in(system, device, line):
    outcome = run(system, device)
    assert outcome.status == 0, outcome.messages + outcome.log_text
    assert re.findall(r"vm value: device \S+: INTx is (.*)", outcome.log_text) == [line]


@pytest.mark.parametrize("device, why", [
    ("edu intx=24", "there is no such line"), ("ivshmem intx=10", "it has no INTx")])
def test_what_cannot_be(system, device, why):
    outcome = run(system, device)
    assert outcome.status == BAD
    assert re.search(r"nosnoop\.cfg:\d+: vm value: device 00:05\.0 cannot have that intx=: " + why +
                     "; leave it out", outcome.log_text)


def test_a_device_without_interrupts(system):
    outcome = run(system, "ivshmem")
    assert outcome.status == 0
    assert "INTx" not in outcome.log_text
