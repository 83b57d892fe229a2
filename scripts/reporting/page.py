"""The page: its sections, and the template that they go into."""

import pathlib
from dataclasses import dataclass, field

import jinja2
from markupsafe import Markup

from . import tables
from .figures_analyses import analysis_groups
from .figures_blocks import block_groups
from .figures_curves import legend_handles, sink_figures, spike_figures, training_figures
from .figures_gates import gate_groups
from .figures_heads import head_groups
from .figures_practice import interventions_notes, interventions_table, practice_groups
from .figures_structure import structure_groups
from .figures_sweep import sweep_figures
from .numbers_as_text import number, percent
from .style import PALETTE
from .svg import page_svg, save_files
from .sweep_rows import rows_of

HERE = pathlib.Path(__file__).resolve().parent


@dataclass
class Card:
    title: str
    note: str
    svg: Markup
    run: int = None
    wide: bool = False


@dataclass
class Group:
    heading: str = ""
    lead: str = ""
    cards: list = field(default_factory=list)
    table: object = None
    legend: bool = False
    notes: list = field(default_factory=list)


@dataclass
class Section:
    key: str
    heading: str
    groups: list = field(default_factory=list)

    @property
    def beside(self):
        """Whether each part is one figure, so that they stand in rows."""
        return len(self.groups) > 1 and all(len(group.cards) == 1 and not group.table for group in self.groups)


class Drawer:
    """Turns figures into cards, and into files where those are asked for."""

    def __init__(self, runs, colors, folder, progress):
        self.legend, self.folder, self.count, self.progress = legend_handles(runs, colors), folder, 0, progress

    def cards(self, figures):
        out = []
        for drawn in figures:
            if drawn is None:
                continue
            self.count += 1
            self.progress.step()
            card = Card(
                drawn.title,
                drawn.note,
                Markup(page_svg(drawn, f"f{self.count}-")),
                drawn.run,
                drawn.figure.get_figwidth() > 4.5,
            )
            if self.folder:
                save_files(
                    drawn,
                    self.folder,
                    self.legend if drawn.run is None and drawn.key.startswith(("training", "probes")) else [],
                )
            out.append(card)
        return out


def headline(runs, sweeps, analyses):
    """What a reader sees first: [(value, what)]"""
    if not runs and not sweeps:
        return [(str(len(analyses)), "analyses" if len(analyses) > 1 else "analysis")]
    if not runs:
        return [(str(len(sweeps)), "sweeps" if len(sweeps) > 1 else "sweep")]
    done = sum(run.finished for run in runs)
    sizes = list(dict.fromkeys(run.parameters for run in runs if run.parameters))
    tokens = [run.last.get("tokens", 0) for run in runs]
    out = [(str(len(runs)), ("run" if len(runs) == 1 else "runs") + ("" if done == len(runs) else f", {done} done"))]
    if sizes:
        out.append(
            (sizes[0] if len(sizes) == 1 else f"{len(sizes)} sizes", "parameters" if len(sizes) == 1 else "of model")
        )
    if any(tokens):
        out.append((number(max(tokens)), "tokens" if len(runs) == 1 else "tokens, the longest run"))
    probed = [run for run in runs if "perplexity" in run.probe]
    if probed:
        best = min(probed, key=lambda run: run.probe["perplexity"])
        out.append(
            (f"{best.probe['perplexity']:.2f}", "perplexity" if len(runs) == 1 else f"lowest perplexity: {best.name}")
        )
        most = max(probed, key=lambda run: run.probe.get("sink_ratio", 0))
        ratio = most.probe.get("sink_ratio", 0)
        whose = "highest sink ratio" + (f": {most.name}" if ratio else "")
        out.append((percent(ratio), "sink ratio" if len(runs) == 1 else whose))
        top = max(probed, key=lambda run: run.probe.get("spike_max", 0))
        out.append((number(top.probe.get("spike_max", 0)), "spike" if len(runs) == 1 else f"highest spike: {top.name}"))
    return out


def setting(runs):
    """What all runs have in common, in words: [(what, value)]"""

    def common(key):
        values = {tables.value_text(run.get(key)) for run in runs if run.config}
        return values.pop() if len(values) == 1 else None

    out = []
    for what, keys, form in (
        ("Model", ("model.n_layers", "model.d_model"), "{} layers, d_model {}"),
        ("Heads", ("model.attention.n_heads", "model.attention.d_head"), "{} of width {}"),
        ("FFN", ("model.ffn.kind", "model.ffn.d_hidden"), "{}, hidden {}"),
        ("Context", ("model.context",), "{}"),
        ("Batch", ("train.batch_tokens",), "{} tokens a step"),
        ("Learning rate", ("train.optimizer.lr",), "{}"),
        ("Data", ("data.train",), "{}"),
        ("Tokenizer", ("data.tokenizer",), "{}"),
    ):
        values = [common(key) for key in keys]
        if all(value not in (None, "-") for value in values):
            out.append((what, form.format(*values)))
    return out


def sweep_lead(rows):
    """What is to be known of the table."""
    if not rows.collected:
        return (
            "No tables/table.json: the last probes of the runs as they are. "
            "`spikesink sweep collect` writes it, with the paper's figures."
        )
    said = ["The last probe of each finished run."]
    if rows.has_paper:
        said.append(
            "Direction: whether a row lies to the same side of the baseline as in the paper, whose models have 7B "
            "parameters: compare directions, not values."
        )
    if rows.judged_by == "sink_excess":
        said.append(
            "Sinks are judged by the first-token mass above that of uniform attention, since the baseline's sink ratio "
            "is below 10 %."
        )
    if all(row.seeds <= 1 for row in rows.rows):
        said.append("One seed a row: what it shows may be chance.")
    return " ".join(said)


def sections_of(runs, sweeps, details, analyses, colors, drawer):
    many = len(runs) > 1
    sections = []

    def add(key, heading, groups):
        groups = [group for group in groups if group.cards or group.table]
        if groups:
            sections.append(Section(key, heading, groups))

    for i, sweep in enumerate(sweeps):
        rows = rows_of(sweep)
        scatters, along = sweep_figures(rows, f"sweep{i + 1}")
        lead = sweep_lead(rows)
        groups = [
            Group(lead=lead, table=tables.sweep_table(rows), notes=rows.notes),
            Group(
                "Sink against spike",
                "A row a point. Rows that have sinks without spikes, or spikes without sinks, take the two apart.",
                drawer.cards(scatters),
            ),
        ]
        groups += [Group(f"Along {axis}", "", drawer.cards(figures)) for axis, figures in along]
        add(
            "sweep" if len(sweeps) == 1 else f"sweep{i + 1}",
            rows.title if len(sweeps) > 1 or rows.title != sweep.name else f"Sweep {sweep.name}",
            groups,
        )
    for key, heading, figures in (
        ("training", "Training", training_figures),
        ("sinks", "Attention sinks", sink_figures),
        ("spikes", "Spikes", spike_figures),
    ):
        add(key, heading, [Group(cards=drawer.cards(figures(runs, colors)), legend=many)] if runs else [])
    for key, heading, groups in (
        ("blocks", "By block", block_groups(details, colors)),
        ("heads", "By head", head_groups(details, colors)),
        ("gates", "Gates", gate_groups(details)),
        ("analysis", "Where spikes come from", analysis_groups(analyses)),
        ("structure", "How they are made", structure_groups(analyses)),
        ("practice", "In practice", practice_groups(analyses)),
    ):
        add(key, heading, [Group(name, lead, drawer.cards(figures)) for name, lead, figures in groups])
    add(
        "interventions",
        "Interventions",
        [Group(table=interventions_table(a), notes=interventions_notes(a)) for a in analyses],
    )
    return sections


def render(**values):
    loader = jinja2.FileSystemLoader(str(HERE))
    environment = jinja2.Environment(
        loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    light = "".join(f"--{name}:{pair[0]};" for name, pair in PALETTE.items())
    dark = "".join(f"--{name}:{pair[1]};" for name, pair in PALETTE.items())
    levels = "".join(
        f".h{name[1:]}{{fill:var(--{name})}}.t{name[1:]}{{fill:var(--t{name[1:]})}}"
        for name in PALETTE
        if name[0] == "h" and name[1:].isdigit()
    )
    return environment.get_template("page.html.jinja").render(
        light=Markup(light),
        dark=Markup(dark),
        levels=Markup(levels),
        style=Markup((HERE / "page.css").read_text()),
        script=Markup((HERE / "page.js").read_text()),
        **values,
    )
