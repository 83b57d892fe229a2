#!/usr/bin/env python3
"""Shards to a token store, verified and shown, to training on it: what `data show --draw` says is what training takes. And
`bench data`: each figure is there, and memory does not grow with the store."""

import json
import os
import re
import struct
import tempfile
from pathlib import Path

import harness

USAGE, DATA = 2, 3
CONTEXT, SEQUENCES, STEPS = 128, 16, 5
report = harness.Report()

TABLE = []
for byte in range(256):
    for _ in range(8):
        byte = byte >> 1 ^ (0x82F63B78 if byte & 1 else 0)
    TABLE.append(byte)


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc = TABLE[(crc ^ byte) & 255] ^ crc >> 8
    return crc ^ 0xFFFFFFFF


def refuses(what, code, words, *arguments):
    done = harness.run(*arguments, check=False)
    good = done.returncode == code and done.stderr.count("\n") == 1 and all(word in done.stderr for word in words)
    report.check(good, f"{what}: exit {done.returncode}, expected {code} and {words}; it said: {done.stderr!r}")


def bench(*arguments):
    return [json.loads(line) for line in harness.run("bench", "data", "--json", *arguments).stdout.splitlines()]


with tempfile.TemporaryDirectory() as temporary:
    home = Path(temporary)
    corpus = harness.write_corpus(home / "data")
    store = home / "store"
    harness.run("prepare", corpus, "--tokenizer", "bytes", "--out", store, "--holdout", "0", "--threads", "2")
    texts = []
    for path in sorted((home / "data").iterdir()):
        content = harness.gzip.open(path).read() if path.suffix == ".gz" else path.read_bytes()
        texts += [json.loads(line)["text"] for line in content.splitlines()]
    tokens = [i for text in texts for i in (*text.encode(), 256)]
    samples = (len(tokens) - 1) // CONTEXT

    # Verified, and a flipped byte found, while the other files are still looked at.
    done = harness.run("data", "verify", store)
    report.check(f"{len(tokens)} tokens of {len(texts)} documents in 3 files" in done.stdout and "all is as" in done.stdout,
                 f"a sound store: {done.stdout}")  # fmt: skip
    damaged = store / "shard_00000001.h5"
    sound = damaged.read_bytes()
    for at in (len(sound) // 3, len(sound) // 2):
        damaged.write_bytes(sound[:at] + bytes([sound[at] ^ 4]) + sound[at + 1 :])
        done = harness.run("data", "verify", store, "--threads", "1", check=False)
        report.check(done.returncode == DATA and "shard_00000001.h5: tokens: its CRC-32C is" in done.stdout
                     and "shard_00000000.h5" not in done.stdout and done.stderr.count("\n") == 1,
                     f"a flipped byte at {at}: exit {done.returncode}, {done.stdout} {done.stderr}")  # fmt: skip
    damaged.unlink()
    done = harness.run("data", "verify", store, check=False)
    report.check(done.returncode == DATA and "shard_00000001.h5: cannot be opened" in done.stdout, "a file that is gone")
    damaged.write_bytes(sound)

    # The text of samples, cut at documents.
    for sample in (0, 7, samples - 1):
        shown = harness.run("data", "show", store, "--sample", sample, "--tokenizer", "bytes", "--context", CONTEXT).stdout
        head, *pieces = re.split(r"^---- (.*)\n", shown, flags=re.M)
        want = bytes(t for t in tokens[sample * CONTEXT : sample * CONTEXT + CONTEXT + 1] if t != 256).decode()
        report.check(head == f"sample {sample} of {samples}\n", f"sample {sample}: {head}")
        report.check("".join(piece[:-1] for piece in pieces[1::2]) == want, f"sample {sample}: {shown!r}, not {want!r}")
    shown = harness.run("data", "show", store, "--sample", 0, "--tokenizer", "bytes", "--context", len(texts[0]) + 9).stdout
    lines = [line for line in shown.splitlines() if line.startswith("----")]
    source = "shard_00000000.h5 (shard_00000000_processed.jsonl)"
    report.check(lines == [
        f"---- document 0 of {source}, from its token 0: {len(texts[0]) + 1} tokens, to its end",
        f"---- document 1 of {source}, from its token 0: 9 tokens",
    ], f"the documents of a sample: {lines}")  # fmt: skip

    # Training on the store takes the draws that `data show` names.
    keys = harness.sets(data__train=f"[{store}]", run__dir=home, run__name="on_store", run__seed=7, train__steps=STEPS,
                        train__batch_tokens=CONTEXT * SEQUENCES, train__schedule__warmup_steps=2, metrics__every_steps=1,
                        metrics__sequences=4, data__validation=f"[{home}/data/shard_00000001_processed.jsonl.gz]", checkpoint__every_steps=100)  # fmt: skip
    harness.run("train", harness.TINY, *keys)
    taken = [line["samples"] for line in harness.metrics(home / "on_store") if "event" not in line]
    log = (home / "on_store" / "log.txt").read_text()
    report.check(f"data:  {store}: " in log and "in 3 files, made with the tokenizer bytes; " in log
                 and f" epochs in {STEPS} steps" in log and "warning: data.validation: " in log, f"the log says the data: {log}")  # fmt: skip
    data = [line for line in harness.metrics(home / "on_store") if line.get("event") == "data"]
    report.check(len(data) == 1 and data[0]["sources"][0]["tokens"] == len(tokens)
                 and abs(data[0]["sources"][0]["epochs"] - STEPS * SEQUENCES / samples) < 1e-9, f"metrics say the data: {data}")  # fmt: skip
    wanted, drawn = [], []
    for step in range(2):
        total = 0
        for slot in range(SEQUENCES):
            shown = harness.run("data", "show", store, "--draw", step * SEQUENCES + slot, "--seed", 7, "--tokenizer", "bytes",
                                "--context", CONTEXT).stdout  # fmt: skip
            draw = re.match(rf"draw {step * SEQUENCES + slot} of seed 7 is sample (\d+) of {samples}, in epoch 0\n", shown)
            sample = int(draw.group(1))
            drawn.append(sample)
            row = tokens[sample * CONTEXT : (sample + 1) * CONTEXT + 1]
            total += crc32c(struct.pack(f"<q{len(row)}i", slot, *row))
        wanted.append(total % 2**32)
    report.check(taken[:2] == wanted, f"training takes what `data show --draw` names: {taken[:2]}, {wanted}")
    report.check(len(set(drawn)) == len(drawn) and drawn != sorted(drawn), f"no sample twice, shuffled: {drawn}")

    # Of a run with several stores the run's config says which store a draw is of.
    by_run = harness.run("data", "show", "--run", home / "on_store", "--draw", SEQUENCES + 3).stdout.split("\n", 1)
    report.check(by_run[0] == f"draw {SEQUENCES + 3} of {home}/on_store (slot 3 of step 1, both from 0) is sample "
                 f"{drawn[SEQUENCES + 3]} of {samples} of {store}, in epoch 0", f"a run's draw: {by_run[0]}")  # fmt: skip
    by_store = harness.run("data", "show", store, "--sample", drawn[SEQUENCES + 3], "--tokenizer", "bytes", "--context", CONTEXT)
    report.check(by_run[1] == by_store.stdout.split("\n", 1)[1], f"the same documents: {by_run[1]!r}, {by_store.stdout!r}")
    (home / "odd.jsonl").write_text(json.dumps({"text": "odd words " * 30}) + "\n")
    harness.run("prepare", home / "odd.jsonl", "--tokenizer", "bytes", "--out", home / "odd", "--holdout", "0")
    mixture = harness.sets(run__name="mixture", data__train=f"[{store},{home}/odd]", data__weights="[0.5,0.5]")
    harness.run("train", harness.TINY, *keys, *mixture)
    shown = [harness.run("data", "show", "--run", home / "mixture", "--draw", draw).stdout for draw in range(12)]
    of_odd = ["odd.jsonl" in text for text in shown]
    report.check(any(of_odd) and not all(of_odd)
                 and all((f" of {home}/odd, in epoch " in text) == odd for text, odd in zip(shown, of_odd)), f"{shown}")  # fmt: skip

    # What could act on a terminal is shown by its number.
    (home / "acts.jsonl").write_text('{"text": "a\\u001b\\u0085b\\u009bc\\u202ed\\u007f caf\\u00e9\\u4f60"}\n')
    harness.run("prepare", home / "acts.jsonl", "--tokenizer", "bytes", "--out", home / "acts", "--holdout", "0")
    shown = harness.run("data", "show", home / "acts", "--tokenizer", "bytes", "--sample", "0", "--context", "20").stdout
    report.check(shown.split("\n")[2] == r"a\x1b\u0085b\u009bc\u202ed\x7f caf" + "\u00e9" + r"\xe4\xbd", f"{shown!r}")

    # Timed: every stage, each beside its limit.
    figures = bench("--data", corpus, "--store", store, "--context", CONTEXT, "--seconds", "0.05")
    report.check([f["bench"] for f in figures] == ["read", "tokenise", "stream", "store", "files"], f"five stages: {figures}")
    for figure in figures:
        report.check(figure["rate_a_core"] > 0 and figure["limit_a_core"] > 0 and figure["limit_of"], f"beside: {figure}")
        report.check(abs(figure["rate"] * figure["seconds"] / figure["amount"] - 1) < 1e-9, f"rate is a rate: {figure}")
    text = harness.run("bench", "data", "--only", "read", "--only", "store", "--seconds", "0.05").stdout.splitlines()
    report.check(len(text) == 2 and "a core" in text[0] and "copying as many bytes" in text[1], f"made data: {text}")

    # 10^11 tokens take no more memory than 10^7.
    try:
        with open(home / "hole", "wb") as hole:
            os.truncate(hole.fileno(), 2 * 10**11)
        (home / "hole").unlink()
        growth = [bench("--only", "store", "--synthetic", 10**n, "--seconds", "0.2")[0]["memory_growth_bytes"]
                  for n in (7, 11)]  # fmt: skip
        report.check(growth[1] - growth[0] < 50 << 20, f"memory with 10^7 and with 10^11 tokens: {growth}")
    except OSError as error:
        print(f"a file of 200 GB cannot be made here, so the memory of 10^11 tokens is not measured: {error}")

    # What can be wrong is one line.
    (home / "folder").mkdir()
    (home / "other.model").write_bytes(b"no model")
    show = ["data", "show", store, "--tokenizer", "bytes"]
    refuses("no store", DATA, ["folder: is no whole token store"], "data", "verify", home / "folder")
    refuses("no such store", DATA, ["none: is no whole token store"], "data", "show", home / "none", "--tokenizer", "bytes",
            "--sample", "0")  # fmt: skip
    refuses("no sample", USAGE, ["--sample", "--draw"], *show)
    refuses("two samples", USAGE, ["--sample", "--draw"], *show, "--sample", "1", "--draw", "1")
    refuses("sample below 0", USAGE, ["--sample"], *show, "--sample", "-1")
    refuses("sample beyond", USAGE, [f"--sample {samples}", f"0 to {samples - 1}"], *show, "--sample", samples, "--context",
            CONTEXT)  # fmt: skip
    refuses("context beyond", DATA, ["fewer than one sample of 99999999"], *show, "--sample", "0", "--context", "99999999")
    refuses("nothing held out", DATA, ["has 0 held-out tokens"], *show, "--sample", "0", "--held-out")
    refuses("no store and no run", USAGE, ["STORE", "--run"], "data", "show", "--sample", "0")
    refuses("a store and a run", USAGE, ["STORE", "--run"], *show[:3], "--run", home / "on_store", "--draw", "0")
    refuses("a run's sample", USAGE, ["--sample excludes --run"], "data", "show", "--run", home / "on_store", "--sample", "0")
    refuses("a run without a draw", USAGE, ["--run needs --draw"], "data", "show", "--run", home / "on_store")
    refuses("no such run", USAGE, ["none/config.yaml"], "data", "show", "--run", home / "none", "--draw", "0")
    refuses("no tokenizer named", USAGE, ["--tokenizer is missing"], *show[:3], "--sample", "0")
    refuses("draw of held-out", USAGE, ["--draw is of training"], *show, "--draw", "0", "--held-out")
    refuses("no tokenizer", DATA, ["no file"], "data", "show", store, "--tokenizer", "none.model", "--sample", "0")
    refuses("bad tokenizer", DATA, ["other.model"], "data", "show", store, "--tokenizer", home / "other.model", "--sample", "0")
    refuses("threads", USAGE, ["--threads"], "data", "verify", store, "--threads", "0")
    refuses("an unknown stage", USAGE, ["--only sort"], "bench", "data", "--only", "sort")
    refuses("a seed without a draw", USAGE, ["--seed", "--sample"], *show, "--sample", "0", "--seed", "7")
    refuses("shards for a store alone", USAGE, ["--data", "--only"], "bench", "data", "--only", "store", "--data", home / "none.jsonl")
    refuses("a store for shards alone", USAGE, ["--store", "--only"], "bench", "data", "--only", "read", "--store", store)
    refuses("two stores", USAGE, ["--synthetic"], "bench", "data", "--store", store, "--synthetic", "1000")
    refuses("shards that are not there", DATA, ["none.jsonl"], "bench", "data", "--data", home / "none.jsonl")
    (home / "blank.jsonl").write_text("\n\n")
    refuses("no document", DATA, ["hold no document"], "bench", "data", "--data", home / "blank.jsonl")
    manifest = json.loads((store / "manifest.json").read_text())
    (store / "manifest.json").write_text(json.dumps({**manifest, "tokenizer": "other.model 123"}))
    refuses("another tokenizer", DATA, ["was made with the tokenizer other.model 123", "--tokenizer is bytes"], *show,
            "--sample", "0")  # fmt: skip
report.end()
