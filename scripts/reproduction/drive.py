"""Runs what is missing, by `spikesink sweep run`, and records each run as soon as it is finished."""

import json
import shutil
import statistics
import subprocess
import time

import yaml

from .records import Trouble, differences, identity
from .scale import resolved, seeds_of

POLL = 5  # seconds between looks for finished runs


def name_of(row, seed):
    return f"{row}_seed{seed}"


def wanted(scale, contrasts):
    """(row, seed) of all runs that the contrasts need: the first seed of each row first."""
    rows = dict.fromkeys(row for contrast in contrasts for row in contrast.rows)
    return [(row, seed) for seed in seeds_of(scale) for row in rows]


def changes(program, scale, config, row, seed):
    """Keys in which a recorded or trained run's config differs from what the row has now, as a text; empty: in none."""
    found = differences(identity(config), identity(resolved(program, scale, row, seed)))
    return ", ".join(found[:5]) + (f" and {len(found) - 5} more" if len(found) > 5 else "")


def require_configs(program, scale, records, runs):
    """Refuses what was recorded of another config."""
    for row, seed in runs:
        record = records.read(row, seed)
        changed = record and changes(program, scale, record.content["config"], row, seed)
        if changed:
            raise Trouble(f"{records.path(row, seed)}: of another config than the row has now: {changed}; remove it to run it "
                          "anew, or keep yours apart by --results FOLDER")  # fmt: skip


def missing(records, runs):
    """Those of `runs` that have no record."""
    return [key for key in runs if records.read(*key) is None]


def require_data(records, runs, data):
    """Refuses what was recorded of other data, as far as that is known."""
    known = data.description()
    for row, seed in runs:
        record = records.read(row, seed)
        if record and any(record.content["data"].get(key) != value for key, value in known.items()):
            raise Trouble(f"{records.path(row, seed)}: of other data than {data.store}; keep records of yours apart by --results "
                          "FOLDER")  # fmt: skip


def prepare_data(program, records, runs, data):
    """Makes tokenizer and store; what is recorded of other data is refused as soon as that is seen."""
    data.require_text()
    for make in (data.make_tokenizer, data.make_store):
        require_data(records, runs, data)
        make(program)
    require_data(records, runs, data)


def expected_minutes(scale, records, runs, jobs):
    """(minutes, of what that is known): by the records of the same rows, then of any, then by the scale. Medians: a run beside
    which the machine had other work says little of the next."""
    known = {}
    for file in sorted(records.folder.glob("*_seed*.json")) if records.folder.is_dir() else []:
        row, seed = file.stem.rsplit("_seed", 1)
        known.setdefault(row, []).append(records.read(row, int(seed)).content["seconds"] / 60)
    all_known = [minutes for of_row in known.values() for minutes in of_row]
    other = statistics.median(all_known) if all_known else scale.minutes
    total = sum(statistics.median(known[row]) if row in known else other for row, _ in runs)
    return total / jobs, "as the recorded runs took" if all_known else f"at {scale.minutes} minutes a run on {scale.on}"


def restore(scale, records, runs, data):
    """Makes scale.recorded anew, of the records alone."""
    shutil.rmtree(scale.recorded, ignore_errors=True)
    (scale.recorded / "runs").mkdir(parents=True)
    for row, seed in runs:
        if record := records.read(row, seed):
            record.restore(scale.recorded / "runs" / name_of(row, seed), data.keys())
    claim = {"format": 1, "name": scale.recorded.name, "file": str(scale.sweep)}  # as `sweep run` makes it the sweep's
    (scale.recorded / "sweep.json").write_text(json.dumps(claim) + "\n")


class Drive:
    def __init__(self, program, scale, records, data, jobs):
        self.program, self.scale, self.records, self.data, self.jobs = program, scale, records, data, jobs

    def finished(self):
        """(row, seed) of the runs of the sweep's folder that are done here."""
        if not (self.scale.folder / "sweep.json").exists():
            return set()
        runs = json.loads(self.program.ask("sweep", "status", self.scale.sweep, "--json", *self.data.sets()))["runs"]
        return {(run["run"].rsplit("_seed", 1)[0], run["seed"]) for run in runs if run["state"] == "finished"}

    def folder(self, row, seed):
        return self.scale.folder / "runs" / name_of(row, seed)

    def changes(self, row, seed):
        """Of the run that was begun here, if any."""
        try:
            config = yaml.safe_load((self.folder(row, seed) / "config.yaml").read_text())
        except FileNotFoundError:
            return ""
        return changes(self.program, self.scale, config, row, seed)

    def require_configs(self, runs):
        """Refuses what was begun here with another config: it would go on, or be recorded, as what it is not."""
        for row, seed in runs:
            if changed := self.changes(row, seed):
                raise Trouble(f"{self.folder(row, seed)}: trained with another config than the row has now: {changed}; remove it to "
                              "run it anew")  # fmt: skip

    def record(self, runs):
        """Those of `runs` that are finished, of the row's config and not recorded; how many."""
        finished = self.finished()
        new = [key for key in runs if key in finished and not self.records.path(*key).exists() and not self.changes(*key)]
        for row, seed in new:
            attempts = self.scale.folder / "attempts" / f"{name_of(row, seed)}.jsonl"
            self.records.write(row, seed, self.folder(row, seed), attempts, self.data.description())
        return len(new)

    def run(self, runs):
        """All of them; those that finish are recorded at once. The exit code of `sweep run`."""
        self.require_configs(runs)
        self.record(runs)
        runs = missing(self.records, runs)
        if not runs:
            return 0
        only = [word for row, seed in runs for word in ("--only", name_of(row, seed))]
        words = [self.program.path, "sweep", "run", self.scale.sweep, "--jobs", str(self.jobs), *only, *self.data.sets()]
        process = subprocess.Popen(list(map(str, words)))
        done, begun = 0, time.monotonic()
        try:
            while (code := wait(process, POLL)) is None:
                if new := self.record(runs):
                    done += new
                    left = (time.monotonic() - begun) / done * (len(runs) - done) / 60
                    print(f"recorded {done} of {len(runs)} runs, about {left:.0f} min left", flush=True)
        except KeyboardInterrupt:
            code = process.wait()  # it has the signal too, and saves
        self.record(runs)
        self.require_configs(runs)  # a row whose config was changed meanwhile
        return code


def wait(process, seconds):
    try:
        return process.wait(seconds)
    except subprocess.TimeoutExpired:
        return None
