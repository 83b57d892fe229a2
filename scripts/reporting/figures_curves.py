"""Figures over the steps, all runs in each: training, sinks, spikes."""

import numpy as np
from matplotlib.lines import Line2D

from .curve import Curve
from .numbers_as_text import log_axis, number, percent, percent_axis, plain_axis, whole
from .style import LIGHT_RAMP, MUTED, SERIES, level, new_axes
from .svg import Figure

MOST_LINES = 24


def are_few(runs):
    """Whether each can have a colour of its own, or one with the other seeds of its row."""
    return len({run.row for run in runs}) <= len(SERIES) and len(runs) <= MOST_LINES


def colors_of(runs):
    """{run's index: colour}. More than there are colours: by their last sink ratio, from pale to dark."""
    if are_few(runs):
        rows = list(dict.fromkeys(run.row for run in runs))
        return {run.index: SERIES[rows.index(run.row)][0] for run in runs}
    most = max([run.probe.get("sink_ratio", 0) for run in runs] + [1e-9])
    return {run.index: LIGHT_RAMP[level(0.3 + 0.7 * run.probe.get("sink_ratio", 0) / most)] for run in runs}


def legend_handles(runs, colors):
    """For the files of a figure; the page has its own."""
    if len(runs) == 1 or not are_few(runs):
        return []
    firsts = {run.row: run for run in reversed(runs)}
    return [Line2D([], [], color=colors[run.index], label=run.row[1]) for run in reversed(firsts.values())]


def step_axis(axes, runs):
    plain_axis(axes.xaxis)
    axes.set_xlabel("step")
    last = max([run.step for run in runs] + [1])
    axes.set_xlim(0, last * 1.02)


def of_probes(run, key):
    points = [(probe["step"], probe[key]) for probe in run.probes if key in probe]
    return Curve(*np.array(points, dtype=float).T) if points else None


def logged(runs, colors, key, title, unit, text, log=False, as_percent=False, from_zero=False, note=""):
    """A key of the logged steps: faint as logged where it is noisy, strong its running mean."""
    shown = [run for run in runs if key in run.curves]
    if not shown:
        return None
    figure, axes = new_axes()
    few = are_few(runs)
    drawn = Figure(f"training_{key}", title, figure, note=note)
    values = []
    for run in shown:
        raw, smooth = run.curves[key], run.curves.get(key + " smooth")
        if smooth and few:
            axes.plot(raw.x, raw.y, color=colors[run.index], linewidth=0.6, alpha=0.28, gid=f"raw{run.index}")
            drawn.classes[f"raw{run.index}"] = f"run run-{run.index}"
        main = smooth or raw
        axes.plot(
            main.x,
            main.y,
            "-" if len(main) > 1 else "o",
            color=colors[run.index],
            linewidth=1.5 if few else 0.9,
            gid=f"line{run.index}",
        )
        drawn.classes[f"line{run.index}"] = f"run run-{run.index}"
        drawn.titles[f"line{run.index}"] = f"{run.name}: {text(raw.last)} at step {whole(raw.x[-1])}"
        values.append(raw.y if few else main.y)
    values = np.concatenate(values)
    positive = values[values > 0]
    low, high = np.min(values), np.max(values)
    if from_zero:  # a single fast step must not flatten the rest
        high = max(np.max((run.curves.get(key + " smooth") or run.curves[key]).y) for run in shown) * 1.1
    if log and len(positive):
        low, high = np.min(positive), np.max(positive)
        log_axis(axes, "y", low, high)
        axes.set_ylim(low / 1.08, high * 1.08)
    else:
        axes.set_ylim(
            0 if from_zero else low - 0.04 * (high - low or abs(high) or 1),
            high + 0.06 * (high - low or abs(high) or 1),
        )
        (percent_axis if as_percent else plain_axis)(axes.yaxis)
    axes.set_ylabel(unit)
    step_axis(axes, runs)
    drawn.alt = f"{title} over training steps of {len(shown)} runs"
    return drawn


def probed(runs, colors, key, title, unit, text, log=False, as_percent=False, lines=(), note=""):
    """A figure of the probes. `lines`: (value, label) drawn across, e.g. what uniform attention gives."""
    curves = [(run, of_probes(run, key)) for run in runs]
    curves = [(run, curve) for run, curve in curves if curve is not None]
    if log:
        curves = [(run, Curve(curve.x[curve.y > 0], curve.y[curve.y > 0])) for run, curve in curves]
        curves = [(run, curve) for run, curve in curves if len(curve)]
    if not curves:
        return None
    figure, axes = new_axes()
    drawn = Figure(f"probes_{key}", title, figure, note=note)
    few = are_few(runs)
    for run, curve in curves:
        color = colors[run.index]
        axes.plot(curve.x, curve.y, color=color, linewidth=1.5 if few else 0.9, gid=f"line{run.index}", clip_on=False)
        drawn.classes[f"line{run.index}"] = f"run run-{run.index}"
        drawn.titles[f"line{run.index}"] = f"{run.name}: {text(curve.last)} at step {whole(curve.x[-1])}"
        if few and len(curve) <= 80:
            axes.plot(curve.x, curve.y, "o", color=color, gid=f"points{run.index}", clip_on=False)
            drawn.classes[f"points{run.index}"] = f"run run-{run.index}"
            drawn.points[f"points{run.index}"] = [
                f"{run.name}, step {whole(x)}: {text(y)}" for x, y in zip(curve.x, curve.y)
            ]
    low, high = min(curve.y.min() for _, curve in curves), max(curve.y.max() for _, curve in curves)
    lines = [(value, label) for value, label in lines if not log or low / 3 <= value <= high * 3]
    low, high = min([low] + [value for value, _ in lines]), max([high] + [value for value, _ in lines])
    step_axis(axes, runs)
    if log:
        log_axis(axes, "y", low, high)
        axes.set_ylim(low / 1.15, high * 1.15)
    else:
        axes.set_ylim(0, max(high * 1.08, 0.05 if as_percent else 1e-9))
        (percent_axis if as_percent else plain_axis)(axes.yaxis)
    for value, label in lines:
        axes.axhline(value, color=MUTED, linewidth=0.9, linestyle=(0, (4, 3)), zorder=1.5)
        axes.text(
            1,
            value,
            label,
            transform=axes.get_yaxis_transform(),
            ha="right",
            va="bottom",
            color=MUTED,
            fontsize=7,
            gid=f"across{value}",
        )
        drawn.classes[f"across{value}"] = "halo"
    axes.set_ylabel(unit)
    drawn.alt = f"{title} over training steps of {len(curves)} runs"
    return drawn


def training_figures(runs, colors):
    return [
        logged(
            runs,
            colors,
            "loss",
            "Loss",
            "nats a token",
            lambda v: f"{v:.3f}",
            log=True,
            note="training batches; bold: running mean",
        ),
        probed(
            runs,
            colors,
            "perplexity",
            "Perplexity",
            "held-out",
            lambda v: f"{v:.2f}",
            log=True,
            note="held-out text, each probe",
        ),
        logged(runs, colors, "lr", "Learning rate", "", number, from_zero=True),
        logged(runs, colors, "grad_norm", "Gradient norm", "before clipping", number, log=True),
        logged(runs, colors, "tokens_per_second", "Throughput", "tokens a second", number, from_zero=True),
        logged(
            runs,
            colors,
            "mfu",
            "Model FLOPs used (MFU)",
            "share of the matrix rate",
            percent,
            as_percent=True,
            from_zero=True,
        ),
    ]


def same(runs, value):
    """What all runs have in common, else None."""
    found = [value(run) for run in runs]
    return found[0] if all(one == found[0] for one in found) else None


def sink_figures(runs, colors):
    mass = same(runs, lambda run: round(run.uniform_mass(), 6))
    epsilon = same(runs, lambda run: run.get("metrics.sink_epsilon", 0.3))
    above = f"{epsilon}" if epsilon is not None else "the threshold"
    return [
        probed(
            runs,
            colors,
            "sink_ratio",
            "Sink ratio",
            "share of heads",
            percent,
            as_percent=True,
            note=f"one token gets more than {above} of the attention",
        ),
        probed(
            runs,
            colors,
            "sink_first",
            "Sinks on the first token",
            "share of heads",
            percent,
            as_percent=True,
            note=f"the first token gets more than {above}",
        ),
        probed(
            runs,
            colors,
            "first_token_mass",
            "First-token mass",
            "share of attention",
            percent,
            as_percent=True,
            lines=[(mass, f"uniform {percent(mass)}")] if mass else [],
            note="what the first token gets, mean over all heads",
        ),
    ]


def spike_figures(runs, colors):
    absolute, ratio = (
        same(runs, lambda run, k=key: run.get(k)) for key in ("metrics.spike.abs", "metrics.spike.ratio")
    )

    def threshold(value):
        return [(value, f"massive above {number(value)}")] if isinstance(value, (int, float)) and value > 0 else []

    return [
        probed(
            runs,
            colors,
            "spike_max",
            "Spike",
            "max |h|",
            number,
            log=True,
            lines=threshold(absolute),
            note="the largest magnitude in the residual stream",
        ),
        probed(
            runs,
            colors,
            "spike_mean",
            "Spike, mean of sequences",
            "mean of max |h|",
            number,
            log=True,
            lines=threshold(absolute),
            note="each sequence's largest, averaged",
        ),
        probed(
            runs,
            colors,
            "spike_ratio",
            "Spike over the median",
            "max |h| / median |h|",
            number,
            log=True,
            lines=threshold(ratio),
            note="of the same block; comparable between sizes",
        ),
    ]
