#!/usr/bin/env python3
"""What files share is defined once, in all parts and tests: types, and inline functions of headers. Of two by one name the
linker takes either's code for both, and no compiler says so."""
import re
import sys

from tree import HEADERS, PARTS, SOURCES, files, report

OPENS = re.compile(r"(?:inline )?namespace ?([\w:]*) ?\{(?:  //.*)?$")
CLOSES = re.compile(r"\}  // namespace")
TYPE = re.compile(r"(?:template <(?!>).*> )?(?:struct|class|union|enum|enum class) (?:(?:alignas|__attribute__)\S+ )?"
                  r"(\w+)(?: final)?(?: ?:(?!:)[^;]*)?(?: \{.*|$)")
FUNCTION = re.compile(r"inline [^={]*?(\w+\(.*\))(?: const| noexcept)* \{")


def is_short(lines):
    """Of a namespace's lines: it has one statement, and so no comment at its end from the formatter."""
    end = next((number for number, line in enumerate(lines) if line.startswith("}")), len(lines))
    return lines[end : end + 1] == ["}"] and sum(not line.startswith(" ") for line in lines[:end]) == 1


def definitions(path, text):
    """[(name, line)] of what other files see, and the namespaces that are still open at the end."""
    found, inside = [], []
    lines = text.splitlines()
    for number, line in enumerate(lines, 1):
        if match := OPENS.match(line):
            inside += [] if is_short(lines[number:]) else [match.group(1)]
        elif CLOSES.match(line) and inside:
            inside.pop()
        elif "" not in inside:  # which is what an unnamed namespace is called
            match = TYPE.match(line) or (FUNCTION.match(line) if path.endswith(tuple(HEADERS)) else None)
            if match:
                found.append(("::".join([*inside, match.group(1)]), number))
    return found, inside


def problems(tree):
    places, found = {}, []
    for path, text in tree.items():
        names, left_open = definitions(path, text)
        if left_open:
            found.append(f"{path}: the end of namespace {left_open[-1]} is not marked by `}}  // namespace {left_open[-1]}`")
        for name, number in names:
            first = places.setdefault(name, (path, number))
            if first[0] != path:
                found.append(f"{path}:{number}: {name} is defined in {first[0]}:{first[1]} too: another name, or an unnamed namespace")
    return found


def self_test():
    def of(*lines, space="spikesink"):
        return "\n".join([f"namespace {space} {{", *lines, f"}}  // namespace {space}", ""])

    shared = of("struct A {", "};", "inline int f(int x) {")
    fine = {"io/a.h": shared,
            "io/a.cpp": of("namespace {", "struct A {", "};", "}  // namespace", "struct A::B {", "};", "template <> struct A<int> {", "};"),
            "io/b.h": of("struct A;", "inline int f(double x) {"), "tests/a.h": of("struct A : B {", "};", space="spikesink::test"),
            "io/c.h": "namespace YAML {\nclass Node;\n}\n" + of("enum C {", "};")}
    assert problems(fine) == [], problems(fine)
    for again, name in (("template <typename T> class A final : public B {", "A"), ("enum class A : int { kB };", "A"), ("struct alignas(8) A", "A"),
                        ("inline int f(int x) { return x; }", "f(int x)")):  # fmt: skip
        for before in ([], ["namespace YAML {", "class Node;", "}"]):
            found = problems({"io/a.h": shared, "data/a.h": "\n".join([*before, of(again)])})
            assert len(found) == 1 and f"spikesink::{name} is defined in io/a.h:" in found[0], (again, found)
    found = problems({"io/a.h": "namespace a {\nint b;\nint c;\n}\n"})
    assert len(found) == 1 and "end of namespace a" in found[0], found


if __name__ == "__main__":
    self_test()
    tree = {path: text for path, text in files([*PARTS, "tests"], SOURCES).items() if "/twins/" not in path}  # of which one is compiled
    sys.exit(report("one_definition", problems(tree), len(tree)))
