#!/usr/bin/env python3
"""Ranks that are processes, started by mpirun (tests/dist/ranks.cpp): they communicate as they must, and whatever happens to
one of them, all end with its exit code and one line that names it; none waits for ever."""

import os
import shutil
import subprocess
import sys

import harness

RANKS = harness.PROGRAM.parent / "tests/dist_ranks"
# As root, with more ranks than cores. A rank that says nothing is given up after 4 s; whatever takes this long hangs.
MPIRUN = ["mpirun", "--allow-run-as-root", "--oversubscribe", "--bind-to", "none"]
PATIENCE = 120

report = harness.Report()


def start(world, *line, environment=None, mpirun=()):
    return subprocess.run([*MPIRUN, *mpirun, "-np", str(world), *map(str, line)], capture_output=True, text=True,
                          timeout=PATIENCE, env={**os.environ, "OMP_NUM_THREADS": "1", **(environment or {})})  # fmt: skip


def ours(done):
    """What we said, without mpirun's own words."""
    return [line for line in done.stderr.splitlines() if line.startswith("spikesink: ")]


def ends(world, case, guilty, code, lines, **options):
    done = start(world, RANKS, case, guilty, **options)
    what = f"{case} of rank {guilty} of {world}: exit {done.returncode}, {done.stdout!r}, {done.stderr}"
    report.check(done.returncode == code, what)
    report.check(ours(done) == lines, what)
    return done


if not shutil.which("mpirun") or not RANKS.exists():
    print(f"skipped: no mpirun, or no {RANKS}")
    sys.exit(77)

# Alone, without a launcher and with one: MPI is not even started.
alone = subprocess.run([RANKS, "checks"], capture_output=True, text=True, timeout=PATIENCE)
report.check(alone.returncode == 0 and alone.stdout == "rank 0 of 1, 0 of 1 on its node\n", f"alone: {alone}")
for world in (1, 2, 3, 4):
    done = start(world, RANKS, "checks")
    want = f"rank 0 of {world}, 0 of {world} on its node\n"
    report.check(done.returncode == 0 and done.stdout == want and not ours(done), f"checks on {world}: {done}")
done = start(3, RANKS, "checks", mpirun=["--mca", "btl", "tcp,self"])
report.check(done.returncode == 0 and not ours(done), f"checks over TCP: {done}")
done = start(2, RANKS, "large")
report.check(done.returncode == 0 and not ours(done), f"parts of several messages: {done}")
for world in (1, 3):
    ends(world, "agree", world - 1, 0, [])
ends(3, "slow", 1, 0, [])

# Errors: each is said once, with its rank.
gone = "shard 7: gone"
for world, guilty in ((2, 1), (4, 2)):
    ends(world, "throws", guilty, 3, [f"spikesink: rank {guilty} of {world}: {gone}"])
ends(3, "throws", 0, 3, [f"spikesink: {gone}"])
ends(3, "throws_with_transfers", 1, 3, [f"spikesink: rank 1 of 3: {gone}"])
ends(3, "throws_with_transfers", 1, 3, [f"spikesink: rank 1 of 3: {gone}"], mpirun=["--mca", "btl", "tcp,self"])
ends(3, "throws_late", 1, 3, [f"spikesink: rank 1 of 3: {gone}"])
ends(3, "all_throw", 0, 2, ["spikesink: train.steps: none"])
ends(3, "preempted", 0, 75, ["spikesink: stopped by a signal"])

# Silence: the others name the one that is missing, rank 0 where it can.
after = "it is hanging; raise system.rank_timeout if only slow"
for guilty, teller in ((0, 1), (2, 0)):
    for case in ("hangs", "is_stopped"):
        line = f"spikesink: rank {teller} of 4: no news of rank {guilty} for 4 s in reduce_scatter; {after}"
        ends(4, case, guilty, 1, [line])
    line = f"spikesink: rank {teller} of 4: no news of rank {guilty} for 4 s at the end; {after}"
    ends(4, "hangs_at_the_end", guilty, 1, [line])

ends(3, "stops_before_another", 2, 1, [f"spikesink: rank 0 of 3: no news of rank 2 for 4 s in exchange; {after}"])
# An error, then a rank that does not end: the error comes first.
error, silent = "rank 1 of 3: shard 7: gone", "no news of rank {} for 4 s at the end; " + after
ends(3, "hangs_after_an_error", 2, 3, [f"spikesink: {error}", f"spikesink: rank 0 of 3: {silent.format(2)}"])
ends(3, "hangs_after_an_error", 0, 3, [f"spikesink: {error}; {silent.format(0)}"])

# SIGKILL: the launcher names the rank.
for guilty in (0, 2):
    done = ends(4, "dies", guilty, 137, [])
    report.check(f"rank {guilty} " in done.stderr and "signal 9" in done.stderr, f"killed rank {guilty}: {done.stderr}")

# The program itself.
done = start(3, harness.PROGRAM, "train", harness.ROOT / "missing.yaml")
report.check(done.returncode == 2 and len(ours(done)) == 1 and "missing.yaml" in done.stderr, f"a missing config: {done}")
done = start(2, harness.PROGRAM, "--version")
report.check(done.returncode == 0 and done.stdout.count("spikesink") == 1, f"--version: {done}")
done = start(2, harness.PROGRAM, "config")
report.check(done.returncode == 2 and len(ours(done)) == 1 and "one process" in done.stderr, f"config on two ranks: {done}")
for environment in ({"SLURM_STEP_NUM_TASKS": "3", "SLURM_PROCID": "0"}, {"OMPI_COMM_WORLD_SIZE": "x"}):
    done = harness.run("--version", check=False, env={**os.environ, **environment})
    report.check(done.returncode == 2 and done.stderr.count("\n") == 1, f"{environment}: {done}")
# A batch script's environment, in which a program is alone.
done = harness.run("--version", env={**os.environ, "SLURM_NTASKS": "3", "SLURM_PROCID": "0", "SLURM_JOB_ID": "1"})
report.check(done.stderr == "", f"in a batch script: {done}")
report.end()
