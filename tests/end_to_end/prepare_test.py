#!/usr/bin/env python3
"""`spikesink prepare` against interruptions: killed at random moments and run again, by one to three processes at once, it makes the
store that one undisturbed process makes, byte for byte, and leaves nothing else; it says how it goes on. Signals: signals_test.py."""

import gzip
import json
import os
import random
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

import harness

report = harness.Report()
rng = random.Random(7)
PATIENCE = 300
NO_LOCKS = harness.LIBRARIES / "no_locks.so"


def contents(folder):
    return {str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None for path in Path(folder).rglob("*")}


class Home:
    def __init__(self, folder):
        self.folder = Path(folder)
        self.shards = harness.write_corpus(self.folder / "data", documents=6000, shards=6)
        # Of each shard some more, whose texts begin otherwise, so that there is enough to do.
        for shard in sorted((self.folder / "data").iterdir()):
            text = (gzip.decompress(shard.read_bytes()) if shard.suffix == ".gz" else shard.read_bytes()).decode()
            for copy in "abcdef":
                other = self.folder / f"data/{copy}_{shard.name.removesuffix('.gz')}"
                other.write_text(text.replace('{"text": "', f'{{"text": "{copy} '))
        # Some documents come again, in the same shard and in others; some lines are broken.
        lines = (self.folder / "data/shard_00000000_processed.jsonl").read_text().splitlines(keepends=True)
        again = "".join(lines[::3] + ["broken\n", "{}\n"] + lines[1:200])
        (self.folder / "data/shard_00000009_processed.jsonl").write_text(again)

    def line(self, out, *more, shards=None):
        return harness.command("prepare", shards or self.shards, "--tokenizer", "bytes", "--out", self.folder / out, "--threads", 1,
                               "--holdout", 0.05, *more)  # fmt: skip

    def start(self, out, *more, env=None):
        return subprocess.Popen(self.line(out, *more), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env)

    def prepare(self, out, *more, **keys):
        return subprocess.run(self.line(out, *more, **keys), capture_output=True, text=True, timeout=PATIENCE)


def phase(folder):
    """How far a store is, told by what is in its folder."""
    if (folder / "manifest.json").exists():
        return "whole"
    parts = folder / "parts"
    for name, pattern in (("tokenising", "shard_*.json"), ("comparing", "duplicates_*.bin"), ("hashing", "hashes_*.bin")):
        if next(parts.glob(pattern), None):
            return name
    return "begun" if parts.exists() else "nothing"


def interrupted(home, out, workers, took, *more):
    """Makes a store by processes of which one, or all, are killed at ten random moments and started again."""
    folder, children, phases = home.folder / out, [], []
    for kill in range(10):
        while len(children) < workers:
            children.append(home.start(out, *more))
        # Each round may go as far as an eleventh of the way, so that the kills are spread over it.
        time.sleep(rng.uniform(0.2, 1.3) * took / 11 + 0.01)
        victims = children if kill % 3 == 2 else [rng.choice(children)]
        for child in victims:
            child.kill()
        for child in victims:
            child.communicate()
        phases.append(phase(folder))
        children = [child for child in children if child not in victims]
    children.append(home.start(out, *more))
    for child in children:
        _, err = child.communicate(timeout=PATIENCE)
        report.check(child.returncode == 0, f"{out}: exit {child.returncode}, {err}")
    return phases


with tempfile.TemporaryDirectory() as temporary:
    home = Home(temporary)
    seen = set()
    for name, more in (("plain", []), ("dedup", ["--dedup"])):
        begin = time.monotonic()
        done = home.prepare(name, *more)
        took = time.monotonic() - begin
        report.check(done.returncode == 0 and "2 are broken: 1 not JSON (first shard_00000009_processed.jsonl:335" in done.stdout,
                     f"{name}: {done.stdout} {done.stderr}")  # fmt: skip
        whole = contents(home.folder / name)
        whole_plain = whole if name == "plain" else whole_plain
        manifest = json.loads(whole["manifest.json"])
        report.check(sorted(whole) == sorted([file["name"] for file in manifest["files"]] + ["manifest.json"]),
                     f"nothing else is in the folder: {sorted(whole)}")  # fmt: skip
        report.check((manifest["duplicates"] >= 532) == (name == "dedup"), f"repeats: {manifest['duplicates']}")
        # A rerun does nothing, and says the same.
        again = home.prepare(name, *more)
        report.check(again.stdout.splitlines()[-3:] == done.stdout.splitlines()[-3:] and contents(home.folder / name) == whole, f"again: {again.stdout}")
        report.check(["was a whole store before" in each.stdout for each in (done, again)] == [False, True], f"again, and says so: {again.stdout}")
        for workers in (1, 2, 3):
            out = f"{name}_{workers}"
            phases = interrupted(home, out, workers, took, *more)
            seen |= set(phases)
            report.check(contents(home.folder / out) == whole, f"{out}, killed while {phases}: {sorted(contents(home.folder / out))}")
            shutil.rmtree(home.folder / out)
    report.check("tokenising" in seen, f"kills hit only {seen}")  # the other phases are short: chance decides

    # Three at once where locks keep nobody off, as between machines of some network file systems: shards are tokenised
    # several times, and the store is the same.
    children = [home.start("no_locks", env={**os.environ, "LD_PRELOAD": str(NO_LOCKS)}) for _ in range(3)]
    ends = [(child.communicate(timeout=PATIENCE)[1], child.returncode) for child in children]
    report.check(all(end == ("", 0) for end in ends), f"without locks: {ends}")
    report.check(contents(home.folder / "no_locks") == whole_plain, "without locks: the same store")

    # On a pipe there is a line every half minute, not one for every half second; a refusal is one line.
    done = home.prepare("logged")
    report.check(len(done.stdout.splitlines()) == 3 and "\r" not in done.stdout and not done.stderr, f"a short log: {done.stdout!r}")
    refused = home.prepare("plain", "--min-bytes", 9)
    report.check(refused.returncode == 2 and len(refused.stderr.splitlines()) == 1 and "min_bytes null, not 9" in refused.stderr,
                 f"{refused}")  # fmt: skip
    for more, word in ((["--holdout", 1], "--holdout"), (["--max-bad-share", "x"], "--max-bad-share"), (["--min-bytes", 0], "--min-bytes"),
                       (["--min-bytes", 9, "--max-bytes", 8], "--min-bytes 9 is above --max-bytes 8")):  # fmt: skip
        refused = home.prepare("other", *more)
        report.check(refused.returncode == 2 and len(refused.stderr.splitlines()) == 1 and word in refused.stderr, f"{refused}")
    report.check(not (home.folder / "other").exists(), "what is refused makes no folder")
    lost = home.prepare("other", shards=home.folder / "none.jsonl")
    report.check(lost.returncode == 3 and "none.jsonl does not exist" in lost.stderr, f"{lost}")

    # Two hundred thousand lines of which none is text: refused, named.
    (home.folder / "table.jsonl").write_text('{"row": 1}\n' * 200000)
    table = home.prepare("table", shards=home.folder / "table.jsonl")
    report.check(table.returncode == 3 and "1000 of its first 1000 lines are broken" in table.stderr, f"{table}")

    # An --out that is empty is no folder; a store that has lost a file is not said to be whole.
    nowhere = harness.run("prepare", home.shards, "--tokenizer", "bytes", "--out", "", check=False)
    report.check(nowhere.returncode == 2 and nowhere.stderr == "spikesink: an empty argument behind --out; is a variable of the shell unset?\n", f"{nowhere}")
    none = home.prepare("none", "--min-bytes", 10**6)
    report.check(none.returncode == 3 and none.stderr.count("\n") == 1 and "no document is left of" in none.stderr, f"{none}")
    report.check(not (home.folder / "none/manifest.json").exists(), "a store of nothing is no store")
    shard = home.folder / "plain/shard_00000001.h5"
    sound = shard.read_bytes()
    for what, content in (("cut off", sound[: len(sound) // 2]), ("missing", None)):
        shard.write_bytes(content) if content else shard.unlink()
        done = home.prepare("plain")
        report.check(done.returncode == 3 and done.stderr.count("\n") == 1 and "is a whole store no more" in done.stderr
                     and shard.name in done.stderr, f"a file that is {what}: {done}")  # fmt: skip

    text = harness.run("prepare", "--help").stdout
    for word in ("@FILE", "--dedup", "goes on where it was", "several machines", "Example:"):
        report.check(word in text, f"--help names {word}: {text}")
report.end()
