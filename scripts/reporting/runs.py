"""A run's folder as the report sees it: config, curves of its metrics, probes. Damage is noted, the rest is read."""

import json
import math
import re
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import sinks
import whole_lines
import yaml

from .curve import Curve, smoothed, thinned

STEP_KEYS = ("loss", "lr", "grad_norm", "tokens_per_second", "mfu")
SMOOTHED = ("loss", "grad_norm", "tokens_per_second", "mfu")


@dataclass
class Run:
    path: Path
    name: str = ""
    index: int = 0  # its place in the report, by which figures and page call it
    sweep: str = ""
    config: dict = field(default_factory=dict)  # flat: {"model.n_layers": 4}
    curves: dict = field(default_factory=dict)  # {"loss": Curve}, thinned; "loss smooth" beside it
    probes: list = field(default_factory=list)  # dicts, by step
    last: dict = field(default_factory=dict)  # the newest logged step
    typical_speed: float = None  # tokens a second, median of the second half
    typical_mfu: float = None
    parameters: str = ""
    probe_files: list = field(default_factory=list)  # [(step, path)], by step

    def get(self, key, default=None):
        return self.config.get(key, default)

    @property
    def row(self):
        """What it shares with the runs of its other seeds."""
        return self.sweep, re.sub(r"_seed\d+$", "", self.name)

    @property
    def probe(self):
        return self.probes[-1] if self.probes else {}

    @property
    def total_steps(self):
        """As the config asks for; None where that is not known."""
        steps = self.get("train.steps")
        if steps is None and self.get("train.tokens") and self.tokens_per_step:
            steps = float(self.get("train.tokens")) / self.tokens_per_step
        try:
            return math.ceil(float(steps)) if steps is not None else None
        except (TypeError, ValueError, OverflowError):
            return None

    @property
    def tokens_per_step(self):
        try:
            context = int(self.get("model.context"))
            return int(float(self.get("train.batch_tokens"))) // context * context
        except (TypeError, ValueError, ZeroDivisionError, OverflowError):
            return None

    @property
    def step(self):
        return int(max(self.last.get("step", 0), self.probe.get("step", 0)))

    @property
    def finished(self):
        return self.total_steps is not None and self.step >= self.total_steps

    def sink_length(self):
        """T of `sink/`."""
        try:
            return min(int(self.get("metrics.sink_length", 64)), int(self.get("model.context", 1 << 30)))
        except (TypeError, ValueError):
            return 64

    def uniform_mass(self):
        """first_token_mass of uniform causal attention."""
        return sinks.uniform_mass(self.sink_length())


def flat(tree, prefix=""):
    out = {}
    for key, value in tree.items():
        name = f"{prefix}{key}"
        if isinstance(value, dict):
            out.update(flat(value, name + "."))
        else:
            out[name] = value
    return out


def read_config(path, notes):
    try:
        tree = yaml.load(path.read_text(encoding="utf-8"), getattr(yaml, "CSafeLoader", yaml.SafeLoader))
        if not isinstance(tree, dict):
            raise ValueError("not a config")
        return flat(tree)
    except FileNotFoundError:
        notes.left_out(path, "no such file")
    except (OSError, ValueError, yaml.YAMLError) as error:
        notes.left_out(path, f"not readable as YAML ({first_line(error)})")
    return {}


def first_line(error):
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


LARGEST = 1e30  # beyond it a number is taken as damage, or as a run that diverged: no axis goes so far


def is_number(value):
    """One that an axis can show."""
    return whole_lines.is_number(value) and -LARGEST < value < LARGEST


def read_lines(path, notes):
    """({step: entry} of logged steps, the same of probes). A last line without its newline is being written."""
    steps, probes, damaged = {}, {}, []
    try:
        with open(path, "rb") as file:
            for number, line in enumerate(file, 1):
                if not line.endswith(b"\n"):
                    break
                try:
                    entry = json.loads(line)
                    step = entry["step"]
                    if not is_number(step):
                        raise ValueError
                except (ValueError, TypeError, KeyError, RecursionError):
                    damaged.append(number)
                    continue
                event = entry.get("event")
                if event == "probe":
                    probes[step] = {k: v for k, v in entry.items() if is_number(v)}
                elif event is None:
                    steps[step] = {k: v for k, v in entry.items() if is_number(v)}
    except FileNotFoundError:
        notes.left_out(path, "no such file")
    except OSError as error:
        notes.left_out(path, error.strerror or "not readable")
    if damaged:
        more = f" and {len(damaged) - 1} more lines" if len(damaged) > 1 else ""
        notes.left_out(f"{path}:{damaged[0]}", f"not a line of metrics{more}")
    return steps, probes


def curves_of(steps, most):
    """Thinned curves of each key, and of the noisy ones a running mean."""
    curves = {}
    ordered = [steps[step] for step in sorted(steps)]
    for key in STEP_KEYS:
        points = [(entry["step"], entry[key]) for entry in ordered if key in entry]
        if not points:
            continue
        whole = Curve(*np.array(points, dtype=float).T)
        curves[key] = thinned(whole, most)
        window = len(whole) // 40
        if key in SMOOTHED and window >= 3:
            curves[key + " smooth"] = thinned(smoothed(whole, window), min(most, 300))
    return curves


def median_of_second_half(steps, key):
    values = [entry[key] for step, entry in sorted(steps.items()) if key in entry]
    return float(np.median(values[len(values) // 2 :])) if values else None


def parameters_in_log(path):
    """The model's size as the run said it, "1.18M"; empty where the log does not say."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            for _, line in zip(range(40), file):
                found = re.search(r"model: ([\d.]+[kMBT]?) parameters", line)
                if found:
                    return found[1]
    except OSError:
        pass
    return ""


def probe_files(folder):
    found = []
    for path in (folder / "probes").glob("step_*.h5"):
        number = re.fullmatch(r"step_(\d+)", path.stem)
        if number:
            found.append((int(number[1]), path))
    return sorted(found)


def read_run(path, notes, most_points):
    """None, with a note, where the folder has neither a logged step nor a probe."""
    config = read_config(path / "config.yaml", notes)
    run = Run(path=path, name=str(config.get("run.name") or path.name), config=config)
    steps, probes = read_lines(path / "metrics.jsonl", notes)
    run.probe_files = probe_files(path)
    if not steps and not probes:
        notes.left_out(path, "no step and no probe in it")
        return None
    run.curves = curves_of(steps, most_points)
    run.probes = [probes[step] for step in sorted(probes)]
    run.last = steps[max(steps)] if steps else {}
    run.typical_speed = median_of_second_half(steps, "tokens_per_second")
    run.typical_mfu = median_of_second_half(steps, "mfu")
    run.parameters = parameters_in_log(path / "log.txt")
    if not run.probes:
        notes.say(f"{path}: no probe yet; its sinks and spikes are not shown")
    return run
