"""tools/run: one guest, or one config, on one bed; the exit status is the verdict."""
# SPDX-License-Identifier: BSD-2-Clause
import contextlib
import os
import re
import signal
import sys
import tempfile
import time
from pathlib import Path

from nosnoop import beds, gdb, options, paths, payload, status
from nosnoop.emulator import KILL_AFTER, Emulator, Lines
from nosnoop.judge import Judge

PANIC_GRACE = 2.0  # seconds from "panic:" to the log's last line
NOISE = "TCG doesn't support requested feature"
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def say(message):
    """One line for the user."""
    print(f"tools/run: {message}", file=sys.stderr, flush=True)


class Signalled(BaseException):
    """A signal asks to end."""


def on_signal(number, _frame):
    """Ends by the way of an exception, so that everything is cleaned up."""
    raise Signalled(number)


@contextlib.contextmanager
def private_directory():
    """A directory of this run's own, with a short path that no loader can misread."""
    place = tempfile.gettempdir()
    if not re.fullmatch(r"[A-Za-z0-9/._-]{1,60}", place):
        place = "/tmp"
    with tempfile.TemporaryDirectory(prefix="nosnoop-", dir=place) as private:
        yield private


class Run:
    """One run: where its bytes go, and what has been seen so far."""

    def __init__(self, opts, bed):
        self.options = opts
        self.bed = bed
        self.judge = Judge()
        self.complaints = []  # what the emulator had to say
        self.guest_lines = Lines(self.judge.guest_line)
        self.log_lines = Lines(self.judge.log_line)
        self.message_lines = Lines(self.message)
        self.deadline = time.monotonic() + opts.timeout
        self.output_open = True
        self.log = None
        # What firmware writes to the log's port before the kernel's entry; None: it is silent.
        self.firmware = b"" if opts.door.noisy and not opts.control else None

    def message(self, line):
        """A line of the emulator's own."""
        if line and NOISE not in line:
            print(line, file=sys.stderr, flush=True)
            if ": warning: " not in line:
                self.complaints.append(line)

    def guest_bytes(self, data):
        """What the guest wrote, unchanged to standard output."""
        if self.firmware is not None:
            return
        self.guest_lines.feed(data)
        try:
            while data and self.output_open:
                data = data[os.write(1, data):]
        except BrokenPipeError:
            self.output_open = False

    def log_bytes(self, data):
        """What the hypervisor wrote."""
        if self.firmware is None:
            self.log.write(data)
        else:
            self.firmware += data
        self.log_lines.feed(data)
        if self.judge.panic is not None:
            self.deadline = min(self.deadline, time.monotonic() + PANIC_GRACE)

    def ended(self):
        """Whether the hypervisor has said its last."""
        return self.judge.end is not None

    def log_path(self):
        """Where the log goes."""
        if self.options.log:
            return Path(self.options.log)
        name = Path(self.options.guest or self.options.config).name[:200]
        return paths.BUILD / "log" / f"{name}-{self.bed.name}-{os.getpid()}.log"

    def log_on_com1(self):
        """Whether the config swaps the two ports."""
        pairs = [tuple(map(str.strip, pair.split("=", 1))) for pair in self.options.host]
        return ("log", "com1") in pairs

    def follow(self, emulator, finished):
        """Follows the emulator to the end; returns whether that came in time."""
        in_time = emulator.follow(lambda: self.deadline, finished)
        emulator.drain()
        for lines in (self.guest_lines, self.log_lines, self.message_lines):
            lines.close()
        return in_time

    def hypervisor(self, load, private):
        """Runs under the hypervisor; returns the status."""
        path = self.log_path()
        path.parent.mkdir(parents=True, exist_ok=True)
        say_path = os.path.relpath(path)
        print(f"log: {path if say_path.startswith('..') else say_path}", file=sys.stderr,
              flush=True)
        with open(path, "wb", buffering=0) as self.log, Emulator() as emulator:
            serial = [emulator.pipe(self.guest_bytes), emulator.pipe(self.log_bytes)]
            if self.log_on_com1():
                serial.reverse()
            argv = self.bed.hypervisor(load, self.options, serial, private)
            emulator.start(argv, self.message_lines.feed)
            if self.options.gdb or self.options.door.noisy:
                self.stop_at_entry(emulator, f"{private}/{gdb.SOCKET}")
            in_time = self.follow(emulator, self.ended)
            self.log.write(self.firmware or b"")
        if not in_time and self.judge.panic is None:
            return status.TIMEOUT
        return self.judge.status(say)

    def stop_at_entry(self, emulator, path):
        """Has entered() called when the kernel begins."""
        try:
            stub = gdb.Stub(path)
        except status.Refusal:
            emulator.drain()  # the emulator may have said why
            raise
        kernel = paths.built("nosnoop.elf")
        address = self.options.door.entry(kernel)

        def entered():
            emulator.selector.unregister(stub.socket)
            stub.arrived(address)
            emulator.drain()
            self.end_of_firmware()
            if not self.options.gdb:
                stub.resume()
                return
            stub.close()
            say(f"stopped at the kernel's entry {address:#x}; continue with\n"
                f"gdb {kernel} -ex 'target remote {path}'")

        stub.run_to(address)
        emulator.watch(stub.socket, entered)

    def end_of_firmware(self):
        """From here on the serial ports are the kernel's; of what was before the loader's stays."""
        lines = (self.firmware or b"").splitlines(keepends=True)
        self.log.write(b"".join(line for line in lines if line.startswith(b"loader: ")))
        self.firmware = None

    def control(self, load, private):
        """Runs GUEST on the bare emulator; returns the status."""
        with Emulator() as emulator:
            serial = [emulator.pipe(self.guest_bytes)]
            argv = self.bed.control(load, self.options, serial, private)
            emulator.start(argv, self.message_lines.feed)
            if not self.follow(emulator, lambda: False):
                return status.TIMEOUT
            code = emulator.wait(KILL_AFTER)
        value = self.bed.control_value(code, self.complaints)
        return status.NO_VERDICT if value is None else self.judge.of_value(value, say)


def run(argv):
    """Parses, runs, and returns the exit status."""
    opts = options.parse(argv)
    bed = beds.pick(opts.bed, say)
    one_run = Run(opts, bed)
    load = payload.for_config(opts.config) if opts.config else payload.for_guest(opts)
    with private_directory() as private:
        code = (one_run.control if opts.control else one_run.hypervisor)(load, private)
    if code in status.MEANING:
        say(f"{status.MEANING[code]} ({code})")
    return code


def main(argv):
    """Returns the exit status of tools/run."""
    for number in SIGNALS:
        signal.signal(number, on_signal)
    try:
        return run(argv)
    except (status.Refusal, OSError) as problem:
        say(problem)
        return status.USAGE
    except Signalled as ended:
        return 128 + ended.args[0]
