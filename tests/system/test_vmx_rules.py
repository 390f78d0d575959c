"""The CPU refuses what vmx/check.c calls broken: each row of tests/kernel/vmx_rules.c, on Bochs."""
# SPDX-License-Identifier: BSD-2-Clause
import re
import shutil

import pytest

from nosnoop import paths
from nosnoop.testing import Tool

VALUE = 21  # what the guest ends with
# (SDM, "VM-Instruction Error Numbers"; "VMX Basic Exit Reasons", with the bit for failed entries)
CONTROLS, HOST, GUEST = 7, 8, 1 << 31 | 33
TRIED = re.compile(r"\] rule (\S+) (refused, code 0x([0-9a-f]+)|accepted)")
NAMED = re.compile(r"\] broken rule of VM entry: ([^:]+): .* \(SDM, \"([^\"]+)\"\)")
DUMPED = re.compile(r"\]   (\w+) +([0-9a-f]+)$", re.MULTILINE)
RECORDED = re.compile(r"\{VMCS_(\w+), +0x([0-9a-f]+)\}")
# Fields that are the same in every build: neither addresses nor times.
LASTING = re.compile(r"\w+_(CONTROLS|SELECTOR|ACCESS_RIGHTS|SHADOW|MASK|CR0|CR4|EFER|PAT|DR7)$")
SECTIONS = {
    "VM-execution controls": CONTROLS,
    "VM-exit controls": CONTROLS,
    "VM-entry controls": CONTROLS,
    "host registers": HOST,
    "host segments": HOST,
    "address-space size": HOST,
}


@pytest.fixture(scope="module", name="log")
def run_rules(tmp_path_factory):
    """The log of a run with the kernel that tries the rows, once for all tests here.

    What the CPU can do for APICs is off: each row turns on what it is about.
    """
    build = tmp_path_factory.mktemp("build")
    shutil.copy(paths.built("vmx-rules.elf"), build / "nosnoop.elf")
    outcome = Tool(build).run("--bed", "vmx", "--timeout", "40", "--cmdline", f"value={VALUE}",
                              "--set", "apic=software",
                              paths.built("guests/value.elf"))
    assert outcome.status == VALUE, outcome.messages + outcome.log_text
    return outcome.log_text


def rows(log):
    """Of each row: its rule, the code of the refusal or None, and the (rule, section)s named."""
    named = []
    for line in log.splitlines():
        if match := NAMED.search(line):
            named.append(match.groups())
        elif match := TRIED.search(line):
            yield match[1], match[3] and int(match[3], 16), named
            named = []
    assert not named, "a rule was broken that no row was to break"


def test_all_are_refused(log):
    refused = {rule for rule, code, _ in rows(log) if code is not None}
    accepted = [rule for rule, code, _ in rows(log) if code is None]
    assert not accepted
    assert len(refused) >= 90


def test_the_checker_names_the_rule_and_no_other(log):
    for rule, _, named in rows(log):
        assert [name for name, _ in named] == [rule]


def test_the_cpu_refuses_for_the_same_part_of_the_state(log):
    for rule, code, named in rows(log):
        assert code == SECTIONS.get(named[0][1], GUEST), rule


def test_both_kinds_of_guests(log):
    assert re.findall(r"accepted state of a (\d+)-bit guest", log) == ["32", "64"]


def lasting(pattern, text):
    """The fields that PATTERN finds in TEXT, but for zeroes and what another build changes."""
    return {name: int(value, 16) for name, value in pattern.findall(text)
            if LASTING.match(name) and int(value, 16)}


@pytest.mark.parametrize("bits", ["32", "64"])
def test_the_unit_tests_begin_with_the_accepted_state(log, bits):
    header = (paths.ROOT / "tests/unit/vmcs_good.h").read_text(encoding="utf-8")
    common, *rest = header.split("static const struct vmcs_value vmcs_good_")
    own = next(part for part in rest if part.startswith(bits))
    accepted = log.split(f"accepted state of a {bits}-bit guest:")[1].split("HOST_RIP")[0]
    recorded = lasting(RECORDED, common + own)
    assert len(recorded) > 30
    assert lasting(DUMPED, accepted) == recorded
