"""Never a silent hang: whatever is wrong, the run ends, says what and why, and has its status."""
# SPDX-License-Identifier: BSD-2-Clause
import random
import time

import pytest

BAD, TIMEOUT, PANIC, STOPPED = 122, 124, 125, 126


def check(outcome, status, *words):
    """The status, and a log whose last line is the end and that has the WORDS in one line."""
    assert outcome.status == status, outcome.messages + outcome.log_text
    lines = outcome.log_text.splitlines()
    assert " end: " in lines[-1]
    assert any(all(word in line for word in words) for line in lines), outcome.log_text


def test_no_virtualization(system):
    check(system.svm(system.guest("cpuid"), "--", "-cpu", "EPYC,-svm"), PANIC,
          "no virtualization", "enable")


def test_machine_smaller_than_the_vm(system):
    check(system.svm("--mem", "2G", system.guest("cpuid"), "--", "-m", "512M"), BAD,
          "vm cpuid: memory", "more than the machine has")


def test_hardly_any_memory(system):
    check(system.svm(system.guest("cpuid"), "--", "-m", "66M"), BAD, "vm cpuid: memory")


def test_no_config(system):
    check(system.svm(system.guest("cpuid"), "--", "-initrd", "/etc/debian_version"), BAD,
          "no guest", "nosnoop.cfg")


def config(tmp_path, text):
    """A config file; returns the options for it."""
    path = tmp_path / "test.cfg"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return "--config", path


def test_config_without_a_vm(system, tmp_path):
    check(system.svm(*config(tmp_path, "[host]\nlog = com2\n")), BAD, "no guest", "[vm")


def test_config_that_names_a_missing_file(system, tmp_path):
    check(system.svm(*config(tmp_path, "[vm a]\nkernel = gone\n")), BAD,
          "nosnoop.cfg:2: vm a", "gone", ";")


def test_config_that_names_a_missing_module(system, tmp_path):
    guest = system.guest("cpuid")
    (tmp_path / guest.name).symlink_to(guest)
    text = f"[vm a]\nkernel = {guest.name}\n\nmodule = dir/gone x\n"
    check(system.svm(*config(tmp_path, text)), BAD, "nosnoop.cfg:4: vm a", "dir/gone", ";")


@pytest.mark.parametrize("seed", range(3))
def test_garbage_config(system, tmp_path, seed):
    text = random.Random(seed).randbytes(3000)
    check(system.svm(*config(tmp_path, text)), BAD, "nosnoop.cfg:", ";")


def test_empty_config(system, tmp_path):
    check(system.svm(*config(tmp_path, "")), BAD, "no guest")


def test_bad_value(system):
    check(system.svm("--set", "pat=purple", system.guest("cpuid")), BAD, "nosnoop.cfg:", "pat")


@pytest.mark.parametrize("option, pair", [
    ("--host", "on_end=poweroff"), ("--host", "cpus=65")])
def test_what_is_not_there_yet(system, option, pair):
    check(system.svm(option, pair, system.guest("cpuid")), BAD, "nosnoop.cfg:",
          "is not supported yet; ")


def test_a_policy_without_rules_for_this_cpu(system):
    check(system.svm("--set", "policy=acrn", system.guest("cpuid")), BAD,
          "vm cpuid: policy = acrn has no rules for NPT; ")


def test_a_knob_that_this_cpu_cannot_turn(system):
    check(system.svm("--set", "cd=view", system.guest("cpuid")), BAD, "vm cpuid: cd = view", "; ")


def test_a_region_of_device_registers(system):
    check(system.svm("--set", "region=0xd0000000+4K wb", system.guest("cpuid")), BAD,
          "nosnoop.cfg:", "region 0xd0000000", "; ")


def test_a_machine_without_an_iommu(system):
    outcome = system.svm("--host", "iommu=on", "--cmdline", "value=5", system.guest("value"))
    assert outcome.status == 5
    assert "host: one CPU is used, and no IOMMU" in outcome.log_text


def test_more_cpus_than_the_machine_has(system):
    check(system.svm("--cpus", "2", system.guest("cpuid"), "--", "-smp", "1"), BAD,
          "nosnoop.cfg:", "1 of its 2 CPUs are left, of 1")


def image(tmp_path, data):
    """A guest file with these bytes."""
    path = tmp_path / "image"
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("size", [100, 5000])
def test_truncated_guest(system, tmp_path, size):
    data = system.guest("cpuid").read_bytes()[:size]
    check(system.svm(image(tmp_path, data)), BAD, "guest image image", ";")


@pytest.mark.parametrize("data", [b"", b"\x7fELF", b"no kernel\n" * 1000], ids=len)
def test_guest_that_is_no_kernel(system, tmp_path, data):
    check(system.svm(image(tmp_path, data)), BAD, "image", ";")


def test_guest_larger_than_its_memory(system):
    check(system.svm("--mem", "1M", system.guest("cpuid")), BAD, "cpuid.elf", "RAM")


def test_guest_halted_for_good(system):
    check(system.svm(system.guest("halt")), STOPPED, "stopped: vm halt halted for good")


def test_guest_that_never_ends(system):
    before = time.monotonic()
    outcome = system.svm("--timeout", "2", system.guest("spin"))
    assert outcome.status == TIMEOUT
    assert time.monotonic() - before < 3.5
    assert "first entry" in outcome.log_text


@pytest.mark.parametrize("bed", ["svm", "svm-bochs"])
def test_an_instruction_that_the_decoder_finds_changed(system, bed):
    check(system.run("--bed", bed, "--timeout", "20", system.guest("changed")), STOPPED,
          "stopped: vm changed instruction at RIP", "changed while it ran")


def test_an_instruction_that_has_changed_where_the_cpu_says_what_it_was(system):
    assert system.run("--bed", "vmx", "--timeout", "20", system.guest("changed")).status == 0
