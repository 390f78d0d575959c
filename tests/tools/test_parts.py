"""Tests of the tools' pure parts: the default bed, KTAP, payloads, the test rows, the tables."""
# SPDX-License-Identifier: BSD-2-Clause
from argparse import Namespace

import pytest

from nosnoop import options, payload
from nosnoop.beds import default_bed
from nosnoop.judge import Judge
from nosnoop.ktap import Ktap, Result
from nosnoop.run import payload_of
from nosnoop.status import Refusal

DEFAULT_BED = [
    ((True, ["fpu", "vmx"], "1"), "kvm", "nested KVM works"),
    ((True, ["svm", "fpu"], "Y"), "kvm", "nested KVM works"),
    ((False, ["vmx"], "1"), "svm", "/dev/kvm"),
    ((True, ["fpu", "svme", "hypervisor"], "1"), "svm", "neither vmx nor svm"),
    ((True, ["svm"], "0"), "svm", "nested"),
    ((True, ["vmx"], "N"), "svm", "nested"),
    ((True, ["vmx"], None), "svm", "nested"),
    ((False, [], None), "svm", "/dev/kvm"),
]


@pytest.mark.parametrize("facts, bed, why", DEFAULT_BED)
def test_default_bed(facts, bed, why):
    name, reason = default_bed(*facts)
    assert name == bed
    assert why in reason and "\n" not in reason


def test_ktap_results():
    ktap = Ktap.of("KTAP version 1\r\n1..4\r\nok 1 a b\nok 2 - c # SKIP no ECAM\nnot ok 3 d\n"
                   "# ok 9 no result\nokay\nok 4 e # 12 exits\n")
    assert ktap.plan == 4
    assert ktap.results[:3] == [Result("a b", "ok", ""), Result("c", "skip", "no ECAM"),
                                Result("d", "not ok", "")]
    assert ktap.results[3].name == "e" and ktap.results[3].verdict == "ok"
    assert ktap.problem() == "not ok: d"


KTAP_PROBLEMS = {
    "1..1\nok 1 a": False,
    "1..2\nok 1 a": True,
    "1..1\nok 1 a\nok 2 b": True,
    "1..1\nnot ok 1 a": True,
    "1..1\nnot ok 1 a # SKIP that it is skipped does not save it": True,
    "not ok 1 a": False,
    "": False,
    "1..0": False,
    "1..1\nok 1 a # SKIP why": False,
}


@pytest.mark.parametrize("text", KTAP_PROBLEMS)
def test_ktap_problem(text):
    assert bool(Ktap.of(text).problem()) == KTAP_PROBLEMS[text]


def test_ktap_all_skipped():
    assert Ktap.of("1..1\nok 1 a # SKIP").all_skipped()
    assert not Ktap.of("1..2\nok 1 a # SKIP\nok 2 b").all_skipped()
    assert not Ktap.of("1..0").all_skipped()


VM_NAMES = {"a/b/hello.elf": "hello", "vmlinuz-6.1": "vmlinuz-6.1", "a b,c": "a_b_c",
            "...": "guest", "x" * 99: "x" * 31, "é.elf": "guest"}


@pytest.mark.parametrize("path", VM_NAMES)
def test_vm_name(path):
    assert payload.vm_name(path) == VM_NAMES[path]


@pytest.mark.parametrize("text, expected", [("64M", 64 << 20), ("4096", 4096), ("2G", 2 << 30),
                                            ("1K", 1024), ("", None), ("-1M", None), ("1T", None)])
def test_memory_bytes(text, expected):
    assert payload.memory_bytes(text) == expected


def test_machine_of_one_guest(tmp_path):
    guest = tmp_path / "g"
    guest.write_bytes(bytes(3 << 20))
    chosen = Namespace(guest=str(guest), mem="64M", cpus=2, cmdline="", module=[], host=[],
                       set=["memory=128M", "cmdline=x"])
    made = payload.for_guest(chosen)
    assert made.memory >= (128 + 3) << 20 and made.memory % (1 << 20) == 0
    assert made.cpus == 2
    assert made.config.count("memory") == 1 and "cmdline = x\n" in made.config


@pytest.mark.parametrize("more, expected", [(1, 2), (4, 4)])
def test_machine_with_more_cpus(tmp_path, more, expected):
    guest = tmp_path / "g"
    guest.write_bytes(b"")
    made = payload_of(options.parse(["--cpus", "2", "--machine-cpus", str(more), str(guest)]))
    assert made.cpus == expected and "cpus = 2\n" in made.config


def test_machine_of_a_config(tmp_path):
    (tmp_path / "k").write_bytes(b"k")
    config = tmp_path / "c"
    config.write_text("; memory = 9G\n[host]\ncpus = all\n[vm a]\nkernel=k\nmemory = 1G\ncpus=2\n"
                      "[vm b]\nkernel = missing\nmodule = k string\n[vm c]\ncpus = many\n")
    made = payload.for_config(str(config))
    assert made.files == {"k": str(tmp_path / "k")}
    assert made.cpus == 3
    assert made.memory >= (1024 + 64 + 64) << 20


def test_machine_of_a_config_with_pins(tmp_path):
    config = tmp_path / "c"
    config.write_text("[vm a]\nkernel = k\npin = 5\n[vm b]\ncpus = 2\npin = 1, 2\n[vm c]\npin =\n")
    assert payload.for_config(str(config)).cpus == 6


def test_two_files_of_one_name(tmp_path):
    for place in ("x", "y"):
        (tmp_path / place).mkdir()
        (tmp_path / place / "k").write_bytes(b"k")
    config = tmp_path / "c"
    config.write_text("[vm a]\nkernel = x/k\n[vm b]\nkernel = y/k\n")
    with pytest.raises(Refusal, match="same name"):
        payload.for_config(str(config))


@pytest.mark.parametrize("b, expected", [("ok 1 x", 0), ("not ok 1 x", 1), ("", 1)])
def test_each_vm_has_a_plan_of_its_own(b, expected):
    judge = Judge()
    for line in ("1..1", "ok 1 x"):
        judge.guest_line(line)
        judge.log_line("[1 1] [a] " + line)
    for line in ("1..1", b):
        judge.log_line("[1 1] [b] " + line)
    for name in "ab":
        judge.log_line(f"[1 1] exit: vm {name} value 0")
    judge.log_line("[1 0] end: all VMs ended")
    assert judge.status() == expected


def test_log_line_behind_a_prompt():
    """A line for which the monitor's prompt has made way; what was typed is none."""
    judge = Judge()
    judge.log_line("nosnoop> exit: vm a value 1")
    judge.log_line("nosnoop> [1 0] exit: vm a value 2")
    assert not judge.values
    judge.log_line("\r\033[Knosnoop> st\r\033[K[       123 0] exit: vm a value 3")
    assert judge.values == {"a": 3}
