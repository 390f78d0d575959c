"""GRUB: an ISO that boots by BIOS and by UEFI, and the script in it."""
# SPDX-License-Identifier: BSD-2-Clause
import os
import shutil
import subprocess

from nosnoop import paths
from nosnoop.status import Refusal

KERNEL = ("multiboot2", "module2")  # the commands that load nosnoop.elf and its modules
GUEST = ("multiboot", "module")   # those that load a test guest, a multiboot 1 kernel
# What an ISO needs; those that only name a partition table are what the start of GRUB asks for.
MODULES = ("normal configfile search iso9660 multiboot multiboot2 part_acorn part_amiga part_apple "
           "part_bsd part_dfly part_dvh part_gpt part_msdos part_plan part_sun part_sunpc")


def quoted(words):
    """The words of a command, each in single quotes."""
    return " ".join("'" + word.replace("'", "'\\''") + "'" for word in words)


def script(commands, kernel, modules):
    """
    The script that loads KERNEL and MODULES, lists of words, by COMMANDS. A file's name is the
    first word and stands twice, as GRUB drops it from the string.
    """
    lines = [f"{command} {quoted(['/' + words[0], *words])}" for command, words in
             zip([commands[0]] + [commands[1]] * len(modules), [kernel, *modules])]
    return "\n".join(["set timeout=0", *lines, "boot", ""])


def make_iso(image, files, text, private):
    """Makes an ISO with FILES (paths) at its root and the script TEXT; PRIVATE: a directory."""
    tree = os.path.join(private, "iso")
    os.makedirs(os.path.join(tree, "boot/grub"))
    for path in files:
        shutil.copyfile(path, os.path.join(tree, os.path.basename(path)))
    with open(os.path.join(tree, "boot/grub/grub.cfg"), "w", encoding="utf-8") as out:
        out.write(text)
    argv = [paths.package_file("GRUB_MKRESCUE"), "-o", image, f"--install-modules={MODULES}",
            "--locales=", "--fonts=", "--themes=", tree]
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, errors="replace",
                          env=dict(os.environ, TMPDIR=private))
    shutil.rmtree(tree)
    if done.returncode or not os.path.isfile(image):
        raise Refusal(f"grub-mkrescue failed; run tools/deps:\n{done.stdout.strip()}")
