#!/usr/bin/env python3
"""Makes one HTML page of runs and sweeps: losses, attention sinks, spikes, heads, channels, gates, the sweeps' tables,
and the analyses of checkpoints.

    report.py RUN... --out report.html [--analysis DIR]... [--figures DIR] [--title TEXT]

RUN is the folder of a run, of a sweep (with runs/ in it), or one that holds some of these. What `spikesink analyze` has
written to RUN/analysis is shown too, and the folders of --analysis. The page needs no other file and no network. What cannot be read is left out with a line on stderr and a note in the page. docs/report.md says how to
read the figures.
"""

import argparse
import pathlib
import sys


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", nargs="*", type=pathlib.Path, help="a run's folder, a sweep's, or one that holds some")
    parser.add_argument("--out", required=True, type=pathlib.Path, metavar="FILE.html", help="the page to write")
    parser.add_argument(
        "--analysis",
        action="append",
        default=[],
        type=pathlib.Path,
        metavar="DIR",
        help="also what `spikesink analyze --out DIR` found; may be repeated",
    )
    parser.add_argument("--figures", type=pathlib.Path, metavar="DIR", help="also each figure as PDF and PNG, in DIR")
    parser.add_argument("--title", help="of the page (default: by the runs' names)")
    parser.add_argument(
        "--details",
        type=int,
        default=12,
        metavar="N",
        help="show the inside of the first N runs: blocks, heads, channels (default: %(default)s)",
    )
    args = parser.parse_args()
    try:
        import h5py, jinja2, matplotlib, numpy, yaml  # noqa: E401,F401
    except ModuleNotFoundError as error:
        sys.exit(
            f"report.py: {error.name}: {sys.executable} does not have it; scripts/setup.sh --report installs it "
            "for /usr/bin/python3: call that"
        )
    from reporting.build import build

    return build(args)


if __name__ == "__main__":
    sys.exit(main())
