"""From folders to the page: reads, draws, writes."""

import datetime
import os
import sys

from . import tables
from .analyses import read_analyses
from .figures_curves import are_few, colors_of
from .notes import Notes, Progress
from .numbers_as_text import whole
from .page import Drawer, headline, render, sections_of, setting
from .probes import read_probes
from .runs import read_run
from .sources import find
from .style import VARIABLE_OF

MOST_POINTS = 2000  # of a curve
ALL_POINTS = 120_000  # of the curves of one figure, so that a page of many runs stays small


def read_all(args, notes):
    """(runs, sweeps), each run once; those of sweeps have read what could be read."""
    alone, sweeps = find(args.run, notes)
    paths = {}
    for path in alone + [path for sweep in sweeps for path in sweep.run_paths]:
        paths.setdefault(path.resolve(), path)
    if not paths and not any(sweep.table for sweep in sweeps):
        return [], []
    most_points = max(200, min(MOST_POINTS, ALL_POINTS // max(len(paths), 1)))
    progress, found = Progress("reading runs", len(paths)), {}
    for resolved, path in paths.items():
        found[resolved] = read_run(path, notes, most_points)
        progress.step()
    for sweep in sweeps:
        sweep.runs = [found[path.resolve()] for path in sweep.run_paths if found[path.resolve()]]
        for run in sweep.runs:
            run.sweep = run.sweep or sweep.name
    runs = [run for run in found.values() if run]
    for i, run in enumerate(runs):
        run.index = i
    names = [run.name for run in runs]
    for run in runs:  # two of a name: by their folders
        if names.count(run.name) > 1:
            run.name = f"{run.sweep}/{run.name}" if run.sweep else f"{run.path.resolve().parent.name}/{run.path.name}"
    return runs, [sweep for sweep in sweeps if sweep.runs or sweep.table]


def build(args):
    """The exit code."""
    notes = Notes()
    runs, sweeps = read_all(args, notes)
    analyses = read_analyses(args.analysis, runs, notes)
    if not runs and not sweeps and not analyses:
        print(
            "report.py: no run that can be read in "
            + (", ".join(map(str, args.run + args.analysis)) or "no folder")
            + "; name folders that `spikesink train`, "
            "`spikesink sweep run` or `spikesink analyze` has made",
            file=sys.stderr,
        )
        return 2
    try:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        if args.figures:
            args.figures.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        print(f"report.py: {error.filename}: {error.strerror}; name a place that can be written", file=sys.stderr)
        return 2
    with_probes = [run for run in runs if run.probe_files]
    inside = with_probes[: max(args.details, 0)]
    if len(inside) < len(with_probes):
        notes.say(
            f"blocks, heads and gates of {len(inside)} of the {len(with_probes)} runs are shown; "
            f"--details {len(with_probes)} shows all"
        )
    reading = Progress("reading probes", len(inside))
    details = []
    for run in inside:
        probes = read_probes(run, notes)
        reading.step()
        if probes:
            details.append((run, probes))
    colors = colors_of(runs)
    drawer = Drawer(runs, colors, args.figures, Progress("drawing figures", 18 + 8 * len(details) + 18 * len(analyses)))
    sections = sections_of(runs, sweeps, details, analyses, colors, drawer)
    title = args.title or (
        ", ".join(analysis.name for analysis in analyses)
        if not runs and not sweeps
        else runs[0].name
        if len(runs) == 1
        else (
            ", ".join(s.name for s in sweeps)
            if sweeps and all(r.sweep for r in runs)
            else ", ".join(run.name for run in runs) if len(runs) <= 4 else f"{len(runs)} runs"
        )
    )
    page = render(
        title=title,
        runs=runs,
        colors={run.index: VARIABLE_OF[colors[run.index]] for run in runs},
        few=are_few(runs),
        headline=headline(runs, sweeps, analyses),
        setting=setting(runs),
        results=tables.results(runs) if runs else None,
        findings=tables.findings(details),
        differences=tables.differences(runs) if len(runs) > 1 else None,
        sections=sections,
        notes=notes.lines,
        made=datetime.datetime.now().strftime("%Y-%m-%d %H:%M"),
    )
    temporary = args.out.with_name(args.out.name + ".unfinished")
    try:
        temporary.write_text(page, encoding="utf-8")
        os.replace(temporary, args.out)
    except OSError as error:
        print(f"report.py: {args.out}: {error.strerror}; name a place that can be written", file=sys.stderr)
        return 2
    print(
        f"{args.out}: {whole(len(runs))} run{'s' * (len(runs) != 1)}, {drawer.count} figures, "
        f"{len(page.encode()) / 1e6:.1f} MB" + (f"; PDF and PNG of each in {args.figures}" if args.figures else "")
    )
    return 0
