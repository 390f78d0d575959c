"""Makes tools/ importable, and gives the tests a build directory with a fake kernel in it."""
# SPDX-License-Identifier: BSD-2-Clause
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tools"))
from nosnoop.testing import Tool  # noqa: E402


class FakeTool(Tool):
    """tools/run on the fake kernel."""

    @property
    def kernel(self):
        """The fake kernel, which is a guest too."""
        return self.build / "nosnoop.elf"

    def script(self, text, name="guest.elf"):
        """A guest file: the fake kernel's script."""
        path = self.build / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return str(path)

    def play(self, text, *args):
        """Runs a script on bed svm."""
        return self.run("--bed", "svm", *args, self.script(text))


@pytest.fixture(scope="session")
def fake_kernel(tmp_path_factory):
    """The assembled fake kernel."""
    path = tmp_path_factory.mktemp("kernel") / "nosnoop.elf"
    source = Path(__file__).with_name("fake_kernel.asm")
    subprocess.run(["nasm", "-f", "bin", "-o", path, source], check=True)
    return path


@pytest.fixture
def tool(fake_kernel, tmp_path):
    """tools/run with a build directory of the test's own."""
    (tmp_path / "nosnoop.elf").symlink_to(fake_kernel)
    return FakeTool(tmp_path)
