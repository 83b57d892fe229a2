"""Figures of one run by block: rise, plateau and fall of the residual stream; its top channels."""

import numpy as np
from matplotlib.collections import PolyCollection

from .figures_heads import cell_labels
from .numbers_as_text import log_axis, number, whole
from .style import CARD, LIGHT_RAMP, MUTED, SERIES, WIDTH, level, new_axes
from .svg import Figure

MOST_CHANNELS = 14


def block_name(block, kinds):
    """`block` is 1-based."""
    return f"block {block} ({kinds[(block - 1) % 2]} of layer {(block + 1) // 2})"


def kinds_of(run):
    return ("attention", "attention in the FFN's place" if run.get("model.ffn.kind") == "attention" else "FFN")


def shared_limits(details, names):
    values = [
        probe.get(name) for _, probes in details for probe in probes for name in names if probe.get(name) is not None
    ]
    values = np.concatenate([np.ravel(value) for value in values]) if values else np.array([])
    values = values[values > 0]
    return (values.min() / 1.3, values.max() * 1.3) if len(values) else None


def rise_and_fall(run, probes, color, limits):
    """The largest |h| after each block, at the last probe strong and at earlier ones pale; the median below."""
    probes = [probe for probe in probes if probe.get("spike/max") is not None]
    if not probes or limits is None:
        return None
    figure, axes = new_axes()
    drawn = Figure(f"blocks_{run.index}", run.name, figure, run=run.index)
    last, kinds = probes[-1], kinds_of(run)
    blocks = np.arange(1, len(last.get("spike/max")) + 1)
    earlier = [probe for probe in probes[:-1] if len(probe.get("spike/max")) == len(blocks)]
    earlier = [earlier[i] for i in sorted({round(x) for x in np.linspace(0, len(earlier) - 1, min(len(earlier), 6))})]
    for i, probe in enumerate(earlier):
        axes.plot(
            blocks,
            probe.get("spike/max"),
            color=color,
            linewidth=0.9,
            alpha=0.18 + 0.45 * i / max(len(earlier), 1),
            gid=f"early{i}",
        )
        drawn.titles[f"early{i}"] = f"step {whole(probe.step)}: largest {number(float(probe.get('spike/max').max()))}"
    top = last.get("spike/top_values")
    if top is not None:
        for rank in range(1, top.shape[1]):
            axes.plot(blocks, top[:, rank], color=color, linewidth=0.9, linestyle=(0, (1.5, 1.8)), gid=f"top{rank}")
            drawn.titles[f"top{rank}"] = f"channel {rank + 1} of the largest, mean over sequences"
    axes.plot(blocks, last.get("spike/max"), color=color, linewidth=1.8, gid="last")
    drawn.titles["last"] = f"step {whole(last.step)}: max |h| after each block"
    position = last.get("spike/position")
    for first, marker in ((0, "o"), (1, "s")):
        at = blocks[first::2]
        axes.plot(
            at,
            last.get("spike/max")[first::2],
            marker,
            color=color,
            markersize=4 if len(blocks) <= 24 else 2.6,
            markerfacecolor=color if first else CARD,
            markeredgewidth=1,
            gid=f"kind{first}",
        )
        drawn.points[f"kind{first}"] = [
            f"{block_name(b, kinds)}: {number(float(last.get('spike/max')[b - 1]))}"
            + (f" at position {int(position[b - 1])}" if position is not None and len(position) == len(blocks) else "")
            for b in at
        ]
    median = last.get("spike/median")
    if median is not None and (median > 0).any():
        axes.plot(blocks, median, color=MUTED, linewidth=1.2, gid="median")
        drawn.titles["median"] = f"median |h|, {number(float(median[-1]))} after the last block"
        axes.annotate(
            "median",
            (blocks[-1], median[-1]),
            xytext=(0, 3),
            textcoords="offset points",
            ha="right",
            va="bottom",
            color=MUTED,
            fontsize=7,
        )
    log_axis(axes, "y", *limits)
    axes.set_ylim(*limits)
    whole_ticks(axes.xaxis, len(blocks))
    axes.set_xlim(0.6, len(blocks) + 0.4)
    axes.set_xlabel("block")
    axes.set_ylabel("|h|")
    drawn.alt = f"Largest and median magnitude of the residual stream after each block of {run.name}"
    drawn.note = f"step {whole(last.step)}" + (f"; pale: from step {whole(earlier[0].step)} on" if earlier else "")
    return drawn


def whole_ticks(axis, count):
    step = max(1, -(-count // 10))
    step = next(nice for nice in (1, 2, 4, 5, 8, 10, 16, 20, 40, 80, step) if nice >= step)
    axis.set_ticks([1] + [tick for tick in range(step, count + 1, step) if tick > 1])


def top_channels(run, probes):
    """Which channels are among a block's three largest: a channel that spikes stays in from its block on."""
    probe = next(
        (
            p
            for p in reversed(probes)
            if p.get("spike/top_channels") is not None and p.get("spike/top_values") is not None
        ),
        None,
    )
    if probe is None:
        return None
    channels, values = probe.get("spike/top_channels"), probe.get("spike/top_values")
    weight = {}
    for channel, value in zip(channels.ravel(), values.ravel()):
        weight[int(channel)] = weight.get(int(channel), 0) + float(value)
    order = sorted(weight, key=lambda channel: -weight[channel])
    shown = order[:MOST_CHANNELS]
    row = {channel: i for i, channel in enumerate(shown)}
    blocks, kinds = len(channels), kinds_of(run)
    positive = values[values > 0]
    low, high = (float(positive.min()), float(positive.max())) if len(positive) else (1.0, 1.0)

    def level_of(value):
        return level(np.log(value / low) / np.log(high / low) if value > 0 and high > low else 0)

    figure, axes = new_axes(WIDTH, max(1.2, 0.62 + 0.16 * len(shown)))
    drawn = Figure(f"channels_{run.index}", run.name, figure, run=run.index, note=f"step {whole(probe.step)}")
    cells = [
        (b, row[int(c)], float(v), rank)
        for b in range(blocks)
        for rank, (c, v) in enumerate(zip(channels[b], values[b]))
        if int(c) in row
    ]
    levels = [level_of(v) for _, _, v, _ in cells]
    axes.add_collection(
        PolyCollection(
            [
                [(b + 0.54, r - 0.42), (b + 1.46, r - 0.42), (b + 1.46, r + 0.42), (b + 0.54, r + 0.42)]
                for b, r, _, _ in cells
            ],
            facecolors=[LIGHT_RAMP[k] for k in levels],
            edgecolors="none",
            gid="cells",
        )
    )
    drawn.levels["cells"] = levels
    drawn.points["cells"] = [
        f"channel {shown[r]}, {block_name(b + 1, kinds)}: {number(v)}, number {k + 1}" for b, r, v, k in cells
    ]
    if blocks <= 10:
        cell_labels(axes, drawn, [(b + 1, r, number(v, 2), k) for (b, r, v, _), k in zip(cells, levels)])
    axes.set_xlim(0.4, blocks + 0.6)
    axes.set_ylim(len(shown) - 0.4, -0.6)
    axes.set_yticks(range(len(shown)), [str(channel) for channel in shown])
    axes.grid(False)
    axes.spines["left"].set_visible(False)
    whole_ticks(axes.xaxis, blocks)
    axes.set_xlabel("block")
    axes.set_ylabel("channel")
    if len(order) > len(shown):
        drawn.note += f"; {len(order) - len(shown)} weaker channels not shown"
    drawn.alt = f"The three largest channels of each block of {run.name}"
    return drawn


def block_groups(details, colors):
    """[(heading, lead, figures)]"""
    limits = shared_limits(details, ("spike/max", "spike/median"))
    color = (lambda run: colors[run.index]) if len(set(colors.values())) > 1 else (lambda run: SERIES[0][0])
    return [
        (
            "Rise, plateau, fall",
            "The largest magnitude in the residual stream after each block (hollow: attention, filled: FFN), last probe "
            "strong, earlier ones pale; dotted: the second and third channel. A spike that is written by one block, "
            "carried on, and taken out near the end shows as a rise, a plateau and a fall.",
            [rise_and_fall(run, probes, color(run), limits) for run, probes in details],
        ),
        (
            "Top channels",
            "The three channels with the largest magnitude after each block, stronger where larger. A massive activation "
            "lives in few channels and stays in them: a long row.",
            [top_channels(run, probes) for run, probes in details],
        ),
    ]
