"""The doors: how a payload gets into a machine, as the media and files of one run."""
# SPDX-License-Identifier: BSD-2-Clause
import os
import shutil
from dataclasses import dataclass
from typing import Callable

from nosnoop import fat, gdb, grub, paths
from nosnoop.payload import CONFIG_NAME

FOLDER = "nosnoop"  # of the loader's volume, where it finds everything


@dataclass(frozen=True)
class Start:
    """What a machine is started from: a kernel that the emulator loads itself, or a medium."""
    uefi: bool = False
    kernel: str = ""
    modules: tuple = ()  # strings, each with a path as its first word
    cmdline: str = ""
    disk: str = ""
    cdrom: str = ""


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


def multiboot1(payload, private):
    """The emulator loads the kernel itself."""
    return Start(kernel=str(paths.built("nosnoop.elf")), modules=tuple(lay_out(payload, private)))


def volume(files):
    """Paths on the loader's volume, and their files: of FILES, paths, config first."""
    there = {f"{FOLDER}/{os.path.basename(path)}": path for path in files}
    there[f"{FOLDER}/nosnoop.elf"] = paths.built("nosnoop.elf")
    there["EFI/BOOT/BOOTX64.EFI"] = paths.built("BOOTX64.EFI")
    return there


def uefi(payload, private):
    """The firmware starts the loader from a FAT image."""
    image = os.path.join(private, "esp.img")
    fat.make_disk(image, volume(lay_out(payload, private)))
    return Start(uefi=True, disk=image)


def grub_script(files):
    """What GRUB does to start the kernel with FILES, paths, config first."""
    names = [os.path.basename(path) for path in files]
    return grub.script(grub.KERNEL, ["nosnoop.elf"], [[name] for name in names])


def grub_iso(payload, private):
    """GRUB starts the kernel from an ISO."""
    files = lay_out(payload, private)
    image = os.path.join(private, "boot.iso")
    grub.make_iso(image, [paths.built("nosnoop.elf"), *files], grub_script(files), private)
    return image


def grub_bios(payload, private):
    """As grub_iso(), by BIOS."""
    return Start(cdrom=grub_iso(payload, private))


def grub_uefi(payload, private):
    """As grub_iso(), by UEFI."""
    return Start(uefi=True, cdrom=grub_iso(payload, private))


@dataclass(frozen=True)
class Door:
    """One way into the machine."""
    start: Callable      # (payload, private) to a Start
    entry: Callable      # (path of the kernel) to the address at which it begins
    uefi: bool           # whose firmware writes to the serial ports
    icount_shift: int    # firmware takes 30 s at shift 0


DOORS = {
    "mb1": Door(multiboot1, gdb.header_entry, uefi=False, icount_shift=0),
    "uefi": Door(uefi, gdb.symbol_entry, uefi=True, icount_shift=6),
    "grub": Door(grub_bios, gdb.symbol_entry, uefi=False, icount_shift=0),
    "grub-uefi": Door(grub_uefi, gdb.symbol_entry, uefi=True, icount_shift=6),
}


def start(payload, options, private):
    """What a run under the hypervisor starts from."""
    if options.image is None:
        return options.door.start(payload, private)
    image = os.path.join(private, "image")
    shutil.copyfile(options.image, image)
    if options.image.endswith(".iso"):
        return Start(uefi=options.door.uefi, cdrom=image)
    return Start(uefi=options.door.uefi, disk=image)


def guest_strings(payload, options, private):
    """For a control run GUEST's path, and the modules' paths and strings."""
    kernel, *modules = [link(path, private, name) for name, path in payload.files.items()]
    strings = [module.partition("=")[2] for module in options.module]
    return kernel, list(zip(modules, strings))


def control(payload, options, private):
    """GUEST itself as the emulator's kernel, with its modules and command line."""
    kernel, modules = guest_strings(payload, options, private)
    return Start(kernel=kernel, modules=tuple(" ".join(pair).rstrip() for pair in modules),
                 cmdline=options.cmdline)


def control_grub(payload, options, private):
    """GUEST itself, started by GRUB."""
    kernel, modules = guest_strings(payload, options, private)
    image = os.path.join(private, "boot.iso")
    script = grub.script(grub.GUEST, [os.path.basename(kernel), *options.cmdline.split()],
                         [[os.path.basename(path), *text.split()] for path, text in modules])
    grub.make_iso(image, [kernel, *(path for path, _ in modules)], script, private)
    return Start(cdrom=image)


def private_variables(private):
    """A copy of the firmware's variables for this run."""
    return shutil.copy(paths.package_file("OVMF_VARS"), os.path.join(private, "vars.fd"))
