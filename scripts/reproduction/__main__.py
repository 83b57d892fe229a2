"""scripts/reproduce.sh calls this; its --help says what it does."""

import argparse
import os
import subprocess
import sys
from pathlib import Path

from .contrasts import BASELINE, CONTRASTS
from .drive import Drive, expected_minutes, missing, name_of, prepare_data, require_configs, restore, wanted
from .figures import write_figures
from .judge import Judge
from .records import Trouble
from .scale import ROOT, SCALES, Data, Program, records_of, rows_of_sweep
from .tables import page, verdicts_json

DESCRIPTION = """Runs the paper's sixteen contrasts from scratch at a reduced scale, and judges each: holds, fails or undecided.

What has a record (benchmarks/results/reproduction/SCALE) is not run again; of what is missing the expected time is said
first. Each finished run is recorded at once: stopped, it goes on where it was. Then all records are judged, and written to
runs/reproduction/contrasts_SCALE, or with --results FOLDER to FOLDER/runs/contrasts_SCALE: verdicts.md and .json, curves over
the steps (baseline.svg, rows.svg), report.html with the curves of each run, and in recorded/contrasts_SCALE/tables the sweep's
table with the paper's beside it. Records of another config, or with --data of other data, are refused. docs/reproduction.md says what the contrasts are and what they gave.

The program is build/cpu/spikesink, at scale 60m build/cuda/spikesink; SPIKESINK names another."""


def arguments():
    parser = argparse.ArgumentParser(prog="reproduce.sh", description=DESCRIPTION,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)  # fmt: skip
    parser.add_argument("--scale", choices=SCALES, required=True, help="cpu: 99 runs of some 13 minutes, two at a time; 60m: one GPU")
    parser.add_argument("--only", action="append", default=[], metavar="C3", help="train the rows of this contrast alone; may be repeated")
    parser.add_argument("--data", action="append", default=[], metavar="GLOB", help="shards of text; may be repeated")
    parser.add_argument("--jobs", type=int, metavar="N", help="runs at a time (default: 2 on a CPU, 1 on a GPU)")
    parser.add_argument("--results", metavar="FOLDER", help="of the records, and of runs, tokenizer and tokens beside them (default: benchmarks/results/reproduction/SCALE)")
    parser.add_argument("--dry-run", action="store_true", help="only say what would be run, and how long it takes")
    parser.add_argument("--no-run", action="store_true", help="judge what is recorded, and run nothing")
    return parser.parse_args()


def chosen(names):
    by_name = {contrast.name: contrast for contrast in CONTRASTS}
    unknown = [name for name in names if name not in by_name]
    if unknown:
        raise Trouble(f"--only {unknown[0]}: no such contrast; there are C1 to C{len(CONTRASTS)}")
    return [by_name[name] for name in names] or CONTRASTS


def recorded(records, seeds_and_rows):
    """{row: its records}"""
    found = {}
    for row, seed in seeds_and_rows:
        if record := records.read(row, seed):
            found.setdefault(row, []).append(record)
    return found


def write(program, scale, records, data):
    """Verdicts, table and page, of all records and of nothing else; returns the verdicts' text."""
    folder, runs = scale.folder, wanted(scale, CONTRASTS)
    restore(scale, records, runs, data)
    for name in ("baseline.svg", "rows.svg", "report.html"):  # of other records, it may be
        (folder / name).unlink(missing_ok=True)
    found = recorded(records, runs)
    judge = Judge({row: [record.figures for record in seeds] for row, seeds in found.items()})
    verdicts = judge.verdicts()
    text = page(judge, verdicts, found, rows_of_sweep())
    (folder / "verdicts.md").write_text(text)
    (folder / "verdicts.json").write_text(verdicts_json(judge, verdicts))
    if BASELINE in found:
        write_figures(folder, found, {row: entry["label"] for row, entry in rows_of_sweep().items()})
    if found:
        collected = program.show("sweep", "collect", scale.sweep, *data.sets(scale.recorded))
        words = [sys.executable, ROOT / "scripts/report.py", scale.recorded, "--out", folder / "report.html",
                 "--title", f"Contrasts, {scale.name}"]  # fmt: skip
        if collected != 0 or subprocess.run(list(map(str, words))).returncode != 0:
            raise Trouble("the table or the page could not be made; see above")
    return text


def from_caller(path):
    """Of a path that was given where reproduce.sh was called."""
    return str(Path(os.environ.get("CALLED_FROM", "."), path))


def go(args):
    scale = SCALES[args.scale]
    program = Program(scale)
    if args.results == "":
        raise Trouble("--results: an empty name; is a variable of the shell unset?")
    results = args.results and from_caller(args.results)
    if results:
        scale = scale.apart(results)
    records = records_of(scale, results)
    jobs = scale.jobs if args.jobs is None else args.jobs
    if jobs < 1:
        raise Trouble(f"--jobs {jobs}: must be at least 1")
    shards = [from_caller(shard) for shard in args.data]
    data = Data(scale, shards)
    data.require_shards()
    judged, runs = wanted(scale, CONTRASTS), wanted(scale, chosen(args.only))
    require_configs(program, scale, records, judged)
    left = [] if args.no_run else missing(records, runs)
    code = 0
    if left:
        minutes, why = expected_minutes(scale, records, left, jobs)
        print(f"{len(left)} of {len(runs)} runs are missing: about {minutes:.0f} min with {jobs} at a time, {why}", flush=True)
    if args.dry_run:
        for row, seed in left:
            print(name_of(row, seed))
        return 0
    if left or shards:
        prepare_data(program, records, judged, data)
    if left:
        code = Drive(program, scale, records, data, jobs).run(left)
    print(write(program, scale, records, data))
    print(f"verdicts and page: {scale.folder}; tables: {scale.recorded / 'tables'}")
    return code


if __name__ == "__main__":
    try:
        sys.exit(go(arguments()))
    except (Trouble, OSError) as error:
        print(f"reproduce.sh: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("reproduce.sh: stopped; call it again to go on", file=sys.stderr)
        sys.exit(130)
