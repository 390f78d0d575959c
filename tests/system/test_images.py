"""What `make image` makes starts on machines: the ISO by BIOS and by UEFI, the disk by UEFI."""
# SPDX-License-Identifier: BSD-2-Clause
import subprocess
import sys

import pytest

from nosnoop import paths

STARTS = [
    ("nosnoop.iso", "svm", "grub", "multiboot 2"),
    ("nosnoop.iso", "svm", "grub-uefi", "multiboot 2"),
    ("nosnoop.img", "svm", "uefi", "UEFI"), ("nosnoop.iso", "vmx", "grub", "multiboot 2"),
    ("nosnoop.img", "vmx", "uefi", "UEFI"),
]


def make(*args):
    """Runs tools/image."""
    return subprocess.run([sys.executable, paths.ROOT / "tools/image", *args], cwd=paths.ROOT,
                          capture_output=True, text=True)


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """A directory with the images."""
    place = tmp_path_factory.mktemp("images")
    done = make("--to", place)
    assert done.returncode == 0, done.stderr
    return place


@pytest.mark.parametrize("image, bed, door, by", STARTS)
def test_image_starts(system, images, image, bed, door, by):
    outcome = system.run("--bed", bed, "--door", door, "--timeout", "40", "--image", images / image)
    assert outcome.status == 0, outcome.messages
    assert outcome.guest.startswith(b"KTAP") and b"not ok" not in outcome.guest
    assert f" by {by}, on " in outcome.log_text.splitlines()[0]


def test_image_of_a_config(system, tmp_path):
    guest = system.guest("value")
    (tmp_path / "value.elf").symlink_to(guest)
    config = tmp_path / "my.cfg"
    config.write_text("[vm a]\nkernel = value.elf\ncmdline = value=9\n")
    assert make("--config", config, "--to", tmp_path).returncode == 0
    outcome = system.run("--bed", "svm", "--door", "grub", "--image", tmp_path / "nosnoop.iso")
    assert outcome.status == 9


def test_image_of_a_missing_config(tmp_path):
    done = make("--config", tmp_path / "gone", "--to", tmp_path)
    assert done.returncode == 123
    assert "no such file" in done.stderr
