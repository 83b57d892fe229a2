#!/usr/bin/env python3
"""A sweep on this machine: a row that fails, one that cannot be, a launcher that is killed and one that is stopped; after `sweep run`
again all are done, each with the losses of an undisturbed run. What has changed, or is another's, is refused in one line."""

import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

import harness

USAGE, FAILED, STOPPED = 2, 5, 75
EXACT = ("step", "tokens", "loss", "lr", "grad_norm")  # of a step's line: not of the machine
os.environ["OMP_NUM_THREADS"] = "1"

report = harness.Report()


def losses(folder):
    return [tuple(line[k] for k in EXACT) for line in harness.metrics(folder) if "event" not in line]


def probes(folder):
    return [line for line in harness.metrics(folder) if line.get("event") == "probe"]


def wait_until(condition, what):
    limit = time.monotonic() + 60
    while not condition() and time.monotonic() < limit:
        time.sleep(0.01)
    report.check(condition(), what)


class Sweep:
    """A sweep file of tiny runs, four rows, and what is asked of it."""

    def __init__(self, home, corpus, name, rows, more=""):
        self.home, self.name, self.file = home, name, home / f"{name}.yaml"
        self.folder = home / "sweeps" / name
        self.write(rows, more)
        (home / "base.yaml").write_text(f"""
extends: {harness.TINY}
model: {{d_model: 32, n_layers: 2, context: 32, attention: {{n_heads: 2, d_head: 16}}}}
data: {{train: ["{corpus}"], holdout: 0.05}}
train: {{steps: 60, batch_tokens: 256, micro_batch: 4, schedule: {{warmup_steps: 10}}}}
checkpoint: {{every_steps: 20}}
metrics: {{every_steps: 1, probe_every_steps: 30, sequences: 4, loggers: [jsonl]}}
""")

    def write(self, rows, more=""):
        lines = "".join(f"  - {row}\n" for row in rows)
        self.file.write_text(f"name: {self.name}\ndir: {self.home / 'sweeps'}\nbase: base.yaml\nrows:\n{lines}{more}\n")

    def line(self, verb, *more):
        return harness.command("sweep", verb, self.file, *more)

    def run(self, *more, code=0, what="sweep run", **kwargs):
        done = subprocess.run(self.line("run", *more), capture_output=True, text=True, timeout=300, **kwargs)
        report.check(done.returncode == code, f"{what}: exit {done.returncode}, expected {code}: {done.stdout}{done.stderr}")
        return done

    def start(self, *more):
        return subprocess.Popen(self.line("run", *more), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def states(self):
        text = subprocess.run(self.line("status", "--json"), capture_output=True, text=True, check=True).stdout
        return {run["run"]: run for run in json.loads(text)["runs"]}

    def runs_of(self, row):
        return self.folder / "runs" / row

    def wait_for_step(self, row, step):
        """Until the run has logged that step, which it must come to."""
        file = self.runs_of(row) / "metrics.jsonl"
        wait_until(lambda: file.exists() and f'"step":{step},' in file.read_text(), f"{row} comes to step {step}")

    def attempts(self, row):
        file = self.folder / f"attempts/{row}.jsonl"
        return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []

    def finished(self, rows):
        found = {run: status["state"] for run, status in self.states().items()}
        report.check(found == {row: "finished" for row in rows}, f"all are finished: {found}")

    def undisturbed(self, rows):
        """The same configs, each run by itself at one go."""
        for row in rows:
            keys = harness.sets(run__dir=self.home / "alone", run__name=f"{self.name}_{row}")
            harness.run("train", self.folder / f"configs/{row}.yaml", *keys)
            alone = self.home / "alone" / f"{self.name}_{row}"
            report.check(losses(alone) == losses(self.runs_of(row)), f"{self.name}/{row}: losses of an undisturbed run")
            report.check(probes(alone) == probes(self.runs_of(row)), f"{self.name}/{row}: probes of an undisturbed run")


def tree(folder):
    return {path: path.stat().st_mtime_ns for path in sorted(folder.rglob("*"))}


with tempfile.TemporaryDirectory() as temporary:
    home = Path(temporary)
    corpus = harness.write_corpus(home / "data", documents=120)
    later, broken = home / "later.jsonl", home / "broken.jsonl"  # data of one row that is not there yet, and of one that is no JSON
    broken.write_text("no JSON\n" * 50)
    rows = ["{name: plain}", "{name: sandwich, set: {model: {norm: {output: true}}}}",
            f"{{name: missing, set: {{data: {{train: [{later}]}}}}}}", f"{{name: broken, set: {{data: {{train: [{broken}]}}}}}}"]  # fmt: skip
    names = ["plain", "sandwich", "missing", "broken"]
    sweep = Sweep(home, corpus, "rows", rows, "local: {jobs: 2}")

    before = tree(home)
    done = sweep.run("--dry-run", code=USAGE, what="a dry run names the row that cannot be")
    report.check(tree(home) == before, "a dry run writes nothing")
    commands = done.stdout.splitlines()
    report.check([re.search(r"configs/(\w+)\.yaml --resume", line)[1] for line in commands] == ["plain", "sandwich", "broken"],
                 f"a dry run prints the commands: {commands}")  # fmt: skip
    report.check("spikesink: missing: data.train: " in done.stderr, f"the row is named: {done.stderr}")
    report.check({status["state"] for status in sweep.states().values()} == {"waiting"}, "all are waiting")
    done = sweep.run("--dry-run", *harness.sets(data__tokenizer=home / "none.model"), code=USAGE, what="no row can be")
    report.check(re.match(r"spikesink: plain, sandwich, missing and 1 more: .*none\.model", done.stderr), f"once for all: {done.stderr}")

    # One cannot be, one fails on the way; the rest goes on.
    done = sweep.run(code=FAILED)
    report.check(done.stderr.count("\n") == 2 and done.stderr.startswith("spikesink: missing: data.train: "), f"two lines: {done.stderr}")
    report.check("1 of 4 runs failed and 1 refused, see above" in done.stderr, f"all are counted: {done.stderr}")
    report.check(re.search(rf"^broken: failed: data: .*{broken}:1: .*; see {sweep.folder}/output/broken.txt$", done.stdout, re.M),
                 f"the failure has its reason: {done.stdout}")  # fmt: skip
    report.check(re.search(r"^sandwich: finished: perplexity \S+, sink ratio \S+ %, spike \S+ \(", done.stdout, re.M),
                 f"what is finished has its figures: {done.stdout}")  # fmt: skip
    report.check("broken: started (3 of 3)" in done.stdout, f"what starts is counted: {done.stdout}")
    states = sweep.states()
    report.check({run: s["state"] for run, s in states.items()} ==
                 {"plain": "finished", "sandwich": "finished", "missing": "waiting", "broken": "failed"}, f"{states}")  # fmt: skip
    report.check(states["broken"]["reason"].startswith("data: 2 of 2 lines are broken"), f"the reason is in the status: {states['broken']}")
    report.check(states["plain"]["probe"]["perplexity"] < 250 and states["plain"]["step"] == 60, f"figures: {states['plain']}")

    # Both are mended: what is finished is not touched.
    files = tree(sweep.runs_of("plain"))
    documents = (home / "data/shard_00000000_processed.jsonl").read_text()
    later.write_text(documents)
    broken.write_text(documents)
    done = sweep.run()
    report.check(tree(sweep.runs_of("plain")) == files, "what is finished is not run again")
    report.check("rows: starting 2 runs, 2 finished before" in done.stdout, f"{done.stdout}")
    report.check("broken: goes on (2 of 2)" in done.stdout, f"{done.stdout}")
    sweep.finished(names)
    sweep.undisturbed(["sandwich", "broken"])
    before = tree(sweep.folder)
    done = sweep.run()
    report.check(done.stdout.count("\n") == 1 and done.stdout.startswith("rows: 4 of 4 runs finished"), f"nothing to do: {done.stdout!r}")
    report.check(tree(sweep.folder) == before, "nothing is written where nothing is to be done")

    # The data may move, but not be another.
    shutil.copytree(home / "data", home / "moved")
    done = sweep.run("--only", "plain", "--set", f"data.train=[{home}/moved/*.jsonl*]")
    report.check(done.stdout.startswith("rows: 1 of 1 run finished"), f"moved data: {done.stdout}")
    done = sweep.run("--only", "plain", "--set", f"data.train=[{home}/moved/*.jsonl]", code=USAGE)
    report.check("plain: differs from what it was run with: data.train: 3 shards of " in done.stderr, f"other data: {done.stderr}")

    # A damaged metrics file has a line; the others are shown.
    metrics = sweep.runs_of("missing") / "metrics.jsonl"
    metrics.write_text("garbage\n" + metrics.read_text())
    done = subprocess.run(sweep.line("status"), capture_output=True, text=True, check=True)
    report.check(done.stderr == f"spikesink: {metrics}:1: not a line of metrics; left out\n", f"{done.stderr!r}")
    report.check(done.stdout.count("finished") == 5 and "4 runs: 4 finished" in done.stdout, done.stdout)
    report.check(max(map(len, done.stdout.splitlines())) <= 120, "the table has 120 columns")
    done = subprocess.run(sweep.line("collect"), capture_output=True, text=True)
    report.check(done.returncode == 0 and "| sandwich " in done.stdout and (sweep.folder / "tables/table.csv").exists(), f"{done}")

    # A row that has changed, a row that is new, and a folder that is another sweep's.
    sweep.write(rows[:1] + [rows[1].replace("output", "final")] + rows[2:] + ["{name: fifth, set: {train: {steps: 5}}}"])
    done = sweep.run(code=USAGE)
    report.check("spikesink: sandwich: differs from what it was run with: model.norm.output: true -> false; " in done.stderr, f"{done.stderr}")
    report.check(sweep.states()["fifth"]["state"] == "finished", "the new row was run all the same")
    other = home / "other.yaml"
    shutil.copy(sweep.file, other)
    done = harness.run("sweep", "run", other, check=False)
    report.check(done.returncode == USAGE and f"belongs to the sweep {sweep.file.resolve()}" in done.stderr and done.stderr.count("\n") == 1,
                 f"another sweep's folder: {done}")  # fmt: skip
    done = sweep.run("--jobs", "2", "--launcher", "slurm", code=USAGE, what="an option without effect")
    report.check("--jobs: has no effect with --launcher slurm" in done.stderr, f"{done.stderr}")
    done = sweep.run("--only", "plian", code=USAGE)
    report.check("did you mean plain?" in done.stderr, f"{done.stderr}")

    # Killed, stopped, and run again.
    names = ["one", "two", "three"]
    sweep = Sweep(home, corpus, "stops", [f"{{name: {name}, set: {{run: {{seed: {i}}}}}}}" for i, name in enumerate(names)],
                  "set: {train: {steps: 1000}}\nlocal: {jobs: 2}")  # fmt: skip
    launcher = sweep.start()
    sweep.wait_for_step("one", 30)
    sweep.wait_for_step("two", 30)
    states = {run: s["state"] for run, s in sweep.states().items()}
    report.check(states == {"one": "running", "two": "running", "three": "waiting"}, f"two at a time: {states}")
    done = sweep.run(code=USAGE, what="a second launcher")
    report.check(f"in use by process {launcher.pid}; wait for it or stop it" in done.stderr, f"{done.stderr}")
    launcher.kill()
    launcher.communicate()

    launcher = sweep.start()  # waits for what the first has left, which saves a checkpoint, and goes on
    wait_until(lambda: len(sweep.attempts("two")) == 2, "both are started again")
    watcher = subprocess.Popen(sweep.line("status", "--watch", "0.2"), stdout=subprocess.PIPE, text=True)
    checkpoints = {row: os.readlink(sweep.runs_of(row) / "checkpoints/latest") for row in names[:2]}
    sweep.wait_for_step("one", int(checkpoints["one"].split("_")[1]) + 1)
    launcher.send_signal(signal.SIGTERM)
    out, err = launcher.communicate(timeout=60)
    report.check(launcher.returncode == STOPPED, f"stopped: exit {launcher.returncode}: {out}{err}")
    report.check(err == "spikesink: stops: stopped by a signal, 0 of 3 runs finished; run it again to go on\n", f"{err!r}")
    report.check(len(re.findall(r"^(?:one|two): goes on", out, re.M)) == 2 and "three" not in out, f"both went on: {out}")
    report.check(len(re.findall(r"^(?:one|two): stopped at step \d+ of 1000$", out, re.M)) == 2, f"both were stopped: {out}")
    states = {run: s["state"] for run, s in sweep.states().items()}
    report.check(states == {"one": "stopped", "two": "stopped", "three": "waiting"}, f"after the stop: {states}")
    attempts = sweep.attempts("one")
    report.check([line["event"] for line in attempts] == ["start", "start", "end"] and attempts[2]["code"] == STOPPED, f"{attempts}")
    shown, _ = watcher.communicate(timeout=60)  # ends by itself, though no run is finished
    report.check(" running " in shown and shown.endswith("2 stopped\n\nstops: nothing is running or in the queue\n"), f"{shown[-500:]}")
    sweep.run("--only", "one")
    report.check(sweep.states()["three"]["state"] == "waiting", "only one row was run")
    sweep.run("--set", "local.jobs=1")
    sweep.finished(names)
    sweep.undisturbed(["one", "two"])

    # One seed of a row, and a row.
    sweep = Sweep(home, corpus, "seeds", ["{name: one, set: {train: {steps: 20}}}", "{name: two}"], "seeds: [1, 2, 3]")
    shown = sweep.run("--only", "one_seed2", "--only", "two", "--dry-run").stdout
    found = re.findall(r"configs/(\w+)\.yaml", shown)
    report.check(found == ["one_seed2", "two_seed1", "two_seed2", "two_seed3"], f"one run and a row: {shown}")
    done = sweep.run("--only", "one_seed4", code=USAGE)
    report.check("no such row or run" in done.stderr, f"a seed that it does not have: {done.stderr}")

    # Started by a program that does not wait for its children, which they would inherit: exit codes are heard all the same.
    sweep = Sweep(home, corpus, "unwaited", ["{name: one, set: {train: {steps: 20}}}"])
    sweep.run(what="children that nobody waits for", preexec_fn=lambda: signal.signal(signal.SIGCHLD, signal.SIG_IGN))
    sweep.finished(["one"])

    # Ranks, where there is an mpirun and the build has MPI.
    os.environ |= {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1", "OMPI_MCA_rmaps_base_oversubscribe": "1"}
    if shutil.which("mpirun") and subprocess.run(["mpirun", "-np", "2", harness.PROGRAM, "--version"], capture_output=True).returncode == 0:
        sweep = Sweep(home, corpus, "ranks", ["{name: one, set: {train: {steps: 20}}}"], "local: {ranks: 2}")
        sweep.run()
        state = json.loads((sweep.runs_of("one") / "checkpoints/latest/state.json").read_text())
        report.check(state["world"] == 2, f"a run of two ranks: {state['world']}")
report.end()
