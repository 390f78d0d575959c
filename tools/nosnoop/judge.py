"""Turns the hypervisor's log and the guest's serial output into an exit status."""
# SPDX-License-Identifier: BSD-2-Clause
import re

from nosnoop import status
from nosnoop.ktap import Ktap
from nosnoop.prompt import behind_prompt

# A log line is "[TICKS CPU] text"; a guest's line in the log "[TICKS CPU] [NAME] text".
# The UEFI loader's lines have no head.
HEAD = r"\[ *\d+ \d+\] "
EVENTS = {
    "exit": re.compile(HEAD + r"exit: vm (\S+) value (\d+)"),
    "stopped": re.compile(HEAD + r"stopped: vm (\S+) (.*)"),
    "panic": re.compile(f"(?:{HEAD}panic: ?|panic: (?=loader: ))(.*)"),
    "end": re.compile(HEAD + r"end: ?(.*)"),
}
SAID = re.compile(r"# exit: value (\d+)")  # a test guest's line before it ends
GUEST_LINE = re.compile(HEAD + r"\[([\w.-]+)\] (.*)")


class Judge:
    """Follows both streams line by line; status() is the verdict."""

    def __init__(self):
        self.values = {}   # VM: value
        self.stopped = {}  # VM: reason
        self.panic = None
        self.end = None    # the reason in the hypervisor's last line
        self.said = None   # the value that the guest named on its serial port
        self.ktap = {None: Ktap()}  # by the VM whose lines the log has; None: the serial port's

    def log_line(self, line):
        """Takes one line of the log, behind the monitor's prompt if it has made way for it."""
        line = behind_prompt(line)
        for kind, pattern in EVENTS.items():
            if match := pattern.match(line):
                getattr(self, "on_" + kind)(*match.groups())
                return
        if match := GUEST_LINE.match(line):
            self.ktap.setdefault(match[1], Ktap()).line(match[2])

    def guest_line(self, line):
        """Takes one line of the guest's serial port."""
        if match := SAID.fullmatch(line):
            self.said = int(match[1])
        self.ktap[None].line(line)

    def on_exit(self, name, value):
        """A VM ended with a value."""
        self.values[name] = int(value)

    def on_stopped(self, name, reason):
        """A VM was stopped."""
        self.stopped[name] = reason

    def on_panic(self, reason):
        """The hypervisor panicked."""
        self.panic = reason

    def on_end(self, reason):
        """The hypervisor has said its last."""
        self.end = reason

    def status(self, say=lambda message: None):
        """The exit status; SAY gets a line for what is not plain from the status."""
        if self.panic is not None:
            return status.PANIC
        if self.end == "config":
            return status.BAD_CONFIG
        if self.end is None:
            return status.NO_VERDICT
        if self.stopped:
            return status.STOPPED
        if not self.values:
            return status.NO_VERDICT
        return self.of_value(max(self.values.values()), say)

    def of_value(self, value, say=lambda message: None):
        """The exit status for a guest's value: capped, and 1 for a 0 that its KTAP belies."""
        if value > status.LARGEST_VALUE:
            say(f"the guest's value {value} becomes {status.LARGEST_VALUE}")
            return status.LARGEST_VALUE
        problems = [ktap.problem() for ktap in self.ktap.values() if value == 0]
        for problem in filter(None, problems):
            say(f"the guest's value is 0, but {problem}")
            return 1
        return value
