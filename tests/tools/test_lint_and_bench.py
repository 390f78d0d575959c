"""Tests of tools/lint's search for vendor names, of tools/bench's table, and of tools/deps."""
# SPDX-License-Identifier: BSD-2-Clause
import os
import subprocess
import time

import pytest

from nosnoop import bench, paths
from nosnoop.lint import vendor_names

DEPS = str(paths.ROOT / "tools/deps")

NAMES = {
    "int svm_ops;": ["svm_ops"],
    "enum { EFER_SVME, INTEL, is_AMD };": ["EFER_SVME", "INTEL", "is_AMD"],
    '#include "vmx/vmcs.h"\n': ["vmx/vmcs.h"],
    '#include "mm/pt.h"\nint has_ipat, mode; /* as svm_ops */ // vmx': [],
    'log("Intel \\" vmx"); int x = kvm_svm(1);': [],
    "int n = POLICY_KVM_SVM, POLICY_SVM;": ["POLICY_SVM"],
    "/* over\n * vmx\n */ int y; /* amd */ int my_amd;": ["my_amd"],
}


@pytest.mark.parametrize("text", NAMES)
def test_vendor_names(text):
    assert vendor_names("vmm/x.c", text) == NAMES[text]


def test_vendor_names_in_assembly():
    assert vendor_names("vmm/x.asm", "call svm_run ; vmx too\n") == ["svm_run"]


def test_bench_reads_a_run():
    found = bench.of_run("svm",
                         "1..2\r\n# bench cpuid 32 501\r\nok 1 x\n# bench wbinvd 64 7\n# exit: 0",
                         "[ 1 0] memory: hypervisor 2436 KiB (image)\n"
                         "[ 2 0] vm bench: first entry after 12345 ticks\n")
    assert [(m.name, m.bed, m.value) for m in found] == [
        ("cpuid 32", "svm", 501), ("wbinvd 64", "svm", 7), (bench.FIRST_ENTRY, "svm", 12345),
        (bench.MEMORY, "svm", 2436)]
    assert [m.missed() for m in found] == [True, False, False, False]


@pytest.mark.parametrize("name, bed, best", [("cpuid 32", "svm", 500), ("cpuid 64", "vmx", 200),
                                             ("out_unused_port 32", "svm-bochs", 200)])
def test_bench_goals(name, bed, best):
    assert not bench.Measurement(name, bed, best).missed()
    assert bench.Measurement(name, bed, best + 1).missed()


def test_bench_pat_without_exits():
    assert not bench.Measurement("wrmsr_pat 64", "vmx", 1).missed()
    assert bench.Measurement("wrmsr_pat 64", "vmx", 100).missed()
    assert not bench.Measurement("wrmsr_pat 64", "svm", 1000).missed()


@pytest.mark.parametrize("bed", bench.BEDS)
def test_bench_touch_without_exits(bed):
    assert not bench.Measurement("first_touch 64", bed, 1).missed()
    assert bench.Measurement("first_touch 64", bed, 100).missed()


def test_bench_measures_what_the_peers_were_measured_by():
    listing = (paths.ROOT / "guest-tests/bench.inc").read_text()
    missing = {name for name in bench.PEERS if name.endswith(" 64")
               and f'operation "{name.removesuffix(" 64")}"' not in listing}
    assert missing == set()


def test_bench_text_is_the_section():
    text = bench.text_size("k  :\nsection  size  addr\n.text   245761   1844\n.rodata   7  2\n")
    assert (text.value, text.missed()) == (245761, True)


def test_bench_csv(tmp_path):
    found = [bench.Measurement("cpuid 64", "svm", 1000), bench.Measurement("cpuid 64", "vmx", 300)]
    bench.write(found, tmp_path / "csv")
    assert (tmp_path / "csv").read_text() == (
        "name,bed,value,goal,kvm,xen\ncpuid 64,svm,1000,1100,2678,2474\ncpuid 64,vmx,300,200,,\n")


@pytest.fixture
def commands(tmp_path):
    """Runs tools/deps with made-up programs: NAME="shell script", in the place of Debian's."""
    place = tmp_path / "bin"
    place.mkdir()
    for name in ("flock", "sh"):
        (place / name).symlink_to(f"/usr/bin/{name}")

    def run(**programs):
        for name, script in programs.items():
            path = place / name.replace("_", "-")
            path.write_text(f"#!/bin/sh\nT={tmp_path}\n{script}\n")
            path.chmod(0o755)
        environment = {"PATH": str(place), "NOSNOOP_DEPS_LOCK": str(tmp_path / "lock")}
        return subprocess.run(["/bin/sh", DEPS], env=environment, capture_output=True, text=True)

    return run


def known(*missing):
    """A dpkg-query that knows all packages it is asked for but the MISSING ones."""
    names = "|".join(missing) or "none"
    return ('shift 3; for p; do case $p in ' + names + ') [ -e $T/done ] && echo "installed $p";;'
            ' *) echo "installed $p";; esac; done')


def test_deps_with_nothing_missing(commands):
    done = commands(dpkg_query=known(), apt_get="exit 9", id="echo 1000")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_deps_is_quick(commands):
    before = time.monotonic()
    if subprocess.run([DEPS], capture_output=True).returncode == 0:
        assert time.monotonic() - before < 0.5  # 0.1 s, and the load of other tests


def test_deps_without_root(commands):
    done = commands(dpkg_query=known("nasm", "ovmf"), apt_get="exit 9", id="echo 1000")
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1] == (
        "apt-get update && apt-get install -y --no-install-recommends nasm ovmf")


def test_deps_as_root_updates_where_needed(commands, tmp_path):
    apt = ('echo "$DEBIAN_FRONTEND $*" >> $T/calls; case "$*" in *update) : > $T/updated;;'
           ' *) [ -e $T/updated ] && : > $T/done;; esac')
    done = commands(dpkg_query=known("nasm"), apt_get=apt, id="echo 0")
    assert done.returncode == 0, done.stderr
    calls = (tmp_path / "calls").read_text().splitlines()
    assert len(calls) == 3
    assert all(call.startswith("noninteractive ") for call in calls)
    assert calls[0].endswith("--no-install-recommends install nasm") and calls[1].endswith("update")


def test_deps_that_cannot_be_installed(commands):
    done = commands(dpkg_query=known("nasm"), apt_get="exit 100", id="echo 0")
    assert done.returncode != 0


def test_deps_on_another_system(commands):
    done = commands(dpkg_query="exit 1", id="echo 0")
    assert done.returncode == 2
    assert "nasm" in done.stderr and "qemu-system-x86" in done.stderr


def test_deps_names_what_the_tools_use():
    text = (paths.ROOT / "tools/deps").read_text()
    assert os.access(DEPS, os.X_OK)
    for package in ("clang-tidy", "cppcheck", "libcmocka-dev", "libzydis-dev", "python3-pytest"):
        assert package in text.split()
