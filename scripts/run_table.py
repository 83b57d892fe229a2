#!/usr/bin/env python3
"""Prints a run as a table, a line a probe: loss, perplexity, attention sinks and spikes over the steps.

    run_table.py RUN [--rows N]      RUN is a run's folder or its metrics.jsonl
"""
import argparse
import pathlib
import sys

from whole_lines import is_number, objects

# heading, key, format; the loss is that of training, at the last step logged before the probe
COLUMNS = [("step", "step", "{:d}"), ("loss", "loss", "{:.3f}"), ("perplexity", "perplexity", "{:.1f}"),
           ("sink_ratio", "sink_ratio", "{:.1%}"), ("first_token_mass", "first_token_mass", "{:.3f}"),
           ("spike_max", "spike_max", "{:.1f}"), ("spike_ratio", "spike_ratio", "{:.0f}")]


def rows_of(entries):
    """A dict a probe, by step; a later line of the same step replaces the earlier."""
    rows, loss = {}, None
    for entry in entries:
        if type(entry.get("step")) is not int:
            continue
        figures = {key: value for key, value in entry.items() if is_number(value)}
        if entry.get("event") == "probe":
            rows[entry["step"]] = figures | {"loss": loss}
        elif "event" not in entry:
            loss = figures.get("loss", loss)
    return [rows[step] for step in sorted(rows)]


def thinned(rows, most):
    """At most `most` rows, evenly spread, the first and the last among them."""
    if len(rows) <= most:
        return rows
    return [rows[round(i * (len(rows) - 1) / (most - 1))] for i in range(most)]


def cell(row, key, form):
    value = row.get(key)
    return "-" if value is None else form.format(value)


def table(rows):
    cells = [[name for name, _, _ in COLUMNS]] + [[cell(row, key, form) for _, key, form in COLUMNS] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells)]
    return "\n".join("  ".join(text.rjust(width) for text, width in zip(line, widths)) for line in cells)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=pathlib.Path, help="a run's folder or its metrics.jsonl")
    parser.add_argument("--rows", type=int, default=16, help="most rows to print (default: %(default)s)")
    args = parser.parse_args()
    path = args.run / "metrics.jsonl" if args.run.is_dir() else args.run
    try:
        rows = rows_of(objects(path))
    except OSError as error:
        sys.exit(f"run_table.py: {path}: {error.strerror}; name the folder of a run")
    if not rows:
        sys.exit(f"run_table.py: {path}: no probe in it yet; wait for the first, at step 0")
    print(table(thinned(rows, max(args.rows, 2))))


if __name__ == "__main__":
    main()
