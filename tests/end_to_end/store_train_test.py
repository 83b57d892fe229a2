#!/usr/bin/env python3
"""Training on token stores, told by the identity of each step's samples in its metrics: a mixture of two stores gives every sample
of each once an epoch, in the stated proportions, across a resume; 1, 2 and 3 ranks and resumed runs take the same samples; what does
not fit is refused in one line, and a sweep checks its stores before it starts."""

import gzip
import json
import os
import shutil
import struct
import subprocess
import tempfile
from collections import Counter
from pathlib import Path

import harness

MPIRUN = ["mpirun", "--allow-run-as-root", "--oversubscribe", "--bind-to", "none"]
CONTEXT, END = 24, 256
BLOCK = 4096  # draws of a mixture in which the proportions are exact
report = harness.Report()

TABLE = []
for byte in range(256):
    for _ in range(8):
        byte = byte >> 1 ^ (0x82F63B78 if byte & 1 else 0)
    TABLE.append(byte)


def crc32c(data, crc=0):
    crc ^= 0xFFFFFFFF
    for byte in data:
        crc = crc >> 8 ^ TABLE[(crc ^ byte) & 0xFF]
    return crc ^ 0xFFFFFFFF


def identities(shards):
    """Of all samples of a store of these shards, each as the only one of a step: worked out from the texts."""
    tokens = []
    for shard in sorted(shards):
        data = gzip.decompress(shard.read_bytes()) if shard.suffix == ".gz" else shard.read_bytes()
        for line in data.splitlines():
            tokens += [*json.loads(line)["text"].encode(), END]
    slot = crc32c(struct.pack("<q", 0))
    return [crc32c(struct.pack(f"<{CONTEXT + 1}i", *tokens[i * CONTEXT : (i + 1) * CONTEXT + 1]), slot)
            for i in range((len(tokens) - 1) // CONTEXT)]  # fmt: skip


class Home:
    def __init__(self, folder):
        self.folder = Path(folder)
        for name, documents, seed in (("a", 45, 1), ("b", 15, 2), ("validation", 6, 3)):
            harness.write_corpus(self.folder / f"data/{name}", documents=documents, shards=3, seed=seed)
        for name in "ab":
            self.prepare(name, name, "--holdout", 0)

    def prepare(self, data, store, *more):
        harness.run("prepare", f"{self.folder}/data/{data}/*", "--tokenizer", "bytes", "--out", self.store(store), *more)

    def store(self, name):
        return self.folder / "stores" / name

    def shards(self, name):
        return list((self.folder / "data" / name).iterdir())

    def line(self, name, *more, **keys):
        keys = dict(data__train=f"[{self.store('a')},{self.store('b')}]", data__validation=f"[{self.folder}/data/validation/*]",
                    run__dir=self.folder / "runs", run__name=name, model__d_model=8, model__n_layers=1, model__context=CONTEXT,
                    model__attention__n_heads=1, model__attention__d_head=8, train__batch_tokens=CONTEXT, train__micro_batch=1,
                    train__schedule__warmup_steps=2, metrics__every_steps=1, metrics__probe_every_steps=0, metrics__sequences=2,
                    metrics__loggers="[jsonl]", checkpoint__every_steps=1000000) | keys  # fmt: skip
        keys = {key: value for key, value in keys.items() if value is not None}
        return harness.command("train", harness.TINY, *harness.sets(**keys), *more)

    def train(self, name, *more, world=1, code=0, **keys):
        launcher = [] if world == 1 else [*MPIRUN, "-np", str(world)]
        done = subprocess.run([*launcher, *self.line(name, *more, **keys)], capture_output=True, text=True, timeout=300,
                              env={**os.environ, "OMP_NUM_THREADS": "1"})  # fmt: skip
        report.check(done.returncode == code, f"{name} on {world}: exit {done.returncode}, {done.stdout[-300:]} {done.stderr}")
        return done

    def samples(self, name):
        lines = [line for line in harness.metrics(self.folder / "runs" / name) if "event" not in line]
        report.check([line["step"] for line in lines] == list(range(1, len(lines) + 1)), f"{name}: each step once")
        return [line["samples"] for line in lines]

    def refused(self, words, *more, name="refused", code=2, **keys):
        done = self.train(name, *more, code=code, **keys)
        ours = done.stderr.strip().splitlines()
        report.check(len(ours) == 1 and all(word in ours[0] for word in words), f"{words}: {done.stderr}")


def check_epochs(taken, all_samples, name):
    """Draws in order: every epoch is all samples, each once, in another order than the last."""
    n = len(all_samples)
    epochs = [taken[i : i + n] for i in range(0, len(taken), n)]
    report.check(len(epochs) > 2, f"{name}: {len(taken)} draws of {n} samples are more than two epochs")
    for number, epoch in enumerate(epochs):
        once = Counter(epoch) == Counter(all_samples) if len(epoch) == n else not Counter(epoch) - Counter(all_samples)
        report.check(once, f"{name}, epoch {number}: {len(epoch)} draws, {len(set(epoch))} different, of {n} samples")
    report.check(epochs[0] != epochs[1] and epochs[0] != sorted(epochs[0]), f"{name}: each epoch has its order")


with tempfile.TemporaryDirectory() as temporary:
    home = Home(temporary)
    a, b = identities(home.shards("a")), identities(home.shards("b"))
    report.check(not set(a) & set(b) and len(set(a)) > 0.98 * len(a), "samples can be told apart")

    # One sample a step, of two stores at 3 to 1, stopped on the way and resumed.
    home.train("mixed", train__steps=1500, data__weights="[3,1]")
    home.train("mixed", "--resume", train__steps=BLOCK, data__weights="[3,1]")
    mixed = home.samples("mixed")
    from_a = [sample for sample in mixed if sample in set(a)]
    from_b = [sample for sample in mixed if sample in set(b)]
    report.check((len(from_a), len(from_b)) == (BLOCK * 3 // 4, BLOCK // 4), f"3 to 1: {len(from_a)} and {len(from_b)} of {BLOCK}")
    check_epochs(from_a, a, "a")
    check_epochs(from_b, b, "b")

    # Without weights both are one set.
    home.train("together", train__steps=2 * (len(a) + len(b)) + 100)
    check_epochs(home.samples("together"), a + b, "both")

    # Seven samples a step, shared by ranks, and by others after a resume.
    seven = dict(train__batch_tokens=7 * CONTEXT, data__weights="[2,1]", system__precision="f64")
    home.train("seven", train__steps=24, **seven)
    seven_alone = home.samples("seven")
    home.train("parts", train__steps=7, **seven)
    home.train("parts", "--resume", train__steps=8, **seven)
    home.train("parts", "--resume", train__steps=24, **seven)
    report.check(home.samples("parts") == seven_alone, "a run in three parts takes the same samples")
    if shutil.which("mpirun") and not subprocess.run([*MPIRUN, "-np", "2", harness.PROGRAM, "--version"], capture_output=True).returncode:
        for world in (2, 3):
            home.train(f"ranks_{world}", world=world, train__steps=24, **seven)
            report.check(home.samples(f"ranks_{world}") == seven_alone, f"{world} ranks take the same samples")
        for world, until in ((3, 9), (1, 16), (2, 24)):
            home.train("moved", *(["--resume"] if until > 9 else []), world=world, train__steps=until, **seven)
        report.check(home.samples("moved") == seven_alone, "so do 3, then 1, then 2 ranks")
    else:
        print("no mpirun, or a build without MPI: one rank only")

    # What does not fit.
    home.refused(["data.weights", "3", "2"], data__weights="[1,2,3]")
    home.refused(["validation/shard_00000000_processed.jsonl is no token store, but others there are"],
                 data__train=f"[{home.store('a')},{home.folder}/data/validation/shard_00000000_processed.jsonl]")  # fmt: skip
    home.refused(["data.weights: has an effect only with token stores"], data__train=f"[{home.folder}/data/a/*]", data__weights="[1]")
    home.refused(["hold out 0 tokens", "--holdout", "data.validation"], code=3, data__validation=None)
    home.refused([f"{home.folder}/data is a folder"], code=3, data__train=f"[{home.folder}/data]")
    other = home.store("other")
    shutil.copytree(home.store("a"), other)
    manifest = json.loads((other / "manifest.json").read_text())
    (other / "manifest.json").write_text(json.dumps({**manifest, "tokenizer": "other.model 12"}))
    home.refused(["stores/other", "was made with the tokenizer other.model 12, but data.tokenizer is bytes"], code=3,
                 data__train=f"[{other}]")  # fmt: skip
    shutil.rmtree(other)

    # The store of a run is known by its content: moved it will do, changed it will not.
    home.train("changed", train__steps=3, data__train=f"[{home.store('b')}]")
    shutil.copytree(home.store("b"), home.store("moved"))
    home.train("changed", "--resume", train__steps=5, data__train=f"[{home.store('moved')}]")
    home.refused(["data.train", "store of"], "--resume", name="changed", code=3, train__steps=8, data__train=f"[{home.store('a')}]")

    # A sweep on a store runs, goes on with it where it was moved to, and refuses another before any run starts.
    (home.folder / "base.yaml").write_text(f"""
extends: {harness.TINY}
model: {{d_model: 8, n_layers: 1, context: {CONTEXT}, attention: {{n_heads: 1, d_head: 8}}}}
data: {{train: ["{home.store('b')}"], validation: ["{home.folder}/data/validation/*"]}}
train: {{steps: 3, batch_tokens: {CONTEXT}, micro_batch: 1, schedule: {{warmup_steps: 1}}}}
metrics: {{every_steps: 1, probe_every_steps: 0, sequences: 2, loggers: [jsonl]}}
""")
    (home.folder / "sweep.yaml").write_text(f"name: s\ndir: {home.folder}/sweeps\nbase: base.yaml\nrows:\n  - {{name: one}}\n")

    def sweep(train, code, *words):
        keys = [] if train is None else ["--set", f"data.train=[{train}]"]
        done = harness.run("sweep", "run", home.folder / "sweep.yaml", *keys, check=False)
        report.check(done.returncode == code and all(word in done.stderr for word in words), f"sweep on {train}: {done}")

    sweep(home.store("nowhere"), 2, "one: data.train: ", "nowhere does not exist")
    sweep(None, 0)
    sweep(home.store("moved"), 0)
    sweep(home.store("a"), 2, "one: differs from what it was run with: data.train: store of", "-> store of")

    # Keys that a store has settled are noted in the log.
    home.prepare("a", "held", "--holdout", 0.2)
    home.train("noted", train__steps=2, data__train=f"[{home.store('held')}]", data__validation=None, data__holdout=0.1, data__lanes=3)
    log = (home.folder / "runs/noted/log.txt").read_text()
    report.check(f"data.holdout 0.1: has no effect on {home.store('held')}, which was prepared with 0.2" in log, f"holdout: {log}")
    report.check("data.lanes 3: has no effect on token stores" in log, f"lanes: {log}")
    log = (home.folder / "runs/mixed/log.txt").read_text()
    report.check("has no effect" not in log, f"nothing to note: {log}")
report.end()
