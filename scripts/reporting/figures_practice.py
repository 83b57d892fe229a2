"""What spikes and sinks are worth to who runs a model: quantisation, eviction from a cache, interventions."""

import numpy as np

from .figures_analyses import SPIKE, block_axis, legend, line, new_figure
from .numbers_as_text import fixed, log_axis, number, percent, plain_axis
from .runs import is_number
from .style import LIGHT_RAMP, MUTED, SERIES, level
from .tables import Cell, Table

SCHEMES = {
    "int8_per_tensor": "int8, a scale a tensor",
    "int8_per_token": "int8, a scale a token",
    "w8a8": "W8A8",
    "w4": "W4",
    "fp8_e4m3": "FP8 E4M3",
}


def group_of(analysis, name):
    group = analysis.summary.get(name)
    return group if isinstance(group, dict) else {}


def schemes_of(analysis):
    """[(name, text, its figures)] in the order of the arrays."""
    group = group_of(analysis, "quantization")
    return [(name, text, group[name]) for name, text in SCHEMES.items() if isinstance(group.get(name), dict)]


def quantization_bars(analysis):
    """Added loss of each scheme."""
    rows = [(text, figures) for _, text, figures in schemes_of(analysis) if is_number(figures.get("added_loss"))]
    if not rows:
        return None
    axes, drawn = new_figure(analysis, "quantization")
    for i, (text, figures) in enumerate(rows):
        (bar,) = axes.barh(i, figures["added_loss"], height=0.62, color=SERIES[i][0])
        bar.set_gid(f"bar{i}")
        drawn.titles[f"bar{i}"] = (
            f"{text}: {fixed(figures['added_loss'], 4)} nats a token more, "
            f"perplexity {fixed(figures.get('perplexity', float('nan')), 2)}"
        )
    axes.axvline(0, color=MUTED, linewidth=0.7)
    axes.set_yticks(range(len(rows)), [text for text, _ in rows])
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.grid(False, axis="y")
    plain_axis(axes.xaxis)
    axes.locator_params(axis="x", nbins=5)
    axes.set_xlabel("added loss, nats a token")
    whole = group_of(analysis, "quantization").get("perplexity")
    if is_number(whole):
        drawn.note += f"{'; ' if drawn.note else ''}perplexity {fixed(whole, 2)} as it is"
    drawn.alt = f"Loss that quantisation adds to {analysis.name}"
    return drawn


def quantization_errors(analysis):
    """Relative error of the residual stream by block, a line a scheme; of spike tokens dotted."""
    error, of_spikes = analysis.get("quantization/error"), analysis.get("quantization/error_spike_tokens")
    rows = schemes_of(analysis)
    if error is None or len(error) != len(rows) or not (error[np.isfinite(error)] > 0).any():
        return None
    axes, drawn = new_figure(analysis, "quantization_error")
    blocks = np.arange(1, error.shape[1] + 1)
    for i, (_, text, _) in enumerate(rows):
        values = np.where(error[i] > 0, error[i], np.nan)
        line(axes, drawn, f"error{i}", blocks, values, text, SERIES[i][0], percent)
        if of_spikes is not None and of_spikes.shape == error.shape:
            axes.plot(blocks, of_spikes[i], color=SERIES[i][0], linewidth=0.9, linestyle=(0, (1.5, 1.5)), gid=f"spikes{i}")
            drawn.titles[f"spikes{i}"] = f"{text}: of spike tokens"
    shown = error[error > 0]
    if of_spikes is not None and (of_spikes > 0).any():
        shown = np.concatenate([shown, of_spikes[of_spikes > 0]])
    log_axis(axes, "y", shown.min() / 1.3, shown.max() * 1.3)
    axes.set_ylim(shown.min() / 1.3, shown.max() * 1.3)
    axes.set_ylabel("relative error of the stream")
    block_axis(axes, len(blocks))
    legend(axes, ncols=2)
    drawn.alt = f"Error of the residual stream of {analysis.name} by block under quantisation"
    return drawn


def eviction(analysis):
    """Perplexity against the first tokens that are kept, a line a cache."""
    sizes, kept, loss, whole = (
        analysis.get(f"eviction/{name}") for name in ("size", "kept", "loss_evicted", "loss_evicted_whole")
    )
    if any(values is None for values in (sizes, kept, loss, whole)) or loss.shape != (len(sizes), len(kept)):
        return None
    axes, drawn = new_figure(analysis, "eviction")
    for i, size in enumerate(sizes):
        line(axes, drawn, f"size{i}", np.arange(len(kept)), np.exp(loss[i]), f"{int(size)} tokens", SERIES[i][0])
        drawn.points[f"size{i}"] = [
            f"{int(k)} kept in a cache of {int(size)}: perplexity {fixed(float(np.exp(v)), 2)}"
            for k, v in zip(kept, loss[i])
            if np.isfinite(v)
        ]
        axes.axhline(np.exp(whole[i]), color=SERIES[i][0], linewidth=0.9, linestyle=(0, (3, 1.5)), gid=f"whole{i}")
        drawn.titles[f"whole{i}"] = f"the same positions with the whole context: {fixed(float(np.exp(whole[i])), 2)}"
    values = np.exp(np.concatenate([loss[np.isfinite(loss)], whole]))
    if values.max() / values.min() > 4:
        log_axis(axes, "y", values.min() / 1.1, values.max() * 1.1)
    else:
        plain_axis(axes.yaxis)
    axes.set_xticks(range(len(kept)), [str(int(k)) for k in kept])
    axes.set_xlabel("first tokens that are kept")
    axes.set_ylabel("perplexity")
    legend(axes)
    drawn.alt = f"Perplexity of {analysis.name} with a bounded cache"
    return drawn


def eviction_by_position(analysis):
    """Running means of what the smallest cache adds to the loss along the sequence."""
    sizes, kept, loss, whole = (
        analysis.get(f"eviction/{name}") for name in ("size", "kept", "loss_by_position", "loss_by_position_whole")
    )
    if any(v is None for v in (sizes, kept, loss, whole)) or loss.shape != (len(sizes), len(kept), len(whole)):
        return None
    at, T = int(np.argmin(sizes)), len(whole)
    window = max(T // 16, 1)
    middle = np.arange(T - window + 1) + (window + 1) / 2

    def smooth(values):
        return np.convolve(values, np.ones(window) / window, mode="valid")

    axes, drawn = new_figure(analysis, "eviction_position")
    axes.axhline(0, color=MUTED, linewidth=0.7)
    shown = [i for i in range(len(kept)) if np.isfinite(loss[at, i]).all()]
    for n, i in enumerate(shown):
        color = LIGHT_RAMP[level(0.3 + 0.65 * n / max(len(shown) - 1, 1))] if n else SPIKE
        axes.plot(middle, smooth(loss[at, i] - whole), color=color, linewidth=1.1, label=f"{int(kept[i])} kept", gid=f"kept{i}")
        drawn.titles[f"kept{i}"] = f"{int(kept[i])} first tokens kept in a cache of {int(sizes[at])}"
    axes.axvline(int(sizes[at]) + 1, color=MUTED, linewidth=0.8, linestyle=(0, (3, 1.5)), gid="full")
    drawn.titles["full"] = f"from here on the cache of {int(sizes[at])} has lost a token"
    plain_axis(axes.xaxis)
    plain_axis(axes.yaxis)
    axes.set_xlabel("position")
    axes.set_ylabel("added loss, nats a token")
    legend(axes)
    drawn.note += f"{'; ' if drawn.note else ''}cache of {int(sizes[at])}; mean over {window} positions"
    drawn.alt = f"Loss that a bounded cache adds to {analysis.name} along the sequence"
    return drawn


def practice_groups(analyses):
    """[(heading, lead, figures)]"""
    return [
        (
            "Quantisation",
            "Loss that simulated quantisation of a block's matrix products adds. What int8 with one scale a tensor adds over "
            "one a token is what it costs that all tokens share the scale of a spike.",
            [quantization_bars(a) for a in analyses],
        ),
        (
            "Error by block",
            "|h' - h| / |h| of the residual stream, mean over tokens; dotted: of spike tokens.",
            [quantization_errors(a) for a in analyses],
        ),
        (
            "Eviction",
            "Perplexity with a cache of fixed size, where it has lost a token, against how many first tokens of the sequence "
            "stay in it; dashed: the same positions with the whole context. A model with sinks falls when the first is kept.",
            [eviction(a) for a in analyses],
        ),
        (
            "Eviction along the sequence",
            "Loss at a position in the smallest cache, less that with the whole context; upright: where the cache is full.",
            [eviction_by_position(a) for a in analyses],
        ),
    ]


def interventions_table(analysis):
    """None where the analysis has no interventions."""
    rows = group_of(analysis, "interventions").get("rows")
    rows = {k: v for k, v in rows.items() if isinstance(v, dict)} if isinstance(rows, dict) else {}
    if not rows:
        return None
    table = Table(
        [
            (f"{analysis.name}: what is taken out", "text", ""),
            ("perplexity", "number", ""),
            ("added loss", "number", "nats a token, against the model as it is"),
            ("sink ratio", "number", ""),
            ("spike", "number", "largest |h| after any block"),
        ]
    )
    for i, (name, figures) in enumerate(rows.items()):
        value = {key: figures.get(key) if is_number(figures.get(key)) else None for key in figures}
        table.rows.append(
            [
                Cell(str(name).replace("_", " "), "text"),
                Cell(fixed(value["perplexity"], 2) if value.get("perplexity") is not None else "-"),
                Cell(fixed(value["added_loss"], 4) if value.get("added_loss") is not None else "-"),
                Cell(percent(value.get("sink_ratio"))),
                Cell(number(value.get("spike_max"))),
            ]
        )
        if i == 0:
            table.emphasis.add(0)
    return table


def interventions_notes(analysis):
    left_out = group_of(analysis, "interventions").get("left_out")
    return [str(why) for why in left_out.values()] if isinstance(left_out, dict) else []
