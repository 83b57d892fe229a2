#!/usr/bin/env python3
"""The CUDA build on a machine without a GPU: one line that says so and what to do, exit code 2, and nothing written."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import harness

PROGRAM = Path(os.environ.get("SPIKESINK_CUDA", harness.ROOT / "build/cuda/spikesink"))
if not PROGRAM.exists():
    print(f"skipped: no CUDA build at {PROGRAM}")
    sys.exit(77)
if any(Path("/dev").glob("nvidia[0-9]*")):
    print("skipped: there is a GPU")
    sys.exit(77)

report = harness.Report()
with tempfile.TemporaryDirectory() as temporary:
    home = Path(temporary)
    corpus = harness.write_corpus(home / "data")
    keys = harness.sets(data__train=f"[{corpus}]", data__holdout=0.05, run__dir=home / "runs", train__steps=2,
                        metrics__sequences=4)  # fmt: skip

    def run(*more):
        line = [PROGRAM, "train", harness.TINY, *keys, *more]
        return subprocess.run([str(word) for word in line], capture_output=True, text=True, timeout=120)

    done = run()
    report.check(done.returncode == 2, f"without a GPU the exit code is 2, not {done.returncode}: {done.stderr}")
    lines = done.stderr.strip().splitlines()
    report.check(len(lines) == 1 and "no GPU" in lines[0] and "system.device=cpu" in lines[0],
                 f"one line names the reason and the mend: {done.stderr}")  # fmt: skip
    report.check(not (home / "runs").exists(), "nothing was written")
    done = run("--set", "system.device=cpu", "--set", "train.schedule.warmup_steps=1")
    report.check(done.returncode == 0, f"with system.device=cpu it trains: {done.stderr}")
report.end()
