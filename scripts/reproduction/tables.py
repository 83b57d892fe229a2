"""The verdicts as Markdown and JSON, and the records as a table by row."""

import collections
import json
import math
import statistics

from .contrasts import BASELINE, CONTRASTS, Ratio, Rises
from .judge import FAILS, HOLDS, NOT_RUN, UNDECIDED, Sample

FIGURES = (("perplexity", "perplexity", "{:.2f}"), ("sink_ratio", "sink ratio", "{:.1%}"),
           ("first_token_mass", "first-token mass", "{:.3f}"), ("spike_max", "spike", "{:.0f}"),
           ("spike_ratio", "spike / median", "{:.0f}"))  # fmt: skip
PAPER = (("perplexity", "{:.1f}"), ("sink_ratio", "{:.1f}%"), ("spike", "{:.0f}"))


def margin_text(verdict):
    if verdict.margin is None:
        return ""
    return ("far inside" if verdict.margin > 0 else "far outside") if math.isinf(verdict.margin) else f"{verdict.margin:+.1f}"


def verdicts_markdown(judge, verdicts):
    lines = ["| | contrast | verdict | margin | measured |", "|---|---|---|---|---|"]
    for verdict in verdicts:
        measured = [f"**{finding.text}**" if finding.holds is False else finding.text for finding in verdict.findings]
        if verdict.contrast.name == "C16" and verdict.findings:  # of many, those that are outside
            outside = [text for text, finding in zip(measured, verdict.findings) if not finding.holds]
            measured = outside or [f"all {len(measured) // 2} rows that have been run"]
        text = "; ".join(measured + ([verdict.why] if verdict.why else []))
        lines.append(f"| {verdict.contrast.name} | {verdict.contrast.says} | {verdict.word} | {margin_text(verdict)} | {text} |")
    counts = {word: sum(v.word == word for v in verdicts) for word in (HOLDS, FAILS, UNDECIDED, NOT_RUN)}
    lines += ["", ", ".join(f"{count} {word}" for word, count in counts.items() if count) + ".",
              f"Sinks by {judge.sink}, spikes by {judge.spike}. The margin is that of the criterion that holds least: how far it "
              "is inside its bound (below 0: outside), in standard errors over seeds. What does not hold is bold."]  # fmt: skip
    return "\n".join(lines) + "\n"


def finite(margin):
    """JSON has no infinity: a margin without noise is null there, as one that is not known."""
    return margin if margin is not None and math.isfinite(margin) else None


def verdicts_json(judge, verdicts):
    return json.dumps({
        "sinks_by": judge.sink, "spikes_by": judge.spike,
        "contrasts": [{
            "name": v.contrast.name, "says": v.contrast.says, "verdict": v.word, "why": v.why,
            "margin": finite(v.margin),
            "criteria": [{"text": f.text, "holds": f.holds, "margin": finite(f.margin)} for f in v.findings]} for v in verdicts]},
        indent=1) + "\n"  # fmt: skip


def rows_markdown(records, rows):
    """A line a row: mean and deviation over seeds, and what the paper has."""
    titles = [title for _, title, _ in FIGURES] + ["in the paper: perplexity, sink ratio, spike"]
    lines = ["| | row | seeds | " + " | ".join(titles) + " |", "|---|---|---" + "|---:" * len(titles) + "|"]
    for row, entry in rows.items():
        if row not in records:
            continue
        cells = []
        for key, _, form in FIGURES:
            sample = Sample([record.figures[key] for record in records[row]])
            spread = f" +- {form.format(sample.deviation)}" if len(sample.values) > 1 else ""
            cells.append(form.format(sample.mean) + spread)
        cells.append(", ".join(form.format(entry["paper"][key]) for key, form in PAPER) if "paper" in entry else "")
        lines.append(f"| {entry['label']} | `{row}` | {len(records[row])} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def machines_text(records):
    """On what the runs were trained, and for how long."""
    contents = [record.content for seeds in records.values() for record in seeds]
    if not contents:
        return ""
    machines = collections.Counter(content["hardware"] for content in contents).most_common()
    minutes = [content["seconds"] / 60 for content in contents]
    return (f"{len(contents)} runs, on " + "; ".join(f"{name} ({count})" for name, count in machines)
            + f": {statistics.median(minutes):.0f} min a run in the median ({min(minutes):.0f} to {max(minutes):.0f}, with what "
            f"else those machines did), {sum(minutes) / 60:.0f} hours of runs in all.\n")  # fmt: skip


def page(judge, verdicts, records, rows):
    """verdicts.md; records: {row: [Record]}."""
    return "\n".join([verdicts_markdown(judge, verdicts), rows_markdown(records, rows), machines_text(records)])


MOST_NAMED = 8  # of rows that share a criterion; of more the number is said
FRACTIONS = {1 / 2: "1/2", 1 / 4: "1/4"}


def criteria_text(contrast):
    """A criterion of several rows is said once."""
    rows, texts = {}, []
    for criterion in contrast.criteria:
        if isinstance(criterion, Ratio):
            of = "" if criterion.of == BASELINE else f" that of {criterion.of}"
            bound = FRACTIONS.get(criterion.bound, f"{criterion.bound:g}")
            bound = of if of and bound == "1" else f" {bound}{of}"
            rows.setdefault(f"{criterion.figure} {criterion.relation}{bound}", []).append(criterion.row)
        elif isinstance(criterion, Rises):
            texts.append(f"rank correlation of {criterion.figure} > {criterion.bound:g} along {', '.join(criterion.rows)}")
        else:
            texts.append(f"{criterion.figure} falls less to {criterion.row} than to {criterion.than}")
    for text, of in rows.items():
        texts.append(f"{text} ({', '.join(of) if len(of) <= MOST_NAMED else f'{len(of)} rows'})")
    return "; ".join(texts)


def criteria_markdown():
    """The contrasts as docs/reproduction.md has them."""
    lines = ["| | statement | criteria, against the baseline |", "|---|---|---|"]
    lines += [f"| {contrast.name} | {contrast.says} | {criteria_text(contrast)} |" for contrast in CONTRASTS]
    return "\n".join(lines) + "\n"
