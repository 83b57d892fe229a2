"""What a scale consists of: its sweep, its rows and seeds, its data and where its records are."""

import functools
import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

import yaml

from .records import Records, Trouble, sum_of

ROOT = Path(__file__).resolve().parents[2]
WORK = Path("runs/reproduction")


@dataclass(frozen=True)
class Scale:
    name: str
    vocabulary: int  # of the tokenizer that is trained on the data; rows have as many
    minutes: float  # a run, before there are records to tell
    on: str
    jobs: int

    @property
    def sweep(self):
        return ROOT / f"configs/sweeps/contrasts_{self.name}.yaml"

    @property
    def folder(self):
        """The sweep's, with its runs."""
        return WORK / f"contrasts_{self.name}"

    @property
    def configs(self):
        return ROOT / f"configs/paper_{self.name}"


SCALES = {
    "cpu": Scale("cpu", 1024, 4, "a core of a server's CPU", 2),
    "60m": Scale("60m", 32000, 17, "an H100, as `spikesink plan` predicts", 1),
}


class Program:
    def __init__(self):
        self.path = Path(os.environ.get("SPIKESINK") or ROOT / "build/cpu/spikesink").absolute()
        if not self.path.exists():
            raise Trouble(f"{self.path}: no such program; build it (README.md), or name one by SPIKESINK")

    def ask(self, *arguments):
        done = subprocess.run([self.path, *map(str, arguments)], capture_output=True, text=True)
        if done.returncode != 0:
            raise Trouble(done.stderr.strip().removeprefix("spikesink: ") or f"{arguments[0]}: exit code {done.returncode}")
        return done.stdout

    def show(self, *arguments):
        """What it prints is seen."""
        return subprocess.run([self.path, *map(str, arguments)]).returncode

    @property
    def version(self):
        return self.ask("--version").split()[-1]


@functools.cache
def rows_of_sweep():
    """{row: its entry in the sweep file}, the same at every scale."""
    rows = yaml.safe_load((ROOT / "configs/sweeps/tables/contrasts.yaml").read_text())["rows"]
    return {row["name"]: row for row in rows}


def seeds_of(scale):
    return yaml.safe_load(scale.sweep.read_text())["seeds"]


def resolved(program, scale, row, seed):
    """The config that a run of the row has, but for data and folder."""
    name = rows_of_sweep()[row]["config"]
    return yaml.safe_load(program.ask("config", scale.configs / name, "--set", f"run.seed={seed}", "--set", "data.train=[text]"))


class Data:
    """A tokenizer and a token store of the text that is named, made once."""

    def __init__(self, scale, shards):
        self.scale, self.shards = scale, shards
        self.tokenizer, self.store = WORK / f"{scale.name}_tokenizer.model", WORK / f"{scale.name}_store"

    def sets(self):
        """As options of `sweep run`."""
        values = {"dir": WORK, "data.train": f"[{self.store}]", "data.tokenizer": self.tokenizer}
        return [word for key, value in values.items() for word in ("--set", f"{key}={value}")]

    def keys(self):
        """As keys of a config's `data`."""
        return {"train": [str(self.store)], "tokenizer": str(self.tokenizer)}

    def prepare(self, program):
        if not self.shards and not (self.store / "manifest.json").exists():
            raise Trouble("--data: runs are missing, and no text to train on is named; name shards of it (docs/reproduction.md "
                          "says on what the records were trained), or with --only contrasts of which all is recorded")  # fmt: skip
        if not self.shards:
            return
        WORK.mkdir(parents=True, exist_ok=True)
        if not self.tokenizer.exists():
            self.do(program, "tokenizer", "train", *self.shards, "--vocab", self.scale.vocabulary, "--out", self.tokenizer)
        # A second time it looks whether the store is of these shards, and goes on where it was.
        self.do(program, "prepare", *self.shards, "--tokenizer", self.tokenizer, "--out", self.store, "--holdout", "0.02")

    def do(self, program, *arguments):
        if program.show(*arguments) != 0:
            raise Trouble(f"{' '.join(arguments[:2])} failed; see above")

    def description(self):
        """What the records say of it: the same text, tokenised alike, has the same."""
        try:
            manifest = json.loads((self.store / "manifest.json").read_text())
        except FileNotFoundError:
            return None
        tokens = sum(file["train"]["tokens"] for file in manifest["files"])
        sums = [file["train"]["tokens_crc32c"] for file in manifest["files"]]
        return {"tokens": tokens, "text_bytes": manifest["text_bytes"], "files": len(sums),
                "tokenizer": sum_of(self.tokenizer)[:16], "tokens_crc32c": sums}  # fmt: skip


def records_of(scale, folder=None):
    return Records(folder or ROOT / "benchmarks/results/reproduction" / scale.name)
