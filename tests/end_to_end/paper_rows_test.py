#!/usr/bin/env python3
"""Every row of configs/paper_cpu trains, and its loss falls; every row of configs/paper and configs/paper_60m resolves.

    paper_rows_test.py [--steps 12] [--data GLOB] [NAME...]      rows whose name has NAME; default: all
"""

import argparse
import json
import tempfile
from pathlib import Path

import harness

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--steps", type=int, default=12)
parser.add_argument("--data", help="shards to train on; default: a corpus made on the spot")
parser.add_argument("names", nargs="*")
options = parser.parse_args()
report = harness.Report()


def rows(folder):
    found = sorted((harness.ROOT / "configs" / folder).glob("*.yaml"))
    return [f for f in found if not options.names or any(name in f.stem for name in options.names)]


for folder in ("paper", "paper_60m", "paper_cpu"):
    names = [row.stem for row in rows(folder)]
    report.check(names == [row.stem for row in rows("paper")], f"{folder} has the rows of paper: {names}")
    if not options.names:
        report.check(len(names) == 41, f"{folder} has 41 rows, not {len(names)}")
    for row in rows(folder):
        plan = json.loads(harness.run("plan", row, "--json").stdout)
        report.check(plan["parameters"]["total"] > 0, f"plan of {row}")
baseline = json.loads(harness.run("plan", harness.ROOT / "configs/paper/baseline.yaml", "--json").stdout)
report.check(baseline["parameters"]["total"] == 6_738_415_616, f"parameters of the baseline: {baseline['parameters']}")

with tempfile.TemporaryDirectory() as temporary:
    home = Path(temporary)
    corpus = options.data or harness.write_corpus(home / "data", documents=600)
    for row in rows("paper_cpu"):
        keys = harness.sets(
            data__train=f"[{corpus}]", data__tokenizer="bytes", data__holdout=0.05, run__dir=home, run__name=row.stem, train__steps=options.steps,
            train__schedule__warmup_steps=options.steps // 4, metrics__every_steps=1, metrics__probe_every_steps=0,
            metrics__sequences=4, checkpoint__every_steps=10**6)  # fmt: skip
        harness.run("train", row, *keys)
        losses = [line["loss"] for line in harness.metrics(home / row.stem) if "event" not in line]
        first, last = losses[0], sum(losses[-3:]) / 3
        report.check(len(losses) == options.steps and last < 0.95 * first, f"{row.stem}: {first:.3f} to {last:.3f}")
        print(f"{row.stem:32} {first:.3f} -> {last:.3f}", flush=True)
report.end()
