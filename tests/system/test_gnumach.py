"""GNU Mach as Debian packages it: somebody else's kernel, a multiboot 1 ELF64, as it is."""
# SPDX-License-Identifier: BSD-2-Clause
import gzip
import re
import subprocess
import time
from pathlib import Path

import pytest

from nosnoop import paths

LAST = "No bootstrap code loaded with the kernel!"  # it is given none


@pytest.fixture(name="kernel")
def unpacked(tmp_path):
    packed = Path(paths.package_file("GNUMACH"))
    kernel = tmp_path / "gnumach"
    kernel.write_bytes(gzip.decompress(packed.read_bytes()))
    return kernel


def said_by(system, kernel, *args):
    """What it says on COM1 until it gives up."""
    process = system.start(*args, "--mem", "64M", "--timeout", "40", "--cmdline", "console=com0",
                           kernel)
    said = []
    for line in process.stdout:
        said.append(line.rstrip())
        if LAST in line:
            break
    process.terminate()
    process.communicate(timeout=10)
    return "\n".join(said)


def check(said):
    """It has found memory, has told the time, and has come to its end."""
    assert said.startswith("GNU Mach 1.8")
    assert re.search(r"^vm_page: DMA: pages: 4080 \(15M\)", said, re.M)
    time_of = re.search(r"^RTC time is (\S+) (\S+)$", said, re.M)
    now = time.time()
    assert time_of[1] in {time.strftime("%Y-%m-%d", time.gmtime(now + by)) for by in (-60, 60)}
    assert said.endswith(LAST)


@pytest.mark.parametrize("bed", ["svm", "vmx", "svm-bochs"])
def test_mach_runs_to_its_end(system, kernel, bed):
    said = said_by(system, kernel, "--bed", bed)
    check(said)
    assert re.search(r"^biosmem: 0*100000:0*4000000, available", said, re.M)


def test_mach_does_the_same_on_a_bare_machine(system, kernel):
    narrow = kernel.with_name("gnumach32")  # QEMU itself takes no ELF64 without addresses
    subprocess.run(["objcopy", "-O", "elf32-i386", kernel, narrow], check=True)
    check(said_by(system, narrow, "--bed", "svm", "--control"))
