#!/usr/bin/env python3
"""A CUDA build whose libraries are missing or too old: what does not need them runs as ever, what does says so in one line.
Other files by their names, first in LD_LIBRARY_PATH, hide the real ones. Needs SPIKESINK_CUDA, build/cuda/spikesink, and
tests/test_cuda and tests/dist_ranks beside it."""

import os
import re
import subprocess
import tempfile
from pathlib import Path

import harness

CUDA = Path(os.environ.get("SPIKESINK_CUDA", harness.ROOT / "build/cuda/spikesink"))
NAMES = [f"lib{name}.so.{major}" for name, majors in (("cublasLt", range(12, 15)), ("cudnn", range(8, 11))) for major in majors]
NAMES.append("libnccl.so.2")
report = harness.Report()


def with_libraries(folder):
    return dict(os.environ, LD_LIBRARY_PATH=str(folder))


def opening(folder):
    """Does it go well, and what is said."""
    done = subprocess.run([CUDA.parent / "tests/test_cuda", "CUDA's libraries are opened*"], env=with_libraries(folder),
                          capture_output=True, text=True, timeout=600)  # fmt: skip
    return done.returncode == 0, done.stdout


def nccl(folder):
    """What is said of NCCL, which only several ranks need."""
    done = subprocess.run([CUDA.parent / "tests/dist_ranks", "opens_nccl"], env=with_libraries(folder), capture_output=True,
                          text=True, timeout=600)  # fmt: skip
    report.check(done.returncode == (2 if done.stderr else 0) and done.stderr.count("\n") <= 1, f"NCCL: {done}")
    return done.stdout + done.stderr


def stand_ins(folder, code):
    """Libraries by the real ones' names."""
    folder.mkdir()
    for name in NAMES:
        subprocess.run(["cc", "-shared", "-o", folder / name, "-x", "c", "-"], input=code, text=True, check=True)
    return folder


with tempfile.TemporaryDirectory() as temporary:
    home = Path(temporary)
    linked = subprocess.run(["ldd", CUDA], capture_output=True, text=True, check=True).stdout
    report.check(not any(name in linked for name in ("cublas", "cudnn", "cudart")), f"not linked: {linked}")
    good, said = opening(home)
    has_cudnn = "a build without cuDNN" not in said
    report.check(good, f"the real ones: {said}")

    has_nccl = nccl(home) == "NCCL\n"
    report.check(has_nccl or "a build without NCCL" in nccl(home), nccl(home))

    hidden = home / "hidden"
    hidden.mkdir()
    for name in NAMES:
        (hidden / name).touch()
    env = with_libraries(hidden)
    corpus = harness.write_corpus(home / "data")
    train = ["train", harness.TINY, *harness.sets(
        data__train=f"[{corpus}]", data__holdout=0.05, run__dir=home, train__steps=1, train__schedule__warmup_steps=0,
        metrics__sequences=4)]  # fmt: skip
    for arguments in (["--help"], ["--version"], ["plan", harness.TINY], ["plan", harness.TINY, "--gpu", "h100"],
                      [*train, *harness.sets(system__device="cpu", run__name="cpu")]):  # fmt: skip
        done = harness.run(*arguments, program=CUDA, env=env, check=False)
        report.check(done.returncode == 0, f"needs none of them: {arguments}: {done}")
    done = harness.run(*train, *harness.sets(system__device="cuda", run__name="cuda"), program=CUDA, env=env, check=False)
    why = "cuBLASLt" if Path("/dev/nvidiactl").exists() else "no GPU"  # the GPU is asked for first
    report.check(done.returncode == 2 and done.stderr.count("\n") == 1 and why in done.stderr, f"on a GPU: {done}")
    report.check(not (home / "cuda").exists(), "nothing is written")

    good, said = opening(hidden)
    report.check(not good and re.search("^cuBLASLt .* is missing: .*system.device=cpu$", said, re.M), f"no cuBLASLt: {said}")
    report.check(not has_cudnn or "(not cuDNN: cuDNN 9 is missing: " in said, f"no cuDNN: {said}")
    report.check(not has_nccl or re.search("^spikesink: NCCL 2 is missing: .*start one process$", nccl(hidden)), nccl(hidden))
    old = stand_ins(home / "old", "#include <stddef.h>\n"
                    "size_t cublasLtGetVersion(void) { return 110501; }\nsize_t cudnnGetVersion(void) { return 90700; }\n"
                    "int ncclGetVersion(int* version) { *version = 21602; return 0; }\n")  # fmt: skip
    good, said = opening(old)
    report.check(not good and "is version 11.5.1, this build needs" in said, f"an old cuBLASLt: {said}")
    report.check(not has_cudnn or "is version 9.7.0, this build needs" in said, f"an old cuDNN: {said}")
    report.check(not has_nccl or "is version 2.16.2, this build needs 2.18.0 or newer" in nccl(old), nccl(old))
    good, said = opening(stand_ins(home / "bare", "int nothing;\n"))
    report.check(not good and "undefined symbol: cublasLtGetVersion" in said, f"another library by that name: {said}")
report.end()
