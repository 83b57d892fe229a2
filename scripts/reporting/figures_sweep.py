"""Figures of a sweep: sink against spike over its rows, and both along an axis."""

import numpy as np

from .numbers_as_text import log_axis, number, percent, percent_axis, plain_axis, tick
from .style import MUTED, SERIES, WIDTH, new_axes
from .svg import Figure

OURS, PAPERS, MOST_LABELS = SERIES[0][0], SERIES[1][0], 24
NAMES = {
    "sink_ratio": "sink ratio",
    "sink_excess": "first-token mass above uniform",
    "first_token_mass": "first-token mass",
    "spike_max": "spike, max |h|",
    "spike_ratio": "spike over the median",
    "perplexity": "perplexity",
}


def text_of(key, value):
    return percent(value) if key.startswith("sink") or key == "first_token_mass" else number(value)


def scatter(rows, key, sink, width):
    """Ours filled; where the paper has the row, its point hollow and a line between the two."""
    points = [
        (row, row.mean(sink), row.mean("spike_max"), row.paper(sink), row.paper("spike_max")) for row in rows.rows
    ]
    points = [p for p in points if None not in p[1:3] and p[2] > 0]
    if len(points) < 2:
        return None
    figure, axes = new_axes(width, 3.1)
    drawn = Figure(f"{key}_scatter_{sink}", "Sink against spike", figure)
    paired = [p for p in points if None not in p[3:5] and p[4] > 0]
    for i, (_, x, y, px, py) in enumerate(paired):
        axes.plot([x, px], [y, py], color=MUTED, linewidth=0.6, alpha=0.5, zorder=1)
    axes.plot([p[1] for p in points], [p[2] for p in points], "o", color=OURS, markersize=6, gid="ours", clip_on=False)
    drawn.points["ours"] = [
        f"{row.label}: {NAMES[sink]} {text_of(sink, x)}, spike {number(y)}" for row, x, y, _, _ in points
    ]
    if paired:
        axes.plot(
            [p[3] for p in paired],
            [p[4] for p in paired],
            "o",
            color=PAPERS,
            markersize=6,
            markerfacecolor="none",
            markeredgewidth=1.2,
            gid="paper",
            clip_on=False,
        )
        drawn.points["paper"] = [
            f"paper's {row.label}: {text_of(sink, px)}, spike {number(py)}" for row, _, _, px, py in paired
        ]
        drawn.note = "filled: ours, hollow: the paper's at 7B"
    ys = [p[2] for p in points] + [p[4] for p in paired]
    xs = [p[1] for p in points] + [p[3] for p in paired]
    log_axis(axes, "y", min(ys), max(ys))
    axes.set_ylim(min(ys) / 1.35, max(ys) * 1.35)
    spread = max(max(xs) - min(xs), 0.01)
    axes.set_xlim(min(min(xs), 0) - (0.04 * spread if min(xs) < 0 else 0), max(xs) + 0.15 * spread)
    percent_axis(axes.xaxis)
    axes.set_xlabel(NAMES[sink])
    axes.set_ylabel(NAMES["spike_max"])
    if len(points) <= MOST_LABELS:
        place_labels(axes, [(row.label, x, y) for row, x, y, _, _ in points])
    drawn.alt = f"Sink against spike of {len(points)} rows"
    return drawn


def place_labels(axes, points):
    """Beside each point, on the side where there is most room; one that finds none is left to the pointer."""
    figure = axes.figure
    figure.canvas.draw()
    box, scale = axes.get_window_extent(), figure.dpi / 72
    marks = [axes.transData.transform((x, y)) for _, x, y in points]
    taken = [(mx - 4 * scale, my - 4 * scale, mx + 4 * scale, my + 4 * scale) for mx, my in marks]
    for (label, x, y), (mx, my) in zip(points, marks):
        label = label if len(label) <= 28 else label[:26] + ".."
        wide, high = 4.1 * len(label) * scale, 8 * scale
        for dx, dy, ha in (
            (7, 0, "left"),
            (-7, 0, "right"),
            (0, 10, "center"),
            (0, -10, "center"),
            (7, 9, "left"),
            (7, -9, "left"),
            (-7, 9, "right"),
            (-7, -9, "right"),
        ):
            left = mx + dx * scale - {"left": 0, "right": wide, "center": wide / 2}[ha]
            area = (left, my + dy * scale - high / 2, left + wide, my + dy * scale + high / 2)
            inside = area[0] >= box.x0 and area[2] <= box.x1 and area[1] >= box.y0 and area[3] <= box.y1
            if inside and not any(
                area[0] < t[2] and t[0] < area[2] and area[1] < t[3] and t[1] < area[3] for t in taken
            ):
                axes.annotate(
                    label, (x, y), xytext=(dx, dy), textcoords="offset points", ha=ha, va="center", fontsize=7
                )
                taken.append(area)
                break


def along(rows, key, axis, figure_key):
    """A figure along an axis: rows that share a value of it are joined where only this axis differs."""
    groups = {}
    for row in rows.rows:
        if axis in row.axes and row.mean(figure_key) is not None:
            rest = tuple(sorted((k, v) for k, v in row.axes.items() if k != axis)) if rows.collected else ()
            groups.setdefault(rest, []).append((row.axes[axis], row))
    groups = {rest: sorted(points, key=lambda p: p[0]) for rest, points in groups.items()}
    values = sorted({x for points in groups.values() for x, _ in points})
    if len(values) < 2:
        return None
    figure, axes = new_axes()
    short = axis.split(".")[-1]
    drawn = Figure(f"{key}_{short}_{figure_key}", f"{NAMES[figure_key][0].upper()}{NAMES[figure_key][1:]}", figure)
    everything = []
    for i, (rest, points) in enumerate(groups.items()):
        color = SERIES[i % len(SERIES)][0] if len(groups) > 1 else OURS
        more = ", ".join(f"{k.split('.')[-1]} {tick(v)}" for k, v in rest)
        x, y = [p[0] for p in points], [p[1].mean(figure_key) for p in points]
        deviation = [p[1].figures[figure_key].deviation or 0 for p in points]
        if any(deviation):
            axes.errorbar(x, y, yerr=deviation, color=color, linewidth=1, fmt="none")
        axes.plot(x, y, "-", color=color, gid=f"line{i}")
        if more:
            drawn.titles[f"line{i}"] = more
        axes.plot(x, y, "o", color=color, markersize=4.5, gid=f"points{i}", clip_on=False)
        drawn.points[f"points{i}"] = [f"{row.label}: {text_of(figure_key, row.mean(figure_key))}" for _, row in points]
        everything += y
        papers = [(v, row) for v, row in points if row.paper(figure_key) is not None]
        if papers:
            axes.plot(
                [v for v, _ in papers],
                [row.paper(figure_key) for _, row in papers],
                "o--",
                color=PAPERS,
                linewidth=0.9,
                markerfacecolor="none",
                markersize=4.5,
                gid=f"paper{i}",
                clip_on=False,
            )
            drawn.points[f"paper{i}"] = [
                f"paper's {row.label}: {text_of(figure_key, row.paper(figure_key))}" for _, row in papers
            ]
            everything += [row.paper(figure_key) for _, row in papers]
            drawn.note = "hollow: the paper's row at 7B, at the place of ours"
    if values[0] > 0 and values[-1] / values[0] >= 4:
        axes.set_xscale("log")
        axes.minorticks_off()
    axes.set_xticks(values if len(values) <= 9 else values[:: -(-len(values) // 9)])
    axes.xaxis.set_major_formatter(lambda value, _: tick(value))
    if figure_key.startswith("sink") or figure_key == "first_token_mass":
        percent_axis(axes.yaxis)
        axes.set_ylim(min(0, min(everything) * 1.12), max(max(everything) * 1.1, 0.02))
    elif min(everything) > 0:
        log_axis(axes, "y", min(everything), max(everything))
        axes.set_ylim(min(everything) / 1.2, max(everything) * 1.2)
    else:
        plain_axis(axes.yaxis)
    axes.set_xlabel(short)
    drawn.alt = f"{NAMES[figure_key]} along {short}"
    return drawn


def sweep_figures(rows, key):
    """([scatters], [(axis, [figures])])"""
    sinks = ["sink_ratio"] + (
        ["sink_excess"]
        if rows.judged_by == "sink_excess" or not np.any([(row.mean("sink_ratio") or 0) > 0.1 for row in rows.rows])
        else []
    )
    axes = list(dict.fromkeys(axis for row in rows.rows for axis in row.axes))
    return (
        [scatter(rows, key, sink, WIDTH if len(sinks) > 1 else 2 * WIDTH + 0.35) for sink in sinks],
        [(axis, [along(rows, key, axis, k) for k in (sinks[-1], "spike_max", "perplexity")]) for axis in axes],
    )
