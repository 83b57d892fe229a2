"""The verdicts as Markdown and JSON, and the records as a table by row."""

import json
import math

from .judge import FAILS, HOLDS, NOT_RUN, UNDECIDED, Sample

FIGURES = (("perplexity", "perplexity", "{:.2f}"), ("sink_ratio", "sink ratio", "{:.1%}"),
           ("first_token_mass", "first-token mass", "{:.3f}"), ("spike_max", "spike", "{:.0f}"),
           ("spike_ratio", "spike / median", "{:.0f}"))  # fmt: skip


def margin_text(verdict):
    if not verdict.findings or math.isnan(verdict.margin):
        return ""
    return "far" if math.isinf(verdict.margin) else f"{verdict.margin:+.1f}"


def verdicts_markdown(judge, verdicts):
    lines = ["| | contrast | verdict | margin | measured |", "|---|---|---|---|---|"]
    for verdict in verdicts:
        measured = [finding.text if finding.holds else f"**{finding.text}**" for finding in verdict.findings]
        if verdict.contrast.name == "C16":  # of many, those that are outside
            outside = [text for text, finding in zip(measured, verdict.findings) if not finding.holds]
            measured = outside or ["all rows"]
        text = "; ".join(measured + ([verdict.why] if verdict.why else []))
        lines.append(f"| {verdict.contrast.name} | {verdict.contrast.says} | {verdict.word} | {margin_text(verdict)} | {text} |")
    counts = {word: sum(v.word == word for v in verdicts) for word in (HOLDS, FAILS, UNDECIDED, NOT_RUN)}
    lines += ["", ", ".join(f"{count} {word}" for word, count in counts.items() if count) + ".",
              f"Sinks by {judge.sink}, spikes by {judge.spike}. The margin is that of the criterion that holds least: how far it "
              "is inside its bound, in standard errors over seeds; of a rank correlation the difference. What does not hold is "
              "bold."]  # fmt: skip
    return "\n".join(lines) + "\n"


def verdicts_json(judge, verdicts):
    return json.dumps({
        "sinks_by": judge.sink, "spikes_by": judge.spike,
        "contrasts": [{
            "name": v.contrast.name, "says": v.contrast.says, "verdict": v.word, "why": v.why,
            "margin": v.margin if math.isfinite(v.margin) else None,
            "criteria": [{"text": f.text, "holds": f.holds, "margin": f.margin if math.isfinite(f.margin) else None}
                         for f in v.findings]} for v in verdicts]}, indent=1) + "\n"  # fmt: skip


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
