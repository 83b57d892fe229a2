#!/usr/bin/env python3
"""Which of the project's __global__ functions a program has run, and fails if one is missing.

    kernels_run.py PROGRAM FILE      FILE: what PROGRAM left in the folder that SPIKESINK_EMULATION_KERNELS names
"""
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
BOUNDS = r"(?:__launch_bounds__\([^)]*\)\s+)?"
KERNEL = re.compile(r"__global__\s+" + BOUNDS + r"void\s+" + BOUNDS + r"(\w+)\(")
ONLY_ASKED_ABOUT = {"nothing_kernel"}  # by cudaFuncGetAttributes


def in_sources():
    """[(name, file)] of all kernels."""
    found = []
    for path in sorted((ROOT / "kernels").rglob("*.cu*")):
        names = KERNEL.findall(path.read_text())
        found += [(name, path.relative_to(ROOT)) for name in names if name not in ONLY_ASKED_ABOUT]
    return found


def that_ran(program, offsets):
    """{(name, file)} of the functions at these places in the program's file, by its line tables."""
    lines = subprocess.run(["addr2line", "-f", "-C", "-e", program], input="\n".join(offsets), capture_output=True,
                           text=True, check=True).stdout.splitlines()  # fmt: skip
    found = set()
    for function, place in zip(lines[::2], lines[1::2]):
        name = re.search(r"(\w+)(?:<.*>)?\(", function.replace("(anonymous namespace)", ""))
        file = re.search(r".*/(kernels/[^:]*):", place)
        if name and file:
            found.add((name.group(1), pathlib.Path(file.group(1))))
    return found


if len(sys.argv) != 3:
    sys.exit(__doc__)
program, file = sys.argv[1:]
wanted, ran = in_sources(), that_ran(program, sorted(set(pathlib.Path(file).read_text().split())))
missing = [(name, path) for name, path in wanted if (name, path) not in ran]
for name, path in missing:
    print(f"{path}: {name} was never run")
print(f"{len(wanted) - len(missing)} of {len(wanted)} CUDA kernels ran")
sys.exit(1 if missing or not wanted else 0)
