#!/usr/bin/env python3
"""Measures all of the data path and records it: benchmarks/results/data_cpu.json.

    benchmarks/data_cpu.py --data 'SHARDS' --tokenizer FILE [--tokenizer FILE] [--rounds 5] [--out FILE]

In each round, one after another: reading, tokenising and streaming of the shards with each tokenizer; a store that is made of
them, at two contexts; stores of 10^7 and 10^11 tokens that are all hole; one of 28,000 files; `spikesink prepare` on one thread. Then
benchmarks/data_vs_peers.py for each tokenizer. Recorded are medians, and of the rates a core the smallest and largest.
"""

import argparse
import datetime
import glob
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from data_vs_peers import cpu_name

ROOT = Path(__file__).resolve().parents[1]
SPIKESINK = os.environ.get("SPIKESINK", str(ROOT / "build/cpu/spikesink"))


def run(*line):
    """What a command printed, and the seconds of CPU time that it took."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    text = subprocess.run([SPIKESINK, *map(str, line)], capture_output=True, text=True, check=True).stdout
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return text, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def bench(*line):
    return [json.loads(text) for text in run("bench", "data", "--json", *line)[0].splitlines()]


def median_row(rows, what):
    middle = {key: statistics.median(row[key] for row in rows) for key, value in rows[0].items() if isinstance(value, (int, float))}
    rates = [row["rate_a_core"] for row in rows]
    kept = {key: round(value, 3) if value < 10 else round(value) for key, value in middle.items() if key not in ("amount", "seconds", "cpu_seconds")}
    return {"bench": rows[0]["bench"], **what, "unit": rows[0]["unit"], "rounds": len(rows), **kept,
            "rate_a_core_min_max": [round(min(rates)), round(max(rates))], **({"limit_of": rows[0]["limit_of"]} if "limit_of" in rows[0] else {})}  # fmt: skip


def one_round(args, home, found):
    def add(rows, **what):
        for row in rows:
            found.setdefault((row["bench"], *what.values()), (what, []))[1].append(row)

    for tokenizer in args.tokenizer:
        name, store = Path(tokenizer).name, home / "store"
        parts = ["--only", "tokenise", "--only", "stream"]
        add(bench("--data", args.data, "--tokenizer", tokenizer, *parts, "--seconds", args.seconds), data="shards", tokenizer=name)
        began = time.monotonic()
        _, seconds = run("prepare", *sorted(glob.glob(args.data)), "--tokenizer", tokenizer, "--out", store, "--threads", 1)
        manifest = json.loads((store / "manifest.json").read_text())
        add([{"bench": "prepare", "unit": "tokens", "threads": 1, "rate_a_core": tokens_of(manifest) / seconds,
              "rate": tokens_of(manifest) / (time.monotonic() - began)}], data="shards", tokenizer=name)  # fmt: skip
        if tokenizer == args.tokenizer[-1]:
            add(bench("--data", args.data, "--only", "read", "--seconds", args.seconds), data="shards")
            for context in (2048, 4096):
                add(bench("--tokenizer", tokenizer, "--store", store, "--only", "store", "--context", context), data=f"store of the shards, context {context}")
        subprocess.run(["rm", "-r", store], check=True)
    for tokens in (10**7, 10**11):
        add(bench("--only", "store", "--synthetic", tokens), data=f"store of {tokens:.0e} tokens, all hole")
    add(bench("--only", "files"), data="store of 28,000 files")


def tokens_of(manifest):
    return sum(part["tokens"] for file in manifest["files"] for part in (file["train"], file["held_out"]))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="shards, a glob")
    parser.add_argument("--tokenizer", required=True, action="append", help="FILE.model or FILE.tiktoken; may be repeated")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2, help="of each measurement on shards")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks/results/data_cpu.json")
    args = parser.parse_args()
    found, peers, load = {}, [], os.getloadavg()
    with tempfile.TemporaryDirectory() as temporary:
        home = Path(temporary)
        for number in range(args.rounds):
            print(f"round {number + 1} of {args.rounds}", file=sys.stderr, flush=True)
            one_round(args, home, found)
        for tokenizer in args.tokenizer:
            line = [sys.executable, ROOT / "benchmarks/data_vs_peers.py", "--data", args.data, "--tokenizer", tokenizer]
            subprocess.run([*map(str, line), "--rounds", str(args.rounds), "--json", str(home / "peers.json")], check=True)
            peers += json.loads((home / "peers.json").read_text())["rows"]
    record = {"hardware": {"cpu": cpu_name(), "cores": os.cpu_count(), "load_average_before": load[0]},
              "date": datetime.date.today().isoformat(), "command": "benchmarks/data_cpu.py",
              "text_bytes_packed": sum(os.path.getsize(path) for path in glob.glob(args.data)),
              "rows": [median_row(rows, what) for what, rows in found.values()], "tokenising_vs_packages": peers}  # fmt: skip
    args.out.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
