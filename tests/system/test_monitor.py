"""The monitor, driven through a pseudo-terminal as a user's tools/run --monitor is."""
# SPDX-License-Identifier: BSD-2-Clause
import contextlib
import random
import re
import subprocess
import time

import pexpect
import pytest

from nosnoop import paths

PROMPT = "nosnoop> "
OPEN = "\x1d"  # Ctrl-]
ANSWER = 10    # seconds within which everything must answer, with the machine as busy as it may be
UP, LEFT = "\033[A", "\033[D"
GUEST = "[idle] idle\r\n"  # the guest's first line: in the log, so that no two lines are mixed up
BEDS = ("svm", "vmx", "svm-bochs")


class Session:
    """A terminal with the log's port, the prompt open; RUNS: a guest's or a config's options."""

    def __init__(self, system, place, bed, *runs):
        self.log = place / "log"
        command = system.command("--bed", bed, "--monitor", "--timeout", "60", "--log", self.log,
                                 *runs)
        self.child = pexpect.spawn(command[0], command[1:], cwd=paths.ROOT, timeout=ANSWER,
                                   env=system.environment, dimensions=(50, 200), encoding="latin-1")
        self.child.expect_exact(GUEST, timeout=40)
        self.child.send(OPEN)
        self.child.expect_exact(PROMPT)

    def ask(self, command):
        """The lines of a command's answer."""
        self.child.send(command + "\r")
        self.child.expect_exact(command + "\r")
        self.child.expect_exact("\033[K" + PROMPT)
        return self.child.before.replace("\r", "").strip().split("\n")

    def wait_for_end_of(self, name):
        """Until the log has all that it says when a VM has ended, and the prompt is drawn again."""
        deadline = time.monotonic() + ANSWER
        while f"vm {name}: hole" not in self.log.read_text() and time.monotonic() < deadline:
            time.sleep(0.1)
        self.child.send("\x03")
        self.child.expect(r"\^C\r+\n\r\033\[K" + PROMPT)

    def end(self):
        """The exit status of a run that comes to its end."""
        self.child.expect(pexpect.EOF, timeout=ANSWER)
        self.child.close()
        return self.child.exitstatus


@contextlib.contextmanager
def session(system, place, bed, *args):
    """A session that ends in any case."""
    one = Session(system, place, bed, "--set", "serial=log", *args, system.guest("idle"))
    yield one
    one.child.close(force=True)


@contextlib.contextmanager
def session_of_three(system, place, bed):
    """The same with three VMs, of which two are idle on the CPUs 0 and 2, and one ends at once."""
    for name in ("idle", "value"):
        (place / f"{name}.elf").symlink_to(system.guest(name))
    (place / "three.cfg").write_text(
        "[vm idle]\nkernel = idle.elf\nmemory = 48M\nserial = log\npolicy = exact\n"
        "[vm short]\nkernel = value.elf\nserial = none\ncmdline = value=3\n"
        "[vm other]\nkernel = idle.elf\nmemory = 48M\nserial = none\n")
    one = Session(system, place, bed, "--config", place / "three.cfg")
    yield one
    one.child.close(force=True)


@pytest.mark.parametrize("bed", BEDS[:2])
def test_guest_without_exits(system, tmp_path, bed):
    """Each command that shows something, while the guest leaves the CPU for nothing else."""
    with session(system, tmp_path, bed, "--mem", "48M", "--set", "policy=exact") as monitor:
        ask = monitor.ask
        names = [line.split()[0] for line in ask("help")]
        assert {"help", "vms", "vcpu", "exits", "memtype", "memmap", "alias", "mtrr", "policy",
                "devices", "trace", "log", "mem", "stop", "reset", "quit"} <= set(names)
        assert all(len(line.split()) > 2 for line in ask("help"))
        assert ask("vms") == ["idle: running on CPU 0, 49152 KiB, policy exact, 0 restarts"]
        registers = "\n".join(ask("vcpu"))
        assert ask("vcpu idle")[0].startswith("rip 00000000001")
        assert "r12 1122334455667788" in registers and "cs   0008 base 0000" in registers
        assert registers.count("\n") > 15
        show_types(ask, bed)
        show_memory(ask)
        show_aliases(ask, bed)
        switch_policy(ask, bed)
        last = monitor.log.read_text().splitlines()
        assert ask("log 1")[0] in last and len(ask("log 3")) == 3
        assert "nosnoop" in ask("log 1000")[0]
        monitor.child.send("stop idle\r")
        assert monitor.end() == 126
        assert "stopped: vm idle by the monitor" in monitor.log.read_text()


@pytest.mark.parametrize("bed", BEDS)
def test_devices(system, tmp_path, bed):
    """What the guest has left in registers of each device, and what its VM is made of."""
    with session(system, tmp_path, bed, "--mem", "48M", "--cmdline", "devices=set") as monitor:
        text = "\n".join(monitor.ask("devices")) + "\n"
        for line in ("8259 master: vectors 50, IRR 0[01], IMR ff, ISR 00, inputs 0[01], ELCR 00, ",
                     "8259 slave: vectors [0-9a-f]{2}, IRR 00, IMR ff, ISR 00, inputs 00, ELCR 0c",
                     "I/O APIC 1: index 0x3., high pins 0xff000[014]\n",
                     "I/O APIC pin 20: entry 0300000000000077\n",
                     r"PIT channel 0: mode 2, count \d+ of 65536, gate 1, ",
                     r"PIT channel 2: mode 1, count \d+ of 4660, gate [01], output 1",
                     "COM2: IER 00 FCR 00 LCR 1b MCR 03, divisor 4660, 0 characters",
                     "RTC: 20[0-9a-f]{2}-[01].-[0-3]. .*, alarm 12:34:56\n",
                     "RTC: index 05, A 26, B 02, C ",
                     "PM timer: [0-9a-f]{6}, PM1_STS 000[01], PM1_EN 0100\n",
                     "fw_cfg: 1 CPUs, 50331648 bytes, item 0x19 at byte 0\n"):
            assert re.search(f"^{line}", text, re.M), (line, text)


def show_types(ask, bed):
    """What firmware's MTRRs come to under `exact`: by the manuals' tables."""
    uncached = "UC" if bed == "vmx" else "CD"  # a UC leaf by Intel's tables and by AMD's
    text = " ".join(ask("memtype 0x1000"))
    assert "guest MTRR WB (fixed)" in text and "effective WB" in text
    text = " ".join(ask("memtype 0xa0000"))
    assert "guest MTRR UC (fixed)" in text and f"effective {uncached}," in text
    assert "GPA 0x100000: " in " ".join(ask("memtype -l 0x100000"))
    assert "no memory, the same up to 0x100000000" in " ".join(ask("memtype 0xd0000000"))
    text = " ".join(ask("mtrr"))
    assert "default 0000000000000c06: E 1 FE 1 WB" in text
    assert "fixed 2  0000000000000000" in text
    assert "variable 0 base 00000000c0000000 mask 000000ffc0000800 UC" in text
    assert "PAT 0007040600070406 WB WT UC- UC WB WT UC- UC" in text
    text = ask("memmap")
    assert re.search(r"memmap idle 0xa0000 0xc0000 guest UC fixed ", "\n".join(text))
    assert text[-1].endswith("memmap idle end 5")
    assert "memmap" not in " ".join(ask("log 1000"))


def switch_policy(ask, bed):
    """Rules of this vendor's tables, of the other's, and of no one; then as before."""
    assert ask("policy") == ["policy exact, view typed"]
    own, other = ("kvm-2008", "kvm-svm-2015") if bed == "vmx" else ("kvm-svm-2015", "kvm-2008")
    assert ask(f"policy {own}") == [f"policy {own}, view typed"]
    assert ask(f"policy {other}") == [f"{other}: it has no rules for this CPU's tables"]
    assert ask("policy")[0].startswith(f"policy {own},")
    assert ask("policy wb noncoherent") == ["policy wb noncoherent, view typed"]
    assert "rule policy" in " ".join(ask("memtype 0xa0000"))
    assert ask("policy exacter")[0].startswith("exacter: no such policy; there are exact wb ")
    assert ask("policy wb coherent") == ["coherent: only noncoherent may stand there"]
    assert ask("policy exact") == ["policy exact, view typed"]
    assert "guest MTRR UC (fixed)" in " ".join(ask("memtype 0xa0000"))


def show_trace(ask):
    """Nothing before it is on; then records, which push nothing out of the log's ring."""
    assert ask("trace dump") == [""]
    ask("trace on")
    time.sleep(0.1)
    assert ask("trace off") == [""]
    head = re.search(r"trace: CPU 0 vm idle version \d+ size 32 records (\d+) to (\d+)",
                     ask("trace dump")[0])
    assert int(head[1]) < int(head[2])
    assert "size 32 records" not in " ".join(ask("log 1000"))


def show_memory(ask):
    """The guest's mark, the last bytes of its memory, and no more."""
    assert ask("mem 0x2000000 16") == [
        "000002000000  73 65 65 6e 20 62 79 20 6d 6f 6e 69 74 6f 72 00  seen by monitor."]
    assert len(ask("mem 33554432")) == 4
    rows = ask("mem 0x2fffff0 4096")
    assert rows[0].startswith("000002fffff0 ") and rows[1:] == ["0x3000000: not the VM's memory"]
    assert ask("mem 0xfee00000") == ["0xfee00000: not the VM's memory"]


def show_aliases(ask, bed):
    """The page with the mark: by the guest's map of all memory, and by a page of its window."""
    uncached = "UC" if bed == "vmx" else "CD"
    for command in ("alias", "alias 0x7000 0xb0000000 0xffffffffffffffff"):
        one, count = ask(command)
        assert re.fullmatch(
            r"alias: HPA 0x[0-9a-f]+\+0x1000, WB by CR3 (0x1[0-9a-f]{5}) at 0x2000000 "
            r"\(GPA 0x2000000, pages of 2M, PAT WB\), " + uncached + r" by CR3 \1 at 0x100000000 "
            r"\(GPA 0x2000000, pages of 4K, PAT UC-\)", one)
        assert count == "aliases: 1"


@pytest.mark.parametrize("bed, options", [*((bed, ()) for bed in BEDS),
                                          ("svm", ("--host", "log=com1"))])
def test_guest_in_exits(system, tmp_path, bed, options):
    """It runs on between two answers, is started again, and stopped."""
    with session(system, tmp_path, bed, "--cmdline", "by=exits", *options) as monitor:
        counts = []
        for _ in range(2):
            rows = dict(line.rsplit(None, 1) for line in monitor.ask("exits"))
            counts.append(int(rows["CPUID"]))
            time.sleep(0.1)
        assert 0 < counts[0] < counts[1]
        if bed == "svm":  # a dump takes long where the port is as slow as a real one
            show_trace(monitor.ask)
        monitor.child.send("reset idle\r")
        monitor.child.expect_exact(GUEST)
        assert monitor.ask("vms")[-1].endswith(" 1 restarts")
        monitor.child.send("quit\r")
        monitor.child.send("stop idle\r")  # to no one
        monitor.child.send(OPEN)
        monitor.child.expect_exact("guests run on")
        monitor.child.expect_exact(PROMPT)
        monitor.child.send("stop idle\r")
        assert monitor.end() == 126


@pytest.mark.parametrize("cpus", ["1", "4"])
def test_what_is_typed_behind_a_reset(system, tmp_path, cpus):
    """It waits for the guest that then begins; a policy taken at the prompt outlasts the reset."""
    with session(system, tmp_path, "svm", "--set", "policy=exact", "--cpus", cpus) as monitor:
        monitor.child.send("policy kvm-svm\rreset idle\rpolicy\rstop idle\r")
        monitor.child.expect_exact("reset by the monitor: restart 1")
        assert monitor.end() == 126
        assert "policy kvm-svm, view typed" in monitor.child.before
        assert "stopped: vm idle by the monitor" in monitor.log.read_text()


@pytest.mark.parametrize("bed", BEDS)
def test_three_vms(system, tmp_path, bed):
    """Commands are carried out on the CPU of the VM that they are about, wherever that is."""
    with session_of_three(system, tmp_path, bed) as monitor:
        ask = monitor.ask
        monitor.wait_for_end_of("short")
        assert ask("vms")[1] == "short: ended on CPU 1, 65536 KiB, policy wb, 0 restarts"
        assert ask("vms")[2] == "other: running on CPU 2, 49152 KiB, policy wb, 0 restarts"
        assert ask("vcpu")[0].endswith(" on CPU 0") and ask("vcpu other")[0].endswith(" on CPU 2")
        ended = ["the VM has ended, or does not run yet; vm NAME chooses another"]
        assert ask("vcpu short") == ended and ask("stop short") == ended
        assert ask("policy") == ["policy exact, view typed"]
        assert ask("vm other")[0].startswith("other: running")
        assert ask("policy exact noncoherent") == ["policy exact noncoherent, view typed"]
        assert ask("memmap")[-1].endswith("memmap other end 5")
        assert ask("mem 0x2000000 16")[0].endswith("seen by monitor.")
        assert " 2] trace: CPU 2: the last 2048 records" in " ".join(ask("trace on"))
        ask("trace off")
        ask("reset other")
        ask("stop idle")
        monitor.wait_for_end_of("idle")
        assert ask("vms")[0].startswith("idle: ended on CPU 0")
        assert ask("vms")[2] == "other: running on CPU 2, 49152 KiB, policy exact, 1 restarts"
        monitor.child.send("stop other\r")
        assert monitor.end() == 126


def test_guest_with_interrupts_off(system, tmp_path):
    """
    Never on, and no exit: an interrupt of the host's comes all the same. QEMU alone: Bochs holds it
    back while the guest leaves RFLAGS.IF as it was at the entry.
    """
    with session(system, tmp_path, "svm", "--cmdline", "if=0") as monitor:
        assert monitor.ask("vcpu")[0].split()[3] in ("00000046", "00000006", "00000002")


def test_complaints(system, tmp_path):
    """Each names the thing and the cure."""
    with session(system, tmp_path, "svm") as monitor:
        for command, answer in {
                "vmx": "vmx: no such command; help lists them",
                "vm idl": "idl: no such VM; vms lists them",
                "vm 1 2": "vm takes: [VM]",
                "vms all": "vms takes: nothing",
                "mem": "mem takes: GPA [N]",
                "mem 1 2 3 4 5 6": "mem takes: GPA [N]",
                "mem 0x": "0x: not a number up to 0xffffffffffffefff; write it as 4096 or 0x1000",
                "mem 12x": "12x: not a number up to 0xffffffffffffefff; write it as 4096 or 0x1000",
                "mem 1:": "1:: not a number up to 0xffffffffffffefff; write it as 4096 or 0x1000",
                "mem 0 4097": "4097: not a number up to 0x1000; write it as 4096 or 0x1000",
                "memtype 0x10000000000000000": "0x10000000000000000: not a number up to "
                "0xffffffffffffffff; write it as 4096 or 0x1000",
                "memtype -l": "memtype: give a guest-physical address, or -l and a linear one",
                "memtype -l 0xffff800000000000": "0xffff800000000000: the guest's page tables do "
                "not map it",
                "trace": "trace takes: on | off | dump",
                "trace of": "of: neither on, off nor dump",
                "stop": "stop takes: VM",
                "stop idl": "idl: no such VM; vms lists them",
                "reset idle2": "idle2: no such VM; vms lists them",
                "vcpu x": "x: no such VM; vms lists them",
                "": ""}.items():
            assert monitor.ask(command) == [answer]


def test_editing(system, tmp_path):
    """Keys of the line, the history, and Ctrl-C."""
    with session(system, tmp_path, "svm") as monitor:
        one_vm = ["idle: running on CPU 0, 65536 KiB, policy wb, 0 restarts"]
        assert monitor.ask("vms") == one_vm
        for keys in ("vmx\bs\r", "ms" + LEFT * 2 + "v\r", "nothing\x15vms\r", UP + "\r",
                     "vcp\x03vms\r", UP * 20 + "\r"):
            monitor.child.send(keys)
            monitor.child.expect_exact(one_vm[0])
            monitor.child.expect_exact(PROMPT)


def test_log_lines_leave_the_line_alone(system, tmp_path):
    """A line that is being typed is drawn again behind each line of the log."""
    with session(system, tmp_path, "svm", "--cmdline", "by=lines") as monitor:
        monitor.child.send("vm" + LEFT)
        monitor.child.expect_exact(PROMPT + "vm\033[1D")
        for _ in range(2):
            monitor.child.expect(r"\r\033\[K\[ *\d+ 0\] \[idle\] turn \d+\r\n"
                                 r"\r\033\[Knosnoop> vm\033\[1D")
        monitor.child.send("\005s\r")
        monitor.child.expect_exact("idle: running")
        monitor.child.send("stop idle\r")
        assert monitor.end() == 126


def test_any_bytes(system, tmp_path):
    """What is no command does no harm, however much of it comes how fast."""
    noise = random.Random(1)
    command = system.command("--bed", "svm", "--monitor", "--timeout", "40", "--log",
                             tmp_path / "log", system.guest("idle"))
    with subprocess.Popen(command, cwd=paths.ROOT, env=system.environment, stdin=subprocess.PIPE,
                          stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as run:
        run.stdin.write(b"\x1d")
        for _ in range(10):
            run.stdin.write(bytes(noise.choice([*range(0x1d), *range(0x1e, 256)])
                                  for _ in range(3000)))
            run.stdin.flush()
            time.sleep(0.2)
        for _ in range(2 * ANSWER):  # while the flood is not through, more of it is dropped
            if run.poll() is None:
                run.stdin.write(b"\x03stop idle\r")
                run.stdin.flush()
                time.sleep(1)
        assert run.poll() == 126
    assert "stopped: vm idle by the monitor" in (tmp_path / "log").read_text(errors="replace")


def test_no_interrupt(system, tmp_path):
    """A port without an interrupt of its own, and one whose interrupt does not come."""
    log = tmp_path / "third"
    system.run("--bed", "svm", "--timeout", "4", "--host", "log=0x3e8", system.guest("value"), "--",
               "-chardev", f"file,id=third,path={log}",
               "-device", "isa-serial,iobase=0x3e8,irq=5,chardev=third")
    assert "monitor: none: its port has no interrupt of its own" in log.read_text()
    outcome = system.svm(system.guest("value"), "--", "-machine", "pic=off")
    assert "monitor: none: its interrupt does not come" in outcome.log_text
