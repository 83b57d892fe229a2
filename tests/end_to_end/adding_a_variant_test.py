#!/usr/bin/env python3
"""docs/adding-a-variant.md is true: its changes, applied to a copy of the model's sources, build, and the new gate passes
the gradient checks of the whole product of variants. The page promises under 40 lines."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BUILD = Path(os.environ.get("SPIKESINK", ROOT / "build/cpu/spikesink")).parent.resolve()
COPY = BUILD / "adding-a-variant"


def hunks(page):
    """(file, lines as they are, lines as they shall be, number added) of every hunk in the page's diffs."""
    for block in re.findall(r"^```diff\n(.*?)^```", page, re.S | re.M):
        for file, body in re.findall(r"^--- a/(\S+)\n\+\+\+ b/\S+\n((?:(?!--- a/).*\n)*)", block, re.M):
            for hunk in body.split("@@\n")[1:]:
                lines = hunk.splitlines()
                old = "\n".join(line[1:] for line in lines if line[:1] != "+")
                new = "\n".join(line[1:] for line in lines if line[:1] != "-")
                yield file, old, new, sum(line[:1] == "+" for line in lines)


def apply(page):
    added = 0
    for file, old, new, count in hunks(page):
        path = COPY / file
        text = path.read_text()
        if text.count(old) != 1:
            sys.exit(f"docs/adding-a-variant.md: its lines stand {text.count(old)} times in {file}, expected once:\n{old}")
        path.write_text(text.replace(old, new))
        added += count
    return added


def commands(target):
    """The build's own commands for a target, as lists of words."""
    out = subprocess.run(["ninja", "-C", BUILD, "-t", "commands", target], capture_output=True, text=True, check=True)
    return out.stdout.splitlines()


def members(source):
    """Of a file that the build makes to compile others together, those; of any other, itself."""
    is_made = source.is_relative_to(BUILD)
    return [Path(path).resolve() for path in re.findall(r'#include "(.+)"', source.read_text())] if is_made else [source]


def run(command):
    done = subprocess.run(command, shell=True, cwd=BUILD, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{command}\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}")
    return done.stdout


def main():
    shutil.rmtree(COPY, ignore_errors=True)
    shutil.copytree(ROOT / "models", COPY / "models")
    (COPY / "tests").mkdir()
    shutil.copytree(ROOT / "tests/models", COPY / "tests/models")
    added = apply((ROOT / "docs/adding-a-variant.md").read_text())
    if not 0 < added < 40:
        sys.exit(f"docs/adding-a-variant.md adds {added} lines, expected fewer than 40")

    lines = commands("test_models")
    compile_lines, objects = [], []
    for line in lines:
        source = re.search(r"-c (\S+)$", line)
        if not source:
            continue
        for inside in (file.relative_to(ROOT) for file in members((BUILD / source[1]).resolve())):
            if inside.parts[0] == "models" or inside == Path("tests/models/variants.cpp"):
                objects.append(COPY / f"{inside}.o")
                own = re.sub(r"-o \S+ -c \S+$", f"-o {objects[-1]} -c {COPY / inside}", line)
                own = re.sub(r" -MD -MT \S+ -MF \S+", "", own)
                compile_lines.append(own.replace(f"-I{ROOT}", f"-I{COPY} -I{ROOT}", 1))
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(run, compile_lines))

    link = re.search(r"&& (\S*c\+\+ .*?) && :", next(line for line in reversed(lines) if "-o tests/test_models" in line))[1]
    words = [w for w in shlex.split(link) if w != "models/libspikesink_models.a" and "test_models.dir" not in w]
    program = COPY / "test_variants"
    words[words.index("tests/test_models")] = str(program)
    words[1:1] = map(str, objects)
    run(shlex.join(words))
    text = run(f"{program} [variants]")
    if "All tests passed" not in text:
        sys.exit(text)
    print(f"{added} lines added; {text.strip().splitlines()[-1]}")


main()
