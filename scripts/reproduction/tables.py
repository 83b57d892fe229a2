"""The verdicts as Markdown and JSON, and the records as a table by row."""

import json
import math

from .contrasts import BASELINE, CONTRASTS, Ratio, Rises
from .judge import FAILS, HOLDS, NOT_RUN, UNDECIDED, Sample

FIGURES = (("perplexity", "perplexity", "{:.2f}"), ("sink_ratio", "sink ratio", "{:.1%}"),
           ("first_token_mass", "first-token mass", "{:.3f}"), ("spike_max", "spike", "{:.0f}"),
           ("spike_ratio", "spike / median", "{:.0f}"))  # fmt: skip


def margin_text(verdict):
    if verdict.correlation is not None:
        return f"rank correlation {verdict.correlation:.2f}"
    if verdict.margin is None:
        return ""
    return ("far inside" if verdict.margin > 0 else "far outside") if math.isinf(verdict.margin) else f"{verdict.margin:+.1f}"


def verdicts_markdown(judge, verdicts):
    lines = ["| | contrast | verdict | margin | measured |", "|---|---|---|---|---|"]
    for verdict in verdicts:
        measured = [f"**{finding.text}**" if finding.holds is False else finding.text for finding in verdict.findings]
        if verdict.contrast.name == "C16" and verdict.findings:  # of many, those that are outside
            outside = [text for text, finding in zip(measured, verdict.findings) if not finding.holds]
            measured = outside or ["all rows"]
        text = "; ".join(measured + ([verdict.why] if verdict.why else []))
        lines.append(f"| {verdict.contrast.name} | {verdict.contrast.says} | {verdict.word} | {margin_text(verdict)} | {text} |")
    counts = {word: sum(v.word == word for v in verdicts) for word in (HOLDS, FAILS, UNDECIDED, NOT_RUN)}
    lines += ["", ", ".join(f"{count} {word}" for word, count in counts.items() if count) + ".",
              f"Sinks by {judge.sink}, spikes by {judge.spike}. The margin is that of the criterion that holds least: how far it "
              "is inside its bound (below 0: outside), in standard errors over seeds; where ranks are judged, their "
              "correlation. What does not hold is bold."]  # fmt: skip
    return "\n".join(lines) + "\n"


def numbers(of):
    """JSON has no infinity: a margin without noise is null there, as one that is not known."""
    return {"margin": of.margin if of.margin is not None and math.isfinite(of.margin) else None, "correlation": of.correlation}


def verdicts_json(judge, verdicts):
    return json.dumps({
        "sinks_by": judge.sink, "spikes_by": judge.spike,
        "contrasts": [{
            "name": v.contrast.name, "says": v.contrast.says, "verdict": v.word, "why": v.why,
            **numbers(v),
            "criteria": [{"text": f.text, "holds": f.holds, **numbers(f)} for f in v.findings]} for v in verdicts]},
        indent=1) + "\n"  # fmt: skip


def rows_markdown(results, rows):
    """A line a row, mean and deviation over seeds."""
    lines = ["| row | seeds | " + " | ".join(title for _, title, _ in FIGURES) + " |", "|---|---" + "|---:" * len(FIGURES) + "|"]
    for row, entry in rows.items():
        if not results.get(row):
            continue
        cells = []
        for key, _, form in FIGURES:
            sample = Sample([figures[key] for figures in results[row]])
            spread = f" +- {form.format(sample.deviation)}" if len(sample.values) > 1 else ""
            cells.append(form.format(sample.mean) + spread)
        lines.append(f"| {entry['label']} | {len(results[row])} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def page(judge, verdicts, results, rows):
    """verdicts.md."""
    return verdicts_markdown(judge, verdicts) + "\n" + rows_markdown(results, rows)


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
