"""How pytest's tests run tools/run and look at what it gave."""
# SPDX-License-Identifier: BSD-2-Clause
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from nosnoop import paths

LIMIT = 45  # seconds for one run


@dataclass
class Outcome:
    """What a run of tools/run gave."""
    status: int
    guest: bytes  # standard output
    messages: str  # standard error

    @property
    def log(self):
        """The path of the log that the run named."""
        line = next(line for line in self.messages.splitlines() if line.startswith("log: "))
        return paths.ROOT / line.removeprefix("log: ")

    @property
    def log_text(self):
        """The log's text."""
        return self.log.read_text(encoding="utf-8", errors="replace")


class Tool:
    """tools/run with one build directory."""

    def __init__(self, build):
        self.build = Path(build)
        self.environment = dict(os.environ, BUILD=str(build))

    def command(self, *args):
        """The command line."""
        return [sys.executable, str(paths.ROOT / "tools/run"), *map(str, args)]

    def run(self, *args):
        """Runs tools/run to its end."""
        done = subprocess.run(self.command(*args), cwd=paths.ROOT, env=self.environment,
                              timeout=LIMIT, stdin=subprocess.DEVNULL, capture_output=True)
        return Outcome(done.returncode, done.stdout, done.stderr.decode())

    def start(self, *args):
        """Starts tools/run and leaves it running."""
        return subprocess.Popen(self.command(*args), cwd=paths.ROOT, env=self.environment,
                                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                stderr=subprocess.PIPE, text=True, errors="replace")
