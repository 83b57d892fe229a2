#!/usr/bin/env python3
"""Documents in, a trained model out: losses fall, eval agrees with the last probe, every promised file is there."""

import json
import tempfile
from pathlib import Path

import harness

report = harness.Report()
with tempfile.TemporaryDirectory() as temporary:
    home = Path(temporary)
    corpus = harness.write_corpus(home / "data")
    keys = harness.sets(
        data__train=f"[{corpus}]", data__holdout=0.05, run__dir=home, run__name="tiny", train__steps=60,
        train__schedule__warmup_steps=10, metrics__every_steps=5, metrics__probe_every_steps=30, metrics__sequences=20,
        checkpoint__every_steps=25, checkpoint__keep=2)  # fmt: skip
    harness.run("train", harness.TINY, *keys)
    folder = home / "tiny"

    lines = harness.metrics(folder)
    steps = [line for line in lines if "event" not in line]
    probes = [line for line in lines if line.get("event") == "probe"]
    data = [line for line in lines if line.get("event") == "data"]
    report.check(len(data) == 1 and data[0]["sources"][0]["files"] == 3 and data[0]["validation_sequences"] == 20, f"{data}")
    log = (folder / "log.txt").read_text()
    report.check(f"data:  {corpus}: 3 shards of " in log and "tokenised as they are read by bytes" in log
                 and "data:  probes measure 20 sequences of what data.train holds out" in log, f"the log says the data: {log}")  # fmt: skip
    program = harness.run("--version").stdout.strip()
    state = json.loads((folder / "checkpoints/latest/state.json").read_text())
    report.check(f"built: {program}\n" in log and data[0]["program"] == program == state["program"], f"and by what it is trained: {program}")
    report.check([line["step"] for line in steps] == list(range(5, 61, 5)), "a line every five steps")
    report.check([line["step"] for line in probes] == [0, 25, 30, 50, 60], "probes at 0, every 30, checkpoints, end")
    report.check(set(steps[0]) == {"step", "tokens", "loss", "lr", "grad_norm", "tokens_per_second", "mfu",
                                    "data_wait", "samples"},
                 "step keys")
    report.check(steps[-1]["loss"] < 0.7 * steps[0]["loss"], f"loss falls: {steps[0]['loss']} to {steps[-1]['loss']}")
    report.check(250 < probes[0]["perplexity"] < 300, f"first perplexity is the vocabulary: {probes[0]['perplexity']}")
    report.check(probes[0]["sink_ratio"] == 0, "an untrained model has no sinks")
    report.check(abs(probes[0]["first_token_mass"] - 0.059) < 0.002, "an untrained model attends evenly")

    for name in ("config.yaml", "log.txt", "checkpoints/latest/state.json", "probes/step_00000060.h5"):
        report.check((folder / name).exists(), f"{name} is there")
    kept = sorted(p.name for p in (folder / "checkpoints").iterdir())
    report.check(kept == ["latest", "step_00000050", "step_00000060"], f"two checkpoints are kept: {kept}")
    report.check(len(list((folder / "tensorboard").iterdir())) == 1, "one event file")

    found = json.loads(harness.run("eval", folder, "--json").stdout)
    last = {k: v for k, v in probes[-1].items() if k not in ("event", "step")}
    differ = [k for k, v in last.items() if abs(found[k] - v) > 1e-6 * max(1, abs(v))]
    report.check(not differ, f"eval agrees with the last probe: {differ}")
    report.check(found["perplexity"] < 0.7 * found["unigram_perplexity"], f"below the unigram perplexity: {found}")
    whole, late = (json.loads(harness.run("eval", folder, "--json", "--loss-from-position", first).stdout) for first in (1, 64))
    report.check(whole == found, "the loss from position 1 on is that of all positions")
    differ = [k for k, v in late.items() if v != found[k]]
    report.check(differ == ["loss_from_position", "loss", "unigram_perplexity", "perplexity"], f"what a later first position changes: {differ}")
    text = harness.run("eval", folder / "checkpoints/step_00000050", "--data", *sorted((home / "data").iterdir())).stdout
    report.check("unigram_perplexity" in text and "step 50" in text, "eval of a step on named shards prints its table")

    said = harness.run("train", harness.TINY, *keys, *harness.sets(run__name="wide", model__vocab_size=300, train__steps=1)).stdout
    report.check("the tokenizer bytes has 258 tokens and model.vocab_size is 300" in said and "42 rows for" in said, f"rows too many: {said}")
    report.check("model.vocab_size" not in log, "and nothing of it where there are none")

    # The saved config is the run: it gives the same first losses again.
    again = harness.sets(run__name="again", train__steps=10, train__schedule__warmup_steps=10)
    harness.run("train", folder / "config.yaml", *again)
    repeated = [line for line in harness.metrics(home / "again") if "event" not in line]
    report.check(repeated[0]["loss"] == steps[0]["loss"], "the saved config repeats the run")

    # A tokenizer of our own, then a model on it.
    model = home / "words.model"
    harness.run("tokenizer", "train", corpus, "--vocab", 400, "--out", model)
    content = model.read_bytes()
    again = harness.run("tokenizer", "train", corpus, "--vocab", 300, "--out", model, check=False)
    report.check(again.returncode == 2 and again.stderr.count("\n") == 1 and "is there already" in again.stderr, f"{again}")
    report.check(model.read_bytes() == content, "a tokenizer that is there stays as it is")
    words = harness.sets(run__name="words", data__tokenizer=model, model__vocab_size=400, train__steps=5)
    harness.run("train", folder / "config.yaml", *words)
    first = next(line for line in harness.metrics(home / "words") if line.get("event") == "probe")
    report.check(360 < first["perplexity"] < 440, f"first perplexity with 400 tokens: {first['perplexity']}")

# What probes take of a run: those due by themselves and those with checkpoints, of which some are the same.
timed = json.loads(harness.run("bench", "train", harness.TINY, *harness.sets(
    metrics__probe_every_steps=500, checkpoint__every_steps=200, metrics__sequences=2), "--steps", 1, "--probe", "--json").stdout)  # fmt: skip
report.check(abs(timed["probe_every_steps"] - 1000 / 6) < 1e-9 and 0 < timed["probe_share"] < 1, f"6 probes in 1000 steps: {timed}")
report.end()
