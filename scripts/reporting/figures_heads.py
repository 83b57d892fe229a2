"""Figures of one run by head: maps of attention sinks, when they came in which layer, and on which position they are."""

import numpy as np
from matplotlib.collections import PolyCollection

from .numbers_as_text import percent, percent_axis, plain_axis, whole
from .style import LIGHT_RAMP, MUTED, WIDTH, label_on, level, new_axes
from .svg import Figure

MOST_COLUMNS = 64


def cell_labels(axes, drawn, labels):
    """`labels`: (x, y, text, level of the cell)"""
    for i, (x, y, text, cell_level) in enumerate(labels):
        axes.text(
            x,
            y,
            text,
            ha="center",
            va="center_baseline",
            fontsize=7,
            color=label_on(LIGHT_RAMP[cell_level]),
            gid=f"label{i}",
        )
        drawn.levels[f"label{i}"] = cell_level


def cells(axes, drawn, values, scale, titles, xs=None):
    """A map of values[y][x]; row 1 below. `xs`: the columns' edges, else 0.5, 1.5, ..."""
    rows, columns = values.shape
    edges = np.arange(columns + 1) + 0.5 if xs is None else np.asarray(xs, dtype=float)
    gap = 0.04 * float(np.median(np.diff(edges))) if columns <= 40 else 0
    pad = 0.04 if rows <= 40 else 0
    levels = [level(float(v) / scale if scale else 0) for v in values.ravel()]
    corners = [
        [
            (edges[x] + gap, y + 0.5 + pad),
            (edges[x + 1] - gap, y + 0.5 + pad),
            (edges[x + 1] - gap, y + 1.5 - pad),
            (edges[x] + gap, y + 1.5 - pad),
        ]
        for y in range(rows)
        for x in range(columns)
    ]
    axes.add_collection(
        PolyCollection(corners, facecolors=[LIGHT_RAMP[k] for k in levels], edgecolors="none", gid="cells")
    )
    drawn.levels["cells"], drawn.points["cells"] = levels, titles
    axes.set_xlim(edges[0], edges[-1])
    axes.set_ylim(0.5, rows + 0.5)
    axes.grid(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_visible(False)
    return levels


def ticks(count):
    step = next((nice for nice in (1, 2, 4, 8, 16, 32) if count / nice <= 9), 64)
    return [1] + [i for i in range(step, count + 1, step) if i > 1]


def map_height(layers):
    return min(max(1.5, 0.75 + 0.24 * layers), 4.2)


def head_map(run, key, values, scale, text, extra=None):
    """values (L, H). With many heads those of a layer are sorted, and every so-manieth is shown."""
    layers, heads = values.shape
    figure, axes = new_axes(WIDTH, map_height(layers))
    drawn = Figure(f"{key}_{run.index}", run.name, figure, run=run.index)
    if heads > MOST_COLUMNS:
        at = np.round(np.linspace(0, heads - 1, MOST_COLUMNS)).astype(int)
        values = -np.sort(-values, axis=1)[:, at]
        titles = [
            f"layer {l + 1}, head of rank {at[h] + 1} of {heads}: {text(values[l, h])}"
            for l in range(layers)
            for h in range(MOST_COLUMNS)
        ]
        axes.set_xlabel(f"the {heads} heads of a layer, sorted")
    else:
        titles = [
            f"layer {l + 1}, head {h + 1}: {text(values[l, h])}" + (f", {extra(l, h)}" if extra else "")
            for l in range(layers)
            for h in range(heads)
        ]
        axes.set_xlabel("head")
    levels = cells(axes, drawn, values, scale, titles)
    if values.size <= 48 and heads <= 12:
        cell_labels(
            axes,
            drawn,
            [
                (
                    h + 1,
                    l + 1,
                    f"{100 * values[l, h]:.0f}" if text is percent else text(values[l, h]),
                    levels[l * heads + h],
                )
                for l in range(layers)
                for h in range(heads)
            ],
        )
    if heads > MOST_COLUMNS:
        axes.set_xticks([1, MOST_COLUMNS], ["strongest", "weakest"])
    else:
        axes.set_xticks(ticks(heads))
    axes.set_yticks(ticks(layers))
    axes.set_ylabel("layer")
    drawn.alt = f"Map of layers and heads of {run.name}"
    return drawn


def newest(probes, name):
    return next((probe for probe in reversed(probes) if probe.get(name) is not None), None)


def map_group(details, key, value, text, least):
    """The maps of all runs, on one scale, which ends at `least` or above."""
    found = []
    for run, probes in details:
        probe = newest(probes, "sink/" + key if key != "alpha" else "sink/alpha")
        values = value(probe) if probe else None
        if values is not None:
            found.append((run, probe, values))
    scale = max([float(values.max()) for _, _, values in found] + [least])
    figures = []
    for run, probe, values in found:
        token = probe.get("sink/sink_token")
        extra = None
        if token is not None and token.shape == values.shape:
            extra = lambda l, h, t=token: f"sink at position {int(t[l, h])}" if t[l, h] > 0 else "no sink"  # noqa: E731
        drawn = head_map(run, key, values, scale, text, extra)
        drawn.note = f"step {whole(probe.step)}; full scale: {text(scale)}"
        figures.append(drawn)
    return figures


def layers_over_training(run, probes):
    """Share of a layer's heads that are sink heads (mean over sequences), by step."""
    probes = [probe for probe in probes if probe.get("sink/sink_share") is not None]
    if len(probes) < 2:
        return None
    layers = len(probes[-1].get("sink/sink_share"))
    probes = [probe for probe in probes if len(probe.get("sink/sink_share")) == layers]
    values = np.array([probe.get("sink/sink_share").mean(axis=1) for probe in probes]).T
    steps = np.array([probe.step for probe in probes], dtype=float)
    if len(steps) < 2 or (np.diff(steps) <= 0).any():
        return None
    middle = (steps[1:] + steps[:-1]) / 2
    edges = np.concatenate([[steps[0]], middle, [steps[-1]]])
    figure, axes = new_axes(WIDTH, map_height(layers))
    drawn = Figure(f"when_{run.index}", run.name, figure, run=run.index)
    titles = [
        f"layer {l + 1}, step {whole(s)}: {percent(values[l, i])} of its heads"
        for l in range(layers)
        for i, s in enumerate(steps)
    ]
    cells(axes, drawn, values, 1.0, titles, xs=edges)
    axes.set_xlim(0, edges[-1])
    plain_axis(axes.xaxis)
    axes.set_yticks(ticks(layers))
    axes.set_xlabel("step")
    axes.set_ylabel("layer")
    first = steps[np.argmax(values.max(axis=0) >= 0.05)] if values.max() >= 0.05 else None
    drawn.note = f"first at step {whole(first)}" if first is not None else "no sinks so far"
    drawn.alt = f"Share of sink heads by layer and step of {run.name}"
    return drawn


def by_position(run, probes, color):
    """alpha by position: each head pale, their mean strong, beside uniform attention."""
    probe = newest(probes, "sink/alpha")
    if probe is None:
        return None
    alpha = probe.get("sink/alpha")
    length = alpha.shape[2]
    heads = alpha.reshape(-1, length)
    order = np.argsort(heads[:, : max(length // 2, 1)].max(axis=1))
    shown = order[np.unique(np.round(np.linspace(0, len(order) - 1, min(len(order), 40))).astype(int))]
    positions = np.arange(1, length + 1)
    figure, axes = new_axes()
    drawn = Figure(f"position_{run.index}", run.name, figure, run=run.index, note=f"step {whole(probe.step)}")
    for i in shown:
        axes.plot(positions, heads[i], color=color, linewidth=0.7, alpha=0.35, gid=f"head{i}")
        drawn.titles[f"head{i}"] = (
            f"layer {i // alpha.shape[1] + 1}, head {i % alpha.shape[1] + 1}: {percent(float(heads[i, 0]))} on position 1"
        )
    uniform = np.array([sum(1 / t for t in range(k, length + 1)) / length for k in positions])
    axes.plot(positions, uniform, color=MUTED, linewidth=1, linestyle=(0, (4, 3)), gid="uniform")
    drawn.titles["uniform"] = f"uniform attention: {percent(float(uniform[0]))} on position 1"
    mean = heads.mean(axis=0)
    axes.plot(positions, mean, color=color, linewidth=2, gid="mean")
    drawn.titles["mean"] = f"mean of all heads: {percent(float(mean[0]))} on position 1"
    axes.set_xscale("log", base=2)
    axes.set_xticks([2**k for k in range(length.bit_length()) if 2**k <= length])
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:.0f}")
    axes.minorticks_off()
    percent_axis(axes.yaxis)
    axes.set_ylim(0, None)
    axes.set_xlabel("position attended to")
    axes.set_ylabel("share of attention")
    drawn.alt = f"Attention by position of {run.name}"
    return drawn


def head_groups(details, colors):
    return [
        (
            "When, and in which layer",
            "Share of a layer's heads that are sink heads, at each probe; full scale: all of them.",
            [layers_over_training(run, probes) for run, probes in details],
        ),
        (
            "Attention at the sink token",
            "Each head's largest alpha over the first half of the positions: the share of its attention that one token "
            "gets. On one scale for all runs, in per cent.",
            map_group(details, "alpha", lambda p: p.strongest(), percent, 0.3),
        ),
        (
            "First-token mass",
            "Mean attention on position 1 of the positions after it.",
            map_group(details, "first_token_mass", lambda p: p.get("sink/first_token_mass"), percent, 0.3),
        ),
        (
            "Share of sequences with a sink",
            "In how many of the probe's sequences the head is a sink head.",
            map_group(details, "sink_share", lambda p: p.get("sink/sink_share"), percent, 1.0),
        ),
        (
            "Where attention goes",
            "Share of a head's attention by position: heads pale, their mean strong, dashed what uniform attention "
            "gives. A sink is a peak on one early position.",
            [by_position(run, probes, colors[run.index]) for run, probes in details],
        ),
    ]
