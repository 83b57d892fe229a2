#!/usr/bin/env python3
"""Stop signals at every phase. A library holds the program in a call of the phase, so that a signal comes there and nowhere else.

Training before its first step ends at once, later after the step with a checkpoint, both with 75, also when SIGTERM comes again until it
has ended; a second SIGINT ends it at once;
then it goes on to the losses and probes of an undisturbed run. Commands that save nothing of their own end at once by the signal, and give the
same when they are run again."""

import os
import signal
import subprocess
import tempfile
import time
from pathlib import Path

import harness
from held import PATIENCE, Held, has_taken, held

STEPS = 6
EXACT = ("step", "tokens", "loss", "lr", "grad_norm", "samples")
AGAIN = "SIGTERM until it has ended"
SIGNALS = {"SIGTERM": [signal.SIGTERM], "SIGUSR1": [signal.SIGUSR1], "SIGHUP": [signal.SIGHUP], "SIGINT": [signal.SIGINT], "SIGINT twice": [signal.SIGINT] * 2}

report = harness.Report()


def end_of(process, what):
    try:
        out, err = process.communicate(timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        report.check(False, f"{what}: does not end")
        return "hangs", ""
    return process.returncode, err


def in_training(home, keys, whole, at, name, signals):
    what = f"train, {at.phase}, {name}"
    run = home / "stopped"
    line = harness.command("train", harness.TINY, *keys, "--set", "run.name=stopped")
    before_steps = at.phase.startswith("before")
    if at.phase.endswith("resume"):  # from a checkpoint
        with held(line, Held("step", "write", "metrics.jsonl", 4), home, report) as (process, mark):
            process.send_signal(signal.SIGTERM)
            has_taken(process.pid, signal.SIGTERM)
            mark.unlink()
            end_of(process, what)
    with held([*line, "--resume"], at, home, report) as (process, mark):
        for number in signals:
            process.send_signal(number)
            has_taken(process.pid, number)
        at_once = before_steps or len(signals) == 2
        if not at_once:
            mark.unlink()
        while name == AGAIN and process.poll() is None:
            process.send_signal(signal.SIGTERM)
            time.sleep(0.001)
        code, error = end_of(process, what)
    want = -signal.SIGINT if len(signals) == 2 and not before_steps else 0 if at.phase == "last checkpoint" else 75
    report.check(code == want, f"{what}: exit {code}, not {want}: {error}")
    report.check(error.count("\n") == (want == 75) and (want != 75 or "--resume" in error), f"{what}: a line on how to go on: {error!r}")
    if want == 75 and not before_steps:
        saved, last = os.readlink(run / "checkpoints/latest"), harness.metrics(run)[-1]["step"]
        report.check(saved == f"step_{last:08d}", f"{what}: the newest checkpoint is {saved}, the last step {last}")
    again = harness.run(*line[1:], "--resume", check=False)
    report.check(again.returncode == 0, f"{what}: run again: exit {again.returncode}: {again.stderr}")
    report.check(result(run) == whole, f"{what}: losses, probes or probe files are not those of an undisturbed run")
    subprocess.run(["rm", "-r", str(run)], check=True)


def measured_or_prepared(home, command, line, outcome, at):
    """`outcome`: what the command leaves and prints, given what it printed."""
    whole = outcome(harness.run(*line).stdout)
    for name, signals in SIGNALS.items():
        what = f"{command}, {at.phase}, {name}"
        subprocess.run(["rm", "-rf", str(home / "out")], check=True)
        with held(harness.command(*line), at, home, report) as (process, _):
            process.send_signal(signals[0])
            code, error = end_of(process, what)
        report.check(code == -signals[0], f"{what}: exit {code}, not by the signal: {error}")
        again = harness.run(*line, check=False)
        report.check(again.returncode == 0, f"{what}: run again: exit {again.returncode}: {again.stderr}")
        report.check(outcome(again.stdout) == whole, f"{what}: run again, it does not give the same")
    subprocess.run(["rm", "-rf", str(home / "out")], check=True)


def result(run):
    lines = harness.metrics(run)
    losses = [tuple(line[k] for k in EXACT) for line in lines if "event" not in line]
    return losses, [line for line in lines if line.get("event") == "probe"], {path.name: path.read_bytes() for path in (run / "probes").iterdir()}


def files(folder):
    """By name."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


TRAINING = [
    Held("before the first step, reading data", "open", "shard_00000000_processed.jsonl"),
    Held("before the first step, when the config is written", "rename", "stopped/config.yaml"),
    Held("before the first step of a resume", "open", "step_00000003/rank_0000.h5"),
    Held("first probe", "rename", "probes/step_00000000.h5"),
    Held("step", "write", "metrics.jsonl", 4),
    Held("probe", "rename", "probes/step_00000004.h5"),
    Held("checkpoint being written", "pwrite", "step_00000002.unfinished/rank_0000.h5", 3),
    Held("checkpoint being synced", "fsync", "step_00000002.unfinished/rank_0000.h5"),
    Held("checkpoint being put in place", "rename", "checkpoints/step_00000002"),
    Held("link to the checkpoint", "rename", "checkpoints/latest"),
    Held("last checkpoint", "rename", "checkpoints/step_00000006"),
]

with tempfile.TemporaryDirectory() as temporary:
    home = Path(temporary)
    corpus = harness.write_corpus(home / "data", documents=60)
    keys = harness.sets(
        data__train=f"[{corpus}]", data__holdout=0.1, data__lanes=3, run__dir=home, train__steps=STEPS, train__batch_tokens=256,
        train__schedule__warmup_steps=2, checkpoint__every_steps=2, metrics__every_steps=1, metrics__probe_every_steps=4, metrics__sequences=2,
        model__context=32, model__d_model=16, model__n_layers=1, model__attention__n_heads=1, model__attention__d_head=16)  # fmt: skip
    os.environ["OMP_NUM_THREADS"] = "1"
    harness.run("train", harness.TINY, *keys, "--set", "run.name=whole")
    whole = result(home / "whole")
    for at in TRAINING:
        for name, signals in (SIGNALS | {AGAIN: [signal.SIGTERM]}).items():
            in_training(home, keys, whole, at, name, signals)

    measured_or_prepared(home, "eval", ["eval", home / "whole", "--sequences", 2, "--json"], lambda out: out,
                         Held("reading the weights", "open", "step_00000006/rank_0000.h5"))  # fmt: skip
    analyze = ["analyze", home / "whole", "--sequences", 2, "--length", 16, "--only", "trajectory", "--only", "keys", "--out", home / "out"]
    prepare = ["prepare", corpus, "--tokenizer", "bytes", "--threads", 1, "--holdout", 0.1, "--out", home / "out"]
    for at in (Held("arrays being put in place", "rename", "analysis.h5"), Held("second analysis", "rename", "summary.json", 2)):
        measured_or_prepared(home, "analyze", analyze, lambda _: harness.analyses(home / "out"), at)
    for at in (Held("reading a shard", "open", "shard_00000001_processed.jsonl.gz"), Held("manifest", "rename", "manifest.json")):
        measured_or_prepared(home, "prepare", prepare, lambda _: files(home / "out"), at)
report.end()
