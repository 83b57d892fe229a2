#!/usr/bin/env python3
"""scripts/wandb_follow.py on run folders made here, with a stand-in for wandb: what it sends, once each, in order.

What would be caught: a step that is lost or sent twice when the run is resumed, the script is stopped or killed, or the
file is replaced; half a line taken for one; a probe that comes after its step was sent; a script that does not end.
"""

import fcntl
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import harness

SCRIPT = harness.ROOT / "scripts/wandb_follow.py"
FAKE = Path(__file__).resolve().parent / "fake_wandb"

report = harness.Report()


def step(number, loss=None):
    return {"step": number, "tokens": 10 * number, "loss": loss or 1 / (number + 1), "samples": 7}


def probe(number):
    return {"step": number, "event": "probe", "perplexity": 100.0 - number, "sink_ratio": None}


def row(number, with_probe=False):
    values = {"train/tokens": 10 * number, "train/loss": 1 / (number + 1)}
    return (number, values | ({"probe/perplexity": 100.0 - number} if with_probe else {}))


class Case:
    """A run's folder, and the script on it."""

    def __init__(self, name, home, **environment):
        self.name, self.run, self.told = name, home / name, home / f"{name}.told"
        self.run.mkdir()
        (self.run / "config.yaml").write_text("run: {name: x, seed: 3}\n")
        self.environment = os.environ | {"PYTHONPATH": str(FAKE), "FAKE_WANDB": str(self.told)} | environment
        for name in ("WANDB_MODE", "WANDB_DIR", "WANDB_PROJECT", "WANDB_RUN_GROUP"):
            self.environment.pop(name, None)

    def write(self, *entries, torn=""):
        """Replaces the file, as a resume does when it cuts back."""
        new = self.run / "new"
        new.write_text("".join(json.dumps(entry) + "\n" for entry in entries) + torn)
        new.rename(self.run / "metrics.jsonl")

    def append(self, *entries, raw=""):
        with open(self.run / "metrics.jsonl", "a") as file:
            file.write("".join(json.dumps(entry) + "\n" for entry in entries) + raw)

    def start(self, *options, **environment):
        return subprocess.Popen([sys.executable, str(SCRIPT), str(self.run), "--every", "0.02", *options],
                                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                env=self.environment | environment)  # fmt: skip

    def go(self, *options, said="", **environment):
        process = self.start(*options, **environment)
        out, error = process.communicate(said, timeout=60)
        return process.returncode, out + error

    def calls(self, kind):
        lines = self.told.read_text().splitlines() if self.told.exists() else []
        return [call for call in map(json.loads, lines) if call["call"] == kind]

    def rows(self):
        return [(call["step"], call["values"]) for call in self.calls("log")]

    def wait_for(self, count):
        deadline = time.monotonic() + 60
        while len(self.rows()) < count and time.monotonic() < deadline:
            time.sleep(0.01)

    def check(self, rows, what):
        report.check(self.rows() == rows, f"{self.name}: {what}: {self.rows()}")

    def end_well(self, process, said=""):
        out, error = process.communicate(said, timeout=60)
        report.check(process.returncode == 0, f"{self.name}: exit {process.returncode}: {out}{error}")


def finished_run(home):
    case = Case("finished", home)
    (case.run / ".lock").write_text("")
    case.write({"step": 0, "event": "data", "tokens": 5}, probe(0), step(1), step(2), probe(2), step(3))
    code, said = case.go("--project", "p", "--entity", "e")
    report.check(code == 0 and "4 steps sent, to step 3" in said, f"finished: exit {code}: {said}")
    case.check([(0, {"probe/perplexity": 100.0}), row(1), row(2, True), row(3)], "a row a step, probes in theirs")
    (begun,) = case.calls("init")
    report.check(begun["project"] == "p" and begun["entity"] == "e" and begun["resume"] == "allow", f"init: {begun}")
    report.check(begun["name"] == "finished" and begun["dir"] == str(case.run) and begun["mode"] is None, f"{begun}")
    (config,) = case.calls("config")
    report.check(config["values"] == {"run": {"name": "x", "seed": 3}} and config["may_change"], f"config: {config}")
    report.check(len(case.calls("finish")) == 1, "finished once")

    # A second start has nothing to send; then the run was made longer.
    case.go()
    case.write(probe(0), step(1), step(2), probe(2), step(3), step(4))
    case.go("--offline")
    case.check([(0, {"probe/perplexity": 100.0}), row(1), row(2, True), row(3), row(4)], "later starts add what is new")
    ids = {call["id"] for call in case.calls("init")}
    report.check(len(ids) == 1 and None not in ids, f"all starts are one W&B run: {ids}")
    report.check(case.calls("init")[-1]["mode"] == "offline", "--offline")


def group(home):
    case = Case("plain", home / "sweeps/table5/runs")
    (home / "sweeps/table5/sweep.json").write_text("{}")
    case.write(step(1))
    case.go("--once")
    report.check(case.calls("init")[0]["group"] == "table5", f"a sweep's run is of its group: {case.calls('init')}")


def live_run(home):
    case = Case("live", home)
    with open(case.run / ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        case.write(step(1))
        process = case.start()
        case.append(step(2), raw='{"step": 3, "to')
        case.wait_for(1)
        time.sleep(0.2)
        case.check([row(1)], "a step is sent when the next is there, and half a line is none")
        code, said = case.go()
        report.check(code == 2 and "another wandb_follow.py" in said, f"a second one is refused: {code}: {said}")
        case.append(raw='kens": 30, "loss": 0.25, "samples": 7}\n')
        case.wait_for(2)
    case.end_well(process)
    case.check([row(1), row(2), row(3)], "and the last one when the folder is free")


def cut_back(home):
    """A resume takes back what was sent, and what waits to be sent, and runs it again."""
    case = Case("cut_back", home)
    with open(case.run / ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        case.write(step(1), step(2), step(3), step(4), probe(4))
        process = case.start()
        case.wait_for(3)
        case.write(step(1))  # back to step 1: steps 2 and 3 are sent, 4 waits
        time.sleep(0.2)
        case.append(step(2, 9.0), step(3, 9.0), step(4), step(5), probe(5), step(6))
        case.wait_for(5)
    case.end_well(process)
    case.check([row(1), row(2), row(3), row(4), row(5, True), row(6)], "each step once")


def stopped(home):
    case = Case("stopped", home)
    with open(case.run / ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        case.write(step(1), step(2))
        process = case.start()
        case.wait_for(1)
        process.send_signal(signal.SIGTERM)
        case.end_well(process)
        case.check([row(1)], "SIGTERM: a step whose probe may follow stays")
        report.check(len(case.calls("finish")) == 1, "SIGTERM: finished")
        case.append(probe(2))
    case.go()
    case.check([row(1), row(2, True)], "and is sent by the next start")


def killed(home):
    """W&B knows what it has: what was sent but not noted is not sent again."""
    case = Case("killed", home)
    case.write(step(1), step(2), step(3))
    code, _ = case.go(FAKE_WANDB_DIES_AT="2")
    report.check(code == 9, "died")
    case.go(FAKE_WANDB_STEP="3")
    case.check([row(1), row(2), row(3)], "each step once after a kill")


def from_run(home):
    """As `train` starts it: the end is told."""
    case = Case("from_run", home)
    process = case.start("--from-run")
    time.sleep(0.1)
    case.write(step(1), step(2))
    case.wait_for(1)
    case.end_well(process, "end\n")
    case.check([row(1), row(2)], "the last step is sent when the run says that it was the last")
    case.append(step(3), step(4))
    case.end_well(case.start("--from-run"))
    case.check([row(1), row(2), row(3)], "a run that was killed in step 4 may yet add a probe")
    case.append(probe(4), step(5))
    case.end_well(case.start("--from-run"), "end\n")
    case.check([row(1), row(2), row(3), row(4, True), row(5)], "which the next start sends with the step")


def awaits_resume(home):
    """A run that stopped before a step's probe, sent by hand: the row waits for the resume."""
    case = Case("awaits_resume", home)
    (case.run / ".lock").write_text("")
    state = case.run / "checkpoints/step_00000002/state.json"
    state.parent.mkdir(parents=True)
    for what, kept in {"a probe is owed": {"step": 2, "probe_owed": True}, "killed": {"step": 1}}.items():
        state.write_text(json.dumps(kept))
        case.write(step(1), step(2))
        case.go()
        case.check([row(1)], f"{what}: the step stays")
    case.append(probe(2))
    state.write_text(json.dumps({"step": 2, "probe_owed": False}))
    case.go()
    case.check([row(1), row(2, True)], "and is sent when the resumed run has made its probe")


def two_starts(home):
    """The run was killed and resumed while the first script still sends: the second waits for it."""
    case = Case("two_starts", home)
    case.write(step(1), step(2))
    first = case.start("--from-run", FAKE_WANDB_FINISH="1.5")
    case.wait_for(1)
    first.stdin.close()
    second = case.start("--from-run")
    time.sleep(0.3)
    case.append(step(3))
    case.end_well(second, "end\n")
    report.check(first.wait(timeout=60) == 0, "the first ends")
    case.check([row(1), row(2), row(3)], "each step once, of two")


def trouble(home):
    case = Case("trouble", home)
    code, said = case.go()
    report.check(code == 2 and said.count("\n") == 1 and "no metrics.jsonl" in said, f"no metrics: {code}: {said}")
    case.write(step(1), {"no": "step"}, [1], step(2), torn="junk\n")
    code, said = case.go()
    report.check(code == 0 and said.count("left out") == 3, f"lines that are none are said: {code}: {said}")
    case.check([row(1), row(2)], "and the rest is sent")
    (case.run / "wandb.json").write_text("{")
    code, said = case.go()
    report.check(code == 2 and said.count("\n") == 1 and "wandb.json: damaged" in said, f"damaged: {code}: {said}")
    (case.run / "wandb.json").unlink()
    code, said = case.go(FAKE_WANDB_REFUSES="1")
    report.check(code == 1 and said.splitlines()[-1].endswith("api_key not configured (no-tty)"), f"W&B: {said}")
    (case.run / "config.yaml").write_text("a: [")
    code, said = case.go()
    report.check(code == 2 and said.count("\n") == 1 and "config.yaml: damaged" in said, f"config: {code}: {said}")
    (home / "none").mkdir()
    (home / "none/wandb.py").write_text("raise ImportError('No module named wandb')")
    code, said = case.go("--check", PYTHONPATH=str(home / "none"))
    fine = code == 2 and said.count("\n") == 1 and "pip install wandb" in said
    report.check(fine, f"without wandb: {code}: {said}")
    report.check(case.go("--check") == (0, ""), "with wandb --check is silent")


with tempfile.TemporaryDirectory() as temporary:
    home = Path(temporary)
    (home / "sweeps/table5/runs").mkdir(parents=True)
    for test in (finished_run, group, live_run, cut_back, stopped, killed, from_run, awaits_resume, two_starts, trouble):
        test(home)
report.end()
