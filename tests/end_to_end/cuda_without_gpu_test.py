#!/usr/bin/env python3
"""A CUDA build on a machine without a GPU says so in one line, before it writes anything; on the CPU it trains as any
other. Needs SPIKESINK_CUDA, build/cuda/spikesink."""

import os
import sys
import tempfile
from pathlib import Path

import harness

CUDA = Path(os.environ.get("SPIKESINK_CUDA", harness.ROOT / "build/cuda/spikesink"))
report = harness.Report()
if Path("/dev/nvidiactl").exists():
    print("skipped: there is a GPU")
    sys.exit(77)
with tempfile.TemporaryDirectory() as temporary:
    home = Path(temporary)
    corpus = harness.write_corpus(home / "data")
    keys = harness.sets(
        data__train=f"[{corpus}]", data__holdout=0.05, run__dir=home, train__steps=3, train__schedule__warmup_steps=1,
        metrics__every_steps=1, metrics__sequences=4)  # fmt: skip
    for device in ("auto", "cuda"):
        done = harness.run("train", harness.TINY, *keys, "--set", f"system.device={device}", "--set", f"run.name={device}",
                           program=CUDA, check=False)  # fmt: skip
        good = done.returncode == 2 and done.stderr.count("\n") == 1 and "system.device=cpu" in done.stderr
        report.check(good, f"{device}: exit {done.returncode}: {done.stderr!r}")
        report.check(not (home / device / "config.yaml").exists(), f"{device}: nothing is written")
    for program, name in ((CUDA, "by_cuda"), (harness.PROGRAM, "by_cpu")):
        harness.run("train", harness.TINY, *keys, "--set", "system.device=cpu", "--set", f"run.name={name}", program=program)
    ours, plain = ([line["loss"] for line in harness.metrics(home / name) if "event" not in line] for name in ("by_cuda", "by_cpu"))
    report.check(ours == plain and len(ours) == 3, f"on the CPU the losses are those of the CPU's build: {ours}, {plain}")
report.end()
