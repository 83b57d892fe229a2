"""Figures of one gated run: how open its gates are, by head, and how their values are spread."""

import numpy as np
from matplotlib.collections import PolyCollection

from .figures_heads import head_map, newest
from .numbers_as_text import fixed, percent, percent_axis, whole
from .style import LIGHT_RAMP, level, new_axes
from .svg import Figure


def two_decimals(value):
    return fixed(float(value), 2)


def spread(run, probe):
    """Histogram of the gates' values, a line a layer."""
    shares = probe.get("gate/histogram")
    if shares is None:
        return None
    layers, bins = shares.shape
    edges = np.linspace(0, 1, bins + 1)
    figure, axes = new_axes()
    drawn = Figure(
        f"gate_histogram_{run.index}",
        run.name,
        figure,
        run=run.index,
        note=f"step {whole(probe.step)}; a line a layer, later ones stronger",
    )
    for l in range(layers):
        color = LIGHT_RAMP[level(0.3 + 0.69 * l / max(layers - 1, 1))]
        axes.stairs(shares[l], edges, color=color, linewidth=1.3, gid=f"layer{l}")
        drawn.titles[f"layer{l}"] = f"layer {l + 1}: {percent(float(shares[l, : max(bins // 10, 1)].sum()))} below 0.1"
    percent_axis(axes.yaxis)
    axes.set_xlim(0, 1)
    axes.set_ylim(0, None)
    axes.set_xlabel("gate value s")
    axes.set_ylabel("share of values")
    drawn.alt = f"Histogram of gate values of {run.name}"
    return drawn


def first_and_rest(run, probe):
    """By layer: mean of the gates at position 1 and over all positions."""
    first, mean = probe.get("gate/first_position_mean"), probe.get("gate/mean")
    if first is None or mean is None or len(first) != len(mean):
        return None
    figure, axes = new_axes()
    drawn = Figure(
        f"gate_first_{run.index}",
        run.name,
        figure,
        run=run.index,
        note=f"step {whole(probe.step)}; left: position 1, right: all positions",
    )
    layers = len(mean)
    for gid, values, shift, tone in (("first", first.mean(axis=1), -0.19, 0.42), ("all", mean.mean(axis=1), 0.19, 0.8)):
        bars = [
            [
                (l + 1 + shift - 0.17, 0),
                (l + 1 + shift + 0.17, 0),
                (l + 1 + shift + 0.17, float(v)),
                (l + 1 + shift - 0.17, float(v)),
            ]
            for l, v in enumerate(values)
        ]
        axes.add_collection(PolyCollection(bars, facecolors=LIGHT_RAMP[level(tone)], edgecolors="none", gid=gid))
        drawn.points[gid] = [
            f"layer {l + 1}, {'position 1' if gid == 'first' else 'all positions'}: {fixed(float(v), 2)}"
            for l, v in enumerate(values)
        ]
        drawn.levels[gid] = [level(tone)] * layers
    axes.set_xlim(0.4, layers + 0.6)
    axes.set_ylim(0, 1)
    axes.set_xticks(range(1, layers + 1, max(1, layers // 8)))
    axes.set_xlabel("layer")
    axes.set_ylabel("mean gate value")
    drawn.alt = f"Gates at the first position beside all, by layer, of {run.name}"
    return drawn


def gate_groups(details):
    """Empty where no run has gates."""
    gated = [(run, newest(probes, "gate/mean")) for run, probes in details]
    gated = [(run, probe) for run, probe in gated if probe]
    if not gated:
        return []

    def maps(key, name):
        out = []
        for run, probe in gated:
            if probe.get(name) is not None:
                drawn = head_map(run, key, probe.get(name), 1.0, two_decimals)
                drawn.note = f"step {whole(probe.step)}; full scale: 1"
                out.append(drawn)
        return out

    return [
        (
            "Mean gate value",
            "How much of a head's output its gate lets through, s = sigmoid(logit), mean over tokens; untrained gates are "
            "near 0.5.",
            maps("gate_mean", "gate/mean"),
        ),
        (
            "Closed",
            "Share of values with s below 0.1: a head that has nothing to say closes its gate instead of attending to a "
            "sink.",
            maps("gate_closed", "gate/closed"),
        ),
        (
            "Spread of values",
            "Shares of a layer's gate values, all heads.",
            [spread(run, probe) for run, probe in gated],
        ),
        (
            "At the first position",
            "What the gate does at position 1, where sinks are.",
            [first_and_rest(run, probe) for run, probe in gated],
        ),
    ]
