"""What is kept of a finished run: a small JSON with its config, its curves and what it ran on, and no path of a machine."""

import hashlib
import json
import os
import platform
from dataclasses import dataclass
from pathlib import Path

from whole_lines import is_number, objects

FORMAT = 2
PROBE = ("perplexity", "sink_ratio", "sink_first", "first_token_mass", "sink_ratio_context", "first_token_mass_context",
         "spike_max", "spike_mean", "spike_ratio", "gate_mean", "gate_closed")  # fmt: skip
STEP = ("loss", "lr", "grad_norm")
MOST_STEPS = 60  # of the curves of training
# Keys of a config that say where a run runs and how often it logs, not what it computes.
NOT_IDENTITY = {"run": ("dir", "name"), "data": ("train", "validation", "tokenizer", "threads"), "checkpoint": None,
                "metrics": ("every_steps", "loggers", "loss_spike_deviations")}  # fmt: skip


class Trouble(Exception):
    """A line for the user; exit code 2."""


def identity(config):
    """Of a resolved config: what must be the same for a record to be of it; device and precision are among it."""
    kept = {}
    for section, values in config.items():
        left_out = NOT_IDENTITY.get(section, ())
        if left_out is not None:
            kept[section] = {key: value for key, value in values.items() if key not in left_out}
    return json.loads(json.dumps(kept))


def differences(a, b, prefix=""):
    """Keys in which two identities differ, as `model.d_model`."""
    found = []
    for key in sorted(a.keys() | b.keys()):
        mine, theirs = a.get(key), b.get(key)
        if isinstance(mine, dict) and isinstance(theirs, dict):
            found += differences(mine, theirs, f"{prefix}{key}.")
        elif mine != theirs:
            found.append(prefix + key)
    return found


def number(value):
    """Seven digits are more than a float has."""
    return float(f"{value:.7g}") if isinstance(value, float) else value


def read_metrics(path):
    """(steps, probes, starts): dicts in the order of steps, of which the later line of a step holds; and all starts."""
    steps, probes, starts = {}, {}, []
    for entry in objects(path):
        if not isinstance(entry.get("step"), int):
            continue
        if entry.get("event") == "data":
            starts.append(entry)
        elif entry.get("event") == "probe":
            probes[entry["step"]] = entry
        elif "event" not in entry:
            steps[entry["step"]] = entry
    return [steps[key] for key in sorted(steps)], [probes[key] for key in sorted(probes)], starts


def programs(starts):
    """What a run was trained by, each as it says itself."""
    return "; ".join(dict.fromkeys(str(start.get("program", "one that does not say its commit")) for start in starts))


def columns(entries, keys):
    table = {"step": [entry["step"] for entry in entries]}
    for key in keys:
        if any(entry.get(key) is not None for entry in entries):
            table[key] = [number(entry.get(key)) for entry in entries]
    return table


def thinned(entries):
    """At most MOST_STEPS of them, evenly, the last among them."""
    every = -(-len(entries) // MOST_STEPS)
    return entries[::-1][::every][::-1]


def hardware(device):
    """What the run ran on, as one would say it."""
    if device == "cuda":
        import subprocess

        said = subprocess.run(["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"], capture_output=True, text=True)
        return said.stdout.splitlines()[0] if said.returncode == 0 and said.stdout else "a CUDA GPU"
    name = platform.processor() or platform.machine()
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            name = line.split(":", 1)[1].strip()
            break
    return f"{name}, {os.cpu_count()} cores"


def seconds_of(attempts):
    """Of all starts of a run, by the sweep's file of attempts."""
    total, begun = 0.0, None
    for entry in objects(attempts):
        if not is_number(entry.get("time")):
            continue
        if entry.get("event") == "start":
            begun = entry["time"]
        elif begun is not None:
            total, begun = total + entry["time"] - begun, None
    return total


@dataclass
class Record:
    row: str
    seed: int
    content: dict

    @property
    def probes(self):
        """A dict a probe, by step."""
        table = self.content["probes"]
        return [{key: values[i] for key, values in table.items() if values[i] is not None} for i in range(len(table["step"]))]

    @property
    def figures(self):
        """Of the last probe, and T."""
        config = self.content["config"]
        length = min(config["metrics"]["sink_length"], config["model"]["context"])
        return self.probes[-1] | {"length": length}

    def restore(self, folder, data):
        """Writes the files of a run's folder that tables and page are made of, as if it had run there."""
        import yaml

        folder.mkdir(parents=True)
        config = json.loads(json.dumps(self.content["config"]))
        config["run"] |= {"dir": str(folder.parent), "name": folder.name}
        config["data"] |= data
        (folder / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
        table = self.content["steps"]
        lines = [{key: values[i] for key, values in table.items()} for i in range(len(table["step"]))]
        lines += [{"step": probe["step"], "event": "probe", **probe} for probe in self.probes]
        lines.sort(key=lambda line: (line["step"], "event" in line))
        (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


class Records:
    """The folder of a scale's records: ROW_seedN.json."""

    def __init__(self, folder):
        self.folder = Path(folder)

    def path(self, row, seed):
        return self.folder / f"{row}_seed{seed}.json"

    def read(self, row, seed):
        try:
            content = json.loads(self.path(row, seed).read_text())
            if content["format"] != FORMAT:
                raise Trouble(f"{self.path(row, seed)}: format {content['format']}, not {FORMAT}: remove it to have it made anew")
            return Record(row, seed, content)
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError) as error:
            raise Trouble(f"{self.path(row, seed)}: damaged ({error}); remove it to have it made anew") from error

    def write(self, row, seed, run, attempts, data):
        """From a finished run's folder. `data` says what it was trained on."""
        import yaml

        config = yaml.safe_load((run / "config.yaml").read_text())
        steps, probes, starts = read_metrics(run / "metrics.jsonl")
        for section, keys in (("run", ("dir", "name")), ("data", ("train", "validation", "tokenizer"))):
            for key in keys:
                config[section].pop(key, None)
        content = {"format": FORMAT, "row": row, "seed": seed, "config": config, "data": data, "program": programs(starts),
                   "hardware": hardware(config["system"]["device"]), "seconds": round(seconds_of(attempts), 1),
                   "tokens": steps[-1]["tokens"], "probes": columns(probes, PROBE),
                   "steps": columns(thinned(steps), STEP)}  # fmt: skip
        self.folder.mkdir(parents=True, exist_ok=True)
        unfinished = self.path(row, seed).with_suffix(".unfinished")
        unfinished.write_text(compact(content))
        os.replace(unfinished, self.path(row, seed))


def compact(content):
    """A key a line, arrays on theirs: small, and a difference can be read."""
    lines = []
    for key, value in content.items():
        if key in ("config", "probes", "steps"):
            inner = ",\n".join(f"    {json.dumps(k)}: {json.dumps(v)}" for k, v in value.items())
            lines.append(f"  {json.dumps(key)}: {{\n{inner}\n  }}")
        else:
            lines.append(f"  {json.dumps(key)}: {json.dumps(value)}")
    return "{\n" + ",\n".join(lines) + "\n}\n"


def sum_of(path):
    """SHA-256 of a file."""
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()
