"""A sweep's rows: from tables/table.json where `spikesink sweep collect` wrote it, else from its runs' last probes."""

import re
from dataclasses import dataclass, field

import numpy as np
import sinks

from .runs import is_number

KEYS = ("perplexity", "sink_ratio", "spike_max", "first_token_mass", "sink_excess", "spike_ratio")
# Axes that are looked for in configs where the table names none.
KNOWN_AXES = (
    "model.attention.d_head",
    "model.context",
    "model.attention.n_heads",
    "model.d_model",
    "model.n_layers",
    "train.optimizer.lr",
    "train.optimizer.weight_decay",
    "train.loss_from_position",
)


@dataclass
class Figures:
    count: int = 0
    mean: float = None
    deviation: float = None
    paper: float = None
    direction: str = "none"


@dataclass
class Row:
    name: str
    label: str
    figures: dict = field(default_factory=dict)  # {"perplexity": Figures}
    axes: dict = field(default_factory=dict)  # {key: number}
    runs: list = field(default_factory=list)
    seeds: int = 0

    def mean(self, key):
        return self.figures[key].mean if key in self.figures else None

    def paper(self, key):
        return self.figures[key].paper if key in self.figures else None


@dataclass
class Rows:
    title: str
    rows: list
    baseline: str = ""
    judged_by: str = "sink_ratio"
    collected: bool = True
    notes: list = field(default_factory=list)

    @property
    def has_paper(self):
        return any(row.paper(key) is not None for row in self.rows for key in KEYS)


def number_or_none(value):
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            return None
    return float(value) if is_number(value) else None


def rows_of(sweep):
    rows = from_table(sweep) if sweep.table else from_runs(sweep)
    add_axes(rows, sweep)
    return rows


def from_table(sweep):
    table = sweep.table
    by_name = {run.path.name: run for run in sweep.runs}
    rows = []
    for entry in table["rows"]:
        name = str(entry.get("name", ""))
        row = Row(name, str(entry.get("label") or name), seeds=int(number_or_none(entry.get("seeds")) or 0))
        for key, values in as_dict(entry.get("figures")).items():
            if key in KEYS and isinstance(values, dict):
                row.figures[key] = Figures(
                    int(number_or_none(values.get("count")) or 0),
                    number_or_none(values.get("mean")),
                    number_or_none(values.get("deviation")),
                    number_or_none(values.get("paper")),
                    str(values.get("direction", "none")),
                )
        row.axes = {str(key): number_or_none(value) for key, value in as_dict(entry.get("axes")).items()}
        names = (
            [run.get("name") for run in entry.get("runs", []) if isinstance(run, dict)]
            if isinstance(entry.get("runs"), list)
            else []
        )
        row.runs = [by_name[run] for run in names + [name] if isinstance(run, str) and run in by_name][
            : max(len(names), 1)
        ]
        rows.append(row)
    notes = [str(note) for note in table["notes"]] if isinstance(table.get("notes"), list) else []
    judged = table.get("sink_judged_by")
    return Rows(
        str(table.get("title") or sweep.name),
        rows,
        str(table.get("baseline") or ""),
        judged if judged in KEYS else "sink_ratio",
        True,
        notes,
    )


def as_dict(value):
    return value if isinstance(value, dict) else {}


def excess(run):
    """First-token mass above that of uniform attention; docs of `sweep collect` have the formula."""
    mass, length = run.probe.get("first_token_mass"), run.sink_length()
    return None if mass is None or length < 2 else sinks.sink_excess(mass, length)


def from_runs(sweep):
    """Rows of the runs as they are, finished or not: ROW_seed1, ROW_seed2, ... are one row."""
    rows = {}
    for run in sweep.runs:
        name = re.sub(r"_seed\d+$", "", run.path.name)
        rows.setdefault(name, Row(name, name)).runs.append(run)
    for row in rows.values():
        row.seeds = len(row.runs)
        for key in KEYS:
            values = [excess(run) if key == "sink_excess" else run.probe.get(key) for run in row.runs]
            values = [value for value in values if value is not None]
            row.figures[key] = Figures(
                len(values),
                float(np.mean(values)) if values else None,
                float(np.std(values, ddof=1)) if len(values) > 1 else None,
            )
    baseline = next((name for name in rows if name in ("baseline", "pre_norm")), "")
    return Rows(sweep.name, list(rows.values()), baseline, collected=False)


def add_axes(rows, sweep):
    """What the table does not say of the rows' axes, from their configs: keys that take three values or more."""
    for row in rows.rows:
        row.axes = {key: value for key, value in row.axes.items() if value is not None}
    if any(row.axes for row in rows.rows):
        return
    for key in KNOWN_AXES:
        values = {row.name: number_or_none(row.runs[0].get(key)) for row in rows.rows if row.runs}
        if len({value for value in values.values() if value is not None}) >= 3:
            for row in rows.rows:
                if values.get(row.name) is not None:
                    row.axes[key] = values[row.name]
