"""Runs what is missing, by `spikesink sweep run`, and records each run as soon as it is finished."""

import json
import shutil
import subprocess
import time

from .records import Trouble, differences, identity
from .scale import resolved, seeds_of

POLL = 5  # seconds between looks for finished runs


def name_of(row, seed):
    return f"{row}_seed{seed}"


def wanted(scale, contrasts):
    """(row, seed) of all runs that the contrasts need: the first seed of each row first."""
    rows = dict.fromkeys(row for contrast in contrasts for row in contrast.rows)
    return [(row, seed) for seed in seeds_of(scale) for row in rows]


def missing(program, scale, records, runs):
    """Those of `runs` that have no record. A record of another config is refused, with what differs."""
    found = []
    for row, seed in runs:
        record = records.read(row, seed)
        if record is None:
            found.append((row, seed))
            continue
        changed = differences(identity(record.content["config"]), identity(resolved(program, scale, row, seed)))
        if changed:
            raise Trouble(f"{records.path(row, seed)}: of another config than the row has now: {', '.join(changed[:5])}; remove "
                          "it to run it anew, or keep yours apart by --results")  # fmt: skip
    return found


def require_data(records, runs, data):
    """Refuses what was recorded of other data."""
    for row, seed in runs:
        record = records.read(row, seed)
        if record and record.content["data"] != data:
            raise Trouble(f"{records.path(row, seed)}: of other data; keep yours apart by --results FOLDER")


def expected_minutes(scale, records, runs, jobs):
    """(minutes, of what that is known): by the records of the same rows, then of any, then by the scale."""
    known = {}
    for file in sorted(records.folder.glob("*_seed*.json")) if records.folder.is_dir() else []:
        row, seed = file.stem.rsplit("_seed", 1)
        known.setdefault(row, []).append(records.read(row, int(seed)).content["seconds"] / 60)
    all_known = [minutes for of_row in known.values() for minutes in of_row]
    other = sum(all_known) / len(all_known) if all_known else scale.minutes
    total = sum(sum(known[row]) / len(known[row]) if row in known else other for row, _ in runs)
    return total / jobs, "as the recorded runs took" if all_known else f"at {scale.minutes} minutes a run on {scale.on}"


def claim(scale):
    """Makes a folder of restored runs that sweep's, where no run of it has started here."""
    identity_file = scale.folder / "sweep.json"
    if not identity_file.exists():
        identity_file.write_text(json.dumps({"format": 1, "name": scale.folder.name, "file": str(scale.sweep)}) + "\n")


class Drive:
    def __init__(self, program, scale, records, data, jobs):
        self.program, self.scale, self.records, self.data, self.jobs = program, scale, records, data, jobs

    def finished(self):
        """(row, seed) of the runs of the sweep's folder that are done here."""
        if not (self.scale.folder / "sweep.json").exists():
            return set()
        runs = json.loads(self.program.ask("sweep", "status", self.scale.sweep, "--json", *self.data.sets()))["runs"]
        return {(run["run"].rsplit("_seed", 1)[0], run["seed"]) for run in runs if run["state"] == "finished"}

    def record(self, runs):
        """Those of `runs` that are finished and not recorded; how many."""
        finished = self.finished()
        new = [key for key in runs if key in finished and not self.records.path(*key).exists()]
        for row, seed in new:
            name = name_of(row, seed)
            self.records.write(row, seed, self.scale.folder / "runs" / name, self.scale.folder / "attempts" / f"{name}.jsonl",
                               self.data.description(), self.program.version)  # fmt: skip
        return len(new)

    def run(self, runs):
        """All of them; those that finish are recorded at once. The exit code of `sweep run`."""
        for row, seed in runs:  # what a record had restored is in the way
            folder = self.scale.folder / "runs" / name_of(row, seed)
            if (folder / "restored").exists():
                shutil.rmtree(folder)
        self.record(runs)
        runs = [key for key in runs if not self.records.path(*key).exists()]
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
        return code


def wait(process, seconds):
    try:
        return process.wait(seconds)
    except subprocess.TimeoutExpired:
        return None
