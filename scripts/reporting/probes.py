"""Probe files (HDF5): what a run looks like by block, head and channel. docs/file-formats.md has the datasets."""

from dataclasses import dataclass, field

import h5py
import numpy as np

from .h5_alone import NotAlone, open_alone
from .runs import LARGEST, first_line

GROUPS = ("sink", "spike", "gate")


def is_sink_head(share):
    """Of a text, from the share of its sequences in which a head is one: analysis/sinks.h."""
    return share >= 0.5


@dataclass
class Probe:
    step: int
    data: dict = field(default_factory=dict)  # {"sink/alpha": array}

    def get(self, name):
        return self.data.get(name)

    def strongest(self):
        """(L, H): alpha at the sink token, the largest over the first half of the positions; None where not there."""
        alpha = self.get("sink/alpha")
        if alpha is None or alpha.ndim != 3 or alpha.shape[2] < 2:
            return None
        return alpha[:, :, : alpha.shape[2] // 2].max(axis=2)


def sound(probe):
    """Drops datasets whose shape is not theirs, so that figures need not ask again. What was dropped."""
    dropped = []
    ranks = {
        "sink/alpha": 3,
        "sink/sink_share": 2,
        "sink/sink_token": 2,
        "sink/first_token_mass": 2,
        "spike/max": 1,
        "spike/median": 1,
        "spike/position": 1,
        "spike/top_channels": 2,
        "spike/top_values": 2,
        "gate/mean": 2,
        "gate/deviation": 2,
        "gate/closed": 2,
        "gate/open": 2,
        "gate/first_position_mean": 2,
        "gate/histogram": 2,
    }
    for name, array in list(probe.data.items()):
        wrong_shape = name in ranks and (array.ndim != ranks[name] or 0 in array.shape)
        if array.dtype.kind not in "iufb" or wrong_shape or not (np.abs(array) < LARGEST).all():
            dropped.append(name)
            del probe.data[name]
    for first, *others in (
        ("spike/max", "spike/median", "spike/top_channels", "spike/top_values"),
        ("spike/top_values", "spike/top_channels"),
    ):
        for other in others:
            if (
                probe.get(first) is not None
                and probe.get(other) is not None
                and len(probe.get(first)) != len(probe.get(other))
            ):
                dropped.append(other)
                del probe.data[other]
    return dropped


def read_probe(step, path, notes):
    """None, with a note, where the file is damaged."""
    probe = Probe(step)
    try:
        with open_alone(path) as file:
            for group in GROUPS:
                if not isinstance(file.get(group), h5py.Group):
                    continue
                for name, dataset in file[group].items():
                    if isinstance(dataset, h5py.Dataset):
                        probe.data[f"{group}/{name}"] = np.asarray(dataset[...])
    except NotAlone as why:
        notes.left_out(path, why)
        return None
    except (OSError, KeyError, ValueError, RuntimeError, TypeError) as error:
        notes.left_out(path, f"not readable as HDF5 ({first_line(error)})")
        return None
    dropped = sound(probe)
    if dropped:
        notes.left_out(path, f"{', '.join(dropped)}: not of a probe's shape, or not finite")
    return probe if probe.data else None


def chosen(files, most):
    """At most `most` of the files: the last, and others at steps that grow about evenly."""
    if len(files) <= most:
        return files
    at = np.unique(np.round(np.linspace(0, len(files) - 1, most)).astype(int))
    return [files[i] for i in at]


def read_probes(run, notes, most=24):
    found = [read_probe(step, path, notes) for step, path in chosen(run.probe_files, most)]
    return [probe for probe in found if probe is not None]
