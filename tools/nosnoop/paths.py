"""Where things are: the tree, the build directory, files and programs of Debian's packages.

Each path of a package can be overridden by an environment variable of the same name, and so also
on make's command line.
"""
# SPDX-License-Identifier: BSD-2-Clause
import os
import shutil
from pathlib import Path

from nosnoop.status import Refusal

ROOT = Path(__file__).resolve().parents[2]
BUILD = ROOT / os.environ.get("BUILD", "build")

PACKAGE_FILES = {
    "OVMF_CODE": "/usr/share/OVMF/OVMF_CODE_4M.fd",
    "OVMF_VARS": "/usr/share/OVMF/OVMF_VARS_4M.fd",
    "QEMU": "qemu-system-x86_64",
    "OVMF": "/usr/share/ovmf/OVMF.fd",  # 2 MiB, code and variables: the largest that Bochs takes
    "BOCHS": "bochs-bin",
    "BOCHS_BIOS": "/usr/share/bochs/BIOS-bochs-latest",
    "BOCHS_VGA_BIOS": "/usr/share/vgabios/vgabios.bin",
    "GRUB_MKRESCUE": "grub-mkrescue",
    "GNUMACH": "/boot/gnumach-1.8-486.gz",
}


def package_file(name):
    """The path of a package's file, or Refusal where it is not installed."""
    path = os.environ.get(name, PACKAGE_FILES[name])
    found = path if os.path.isfile(path) else shutil.which(path)
    if not found:
        raise Refusal(f"{path} is missing; run tools/deps, or set {name}")
    return found


def built(name):
    """A file in the build directory, or Refusal where it has not been built."""
    path = BUILD / name
    if not path.is_file():
        raise Refusal(f"{path} is missing; run make")
    return path
