#!/usr/bin/env python3
"""Runs with metrics.loggers: [jsonl, wandb], with the real wandb, offline: what it kept is read back and is what
metrics.jsonl has, every step once, also of a run that was stopped and resumed. Where W&B cannot work the run is refused
before anything is written; where it dies the run goes on."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import harness

report = harness.Report()


def kept(folder):
    """What a run's .wandb files have: ids, config, and the values of each step."""
    from wandb.proto import wandb_internal_pb2
    from wandb.sdk.internal import datastore

    ids, config, rows = set(), {}, []
    for path in sorted((folder / "wandb").glob("offline-run-*/*.wandb")):
        store = datastore.DataStore()
        store.open_for_scan(str(path))
        while (data := store.scan_data()) is not None:
            record = wandb_internal_pb2.Record()
            record.ParseFromString(data)
            if record.HasField("run"):
                ids.add((record.run.run_id, record.run.project))
            for update in (*record.run.config.update, *record.config.update):
                config[update.key or update.nested_key[0]] = json.loads(update.value_json)
            if record.HasField("history"):
                values = {item.key or item.nested_key[0]: json.loads(item.value_json) for item in record.history.item}
                rows.append((values.pop("_step"), {key: v for key, v in values.items() if not key.startswith("_")}))
    return ids, config, rows


def expected(folder):
    rows = {}
    for line in harness.metrics(folder):
        part = line.get("event", "train")
        if part == "data":
            continue
        values = {f"{part}/{k}": v for k, v in line.items() if k not in ("step", "event", "samples")}
        rows.setdefault(line["step"], {}).update(values)
    return sorted(rows.items())


def wait_for(file, text):
    deadline = time.monotonic() + 120
    while not (file.exists() and text in file.read_text()):
        if time.monotonic() > deadline:
            sys.exit(f"{file} has no {text!r}")
        time.sleep(0.01)


def start(name, *options):
    """A run that is stopped, not one that ends."""
    line = harness.command("train", harness.TINY, *train, *harness.sets(run__name=name, train__steps=10**6), *options)
    with open(home / f"{name}.txt", "w") as said:  # a pipe that nobody reads would stop it once it is full
        return subprocess.Popen(line, stdout=said, stderr=subprocess.PIPE, text=True, env=variables), home / name


def check_kept(folder, name):
    wait_for(folder / "wandb.log", f"to step {harness.metrics(folder)[-1]['step']},")
    ids, config, rows = kept(folder)
    state = json.loads((folder / "wandb.json").read_text())
    report.check(ids == {(state["id"], "spikesink")}, f"{name}: one W&B run: {ids}")
    report.check(config.get("run", {}).get("name") == folder.name and config["model"]["d_model"] == 32,
                 f"{name}: its config is the run's: {config}")  # fmt: skip
    steps = [step for step, _ in rows]
    report.check(steps == [step for step, _ in expected(folder)], f"{name}: every step once: {steps}")
    differ = [(a, b) for a, b in zip(rows, expected(folder)) if a != b]
    report.check(not differ, f"{name}: values are those of metrics.jsonl: {differ[:1]}")
    return rows


def refused(what, word, **environment):
    folder = home / "refused"
    keys = harness.sets(run__name="refused")
    done = harness.run("train", harness.TINY, *train, *keys, check=False, env=variables | environment)
    one_line = done.stderr.count("\n") == 1 and word in done.stderr
    report.check(done.returncode == 2 and one_line, f"{what}: exit {done.returncode}: {done.stderr}")
    report.check(not folder.exists(), f"{what}: nothing is written")


with tempfile.TemporaryDirectory() as temporary:
    home = Path(temporary)
    corpus = harness.write_corpus(home / "data", documents=120)
    variables = {name: value for name, value in os.environ.items() if not name.startswith("WANDB_")}
    variables |= {"WANDB_MODE": "offline", "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    train = harness.sets(data__train=f"[{corpus}]", data__holdout=0.1, train__steps=24, model__n_layers=1,
                         model__d_model=32, model__attention__n_heads=1, train__batch_tokens=512,
                         train__schedule__warmup_steps=2, metrics__every_steps=1, metrics__probe_every_steps=5,
                         metrics__sequences=4, metrics__loggers="[jsonl, wandb]", checkpoint__every_steps=7,
                         run__dir=home)  # fmt: skip

    whole = home / "whole"
    harness.run("train", harness.TINY, *train, *harness.sets(run__name="whole"), env=variables)
    rows = check_kept(whole, "whole")
    probed = [step for step, values in rows if "probe/perplexity" in values]
    report.check(probed == [0, 5, 7, 10, 14, 15, 20, 21, 24], f"probes are in the rows of their steps: {probed}")

    # Stopped in the middle, and gone on with. Each step has a probe, which a stop leaves to the resume: its row waits.
    often = harness.sets(metrics__probe_every_steps=1)
    process, parts = start("parts", *often)
    wait_for(parts / "metrics.jsonl", '"step":9,')
    process.send_signal(signal.SIGTERM)
    error = process.communicate(timeout=120)[1]
    report.check(process.returncode == 75, f"stopped: exit {process.returncode}: {error}")
    wait_for(parts / "wandb.log", "steps sent")
    sent, last = json.loads((parts / "wandb.json").read_text())["step"], harness.metrics(parts)[-1]["step"]
    owed = json.loads((parts / "checkpoints/latest/state.json").read_text())["probe_owed"]
    report.check(sent == last - owed, f"stopped at step {last}, a probe owed: {owed}, and sent to step {sent}")
    harness.run("train", harness.TINY, *train, *harness.sets(run__name="parts", train__steps=last + 10), *often,
                "--resume", env=variables)  # fmt: skip
    check_kept(parts, "parts")
    report.check(len(list((parts / "wandb").glob("offline-run-*"))) == 2, "in two parts")

    # What sends is killed: the run says so once, and goes on.
    process, alone = start("alone")
    wait_for(alone / "wandb.json", "id")
    sender = subprocess.run(["ps", "-o", "pid=,args=", "--ppid", str(process.pid)], capture_output=True, text=True)
    found = [int(row.split()[0]) for row in sender.stdout.splitlines() if "wandb_follow.py" in row]
    report.check(len(found) == 1, f"one process sends: {sender.stdout}")
    for pid in found:
        os.kill(pid, signal.SIGKILL)
    wait_for(alone / "log.txt", "has ended with signal 9")
    last = harness.metrics(alone)[-1]["step"]
    wait_for(alone / "metrics.jsonl", f'"step":{last + 20},')
    process.send_signal(signal.SIGTERM)
    error = process.communicate(timeout=120)[1]
    said = (home / "alone.txt").read_text()
    report.check(process.returncode == 75, f"the run went on: exit {process.returncode}: {error}")
    report.check(said.count("has ended with signal 9") == 1, f"and said once that nothing is sent any more: {said}")

    (home / "none").mkdir()
    (home / "none/wandb.py").write_text("raise ImportError('no such module')")
    refused("no wandb", "pip install wandb", PYTHONPATH=str(home / "none"))
    refused("no Python", "python3, which is not on the PATH", PATH=str(home / "none"))
    refused("no script", "set SPIKESINK_SCRIPTS", SPIKESINK_SCRIPTS=str(home / "none"))
    train += harness.sets(metrics__loggers="[wandb]")
    refused("no jsonl", "name both, [jsonl, wandb]")
report.end()
