"""tools/run: one guest, or one config, on one bed; the exit status is the verdict."""
# SPDX-License-Identifier: BSD-2-Clause
import contextlib
import os
import re
import signal
import sys
import tempfile
import termios
import time
from pathlib import Path

from nosnoop import beds, devices, doors, options, paths, payload, status
from nosnoop.emulator import KILL_AFTER, Emulator, Lines
from nosnoop.judge import Judge

PANIC_GRACE = 2.0  # seconds from "panic:" to the log's last line
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)
MONITOR = re.compile(r"\[ *\d+ \d+\] monitor: Ctrl-")


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


@contextlib.contextmanager
def keys():
    """
    Standard input, if it is a terminal, hands on every key at once and as it is, but Ctrl-\\, which
    ends the run.
    """
    if not os.isatty(0):
        yield
        return
    before = termios.tcgetattr(0)
    mode = termios.tcgetattr(0)
    mode[0] &= ~(termios.ICRNL | termios.IXON)
    mode[3] &= ~(termios.ICANON | termios.ECHO | termios.IEXTEN)
    for key in (termios.VINTR, termios.VSUSP):
        mode[6][key] = b"\0"
    termios.tcsetattr(0, termios.TCSADRAIN, mode)
    try:
        yield
    finally:
        termios.tcsetattr(0, termios.TCSADRAIN, before)


class Run:
    """One run: where its bytes go, and what has been seen so far."""

    def __init__(self, opts, bed):
        self.options = opts
        self.bed = bed
        self.judge = Judge()
        self.complaints = []  # what the emulator had to say
        self.guest_lines = Lines(self.judge.guest_line)
        self.log_lines = Lines(self.log_line)
        self.message_lines = Lines(self.message)
        self.deadline = time.monotonic() + opts.timeout
        self.output_open = True
        self.log = None
        self.emulator = None
        self.type = None      # with --monitor: gives the log's port input
        self.listens = False  # whether the monitor does
        # What firmware writes to the log's port before the kernel's entry; None: it is silent.
        self.firmware = b"" if opts.door.uefi and not opts.control else None

    def message(self, line):
        """A line of the emulator's own."""
        text = self.bed.message(line, self.emulator, self.entered)
        if text:
            print(text, file=sys.stderr, flush=True)
            if ": warning: " not in text:
                self.complaints.append(text)

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

    def log_line(self, line):
        """A line of the log: what is typed before the monitor's own would be lost."""
        self.judge.log_line(line)
        if self.type and not self.listens and MONITOR.match(line):
            self.listens = True
            self.emulator.watch(0, self.typed)

    def typed(self):
        """Hands on what has been typed."""
        data = os.read(0, 256)
        if data:
            self.type(data)
        else:
            self.emulator.selector.unregister(0)

    def log_bytes(self, data):
        """What the hypervisor wrote."""
        if self.firmware is None:
            self.log.write(data)
            if self.type:
                os.write(2, data)
        else:
            self.firmware += data
        self.log_lines.feed(data)
        if self.judge.panic is not None:
            self.deadline = min(self.deadline, time.monotonic() + PANIC_GRACE)

    def ended(self):
        """Whether the hypervisor has said its last."""
        return self.judge.end is not None

    def control_ended(self):
        """Whether a guest on a bed without an exit device has said its value."""
        return not self.bed.exit_device and self.judge.said is not None

    def log_path(self):
        """Where the log goes."""
        if self.options.log:
            return Path(self.options.log)
        name = Path(self.options.guest or self.options.config or self.options.image).name[:200]
        return paths.BUILD / "log" / f"{name}-{self.bed.name}-{os.getpid()}.log"

    def log_on_com1(self):
        """Whether the config swaps the two ports."""
        pairs = [tuple(map(str.strip, pair.split("=", 1))) for pair in self.options.host]
        return ("log", "com1") in pairs

    def log_port(self, emulator):
        """What the log's port is on the emulator's side."""
        if not self.options.monitor:
            return emulator.pipe(self.log_bytes)
        path, self.type = emulator.terminal(self.log_bytes)
        return path

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
            serial = [emulator.pipe(self.guest_bytes), self.log_port(emulator)]
            if self.log_on_com1():
                serial.reverse()
            self.emulator = emulator
            argv = self.bed.hypervisor(load, self.options, serial, private)
            emulator.start(argv, self.bed.environment, self.message_lines.feed)
            if self.options.gdb or self.options.door.uefi:
                self.bed.stop_at_entry(emulator, private, self.options, self.entered, say)
            in_time = self.follow(emulator, self.ended)
            self.log.write(self.firmware or b"")
        if not in_time and self.judge.panic is None:
            return status.TIMEOUT
        return self.judge.status(say)

    def entered(self):
        """
        The machine stands at the kernel's entry. From here on the serial ports are the kernel's;
        of what was before only the loader's lines stay.
        """
        self.emulator.drain()
        lines = (self.firmware or b"").splitlines(keepends=True)
        self.log.write(b"".join(line for line in lines if line.startswith(b"loader: ")))
        self.firmware = None

    def control(self, load, private):
        """Runs GUEST on the bare emulator; returns the status."""
        with Emulator() as emulator:
            self.emulator = emulator
            serial = [emulator.pipe(self.guest_bytes)]
            argv = self.bed.control(load, self.options, serial, private)
            emulator.start(argv, self.bed.environment, self.message_lines.feed)
            if not self.follow(emulator, self.control_ended):
                return status.TIMEOUT
            code = emulator.wait(KILL_AFTER) if self.bed.exit_device else None
        value = self.bed.control_value(code, self.complaints, self.judge.said)
        return status.NO_VERDICT if value is None else self.judge.of_value(value, say)


def payload_of(opts):
    """What the machine is started with."""
    emulator = beds.BEDS[opts.bed or beds.FALLBACK].emulator
    fitted = devices.fit(opts.device, emulator)
    iommu = devices.iommu(opts.iommu, fitted, emulator)
    if opts.image:
        load = payload.for_image(opts.image)
    elif opts.config:
        load = payload.for_config(opts.config)
    else:
        load = payload.for_guest(opts, fitted, iommu)
    load.devices, load.iommu = fitted, iommu
    load.cpus = max(load.cpus, opts.machine_cpus)
    return load


def run(argv):
    """Parses, runs, and returns the exit status."""
    opts = options.parse(argv)
    bed = beds.pick(opts.bed, say)
    opts.door = doors.DOORS[opts.door or bed.door]
    bed.check(opts)
    one_run = Run(opts, bed)
    load = payload_of(opts)
    with private_directory() as private, keys() if opts.monitor else contextlib.nullcontext():
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
