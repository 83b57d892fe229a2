#!/usr/bin/env python3
"""A disk without room for a checkpoint is seen before anything of it is written: the run says so, keeps the checkpoints that it has, tries again a
step later, and ends there with one line if there is still no room. A library answers for the disk."""

import os
import re
import tempfile
from pathlib import Path

import harness

LIBRARY = harness.LIBRARIES / "small_disk.so"
FAULTS = harness.LIBRARIES / "failing_calls.so"
EXACT = ("step", "tokens", "loss", "lr", "grad_norm", "samples")

report = harness.Report()


def losses(run):
    return [tuple(line[k] for k in EXACT) for line in harness.metrics(run) if "event" not in line]


def names(run):
    return sorted(path.name for path in (run / "checkpoints").iterdir())


with tempfile.TemporaryDirectory() as temporary:
    home = Path(temporary)
    corpus = harness.write_corpus(home / "data", documents=60)
    keys = harness.sets(
        data__train=f"[{corpus}]", data__holdout=0.1, data__lanes=3, run__dir=home, train__steps=9,
        train__schedule__warmup_steps=2, checkpoint__every_steps=3, checkpoint__keep=5, checkpoint__async="false", metrics__every_steps=1, metrics__sequences=2,
        **harness.SMALL)  # fmt: skip

    def train(name, *more, check=True, **faults):
        environment = os.environ | {"OMP_NUM_THREADS": "1"}
        if faults:
            calls = {"FAULTS_UNDER": str(home / name / "checkpoints"), "FAULTS_LOG": str(home / f"{name}.calls")}
            environment |= {"LD_PRELOAD": f"{LIBRARY}:{FAULTS}"} | calls | {f"SMALL_DISK_{k}": str(v) for k, v in faults.items()}
        return harness.run("train", harness.TINY, *keys, "--set", f"run.name={name}", *more, check=check, env=environment)

    # Not in the background, where the steps after it may be done before the writer has looked at the disk.
    train("whole")
    size = sum(path.stat().st_size for path in (home / "whole/checkpoints/step_00000009").iterdir())

    # The second checkpoint, of step 6, has no room; a step later there is some.
    train("short", FROM=2, COUNT=1, FREE=size - 1)
    log = (home / "short/log.txt").read_text()
    said = re.findall(r"a checkpoint was not written: (.*)", log)
    report.check(len(said) == 1 and str(home / "short/checkpoints") in said[0] and "free some space" in said[0], f"the log's line: {said}")
    tried = re.findall(r"checkpoint of step (\d+) \(", log)
    report.check(tried == ["3", "7", "9"], f"tried again a step later: {tried}")
    report.check("step_00000006" not in (home / "short.calls").read_text(), "nothing of the checkpoint is begun")
    report.check("latest step_00000003" in " ".join(names(home / "short")) and "step_00000006" not in names(home / "short"), f"checkpoints: {names(home / 'short')}")
    report.check(losses(home / "short") == losses(home / "whole"), "the run's losses")

    # No room from the second on: the run ends, keeps the first, and goes on from it when there is room.
    full = train("full", check=False, FROM=2, COUNT=1000, FREE=size - 1)
    report.check(full.returncode == 3 and full.stderr.count("\n") == 1 and "remove an older step_ folder" in full.stderr, f"exit {full.returncode}: {full.stderr}")
    report.check(names(home / "full") == ["latest", "step_00000003"], f"checkpoints that stay: {names(home / 'full')}")
    train("full", "--resume")
    report.check(losses(home / "full") == losses(home / "whole"), "losses after --resume")

    # No room for the last one, once: it is tried again before the run ends.
    train("last", FROM=3, COUNT=1, FREE=size - 1)
    tried = re.findall(r"checkpoint of step (\d+) \(", (home / "last/log.txt").read_text())
    report.check(tried == ["3", "6", "9"] and "latest" in names(home / "last") and "step_00000009" in names(home / "last"), f"the last: {tried}")

    # Room for a checkpoint and no more is enough.
    train("just", FROM=1, COUNT=1000, FREE=2 * size + (1 << 21))
    report.check("was not written" not in (home / "just/log.txt").read_text(), "a disk with room for two is large enough")
report.end()
