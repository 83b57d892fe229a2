#!/usr/bin/env python3
"""A long run of a tiny model, with probes, checkpoints and TensorBoard: what the process holds as it goes on.

    benchmarks/soak.py [--steps 10000] [--out benchmarks/results/soak.json]

Recorded are the open descriptors and the resident memory of the process at step 100, at ten steps between and at the last. docs/reliability.md says
by how much they may grow. Ends with 1 where they have grown by more.
"""

import argparse
import collections
import datetime
import functools
import json
import operator
import os
import platform
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from data_vs_peers import cpu_name

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests/end_to_end"))
import harness  # noqa: E402

FIRST, EVERY = 100, 75  # steps; checkpoints and probes do not fall on the steps that are looked at
MOST_MEMORY = 8 << 20  # bytes of growth


def held_by(process):
    """What the process has open, by target, and its memory in bytes."""
    folder = Path(f"/proc/{process}")
    targets = []
    for entry in (folder / "fd").iterdir():
        try:
            targets.append(re.sub(r":\\[\d+\\]", "", os.readlink(entry)))
        except FileNotFoundError:  # closed meanwhile
            continue
    status = (folder / "status").read_text()
    figure = lambda name: int(re.search(rf"^{name}:\s+(\d+)", status, re.M)[1])
    return sorted(targets), {"descriptors": len(targets), "threads": figure("Threads"), "rss_bytes": figure("VmRSS") * 1024}


def soak(steps, home):
    """Rows of what was held at some steps, and the descriptors that the last step has and the first had not."""
    corpus = harness.write_corpus(home / "data", documents=400)
    looked_at = sorted({FIRST, *(FIRST + (steps - FIRST) * i // 10 for i in range(1, 10)), steps})
    # A checkpoint that a slow disk takes long for may be under way at one of the last looks, but not at all of them.
    last = [steps, steps + 20, steps + 60, steps + 90]
    keys = harness.sets(
        data__train=f"[{corpus}]", data__holdout=0.1, data__lanes=3, run__dir=home, run__name="soak", train__steps=steps + 500,
        train__schedule__warmup_steps=10, checkpoint__every_steps=EVERY, checkpoint__keep=2, metrics__every_steps=1,
        metrics__probe_every_steps=EVERY, metrics__sequences=4, metrics__loggers="[jsonl, tensorboard]", **harness.SMALL)  # fmt: skip
    process = subprocess.Popen(harness.command("train", harness.TINY, *keys), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    rows, held, said = [], {}, []
    for line in process.stdout:
        said = said[-20:] + [line]
        step = re.match(r"step (\d+)/", line)
        if step and int(step[1]) in {*looked_at, *last}:
            held[int(step[1])], figures = held_by(process.pid)
            if int(step[1]) in looked_at:
                rows.append({"step": int(step[1]), **figures})
    if process.wait() != 0:
        sys.exit(f"exit {process.returncode}\n{''.join(said)}")
    # Each lane of the data has at most one shard open, and a checkpoint may be under way; one that is done has another name.
    kept = lambda step: [target for target in held[step] if not target.startswith(str(home / "data")) and ".unfinished" not in target]
    new = functools.reduce(operator.and_, (collections.Counter(kept(step)) for step in last)) - collections.Counter(kept(FIRST))
    return rows, [target.replace(str(home), "") for target in new.elements()]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=10000)
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks/results/soak.json")
    args = parser.parse_args()
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as home:
        rows, new = soak(args.steps, Path(home))
    growth = rows[-1]["rss_bytes"] - rows[0]["rss_bytes"]
    for row in rows:
        print(f"step {row['step']:>6}  descriptors {row['descriptors']:>3}  threads {row['threads']:>3}  RSS {row['rss_bytes'] / 1e6:.2f} MB")
    print(f"from step {rows[0]['step']} to {rows[-1]['step']}: memory grew by {growth / 1e6:.2f} MB; new descriptors: {', '.join(new) or 'none'}")
    version = subprocess.run(harness.command("--version"), capture_output=True, text=True, check=True).stdout.strip()
    found = {"hardware": {"cpu": cpu_name(), "cores": os.cpu_count(), "system": platform.system()}, "date": str(datetime.date.today()),
             "program": version, "command": "benchmarks/soak.py", "seconds": round(time.monotonic() - began), "checkpoints_every": EVERY,
             "probes_every": EVERY, "rows": rows, "memory_growth_bytes": growth, "new_descriptors": new}  # fmt: skip
    args.out.write_text(json.dumps(found, indent=1) + "\n")
    return int(growth > MOST_MEMORY or bool(new))


if __name__ == "__main__":
    sys.exit(main())
