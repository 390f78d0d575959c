"""The built hypervisor: run to its end, or started and looked into by QEMU's machine protocol."""
# SPDX-License-Identifier: BSD-2-Clause
import json
import re
import signal
import socket

from nosnoop import paths
from nosnoop.testing import Tool


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


class Machine:
    """A guest under the hypervisor, stopped in the middle. Use as a context manager."""

    def __init__(self, system, place, *args):
        self.place = place
        self.log = place / "log"
        self.process = system.start("--bed", "svm", "--timeout", "40", "--log", self.log, *args,
                                    "--", "-qmp", f"unix:{place}/qmp,server=on,wait=off")
        self.monitor = None

    def __enter__(self):
        assert self.process.stdout.readline(), "the guest said nothing"
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
