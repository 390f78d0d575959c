"""tools/lint: two compilers' warnings, function size, format, cppcheck, vendor names."""
# SPDX-License-Identifier: BSD-2-Clause
import os
import re
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from nosnoop import paths

LONGEST_FUNCTION = 60  # lines
LONGEST_LINE = 100     # columns
DIRECTORIES = ("boot", "drivers", "guest-tests", "lib", "mm", "svm", "tests", "vmm", "vmx")
TIDY = ('{"Checks": "-*,readability-function-size", "WarningsAsErrors": "*", "CheckOptions": ['
        '{"key": "readability-function-size.LineThreshold", "value": "%d"}]}' % LONGEST_FUNCTION)
EFI_INCLUDE = os.environ.get("EFI_INCLUDE", "/usr/include/efi")
BOOTS = "cpuid"  # the guest that the clang-built kernel must run

# No identifier and no #include of these directories names a vendor, but in the file that picks
# the backend. Names of presets, which are other hypervisors' (kvm_svm), do not count.
NEUTRAL = ("vmm", "mm")
BACKEND = "vmm/backend.c"
VENDOR = re.compile(r"intel|amd|vmx|svm", re.I)
PRESET = re.compile(r"(policy_)?kvm_\w+", re.I)
NOT_CODE = re.compile(r'//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"', re.S)
INCLUDE = re.compile(r'^\s*#\s*include\s*[<"]([^>"]+)[>"]', re.M)
ASM_COMMENT = re.compile(r";[^\n]*")


def command(argv, **environment):
    """Runs a command; returns what it printed if it failed, else nothing."""
    done = subprocess.run(argv, cwd=paths.ROOT, env=dict(os.environ, **environment), text=True,
                          errors="replace", stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT)
    return done.stdout or f"status {done.returncode}" if done.returncode else ""


def sources(*suffixes, directories=DIRECTORIES):
    """The files of the directories with one of the suffixes, relative to the tree."""
    found = [path.relative_to(paths.ROOT) for directory in directories
             for path in sorted((paths.ROOT / directory).rglob("*")) if path.suffix in suffixes]
    return [str(path) for path in found]


def compiled(compiler, build):
    """Everything, with warnings as errors, by one compiler in a build directory of its own."""
    # Neither the outer make's job server nor its BUILD reaches this one.
    clean = dict.fromkeys(("MAKEFLAGS", "MFLAGS", "MAKEOVERRIDES"), "")
    return command(["make", "-s", f"-j{os.cpu_count()}", f"BUILD={build}", f"CC={compiler}",
                    f"HOST_CC={compiler}", "LINT=-Werror", "all", "unit"], **clean)


def boots(build):
    """Whether the kernel in a build directory runs a guest, on both vendors' CPUs."""
    return "".join(command([sys.executable, "tools/run", "--bed", bed,
                            f"{build}/guests/{BOOTS}.elf"], BUILD=str(build))
                   for bed in ("svm", "vmx"))


def tidy(build):
    """No function is too long."""
    flags = ["-std=c11", "-I.", f"-I{build}/gen", f"-I{EFI_INCLUDE}", f"-I{EFI_INCLUDE}/x86_64",
             "-DGNU_EFI_USE_MS_ABI", "-fshort-wchar", "-w"]

    def check(path):
        return command(["clang-tidy", "--quiet", f"--config={TIDY}", path, "--", *flags])

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return "".join(pool.map(check, sources(".c")))


def formatted(_build):
    """As .clang-format says."""
    return command(["clang-format", "--dry-run", "-Werror", *sources(".c", ".h")])


def cppcheck(_build):
    """What cppcheck finds."""
    return command(["cppcheck", "--quiet", "--std=c11", "--enable=warning,performance,portability",
                    "--suppress=comparePointers",  # of symbols of the linker scripts
                    "--error-exitcode=1", "--inline-suppr", "-I.", f"-j{os.cpu_count()}",
                    *sources(".c")])


def vendor_names(path, text):
    """The identifiers and #includes of a file that name a vendor."""
    if path.endswith(".asm"):
        text = ASM_COMMENT.sub(" ", text)
    words = INCLUDE.findall(text) + re.findall(r"[A-Za-z_]\w*", NOT_CODE.sub(" ", text))
    return sorted({word for word in words
                   if VENDOR.search(word) and not PRESET.fullmatch(word)})


def neutral(_build):
    """No vendor's name where policy is made."""
    found = ""
    for path in sources(".c", ".h", ".asm", directories=NEUTRAL):
        if path != BACKEND:
            for word in vendor_names(path, (paths.ROOT / path).read_text(encoding="utf-8")):
                found += f"{path}: {word} names a vendor; say what it can do, or move it\n"
    return found


def narrow(_build):
    """No line is too long, also where clang-format leaves it."""
    found = ""
    for path in sources(".c", ".h", ".py", ".asm", ".inc", directories=(*DIRECTORIES, "tools")):
        for number, line in enumerate((paths.ROOT / path).read_text().splitlines(), 1):
            if len(line) > LONGEST_LINE:
                found += f"{path}:{number}: more than {LONGEST_LINE} columns\n"
    return found


def main():
    """Runs all checks; returns the exit status."""
    failed = False
    with tempfile.TemporaryDirectory(prefix="nosnoop-lint-") as place:
        gcc, clang = Path(place, "gcc"), Path(place, "clang")
        checks = [
            ("vendor names", neutral, gcc), ("line length", narrow, gcc),
            ("clang-format", formatted, gcc), ("cppcheck", cppcheck, gcc),
            ("gcc, warnings as errors", lambda build: compiled("gcc", build), gcc),
            ("clang, warnings as errors", lambda build: compiled("clang", build), clang),
            ("the clang-built kernel boots on svm and vmx", boots, clang),
            (f"functions of at most {LONGEST_FUNCTION} lines", tidy, gcc),
        ]
        for name, check, build in checks:
            problems = check(build).rstrip()
            print(f"{'FAIL' if problems else 'PASS'} {name}", flush=True)
            if problems:
                failed = True
                print(problems, flush=True)
    return 1 if failed else 0
