#!/usr/bin/env python3
"""A step that is run again has the loss and gradient norm that it had, to the last bit, and shows what was not finite; a run that
diverges says so, stops or goes on as it is told, and records which samples it was."""

import json
import shutil
import subprocess
import tempfile
from pathlib import Path

import harness

USAGE, DATA, DIVERGED = 2, 3, 4
report = harness.Report()


def steps(folder):
    return {line["step"]: line for line in harness.metrics(folder) if "event" not in line}


with tempfile.TemporaryDirectory() as temporary:
    home = Path(temporary)
    corpus = harness.write_corpus(home / "data")
    keys = harness.sets(
        data__train=f"[{corpus}]", data__holdout=0.05, run__dir=home, run__name="run", train__steps=24, model__n_layers=2,
        train__schedule__warmup_steps=5, metrics__every_steps=1, metrics__sequences=4, checkpoint__every_steps=10,
        checkpoint__keep=5)  # fmt: skip
    harness.run("train", harness.TINY, *keys)
    run = steps(home / "run")
    before = {path: path.read_bytes() for path in sorted((home / "run").rglob("*")) if path.is_file()}
    for step, checkpoint in ((17, 10), (10, 0), (21, 20)):
        shown = harness.run("train", harness.TINY, *keys, "--replay", step).stdout
        found = json.loads((home / f"run/replays/step_{step:08d}.json").read_text())
        report.check((found["loss"], found["grad_norm"]) == (run[step]["loss"], run[step]["grad_norm"]), f"step {step}: the same bits")
        report.check(found["checkpoint"] == checkpoint, f"step {step} is reached from {found['checkpoint']}")
        report.check(f"step {step}: loss " in shown and "model.layers.0.mlp" in shown, f"step {step}: {shown}")
        losses = [each["loss"] for each in found["sequences"]]
        report.check(abs(sum(losses) / len(losses) - found["loss"]) < 1e-5, "the step's loss is the mean of its sequences'")
        report.check([each["draw"] for each in found["sequences"]] == list(range((step - 1) * 16, step * 16)), "draws")
        for each in found["parameters"]:
            report.check(each["gradient"]["max"] > 0 and each["gradient"]["not_finite"] == 0, f"gradient of {each['name']}")
        report.check(len(found["parameters"]) == 2 + 1 + 2 * 9, f"{len(found['parameters'])} parameters")
    after = {path: path.read_bytes() for path in before}
    report.check(before == after, "a replay leaves the run's files as they were")

    beside = subprocess.run(["flock", home / "run/.lock", *harness.command("train", harness.TINY, *keys, "--replay", 17)], capture_output=True, text=True)
    report.check(beside.returncode == 0, f"a replay beside a process that trains in the folder: {beside}")

    # A step between two that are logged, which a longer run has at another learning rate; and one that may never have been.
    shutil.copytree(home / "run", home / "longer", symlinks=True)
    longer = [*keys, *harness.sets(run__name="longer", train__steps=32, metrics__every_steps=10)]
    harness.run("train", harness.TINY, *longer, "--resume")
    shown = harness.run("train", harness.TINY, *longer, "--replay", 17).stdout
    report.check("changed since step 17 was made: train.steps: 24 -> 32" in shown, f"a longer run: {shown}")
    report.check("changed since" not in harness.run("train", harness.TINY, *longer, "--replay", 27).stdout, "its own step")
    shown = harness.run("train", harness.TINY, *longer, "--replay", 28, "--set", "train.steps=36").stdout
    report.check("changed since step 28 was made: train.steps: 32 -> 36" in shown and "may not have come" not in shown, f"a step of it: {shown}")
    shown = harness.run("train", harness.TINY, *longer, "--replay", 33, "--set", "train.steps=36").stdout
    report.check("the last step that the run tells of is 32: it may not have come to 33" in shown, f"a step that was not: {shown}")

    # Of a run that went back to a checkpoint, stopped, and went on from it as if it never had.
    rollback = {"step": 18, "kind": "not_finite", "samples": {"data_step": 17, "first": 272, "count": 16}, "action": "rollback to step 10"}
    (home / "run/divergences.jsonl").write_text(json.dumps(rollback) + "\n")
    shown = harness.run("train", harness.TINY, *keys, "--replay", 17).stdout
    found = json.loads((home / "run/replays/step_00000017.json").read_text())
    report.check(found["data_step"] == 24 and "the run logged another step 11, which had" in shown, f"a rollback's samples: {found['data_step']}: {shown[-300:]}")
    harness.run("train", harness.TINY, *keys, "--replay", 17, "--set", "train.steps=17")  # less than it had when it went back
    found = json.loads((home / "run/replays/step_00000017.json").read_text())
    report.check(found["data_step"] == 24, f"a rollback's samples in a run that was made shorter: {found['data_step']}")
    shutil.rmtree(home / "run/checkpoints/step_00000020")
    shutil.rmtree(home / "run/checkpoints/step_00000024")
    (home / "run/checkpoints/latest").unlink()
    harness.run("train", harness.TINY, *keys, "--resume")
    records = [json.loads(line) for line in (home / "run/divergences.jsonl").read_text().splitlines()]
    report.check(records[1:] == [{"step": 10, "kind": "resumed", "samples": {"data_step": 10, "first": 160, "count": 16}}], f"{records}")
    report.check({s: line["loss"] for s, line in steps(home / "run").items()} == {s: line["loss"] for s, line in run.items()}, "the same losses")
    shown = harness.run("train", harness.TINY, *keys, "--replay", 17).stdout
    found = json.loads((home / "run/replays/step_00000017.json").read_text())
    report.check(found["data_step"] == 16 and found["loss"] == run[17]["loss"] and "the run logged another" not in shown, f"after the resume: {found['data_step']}")

    def refused(words, *more):
        done = harness.run("train", harness.TINY, *keys, *more, check=False)
        report.check(done.returncode == USAGE and all(word in done.stderr for word in words), f"{more}: {done.stderr}")

    refused(["--replay 25: the run has 24 steps"], "--replay", 25)
    refused(["run.seed: 1 -> 2"], "--set", "run.seed=2", "--replay", 3)
    refused(["has no run to replay"], "--set", "run.name=other", "--replay", 3)
    refused(["--replay"], "--resume", "--replay", 3)
    refused(["train.max_divergences", "has an effect only with on_divergence skip and rollback"], "--set", "train.max_divergences=1")

    # A shard that has become another one, of its size and of one more byte.
    shard = sorted((home / "data").iterdir())[0]
    text = shard.read_bytes()
    for other, words in ((text.replace(b"a", b"e", 1), [f"data.train: {shard.name} is another file"]), (text + b"\n", ["data.train: is", "when the run started"])):
        shard.write_bytes(other)
        for flag in (["--replay", 3], ["--resume"]):
            done = harness.run("train", harness.TINY, *keys, *flag, check=False)
            said = done.stderr.count("\n") == 1 and all(word in done.stderr for word in words)
            report.check(done.returncode == DATA and said, f"another shard, {flag}: {done.stderr}")
    shard.write_bytes(text)

    # A learning rate that blows the model up at the second step, for ever.
    wild = keys + harness.sets(train__optimizer__lr=1e30, train__optimizer__clip=0, train__schedule__warmup_steps=0)
    for policy, lines in (("stop", 1), ("skip", 4), ("rollback", 4)):
        name = harness.sets(run__name=policy, train__on_divergence=policy, **({} if policy == "stop" else {"train__max_divergences": 3}))
        done = harness.run("train", harness.TINY, *wild, *name, check=False)
        report.check(done.returncode == DIVERGED and done.stderr.count("\n") == 1, f"{policy}: {done.returncode}: {done.stderr}")
        records = [json.loads(line) for line in (home / policy / "divergences.jsonl").read_text().splitlines()]
        report.check(len(records) == lines and records[-1]["action"] == "stop", f"{policy}: {records}")
        report.check(records[0]["step"] == 2 and records[0]["samples"] == {"data_step": 1, "first": 16, "count": 16}, f"{policy}: {records[0]}")
        report.check(records[0]["where"].startswith("the gradient of model."), f"{policy}: {records[0]}")
        report.check(("after 3 that were passed over" in done.stderr) == (policy != "stop"), f"{policy}: {done.stderr}")
        report.check([line["step"] for line in harness.metrics(home / policy) if "event" not in line] == [1], f"{policy}: metrics")
        shown = harness.run("train", harness.TINY, *wild, *name, "--replay", 2).stdout
        report.check("the run logged another" not in shown, f"{policy}: the way to the step that diverged is the run's: {shown}")
    shown = harness.run("train", harness.TINY, *wild, "--set", "run.name=stop", "--replay", 2).stdout
    found = json.loads((home / "stop/replays/step_00000002.json").read_text())
    report.check("when the run came to this step" not in shown, f"as it was: {shown}")
    tame = harness.run("train", harness.TINY, *wild, *harness.sets(run__name="stop", train__optimizer__lr=1e-3), "--replay", 2).stdout
    report.check("when the run came to this step it was not finite, first in the gradient of model." in tame, f"it is finite now: {tame}")
    for policy in ("stop", "skip"):
        file, name = home / policy / "metrics.jsonl", harness.sets(run__name=policy, train__on_divergence=policy)
        file.write_text("".join(json.dumps(line | ({"loss": 1} if line["step"] == 1 else {})) + "\n" for line in harness.metrics(home / policy)))
        other = harness.run("train", harness.TINY, *wild, *name, "--replay", 2).stdout
        report.check("the run logged another step 1, which had loss 1" in other, f"{policy}: a way that is not the run's: {other}")
    bad = ["the gradient of " + each["name"] for each in found["parameters"] if each["gradient"]["not_finite"] > 0]
    record = json.loads((home / "stop/divergences.jsonl").read_text())
    report.check(bad and bad[-1] == record["where"] and "not finite" in shown, f"the replay finds what the run found: {bad}, {record}")
report.end()
