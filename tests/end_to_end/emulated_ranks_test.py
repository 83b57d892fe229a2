#!/usr/bin/env python3
"""Ranks with a GPU each, as processes on emulated ones (tests/dist/ranks.cpp): what they communicate is right in several
orders of what streams leave open, and whatever happens to one of them ends all. Needs SPIKESINK_EMULATED,
build/emulated/spikesink, and tests/dist_ranks beside it."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import harness

RANKS = Path(os.environ.get("SPIKESINK_EMULATED", harness.ROOT / "build/emulated/spikesink")).parent / "tests/dist_ranks"
MPIRUN = ["mpirun", "--allow-run-as-root", "--oversubscribe", "--bind-to", "none"]
PATIENCE = 240

report = harness.Report()


def ends(world, case, guilty, code, lines, seed=0, gpus=None):
    """What MPI keeps to the end is no leak of ours."""
    emulation = {"SPIKESINK_EMULATION_DEVICES": str(gpus or world), "SPIKESINK_EMULATION_SEED": str(seed),
                 "ASAN_OPTIONS": "allocator_may_return_null=1:detect_leaks=0", "OMP_NUM_THREADS": "1"}  # fmt: skip
    done = subprocess.run([*MPIRUN, "-np", str(world), RANKS, case, str(guilty), "cuda"], capture_output=True, text=True,
                          timeout=PATIENCE, env={**os.environ, **emulation})  # fmt: skip
    said = [line.removeprefix("spikesink: ") for line in done.stderr.splitlines() if line.startswith("spikesink: ")]
    report.check(done.returncode == code and said == lines, f"{case} of rank {guilty} of {world}, seed {seed}: {done}")


if not shutil.which("mpirun") or not RANKS.exists():
    print(f"skipped: no mpirun, or no {RANKS}")
    sys.exit(77)

# Missing events and memory that is let go of too early give wrong numbers or AddressSanitizer's word.
ends(1, "checks", 0, 0, [])
for seed in range(3):
    ends(2, "checks", 0, 0, [], seed=seed)
ends(3, "checks", 0, 0, [])

gone = "shard 7: gone"
ends(3, "throws", 0, 3, [gone])
ends(3, "throws", 1, 3, [f"rank 1 of 3: {gone}"])
ends(3, "throws_with_transfers", 1, 3, [f"rank 1 of 3: {gone}"])
ends(2, "preempted", 0, 75, ["stopped by a signal"])
ends(2, "slow", 1, 0, [])
after = "it is hanging; raise system.rank_timeout if only slow"
ends(3, "hangs", 2, 1, [f"rank 0 of 3: no news of rank 2 for 4 s in reduce_scatter; {after}"])
ends(3, "hangs_at_the_end", 1, 1, [f"rank 0 of 3: no news of rank 1 for 4 s at the end; {after}"])

for gpus, seen in ((1, "3 ranks see 1 GPU"), (2, "3 ranks see 2 GPUs")):
    pair = f"rank 0 and rank {gpus}"
    ends(3, "checks", 0, 2, [f"system.device: cuda, but {pair} would share a GPU: of their node {seen}; start at most as many "
                             "ranks on a node as it has GPUs"], gpus=gpus)  # fmt: skip
report.end()
