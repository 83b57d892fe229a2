#!/usr/bin/env python3
"""scripts/package.sh on a build of small programs by the names that it carries: what they need lies in lib/ and is found there,
wherever the tree is moved to; a tree that would not start, or is too large, is refused. (The real build takes minutes.)"""

import re
import shutil
import subprocess
import tempfile
from pathlib import Path

import harness

report = harness.Report()

PROJECT = """cmake_minimum_required(VERSION 3.25)
project(small C)
set(CMAKE_INSTALL_RPATH "$ORIGIN/../lib")
set(SPIKESINK_CUDA OFF CACHE STRING "")
set(SPIKESINK_OPENBLAS "/usr/lib/libopenblas.so" CACHE FILEPATH "")
foreach(name spikesink test_kernels test_models test_trainer reference_dump)
  add_executable(${name} main.c)
  target_link_libraries(${name} PRIVATE z)
  if(NOT name STREQUAL "spikesink")
    set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/tests)
  endif()
endforeach()
"""
MAIN = """#include <stdio.h>
#include <zlib.h>
int main(void) { printf("zlib %s\\n", zlibVersion()); }
"""


def package(*arguments):
    return subprocess.run(["bash", str(harness.ROOT / "scripts/package.sh"), *map(str, arguments)], capture_output=True, text=True,
                          timeout=300)  # fmt: skip


def library(program, name):
    """Where the loader finds a library."""
    found = re.search(rf"{name} => (\S+)", subprocess.run(["ldd", str(program)], capture_output=True, text=True).stdout)
    return Path(found[1]).resolve() if found else None


if not shutil.which("cmake") or not Path("/usr/include/zlib.h").exists():
    print("package_test.py: skipped: no cmake or zlib")
    raise SystemExit(77)
with tempfile.TemporaryDirectory() as temporary:
    home = Path(temporary).resolve()
    source = home / "source"
    source.mkdir()
    (source / "CMakeLists.txt").write_text(PROJECT)
    (source / "main.c").write_text(MAIN)

    def build(name, *options):
        subprocess.run(["cmake", "-G", "Ninja", "-S", source, "-B", home / name, *options], check=True, capture_output=True)
        return home / name

    good = build("good", "-DCMAKE_BUILD_WITH_INSTALL_RPATH=ON", "-DCMAKE_EXE_LINKER_FLAGS=-Wl,--disable-new-dtags")
    shard = home / "sample.jsonl"
    shard.write_text('{"text": "words"}\n')
    done = package("--build", good, "--out", home / "p.tar.zst", "--data", shard)
    report.check(done.returncode == 0, f"an archive: {done}")
    done = package("--build", good, "--out", home / "tree", "--data", shard)
    report.check(done.returncode == 0, f"a folder: {done}")
    moved = home / "elsewhere" / "moved"
    moved.parent.mkdir()
    (home / "tree").rename(moved)
    for name in ("bin/spikesink", "bin/test_kernels", "bin/test_models", "bin/test_trainer", "bin/reference_dump",
                 "scripts/gpu_check.sh", "scripts/gpu_check.py", "scripts/gpu_check_table.py", "scripts/wandb_follow.py",
                 "configs/benchmark/7b_t1024.yaml", "configs/llama/7b.yaml", "configs/cpu/tiny.yaml", "benchmarks/vs_pytorch.py",
                 "tests/reference/model.py", "tests/reference/compare_cuda.py", "tests/end_to_end/harness.py",
                 "data/sample.jsonl", "revision"):  # fmt: skip
        report.check((moved / name).is_file(), f"the tree has {name}")
    ran = subprocess.run([moved / "bin/spikesink"], capture_output=True, text=True)
    report.check(ran.stdout.startswith("zlib "), f"runs where it was moved to: {ran}")
    report.check(library(moved / "bin/spikesink", "libz.so.1") == moved / "lib/libz.so.1", "libz is the tree's own")
    report.check(not list((moved / "lib").glob("libc.so*")), "glibc is the node's")
    report.check(package("--build", good, "--out", moved).returncode == 0, "an older package is replaced")
    report.check(package("--build", good, "--out", source).returncode == 2 and (source / "main.c").exists(),
                 "a folder that is none is left alone")  # fmt: skip

    done = package("--build", good, "--out", home / "large.tar.zst", "--limit", 0)
    report.check(done.returncode == 0, f"no limit: {done}")
    heavy = home / "heavy"
    heavy.write_bytes(bytes(range(256)) * 8192)  # 2 MiB
    done = package("--build", good, "--out", home / "large", "--data", heavy, "--limit", 1)
    report.check(done.returncode == 1 and "--limit" in done.stderr, f"too large: {done}")
    done = package("--build", build("bare"), "--out", home / "bare.tar.zst")
    report.check(done.returncode == 1 and "not from lib/" in done.stderr and not (home / "bare.tar.zst").exists(),
                 f"programs that would take the node's libraries: {done}")  # fmt: skip
    for wrong in (["--what"], ["--out"], ["--limit", "x"], ["--data", home / "missing"]):
        report.check(package(*wrong).returncode == 2, f"refused: {wrong}")
report.end()
