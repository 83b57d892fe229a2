#!/usr/bin/env python3
"""Sweeps on a Slurm cluster of one node, which the test starts and stops. Of six rows one loses its data, one is killed, one is
cancelled, and one is longer than its time limit: it must be told in time, save, and be queued again until it is done. After
`sweep run` again all six are done, each with the losses of an undisturbed run, to the last bit. Rows of two ranks go through
mpirun and srun in the same way."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import harness
import slurm_cluster

# A run is told to stop 20 s before the limit of a minute or, since Slurm looks every 30 s, up to 30 s earlier.
LIMIT = {"time": "1", "stop_seconds": 20}
ROOM = 60  # seconds that the row of the time limit takes alone: longer than any attempt of it can be
PATIENCE = 900

report = harness.Report()
if missing := slurm_cluster.missing():
    print(f"skipped: {missing}")
    sys.exit(77)
os.environ["OMP_NUM_THREADS"] = "1"
# As root, with more ranks than cores.
MPI = {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1", "OMPI_MCA_mpi_yield_when_idle": "1",
       "OMPI_MCA_rmaps_base_oversubscribe": "1"}  # fmt: skip
SMALL = {
    "model": {"d_model": 32, "n_layers": 2, "context": 24, "attention": {"n_heads": 2, "d_head": 16}},
    "train": {"batch_tokens": 24 * 7, "micro_batch": 2},
    "checkpoint": {"every_steps": 100},
    "metrics": {"every_steps": 1, "probe_every_steps": 0, "sequences": 2, "loggers": ["jsonl"]},
}


class SlurmSweep:
    """A sweep file and what `spikesink sweep` does and says of it."""

    def __init__(self, cluster, folder, name, rows, data, **slurm):
        self.cluster, self.name, self.rows = cluster, name, list(rows)
        self.folder = folder / "sweeps" / name
        self.file = folder / f"{name}.yaml"
        sweep = {"name": name, "dir": str(folder / "sweeps"), "configs": str(harness.TINY.parent), "base": harness.TINY.name,
                 "set": SMALL | {"data": {"train": [data], "holdout": 0.1}},
                 "rows": [{"name": row, "set": keys} for row, keys in rows.items()],
                 "slurm": LIMIT | {"cpus_per_task": 1} | slurm}  # fmt: skip
        self.file.write_text(json.dumps(sweep))  # which YAML takes
        self.seen = {row: [] for row in rows}  # states in the order in which they were seen, each once in a row
        self.beside = None  # another that is looked at while this one is waited for

    def sweep(self, *arguments, check=True):
        return harness.run("sweep", arguments[0], self.file, *arguments[1:], check=check, env=self.cluster.env)

    def submit(self):
        return self.sweep("run", "--launcher", "slurm").stdout

    def status(self):
        runs = {run["run"]: run for run in json.loads(self.sweep("status", "--json").stdout)["runs"]}
        for row, run in runs.items():
            seen = (run["state"], run.get("reason", ""))
            if not self.seen[row] or self.seen[row][-1] != seen:
                self.seen[row].append(seen)
                print(f"{time.strftime('%X')} {self.name}/{row}: {': '.join(filter(None, seen))}", flush=True)
        return runs

    def wait(self, what, holds):
        end = time.monotonic() + PATIENCE
        while not holds(runs := self.status()):
            if self.beside:
                self.beside.status()
            if time.monotonic() > end:
                raise TimeoutError(f"{self.name}: {what}: not after {PATIENCE} s; {runs}")
            time.sleep(0.3)
        return runs

    def wait_for(self, **states):
        return self.wait(str(states), lambda runs: all(runs[row]["state"] == state for row, state in states.items()))

    def under_way(self, row):
        return self.wait(f"{row} under way", lambda runs: runs[row]["state"] == "running" and runs[row]["step"] > 0)[row]

    def trainer(self, row):
        """The process that trains a row, and not the script that has started it."""
        config = os.fsencode(self.folder / f"configs/{row}.yaml")
        for pid in self.cluster.processes():
            with contextlib.suppress(OSError):
                words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
                if words[1:3] == [b"train", config]:
                    return pid
        raise LookupError(f"no process trains {row}")

    def attempts(self, row):
        lines = (self.folder / f"attempts/{row}.jsonl").read_text().splitlines()
        return [json.loads(line) for line in lines]

    def codes(self, row):
        return [line["code"] for line in self.attempts(row) if line["event"] == "end"]

    def steps(self, row):
        return [line for line in harness.metrics(self.folder / "runs" / row) if "event" not in line]


def show(sweeps):
    for path in sorted([*sweeps.glob("*/output/*"), *sweeps.glob("*/attempts/*"), *sweeps.glob("*/slurm/*.txt")]):
        print(f"---- the end of {path.relative_to(sweeps)}")
        print("\n".join(path.read_text(errors="replace").splitlines()[-12:]))


class Undisturbed:
    """`train` of each of a sweep's configs, beside what happens to them in the sweep."""

    def __init__(self, folder):
        self.folder = folder
        self.problems = []

    def train(self, sweep, row, ranks=1):
        launcher = ["mpirun", "--bind-to", "none", "-np", str(ranks)] if ranks > 1 else []
        line = harness.command("train", sweep.folder / f"configs/{row}.yaml",
                               *harness.sets(run__dir=self.folder / "alone", run__name=f"{sweep.name}_{row}"))  # fmt: skip
        done = subprocess.run([*launcher, *line], capture_output=True, text=True, env={**os.environ, **MPI}, timeout=600)
        if done.returncode:
            self.problems.append(f"{' '.join(line)}: exit {done.returncode}\n{done.stdout[-500:]}\n{done.stderr}")

    def compare(self, sweep):
        for row in sweep.rows:
            alone = [line for line in harness.metrics(self.folder / "alone" / f"{sweep.name}_{row}") if "event" not in line]
            steps = sweep.steps(row)
            same = [(line["step"], line["loss"], line["samples"]) for line in steps] == [
                (line["step"], line["loss"], line["samples"]) for line in alone
            ]
            report.check(same and len(steps) > 100, f"{sweep.name}/{row}: the losses of an undisturbed run in {len(steps)} steps")


def steps_in(seconds, cluster, folder, data):
    """How many steps one thread of this machine takes in that time."""
    sweep = SlurmSweep(cluster, folder, "pace", {"row": {"train": {"steps": 1000}}}, data)
    sweep.sweep("run", "--launcher", "local")
    # By the fastest tenth of its steps, which other work on the machine leaves as they are.
    fastest = sorted((line["tokens_per_second"] for line in sweep.steps("row")), reverse=True)[:100]
    return int(seconds * fastest[-1] / SMALL["train"]["batch_tokens"])


class SixRows:
    def __init__(self, cluster, folder, data, undisturbed, steps_of_limited):
        self.cluster, self.folder, self.undisturbed = cluster, folder, undisturbed
        self.late, self.gone = folder / "late", folder / "gone"
        harness.write_corpus(self.late, documents=60, seed=2)
        steps = {"limited": steps_of_limited, "cancelled": 4000, "killed": 4000, "plain": 3000, "waits": 300, "no_shard": 300}
        rows = {row: {"run": {"seed": i}, "train": {"steps": steps[row]}} for i, row in enumerate(steps)}
        rows["no_shard"]["data"] = {"train": [f"{self.late}/*.jsonl*"]}
        self.sweep = SlurmSweep(cluster, folder, "six_rows", rows, data, launcher="none", throttle=4)
        self.references = threading.Thread(target=lambda: [undisturbed.train(self.sweep, row) for row in rows if row != "no_shard"])

    def disturb(self):
        sweep = self.sweep
        printed = sweep.sweep("run", "--launcher", "slurm", "--dry-run").stdout
        report.check("#SBATCH --array=0-5%4" in printed and not sweep.folder.exists(), f"a dry run prints and does nothing: {printed}")
        refused = sweep.sweep("run", "--launcher", "slurm", "--set", "slurm.partition=gpux", check=False)
        report.check(refused.returncode == 2 and "invalid partition specified: gpux" in refused.stderr
                     and refused.stderr.count("\n") == 1, f"Slurm's own words in one line: {refused}")  # fmt: skip
        said = sweep.submit()
        report.check("submitting 6 runs" in said, said)
        self.late.rename(self.gone)  # before it is this row's turn
        runs = sweep.wait("four at a time", lambda runs: [run["state"] for run in runs.values()].count("queued") == 2)
        report.check(runs["no_shard"]["reason"] == "JobArrayTaskLimit", f"why it waits: {runs['no_shard']}")

        sweep.under_way("killed")
        os.kill(sweep.trainer("killed"), signal.SIGKILL)
        self.cluster.says("scancel", sweep.under_way("cancelled")["job"])
        self.references.start()

        runs = sweep.wait_for(killed="failed", cancelled="stopped", plain="finished", waits="finished", no_shard="failed")
        report.check("signal 9" in runs["killed"]["reason"], f"the reason of a kill: {runs['killed']}")
        report.check(str(self.late) in runs["no_shard"]["reason"], f"the reason of missing data: {runs['no_shard']}")
        report.check(runs["limited"]["state"] in ("running", "queued"), f"the long row goes on: {runs['limited']}")

    def go_on(self):
        self.gone.rename(self.late)
        said = self.sweep.submit()
        report.check("submitting 3 runs, 2 finished before, 1 running or in the queue" in said, said)

    def finish(self):
        sweep, undisturbed = self.sweep, self.undisturbed
        sweep.wait_for(**dict.fromkeys(sweep.rows, "finished"))
        sweep.wait("an empty queue", lambda _: not self.cluster.says("squeue", "--noheader", "--name", sweep.name))
        undisturbed.train(sweep, "no_shard")
        self.references.join()

        said = sweep.submit()
        submissions = (sweep.folder / "slurm/jobs.jsonl").read_text().splitlines()
        report.check("6 of 6 runs finished" in said and len(submissions) == 2, f"nothing is left to do: {said} {submissions}")
        jobs, codes = {line["job"] for line in sweep.attempts("limited")}, sweep.codes("limited")
        report.check(len(jobs) == 1 and len(codes) >= 2 and set(codes[:-1]) == {75} and codes[-1] == 0,
                     f"stopped by its time limit and queued again by itself: {codes} as {jobs}")  # fmt: skip
        report.check(("queued", "BeginTime") in sweep.seen["limited"], f"seen in the queue again: {sweep.seen['limited']}")
        # The others may meet the time limit too, where the machine is slow.
        for row, first in {"killed": 137, "cancelled": 75, "no_shard": 3}.items():
            codes = sweep.codes(row)
            report.check(codes[0] == first and codes[-1] == 0 and set(codes[1:-1]) <= {75},
                         f"{row} ended with {first}, then went on: {codes}")  # fmt: skip
        undisturbed.compare(sweep)


def test_ranks(cluster, folder, data, undisturbed, launcher, options, beside):
    """A run of two ranks in one job. It is cancelled once, which must leave them the time for a checkpoint. What happens to the sweep
    `beside` meanwhile is seen too."""
    setup = [f"export {name}={value}" for name, value in MPI.items()]
    sweep = SlurmSweep(cluster, folder, f"by_{launcher}", {"two_ranks": {"train": {"steps": 1500}}}, data, launcher=launcher,
                       launcher_options=options, tasks_per_node=2, setup=setup, time="10")  # fmt: skip
    sweep.beside = beside
    sweep.submit()
    cluster.says("scancel", sweep.under_way("two_ranks")["job"])
    stopped_at = sweep.wait_for(two_ranks="stopped")["two_ranks"]["step"]
    report.check((sweep.folder / f"runs/two_ranks/checkpoints/step_{stopped_at:08}").is_dir(), f"a checkpoint of step {stopped_at}")
    sweep.submit()
    sweep.wait_for(two_ranks="finished")
    sweep.wait("its last attempt's end", lambda _: len(sweep.codes("two_ranks")) == 2)
    report.check(sweep.codes("two_ranks") == [75, 0], f"{launcher}: {sweep.codes('two_ranks')}")
    log = (sweep.folder / "runs/two_ranks/log.txt").read_text()
    report.check("ranks: 2," in log and "1 thread a rank" in log, f"{launcher}: two ranks of a thread: {log[:500]}")
    undisturbed.train(sweep, "two_ranks", ranks=2)
    undisturbed.compare(sweep)


with tempfile.TemporaryDirectory() as temporary:
    folder = Path(temporary)
    data = harness.write_corpus(folder / "data", documents=200)
    undisturbed = Undisturbed(folder)
    with slurm_cluster.Cluster(folder / "cluster") as cluster:
        try:
            six = SixRows(cluster, folder, data, undisturbed, steps_in(ROOM, cluster, folder, data))
            six.disturb()
            six.go_on()
            test_ranks(cluster, folder, data, undisturbed, "mpirun", [], six.sweep)
            if "pmix" in cluster.says("srun", "--mpi=list"):
                test_ranks(cluster, folder, data, undisturbed, "srun", ["--mpi=pmix"], six.sweep)
            else:
                print("this Slurm has no pmix: srun is not tested")
            six.finish()
        finally:
            report.check(not undisturbed.problems, f"{undisturbed.problems}")
            if report.failed or sys.exc_info()[0]:
                show(folder / "sweeps")
                cluster.show_logs()
report.end()
