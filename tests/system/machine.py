"""The built hypervisor: run to its end, or started and looked into by the emulator's own means."""
# SPDX-License-Identifier: BSD-2-Clause
import contextlib
import json
import re
import signal
import socket
import struct
import time

from nosnoop import beds, doors, options, paths
from nosnoop.emulator import Emulator, Lines
from nosnoop.run import payload_of, private_directory
from nosnoop.testing import LIMIT, Tool

# Arguments for QEMU where guests wait most of the time, and need not run at once.
WAITING = beds.BEDS["svm"].waiting()


class System(Tool):
    """tools/run on the built hypervisor, bed svm."""

    def __init__(self):
        super().__init__(paths.BUILD)

    def guest(self, name):
        """A built test guest."""
        return paths.built(f"guests/{name}.elf")

    def svm(self, *args):
        """Runs to the end."""
        return self.run("--bed", "svm", "--timeout", "20", *args)


class Monitor:
    """A QMP connection."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(10)
        self.socket.connect(str(path))
        self.stream = self.socket.makefile("r", encoding="utf-8")
        self.stream.readline()  # the greeting
        self.command("qmp_capabilities")

    def command(self, name, **arguments):
        """Runs a command and returns its result; events are passed over."""
        request = {"execute": name, "arguments": arguments}
        self.socket.sendall(json.dumps(request).encode() + b"\n")
        while True:
            answer = json.loads(self.stream.readline())
            assert "error" not in answer, answer["error"]
            if "return" in answer:
                return answer["return"]

    def close(self):
        """Ends the connection; the machine runs on."""
        self.stream.close()
        self.socket.close()


def halted_registers(monitor, count, deadline):
    """The registers of all CPUs once COUNT have halted, or at the DEADLINE, for some are slow."""
    registers = ""
    while registers.count("HLT=1") < count and time.monotonic() < deadline:
        registers = monitor.command("human-monitor-command",
                                    **{"command-line": "info registers -a"})
    return registers


class Machine:
    """
    A guest under the hypervisor, stopped when it has said a line, or the line LAST; EMULATOR:
    arguments of the emulator's. Use as a context manager.
    """

    def __init__(self, system, place, *args, last=None, emulator=()):
        self.place = place
        self.last = last
        self.said = []
        self.log = place / "log"
        self.process = system.start("--bed", "svm", "--timeout", "40", "--log", self.log, *args,
                                    "--", "-qmp", f"unix:{place}/qmp,server=on,wait=off", *emulator)
        self.monitor = None

    def __enter__(self):
        while not self.said or self.last not in (None, self.said[-1]):
            line = self.process.stdout.readline()
            assert line, ("the guest has said no more", self.said)
            self.said.append(line.rstrip())
        self.monitor = Monitor(self.place / "qmp")
        self.monitor.command("stop")
        return self

    def __exit__(self, *unused):
        if self.monitor:
            self.monitor.close()
        self.process.send_signal(signal.SIGTERM)
        self.process.communicate(timeout=10)

    def page(self, address):
        """The 4096 physical bytes at ADDRESS."""
        path = self.place / "page"
        self.monitor.command("pmemsave", val=address, size=4096, filename=str(path))
        return path.read_bytes()

    def logged(self, pattern):
        """The groups of all matches of PATTERN in the log."""
        return re.findall(pattern, self.log.read_text())


class BochsMachine:
    """As Machine, on a bed of Bochs, stopped and read by its debugger. See bochs_machine()."""

    WORD = re.compile(rb"\t0x([0-9a-f]+)")
    PROMPT = re.compile(rb"<bochs:\d+> $")

    def __init__(self, emulator):
        self.emulator = emulator
        self.said, self.log, self.debugger = [], [], b""

    def on_debugger(self, data):
        """Takes what the debugger writes."""
        self.debugger += data

    def wait(self, finished):
        """Follows the emulator until FINISHED()."""
        deadline = time.monotonic() + LIMIT
        assert self.emulator.follow(lambda: deadline, finished), (self.said, self.log)

    def stop(self):
        """Lets the debugger stop the machine."""
        self.debugger = b""
        self.emulator.child.send_signal(signal.SIGINT)
        self.wait(self.is_asked)

    def is_asked(self):
        """Whether the debugger waits for a command."""
        return self.PROMPT.search(self.debugger)

    def answer(self, command):
        """What the debugger says to a command."""
        self.debugger = b""
        self.emulator.tell(command + "\n")
        self.wait(self.is_asked)
        return self.debugger

    def register(self, command, pattern):
        """The hexadecimal number that PATTERN finds in the answer to a command."""
        return int(re.search(pattern, self.answer(command))[1], 16)

    def page(self, address):
        """The 4096 physical bytes at ADDRESS."""
        words = self.WORD.findall(self.answer(f"xp /512gx {address:#x}"))
        return struct.pack("<512Q", *(int(word, 16) for word in words))

    def logged(self, pattern):
        """The groups of all matches of PATTERN in the log."""
        return re.findall(pattern, "\n".join(self.log))


@contextlib.contextmanager
def bochs_machine(bed, *args, last):
    """A machine of BED with these options of tools/run, stopped when its guest has said LAST."""
    chosen = options.parse(["--bed", bed, *map(str, args)])
    chosen.door = doors.DOORS[beds.BEDS[bed].door]
    with private_directory() as private, Emulator() as emulator:
        machine = BochsMachine(emulator)
        serial = [emulator.pipe(Lines(lines.append).feed) for lines in (machine.said, machine.log)]
        argv = beds.BEDS[bed].hypervisor(payload_of(chosen), chosen, serial, private)
        emulator.start(argv, beds.BEDS[bed].environment, machine.on_debugger)
        machine.wait(lambda: last in machine.said)
        machine.stop()
        yield machine
