"""Folders of `spikesink analyze`: analysis.h5 and summary.json, as the figures of figures_analyses.py and
figures_practice.py read them. docs/metrics.md has the arrays."""

import json
from dataclasses import dataclass, field
from pathlib import Path

import h5py
import numpy as np

from .h5_alone import NotAlone, open_alone
from .runs import LARGEST, first_line

# Dimensions of the arrays that are drawn; arrays of other shapes are left out.
RANKS = {
    "trajectory/residual/max": 1,
    "trajectory/residual/median": 1,
    "trajectory/output/max": 1,
    "trajectory/spikes/residual": 2,
    "trajectory/spikes/output": 2,
    "trajectory/spikes/channels": 1,
    "trajectory/steps/up": 1,
    "trajectory/steps/down": 1,
    "silu/block": 1,
    "silu/cosine": 2,
    "silu/norm_ratio": 2,
    "norm/participation": 2,
    "norm/cosine": 2,
    "distance/distance_without_first": 2,
    "distance/sink_share": 2,
    "quadratic/blocks": 1,
    "quadratic/norm": 2,
    "quadratic/is_outlier": 2,
    "quadratic/channels": 2,
    "quadratic/eigenvalues": 3,
    "vocabulary/max_by_block": 2,
    "keys/sink_share": 2,
    "keys/sink_dimension": 2,
    "keys/logit_gap": 2,
    "keys/points/heads": 2,
    "keys/points/variance": 2,
    "keys/points/q": 3,
    "keys/points/sink_keys": 3,
    "keys/points/other_keys": 3,
    "quantization/loss": 1,
    "quantization/error": 2,
    "quantization/error_spike_tokens": 2,
    "quantization/error_other_tokens": 2,
    "eviction/size": 1,
    "eviction/kept": 1,
    "eviction/loss_evicted": 2,
    "eviction/loss_evicted_whole": 1,
    "eviction/loss_by_position": 3,
    "eviction/loss_by_position_whole": 1,
}
# Arrays of one analysis that are as long as each other along their first dimension.
SAME_LENGTH = (
    ("trajectory/residual/max", "trajectory/residual/median", "trajectory/output/max", "trajectory/spikes/residual"),
    ("trajectory/spikes/residual", "trajectory/spikes/output"),
    ("silu/block", "silu/cosine", "silu/norm_ratio"),
    ("quadratic/blocks", "quadratic/norm", "quadratic/is_outlier", "quadratic/channels", "quadratic/eigenvalues"),
    ("keys/points/heads", "keys/points/q", "keys/points/sink_keys", "keys/points/other_keys"),
    ("distance/sink_share", "distance/distance_without_first"),
    ("quantization/error", "quantization/error_spike_tokens", "quantization/error_other_tokens"),
    ("eviction/size", "eviction/loss_evicted", "eviction/loss_evicted_whole", "eviction/loss_by_position"),
)


@dataclass
class Analysis:
    path: Path
    index: int = 0  # its place in the report
    name: str = ""
    run: int = None  # index of the run whose checkpoint it is of; None: not in the report
    source: dict = field(default_factory=dict)
    data: dict = field(default_factory=dict)  # {"trajectory/residual/max": array}
    summary: dict = field(default_factory=dict)

    def get(self, name):
        return self.data.get(name)

    def has(self, *names):
        return all(name in self.data for name in names)

    @property
    def note(self):
        """What the figures are of."""
        said = []
        if isinstance(self.source.get("step"), int):
            said.append(f"step {self.source['step']:,}")
        if isinstance(self.source.get("sequences"), int) and isinstance(self.source.get("length"), int):
            said.append(f"{self.source['sequences']} sequences of {self.source['length']}")
        return ", ".join(said)


def is_analysis(path):
    return (path / "analysis.h5").exists() or (path / "summary.json").exists()


def sound(data):
    """Drops arrays whose shape is not theirs. What was dropped."""
    dropped = []

    def drop(name):
        dropped.append(name)
        del data[name]

    for name, array in list(data.items()):
        finite = array[np.isfinite(array)]
        if name in RANKS and array.ndim != RANKS[name] or (np.abs(finite) > LARGEST).any():
            drop(name)
    for first, *others in SAME_LENGTH:
        for other in others:
            if first in data and other in data and len(data[first]) != len(data[other]):
                drop(other)
    return dropped


def read_summary(path, notes):
    try:
        summary = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(summary, dict):
            raise ValueError("not an object")
        return summary
    except FileNotFoundError:
        notes.left_out(path, "no such file")
    except (OSError, ValueError, RecursionError) as error:
        notes.left_out(path, f"not a summary ({first_line(error)})")
    return {}


def read_arrays(path, notes):
    data = {}

    def keep(name, item):
        if isinstance(item, h5py.Dataset) and item.dtype.kind in "iuf":
            data[name] = np.asarray(item[...])

    try:
        with open_alone(path) as file:
            file.visititems(keep)
    except FileNotFoundError:
        notes.left_out(path, "no such file")
    except NotAlone as why:
        notes.left_out(path, why)
        return {}
    except (OSError, KeyError, ValueError, RuntimeError, TypeError) as error:
        notes.left_out(path, f"not readable as HDF5 ({first_line(error)})")
        return {}
    dropped = sound(data)
    if dropped:
        notes.left_out(path, f"{', '.join(dropped)}: not of an analysis's shape, or too large")
    return data


def whose(source, runs):
    """The run that the checkpoint lies in."""
    try:
        folder = Path(source["checkpoint"]).resolve().parent.parent
    except (KeyError, TypeError, OSError):
        return None
    return next((run for run in runs if run.path.resolve() == folder), None)


def read_analyses(folders, runs, notes):
    """Those in the runs' folders, and those that are named; each once."""
    found, seen = [], set()
    beside = [(run.path / "analysis", run) for run in runs if is_analysis(run.path / "analysis")]
    for path, run in beside + [(path, None) for path in folders]:
        if path.resolve() in seen:
            continue
        seen.add(path.resolve())
        if not is_analysis(path):
            notes.left_out(path, "not a folder of `spikesink analyze`" if path.is_dir() else "no such folder")
            continue
        summary = read_summary(path / "summary.json", notes)
        analysis = Analysis(path, data=read_arrays(path / "analysis.h5", notes), summary=summary)
        source = summary.pop("source", {})
        analysis.source = source if isinstance(source, dict) else {}
        if not analysis.data and not summary:
            continue
        run = run or whose(analysis.source, runs)
        analysis.run = run.index if run else None
        folder = path.resolve()
        analysis.name = run.name if run else folder.parent.name if folder.name == "analysis" else folder.name
        found.append(analysis)
    for i, analysis in enumerate(found):
        analysis.index = i
    for name in {analysis.name for analysis in found}:  # several of a name: by as much of their folders as tells them apart
        same = [analysis for analysis in found if analysis.name == name]
        parts = [analysis.path.resolve().parts for analysis in same]
        depth = next((n for n in range(1, 1 + max(map(len, parts))) if len({p[-n:] for p in parts}) == len(parts)), 1)
        for analysis, path in zip(same, parts):
            analysis.name += f" ({'/'.join(path[-depth:])})" if len(same) > 1 else ""
    return found
