"""What the tests on several ranks share: runs of one config, alone or under mpirun."""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import harness

MPIRUN = ["mpirun", "--allow-run-as-root", "--oversubscribe", "--bind-to", "none"]
PATIENCE = 300


def skip_without_mpi():
    if not shutil.which("mpirun") or subprocess.run([*MPIRUN, "-np", "2", harness.PROGRAM, "--version"], capture_output=True).returncode:
        print("skipped: no mpirun, or a build without MPI")
        sys.exit(77)


class Home:
    def __init__(self, folder, report):
        self.folder = Path(folder)
        self.report = report
        self.data = harness.write_corpus(self.folder / "data", documents=200)
        self.small = dict(model__d_model=32, model__n_layers=2, model__context=24, model__attention__n_heads=2,
                          model__attention__d_head=16, train__batch_tokens=24 * 7, train__micro_batch=2)  # fmt: skip

    def line(self, name, *more, **keys):
        keys = dict(data__train=f"[{self.data}]", data__holdout=0.1, run__dir=self.folder, run__name=name, metrics__every_steps=1,
                    metrics__probe_every_steps=0, metrics__sequences=2, metrics__loggers="[jsonl]",
                    checkpoint__every_steps=1000000) | keys  # fmt: skip
        keys = {key: value for key, value in keys.items() if value is not None}
        return harness.command("train", harness.TINY, *harness.sets(**keys), *more)

    def start(self, world, line, **environment):
        """A process, or the launcher of several."""
        launcher = [] if world == 1 else [*MPIRUN, "-np", str(world)]
        return subprocess.Popen([*launcher, *line], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                env={**os.environ, "OMP_NUM_THREADS": "1", **environment})  # fmt: skip

    def train(self, world, name, *more, code=0, **keys):
        child = self.start(world, self.line(name, *more, **keys))
        out, err = child.communicate(timeout=PATIENCE)
        self.report.check(child.returncode == code, f"{name} on {world}: exit {child.returncode}, {out[-500:]}, {err}")
        return out, err

    def steps(self, name):
        return [line for line in harness.metrics(self.folder / name) if "event" not in line]


def differences(a, b):
    return max(abs(x["loss"] - y["loss"]) for x, y in zip(a, b))


def samples(steps):
    return [line["samples"] for line in steps]


def children_of(launcher):
    return Path(f"/proc/{launcher.pid}/task/{launcher.pid}/children").read_text().split()


def rank_pid(launcher, rank):
    """Of a rank that the launcher has started."""
    children = children_of(launcher)
    mark = f"\0OMPI_COMM_WORLD_RANK={rank}\0".encode()
    return next(int(pid) for pid in children if mark in Path(f"/proc/{pid}/environ").read_bytes())


def runs(pid):
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False


def wait_for_end(pids, report):
    """Of ranks whose launcher has ended: it does not wait for those that it has killed, which may hold their folder still."""
    end = time.monotonic() + 60
    while any(map(runs, pids)) and time.monotonic() < end:
        time.sleep(0.01)
    report.check(not any(map(runs, pids)), f"ranks that a launcher has left are gone: {pids}")


def ours(err):
    """What we said, without mpirun's own words."""
    return [line for line in err.splitlines() if line.startswith("spikesink: ")]
