"""Stops a machine at the kernel's entry, by the emulator's port for debuggers."""
# SPDX-License-Identifier: BSD-2-Clause
import contextlib
import socket
import struct
import subprocess
import time

from nosnoop.status import Refusal

MULTIBOOT_MAGIC = struct.pack("<I", 0x1BADB002)
MULTIBOOT_SEARCH = 8192  # bytes of the file in which the header stands
ENTRY_FIELD = 28         # offset of entry_addr in the header
SOCKET = "gdb"           # in the run's private directory
ANSWER_WITHIN = 5.0      # seconds


class Stub:
    """The little of the GDB remote serial protocol that is needed here."""

    def __init__(self, path):
        end = time.monotonic() + ANSWER_WITHIN
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(ANSWER_WITHIN)
        while self.socket.connect_ex(path) != 0:
            if time.monotonic() > end:
                raise Refusal("the emulator's debug port does not open")
            time.sleep(0.02)

    def send(self, text):
        """Sends one packet."""
        body = text.encode()
        self.socket.sendall(b"$%s#%02x" % (body, sum(body) & 0xff))

    def answer(self):
        """The data of the next packet; an acknowledgement before it is passed over."""
        while (byte := self.socket.recv(1)) != b"$":
            if not byte:
                raise Refusal("the emulator closed its debug port")
        data = b""
        while (byte := self.socket.recv(1)) not in (b"#", b""):
            data += byte
        self.socket.recv(2)
        with contextlib.suppress(BrokenPipeError):  # a machine let go may have ended already
            self.socket.sendall(b"+")
        return data.decode()

    def command(self, text):
        """Sends one packet and returns the answer's data."""
        self.send(text)
        return self.answer()

    def run_to(self, address):
        """Lets the machine run until it is about to execute ADDRESS; an answer says when it is."""
        if self.command(f"Z1,{address:x},1") != "OK":
            raise Refusal("the emulator takes no hardware breakpoint")
        self.send("c")
        if self.socket.recv(1) != b"+":  # so that the next byte is the answer's
            raise Refusal("the emulator does not let the machine run")

    def arrived(self, address):
        """Takes that answer."""
        self.answer()
        self.command(f"z1,{address:x},1")

    def resume(self):
        """Lets the machine run on without a debugger."""
        self.command("D")
        self.close()

    def close(self):
        """Leaves the machine as it is."""
        self.socket.close()


def header_offset(kernel, data):
    """Where the multiboot header stands in the file KERNEL's DATA."""
    at = data.find(MULTIBOOT_MAGIC, 0, MULTIBOOT_SEARCH)
    if at < 0:
        raise Refusal(f"{kernel} has no multiboot header; run make")
    return at


def header_entry(kernel):
    """The entry that the multiboot header of a file names."""
    data = kernel.read_bytes()
    return struct.unpack_from("<I", data, header_offset(kernel, data) + ENTRY_FIELD)[0]


def symbol_entry(kernel):
    """The kernel's first C function, where all doors come together."""
    symbols = subprocess.run(["nm", str(kernel)], capture_output=True, text=True, check=False)
    for line in symbols.stdout.splitlines():
        if line.split()[1:] == ["T", "start"]:
            return int(line.split()[0], 16)
    raise Refusal(f"{kernel} has no symbol start; run make")
