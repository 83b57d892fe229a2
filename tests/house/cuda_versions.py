#!/usr/bin/env python3
"""Every kernel that has a CPU version has a CUDA version beside it, and a test that runs on every device."""
import pathlib
import re
import sys

from tree import files, report

# void f(const Stream&, ...) declared in a namespace; helpers of other types are a device's own.
KERNEL = re.compile(r"^void (\w+)\(const Stream&", re.M)
NAMESPACE = re.compile(r"^namespace (cpu|cuda) \{$", re.M)


def kernels_of(text):
    """{device: names} that a header declares."""
    names = {"cpu": set(), "cuda": set()}
    _, *parts = NAMESPACE.split(text)
    for device, body in zip(parts[::2], parts[1::2]):
        names[device].update(KERNEL.findall(body))
    return names


def problems(tree, tests):
    """The violations in {path: text}, and how many headers have kernels."""
    found, counted = [], 0
    for path, text in tree.items():
        names = kernels_of(text)
        if not path.endswith(".h") or not names["cpu"]:
            continue
        counted += 1
        for name in sorted(names["cpu"] - names["cuda"]):
            found.append(f"{path}: {name} is in namespace cpu and not in namespace cuda")
        for ending in ("_cpu.cpp", "_cuda.cu"):
            if path.removesuffix(".h") + ending not in tree:
                found.append(f"{path}: no {ending} beside it")
        test = f"tests/kernels/{pathlib.PurePath(path).stem}.cpp"
        if "streams()" not in tests.get(test, ""):
            found.append(f"{path}: {test} does not run it on all streams()")
    return found, counted


def self_test():
    header = "namespace cpu {\nvoid f(const Stream& s);\n}\nnamespace cuda {\nvoid f(const Stream& s);\n}\n"
    good = {"kernels/a/f.h": header, "kernels/a/f_cpu.cpp": "", "kernels/a/f_cuda.cu": ""}
    test = {"tests/kernels/f.cpp": "GENERATE(from_range(streams()))"}
    assert problems(good, test) == ([], 1)
    assert problems(good | {"kernels/a/f.h": header.replace("cuda", "gpu")}, test)[0]
    assert problems({path: good[path] for path in list(good)[:2]}, test)[0]
    assert problems(good, {})[0]


if __name__ == "__main__":
    self_test()
    found, counted = problems(files(["kernels"]), files(["tests/kernels"]))
    have = counted - len({line.split(":")[0] for line in found})
    print(f"{have} of {counted} kernels have a CUDA version, tested on every device")
    sys.exit(report(pathlib.Path(__file__).stem, found, counted))
