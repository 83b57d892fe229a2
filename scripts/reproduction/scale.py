"""What a scale consists of: its sweep, its rows and seeds, its data and where its records are."""

import functools
import glob
import json
import os
import subprocess
from dataclasses import dataclass, replace
from pathlib import Path

import yaml

from .records import Records, Trouble, sum_of

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Scale:
    name: str
    vocabulary: int  # of the tokenizer that is trained on the data; rows have as many
    minutes: float  # a run, before there are records to tell
    on: str
    jobs: int
    device: str  # that all of its runs are on, and in which precision: else their records could not be compared
    precision: str
    work: Path = Path("runs/reproduction")  # of tokenizer, token store, and all that is trained

    def apart(self, results):
        """The same with a folder of its own, that of other records: those of other text, it may be."""
        return replace(self, work=Path(results) / "runs")

    @property
    def build(self):
        """The program that has the device."""
        return ROOT / f"build/{self.device}/spikesink"

    @property
    def settings(self):
        """As options of `config` and `sweep`."""
        return ["--set", f"system.device={self.device}", "--set", f"system.precision={self.precision}"]

    @property
    def sweep(self):
        return ROOT / f"configs/sweeps/contrasts_{self.name}.yaml"

    @property
    def folder(self):
        """The sweep's, with the runs that were trained here, and what is made of the records."""
        return self.work / f"contrasts_{self.name}"

    @property
    def recorded(self):
        """A folder of the sweep as if all that is recorded, and nothing else, had run in it."""
        return self.folder / "recorded" / self.folder.name

    @property
    def configs(self):
        return ROOT / f"configs/paper_{self.name}"


SCALES = {
    "cpu": Scale("cpu", 1024, 13, "a core of a server's CPU", 2, "cpu", "f32"),
    "60m": Scale("60m", 32000, 17, "an H100, as `spikesink plan` predicts", 1, "cuda", "bf16"),
}


class Program:
    def __init__(self, scale):
        self.path = Path(os.environ.get("SPIKESINK") or scale.build).absolute()
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
    sets = ["--set", f"run.seed={seed}", "--set", "data.train=[text]", *scale.settings]
    return yaml.safe_load(program.ask("config", scale.configs / name, *sets))


class Data:
    """A tokenizer and a token store of the text that is named, made once."""

    def __init__(self, scale, shards):
        self.scale, self.shards = scale, shards
        self.tokenizer, self.store = scale.work / f"{scale.name}_tokenizer.model", scale.work / f"{scale.name}_store"

    def sets(self, folder=None):
        """As options of `sweep`; `folder` is that of the sweep, absent: where runs are trained."""
        values = {"dir": str((folder or self.scale.folder).parent), "data.train": [str(self.store)], "data.tokenizer": str(self.tokenizer)}
        return [word for key, value in values.items() for word in ("--set", f"{key}={json.dumps(value)}")] + self.scale.settings

    def keys(self):
        """As keys of a config's `data`."""
        return {"train": [str(self.store)], "tokenizer": str(self.tokenizer)}

    def require_shards(self):
        """Those that are named are there."""
        for shard in self.shards:
            if not Path(shard).exists() and not glob.glob(shard):
                raise Trouble(f"--data: {shard}: no such file")

    def require_text(self):
        if not self.shards and not (self.store / "manifest.json").exists():
            raise Trouble("--data: runs are missing, and no text to train on is named; name shards of it (docs/reproduction.md "
                          "says on what the records were trained), or with --only contrasts of which all is recorded")  # fmt: skip

    def make_tokenizer(self, program):
        if self.shards and not self.tokenizer.exists():
            self.scale.work.mkdir(parents=True, exist_ok=True)
            self.do(program, "tokenizer", "train", *self.shards, "--vocab", self.scale.vocabulary, "--out", self.tokenizer)

    def make_store(self, program):
        """A second time it looks whether the store is of these shards, and goes on where it was."""
        if self.shards:
            self.do(program, "prepare", *self.shards, "--tokenizer", self.tokenizer, "--out", self.store, "--holdout", "0.02")

    def do(self, program, *arguments):
        if program.show(*arguments) != 0:
            raise Trouble(f"{' '.join(arguments[:2])} failed; see above")

    def description(self):
        """What the records say of it, as far as it is made: the same text, tokenised alike, has the same."""
        known = {}
        if (self.store / "manifest.json").exists():
            manifest = json.loads((self.store / "manifest.json").read_text())
            sums = [file["train"]["tokens_crc32c"] for file in manifest["files"]]
            known |= {"tokens": sum(file["train"]["tokens"] for file in manifest["files"]), "text_bytes": manifest["text_bytes"],
                      "files": len(sums), "tokens_crc32c": sums}  # fmt: skip
        if self.tokenizer.exists():
            known["tokenizer"] = sum_of(self.tokenizer)[:16]
        return known


def records_of(scale, folder=None):
    return Records(folder or ROOT / "benchmarks/results/reproduction" / scale.name)
