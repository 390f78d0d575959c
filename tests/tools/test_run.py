"""Tests of tools/run with a fake kernel: streams, verdicts, time, names, refusals."""
# SPDX-License-Identifier: BSD-2-Clause
import signal
import subprocess
import time
from pathlib import Path

import pytest

from nosnoop.gdb import Stub, header_entry

END = "L[       900 0] end: all VMs ended\n"
GOOD = "GKTAP version 1\nG1..2\nGok 1 one\nGok 2 two\n"


def log(text):
    """A line of the log as a script command."""
    return f"L[       123 0] {text}\n"


def value(number, name="guest"):
    """A VM's exit."""
    return log(f"exit: vm {name} value {number}")


VERDICTS = {
    "value": (GOOD + value(7) + END, 7),
    "zero": (GOOD + value(0) + END, 0),
    "zero without KTAP": ("Ghello\n" + value(0) + END, 0),
    "large value": (value(100) + END, 99),
    "not ok": ("G1..2\nGok 1 a\nGnot ok 2 b\n" + value(0) + END, 1),
    "short plan": ("G1..2\nGok 1 a\n" + value(0) + END, 1),
    "not ok with a value": ("G1..1\nGnot ok 1 b\n" + value(5) + END, 5),
    "largest of several": (value(3, "a") + value(9, "b") + value(1, "c") + END, 9),
    "stopped": (value(3, "a") + log("stopped: vm b halted for good") + END, 126),
    "panic": (value(0) + log("panic: vector 14") + log("end: panic"), 125),
    "bad config": (log("nosnoop.cfg:3: unknown key") + log("end: config"), 122),
    "nothing said": ("T", 127),
    "value but no end": (value(0) + "T", 127),
    "no VM": (END, 127),
    "KTAP in the log": (log("[guest] 1..1") + log("[guest] not ok 1 x") + value(0) + END, 1),
    "a guest that forges": (log("[guest] exit: vm x value 9") + value(4) + END, 4),
    "a guest that forges on COM1": ("G[ 1 0] exit: vm x value 9\nG" + END[1:] + value(4) + END, 4),
}


@pytest.mark.parametrize("name", VERDICTS)
def test_verdict(tool, name):
    script, expected = VERDICTS[name]
    outcome = tool.play(script)
    assert outcome.status == expected, outcome.messages


def test_streams_unchanged(tool):
    data = bytes(range(11, 256)) * 200
    script = b"G" + data + b"\n" + (value(0) + END).encode()
    outcome = tool.run("--bed", "svm", tool.script(script))
    assert outcome.status == 0
    assert outcome.guest == data + b"\n"
    assert outcome.log.read_text() == (value(0) + END).replace("L[", "[")
    assert outcome.log.parent == tool.build / "log"
    assert outcome.log.name.startswith("guest.elf-svm-")


def test_panic_without_an_end_is_not_waited_for(tool):
    before = time.monotonic()
    outcome = tool.play(log("panic: vector 8"), "--timeout", "20")
    assert outcome.status == 125
    assert time.monotonic() - before < 6


def test_timeout(tool):
    before = time.monotonic()
    outcome = tool.play("Gwaiting\n", "--timeout", "1.5")
    assert outcome.status == 124
    assert outcome.guest == b"waiting\n"
    assert 1.5 <= time.monotonic() - before < 2.5


def test_generated_config(tool):
    last = tool.script("C" + value(0) + END, "a module,with blanks.bin")
    outcome = tool.play("", "--mem", "96M", "--cpus", "2", "--cmdline", "a b=c",
                        "--module", f"{last}=some, string", "--set", "pat=ignore",
                        "--set", "cpus=1", "--set", "region=1G+4K uc", "--host", "iommu=off")
    assert outcome.guest.decode().splitlines() == [
        "[host]", "iommu = off", "[vm guest]", "kernel = guest.elf", "memory = 96M", "cpus = 1",
        "cmdline = a b=c", "pat = ignore",
        "module = a_module_with_blanks.bin some, string", "region = 1G+4K uc"]


@pytest.mark.parametrize("name", ["a b,c.bin", "nosnoop.cfg", "=", "é" * 100, "x" * 250])
def test_any_file_name(tool, name):
    path = tool.script("M" + value(0) + END, name)
    outcome = tool.run("--bed", "svm", path)
    assert outcome.status == 0, outcome.messages
    config, guest = outcome.guest.decode().splitlines()
    assert config.split()[0].endswith("/nosnoop.cfg")
    assert len(guest) <= 255 and len(guest.split()[0].rsplit("/")[-1]) <= 63
    assert guest.split()[0] != config.split()[0]


def test_config_file(tool):
    tool.script("Gsecond\n", "first")
    tool.script("M" + value(0) + END, "second")
    config = tool.script("[host]\n[vm a]\nkernel = first\n[vm b]\nkernel=second x\nmodule = gone\n",
                         "two.cfg")
    outcome = tool.run("--bed", "svm", "--config", config)
    assert outcome.status == 0
    names = [line.rsplit("/")[-1] for line in outcome.guest.decode().splitlines()]
    assert names == ["nosnoop.cfg", "first", "second"]
    assert outcome.log.name.startswith("two.cfg-svm-")


def test_log_on_com1(tool):
    script = (value(6) + END).replace("L[", "G[") + "Lto the other port\n"
    outcome = tool.play(script, "--host", "log=com1", "--timeout", "5")
    assert outcome.status == 6


def test_log_option(tool, tmp_path):
    outcome = tool.play(value(0) + END, "--log", tmp_path / "deep/er.log")
    assert (tmp_path / "deep/er.log").read_text().endswith("end: all VMs ended\n")
    assert outcome.status == 0


def control(tool, script, *args):
    """A control run of the fake kernel as a guest."""
    module = tool.script(script, "script") + "=s, t"
    return tool.run("--bed", "svm", "--control", "--module", module, *args, tool.kernel)


CONTROLS = {
    "zero": (GOOD + "X\0", 0),
    "value": ("X\5", 5),
    "large value": ("X\x7f", 99),
    "triple fault": ("T", 127),
    "not ok": ("G1..1\nGnot ok 1 b\nX\0", 1),
}


@pytest.mark.parametrize("name", CONTROLS)
def test_control(tool, name):
    script, expected = CONTROLS[name]
    assert control(tool, script).status == expected


def test_control_strings(tool):
    outcome = control(tool, "MAX\0", "--cmdline", "first, second")
    module, cmdline = outcome.guest.decode().splitlines()
    assert module.endswith("/script s, t")
    assert cmdline.endswith(" first, second")


def test_control_of_what_is_no_kernel(tool):
    outcome = tool.run("--bed", "svm", "--control", tool.script("nothing\n" * 100))
    assert outcome.status == 127
    assert "qemu" in outcome.messages


def test_control_timeout(tool):
    assert control(tool, "H", "--timeout", "1").status == 124


USAGE = [
    [], ["--nonsense", "x"], ["no-such-file"], ["--timeout", "0", "/dev/null"],
    ["--mem", "64X", "GUEST"], ["--set", "novalue", "GUEST"], ["--cmdline", "a\nb", "GUEST"],
    ["--bed", "vmx", "--gdb", "GUEST"], ["--image", "GUEST"],
    ["--image", "GUEST", "--door", "uefi", "--mem", "1M"],
    ["--control", "--door", "grub", "GUEST"], ["--config", "GUEST", "--mem", "1M"],
    ["--config", "GUEST", "GUEST"], ["--control", "--gdb", "GUEST"],
    ["--control", "--monitor", "GUEST"],
]


@pytest.mark.parametrize("args", USAGE, ids=" ".join)
def test_usage(tool, args):
    guest = tool.script(END)
    outcome = tool.run(*[guest if arg == "GUEST" else arg for arg in args])
    assert outcome.status == 123
    assert outcome.messages.startswith("tools/run: ")
    assert "Traceback" not in outcome.messages


@pytest.mark.parametrize("bed, door, program", [
    ("svm", "mb1", "QEMU"), ("vmx", "mb1", "BOCHS"), ("svm-bochs", "mb1", "BOCHS_BIOS"),
    ("vmx", "grub", "GRUB_MKRESCUE")])
def test_missing_emulator(tool, bed, door, program):
    tool.environment[program] = "/nowhere/file"
    outcome = tool.run("--bed", bed, "--door", door, tool.script(END))
    assert outcome.status == 123
    assert "tools/deps" in outcome.messages


def test_missing_kernel(tool):
    tool.kernel.unlink()
    outcome = tool.play(END)
    assert outcome.status == 123
    assert "run make" in outcome.messages


def test_emulator_arguments(tool):
    outcome = tool.run("--bed", "svm", tool.script(END), "--", "-no-such-option")
    assert outcome.status == 127
    assert "no-such-option" in outcome.messages


def runs(pid):
    """Whether the process is there and not just waiting to be reaped."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def children(pid):
    """Processes of the system whose parent is PID."""
    done = subprocess.run(["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True)
    return [int(word) for word in done.stdout.split()]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_signals_end_the_emulator(tool, number):
    tool.environment["TMPDIR"] = str(tool.build)
    with tool.start("--bed", "svm", tool.script("Gready\n")) as process:
        assert process.stdout.readline() == "ready\n"
        emulators = children(process.pid)
        process.send_signal(number)
        code = process.wait(5)
    assert code == (-number if number == signal.SIGKILL else 128 + number)
    time.sleep(0.3)
    assert emulators and not any(map(runs, emulators))
    assert number == signal.SIGKILL or not list(tool.build.glob("nosnoop-*"))


def test_parallel_runs(tool):
    guest = tool.script(GOOD + value(3) + END)
    runs = [tool.start("--bed", "svm", guest) for _ in range(4)]
    outputs = [run.communicate(timeout=30) for run in runs]
    assert [run.returncode for run in runs] == [3] * 4
    assert len({messages for _, messages in outputs}) == 4


def test_gdb_stops_at_the_entry(tool):
    tool.environment["TMPDIR"] = "/tmp"
    with tool.start("--bed", "svm", "--gdb", tool.script(value(5) + END)) as process:
        line = next(line for line in process.stderr if "target remote" in line)
        stub = Stub(line.split("target remote ")[1].strip().rstrip("'"))
        registers = stub.command("g")
        assert header_entry(tool.kernel).to_bytes(8, "little").hex() in registers
        stub.command("D")
        stub.close()
        assert process.wait(10) == 5
