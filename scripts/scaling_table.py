#!/usr/bin/env python3
"""The tables of docs/scaling.md, from `spikesink plan --json`.

    scaling_table.py [--program build/cpu/spikesink] [--check]

Rewrites what stands between the document's markers; --check only says whether that is what it would write.
"""
import argparse
import concurrent.futures
import json
import os
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
DOCUMENT = ROOT / "docs/scaling.md"
CONFIG = "configs/llama/7b.yaml"
SEQUENCES = 512  # of a step of the config
# by a table's marker: GPUs, and sequences a step
TABLES = {
    "recipe": [(world, SEQUENCES) for world in (8, 16, 32, 64, 128, 256, 512, 1024)],
    "eight a GPU": [(world, 8 * world) for world in (128, 256, 512, 1024)],
}


def plan(program, world, sequences):
    arguments = [program, "plan", CONFIG, "--gpu", "h100", "--world", str(world), "--fit", "--json"]
    if sequences != SEQUENCES:
        arguments += ["--set", f"train.batch_tokens={sequences * 4096}"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(arguments, cwd=ROOT, env=environment, capture_output=True, text=True)
    if done.returncode:
        sys.exit(done.stderr)
    return json.loads(done.stdout)


def bound(ranks, time):
    """What keeps the step from the rate of a GPU alone."""
    if ranks["idle"]:
        return "sequences"
    exposed = time["sending"] + time["latency"] - time["hidden"]
    if exposed < 0.05 * time["step_seconds"]:
        return "computation"
    return "links" if time["sending"] > time["latency"] else "latency"


def row(found):
    best = found["fastest"]
    memory, ranks, time = best["memory"], best["ranks"], best["time"]
    exposed = time["sending"] + time["latency"] - time["hidden"]
    cells = [ranks["world"], f"{found['tokens_per_step'] / 2**20:.3g}M", ranks["shard"], memory["recompute"], memory["micro_batch"],
             f"{best['needed'] / 2**30:.1f}", f"{ranks['sent_bytes'] / 2**30:.1f}", f"{time['sending'] + time['latency']:.2f}",
             f"{exposed:.3f}", f"{time['step_seconds']:.2f}", f"{time['tokens_per_second']:,.0f}", f"{time['mfu']:.1%}", bound(ranks, time)]  # fmt: skip
    return "| " + " | ".join(map(str, cells)) + " |"


def table(program, rows):
    heads = ["GPUs", "tokens a step", "shard", "recompute", "micro-batch", "GiB a GPU", "GiB sent", "communication s",
             "exposed s", "step s", "tokens/s", "MFU", "bound by"]
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        plans = list(pool.map(lambda row: plan(program, *row), rows))
    return "\n".join(["| " + " | ".join(heads) + " |", "|---" * len(heads) + "|", *map(row, plans)])


def rewritten(text, program):
    for name, rows in TABLES.items():
        begin, end = f"<!-- scaling_table: {name} -->\n", "\n<!-- end -->"
        before, rest = text.split(begin)
        text = before + begin + table(program, rows) + end + rest.split(end, 1)[1]
    return text


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", default=str(ROOT / "build/cpu/spikesink"))
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args()
    old = DOCUMENT.read_text()
    new = rewritten(old, options.program)
    if options.check:
        if new != old:
            sys.exit(f"{DOCUMENT.relative_to(ROOT)} is not what the planner gives; run scripts/scaling_table.py")
        return
    DOCUMENT.write_text(new)


if __name__ == "__main__":
    main()
