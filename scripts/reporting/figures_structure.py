"""Figures of the structure behind spikes and sinks: SwiGLU's quadratic forms, the vocabulary alone, the heads' keys."""

import numpy as np

from .figures_analyses import OTHER, SPIKE, block_axis, legend, line, new_figure
from .numbers_as_text import log_axis, number, percent, percent_axis, plain_axis
from .probes import is_sink_head
from .style import MUTED, SERIES
from .runs import is_number

MOST_CHANNELS = 4
QUARTILES = ("mean", "min", "q1", "median", "q3", "max")  # of vocabulary/max_by_block


def leading(analysis):
    """(place among the FFNs, number of the block) of the FFN that writes the spike, or has the largest form."""
    blocks = analysis.get("quadratic/blocks")
    summary = analysis.summary.get("quadratic")
    block = summary.get("block") if isinstance(summary, dict) else None
    at = np.flatnonzero(blocks == block) if blocks is not None and is_number(block) else []
    return (int(at[0]), int(block)) if len(at) else None


def with_note(drawn, text):
    drawn.note += f"{'; ' if drawn.note else ''}{text}"
    return drawn


def form_norms(analysis):
    """|U_k| of the leading FFN, channels by size; outliers apart."""
    place, norms, outlier = leading(analysis), analysis.get("quadratic/norm"), analysis.get("quadratic/is_outlier")
    if place is None or norms is None or outlier is None or norms.shape != outlier.shape:
        return None
    values, apart = norms[place[0]], outlier[place[0]] > 0
    if not (values > 0).any():
        return None
    order = np.argsort(-values, kind="stable")
    rank = np.empty(len(order), int)
    rank[order] = np.arange(1, len(order) + 1)
    axes, drawn = new_figure(analysis, "form_norms")
    axes.plot(np.arange(1, len(order) + 1), values[order], color=MUTED, linewidth=0.9, gid="all")
    drawn.titles["all"] = f"all {len(order)} channels, from the largest norm down"
    for gid, mine, color, label in (("others", ~apart, OTHER, "other channels"), ("outliers", apart, SPIKE, "outliers")):
        channels = [c for c in order if mine[c]][:200]
        if not channels:
            continue
        axes.plot(rank[channels], values[channels], "o", color=color, markersize=3.2, label=label, gid=gid)
        drawn.points[gid] = [f"channel {c}: {number(float(values[c]))}" for c in channels]
    axes.set_xscale("log")
    axes.minorticks_off()
    plain_axis(axes.xaxis)
    shown = values[values > 0]
    log_axis(axes, "y", shown.min() / 1.3, shown.max() * 1.3)
    axes.set_xlabel("channels, from the largest")
    axes.set_ylabel("norm of U_k")
    legend(axes)
    drawn.alt = f"Norms of the quadratic forms of block {place[1]} of {analysis.name}"
    return with_note(drawn, f"block {place[1]}")


def spectrum(analysis):
    """Eigenvalues of S_k of the leading FFN by magnitude, a line a channel."""
    place, values, channels = (
        leading(analysis),
        analysis.get("quadratic/eigenvalues"),
        analysis.get("quadratic/channels"),
    )
    if place is None or values is None or channels is None or values.shape[:2] != channels.shape:
        return None
    size = np.abs(values[place[0]])
    if not (size > 0).any():
        return None
    axes, drawn = new_figure(analysis, "spectrum")
    for i in range(min(len(size), MOST_CHANNELS)):
        ranks = np.arange(1, size.shape[1] + 1)
        found = np.where(size[i] > 0, size[i], np.nan)
        line(axes, drawn, f"channel{i}", ranks, found, f"channel {int(channels[place[0]][i])}", SERIES[i][0], what="rank")
    shown = size[:MOST_CHANNELS][size[:MOST_CHANNELS] > 0]
    log_axis(axes, "y", shown.min() / 1.3, shown.max() * 1.3)
    axes.set_xticks(range(1, size.shape[1] + 1))
    axes.set_xlabel("rank")
    axes.set_ylabel("|eigenvalue| of S_k")
    legend(axes)
    drawn.alt = f"Spectrum of the quadratic forms of block {place[1]} of {analysis.name}"
    return with_note(drawn, f"block {place[1]}")


def vocabulary(analysis):
    """The largest |h| of every item alone, by block: quartiles, and the extremes."""
    values = analysis.get("vocabulary/max_by_block")
    if values is None or values.shape[1] != len(QUARTILES) or not (values > 0).any():
        return None
    axes, drawn = new_figure(analysis, "vocabulary")
    blocks = np.arange(1, len(values) + 1)
    of = dict(zip(QUARTILES, np.where(values > 0, values, np.nan).T))
    axes.fill_between(blocks, of["q1"], of["q3"], color=OTHER, alpha=0.25, linewidth=0, gid="quartiles")
    drawn.titles["quartiles"] = "half of the items"
    for name, color, width in (("max", SPIKE, 0.9), ("median", OTHER, 1.5), ("min", MUTED, 0.9)):
        line(axes, drawn, name, blocks, of[name], name, color, linewidth=width)
    shown = values[values > 0]
    log_axis(axes, "y", shown.min() / 1.3, shown.max() * 1.3)
    axes.set_ylabel("largest |h| of an item")
    block_axis(axes, len(blocks))
    legend(axes)
    summary = analysis.summary.get("vocabulary")
    share = summary.get("spike_share") if isinstance(summary, dict) else None
    drawn.alt = f"Largest |h| of every vocabulary item alone, by block, of {analysis.name}"
    return with_note(drawn, f"{percent(share)} of the items become a spike token") if is_number(share) else drawn


def keys(analysis):
    """Queries and keys of the head with the strongest sink, along their first two principal components."""
    heads, variance = analysis.get("keys/points/heads"), analysis.get("keys/points/variance")
    kinds = (
        ("points/other_keys", "other keys", OTHER, 0.7),
        ("points/q", "queries", MUTED, 0.7),
        ("points/sink_keys", "sink keys", SPIKE, 1),
    )
    points = [analysis.get(f"keys/{name}") for name, *_ in kinds]
    if heads is None or variance is None or any(p is None or p.shape[0] == 0 or p.shape[2] != 2 for p in points):
        return None
    if not len(heads) or heads.shape[1] != 2 or variance.shape != heads.shape:
        return None
    axes, drawn = new_figure(analysis, "keys")
    for (name, label, color, alpha), of_heads in zip(kinds, points):
        mine = of_heads[0][np.isfinite(of_heads[0]).all(axis=1)]
        if len(mine):
            gid = name.split("/")[1]
            axes.plot(mine[:, 0], mine[:, 1], "o", color=color, alpha=alpha, markersize=2.6, label=label, gid=gid)
            drawn.titles[gid] = label
    plain_axis(axes.xaxis)
    plain_axis(axes.yaxis)
    axes.set_xlabel(f"first component, {percent(float(variance[0, 0]), 0)} of the variance")
    axes.set_ylabel(f"second, {percent(float(variance[0, 1]), 0)}")
    legend(axes, markerscale=1.6)
    layer, head = heads[0]
    drawn.alt = f"Queries and keys of a head of {analysis.name}"
    return with_note(drawn, f"layer {int(layer)}, head {int(head)}")


def of_heads(analysis, key, name, ylabel, text):
    """A figure of each head against the share of sequences in which it has a sink."""
    values, share = analysis.get(f"keys/{name}"), analysis.get("keys/sink_share")
    if values is None or share is None or values.shape != share.shape or not np.isfinite(values).any():
        return None
    axes, drawn = new_figure(analysis, key)
    for gid, color, sinks in (("others", OTHER, False), ("sinks", SPIKE, True)):
        mine = [at for at in zip(*np.nonzero(np.isfinite(values))) if is_sink_head(share[at]) == sinks]
        if not mine:
            continue
        x, y = [share[at] for at in mine], [values[at] for at in mine]
        axes.plot(x, y, "o", color=color, markersize=4, gid=gid, clip_on=False)
        drawn.points[gid] = [f"layer {l + 1}, head {h + 1}: {text(float(values[l, h]))}" for l, h in mine]
    percent_axis(axes.xaxis)
    plain_axis(axes.yaxis)
    axes.set_xlim(-0.02, 1.02)
    axes.set_xlabel("share of sequences with a sink")
    axes.set_ylabel(ylabel)
    drawn.alt = f"{ylabel} by head of {analysis.name}"
    return drawn


def structure_groups(analyses):
    """[(heading, lead, figures)]"""
    return [
        (
            "Size of the quadratic forms",
            "Norm of U_k for every channel k that the FFN writes, in the block that writes the spike (else the one with the "
            "largest); channels that stand out are those that can spike.",
            [form_norms(a) for a in analyses],
        ),
        (
            "Their eigenvalues",
            "Of S_k, the symmetric part of U_k, by magnitude: one that leads makes the FFN look in one direction, s*.",
            [spectrum(a) for a in analyses],
        ),
        (
            "Every vocabulary item alone",
            "Largest |h| after each block of a sequence of one token: the band is half of all items.",
            [vocabulary(a) for a in analyses],
        ),
        (
            "Queries and keys of a head",
            "Of the head with a sink in most sequences, along the first two principal components: sink keys lie together, "
            "apart from the others, where the queries point.",
            [keys(a) for a in analyses],
        ),
        (
            "Dimension of sink keys",
            "Participation ratio of a head's sink keys over sequences: 1 if they lie on a line. Second colour: heads with a "
            "sink in more than half of the sequences.",
            [of_heads(a, "sink_dimension", "sink_dimension", "dimensions", number) for a in analyses],
        ),
        (
            "Logits on the sink",
            "Mean logit of queries on the sink key, less that on other keys.",
            [of_heads(a, "logit_gap", "logit_gap", "logit gap, nats", number) for a in analyses],
        ),
    ]
