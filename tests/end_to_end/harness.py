"""What the end-to-end tests share: the program, a corpus made on the spot, and short runs on it."""

import gzip
import json
import os
import random
import signal
import subprocess
import sys
from pathlib import Path

# Ignored by who has started the tests (nohup, a shell in the background), they would be ignored by what these start.
for _signal in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM, signal.SIGUSR1):
    if signal.getsignal(_signal) == signal.SIG_IGN:
        signal.signal(_signal, signal.SIG_DFL)

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = Path(os.environ.get("SPIKESINK", ROOT / "build/cpu/spikesink"))
# To start the program with; of the program that PROGRAM is a script around, as on_cpu.sh is.
LIBRARIES = Path(os.environ.get("SPIKESINK_BUILT", PROGRAM)).resolve().parent / "tests"
TINY = ROOT / "configs/cpu/tiny.yaml"
# Keys over TINY, as sets() takes them, of a model that trains in a moment.
SMALL = dict(model__d_model=32, model__n_layers=2, model__context=32, model__attention__n_heads=2, model__attention__d_head=16,
             train__batch_tokens=256, train__micro_batch=8)  # fmt: skip


def write_corpus(folder, documents=400, shards=3, seed=1):
    """Shards of sentences over a vocabulary of 200 made-up words: a word narrows down its successors, so that context
    helps. One shard is plain, the others are gzipped."""
    rng = random.Random(seed)
    syllables = [a + b for a in "bdfgklmnprst" for b in "aeiou"]
    words = ["".join(rng.choices(syllables, k=rng.randint(1, 3))) for _ in range(200)]
    follows = {w: rng.sample(words, 4) for w in words}
    folder.mkdir(parents=True, exist_ok=True)
    for shard in range(shards):
        lines = []
        for i in range(documents // shards):
            word, text = rng.choice(words), []
            for _ in range(rng.randint(20, 200)):
                text.append(word)
                word = rng.choice(follows[word])
            record = {"text": " ".join(text) + ".", "url": f"made://{shard}/{i}", "metadata": {}}
            lines.append(json.dumps(record) + "\n")
        name = folder / f"shard_{shard:08d}_processed.jsonl"
        if shard == 0:
            name.write_text("".join(lines))
        else:
            with gzip.GzipFile(f"{name}.gz", "wb", mtime=0) as out:
                out.write("".join(lines).encode())
    return f"{folder}/*.jsonl*"


def command(*arguments, program=PROGRAM):
    return [str(program), *map(str, arguments)]


def run(*arguments, check=True, program=PROGRAM, **kwargs):
    line = command(*arguments, program=program)
    done = subprocess.run(line, capture_output=True, text=True, timeout=600, **kwargs)
    if check and done.returncode != 0:
        sys.exit(f"{' '.join(line)}\nexit {done.returncode}\n{done.stdout}\n{done.stderr}")
    return done


def sets(**keys):
    """--set arguments; a double underscore stands for a dot."""
    return [part for key, value in keys.items() for part in ("--set", f"{key.replace('__', '.')}={value}")]


def metrics(run_folder):
    return [json.loads(line) for line in (Path(run_folder) / "metrics.jsonl").read_text().splitlines()]


def crc32c(data):
    table = []
    for i in range(256):
        for _ in range(8):
            i = i >> 1 ^ (0x82F63B78 if i & 1 else 0)
        table.append(i)
    crc = 0xFFFFFFFF
    for byte in data:
        crc = crc >> 8 ^ table[(crc ^ byte) & 255]
    return crc ^ 0xFFFFFFFF


def seal(checkpoint):
    """A checkpoint whose checksums say that all is well."""
    state = json.loads((checkpoint / "state.json").read_text())
    state.pop("state_crc32c")  # as older checkpoints have none
    state["crc32c"]["rank_0000.h5"] = f"{crc32c((checkpoint / 'rank_0000.h5').read_bytes()):08x}"
    (checkpoint / "state.json").write_text(json.dumps(state))


def analyses(folder):
    """What `analyze` has left: arrays by name, since a file that was added to has other places for them; and the summary."""
    import h5py  # noqa: PLC0415

    arrays = {}
    with h5py.File(Path(folder) / "analysis.h5") as file:
        file.visititems(lambda name, item: arrays.update({name: item[()].tobytes()}) if isinstance(item, h5py.Dataset) else None)
    return arrays | {"summary": (Path(folder) / "summary.json").read_text()}


class Report:
    """Counts checks; prints what fails; ends the test."""

    def __init__(self):
        self.failed = self.passed = 0

    def check(self, holds, what):
        if holds:
            self.passed += 1
        else:
            self.failed += 1
            print(f"FAILED: {what}", flush=True)

    def end(self):
        print(f"{self.passed} passed, {self.failed} failed")
        sys.exit(1 if self.failed else 0)
