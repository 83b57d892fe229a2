#!/usr/bin/env python3
"""`sweep collect` of Table 5, run for a few steps: its figures are those of the runs' last probes, worked out here again;
a run that is damaged or not done is named, and the rest stays."""

import csv
import json
import statistics
import tempfile
from pathlib import Path

import harness

TABLE5 = harness.ROOT / "configs/sweeps/paper_cpu/table5.yaml"
ROWS = ["pre_norm", "sandwich", "sandwich_qk", "dynamic_tanh"]
PAPER = {"pre_norm": (10.1, 0.46, 3818), "sandwich": (9.8, 0.447, 520), "sandwich_qk": (10.0, 0.42, 92),
         "dynamic_tanh": (10.0, 0.61, 153)}  # fmt: skip
STEPS = 4
report = harness.Report()


def last_probe(folder, run):
    lines = (folder / "runs" / run / "metrics.jsonl").read_text().splitlines()
    return json.loads([line for line in lines if '"probe"' in line][-1])


def close(a, b):
    return abs(a - b) <= 1e-9 * max(1, abs(b))


def check_row(folder, row, seeds):
    """Against the mean and deviation of the probes, with Python's own statistics."""
    probes = [last_probe(folder, f"{row['name']}_seed{seed}") for seed in seeds]
    uniform = (sum(1 / t for t in range(1, 65)) - 1) / 63
    for probe in probes:
        probe["sink_excess"] = (probe["first_token_mass"] - uniform) / (1 - uniform)
    report.check([run["seed"] for run in row["runs"]] == seeds, f"{row['name']}: runs {row['runs']}, not {seeds}")
    for name, figure in row["figures"].items():
        values = [probe[name] for probe in probes]
        want = statistics.mean(values)
        report.check(close(figure["mean"], want), f"{row['name']} {name}: mean {figure['mean']}, not {want}")
        if len(seeds) > 1:
            want = statistics.stdev(values)
            report.check(close(figure["deviation"], want), f"{row['name']} {name}: {figure['deviation']}, not {want}")
    papers = tuple(row["figures"][name]["paper"] for name in ("perplexity", "sink_ratio", "spike_max"))
    report.check(papers == PAPER[row["name"]], f"{row['name']}: the paper's {papers}")


with tempfile.TemporaryDirectory() as temporary:
    home = Path(temporary)
    corpus = harness.write_corpus(home / "data")
    keys = harness.sets(
        dir=home, name="five", seeds="[1, 2]", data__train=f"[{corpus}]", data__holdout=0.05, data__tokenizer="bytes", model__d_model=32,
        model__n_layers=2, model__ffn__d_hidden=32, model__attention__n_heads=2, model__attention__d_head=16,
        train__steps=STEPS, train__schedule__warmup_steps=1, metrics__sequences=4)  # fmt: skip
    folder = home / "five"

    early = harness.run("sweep", "collect", TABLE5, *keys, check=False)
    report.check(early.returncode == 2 and "nothing to collect" in early.stderr, f"nothing was run: {early.stderr}")

    harness.run("sweep", "run", TABLE5, *keys)
    done = harness.run("sweep", "collect", TABLE5, *keys)
    tables = folder / "tables"
    table = json.loads((tables / "table.json").read_text())
    report.check([row["name"] for row in table["rows"]] == ROWS, f"rows {table['rows']}")
    report.check(table["notes"] == [], f"notes {table['notes']}")
    report.check(table["scale"]["tokens"] == STEPS * 512, f"scale {table['scale']}")
    for row in table["rows"]:
        check_row(folder, row, [1, 2])
    report.check((tables / "table.md").read_text() == done.stdout, "table.md is what was printed")
    report.check(done.stdout.count("3818") == 1 and "\u00b1" in done.stdout, f"printed: {done.stdout}")
    report.check("\\toprule" in (tables / "table.tex").read_text(), "table.tex")
    lines = list(csv.DictReader((tables / "table.csv").open(encoding="utf-8", newline="")))
    for line, row in zip(lines, table["rows"], strict=True):
        same = float(line["spike_max_mean"]) == row["figures"]["spike_max"]["mean"]
        report.check(line["row"] == row["name"] and same, f"csv: {line}")

    # One run is not done, one has no metrics, one has a line of rubbish; a table is made all the same.
    probes = folder / "runs/sandwich_seed1/metrics.jsonl"
    probes.write_text("".join(line + "\n" for line in probes.read_text().splitlines() if '"probe"' not in line))
    (folder / "runs/sandwich_qk_seed2/metrics.jsonl").unlink()
    with (folder / "runs/dynamic_tanh_seed2/metrics.jsonl").open("a") as file:
        file.write("rubbish\n")
    harness.run("sweep", "collect", TABLE5, *keys)
    table = json.loads((tables / "table.json").read_text())
    for row, seeds in zip(table["rows"], ([1, 2], [2], [1], [1, 2]), strict=True):
        check_row(folder, row, seeds)
    named = [note.split(":")[0] for note in table["notes"]]
    report.check(named == ["sandwich_seed1", "sandwich_qk_seed2", "dynamic_tanh_seed2"], f"notes {table['notes']}")

    # Another sweep's folder is left alone.
    other = home / "other.yaml"
    other.write_text(f"extends: {TABLE5}\n")
    refused = harness.run("sweep", "collect", other, *keys, check=False)
    report.check(refused.returncode == 2 and "belongs to" in refused.stderr, f"another sweep: {refused.stderr}")
report.end()
