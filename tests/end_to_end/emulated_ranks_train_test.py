#!/usr/bin/env python3
"""Training on two ranks with an emulated GPU each against one process on the CPU: the same losses for every kind of shards, in f32,
and near ones in bf16. Needs two programs: SPIKESINK (build/cpu/spikesink) and SPIKESINK_EMULATED (build/emulated/spikesink)."""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import harness

EMULATED = Path(os.environ.get("SPIKESINK_EMULATED", harness.ROOT / "build/emulated/spikesink"))
MPIRUN = ["mpirun", "--allow-run-as-root", "--oversubscribe", "--bind-to", "none", "-np", "2"]
PATIENCE = 400

report = harness.Report()
started = subprocess.run([*MPIRUN, EMULATED, "--version"], capture_output=True, text=True) if shutil.which("mpirun") else None
if not started or "no MPI" in started.stderr:
    print("skipped: no mpirun, or a build without MPI")
    sys.exit(77)

with tempfile.TemporaryDirectory() as temporary:
    home = Path(temporary)
    data = harness.write_corpus(home / "data", documents=60)

    def losses(name, program, launcher, **keys):
        keys = dict(data__train=f"[{data}]", data__holdout=0.1, run__dir=home, run__name=name, model__d_model=32, model__n_layers=2,
                    model__context=16, model__attention__n_heads=2, model__attention__d_head=16, train__steps=4,
                    train__batch_tokens=16 * 5, train__micro_batch=2, train__schedule__warmup_steps=2, metrics__every_steps=1,
                    metrics__probe_every_steps=0, metrics__sequences=2, metrics__loggers="[jsonl]",
                    checkpoint__every_steps=1000000) | keys  # fmt: skip
        line = [*launcher, *harness.command("train", harness.TINY, *harness.sets(**keys), program=program)]
        emulation = {"SPIKESINK_EMULATION_DEVICES": "2", "ASAN_OPTIONS": "allocator_may_return_null=1:detect_leaks=0",
                     "OMP_NUM_THREADS": "1"}  # fmt: skip
        done = subprocess.run(line, capture_output=True, text=True, timeout=PATIENCE, env={**os.environ, **emulation})
        report.check(done.returncode == 0, f"{name}: {done}")
        if done.returncode:
            return []
        return [line["loss"] for line in harness.metrics(home / name) if "event" not in line]

    want = losses("cpu", harness.PROGRAM, [], system__precision="f32")

    def check(name, tolerance, **keys):
        got = losses(name, EMULATED, MPIRUN, system__device="cuda", **keys)
        worst = max([abs(a - b) / b for a, b in zip(got, want)], default=1)
        report.check(len(got) == len(want) and worst < tolerance, f"{name}: {got}, on the CPU {want}")

    for kind in ("none", "optimizer", "gradients", "parameters"):
        check(f"f32_{kind}", 1e-5, system__precision="f32", system__shard=kind)
    check("bf16", 1e-2, system__precision="bf16", system__state_precision="bf16", system__shard="parameters")
    check("bf16_sent", 1e-2, system__precision="bf16", system__reduce_precision="bf16")
report.end()
