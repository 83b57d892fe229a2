"""A program held in one of its calls (tests/faults/held_calls.c), so that a signal comes there and nowhere else."""

import collections
import contextlib
import os
import re
import subprocess
import time
from pathlib import Path

import harness

LIBRARY = harness.LIBRARIES / "held_calls.so"
PATIENCE = 120
Held = collections.namedtuple("Held", "phase call path number", defaults=(1,))


def variables(at, home):
    """By which a process is held."""
    return {"LD_PRELOAD": str(LIBRARY), "HELD_CALL": at.call, "HELD_PATH": at.path, "HELD_NUMBER": str(at.number), "HELD_FILE": str(home / "held")}


@contextlib.contextmanager
def held(line, at, home, report, one_rank=False):
    """The command, waiting in the call. It is let go when the file that is given is removed, or at the end. `one_rank`: the command
    itself has the variables, for one of its ranks."""
    mark = home / "held"
    environment = os.environ | {"OMP_NUM_THREADS": "1"} | ({} if one_rank else variables(at, home))
    process = subprocess.Popen(line, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    end = time.monotonic() + PATIENCE
    while not mark.exists() and process.poll() is None and time.monotonic() < end:
        time.sleep(0.001)
    try:
        report.check(mark.exists(), f"{at.phase}: the program comes to {at.call} of {at.path}, exit {process.returncode}")
        yield process, mark
    finally:
        process.kill()
        process.communicate()
        mark.unlink(missing_ok=True)


def has_taken(pid, number):
    """Waits until a signal that was sent is no longer pending: its handler runs before anything else of the thread."""
    bit = 1 << (number - 1)
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        try:
            status = Path(f"/proc/{pid}/status").read_text()
        except (FileNotFoundError, ProcessLookupError):  # it has ended
            return
        if "\nState:\tZ" in status or not any(int(mask, 16) & bit for mask in re.findall(r"^(?:SigPnd|ShdPnd):\s*(\w+)", status, re.M)):
            return
        time.sleep(0.001)
