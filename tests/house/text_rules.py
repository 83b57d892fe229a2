#!/usr/bin/env python3
"""Rules that can be read off the text: length, ASCII, no trace of one machine, nothing left unfinished."""
import re
import sys

from tree import PARTS, ROOT, SOURCES, files, report

MAX_LINES = 500
FOLDERS = PARTS + ["tests", "scripts", "benchmarks", "cmake", "docs"]
SUFFIXES = SOURCES | {".py", ".sh", ".cmake", ".txt", ".md", ".yaml"}
CODE = SOURCES | {".py", ".sh"}
# A path below a home or work folder, or a package mirror, is right on one machine only. Written in pieces, since this file is read too.
MACHINE = re.compile(r"(?<![\w.])/(?:wo" r"rk|fa" r"rm|ro" r"ot|ho" r"me|Us" r"ers)/\w|deb\.deb" r"ian\.org|py" r"pi\.org|pythonhos" r"ted")
UNFINISHED = re.compile(r"\b(?:TO" r"DO|FIX" r"ME|XX" r"X)\b|not yet impl" r"emented")


def problems(tree):
    found = []
    for path, text in tree.items():
        suffix = "." + path.rsplit(".", 1)[-1]
        lines = text.splitlines()
        if suffix in CODE and len(lines) > MAX_LINES:
            found.append(f"{path}: {len(lines)} lines, more than {MAX_LINES}: say one thing a file")
        if text and not text.endswith("\n"):
            found.append(f"{path}: no newline at the end")
        for number, line in enumerate(lines, 1):
            if suffix in CODE and not line.isascii():
                found.append(f"{path}:{number}: not ASCII: {line.strip()[:60]!a}")
            if MACHINE.search(line):
                found.append(f"{path}:{number}: names a place of one machine: {line.strip()[:60]}")
            if UNFINISHED.search(line):
                found.append(f"{path}:{number}: sounds unfinished: {line.strip()[:60]}")
    return found


def self_test():
    assert problems({"io/a.h": "int a;  // see ../shared/data, /usr/include, docs/work/notes\n", "docs/a.md": "caf\u00e9\n"}) == []
    bad = [("io/a.h", "int a;\n" * (MAX_LINES + 1), "lines, more than"),
           ("io/a.h", "int a;", "no newline"),
           ("io/a.cpp", "// caf\u00e9\n", "not ASCII"),
           ("tests/io/a.py", "open('/wo" "rk/main/x')\n", "one machine"),
           ("io/a.cpp", "// TO" "DO: more\n", "unfinished")]
    for path, text, message in bad:
        found = problems({path: text})
        assert len(found) == 1 and message in found[0], (path, found)


if __name__ == "__main__":
    self_test()
    tree = files(FOLDERS, SUFFIXES)
    for name in ["README.md", "CMakeLists.txt"]:
        tree[name] = (ROOT / name).read_text(encoding="utf-8")
    sys.exit(report("text_rules", problems(tree), len(tree)))
