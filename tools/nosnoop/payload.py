"""What a machine is started with: nosnoop.cfg, the files it names, memory and CPUs."""
# SPDX-License-Identifier: BSD-2-Clause
import os
import re
from dataclasses import dataclass, field
from pathlib import Path

from nosnoop import devices
from nosnoop.status import Refusal

CONFIG_NAME = "nosnoop.cfg"
MEMORY = "64M"   # a VM's, where its section says nothing
NAME_SIZE = 31   # bytes of a VM's name in the config
FILE_SIZE = 63   # bytes of a file's name in the config
MACHINE_EXTRA = 448 << 20  # bytes: kernel at 64 MiB, its pool, firmware, room to align
MANY = ("module", "region", "device")  # keys that may stand more than once
UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}


@dataclass
class Payload:
    """FILES maps the names that the config uses to paths."""
    config: str
    memory: int  # bytes of the machine
    cpus: int
    files: dict = field(default_factory=dict)
    devices: list = field(default_factory=list)  # devices.Fitted
    iommu: str = "none"  # of devices.IOMMUS


def memory_bytes(text):
    """512M and the like in bytes, or None."""
    match = re.fullmatch(r"(\d+)([KMG]?)", text.strip())
    return int(match[1]) * UNITS[match[2]] if match else None


def sanitised(name, size):
    """NAME with nothing but letters, digits, - _ and ., at most SIZE bytes, never empty."""
    plain = re.sub(r"[^A-Za-z0-9_.-]", "_", name)[:size]
    return plain if plain.strip("._-") else "guest"


def vm_name(path):
    """The VM's name for a guest's file."""
    return sanitised(Path(path).name.removesuffix(".elf"), NAME_SIZE)


def readable(path):
    """PATH, absolute, or Refusal if it is not a file that can be read."""
    if not os.path.isfile(path):
        raise Refusal(f"no such file: {path}")
    if not os.access(path, os.R_OK):
        raise Refusal(f"cannot read: {path}")
    return os.path.abspath(path)


def add_file(files, path):
    """Adds PATH under a name of its own and returns that name."""
    name = sanitised(Path(path).name, FILE_SIZE)
    if name in files or name == CONFIG_NAME:
        name = sanitised(f"{len(files)}-{name}", FILE_SIZE)
    files[name] = readable(path)
    return name


def key_value(text):
    """Splits KEY=VALUE, or Refusal."""
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise Refusal(f"not KEY=VALUE: {text}")
    if re.search(r"[\r\n\0]", text):
        raise Refusal(f"a line break cannot stand in the config: {text!r}")
    return key.strip(), value.strip()


def machine(memories, cpus, files, pins=()):
    """
    Memory and CPUs of a machine for VMs with these, and with pins as they stand in the config: what
    cannot be read counts as nothing.
    """
    total = MACHINE_EXTRA + sum(memory or 0 for memory in memories)
    total += sum(os.path.getsize(path) for path in files.values())
    numbers = [int(n) for n in cpus if n.isdigit() and 0 < int(n) <= 255]
    pinned = [int(n) + 1 for n in re.findall(r"\d{1,3}", ",".join(pins))]
    return (total + (1 << 20) - 1) >> 20 << 20, min(max([sum(numbers), 1, *pinned]), 255)


def host_lines(options, fitted, iommu):
    """The section [host]: what the user says, and what the devices need."""
    pairs = [key_value(pair) for pair in options.host]
    pairs += [pair for pair in devices.host_keys(fitted, iommu) if pair[0] not in dict(pairs)]
    return ["[host]"] + [f"{key} = {value}" for key, value in pairs]


def for_guest(options, fitted=(), iommu="none"):
    """The payload for one guest, the options of tools/run, and devices."""
    files = {}
    keys = {"kernel": add_file(files, options.guest), "memory": options.mem,
            "cpus": str(options.cpus)}
    if options.cmdline:
        keys["cmdline"] = key_value("cmdline=" + options.cmdline)[1]
    many = []
    for module in options.module:
        path, _, string = module.partition("=")
        many.append(("module", f"{add_file(files, path)} {string}".strip()))
    for key, value in map(key_value, options.set):
        if key in MANY:
            many.append((key, value))
        else:
            keys[key] = value
    many += devices.config_keys(fitted)
    lines = host_lines(options, fitted, iommu)
    lines += [f"[vm {vm_name(options.guest)}]"]
    lines += [f"{key} = {value}" for key, value in [*keys.items(), *many]]
    memory, cpus = machine([memory_bytes(keys["memory"])], [keys["cpus"]], files,
                           [keys.get("pin", "")])
    return Payload("\n".join(lines) + "\n", memory, cpus, files, list(fitted), iommu)


def config_vms(text):
    """For each [vm] of a config its (key, value) pairs, as far as they can be read."""
    vms = []
    keys = []
    for line in text.splitlines():
        line = line.strip()
        if match := re.fullmatch(r"\[\s*(\w*).*\]", line):
            keys = []
            if match[1] == "vm":
                vms.append(keys)
        elif "=" in line and line[0] not in "#;":
            key, _, value = line.partition("=")
            keys.append((key.strip(), value.strip()))
    return vms


def for_config(path):
    """The payload for a config file; a file it names and that is missing is left to be refused."""
    text = Path(readable(path)).read_bytes().decode("utf-8", "surrogateescape")
    vms = config_vms(text)
    files = {}
    for key, value in (pair for keys in vms for pair in keys):
        if key in ("kernel", "module") and value:
            add_named(files, Path(path).parent / value.split()[0])
    memory = [memory_bytes(dict(keys).get("memory", MEMORY)) for keys in vms]
    cpus = [dict(keys).get("cpus", "1") for keys in vms]
    pins = [dict(keys).get("pin", "") for keys in vms]
    return Payload(text, *machine(memory, cpus, files, pins), files)


def for_image(path):
    """The payload for an image, which has all in it: a machine that one small VM fits into."""
    readable(path)
    return Payload("", *machine([memory_bytes(MEMORY)], ["1"], {}))


def add_named(files, path):
    """Adds PATH under its own name, which the config uses."""
    if not path.is_file():
        return
    path = path.absolute()
    if files.setdefault(path.name, str(path)) != str(path):
        raise Refusal(f"{files[path.name]} and {path} have the same name; rename one")
