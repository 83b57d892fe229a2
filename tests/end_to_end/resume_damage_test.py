#!/usr/bin/env python3
"""A run whose newest checkpoint is damaged, in whatever way, goes on from the one before to the losses of a run that was not, and loses
nothing: the damaged one is named and kept aside. What cannot be listed or read ends the resume and changes nothing, and a run whose checkpoints
are gone does not begin anew. A replay tells when the step is not the one that the run logged."""

import errno
import json
import os
import shutil
import struct
import tempfile
from pathlib import Path

import harness

LIBRARY = harness.LIBRARIES / "failing_reads.so"
report = harness.Report()


def edited(change):
    """Changes state.json, which keeps its old checksum."""

    def damage(checkpoint):
        file = checkpoint / "state.json"
        state = json.loads(file.read_text())
        change(state)
        file.write_text(json.dumps(state))

    return damage


def unsummed(change):
    """The same in a checkpoint of an earlier program, without a checksum of its own."""

    def both(state):
        del state["state_crc32c"]
        change(state)

    return edited(both)


def cut(name):
    def damage(checkpoint):
        file = checkpoint / name
        file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])

    return damage


DAMAGE = {
    "another step": edited(lambda state: state.update(step=2)),
    "a negative step": edited(lambda state: state.update(step=-12)),
    "another step, no sum": unsummed(lambda state: state.update(step=11)),
    "skipped, no sum": unsummed(lambda state: state.update(skipped=1)),
    "tokens": edited(lambda state: state.update(tokens=state["tokens"] + 7000)),
    "config": edited(lambda state: state.update(config=state["config"].replace("steps", "stops"))),
    "the sum": edited(lambda state: state.update(state_crc32c="00000000")),
    "state.json cut off": cut("state.json"),
    "state.json is empty": lambda checkpoint: (checkpoint / "state.json").write_text(""),
    "no state.json": lambda checkpoint: (checkpoint / "state.json").unlink(),
    "tensors cut off": cut("rank_0000.h5"),
    "no tensors": lambda checkpoint: (checkpoint / "rank_0000.h5").unlink(),
}


def masked(data):
    """The checksum of a length or an event in TensorBoard's files."""
    crc = harness.crc32c(data)
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def losses(run):
    return [(line["step"], line["loss"]) for line in harness.metrics(run) if "event" not in line]


with tempfile.TemporaryDirectory() as temporary:
    home = Path(temporary)
    corpus = harness.write_corpus(home / "data", documents=60)

    def train(name, *more, steps=9, check=True, **reads):
        keys = harness.sets(data__train=f"[{corpus}]", data__holdout=0.1, train__steps=steps, train__schedule__warmup_steps=1,
                            train__schedule__kind="constant", metrics__sequences=2, metrics__every_steps=1, checkpoint__every_steps=3,
                            checkpoint__keep=0, run__dir=home, run__name=name, **harness.SMALL)  # fmt: skip
        faults = {"LD_PRELOAD": str(LIBRARY)} | {f"READS_{key}": str(value) for key, value in reads.items()} if reads else {}
        return harness.run("train", harness.TINY, *keys, *more, check=check, env=os.environ | faults)

    def copy_of(name):
        run = home / name.replace(" ", "_")
        shutil.copytree(home / "half", run, symlinks=True)
        (run / "config.yaml").write_text((run / "config.yaml").read_text().replace("name: half", f"name: {run.name}"))
        return run

    def contents(run):
        ours = ("log.txt", ".lock")
        return {path: path.is_symlink() or path.is_dir() or path.read_bytes() for path in run.rglob("*") if path.name not in ours}

    def refuses(what, run, named, *words, mended=lambda: None, goes_on="at step 9", **reads):
        """A resume that cannot tell what there is changes nothing, and goes on as it would have when it can."""
        before = contents(run)
        done = train(run.name, "--resume", steps=12, check=False, **reads)
        one_line = done.returncode == 3 and done.stderr.count("\n") == 1 and all(word in done.stderr for word in (str(named), *words))
        report.check(one_line, f"{what}: exit {done.returncode}: {done.stderr}")
        report.check(contents(run) == before, f"{what}: nothing is changed: {set(contents(run)) ^ set(before)}")
        mended()
        done = train(run.name, "--resume", steps=12)
        report.check(goes_on in done.stdout, f"{what}, mended: {done}")
        report.check(losses(run) == whole, f"{what}, mended: the losses of a run that was not disturbed")

    train("whole", steps=12)
    train("half")
    whole = losses(home / "whole")
    for number, (what, damage) in enumerate(DAMAGE.items()):
        run = copy_of(f"damaged {number}")
        newest = run / "checkpoints/step_00000009"
        damage(newest)
        left = {path.name: path.read_bytes() for path in newest.iterdir()}
        done = train(run.name, "--resume", steps=12, check=False)
        report.check(done.returncode == 0 and f"resumed from {run}/checkpoints/step_00000006" in done.stdout, f"{what}: {done}")
        said = [line for line in done.stdout.splitlines() if "passed over: " in line]
        report.check(len(said) == 1 and str(newest) in said[0], f"{what}: it is named once: {said}")
        report.check(losses(run) == whole, f"{what}: the losses of a run that was not disturbed")
        names = {path.name for path in (run / "checkpoints").iterdir()}
        report.check(names >= {f"step_{step:08d}" for step in (3, 6, 9, 12)}, f"{what}: checkpoints {names}")
        kept = {path.name: path.read_bytes() for path in newest.with_name(newest.name + ".damaged").iterdir()}
        report.check(kept == left, f"{what}: what is damaged is kept: {sorted(kept)}")

    # Checkpoints that are not where they were: on a disk that is not mounted, in a copy that broke off, behind a link.
    def gone(change):
        run = copy_of(f"gone {change.__name__}")
        checkpoints, kept = run / "checkpoints", run / "kept"
        checkpoints.rename(kept)

        def put_back():
            checkpoints.unlink() if checkpoints.is_symlink() else shutil.rmtree(checkpoints)
            kept.rename(checkpoints)

        change(checkpoints, kept)
        return run, checkpoints, put_back

    def empty(checkpoints, _):
        checkpoints.mkdir()

    def half_copied(checkpoints, kept):
        shutil.copytree(kept, checkpoints, ignore=shutil.ignore_patterns("state.json", "latest"))

    def leads_nowhere(checkpoints, _):
        checkpoints.symlink_to(home / "no disk")

    for change, word in ((empty, "is their disk mounted?"), (half_copied, "has no whole checkpoint")):
        run, checkpoints, put_back = gone(change)
        refuses(change.__name__, run, checkpoints, word, str(run), mended=put_back)
    train("short", steps=4)  # not more than it could have come to without a checkpoint
    short, away = home / "short", home / "away"
    (short / "checkpoints").rename(away)
    before, done = contents(short), train("short", "--resume", steps=12, check=False)
    told = done.returncode == 3 and done.stderr.count("\n") == 1 and f"{short}/first_checkpoint.json" in done.stderr
    report.check(told and contents(short) == before | {short / "checkpoints": True}, f"short: {done}")
    (short / "checkpoints").rmdir()
    away.rename(short / "checkpoints")
    report.check("at step 4" in train("short", "--resume", steps=12).stdout and losses(short) == whole, "short, mended")
    run, checkpoints, put_back = gone(leads_nowhere)
    done = train(run.name, "--resume", steps=12, check=False)
    report.check(done.returncode == 3 and done.stderr.count("\n") == 1 and "no disk" in done.stderr, f"a link to nowhere: {done}")
    put_back()

    # A folder that cannot be listed at the moment: when the run looks for what is unfinished, for the newest checkpoint, and for those after it.
    for number in range(1, 4):
        run = copy_of(f"listing {number}")
        refuses(f"listing {number}", run, run, "cannot be listed", "check the disk", CALL="list", PATH=f"{run.name}/checkpoints",
                FROM=number, COUNT=1, ERRNO=errno.EIO)  # fmt: skip

    # A checkpoint that cannot be read at the moment is none that is damaged.
    for number, (file, call, code) in enumerate([(file, call, code) for file in ("state.json", "rank_0000.h5") for call, code in
                                                 (("open", errno.EACCES), ("open", errno.EMFILE), ("read", errno.EIO))]):  # fmt: skip
        run = copy_of(f"reading {number}")
        newest = run / "checkpoints/step_00000009" / file
        refuses(f"{call} of {file}: {os.strerror(code)}", run, newest, "cannot be", os.strerror(code), CALL=call,
                PATH=newest.relative_to(home), FROM=1, COUNT=1, ERRNO=code)  # fmt: skip

    # What is read to cut back: nothing has gone before that is known, neither newer checkpoints nor a damaged one.
    for number, (call, part, first) in enumerate((("open", "metrics.jsonl", 1), ("read", "metrics.jsonl", 1), ("list", "probes", 2), ("list", "tensorboard", 1),
                                                  ("open", "tfevents", 1), ("list", "checkpoints", 4))):  # fmt: skip
        run = copy_of(f"unread {number}")
        (run / "checkpoints/latest").unlink()
        (run / "checkpoints/latest").symlink_to("step_00000006")
        cut("state.json")(run / "checkpoints/step_00000006")
        refuses(f"{call} of {part} before a cut", run, part, "cannot be", "check the disk", goes_on="at step 3", CALL=call,
                PATH=part if part == "tfevents" else f"{run.name}/{part}", FROM=first, COUNT=1, ERRNO=errno.EIO)  # fmt: skip

    # A run without a checkpoint that could not begin anew at first still can: its steps are judged by the config that they were made with.
    run = copy_of("never")
    shutil.rmtree(run / "checkpoints")
    (run / "checkpoints").mkdir()
    (run / "first_checkpoint.json").unlink()
    (run / "config.yaml").write_text((run / "config.yaml").read_text().replace("every_steps: 3", "every_steps: 100"))
    refuses("beginning anew", run, run / "metrics.jsonl", "cannot be", "check the disk", goes_on="starting at step 0", CALL="open",
            PATH=f"{run.name}/metrics.jsonl", FROM=2, COUNT=1, ERRNO=errno.EIO)  # fmt: skip

    # All of them damaged.
    run = copy_of("all")
    for checkpoint in (run / "checkpoints").glob("step_*"):
        cut("state.json")(checkpoint)
    done = train("all", "--resume", steps=12, check=False)
    told = done.returncode == 3 and done.stderr.count("\n") == 1 and "none of 3 damaged checkpoints can be used" in done.stderr
    report.check(told and "json.exception" not in done.stderr and str(run / "checkpoints/step_00000009") in done.stderr, f"all damaged: {done}")

    # Copies that follow links have a folder for `latest`; an older `latest`, set by hand, takes the newer checkpoints back, which is said.
    run = home / "copied"
    shutil.copytree(home / "half", run)
    done = train("copied", "--resume", steps=12)
    report.check(f"{run}/checkpoints/latest: is a folder" in done.stdout and losses(run) == whole, f"latest is a folder: {done.stdout}")
    report.check(os.readlink(run / "checkpoints/latest") == "step_00000012", "latest is a link again")
    report.check((run / "checkpoints/latest.copy/state.json").exists(), "the folder is kept")
    run = copy_of("older")
    (run / "checkpoints/latest").unlink()
    (run / "checkpoints/latest").symlink_to("step_00000003")
    done = train("older", "--resume", steps=12)
    said = [line.split(":")[0] for line in done.stdout.splitlines() if "taken back" in line]
    report.check(said == [f"{run}/checkpoints/step_0000000{step}" for step in (6, 9)] and losses(run) == whole, f"an older latest: {done.stdout}")

    # One of a newer program is no damage: the run does not go on from an older one.
    shutil.copytree(home / "half", home / "newer", symlinks=True)
    newest = home / "newer/checkpoints/step_00000009"
    unsummed(lambda state: state.update(format=99))(newest)
    done = train("newer", "--resume", steps=12, check=False)
    report.check(done.returncode == 2 and done.stderr.count("\n") == 1 and "format 99" in done.stderr, f"a newer format: {done}")
    report.check(newest.exists(), "which stays")

    # Lines of metrics that are damaged are told of and kept.
    shutil.copytree(home / "half", home / "metrics", symlinks=True)
    file = home / "metrics/metrics.jsonl"
    lines = file.read_text().splitlines(keepends=True)
    file.write_text("".join(lines[:2] + ["{broken\n"] + lines[2:]))
    # So are events of TensorBoard; those behind them stay.
    events = next((home / "metrics/tensorboard").iterdir())
    data = bytearray(events.read_bytes())
    at = data.index(b"train/loss") - 40  # in what stands before the first of them
    while struct.pack("<I", masked(data[at : at + 8])) != data[at + 8 : at + 12]:
        at += 1
    data[at] ^= 1
    events.write_bytes(data)
    done = train("metrics", "--resume", steps=12)
    report.check(f"{events}: " in done.stdout and "damaged bytes left out" in done.stdout, f"damaged events: {done.stdout}")
    copies = list((home / "metrics/tensorboard").glob("*.damaged"))
    report.check([copy.read_bytes() for copy in copies] == [bytes(data)], f"which are kept: {copies}")
    tags = b"".join(path.read_bytes() for path in (home / "metrics/tensorboard").glob("*tfevents*")).count(b"train/loss\x15")
    report.check(tags == 11, f"{tags} losses in TensorBoard, all but that of one step")
    report.check("metrics.jsonl: 1 damaged line left out, kept in" in done.stdout, f"a damaged line of metrics: {done.stdout}")
    report.check((home / "metrics/metrics.jsonl.damaged").read_text() == "{broken\n" and losses(home / "metrics") == whole, "its bytes are kept")

    # A step that the run never came to; a step that had another learning rate then.
    done = train("half", "--replay", 12, steps=100, check=False)
    report.check(done.returncode == 2 and "has come to step 9" in done.stderr, f"a step that was not: {done}")
    done = train("half", "--replay", 8)
    report.check("the run logged another" not in done.stdout, f"the step that it was: {done.stdout}")
    done = train("half", "--replay", 8, *harness.sets(train__optimizer__lr=0.05))
    report.check("the run logged another step" in done.stdout, f"another learning rate: {done.stdout}")
report.end()
