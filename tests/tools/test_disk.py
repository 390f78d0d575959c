"""Tests of the disks: the GPT against sgdisk and by hand, FAT's size and its refusals."""
# SPDX-License-Identifier: BSD-2-Clause
import struct
import subprocess
import zlib

import pytest

from nosnoop import fat
from nosnoop.status import Refusal


@pytest.fixture
def disk(tmp_path):
    """A disk with a GPT and one file."""
    (tmp_path / "file").write_bytes(b"content" * 1000)
    image = tmp_path / "disk.img"
    fat.make_gpt_disk(str(image), {"EFI/BOOT/BOOTX64.EFI": tmp_path / "file", "x": "/dev/null"})
    return image


def sgdisk(image, *args):
    """What sgdisk says."""
    done = subprocess.run(["sgdisk", *args, str(image)], stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True)
    return done.returncode, done.stdout


def test_sgdisk_finds_no_problem(disk):
    status, text = sgdisk(disk, "-v")
    assert status == 0 and "No problems found" in text
    assert "C12A7328-F81F-11D2-BA4B-00A0C93EC93B (EFI system partition)" in sgdisk(disk, "-i1")[1]


@pytest.mark.parametrize("offset", [512 + 8, 512 + 40, 512 + 56, 1024 + 32])
def test_sgdisk_finds_a_changed_byte(disk, offset):
    before = sgdisk(disk, "-v")
    data = bytearray(disk.read_bytes())
    data[offset] ^= 1
    disk.write_bytes(data)
    assert sgdisk(disk, "-v") != before


def test_the_two_headers_name_each_other(disk):
    data = disk.read_bytes()
    last = len(data) // 512 - 1
    for at, other in ((1, last), (last, 1)):
        header = data[at * 512:][:92]
        assert header[:8] == b"EFI PART"
        assert struct.unpack_from("<QQ", header, 24) == (at, other)
        (checksum,) = struct.unpack_from("<I", header, 16)
        assert checksum == zlib.crc32(header[:16] + bytes(4) + header[20:])
    assert data[510:512] == b"\x55\xaa" and data[446 + 4] == 0xEE


def test_the_file_is_in_the_partition(disk):
    done = subprocess.run(["mcopy", "-i", f"{disk}@@1M", "::/EFI/BOOT/BOOTX64.EFI", "-"],
                          capture_output=True)
    assert done.stdout == b"content" * 1000


def test_the_same_bytes_every_time(tmp_path):
    (tmp_path / "f").write_bytes(b"f")
    images = [tmp_path / "a", tmp_path / "b"]
    for image in images:
        fat.make_gpt_disk(str(image), {"d/f": tmp_path / "f"})
    assert images[0].read_bytes() == images[1].read_bytes()


def test_whole_cylinders(disk):
    assert disk.stat().st_size % (16 * 63 * 512) == 0


def test_too_large(tmp_path):
    with open(tmp_path / "large", "wb") as out:
        out.truncate(3 << 30)
    with pytest.raises(Refusal, match="2 GiB"):
        fat.make_disk(str(tmp_path / "image"), {"large": tmp_path / "large"})
