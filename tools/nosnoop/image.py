"""tools/image: a disk for UEFI and an ISO with GRUB, each with the hypervisor and its guests."""
# SPDX-License-Identifier: BSD-2-Clause
import argparse
import os
import sys
import tempfile

from nosnoop import doors, fat, grub, paths, payload
from nosnoop.status import USAGE, Refusal

GUEST = "cpuid.elf"  # what runs where there is no config yet
CONFIG = f"[host]\n\n[vm cpuid]\nkernel = {GUEST}\nmemory = 64M\n"


def parse(argv):
    """The options of tools/image."""
    parser = argparse.ArgumentParser(
        prog="tools/image", description="Makes nosnoop.img, a disk with a GPT that UEFI starts "
        "(for a USB stick), and nosnoop.iso, which GRUB starts by BIOS and by UEFI.")
    parser.add_argument("--config", metavar="FILE",
                        help="a nosnoop.cfg; the files that it names are taken from beside it "
                        f"(default: {GUEST} in a VM of 64M)")
    parser.add_argument("--to", metavar="DIRECTORY", default=str(paths.BUILD),
                        help="where to write them (%(default)s)")
    return parser.parse_args(argv)


def load(config):
    """What goes into the images."""
    if config:
        return payload.for_config(config)
    return payload.Payload(CONFIG, 0, 1, {GUEST: str(paths.built(f"guests/{GUEST}"))})


def make(options):
    """Makes both images; returns their paths."""
    os.makedirs(options.to, exist_ok=True)
    disk, iso = (os.path.join(options.to, name) for name in ("nosnoop.img", "nosnoop.iso"))
    with tempfile.TemporaryDirectory(prefix="nosnoop-") as private:
        files = doors.lay_out(load(options.config), private)
        fat.make_gpt_disk(disk, doors.volume(files))
        grub.make_iso(iso, [paths.built("nosnoop.elf"), *files], doors.grub_script(files), private)
    return disk, iso


def main(argv):
    """Returns the exit status of tools/image."""
    try:
        for path in make(parse(argv)):
            print(path)
    except (Refusal, OSError) as problem:
        print(f"tools/image: {problem}", file=sys.stderr)
        return USAGE
    return 0
