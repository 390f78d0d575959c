"""Where the INTx of devices that VMs have comes in, and what is said where it cannot."""
# SPDX-License-Identifier: BSD-2-Clause
import re

import pytest

from test_vms import config, vm

BAD = 122
SHARED = "no INTx: a device of another VM has the same line; intx= behind it can name another GSI"


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


def two(system, tmp_path, first, second, *machine):
    """Two VMs with a device each, whose lines are one by the MP table."""
    devices = [word for name in machine for word in ("--device", name)]
    return system.run("--bed", "svm", "--timeout", "40", *config(system, tmp_path, [
        vm("a", "value", "value=0", device=first + " reset=none"),
        vm("b", "value", "value=0", device=second + " reset=none", serial="log")]), *devices)


def test_devices_of_two_vms_share_no_line(system, tmp_path):
    """The second one has its messages."""
    outcome = two(system, tmp_path, "00:05.0", "00:08.0", "edu", "edu-2")
    assert outcome.status == 0, outcome.messages + outcome.log_text
    assert "vm a: device 00:05.0: INTx is GSI 10, " in outcome.log_text
    assert f"vm b: device 00:08.0: {SHARED}" in outcome.log_text


def test_another_line_can_be_named(system, tmp_path):
    outcome = two(system, tmp_path, "00:05.0", "00:08.0 intx=20", "edu", "edu-2")
    assert outcome.status == 0, outcome.messages + outcome.log_text
    assert "vm b: device 00:08.0: INTx is GSI 20, " in outcome.log_text


def test_without_messages_it_is_refused(system, tmp_path):
    outcome = two(system, tmp_path, "00:08.0", "00:05.0", "edu-2", "e1000")
    assert outcome.status == BAD
    assert f"vm b: device 00:05.0: {SHARED}" in outcome.log_text
    assert re.search(r"nosnoop\.cfg:\d+: vm b: device 00:05\.0 has no INTx and no other interrupt, "
                     "as the line above says; write intx=GSI behind it", outcome.log_text)


def test_the_line_of_another_vm_cannot_be_named(system, tmp_path):
    outcome = two(system, tmp_path, "00:05.0", "00:08.0 intx=10", "edu", "edu-2")
    assert outcome.status == BAD
    assert "cannot have that intx=: a device of another VM has the same line" in outcome.log_text
