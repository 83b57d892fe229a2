#!/usr/bin/env python3
"""Fuzzes each target for some seconds from its corpus, and prints executions and coverage, a line a target.

    fuzz.py PROGRAM SECONDS [--seed SEED] [TARGET...]

PROGRAM is the preset fuzz's; without a seed each call tries other inputs. What makes a target fail stays in build/fuzz/found/TARGET: mend the cause, then keep the
input in tests/fuzz/corpus/TARGET under a name that says what it is.
"""
import argparse
import concurrent.futures
import os
import pathlib
import re
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
LIMITS = ["-timeout=40", "-rss_limit_mb=512", "-max_len=4096"]
# Of one allocation, in MB. A zstd frame may ask for a window of 128 MB, and HDF5's datasets unpack to 1100 times their size.
MALLOC_LIMIT, UNPACKING, UNPACKING_LIMIT = 32, ("json_lines", "store", "checkpoint"), 160
ENVIRONMENT = {"ASAN_OPTIONS": "quarantine_size_mb=16", "UBSAN_OPTIONS": "print_stacktrace=1", "OMP_NUM_THREADS": "1"}
DONE = re.compile(r"^#(\d+)\s+DONE\s+cov: (\d+)", re.M)
COUNTERS = re.compile(r"\((\d+) inline 8-bit counters\)")


def fuzz(program, target, seconds, seed, found):
    """Returns what to print of the target, and whether all was well."""
    corpus = HERE / "corpus" / target
    found.mkdir(parents=True, exist_ok=True)
    fast = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # targets write their inputs to files
    with tempfile.TemporaryDirectory(dir=fast) as work:
        grown = pathlib.Path(work, "grown")
        grown.mkdir()
        command = [program, f"--target={target}", f"-max_total_time={seconds}", f"-seed={seed}", *LIMITS,
                   f"-malloc_limit_mb={UNPACKING_LIMIT if target in UNPACKING else MALLOC_LIMIT}", f"-artifact_prefix={found}/", grown, corpus]
        run = subprocess.run(command, cwd=HERE.parents[1], env=os.environ | ENVIRONMENT | {"TMPDIR": work},
                             stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace")
        size = sum(1 for _ in corpus.iterdir())
        done, counters = DONE.search(run.stdout), COUNTERS.search(run.stdout)
        if run.returncode != 0 or not done or not counters:
            return f"{target:15} FAILED, input in {found}\n" + "\n".join(run.stdout.splitlines()[-60:]), False
        more = sum(1 for _ in grown.iterdir())
    share = 100 * int(done[2]) / int(counters[1])
    return f"show: {target:15} {int(done[1]):9} executions  {int(done[2]):6} edges ({share:4.1f} %)  corpus {size:3} + {more}", True


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program", type=pathlib.Path)
    parser.add_argument("seconds", type=int)
    parser.add_argument("targets", nargs="*", metavar="TARGET")
    parser.add_argument("--seed", type=int, default=0, help="0: by the clock")
    args = parser.parse_intermixed_args()
    program = args.program.resolve()
    targets = args.targets or sorted(path.name for path in (HERE / "corpus").iterdir())
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        results = list(pool.map(lambda t: fuzz(program, t, args.seconds, args.seed, program.parents[2] / "found" / t), targets))
    for text, _ in results:
        print(text)
    return 0 if all(fine for _, fine in results) else 1


if __name__ == "__main__":
    sys.exit(main())
