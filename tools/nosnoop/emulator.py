"""Runs one emulator as a child and follows what it writes, as it writes it."""
# SPDX-License-Identifier: BSD-2-Clause
import contextlib
import errno
import os
import selectors
import subprocess
import time
import tty

KILL_AFTER = 1.0    # seconds that an emulator has to end after SIGTERM
LONGEST_LINE = 1 << 16


def is_terminal(path):
    """Whether PATH, which the emulator is to open, takes input too."""
    return path.startswith("/dev/pts/")


class Lines:
    """Cuts a stream of bytes into lines for TAKE; bytes that are not UTF-8 are replaced."""

    def __init__(self, take):
        self.take = take
        self.rest = b""

    def feed(self, data):
        """Takes the next bytes."""
        *lines, self.rest = (self.rest + data).split(b"\n")
        if len(self.rest) > LONGEST_LINE:
            lines, self.rest = [*lines, self.rest], b""
        for line in lines:
            self.take(line.decode("utf-8", "replace").rstrip("\r"))

    def close(self):
        """The stream has ended: what is left is a line too."""
        if self.rest:
            self.feed(b"\n")


class Emulator:
    """A child, its pipes, and who takes the bytes of each. Use as a context manager."""

    def __init__(self):
        self.selector = selectors.DefaultSelector()
        self.read_ends = set()
        self.write_ends = []
        self.child = None

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.kill()
        self.selector.close()
        for read_end in self.read_ends:
            os.close(read_end)
        self.close_write_ends()

    def pipe(self, sink):
        """A path that the emulator can open to write; SINK gets the bytes."""
        read_end, write_end = os.pipe()
        os.set_blocking(read_end, False)
        self.read_ends.add(read_end)
        self.watch(read_end, lambda: self.read(read_end, sink))
        self.write_ends.append(write_end)
        return f"/dev/fd/{write_end}"

    def terminal(self, sink):
        """
        The path of a terminal that the emulator can open, and a function that gives it input; SINK
        gets its output.
        """
        ours, theirs = os.openpty()
        tty.setraw(theirs)
        os.set_blocking(ours, False)
        self.read_ends.add(ours)
        self.watch(ours, lambda: self.read(ours, sink))
        self.write_ends.append(theirs)  # the child keeps it open for as long as it lives

        def give(data):
            with contextlib.suppress(BlockingIOError):  # as a port whose buffer is full
                os.write(ours, data)

        return os.ttyname(theirs), give

    def start(self, argv, environment, messages):
        """
        Starts the child, which dies with its parent, with more ENVIRONMENT; MESSAGES gets its
        standard output and error.
        """
        self.pipe(messages)
        error = self.write_ends[-1]
        self.child = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", "--", *argv], stdin=subprocess.PIPE,
            stdout=error, stderr=error, pass_fds=self.write_ends, start_new_session=True,
            env={**os.environ, **environment})
        self.close_write_ends()

    def tell(self, text):
        """Writes to the child's standard input."""
        with contextlib.suppress(BrokenPipeError):  # where it has ended, its streams say so
            self.child.stdin.write(text.encode())
            self.child.stdin.flush()

    def follow(self, deadline, finished):
        """
        Hands out bytes until all streams have ended, FINISHED() is true, or the time DEADLINE()
        (time.monotonic() seconds) has come. Returns whether the time did not run out.
        """
        while self.read_ends and not finished():
            left = deadline() - time.monotonic()
            if left <= 0:
                return False
            self.step(min(left, 3600))
        return True

    def step(self, wait):
        """Hands out what there is, after waiting at most WAIT seconds; says if there was any."""
        events = self.selector.select(wait)
        for key, _ in events:
            key.data()
        return bool(events)

    def watch(self, descriptor, ready):
        """Has READY() called whenever DESCRIPTOR can be read."""
        self.selector.register(descriptor, selectors.EVENT_READ, ready)

    def read(self, read_end, sink):
        """Reads what a pipe has for its SINK."""
        try:
            data = os.read(read_end, 1 << 16)
        except BlockingIOError:
            return
        except OSError as problem:
            if problem.errno != errno.EIO:  # of a terminal that no one has open any more
                raise
            data = b""
        if data:
            sink(data)
        else:
            self.selector.unregister(read_end)
            self.read_ends.remove(read_end)
            os.close(read_end)

    def drain(self):
        """Hands out what has been written so far."""
        end = time.monotonic() + KILL_AFTER / 2
        while self.selector.get_map() and self.step(0) and time.monotonic() < end:
            pass

    def wait(self, seconds):
        """The child's status (negative: a signal), or None if it has not ended in SECONDS."""
        try:
            return self.child.wait(seconds)
        except subprocess.TimeoutExpired:
            return None

    def kill(self):
        """Ends the child, if it still runs."""
        if self.child is None or self.child.poll() is not None:
            return
        self.child.kill()
        self.child.wait()
        self.child.stdin.close()

    def close_write_ends(self):
        """Leaves the write ends to the child alone, so that its end ends the streams."""
        while self.write_ends:
            os.close(self.write_ends.pop())
