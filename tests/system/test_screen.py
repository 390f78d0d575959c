"""The text screen of a guest: in the log when its VM ends, and only what the guest wrote."""
# SPDX-License-Identifier: BSD-2-Clause
import re

import pytest

STOPPED = 126
SCREEN = 0xB8000
ROWS = ["first line", "   exit: vm text value 9", ". bell. high. del.",
        " " * 79 + "x", "y"]


def shown(outcome):
    """The lines of the screen that the log shows."""
    return re.findall(r"^\[ *\d+ 0\] vm text: screen: (.*)$", outcome.log_text, re.M)


@pytest.mark.parametrize("bed", ["svm", "vmx"])
@pytest.mark.parametrize("clear", ["yes", "no"])
def test_what_was_written(system, bed, clear):
    outcome = system.run("--bed", bed, "--timeout", "20", "--cmdline", f"clear={clear}",
                         system.guest("text"))
    assert outcome.status == 0, outcome.messages
    assert shown(outcome) == ROWS


def test_of_a_vm_that_is_stopped(system):
    outcome = system.svm("--cmdline", "end=halt", system.guest("text"))
    assert outcome.status == STOPPED
    assert shown(outcome) == ROWS


@pytest.mark.parametrize("clear", ["yes", "no"])
def test_nothing_but_blanks(system, clear):
    outcome = system.svm("--cmdline", f"write=no clear={clear}", system.guest("text"))
    assert outcome.status == STOPPED
    assert shown(outcome) == []


def test_nothing_that_lay_in_memory_before(system, tmp_path):
    args = ["--cmdline", "write=no clear=no", system.guest("text")]
    log = system.svm(*args).log_text
    start = int(re.search(r"memory GPA 0x0-0x\w+ at HPA 0x(\w+)", log)[1], 16)
    (tmp_path / "old").write_bytes(b"?\7" * 2048)
    outcome = system.svm(*args, "--", "-device", f"loader,file={tmp_path}/old,force-raw=on,"
                         f"addr={start + SCREEN:#x}")
    assert f"at HPA 0x{start:x}" in outcome.log_text
    assert shown(outcome) == []
