#!/usr/bin/env python3
"""What a user can get wrong ends in one line that names it, and in the right exit code; what was written stays."""

import fcntl
import gzip
import json
import os
import resource
import subprocess
import tempfile
from pathlib import Path

import harness

USAGE, DATA = 2, 3
report = harness.Report()

with tempfile.TemporaryDirectory() as temporary:
    home = Path(temporary)
    corpus = harness.write_corpus(home / "data")
    shard = home / "data/shard_00000000_processed.jsonl"
    documents = shard.read_text().splitlines()
    base = harness.sets(data__train=f"[{corpus}]", data__holdout=0.05, run__dir=home / "runs", train__steps=4,
                        train__schedule__warmup_steps=2, metrics__sequences=4)  # fmt: skip
    number = 0

    def refuses(what, code, words, *arguments, train=True, **kwargs):
        """The command must end with `code` and one line that has all of `words`."""
        global number
        number += 1
        line = ["train", harness.TINY, *base, "--set", f"run.name=bad{number}"] if train else []
        done = harness.run(*line, *arguments, check=False, **kwargs)
        text = done.stderr
        good = done.returncode == code and text.count("\n") == 1 and all(word in text for word in words)
        report.check(good, f"{what}: exit {done.returncode}, expected {code} and {words}; it said: {text!r}")

    def data(name, content):
        path = home / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return ["--set", f"data.train=[{path}]"]

    text = "\n".join(documents) + "\n"
    refuses("missing shard", DATA, ["none.jsonl", "data.train"], "--set", "data.train=[none.jsonl]")
    refuses("empty shard", DATA, ["empty.jsonl"], *data("empty.jsonl", ""))
    packed = subprocess.run(["zstd", "-q", "-c"], input=text.encode(), capture_output=True, check=True).stdout
    refuses("cut zstd frame", DATA, ["cut.jsonl.zst"], *data("cut.jsonl.zst", packed[: len(packed) // 2]))
    broken = packed[:200] + bytes(200) + packed[400:]
    refuses("broken zstd frame", DATA, ["broken.jsonl.zst"], *data("broken.jsonl.zst", broken))
    zipped = gzip.compress(text.encode())
    refuses("cut gzip", DATA, ["cut.jsonl.gz"], *data("cut.jsonl.gz", zipped[: len(zipped) // 2]))
    hostile = {
        "not JSON": b"this is no JSON",
        "no text": json.dumps({"url": "x"}).encode(),
        "text no string": json.dumps({"text": 7}).encode(),
        "bad UTF-8": b'{"text": "a\xff\xfeb"}',
    }
    for name, line in hostile.items():
        lines = b"".join(d.encode() + b"\n" + line + b"\n" for d in documents)
        refuses(name, DATA, ["hostile.jsonl:2", "data.max_bad_share"], *data("hostile.jsonl", lines))
    found_before_the_run = number  # what follows is; a shard may break in the middle of one
    (home / "no.model").write_bytes(b"\x00garbage")
    refuses("damaged tokenizer", DATA, ["no.model"], "--set", f"data.tokenizer={home}/no.model")
    (home / "no.tiktoken").write_bytes(b"IQ== 0\nIg== 0\n")
    refuses("ranks of no known encoding", DATA, ["no.tiktoken.json", "pattern"], "--set", f"data.tokenizer={home}/no.tiktoken")
    (home / "no.tiktoken.json").write_text('{"encoding": "llama3"}')
    refuses("damaged ranks", DATA, ["no.tiktoken:2:", "rank 0"], "--set", f"data.tokenizer={home}/no.tiktoken")
    refuses("missing tokenizer", DATA, ["gone.model"], "--set", "data.tokenizer=gone.model")
    refuses("tokenizer too large", USAGE, ["model.vocab_size", "258"], "--set", "model.vocab_size=100")
    refuses("heads", USAGE, ["model.attention.n_kv_heads"], "--set", "model.attention.n_kv_heads=3")
    refuses("odd d_head", USAGE, ["model.attention.d_head", "odd"], "--set", "model.attention.d_head=7")
    refuses("a context of one token", USAGE, ["model.context", "at least 2"], "--set", "model.context=1")
    refuses("a vocabulary of hardly more than bytes", USAGE, ["--vocab", "256 bytes"], "tokenizer", "train", corpus, "--vocab", "200",
            "--out", home / "small.model", train=False)  # fmt: skip
    refuses("a probe of variants", USAGE, ["--probe", "--variants"], "bench", "train", "--variants", "--probe", train=False)
    refuses("unknown key", USAGE, ["train.stepz", "steps"], "--set", "train.stepz=3")
    refuses("wrong type", USAGE, ["train.steps", "abc"], "--set", "train.steps=abc")
    refuses("missing config", USAGE, ["gone.yaml"], "train", "gone.yaml", train=False)
    refuses("no held-out document", DATA, ["data.holdout"], "--set", "data.holdout=1e-9")
    refuses("no checkpoint", DATA, ["nowhere"], "eval", home / "nowhere", train=False)

    refuses("a name with a NUL", USAGE, ["run.name", "control characters"], "--set", r'run.name="a\0b"')
    refuses("a path with a line break", DATA, [r"a\nb.jsonl"], "eval", "a\nb.jsonl", train=False)
    refuses("a command with a line break", USAGE, [r"tra\nin"], "tra\nin", train=False)
    odd = b"q\xff.yaml"
    refuses("a name that is no UTF-8", USAGE, [r"q\xff.yaml", "no such file"], "train", os.fsdecode(odd), train=False)
    os.symlink("loop.yaml", home / "loop.yaml")
    refuses("a config that cannot be looked at", DATA, ["loop.yaml", "symbolic links"], "train", home / "loop.yaml", train=False)
    refuses("a config without an end", USAGE, ["/dev/zero", "4 MiB"], "config", "/dev/zero", train=False)
    refuses("an empty argument", USAGE, ["empty argument behind --out"], "analyze", "runs/x", "--out", "", train=False)
    refuses("more threads than there can be", USAGE, ["OMP_NUM_THREADS", "1024"], env={**os.environ, "OMP_NUM_THREADS": "5000"})
    gone = home / "gone"
    gone.mkdir()
    refuses("a folder that is gone", DATA, ["none.jsonl", "which is gone"], "--set", "data.train=[none.jsonl]",
            preexec_fn=lambda: (os.chdir(gone), gone.rmdir()))  # fmt: skip
    with open("/dev/full", "w") as full:
        for what, line in {"config": ["config"], "a plan": ["plan", harness.TINY, "--json"], "help": ["--help"], "help of train": ["train", "--help"]}.items():
            done = subprocess.run(harness.command(*line), stdout=full, stderr=subprocess.PIPE, text=True)
            report.check(done.returncode == DATA and "standard output" in done.stderr and done.stderr.count("\n") == 1,
                         f"{what} that cannot be written: exit {done.returncode}, it said {done.stderr!r}")

    refuses("unknown command", USAGE, ["trian", "did you mean train"], "trian", train=False)
    refuses("no command", USAGE, ["needs a command: ", "train", "sweep"], train=False)
    refuses("no command of a group", USAGE, ["sweep needs a command: ", "collect"], "sweep", train=False)
    refuses("an option before the command", USAGE, ["--stepz: not expected before a command"], "--stepz", "3", train=False)
    refuses("unknown option", USAGE, ["--stepz 3: not expected", "--set key=value"], "train", harness.TINY, "--stepz", "3", train=False)
    refuses("an override in two words", USAGE, ["3: not expected", "--set key=value"], "train", harness.TINY, "--set", "train.steps=2", "3",
            train=False)  # fmt: skip
    refuses("a sweep that is trained", USAGE, ["table5.yaml", "spikesink sweep run"], "train",
            harness.ROOT / "configs/sweeps/paper_cpu/table5.yaml", train=False)  # fmt: skip
    left = [p.name for p in home.glob("runs/bad*") if int(p.name[3:]) > found_before_the_run]
    report.check(not left, f"refused runs leave nothing behind: {left}")

    # A run that stands: its folder is refused without --resume, with another model or other text to validate on, and while in use.
    validation = home / "val.jsonl"
    validation.write_text(text)
    no_part = [part for pair in zip(base[::2], base[1::2]) if not pair[1].startswith("data.holdout=") for part in pair]
    good = [*no_part, *harness.sets(run__name="good", data__validation=f"[{validation}]")]
    harness.run("train", harness.TINY, *good)
    folder = home / "runs/good"
    before = {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    for first in (0, 10**6):
        refuses("a loss from beyond the context", USAGE, ["--loss-from-position"], "eval", folder, "--loss-from-position", first, train=False)
    refuses("folder has a run", USAGE, ["--resume"], "train", harness.TINY, *good, train=False)
    if "SPIKESINK_BUILT" not in os.environ:  # which has all devices
        refuses("a device that this build has not, before the folder", USAGE, ["system.device", "cuda"], "train",
                harness.TINY, *good, "--set", "system.device=cuda", train=False)  # fmt: skip
    refuses("another model", USAGE, ["model.d_model"], "train", harness.TINY, *good, "--resume", "--set",
            "model.d_model=64", train=False)  # fmt: skip
    refuses("other data", USAGE, ["data.lanes"], "train", harness.TINY, *good, "--resume", "--set", "data.lanes=3",
            train=False)  # fmt: skip
    refuses("steps before the checkpoint", USAGE, ["step 4", "train.steps"], "train", harness.TINY, *good, "--resume",
            "--set", "train.steps=2", train=False)  # fmt: skip
    validation.write_text("\n".join(reversed(documents)) + "\n")
    refuses("other text to validate on", DATA, ["data.validation", "sequence 1 of those that probes measure"], "train", harness.TINY, *good,
            "--resume", train=False)  # fmt: skip
    validation.write_text(text)
    with open(folder / ".lock") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        refuses("folder in use", USAGE, ["in use"], "train", harness.TINY, *good, "--resume", train=False)
    after = {p: p.read_bytes() for p in folder.rglob("*") if p.is_file() and p.name != ".lock"}
    report.check(all(before[p] == data for p, data in after.items() if p in before), "a refused run changes nothing")
    report.check(set(before) - set(after) <= {folder / ".lock"}, "a refused run removes nothing")

    # A checkpoint that is damaged or of another model is named.
    state = folder / "checkpoints/latest/state.json"
    tensors = folder / "checkpoints/latest/rank_0000.h5"
    content = tensors.read_bytes()
    tensors.write_bytes(content[:-100] + bytes(100))
    refuses("damaged checkpoint", DATA, ["rank_0000.h5", "checksum"], "eval", folder, train=False)
    tensors.write_bytes(content)
    saved = state.read_text()
    state.write_text(saved[: len(saved) // 2])
    refuses("damaged state", DATA, ["state.json"], "eval", folder, train=False)
    unsummed = json.loads(saved)
    del unsummed["state_crc32c"]  # as older checkpoints have none
    state.write_text(json.dumps(unsummed).replace("n_layers: 4", "n_layers: 5"))
    refuses("checkpoint of another model", DATA, ["rank_0000.h5", "another model"], "eval", folder, train=False)
    state.write_text(saved)
    refuses("another model by --set", USAGE, ["model.n_layers"], "eval", folder, "--set", "model.n_layers=3",
            train=False)  # fmt: skip
    harness.run("eval", folder)

    # A disk that fills while a checkpoint is written: files may not grow beyond a limit that weights exceed. The run ends
    # with one line, and goes on from the checkpoint before to the losses of an undisturbed run.
    def filling(limit):
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))

    long = [*base, "--set", "train.steps=12", "--set", "checkpoint.every_steps=4", "--set", "metrics.every_steps=1",
            "--set", "train.schedule.kind=constant"]  # which does not know the run's length
    harness.run("train", harness.TINY, *long, "--set", "run.name=undisturbed")
    filled = [*long, "--set", "run.name=filled"]
    harness.run("train", harness.TINY, *filled, "--set", "train.steps=6")
    refuses("disk fills", DATA, ["checkpoints", "cannot be"], "train", harness.TINY, *filled, "--resume", train=False,
            preexec_fn=lambda: filling(1_000_000))  # fmt: skip
    harness.run("train", harness.TINY, *filled, "--resume")

    def losses(name):
        lines = harness.metrics(home / "runs" / name)
        return [(line["step"], line["loss"]) for line in lines if "event" not in line]

    report.check(losses("filled") == losses("undisturbed"), "losses after a full disk are those of an undisturbed run")

    # A log that cannot be written.
    full = [*base, "--set", "run.name=full"]
    (home / "runs/full").mkdir()
    os.symlink("/dev/full", home / "runs/full/log.txt")
    refuses("full disk", DATA, ["log.txt", "space"], "train", harness.TINY, *full, "--resume", train=False)
report.end()
