#!/usr/bin/env python3
"""A type that files share is defined once. Of two by one name the linker takes either's inline functions for both, and no
compiler says so."""
import re
import sys

from tree import PARTS, SOURCES, files, report

OPENS = re.compile(r"(?:inline )?namespace ?([\w:]*) ?\{")
CLOSES = re.compile(r"\}  // namespace")
TYPE = re.compile(r"(?:template <(?!>).*> )?(?:struct|class|union|enum class) (\w+)(?: final)?(?: ?:(?!:)[^;]*)? \{")


def problems(tree):
    places, found = {}, []
    for path, text in tree.items():
        inside = []
        for number, line in enumerate(text.splitlines(), 1):
            if match := OPENS.match(line):
                inside.append(match.group(1))
            elif CLOSES.match(line) and inside:
                inside.pop()
            elif (match := TYPE.match(line)) and "" not in inside:  # which is what an unnamed namespace is called
                places.setdefault("::".join([*inside, match.group(1)]), []).append(f"{path}:{number}")
    for name, where in places.items():
        if len({place.rsplit(":", 1)[0] for place in where}) > 1:
            found.append(f"{where[1]}: {name} is defined in {where[0]} too: another name, or an unnamed namespace")
    return found


def self_test():
    shared = "namespace spikesink {\nstruct A {\n};\n}  // namespace spikesink\n"
    own = "namespace spikesink {\nnamespace {\nstruct A {\n};\n}  // namespace\nstruct A::B {\n};\ntemplate <> struct A<int> {\n};\n}  // namespace spikesink\n"
    other = "namespace spikesink::test {\nstruct A : B {\n};\n}  // namespace spikesink::test\n"
    assert problems({"io/a.h": shared, "io/a.cpp": own, "tests/a.h": other}) == []
    again = "namespace spikesink {\ntemplate <typename T> class A final : public B {\n};\n}  // namespace spikesink\n"
    found = problems({"io/a.h": shared, "data/a.h": again})
    assert len(found) == 1 and "spikesink::A is defined in io/a.h:2" in found[0], found


if __name__ == "__main__":
    self_test()
    tree = {path: text for path, text in files([*PARTS, "tests"], SOURCES).items() if "/twins/" not in path}  # of which one is compiled
    sys.exit(report("one_definition", problems(tree), len(tree)))
