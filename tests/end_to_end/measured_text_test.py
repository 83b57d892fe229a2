#!/usr/bin/env python3
"""What `eval`, `analyze` and `export` take a checkpoint's text and tokenizer to be: those of its training, or nothing; and what a start of `train`
says of schedules, and of folders that are no run's."""

import json
import shutil
import tempfile
from pathlib import Path

import harness

USAGE, DATA = 2, 3
report = harness.Report()


def refuses(what, code, words, *arguments):
    done = harness.run(*arguments, check=False)
    good = done.returncode == code and done.stderr.count("\n") == 1 and all(word in done.stderr for word in words)
    report.check(good, f"{what}: exit {done.returncode}, it said {done.stderr!r}, expected {words}")


def measured(*arguments):
    return json.loads(harness.run("eval", *arguments, "--json").stdout)


with tempfile.TemporaryDirectory() as temporary:
    home = Path(temporary)
    corpus = harness.write_corpus(home / "corpus")
    words, others = home / "words.model", home / "others.model"
    harness.run("tokenizer", "train", corpus, "--vocab", 400, "--out", words)
    harness.run("tokenizer", "train", harness.write_corpus(home / "elsewhere", seed=9), "--vocab", 400, "--out", others)
    keys = harness.sets(**harness.SMALL, data__train=f"[{corpus}]", data__tokenizer=words, data__holdout=0.05, model__vocab_size=400,
                        run__dir=home, train__schedule__warmup_steps=2, metrics__sequences=4)  # fmt: skip
    harness.run("train", harness.TINY, *keys, *harness.sets(run__name="run", train__steps=4))
    run = home / "run"

    # Another tokenizer where that of the training lay.
    before = measured(run)
    report.check(before["sequences"] == 4 and before["sink_epsilon"] == 0.3 and before["sink_length"] == 32, f"{before}")
    report.check(len(before["text_sha256"]) == 64, f"{before}")
    kept = home / "kept.model"
    words.rename(kept)
    refuses("a tokenizer that is gone", DATA, ["words.model", "--tokenizer FILE"], "eval", run)
    report.check(measured(run, "--tokenizer", kept) == before, "the tokenizer may lie elsewhere")
    refuses("a tokenizer that is not there", DATA, ["--tokenizer: no file"], "eval", run, "--tokenizer", home / "none.model")
    refuses("another tokenizer by name", DATA, ["--tokenizer: ", "others.model", "was trained with words.model"], "eval", run, "--tokenizer", others)
    shutil.copy(others, words)
    for command in (["eval", run], ["analyze", run, "--out", home / "analysis"]):
        refuses(f"another tokenizer in its place, {command[0]}", DATA, ["data.tokenizer: ", "ids mean other tokens"], *command)
    done = harness.run("export", run, "--out", home / "bare")
    report.check("the tokenizer does not go along, nor its ids in config.json: " in done.stdout and "was trained with words.model" in done.stdout, f"export: {done.stdout}")
    report.check(not list((home / "bare").glob("tokenizer*")), "a tokenizer of other ids is not exported")
    kept.replace(words)

    # Text that is not what the run held out.
    (home / "little.jsonl").write_text('{"text": "no"}\n')
    refuses("text that is not there", DATA, ["--data: ", "nope.jsonl"], "eval", run, "--data", home / "nope.jsonl")
    named = measured(run, "--data", corpus)
    shard = home / "corpus/shard_00000000_processed.jsonl"
    text = shard.read_text()
    shard.write_text("".join(reversed(text.splitlines(keepends=True))))
    elsewhere = home / "other_disk"  # with a link in its place
    shutil.copytree(run / "checkpoints", elsewhere, symlinks=True)
    shutil.copytree(run, home / "linked", ignore=shutil.ignore_patterns("checkpoints"))
    (home / "linked/checkpoints").symlink_to(elsewhere)
    for command in (["eval", run], ["eval", f"{run}/checkpoints/latest/"], ["eval", home / "linked"], ["eval", run, "--context", 16],
                    ["eval", run, "--set", "data.lanes=4"], ["analyze", run, "--out", home / "analysis"]):  # fmt: skip
        refuses(f"other text, {command[0]}", DATA, ["is not what the run held out", "sequence 1", "--data"], *command)
    report.check(measured(run, "--data", corpus)["text_sha256"] != named["text_sha256"], "text that is named is measured as it is")
    shard.write_text(text)
    report.check(measured(run) == before, "the text is back")
    more = harness.run("eval", run, "--sequences", 100000).stdout
    report.check("(of 100000: the text has no more)" in more, f"more than there are: {more}")
    refuses("too little text", DATA, ["--data: ", "--context"], "eval", run, "--data", home / "little.jsonl")
    refuses("one token", USAGE, ["--context", "at least 2"], "eval", run, "--context", 1)

    # An imported checkpoint is no run's folder.
    harness.run("export", run, "--out", home / "model")
    harness.run("import", home / "model", "--out", home / "imported")
    for resume in ([], ["--resume"]):
        refuses("training into an import", USAGE, ["imported", "is itself a checkpoint", "run.name"], "train", harness.TINY, *keys,
                *harness.sets(run__name="imported", train__steps=4), *resume)  # fmt: skip
    report.check(not (home / "imported/checkpoints").exists(), "and nothing is written there")

    # Schedules that may not be meant.
    said = harness.run("train", harness.TINY, *keys, *harness.sets(run__name="run", train__steps=8), "--resume").stdout
    report.check("changed: train.steps: 4 -> 8" in said and "changed: learning rate of step 4: " in said, f"a longer schedule: {said}")
    late = harness.sets(run__name="late", train__steps=3, train__schedule__warmup_steps=50)
    said = harness.run("train", harness.TINY, *keys, *late).stdout
    report.check("warning: train.schedule.warmup_steps: 50 of a run of 3 steps" in said, f"a warm-up that never ends: {said}")

    # No step at all: the model as it starts.
    harness.run("train", harness.TINY, *keys, *harness.sets(run__name="untrained", train__steps=0))
    untrained = measured(home / "untrained")
    report.check(untrained["step"] == 0 and 360 < untrained["perplexity"] < 440, f"untrained: {untrained}")
    harness.run("train", harness.TINY, *keys, *harness.sets(run__name="untrained", train__steps=0), "--resume")
    sweep = home / "sweep.yaml"
    sweep.write_text(f"name: controls\ndir: {home}/sweeps\nbase: {run / 'config.yaml'}\ngrid: {{train.steps: [0, 2]}}\n")
    done = harness.run("sweep", "run", sweep, check=False)
    report.check(done.returncode == 0 and "2 of 2 runs finished" in done.stdout, f"a row without steps: {done.stdout} {done.stderr}")

    # A file is not asked for after the work is done.
    refuses("a folder that is not there", USAGE, ["there is no folder"], "tokenizer", "train", corpus, "--vocab", 400, "--out", home / "no/t.model")
report.end()
