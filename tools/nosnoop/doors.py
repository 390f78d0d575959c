"""The doors: how a payload gets into a machine, as QEMU arguments and files of one run."""
# SPDX-License-Identifier: BSD-2-Clause
import os
import shutil
import subprocess
from dataclasses import dataclass
from typing import Callable

from nosnoop import gdb, paths
from nosnoop.payload import CONFIG_NAME
from nosnoop.status import Refusal

FOLDER = "nosnoop"  # of the loader's volume, where it finds everything


def lay_out(payload, private):
    """Puts the config and links to the files into PRIVATE; returns their paths, config first."""
    config = os.path.join(private, CONFIG_NAME)
    with open(config, "w", encoding="utf-8", errors="surrogateescape", newline="") as out:
        out.write(payload.config)
    return [config] + [link(path, private, name) for name, path in payload.files.items()]


def link(path, private, name):
    """Links PATH into PRIVATE as NAME, so that its path has no blank and is short."""
    there = os.path.join(private, name)
    os.symlink(path, there)
    return there


def module_list(strings):
    """The argument of -initrd: modules part at single commas."""
    return ",".join(string.replace(",", ",,") for string in strings)


def multiboot1(payload, private):
    """QEMU loads the kernel itself."""
    return ["-kernel", str(paths.built("nosnoop.elf")),
            "-initrd", module_list(lay_out(payload, private))]


def uefi(payload, private):
    """OVMF starts the loader from a FAT image."""
    image = os.path.join(private, "esp.img")
    variables = shutil.copy(paths.package_file("OVMF_VARS"), os.path.join(private, "vars.fd"))
    files = [f"{path}={FOLDER}/{os.path.basename(path)}" for path in lay_out(payload, private)]
    files += [f"{paths.built('nosnoop.elf')}={FOLDER}/nosnoop.elf",
              f"{paths.built('BOOTX64.EFI')}=EFI/BOOT/BOOTX64.EFI"]
    command = [str(paths.ROOT / "tools/image"), image, *files]
    result = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if result.returncode:
        raise Refusal(f"tools/image failed: {result.stderr.strip()}")
    flash = "if=pflash,format=raw,unit={},file={}"
    return ["-drive", flash.format(0, paths.package_file("OVMF_CODE")) + ",readonly=on",
            "-drive", flash.format(1, variables),
            "-drive", f"if=virtio,format=raw,file={image}"]


@dataclass(frozen=True)
class Door:
    """One way into the machine."""
    arguments: Callable  # (payload, private) to QEMU arguments
    entry: Callable      # (path of the kernel) to the address at which it begins
    noisy: bool          # the firmware writes to the serial ports
    icount_shift: int    # firmware takes 30 s at shift 0


DOORS = {
    "mb1": Door(multiboot1, gdb.header_entry, noisy=False, icount_shift=0),
    "uefi": Door(uefi, gdb.symbol_entry, noisy=True, icount_shift=6),
}
LATER = ("grub",)


def control(payload, options, private):
    """GUEST itself as QEMU's kernel, with its modules and command line."""
    kernel, *modules = [link(path, private, name) for name, path in payload.files.items()]
    strings = [module.partition("=")[2] for module in options.module]
    argv = ["-kernel", kernel, "-append", options.cmdline]
    if modules:
        pairs = zip(modules, strings)
        argv += ["-initrd", module_list(" ".join(pair).rstrip() for pair in pairs)]
    return argv
