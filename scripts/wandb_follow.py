#!/usr/bin/env python3
"""Sends a run's metrics to Weights & Biases, as the run goes on or afterwards.

    wandb_follow.py RUN [--project P] [--entity E] [--group G] [--offline] [--once]
    wandb_follow.py --check            is wandb there?

RUN is a run's folder. Its config.yaml becomes the configuration, each logged step and probe of metrics.jsonl a row, under
the tags that TensorBoard shows (train/loss, probe/sink_ratio). It ends when nobody uses the folder any more and all is
sent; with --once at the end of what is there; on SIGTERM after sending that. RUN/wandb.json keeps the W&B run and the last
step that was sent, so that a second start goes on with it and sends each step once, also after the run was resumed from
an earlier step. `train` starts it by itself with metrics.loggers: [jsonl, wandb].

wandb's own variables hold: WANDB_MODE=offline, WANDB_DIR (default: RUN), WANDB_PROJECT, WANDB_ENTITY, WANDB_RUN_GROUP.
What it sent offline, `wandb sync` uploads. Exit codes: 0 all is sent, 1 W&B failed, 2 usage.
"""
import argparse
import fcntl
import json
import os
import pathlib
import secrets
import select
import signal
import sys
import time

NOT_METRICS = {"step", "event", "samples", "busiest_rank"}  # what orders or identifies
LOCK_PATIENCE = 60  # seconds after the run's end


class Trouble(Exception):
    """A line for the user; exit code 2."""


class Lines:
    """The lines of a file that grows, and that a resume replaces by its beginning."""

    def __init__(self, path):
        self.path, self.file, self.rest = path, None, b""

    def replaced(self):
        try:
            now = os.stat(self.path)
        except FileNotFoundError:
            return False  # and so is what is open
        open_ = os.fstat(self.file.fileno())
        return (now.st_dev, now.st_ino) != (open_.st_dev, open_.st_ino) or now.st_size < self.file.tell()

    def new(self):
        """(whether the file begins again, the whole lines since the last call, as objects)."""
        begins = self.file is None or self.replaced()
        if begins:
            try:
                file = open(self.path, "rb")  # noqa: SIM115
            except FileNotFoundError:
                return False, []
            if self.file:
                self.file.close()
            self.file, self.rest = file, b""
        *whole, self.rest = (self.rest + self.file.read()).split(b"\n")
        return begins, [entry for entry in map(self.parse, whole) if entry]

    def parse(self, line):
        try:
            entry = json.loads(line)
            if isinstance(entry, dict) and isinstance(entry.get("step"), int):
                return entry if entry.get("event", "probe") == "probe" else None  # else it says what data the run has
        except (ValueError, RecursionError):
            pass
        print(f"{self.path}: left out, since it is no line of a step: {line[:60]!r}", file=sys.stderr, flush=True)
        return None


class Rows:
    """Lines gathered by step: a row is whole when a line of a later step is there."""

    def __init__(self):
        self.step, self.values = None, {}

    def add(self, entry):
        """The row that `entry` ends, or None."""
        done = self.take() if entry["step"] != self.step else None
        self.step = entry["step"]
        part = entry.get("event", "train")
        for name, value in entry.items():
            if name not in NOT_METRICS and isinstance(value, (int, float)):
                self.values[f"{part}/{name}"] = value
        return done

    def take(self):
        row, self.step, self.values = (self.step, self.values), None, {}
        return row if row[0] is not None else None


class State:
    """RUN/wandb.json."""

    def __init__(self, folder):
        self.path = folder / "wandb.json"
        try:
            kept = json.loads(self.path.read_text())
            self.id, self.step = kept["id"], kept["step"]
            if not isinstance(self.id, str) or not isinstance(self.step, int):
                raise ValueError("id and step")
        except FileNotFoundError:
            self.id, self.step = None, -1
        except (ValueError, KeyError, TypeError) as error:
            raise Trouble(f"{self.path}: damaged ({error}); remove it to begin another W&B run") from error

    def write(self):
        unfinished = self.path.with_name(".unfinished.wandb.json")
        unfinished.write_text(json.dumps({"id": self.id, "step": self.step}) + "\n")
        os.replace(unfinished, self.path)


class End:
    """Whether the run has ended, and whether its last row is whole."""

    def __init__(self, folder, args):
        self.folder, self.args, self.told, self.terminated, self.eof = folder, args, b"", False, False
        signal.signal(signal.SIGTERM, self.on_signal)

    def on_signal(self, *_):
        self.terminated = True

    def come(self):
        return self.terminated or self.args.once or (self.eof if self.args.from_run else self.unused())

    def unused(self):
        try:
            with open(self.folder / ".lock", "rb") as file:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)  # for a moment, and once: then this ends
            return True
        except BlockingIOError:
            return False
        except FileNotFoundError:
            return True

    def is_whole(self, step):
        """Of the last row, that of `step`. Else a probe of it may follow, also after a resume: it is sent then."""
        return b"end\n" in self.told if self.args.from_run else self.unused() and not self.awaits_resume(step)

    def awaits_resume(self, step):
        """Whether the newest checkpoint is from before `step`, or from a stop that was in too much of a hurry to probe."""
        states = sorted(self.folder.glob("checkpoints/step_*[0-9]/state.json"))
        try:
            newest = json.loads(states[-1].read_text()) if states else {"step": step}
            return newest["step"] < step or (newest["step"] == step and newest.get("probe_owed", False))
        except (ValueError, KeyError, TypeError):
            return False  # damaged: a resume will say so

    def wait(self):
        deadline = time.monotonic() + self.args.every
        while (left := deadline - time.monotonic()) > 0 and not self.terminated:
            if not self.args.from_run:
                time.sleep(min(left, 0.2))
            elif select.select([0], [], [], min(left, 0.2))[0]:
                said = os.read(0, 100)
                self.told += said
                if not said:
                    self.eof = True
                    return


def take_lock(folder, end):
    """Two must not send one run: waits for another that has it, which ends soon after the run that it is of."""
    file = open(folder / ".wandb.lock", "a+")  # noqa: SIM115
    since_end = None
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return file
        except BlockingIOError:
            if end.come() and since_end is None:
                since_end = time.monotonic()
            late = since_end is not None and time.monotonic() - since_end > LOCK_PATIENCE
            if late or end.terminated or not end.args.from_run:
                raise Trouble(f"{folder}: another wandb_follow.py sends it; wait for that to end") from None
            end.wait() if since_end is None else time.sleep(0.2)


def group_of(folder):
    """The sweep's name, of one of its runs."""
    sweep = folder.resolve().parent.parent
    return sweep.name if (sweep / "sweep.json").exists() else None


def begin(wandb, folder, args, state):
    import yaml

    try:
        config = yaml.safe_load((folder / "config.yaml").read_text())
    except FileNotFoundError:
        raise Trouble(f"{folder}: no config.yaml; name the folder of a run") from None
    except yaml.YAMLError as error:
        raise Trouble(f"{folder}/config.yaml: damaged: {' '.join(str(error).split())}") from error
    environment = os.environ.get
    state.id = state.id or secrets.token_hex(4)
    run = wandb.init(
        id=state.id, resume="allow", name=folder.resolve().name, dir=environment("WANDB_DIR") or str(folder),
        project=args.project or environment("WANDB_PROJECT") or "spikesink", entity=args.entity,
        group=args.group or environment("WANDB_RUN_GROUP") or group_of(folder),
        mode="offline" if args.offline else None,
        settings=wandb.Settings(console="off", disable_git=True, disable_code=True))  # fmt: skip
    run.config.update(config, allow_val_change=True)
    state.write()
    return run


def follow(wandb, folder, args):
    end = End(folder, args)
    lock = take_lock(folder, end)
    if not (folder / "metrics.jsonl").exists() and not args.from_run:
        raise Trouble(f"{folder}: no metrics.jsonl; name the folder of a run that has begun")
    state = State(folder)
    run = begin(wandb, folder, args, state)
    at_start = run.step  # online W&B knows what it has, also after a kill between a row and wandb.json
    lines, rows, sent = Lines(folder / "metrics.jsonl"), Rows(), 0

    def send(row):
        nonlocal sent
        if row and row[0] > state.step:
            if row[0] >= at_start:
                run.log(row[1], step=row[0], commit=True)
                sent += 1
            state.step = row[0]

    while True:
        over = end.come()  # asked first, so that what is then read is all
        begins, entries = lines.new()
        if begins:
            rows = Rows()
        before = state.step
        for entry in entries:
            send(rows.add(entry))
        if over and rows.step is not None and end.is_whole(rows.step):
            send(rows.take())
        if state.step > before:
            state.write()
        if over:
            break
        end.wait()
    run.finish()
    print(f"{folder}: {sent} steps sent, to step {state.step}, W&B run {state.id}", flush=True)
    lock.close()


def load_wandb():
    if os.environ.get("WANDB_MODE") == "offline":
        os.environ.setdefault("WANDB_ERROR_REPORTING", "false")  # which would use the network
    try:
        import wandb
        import yaml  # noqa: F401
    except ImportError as error:
        raise Trouble(f"{sys.executable} has not what W&B needs ({error}): python3 -m pip install wandb") from None
    return wandb


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", nargs="?", type=pathlib.Path, help="a run's folder")
    parser.add_argument("--project", help="default: WANDB_PROJECT, or spikesink")
    parser.add_argument("--entity", help="user or team")
    parser.add_argument("--group", help="default: WANDB_RUN_GROUP, or the run's sweep")
    parser.add_argument("--offline", action="store_true", help="as WANDB_MODE=offline")
    parser.add_argument("--once", action="store_true", help="send what is there, and end")
    parser.add_argument("--every", type=float, default=1.0, metavar="S", help="seconds between looks (default: 1)")
    parser.add_argument("--check", action="store_true", help="only see that wandb can be imported")
    parser.add_argument("--from-run", action="store_true", help="as train starts it: stdin tells the run's end")
    args = parser.parse_args()
    if args.offline:
        os.environ["WANDB_MODE"] = "offline"
    if args.check:
        load_wandb()
        return
    if args.run is None or not args.run.is_dir():
        raise Trouble(f"{args.run or 'no RUN given'}: name the folder of a run; see --help")
    if args.from_run:
        os.nice(5)  # the run goes first
    follow(load_wandb(), args.run, args)


if __name__ == "__main__":
    try:
        main()
    except (Trouble, OSError) as error:
        print(f"wandb_follow.py: {error}", file=sys.stderr)
        sys.exit(2)
