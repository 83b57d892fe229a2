"""Figures of `spikesink analyze`: where spikes come from and what reads them, and how sinks differ over sequences."""

import numpy as np

from .figures_blocks import whole_ticks
from .numbers_as_text import fixed, log_axis, number, percent, percent_axis, plain_axis
from .probes import is_sink_head
from .style import MUTED, SERIES, new_axes
from .svg import Figure

SPIKE, OTHER = SERIES[1][0], SERIES[0][0]  # colours of spike tokens and sink heads, and of all others
MOST_CHANNELS = 4


def new_figure(analysis, key, **sizes):
    figure, axes = new_axes(**sizes)
    return axes, Figure(f"{key}_a{analysis.index}", analysis.name, figure, run=analysis.run, note=analysis.note)


def legend(axes, **more):
    if axes.get_legend_handles_labels()[0]:
        axes.legend(loc="best", handlelength=1.4, borderaxespad=0.2, labelspacing=0.25, **more)


def line(axes, drawn, gid, x, y, label, color, text=number, what="block", **more):
    """A line with points that say their value; NaN are left out."""
    at = np.isfinite(y)
    x, y = np.asarray(x)[at], np.asarray(y)[at]
    if not len(x):
        return
    axes.plot(x, y, "o-", color=color, markersize=3.2 if len(x) <= 24 else 2, label=label, gid=gid, **more)
    drawn.points[gid] = [f"{what} {number(float(a))}, {label}: {text(float(b))}" for a, b in zip(x, y)]


def block_axis(axes, blocks):
    axes.set_xlim(0.5, blocks + 0.5)
    whole_ticks(axes.xaxis, blocks)
    axes.set_xlabel("block")


def marked_steps(axes, drawn, analysis):
    for name, what, style in (("up", "step-up", (0, (1, 1.5))), ("down", "step-down", (0, (4, 2)))):
        steps = analysis.get(f"trajectory/steps/{name}")
        for block in [] if steps is None else steps:
            axes.axvline(block, color=MUTED, linewidth=0.9, linestyle=style, zorder=0, gid=f"{what}{block}")
            drawn.titles[f"{what}{block}"] = f"{what} block {int(block)}"


def trajectory(analysis):
    """Signed on the spike channels at the spike position where there are spikes, else the largest |h|."""
    residual, output = analysis.get("trajectory/spikes/residual"), analysis.get("trajectory/spikes/output")
    if residual is not None and output is not None and residual.size and residual.shape == output.shape:
        axes, drawn = new_figure(analysis, "trajectory")
        blocks = np.arange(1, len(residual) + 1)
        channels = analysis.get("trajectory/spikes/channels")
        for i in range(min(residual.shape[1], MOST_CHANNELS)):
            known = channels is not None and len(channels) == residual.shape[1]
            label = f"channel {int(channels[i])}" if known else f"spike channel {i + 1}"
            line(axes, drawn, f"residual{i}", blocks, residual[:, i], label, SERIES[i][0])
            axes.plot(blocks, output[:, i], color=SERIES[i][0], linewidth=0.9, linestyle=(0, (3, 1.5)), gid=f"output{i}")
            drawn.titles[f"output{i}"] = f"{label}: what the block itself adds"
        axes.axhline(0, color=MUTED, linewidth=0.7)
        low, high = axes.get_ylim()
        axes.set_ylim(low, high + 0.25 * (high - low))  # the legend's place
        axes.set_ylabel("value at the spike position")
        plain_axis(axes.yaxis)
        legend(axes)
    else:
        top, added = analysis.get("trajectory/residual/max"), analysis.get("trajectory/output/max")
        if top is None or added is None or not (top > 0).any():
            return None
        axes, drawn = new_figure(analysis, "trajectory")
        blocks, median = np.arange(1, len(top) + 1), analysis.get("trajectory/residual/median")
        line(axes, drawn, "residual", blocks, top, "residual stream", OTHER)
        line(axes, drawn, "output", blocks, added, "what the block adds", SPIKE, linewidth=0.9)
        if median is not None:
            line(axes, drawn, "median", blocks, median, "median", MUTED, linewidth=0.9)
        shown = np.concatenate([values[values > 0] for values in (top, added, median) if values is not None])
        log_axis(axes, "y", shown.min() / 1.3, shown.max() * 1.3)
        axes.set_ylim(shown.min() / 1.3, shown.max() * 1.3)
        axes.set_ylabel("largest |h|")
        legend(axes)
    marked_steps(axes, drawn, analysis)
    block_axis(axes, len(blocks))
    drawn.alt = f"The residual stream of {analysis.name} by block"
    return drawn


def by_class(analysis, key, names, at, what, ylabel, text, limits=None, log=False):
    """Values of spike tokens (class 0) and others (1)."""
    if not analysis.has(names) or analysis.get(names).shape[1] != 2 or not np.isfinite(analysis.get(names)).any():
        return None
    values = analysis.get(names)
    axes, drawn = new_figure(analysis, key)
    line(axes, drawn, "others", at, values[:, 1], "other tokens", OTHER, text, what)
    line(axes, drawn, "spikes", at, values[:, 0], "spike tokens", SPIKE, text, what)
    if log and (values[np.isfinite(values)] > 0).all():
        shown = values[np.isfinite(values)]
        log_axis(axes, "y", shown.min() / 1.2, shown.max() * 1.2)
    else:
        plain_axis(axes.yaxis)
        if limits:
            axes.set_ylim(*limits)
    axes.set_ylabel(ylabel)
    block_axis(axes, int(max(at)))
    axes.set_xlim(min(0.5, min(at) - 0.5), None)
    marked_steps(axes, drawn, analysis)
    legend(axes)
    drawn.alt = f"{ylabel} of {analysis.name} by block"
    return drawn


def two_decimals(value):
    return fixed(value, 2)


def silu(analysis):
    blocks = analysis.get("silu/block")
    if blocks is None or not len(blocks):
        return None
    return by_class(analysis, "silu", "silu/cosine", blocks, "block", "cosine of SiLU's input and output", two_decimals)


def participation(analysis):
    values = analysis.get("norm/participation")
    if values is None or not len(values):
        return None
    blocks = np.arange(1, len(values) + 1)
    return by_class(
        analysis, "participation", "norm/participation", blocks, "block", "channels that take part", number, log=True
    )


def cosines(analysis):
    values = analysis.get("norm/cosine")
    if values is None or len(values) < 2:
        return None
    blocks = np.arange(len(values))  # after block 0: the embedding
    return by_class(
        analysis, "cosines", "norm/cosine", blocks, "after block", "mean cosine of pairs of tokens", two_decimals
    )


def distance(analysis):
    """A point a head: how far it looks against how often it has a sink."""
    far, share = analysis.get("distance/distance_without_first"), analysis.get("distance/sink_share")
    if far is None or share is None or far.shape != share.shape:
        return None
    axes, drawn = new_figure(analysis, "distance")
    layers, heads = far.shape
    points = [(l, h) for l in range(layers) for h in range(heads) if np.isfinite(far[l, h])]
    for gid, color, sinks in (("others", OTHER, False), ("sinks", SPIKE, True)):
        mine = [(l, h) for l, h in points if is_sink_head(share[l, h]) == sinks]
        if not mine:
            continue
        axes.plot(
            [share[at] for at in mine],
            [far[at] for at in mine],
            "o",
            color=color,
            markersize=4,
            gid=gid,
            clip_on=False,
        )
        drawn.points[gid] = [
            f"layer {l + 1}, head {h + 1}: {number(float(far[l, h]))} tokens, a sink in {percent(float(share[l, h]), 0)} "
            "of the sequences"
            for l, h in mine
        ]
    percent_axis(axes.xaxis)
    plain_axis(axes.yaxis)
    axes.set_xlim(-0.02, 1.02)
    axes.set_ylim(0, None)
    axes.set_xlabel("share of sequences with a sink")
    axes.set_ylabel("mean distance, tokens")
    drawn.alt = f"How far the heads of {analysis.name} look, against how often they have a sink"
    return drawn


def distribution(analysis, figure_key, title_of_axis, text, as_percent):
    """Over sequences, sorted: the share of sequences at or below a value; at T, and at the context."""
    shown = [
        (name, analysis.get(f"sinks/{name}/{figure_key}"), style)
        for name, style in (("length", "-"), ("context", (0, (3, 1.5))))
        if analysis.get(f"sinks/{name}/{figure_key}") is not None
    ]
    shown = [(name, np.sort(v[np.isfinite(v)]), style) for name, v, style in shown if v.ndim == 1]
    shown = [(name, values, style) for name, values, style in shown if len(values)]
    if analysis.source.get("length") == analysis.source.get("context"):
        shown = shown[:1]
    if not shown:
        return None
    axes, drawn = new_figure(analysis, f"sisters_{figure_key}")
    for i, (name, values, style) in enumerate(shown):
        tokens = analysis.source.get(name)
        label = f"{tokens} tokens" if isinstance(tokens, int) else name
        share = np.arange(1, len(values) + 1) / len(values)
        axes.step(np.append(values[0], values), np.append(0, share), where="post", color=SERIES[i][0], linestyle=style, label=label, gid=name)
        quartiles = [text(float(q)) for q in np.quantile(values, (0.25, 0.5, 0.75))]
        drawn.titles[name] = f"{label}: quartiles {', '.join(quartiles)} over {len(values)} sequences"
        axes.plot(np.median(values), 0.5, "o", color=SERIES[i][0], markersize=4, gid=f"median{i}")
        drawn.points[f"median{i}"] = [f"{label}: median {quartiles[1]}"]
    (percent_axis if as_percent else plain_axis)(axes.xaxis)
    percent_axis(axes.yaxis)
    if as_percent:
        axes.set_xlim(0, max(1.05 * max(values.max() for _, values, _ in shown), 0.02))
    axes.set_ylim(0, 1.03)
    axes.set_xlabel(title_of_axis)
    axes.set_ylabel("sequences at or below")
    legend(axes)
    drawn.alt = f"Distribution over sequences of {title_of_axis} of {analysis.name}"
    return drawn


def analysis_groups(analyses):
    """[(heading, lead, figures)]"""
    return [
        (
            "Rise, plateau, fall on the spike channels",
            "The residual stream after each block in the spike channels, at the spike position, mean over sequences; dashed "
            "what the block itself adds. Upright lines: step-up blocks dotted, step-down blocks dashed. Without massive "
            "activations the largest |h| of the stream and of what blocks add.",
            [trajectory(a) for a in analyses],
        ),
        (
            "SiLU near the identity",
            "Where the gate's input and output point the same way, the FFN is a quadratic form of its input: at spike tokens, "
            "in the block that writes the spike.",
            [silu(a) for a in analyses],
        ),
        (
            "What the norm leaves",
            "Channels that take part in the normalised input: near 1 where a spike token has become a constant vector on few "
            "channels.",
            [participation(a) for a in analyses],
        ),
        (
            "How alike tokens are",
            "Mean cosine of pairs of tokens in the residual stream after each block; spike tokens come to point the same way.",
            [cosines(a) for a in analyses],
        ),
        (
            "How far heads look",
            "A head a point: attention-weighted distance without the first token, against the share of sequences in which the "
            "head has a sink; the second colour: in more than half.",
            [distance(a) for a in analyses],
        ),
        (
            "Sink ratio over sequences",
            "The same figure as over training, of each sequence: the share of sequences at or below it. The point is the "
            "median.",
            [distribution(a, "sink_ratio", "sink ratio", percent, True) for a in analyses],
        ),
        (
            "First-token mass over sequences",
            "Mean attention on the first token, of each sequence.",
            [distribution(a, "first_token_mass", "first-token mass", percent, True) for a in analyses],
        ),
        (
            "Spike over sequences",
            "Largest |h| after any block, of each sequence.",
            [distribution(a, "spike_max", "largest |h|", number, False) for a in analyses],
        ),
    ]
