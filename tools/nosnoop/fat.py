"""FAT volumes and disks of a few files, the same bytes every time."""
# SPDX-License-Identifier: BSD-2-Clause
import os
import subprocess

from nosnoop import gpt
from nosnoop.status import Refusal

SECTOR = 512
HEADS, SECTORS = 16, 63
CYLINDER = HEADS * SECTORS * SECTOR  # disks are whole ones, which is what Bochs asks for
SMALLEST = 66  # cylinders, 33 MiB: sparse, and large enough for FAT16
LARGEST = 4096  # cylinders, 2 GiB less a little: what FAT16 holds
MTOOLS = {"MTOOLSRC": "/dev/null", "MTOOLS_SKIP_CHECK": "1", "SOURCE_DATE_EPOCH": "315532800",
          "TZ": "UTC", "LC_ALL": "C.UTF-8"}


def mtools(image, command, *args):
    """Runs one of the mtools on an image (with @@OFFSET: a volume at that byte)."""
    try:
        done = subprocess.run([command, "-i", image, *args], env={**os.environ, **MTOOLS},
                              stdin=subprocess.DEVNULL, capture_output=True, text=True)
    except FileNotFoundError:
        raise Refusal(f"{command} is missing; run tools/deps") from None
    if done.returncode:
        raise Refusal(f"{command} {' '.join(args)}: {done.stderr.strip()}")


def cylinders(files):
    """Room for the files, each rounded to the largest cluster, for two FATs and the directories."""
    used = sum(os.path.getsize(path) + 32768 for path in files.values())
    count = max(SMALLEST, -(-(used + 2 * 2**20) // CYLINDER))
    if count > LARGEST:
        raise Refusal("the files do not fit into 2 GiB; use smaller ones")
    return count


def directories(names):
    """Every directory of the names, parents first."""
    seen = {}
    for name in names:
        parts = name.split("/")[:-1]
        for i in range(len(parts)):
            seen.setdefault("/".join(parts[:i + 1]).lower(), "/".join(parts[:i + 1]))
    return list(seen.values())


def fill(volume, files, count, start):
    """Makes a file system of COUNT cylinders from sector START on; FILES: name to path."""
    mtools(volume, "mformat", "-h", str(HEADS), "-s", str(SECTORS), "-t", str(count), "-N", "0",
           "-H", str(start), "-v", "NOSNOOP", "::")
    made = directories(files)
    if made:
        mtools(volume, "mmd", *(f"::/{name}" for name in made))
    for name, path in files.items():
        mtools(volume, "mcopy", "-Q", str(path), f"::/{name}")


def empty(image, count):
    """Makes a file of COUNT cylinders of zeros."""
    with open(image, "wb") as out:
        out.truncate(count * CYLINDER)


def make_disk(image, files):
    """Makes a disk that is one file system; FILES: its names to paths."""
    count = cylinders(files)
    empty(image, count)
    fill(image, files, count, 0)


def make_gpt_disk(image, files):
    """Makes a disk with a GPT whose one partition, an EFI system partition, holds FILES."""
    count = cylinders(files)
    disk = count + -(-(gpt.FIRST + gpt.TABLE_SECTORS) * SECTOR // CYLINDER)
    empty(image, disk)
    fill(f"{image}@@{gpt.FIRST * SECTOR}", files, count, gpt.FIRST)
    gpt.write(image, disk * CYLINDER // SECTOR, count * CYLINDER // SECTOR)
