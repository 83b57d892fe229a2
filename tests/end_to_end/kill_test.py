#!/usr/bin/env python3
"""A run killed with SIGKILL at random moments and resumed each time gives, to the last bit, what an undisturbed one does;
SIGTERM ends a run after a checkpoint with exit code 75.

SPIKESINK_KILLS: how many, 50 if it is not set. SPIKESINK_KILL_SEED: the seed that a test before has printed."""

import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import harness

KILLS = int(os.environ.get("SPIKESINK_KILLS", "50"))
SEED = int(os.environ.get("SPIKESINK_KILL_SEED", "0")) or random.SystemRandom().randrange(1, 1 << 31)
# What a step's line says of the training itself, not of the machine.
EXACT = ("step", "tokens", "loss", "lr", "grad_norm")

report = harness.Report()
rng = random.Random(SEED)


def losses(folder):
    return [tuple(line[k] for k in EXACT) for line in harness.metrics(folder) if "event" not in line]


def probes(folder):
    return [line for line in harness.metrics(folder) if line.get("event") == "probe"]


def has_stepped(folder):
    return (folder / "metrics.jsonl").exists() and '"loss"' in (folder / "metrics.jsonl").read_text()


def last_step(folder):
    """That was logged; of a line that a kill cut off the rest is not there."""
    path = folder / "metrics.jsonl"
    return max(map(int, re.findall(r'^{"step":(\d+),"tokens"', path.read_text() if path.exists() else "", re.M)), default=0)


with tempfile.TemporaryDirectory() as temporary:
    home = Path(temporary)
    corpus = harness.write_corpus(home / "data")
    steps = 150
    keys = harness.sets(
        data__train=f"[{corpus}]", data__holdout=0.05, data__lanes=5, run__dir=home, train__steps=steps,
        model__d_model=64, model__attention__n_heads=2, model__attention__d_head=32, model__n_layers=2,
        train__schedule__warmup_steps=10, metrics__every_steps=1, metrics__probe_every_steps=20, metrics__sequences=10,
        checkpoint__every_steps=3)  # fmt: skip
    whole, killed = home / "whole", home / "killed"
    begin = time.monotonic()
    undisturbed = subprocess.Popen(harness.command("train", harness.TINY, *keys, "--set", "run.name=whole"), stdout=subprocess.DEVNULL)
    while undisturbed.poll() is None and not has_stepped(whole):
        time.sleep(0.002)
    start = time.monotonic() - begin
    report.check(undisturbed.wait() == 0, "the undisturbed run")
    stepping = time.monotonic() - begin - start

    # A third of the kills come while the program starts or resumes, the others after some steps of its own, of which checkpoints
    # hold some: few enough that the run outlives them all.
    print(f"seed {SEED}: {KILLS} kills", flush=True)
    said = home / "said"
    resume = harness.command("train", harness.TINY, *keys, "--set", "run.name=killed", "--resume")
    kills, ended, at = 0, 0, []
    while kills < KILLS:
        with said.open("w") as out:
            process = subprocess.Popen(resume, stdout=out, stderr=subprocess.STDOUT)
        if rng.random() < 1 / 3:
            time.sleep(rng.uniform(0, start))
        else:
            own_steps = rng.randint(1, 8)
            while process.poll() is None and said.read_text().count("\nstep ") < own_steps:
                time.sleep(0.002)
            time.sleep(rng.uniform(0, 2 * stepping / steps))
        process.send_signal(signal.SIGKILL)
        if process.wait() not in (0, -signal.SIGKILL):
            sys.exit(f"exit {process.returncode} after {kills} kills\n{said.read_text()}")
        kills += process.returncode != 0
        at.append(last_step(killed))
        if process.returncode == 0:  # done before its last kill: all is there, so start over with what is left
            report.check(losses(killed) == losses(whole), f"losses after {kills} kills")
            subprocess.run(["rm", "-rf", str(killed)], check=True)
            ended += 1
    harness.run(*resume[1:])
    print(f"steps that were logged when the kills came: {' '.join(map(str, at))}; {ended} runs ended between")

    same = losses(killed) == losses(whole)
    report.check(len(losses(whole)) == steps, "the undisturbed run has every step once")
    report.check(same, f"losses after {kills} kills ({ended} runs ended between)")
    report.check(probes(killed) == probes(whole), "probes after the kills")
    names = sorted(p.name for p in (whole / "probes").iterdir())
    report.check(sorted(p.name for p in (killed / "probes").iterdir()) == names, "probe files after the kills")
    for name in names:
        same = (whole / "probes" / name).read_bytes() == (killed / "probes" / name).read_bytes()
        report.check(same, f"probe file {name} has the same bytes")
    events = {p.name for p in (killed / "checkpoints").iterdir()}
    report.check(not any("unfinished" in name for name in events), f"no unfinished checkpoint stays: {events}")

    # Stops at random moments of the first steps, each of which the run survives: a signal's frame must not meet the data
    # that generated kernels keep below the stack pointer.
    for number in range(12):
        folder = home / f"stop{number}"
        process = subprocess.Popen(harness.command("train", harness.TINY, *keys, "--set", f"run.name=stop{number}", "--set", "train.steps=2000"),
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)  # fmt: skip
        while process.poll() is None and not has_stepped(folder):
            time.sleep(0.002)
        time.sleep(rng.uniform(0, 0.02))
        process.send_signal(rng.choice([signal.SIGTERM, signal.SIGINT, signal.SIGHUP]))
        error = process.communicate(timeout=120)[1]
        report.check(process.returncode == 75, f"stop {number}: exit code {process.returncode}: {error}")

    # SIGTERM: the step is finished, a checkpoint saved, and the run goes on to the same end. The probe due at that step, here
    # at every one, is measured after the resume.
    stopped = home / "stopped"
    keys += harness.sets(run__name="stopped", metrics__probe_every_steps=1)
    process = subprocess.Popen(harness.command("train", harness.TINY, *keys),
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)  # fmt: skip
    while not has_stepped(stopped):
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    output, error = process.communicate(timeout=120)
    report.check(process.returncode == 75, f"SIGTERM gives exit code 75, not {process.returncode}: {error}")
    report.check(error.count("\n") == 1 and "--resume" in error, f"one line says how to go on: {error}")
    probed = [line["step"] for line in probes(stopped)]
    # Killed behind that probe, and before a checkpoint holds that it was measured.
    held = keys + harness.sets(checkpoint__every_steps=steps)
    process = subprocess.Popen(harness.command("train", harness.TINY, *held, "--resume"), stdout=subprocess.DEVNULL)
    while process.poll() is None and last_step(stopped) <= len(probed):
        time.sleep(0.002)
    process.kill()
    report.check(process.wait() == -signal.SIGKILL, "killed behind a probe that was owed")
    report.check(len(probed) in [line["step"] for line in probes(stopped)], "which was measured")
    harness.run("train", harness.TINY, *keys, "--resume")
    report.check(losses(stopped) == losses(whole), "losses after SIGTERM and --resume")
    report.check(probed == list(range(len(probed))) and len(probed) <= steps, f"probes before SIGTERM: {probed}")
    report.check([line["step"] for line in probes(stopped)] == list(range(steps + 1)), "a probe of every step after --resume")
    tags = b"".join(path.read_bytes() for path in (stopped / "tensorboard").iterdir()).count(b"probe/perplexity\x15")
    report.check(tags == steps + 1, f"TensorBoard has each probe once: {tags}")
    again = {line["step"]: line for line in probes(stopped)}
    report.check(all(again[line["step"]] == line for line in probes(whole)), "probes after SIGTERM and --resume")
report.end()
