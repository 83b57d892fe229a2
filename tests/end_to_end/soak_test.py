#!/usr/bin/env python3
"""A run of some hundred steps, with probes, checkpoints and TensorBoard, opens no descriptor that it does not close. benchmarks/soak.py is the
long form, which looks at memory too."""

import sys
import tempfile
from pathlib import Path

import harness

sys.path.insert(0, str(harness.ROOT / "benchmarks"))
from soak import soak  # noqa: E402

report = harness.Report()
with tempfile.TemporaryDirectory() as home:
    rows, new = soak(500, Path(home))
report.check(rows[0]["step"] == 100 and rows[-1]["step"] == 500, f"steps that were looked at: {rows}")
report.check(not new, f"descriptors at step 500 that step 100 had not: {new}")
report.end()
