#!/usr/bin/env python3
"""Every call that changes a file may fail: an error, a full disk, a short write, a kill before it or in the middle of it. A training run
then goes on or stops with one line, and when it is run again it has the losses, probes and TensorBoard scalars of an undisturbed
one, to the last bit; `prepare`, `analyze` and the report give the same too.

SPIKESINK_FAULTS: how many points are tried of a training run, a third as many of a resume and of `prepare`, and fewer of the others; "all" tries
each call with each fault (half an hour). SPIKESINK_FAULTS_RECORD: a file for the counts, as JSON."""

import collections
import json
import os
import random
import re
import shutil
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

import harness
import ranks_home
from tensorboard.compat.proto.event_pb2 import Event

POINTS = os.environ.get("SPIKESINK_FAULTS", "100")
LIBRARY = harness.LIBRARIES / "failing_calls.so"
KINDS = {"error": "EIO", "full": "no room from then on", "short": "half is written", "kill": "killed before", "torn": "killed in the middle"}
WRITES = ("write", "pwrite")
KILLED, STOPPED_WITH_A_LINE, HANGS, PATIENCE = -9, (2, 3), "hangs", 120
OUTCOMES = ("went on", "stopped with a line", "killed")
EXACT = ("step", "tokens", "loss", "lr", "grad_norm", "samples")

report = harness.Report()
rng = random.Random(5)


def ended(line, environment):
    """What a command came to; its return code is HANGS where it did not end by itself."""
    process = subprocess.Popen(line, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        out, err = process.communicate(timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        out, err = process.communicate()
        return subprocess.CompletedProcess(line, HANGS, out, err)
    return subprocess.CompletedProcess(line, process.returncode, out, err)


class Subject:
    """A command whose calls fail, in a folder of its own each time."""

    leaves_rests = False  # what it could not remove goes away when it is run again

    def __init__(self, home, name):
        self.home, self.name, self.outcomes = home / name, name, collections.Counter()
        self.home.mkdir()
        self.number = 0
        self.files = {}  # that a call changes, by its number in an undisturbed run

    def run(self, folder, **faults):
        environment = os.environ | {"OMP_NUM_THREADS": "1"}
        if faults:
            environment |= {"LD_PRELOAD": str(LIBRARY), "FAULTS_UNDER": str(folder)} | {f"FAULTS_{k}": str(v) for k, v in faults.items()}
        return ended(self.line(folder), environment)

    def goes_on(self, folder):
        """Given what a failed command has left: says, of what it prints when it is run again, whether that is gone on from."""
        return lambda out: True

    def calls(self):
        """Of an undisturbed run: number and name of each call."""
        log = self.home / "calls"
        whole = self.home / "whole"
        done = self.run(whole, LOG=log)
        if done.returncode != 0:
            sys.exit(f"{self.name}: exit {done.returncode}: {done.stderr}")
        self.expected = self.result(whole)
        lines = [line.split(" ", 2) for line in log.read_text().splitlines()]
        self.files = {int(number): kind_of_file(os.path.relpath(path, whole)) for number, _, path in lines}
        return [(int(number), call) for number, call, _ in lines]

    def points(self, calls, count):
        """Of each name of a call some, each with a fault of its turn; writes are many, the others of more kinds."""
        if count == "all":
            return [(number, call, kind) for number, call in calls for kind in KINDS if kind not in ("short", "torn") or call in WRITES]
        by_call = collections.defaultdict(list)
        for number, call in calls:
            by_call[call].append(number)
        chosen, kinds = [], {call: rng.sample(list(KINDS), len(KINDS)) for call in by_call}
        while len(chosen) < count and any(by_call.values()):
            for call, numbers in by_call.items():
                if numbers and len(chosen) < count:
                    kind = next(k for k in kinds[call] if call in WRITES or k not in ("short", "torn"))
                    kinds[call].append(kinds[call].pop(kinds[call].index(kind)))
                    chosen.append((numbers.pop(rng.randrange(len(numbers))), call, kind))
        return chosen

    def try_point(self, number, call, kind):
        self.number += 1
        folder = self.home / f"point{self.number}"
        what = f"{self.name}: {kind} at call {number}, {call}"
        done = self.run(folder, AT=number, KIND=kind)
        outcome = {0: "went on", KILLED: "killed"}.get(done.returncode, "stopped with a line")
        if outcome == "stopped with a line":
            one_line = done.returncode in STOPPED_WITH_A_LINE and done.stderr.count("\n") == 1 and "internal error" not in done.stderr
            report.check(one_line and str(folder) in done.stderr, f"{what}: exit {done.returncode}: {done.stderr}")
        report.check(outcome != "killed" or kind in ("kill", "torn"), f"{what}: killed")
        report.check(kind != "short" or outcome == "went on", f"{what}: exit {done.returncode}: {done.stderr}")
        if outcome != "went on" or self.leaves_rests:
            goes_on = self.goes_on(folder)
            again = self.run(folder)
            report.check(goes_on(again.stdout), f"{what}, {outcome}: run again: {again.stdout[:600]}")
            report.check(again.returncode == 0, f"{what}: run again: exit {again.returncode}: {again.stderr}")
        found = self.result(folder)
        other = [key for key in self.expected | found if found.get(key) != self.expected.get(key)]
        report.check(not other, f"{what}, {outcome}: not what an undisturbed run gives: {other}")
        self.outcomes[kind, f"{call} of {self.files[number]}", outcome, found == self.expected] += 1
        subprocess.run(["rm", "-r", str(folder)], check=True)

    def rows(self, part):
        """By the value of a part of the outcomes' keys: how many of each outcome, and how many of all recovered."""
        rows = collections.defaultdict(lambda: [0, 0, 0, 0])
        for key, count in self.outcomes.items():
            rows[key[part]][OUTCOMES.index(key[2])] += count
            rows[key[part]][3] += count * key[3]
        return dict(sorted(rows.items()))

    def table(self):
        print(f"{self.name}: {self.number} points")
        for part, what in ((0, "fault"), (1, "call")):
            print(f"  {what:<68}{'went on':>10}{'stopped':>10}{'killed':>10}{'recovered':>12}")
            for name, row in self.rows(part).items():
                label = f"{name}: {KINDS[name]}" if part == 0 else name
                print(f"  {label:<68}{row[0]:>10}{row[1]:>10}{row[2]:>10}{f'{row[3]} of {sum(row[:3])}':>12}")

    def record(self):
        names = ("went_on", "stopped_with_a_line", "killed", "recovered")
        return {"points": self.number, **{what: {name: dict(zip(names, row)) for name, row in self.rows(part).items()}
                                          for part, what in ((0, "by_fault"), (1, "by_call"))}}  # fmt: skip


def kind_of_file(path):
    """What the file is, without the names and numbers that differ from run to run: `run/checkpoints/.../state.json`."""
    path = "the folder itself" if path == "." else re.sub(r"\.unfinished\.[\w.]*", "an unfinished file", path)
    path = re.sub(r"events\.out\.[\w.-]*", "events", path)
    return re.sub(r"\d{4,}", "N", path)


def scalars(folder):
    """Tag, step and value of all event files; those of the training itself, not of the machine."""
    found = []
    for path in sorted(folder.iterdir()):
        data, at = path.read_bytes(), 0
        while at < len(data):
            size = struct.unpack_from("<Q", data, at)[0]
            event = Event.FromString(data[at + 12 : at + 12 + size])
            at += size + 16
            found += [(value.tag, event.step, value.simple_value or tuple(value.tensor.float_val)) for value in event.summary.value
                      if value.tag.startswith("probe/") or value.tag.removeprefix("train/") in EXACT]  # fmt: skip
    return found


class Training(Subject):
    def __init__(self, home, name="train"):
        super().__init__(home, name)
        self.keys = harness.sets(
            data__train=f"[{harness.write_corpus(home / 'data', documents=60)}]", data__holdout=0.1, data__lanes=3, run__name="run",
            train__steps=9, train__batch_tokens=256, train__schedule__warmup_steps=2, checkpoint__every_steps=2, checkpoint__keep=2,
            metrics__every_steps=1, metrics__sequences=2, model__context=32, model__d_model=16, model__n_layers=1,
            model__attention__n_heads=1, model__attention__d_head=16)  # fmt: skip

    def line(self, folder):
        return harness.command("train", harness.TINY, *self.keys, *harness.sets(run__dir=folder), "--resume")

    def result(self, folder):
        run = folder / "run"
        lines = harness.metrics(run)
        losses = [tuple(line[k] for k in EXACT) for line in lines if "event" not in line]
        probes = [line for line in lines if line.get("event") == "probe"]
        files = {path.name: path.read_bytes() for path in (run / "probes").iterdir()}
        # Which older checkpoints there are depends on the fault: one that cannot be written is written a step later.
        return {"losses": losses, "probes": probes, "probe files": files, "latest": os.readlink(run / "checkpoints/latest"),
                "TensorBoard": scalars(run / "tensorboard")}  # fmt: skip

    def goes_on(self, folder):
        """The newest whole checkpoint is, of those up to `latest`."""
        checkpoints = folder / "run/checkpoints"
        whole = sorted(path.parent.name for path in checkpoints.glob("step_*/state.json") if "." not in path.parent.name and path.stat().st_size > 1)
        links = [os.readlink(link) for link in (checkpoints / "latest.next", checkpoints / "latest") if link.is_symlink()]
        if newest := [link for link in links if link in whole or link == links[-1]][:1]:
            whole = [name for name in whole if name <= newest[0]]
        return lambda out: f"resumed from {checkpoints}/{whole[-1]} at" in out if whole else "resumed from" not in out


class Resuming(Training):
    """A run that was killed in its last step and set back to step 8, of which the checkpoint is damaged, as is a line of metrics: it goes on
    from step 6, keeps both aside, and takes back what came after, a later checkpoint too."""

    def __init__(self, home):
        super().__init__(home, "resume")
        self.keys += harness.sets(checkpoint__keep=0)
        harness.run(*self.line(self.home / "half")[1:])
        checkpoints = self.home / "half/run/checkpoints"
        (checkpoints / "latest").unlink()
        (checkpoints / "latest").symlink_to("step_00000008")
        (checkpoints / "step_00000008/state.json").write_text("{")
        (checkpoints / "step_00000012.unfinished").mkdir()

        metrics = self.home / "half/run/metrics.jsonl"
        metrics.write_text(metrics.read_text().replace("\n", "\n{broken\n", 1))

    def result(self, folder):
        kept = (folder / "run/metrics.jsonl.damaged").read_text()  # twice, where it was killed behind it
        return super().result(folder) | {"the damaged line": "{broken\n" in kept}

    def run(self, folder, **faults):
        if not folder.exists():
            shutil.copytree(self.home / "half", folder, symlinks=True)
        return super().run(folder, **faults)


class Ranks(Training):
    """Two ranks that share the weights; the calls of one fail."""

    def __init__(self, home, rank):
        super().__init__(home, f"rank {rank} of 2")
        self.rank = rank
        self.keys += harness.sets(system__shard="parameters")

    def run(self, folder, **faults):
        faulty = ["env", f"LD_PRELOAD={LIBRARY}", f"FAULTS_UNDER={folder}", *(f"FAULTS_{key}={value}" for key, value in faults.items())] if faults else []
        ranks = [(faulty if rank == self.rank else []) + self.line(folder) for rank in (0, 1)]
        done = ended([*ranks_home.MPIRUN, "-np", "1", *ranks[0], ":", "-np", "1", *ranks[1]], os.environ | {"OMP_NUM_THREADS": "1"})
        if done.returncode not in (0, HANGS) and faults.get("KIND") in ("kill", "torn"):
            done.returncode = KILLED  # mpirun has a code of its own
        done.stderr = "".join(line + "\n" for line in ranks_home.ours(done.stderr))
        return done


class Preparing(Subject):
    leaves_rests = True

    def __init__(self, home):
        super().__init__(home, "prepare")
        self.shards = harness.write_corpus(home / "texts", documents=60)

    def line(self, folder):
        return harness.command("prepare", self.shards, "--tokenizer", "bytes", "--out", folder / "store", "--threads", 1, "--holdout", 0.1, "--dedup")

    def result(self, folder):
        return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


class OfTraining(Subject):
    """Reads the folder of the undisturbed training."""

    leaves_rests = True

    def __init__(self, home):
        super().__init__(home, self.command)
        self.run_folder = home / "train/whole/run"


class Analyzing(OfTraining):
    command = "analyze"

    def line(self, folder):
        return harness.command("analyze", self.run_folder, "--out", folder / "out", "--sequences", 2, "--length", 16, "--only", "trajectory", "--only", "keys")

    def result(self, folder):
        return harness.analyses(folder / "out")


class Reporting(OfTraining):
    command = "report"

    def line(self, folder):
        return [sys.executable, str(harness.ROOT / "scripts/report.py"), str(self.run_folder), "--out", str(folder / "page/report.html")]

    def result(self, folder):
        return {"page": re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d", "", (folder / "page/report.html").read_text())}


with tempfile.TemporaryDirectory() as temporary:
    home = Path(temporary)
    record = {}
    subjects = [(Training, 1), (Resuming, 3), (Preparing, 3), (Analyzing, 5), (Reporting, 20)]
    if shutil.which("mpirun"):
        subjects[2:2] = [(lambda home, rank=rank: Ranks(home, rank), 10) for rank in (0, 1)]
    for kind, share in subjects:
        subject = kind(home)
        calls = subject.calls()
        if kind is Training:
            names = {("fsync", "run/metrics.jsonl"): "synced", ("rename", "run/checkpoints/step_N"): "placed"}
            order = [names[key] for number, call in calls if (key := (call, subject.files[number])) in names]
            report.check(order == ["synced", "placed"] * 5, f"metrics are on the disk before a checkpoint of them is in place: {order}")
        for point in subject.points(calls, "all" if POINTS == "all" else int(POINTS) // share):
            subject.try_point(*point)
        subject.table()
        record[subject.name] = {"calls": len(calls), **subject.record()}
    if out := os.environ.get("SPIKESINK_FAULTS_RECORD"):
        Path(out).write_text(json.dumps(record, indent=1) + "\n")
report.end()
