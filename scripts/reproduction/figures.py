"""Curves of the records over the steps: how the baseline's sinks and spikes come up, and what the other rows do."""

from reporting.numbers_as_text import log_axis, percent_axis, plain_axis
from reporting.style import MUTED, SERIES, new_grid
from sinks import uniform_mass

from .contrasts import BASELINE, FIXED_TOTAL, RATES, WEAK_GATES, WIDTHS

GROUPS = (
    ("normalisation", ("sandwich", "sandwich_qk", "dynamic_tanh")),
    ("FFN", ("gelu", "linear", "attention")),
    ("d_head, heads as they are", WIDTHS[:-1]),
    ("d_head, n_heads * d_head as it is", [row for row in FIXED_TOTAL if row != BASELINE]),
    ("number of heads", ("heads_8", "heads_16")),
    ("conditional gates", ("conditional_channel", "conditional_head", "conditional_single")),
    ("gates that do not see the input", WEAK_GATES),
    ("loss on a part of the context", ("loss_1024_4096", "loss_2048_4096")),
    ("optimisation", [row for row in RATES if row != BASELINE] + ["weight_decay_0", "beta2_0.999"]),
)  # fmt: skip


BASELINE_PANELS = (("sink_ratio", "sink ratio"), ("first_token_mass", "first-token mass"), ("spike_ratio", "spike / median |h|"))
ROW_PANELS = (("sink_ratio", "sink ratio"), ("first_token_mass", "first-token mass"), ("spike_max", "spike, max |h|"))


def mean_curve(seeds, key):
    """(steps, means) over the seeds of a row, at the steps that all of them have."""
    tables = [{probe["step"]: probe[key] for probe in record.probes if key in probe} for record in seeds]
    steps = sorted(set.intersection(*map(set, tables)))
    return steps, [sum(table[step] for table in tables) / len(tables) for step in steps]


def dress(axes, key, values):
    plain_axis(axes.xaxis)
    axes.set_xlabel("step")
    if key.startswith("spike"):
        positive = [value for value in values if value > 0]
        log_axis(axes, "y", min(positive), max(positive))
    else:
        axes.set_ylim(0, max(values) * 1.1 or 1)
        (percent_axis if key == "sink_ratio" else plain_axis)(axes.yaxis)


def emergence(seeds):
    """Of the baseline, a line a seed: sink ratio, first-token mass, spike over the median."""
    figure, grid = new_grid(1, 3)
    for axes, (key, title) in zip(grid.flat, BASELINE_PANELS):
        values = []
        for record, (color, _) in zip(seeds, SERIES):
            steps, curve = mean_curve([record], key)
            axes.plot(steps, curve, "o-", color=color, label=f"seed {record.seed}")
            values += curve
        dress(axes, key, values)
        axes.set_title(title)
        if key == "first_token_mass":
            uniform = uniform_mass(seeds[0].figures["length"])
            axes.axhline(uniform, color=MUTED, linestyle=(0, (4, 3)), linewidth=0.9)
            axes.annotate("uniform", (1, uniform), xycoords=axes.get_yaxis_transform(), ha="right", va="bottom", color=MUTED)
    grid.flat[0].legend()
    return figure


def rows(records, labels):
    """Of every row, the mean over its seeds; a line of panels for each group, with the baseline in grey."""
    groups = [(title, [row for row in members if row in records]) for title, members in GROUPS]
    groups = [(title, members) for title, members in groups if members]
    figure, grid = new_grid(len(groups), 3)
    for (title, members), panels in zip(groups, grid):
        for axes, (key, what) in zip(panels, ROW_PANELS):
            values = []
            for row, color in [(BASELINE, MUTED)] + [(row, color) for row, (color, _) in zip(members, SERIES)]:
                steps, curve = mean_curve(records[row], key)
                axes.plot(steps, curve, color=color, label=labels[row])
                values += curve
            dress(axes, key, values)
            axes.set_title(f"{title}: {what}")
        panels[0].legend()
    return figure


def write_figures(folder, records, labels):
    """records: {row: [Record]}, the baseline among them. Writes baseline.svg, and rows.svg where there are others."""
    drawn = {"baseline": emergence(records[BASELINE])}
    if len(records) > 1:
        drawn["rows"] = rows(records, labels)
    for name, figure in drawn.items():
        figure.savefig(folder / f"{name}.svg", metadata={"Date": None})
