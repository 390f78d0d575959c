"""Tests of the Bochs beds: control runs of the fake kernel, and what Bochs's lines mean."""
# SPDX-License-Identifier: BSD-2-Clause
import time

import pytest

from nosnoop import doors, grub, options
from nosnoop.beds import BEDS
from nosnoop.payload import Payload


def control(tool, script, *args):
    """A control run of the fake kernel as a guest."""
    module = tool.script(script, "script") + "=s  t"
    return tool.run("--bed", "svm-bochs", "--control", "--module", module, *args, tool.kernel)


CONTROLS = {
    "value": ("G# exit: value 100\n", 99, ""),
    "not ok": ("G1..1\nGnot ok 1 b\nG# exit: value 0\n", 1, ""),
    "triple fault": ("T", 127, "3rd (13) exception"),
    "reset": ("R", 127, "the machine was reset"),
}


@pytest.mark.parametrize("name", CONTROLS)
def test_control(tool, name):
    script, expected, message = CONTROLS[name]
    outcome = control(tool, script)
    assert outcome.status == expected, outcome.messages
    assert message in outcome.messages


def test_control_strings_and_stream(tool):
    outcome = control(tool, "MAG# exit: value 0\n", "--cmdline", "first it's=second")
    lines = outcome.guest.decode().splitlines()
    assert lines == ["script s t", "nosnoop.elf first it\\'s=second", "# exit: value 0"]
    assert outcome.status == 0


def test_control_timeout(tool):
    before = time.monotonic()
    assert control(tool, "Gready\nH", "--timeout", "5").status == 124
    assert time.monotonic() - before < 6


def test_bad_emulator_arguments(tool):
    outcome = tool.run("--bed", "vmx", tool.script("H"), "--", "bogus: x=1")
    assert outcome.status == 127
    assert "directive 'bogus' not understood" in outcome.messages


class Teller:
    """Takes what the debugger is told."""

    def __init__(self):
        self.told = ""

    def tell(self, text):
        """Takes a text."""
        self.told += text


LINES = {
    "00000000000i[PLUGIN] loaded plugin libbx_serial.so": (None, "", 0),
    "(0) [0x0000fffffff0] f000:fff0 (unk. ctxt): jmpf 0xf000:e05b ; ea": (None, "", 0),
    "(0) Breakpoint 1, 0x00000000fffffff0 in ?? ()": ("the machine was reset", "q\n", 0),
    "(0) Breakpoint 2, 0xffffffff8000a630 in ?? ()": (None, "d 2\nc\n", 1),
    "(0).[57037889] ??? (physical address not available)": (None, "c\n", 0),
    "[      ] cmdline args: x": ("[      ] cmdline args: x", "", 0),
    "[CPU0  ] exception(): 3rd": ("[CPU0  ] exception(): 3rd", "", 0),
}


@pytest.mark.parametrize("line", LINES)
def test_lines(line):
    said, told, entered = LINES[line]
    teller, entries = Teller(), []
    assert BEDS["vmx"].message(line, teller, lambda: entries.append(1)) == said
    assert (teller.told, len(entries)) == (told, entered)


def test_configuration(tmp_path):
    disk = tmp_path / "disk"
    disk.write_bytes(b"")
    with open(disk, "r+b") as out:
        out.truncate(70 * 16 * 63 * 512)
    text = BEDS["vmx"].configuration(Payload("", 576 << 20, 2),
                                     doors.Start(uefi=True, disk=str(disk)), ["a", "b"], "/p")
    assert "model=corei7_skylake_x, count=1:2:1," in text
    assert "memory: guest=576, host=576\n" in text
    assert f"path={disk}, mode=flat, cylinders=70, heads=16, spt=63\n" in text
    assert "boot: disk\n" in text and "OVMF.fd\n" in text
    assert "com2: enabled=1, mode=file, dev=b\n" in text
    assert "panic: action=fatal\n" in text


@pytest.mark.parametrize("arguments, ips", [([], 10), (["--icount"], 50)])
def test_a_second_has_so_many_instructions(tmp_path, arguments, ips):
    chosen = options.parse(["--bed", "vmx", *arguments, "guest.elf"])
    disk = tmp_path / "disk"
    disk.touch()
    BEDS["vmx"].command(Payload("", 64 << 20, 1), doors.Start(disk=str(disk)), chosen, ["a"],
                        str(tmp_path), None)
    assert f":1, ips={ips}000000, " in (tmp_path / "machine").read_text()


def test_a_kernel_gets_what_its_command_line_and_modules_say(tool):
    outcome = tool.run("--bed", "vmx", tool.script("MAL[1 0] exit: vm x value 0\nL[1 0] end:\nH",
                                                   "a b"))
    lines = outcome.guest.decode().splitlines()
    assert [line.rpartition("/")[2] for line in lines] == ["nosnoop.cfg", "a_b", "nosnoop.elf"]
    assert outcome.status == 0, outcome.messages


def test_a_module_stands_in_memory_as_in_its_file(tool):
    outcome = tool.run("--bed", "vmx", tool.script("CL[1 0] exit: vm x value 0\nL[1 0] end:\nH"))
    assert "[vm guest]\nkernel = guest.elf\n" in outcome.guest.decode()
    assert outcome.status == 0, outcome.messages


def test_a_guests_triple_fault_is_not_fatal_where_bochs_panics_first():
    start = doors.Start(cdrom="x.iso")
    texts = [BEDS["svm-bochs"].configuration(Payload("", 1 << 29, 2), start, serial, "/p")
             for serial in (["a", "b"], ["a"])]
    assert "panic: action=fatal, cpu0=report, cpu1=report\n" in texts[0]
    assert "panic: action=fatal\n" in texts[1]  # a control run: there it is the machine's end


def test_grub_script():
    assert grub.script(("multiboot2", "module2"), ["k.elf"], [["a", "b c", "d'e"]]) == (
        "set timeout=0\nmultiboot2 '/k.elf' 'k.elf'\nmodule2 '/a' 'a' 'b c' 'd'\\''e'\nboot\n")
