"""The page's tables: what was run and what came out, where sinks and spikes are, how the configs differ, a sweep's rows."""

from dataclasses import dataclass, field

import numpy as np

from .numbers_as_text import fixed, number, percent, whole
from .figures_blocks import block_name, kinds_of
from .figures_heads import newest
from .probes import is_sink_head

NOT_A_DIFFERENCE = ("run.name", "run.dir")
ONSET = 0.05  # a run has sinks from the first probe on at which this share of heads has one


@dataclass
class Cell:
    text: str
    kind: str = "number"  # number, text, good, bad, quiet
    run: int = None  # whose colour goes before it
    title: str = ""


@dataclass
class Table:
    head: list = field(default_factory=list)  # [(text, "number" or "text", hint)]
    rows: list = field(default_factory=list)  # lists of Cell
    group_head: list = field(default_factory=list)  # [(text, columns)]
    emphasis: set = field(default_factory=set)  # rows that stand out


def name_cell(run):
    return Cell(run.name, "text", run.index, str(run.path))


def state_of(run):
    total = run.total_steps
    if run.finished:
        return Cell("done", "text quiet")
    return Cell(
        f"{100 * run.step / total:.0f} % of {whole(total)}" if total else "unknown",
        "text bad",
        title="not finished, or still running",
    )


def results(runs):
    columns = [
        ("run", "text", ""),
        ("state", "text", ""),
        ("parameters", "number", ""),
        ("steps", "number", ""),
        ("tokens", "number", ""),
        ("loss", "number", "of the last logged step's batch, nats a token"),
        ("perplexity", "number", "held-out text, last probe"),
        ("sink ratio", "number", "share of heads with a sink"),
        ("in context", "number", "sink ratio over the whole context"),
        ("first-token mass", "number", "mean attention on the first token"),
        ("spike", "number", "largest |h|"),
        ("over median", "number", "spike over the median |h| of its block"),
        ("tokens/s", "number", "median of the second half"),
        ("MFU", "number", "median of the second half"),
    ]
    table = Table(columns)
    for run in runs:
        probe = run.probe
        table.rows.append(
            [
                name_cell(run),
                state_of(run),
                Cell(run.parameters or "-"),
                Cell(whole(run.step)),
                Cell(number(run.last.get("tokens"))),
                Cell(fixed(run.last.get("loss"), 3)),
                Cell(fixed(probe.get("perplexity"), 2)),
                Cell(percent(probe.get("sink_ratio"))),
                Cell(percent(probe.get("sink_ratio_context"))),
                Cell(percent(probe.get("first_token_mass"))),
                Cell(fixed(probe.get("spike_max"), 1)),
                Cell(fixed(probe.get("spike_ratio"), 1)),
                Cell(whole(run.typical_speed)),
                Cell(percent(run.typical_mfu)),
            ]
        )
    return table


def onset(run):
    """The step of the first probe with sinks, None if there is none."""
    return next((probe["step"] for probe in run.probes if probe.get("sink_ratio", 0) >= ONSET), None)


def most_common(values):
    kinds, counts = np.unique(values, return_counts=True)
    return int(kinds[np.argmax(counts)])


def findings(details):
    """Does the sink appear, when, where; where the spike is."""
    table = Table(
        [
            ("run", "text", ""),
            ("sinks since step", "number", f"first probe with a sink ratio of {percent(ONSET, 0)} or more"),
            ("sink heads", "number", "heads that have a sink in half of the sequences or more"),
            ("strongest layer", "text", "with the largest share of sink heads"),
            ("on position", "number", "of most sink heads"),
            ("spike after", "text", "the block with the largest |h|"),
            ("at position", "number", "of the spike in most sequences"),
            ("channel", "number", "the largest one, counted from 0"),
            ("grows by", "number", "largest over smallest max |h| of the blocks"),
        ]
    )
    for run, probes in details:
        since = onset(run)
        row = [
            name_cell(run),
            Cell(whole(since) if since is not None else "none", "number" if since is not None else "quiet"),
        ]
        probe = newest(probes, "sink/sink_share")
        if probe is not None:
            share = probe.get("sink/sink_share")
            heads, by_layer, token = int(is_sink_head(share).sum()), share.mean(axis=1), probe.get("sink/sink_token")
            tokens = token[is_sink_head(share)] if token is not None and token.shape == share.shape else np.array([])
            row += [
                Cell(f"{heads} of {share.size}"),
                Cell(
                    (
                        f"{int(np.argmax(by_layer)) + 1} ({percent(float(by_layer.max()), 0)})"
                        if by_layer.max() >= 0.005
                        else "-"
                    ),
                    "text",
                ),
                Cell(str(most_common(tokens)) if len(tokens) else "-"),
            ]
        else:
            row += [Cell("-"), Cell("-", "text"), Cell("-")]
        probe = newest(probes, "spike/max")
        if probe is not None:
            values, position, channels = (
                probe.get("spike/max"),
                probe.get("spike/position"),
                probe.get("spike/top_channels"),
            )
            at = int(np.argmax(values))
            row += [
                Cell(block_name(at + 1, kinds_of(run)), "text"),
                Cell(str(int(position[at])) if position is not None and len(position) == len(values) else "-"),
                Cell(str(int(channels[at][0])) if channels is not None and len(channels) == len(values) else "-"),
                Cell(f"{number(float(values.max() / values.min()))} x" if values.min() > 0 else "-"),
            ]
        else:
            row += [Cell("-", "text"), Cell("-"), Cell("-"), Cell("-")]
        table.rows.append(row)
    return table if table.rows else None


def value_text(value):
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return "[" + ", ".join(map(value_text, value)) + "]"
    return "-" if value is None else str(value)


def differences(runs):
    """The keys in which configs differ, a line each; with many runs a line a run."""
    runs = [run for run in runs if run.config]
    keys = list(dict.fromkeys(key for run in runs for key in run.config))
    differing = [
        key for key in keys if key not in NOT_A_DIFFERENCE and len({value_text(run.get(key)) for run in runs}) > 1
    ]
    if not differing:
        return None
    if len(runs) <= 5:
        table = Table([("key", "text", "")] + [(run.name, "text", "") for run in runs])
        for key in differing:
            table.rows.append([Cell(key, "key")] + [Cell(value_text(run.get(key)), "text") for run in runs])
        return table
    table = Table([("run", "text", "")] + [(key.split(".", 1)[-1], "text", key) for key in differing])
    for run in runs:
        table.rows.append([name_cell(run)] + [Cell(value_text(run.get(key)), "text") for key in differing])
    return table


PAPERS = (("perplexity", "perplexity"), ("sink_ratio", "sink ratio"), ("spike_max", "spike"))
WORDS = {"agrees": ("agrees", "text good"), "differs": ("differs", "text bad"), "unclear": ("unclear", "text quiet")}


def sweep_cell(key, figures, start=False):
    kind = "number start" if start else "number"
    if figures is None or figures.mean is None:
        return Cell("-", kind)
    scale, decimals = (
        (100, 1) if key.startswith("sink") or key == "first_token_mass" else (1, 2 if key == "perplexity" else 1)
    )
    text = fixed(scale * figures.mean, decimals)
    if figures.deviation is not None:
        text += f" +- {fixed(scale * figures.deviation, decimals)}"
    return Cell(text, kind, title=f"{figures.count} seeds" if figures.count > 1 else "")


def sweep_table(rows):
    """Ours; where the paper has the rows also its figures, and whether ours lie to the same side of the baseline's."""
    paper = rows.has_paper
    table = Table([("row", "text", "")], group_head=[("", 1)] if paper else [])
    for key, name in PAPERS:
        unit = f"{name}, %" if key == "sink_ratio" else name
        if paper:
            table.group_head.append((unit, 3))
            table.head += [
                ("ours", "number start", unit),
                ("paper", "number", "arXiv:2603.05498, at 7B"),
                ("direction", "text", "to which side of the baseline, ours held against the paper's"),
            ]
        else:
            table.head.append((unit, "number", ""))
    more = [
        ("first_token_mass", "first-token mass, %"),
        ("sink_excess", "above uniform, %"),
        ("spike_ratio", "spike over median"),
    ]
    more = [(key, name) for key, name in more if any(row.mean(key) is not None for row in rows.rows)]
    table.head += [(name, "number start" if paper and i == 0 else "number", "") for i, (_, name) in enumerate(more)]
    if paper and more:
        table.group_head.append(("", len(more)))
    for place, row in enumerate(rows.rows):
        cells = [Cell(row.label, "text", title=row.name)]
        for key, _ in PAPERS:
            figures = row.figures.get(key)
            cells.append(sweep_cell(key, figures, paper))
            if paper:
                value = row.paper(key)
                scale = 100 if key == "sink_ratio" else 1
                cells.append(
                    Cell(fixed(scale * value, 0 if key == "spike_max" else 1) if value is not None else "-", "number")
                )
                cells.append(Cell(*WORDS.get(figures.direction if figures else "", ("-", "text quiet"))))
        cells += [sweep_cell(key, row.figures.get(key), paper and i == 0) for i, (key, _) in enumerate(more)]
        table.rows.append(cells)
        if row.name == rows.baseline:
            table.emphasis.add(place)
    return table
