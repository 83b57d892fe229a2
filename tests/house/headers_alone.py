#!/usr/bin/env python3
"""Every header compiles alone, with the flags of the build.

    headers_alone.py [BUILD_FOLDER]     default: build/cpu; needs its compile_commands.json
"""
import concurrent.futures
import json
import os
import pathlib
import re
import shlex
import subprocess
import sys
import tempfile

from tree import HEADERS, PARTS, ROOT, files, report


def flags_of(build):
    """{part: compiler and flags} from one source file of each part that has one."""
    commands = json.loads((build / "compile_commands.json").read_text())
    flags = {}
    for entry in commands:
        source = pathlib.Path(entry["file"])  # of the tree, or of the build where files are compiled together
        relative = os.path.relpath(source, build if source.is_relative_to(build) else ROOT)
        words = shlex.split(entry["command"])
        if "ccache" in words[0]:
            words = words[1:]
        keep, skip = [], False
        for word in words:
            if skip:
                skip = False
            elif word in ("-o", "-MF", "-MT", "-MQ"):
                skip = True
            elif word not in ("-c", "-MD", "-MMD", entry["file"]):
                keep.append(word)
        flags.setdefault(relative.split("/")[0], keep)
    return flags


def compile_alone(header, flags):
    """The compiler's first error, or nothing. -O0, as only the front end is asked."""
    flags = [flag for flag in flags if not re.fullmatch(r"-O\d|-g\d?", flag)]
    # An includer's view, so that the header is not the main file (#pragma once in a main file is a warning).
    source = f'#include "{header}"\n#include "{header}"\n'
    run = subprocess.run(flags + ["-O0", "-fsyntax-only", "-x", "c++", "-"], input=source, text=True,
                         stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, cwd=ROOT)
    if run.returncode == 0:
        return None
    lines = run.stderr.splitlines()
    return next((line for line in lines if "error" in line), "\n".join(lines[:3]))


def self_test(flags):
    """A header that leans on its includer's includes, one that misses its guard, and a clean one."""
    with tempfile.TemporaryDirectory() as folder:
        cases = {"leans.h": ("#pragma once\nstd::string name();\n", False),
                 "unguarded.h": ("struct Twice {};\n", False),
                 "clean.h": ("#pragma once\n#include <string>\nstd::string name();\n", True)}
        for name, (text, fine) in cases.items():
            path = pathlib.Path(folder) / name
            path.write_text(text)
            error = compile_alone(path, flags)
            assert (error is None) == fine, (name, error)


def main():
    build = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else ROOT / "build" / "cpu").resolve()
    if not (build / "compile_commands.json").exists():
        print(f"{build}/compile_commands.json: not there; run cmake --preset cpu first")
        return 1
    flags = flags_of(build)
    anywhere = next(iter(flags.values()))
    self_test(anywhere)
    headers = [header for header in files(PARTS, HEADERS) if not header.endswith(".cuh")]
    # The system headers make most of the work, so each header costs about a second whatever its length.
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        errors = list(pool.map(lambda h: compile_alone(h, flags.get(h.split("/")[0], anywhere)), headers))
    problems = [f"{header}: does not compile alone: {error}" for header, error in zip(headers, errors) if error]
    return report("headers_alone", problems, len(headers))


if __name__ == "__main__":
    sys.exit(main())
