#!/usr/bin/env python3
"""A stop signal to one of several ranks. A library holds a rank in a call of the phase, while the signal comes to one that works or to one
that waits, and while MPI starts: all ranks end together with 75 and one line (before the first step one each), and go on to the bits of an undisturbed run. A second SIGINT
ends one rank at once, and the others by it. That of the launcher, after an error, adds no line."""

import os
import signal
import subprocess
import tempfile

import harness
import ranks_home
from held import PATIENCE, Held, has_taken, held, variables
from ranks_home import MPIRUN, Home, children_of, ours, rank_pid, wait_for_end

STEPS = 6
EXACT = ("step", "tokens", "loss", "lr", "grad_norm", "samples")
report = harness.Report()
ranks_home.skip_without_mpi()

# One rank alone makes each of these calls: 1 that of WRITTEN, 0 the others.
BEFORE = Held("before the first step", "rename", "stopped/config.yaml")
STEP = Held("step", "write", "metrics.jsonl", 4)
PROBE = Held("probe", "rename", "probes/step_00000004.h5")
WRITTEN = Held("checkpoint being written", "pwrite", "step_00000002.unfinished/rank_0001.h5", 3)
IN_PLACE = Held("checkpoint being put in place", "rename", "checkpoints/step_00000002")
CASES = [  # where, ranks, their shards, the rank that is told, how
    (BEFORE, 3, "none", 1, [signal.SIGTERM]),
    (STEP, 2, "none", 1, [signal.SIGTERM]),
    (STEP, 3, "parameters", 0, [signal.SIGINT]),
    (PROBE, 3, "none", 2, [signal.SIGTERM]),
    (PROBE, 2, "parameters", 0, [signal.SIGINT]),
    (WRITTEN, 3, "parameters", 1, [signal.SIGTERM]),
    (WRITTEN, 2, "none", 0, [signal.SIGINT]),
    (IN_PLACE, 3, "none", 2, [signal.SIGINT]),
    (IN_PLACE, 2, "parameters", 1, [signal.SIGTERM]),
    (STEP, 3, "none", 1, [signal.SIGINT] * 2),
    (WRITTEN, 2, "parameters", 1, [signal.SIGINT] * 2),
]


def result(home, name):
    lines = harness.metrics(home.folder / name)
    probes = {path.name: path.read_bytes() for path in (home.folder / name / "probes").iterdir()}
    return [[line[key] for key in EXACT] for line in lines if "event" not in line], [line for line in lines if line.get("event") == "probe"], probes


def told_one_rank(home, keys, at, world, kind, rank, signals):
    what = f"{at.phase}, {world} ranks, {kind}, {len(signals)} {signals[0].name} to rank {rank}"
    whole = f"whole_{world}_{kind}"
    if not (home.folder / whole).exists():
        home.train(world, whole, system__shard=kind, **keys)
    name = "stopped"
    line = [*MPIRUN, "-np", str(world), *home.line(name, system__shard=kind, **keys)]
    with held(line, at, home.folder, report) as (launcher, mark):
        pid, pids = rank_pid(launcher, rank), children_of(launcher)
        for number in signals:
            os.kill(pid, number)
            has_taken(pid, number)
        if len(signals) == 1 and at is not BEFORE:  # else they end while it is held
            mark.unlink()
        try:
            out, err = launcher.communicate(timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            return report.check(False, f"{what}: does not end")
    if at is BEFORE:
        told = set(ours(err))
        report.check(launcher.returncode == 75, f"{what}: exit {launcher.returncode}: {out} {err}")
        report.check(len(told) == 1 and "before the first step" in min(told), f"{what}: one line: {err}")
    elif len(signals) == 1:
        report.check(launcher.returncode == 75, f"{what}: exit {launcher.returncode}: {out} {err}")
        report.check(len(ours(err)) == 1 and "stopped by a signal; go on with --resume" in err, f"{what}: one line: {err}")
        last = home.steps(name)[-1]["step"]
        kept = {path.name for path in (home.folder / name / "checkpoints").glob("step_*")}
        report.check(last < STEPS and f"step_{last:08d}" in kept, f"{what}: a checkpoint of step {last}: {kept}")
    else:
        ended = launcher.returncode == 128 + signal.SIGINT and f"rank {rank} " in err and "signal 2" in err  # as mpirun says it
        report.check(ended, f"{what}: exit {launcher.returncode}: {out} {err}")
    wait_for_end(pids, report)
    home.train(world, name, "--resume", system__shard=kind, **keys)
    report.check(result(home, name) == result(home, whole), f"{what}: not the losses, probes or probe files of an undisturbed run")
    subprocess.run(["rm", "-r", str(home.folder / name)], check=True)


def told_while_mpi_starts(home, keys, number):
    """Rank 1, which is about to open the memory that it shares with rank 0."""
    what = f"MPI's start, {number.name} to rank 1"
    at = Held(what, "open", ".1")  # /dev/shm/vader_segment.HOST. ... .RANK
    line = home.line("stopped", **keys)
    holding = ["env", *(f"{key}={value}" for key, value in variables(at, home.folder).items())]
    with held([*MPIRUN, "-np", "1", *line, ":", "-np", "1", *holding, *line], at, home.folder, report, one_rank=True) as (launcher, _):
        pid = rank_pid(launcher, 1)
        os.kill(pid, number)
        try:
            out, err = launcher.communicate(timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            return report.check(False, f"{what}: does not end")
    told = set(ours(err))
    report.check(launcher.returncode == 75, f"{what}: exit {launcher.returncode}: {out} {err}")
    report.check(len(told) == 1 and "before the first step" in min(told), f"{what}: one line: {err}")
    report.check(not (home.folder / "stopped").exists(), f"{what}: nothing is written")


def told_by_the_launcher(home):
    """Rank 1, which is still ending when rank 0 has ended with an error."""
    at = Held("the end after an error", "exit", "")
    line = harness.command("train", home.folder / "missing.yaml")
    holding = ["env", *(f"{key}={value}" for key, value in variables(at, home.folder).items())]
    mark, tries = home.folder / "held", 0
    while not mark.exists() and tries < 10:  # on a slow machine the launcher may kill it before it comes there
        done = subprocess.run([*MPIRUN, "-np", "1", *line, ":", "-np", "1", *holding, *line], capture_output=True, text=True, timeout=PATIENCE)
        report.check(done.returncode == 2, f"{at.phase}: exit {done.returncode}: {done.stderr}")
        report.check(len(ours(done.stderr)) == 1 and "missing.yaml" in ours(done.stderr)[0], f"{at.phase}: one line: {done.stderr}")
        tries += 1
    report.check(mark.exists(), f"{at.phase}: rank 1 comes to its exit")
    mark.unlink(missing_ok=True)


with tempfile.TemporaryDirectory() as temporary:
    home = Home(temporary, report)
    keys = dict(home.small, data__lanes=3, train__steps=STEPS, train__schedule__warmup_steps=2, checkpoint__every_steps=2,
                metrics__probe_every_steps=4)  # fmt: skip
    for number in (signal.SIGTERM, signal.SIGUSR1):
        told_while_mpi_starts(home, keys, number)
    told_by_the_launcher(home)
    for case in CASES:
        told_one_rank(home, keys, *case)
report.end()
