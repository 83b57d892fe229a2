#!/usr/bin/env python3
"""The JSON of gpu_check.sh in its short form.

    gpu_check_table.py FILE
"""
import json
import sys
from pathlib import Path


def table(results):
    lines = [f"{results['hardware']['device']}, {results['date']}"]
    tests = results["sections"].get("tests", {})
    for name in ("test_cuda", "test_kernels", "test_models", "test_trainer"):
        if "passed" in tests.get(name, {}):
            lines.append(f"  {name:14} {tests[name]['passed']} passed, {tests[name]['failed']} failed, {tests[name]['skipped']} skipped")
    for name, case in tests.get("parity", {}).items():
        lines.append(f"  parity {name:11} {case['largest_difference']:.1e} {'ok' if case['passed'] else 'FAILED'}")
    for precision, part in results["sections"].get("kernels", {}).items():
        if not isinstance(part, dict):
            continue
        rates = part["rates"]
        lines.append(f"  {precision}: copies {rates['copy_rate'] / 1e9:.0f} GB/s, product {rates['matrix_rate'] / 1e12:.1f} TFLOP/s")
        for f in part["figures"]:
            unit, scale = ("GB/s", 1e9) if "bytes" in f else ("TFLOP/s", 1e12)
            what = f"{f['kernel']} {f['what']}"
            lines.append(f"    {what:48}{f['shape']:24}{f['rate'] / scale:9.1f} {unit:8}{100 * f['share']:6.1f} %")
    for name, value in results["mfu"].items():
        lines.append(f"  MFU {name:21} {100 * value:.1f} %")
    for name, m in results["sections"].get("memory", {}).items():
        if isinstance(m, dict) and m.get("predicted_bytes"):
            lines.append(f"  memory {name}: {m['used_bytes'] / 2**30:.2f} GiB, predicted {m['predicted_bytes'] / 2**30:.2f}")
    pytorch = results["sections"].get("pytorch", {})
    if "parity_summary" in pytorch:
        lines.append(f"  against PyTorch: {pytorch['parity_summary']}")
    for name, speed in pytorch.get("speed", {}).items():
        if "speed_ratio" in speed:
            lines.append(f"  {name}: {speed['speed_ratio']:.2f} x the tokens/s of PyTorch ({speed['faster_pytorch']})")
    for name, m in results["sections"].get("metrics", {}).items():
        if isinstance(m, dict) and "share" in m:
            lines.append(f"  probe of {name}: {100 * m['share']:.2f} % of a run")
    lines += [f"  unfinished: {what}" for what in results["unfinished"]]
    return "\n".join(lines)


if __name__ == "__main__":
    if len(sys.argv) != 2 or sys.argv[1] in ("-h", "--help"):
        sys.exit(__doc__)
    try:
        print(table(json.loads(Path(sys.argv[1]).read_text())))
    except (OSError, ValueError, KeyError, TypeError) as error:
        sys.exit(f"gpu_check_table.py: {sys.argv[1]}: not a result of gpu_check.sh: {error!r}")
