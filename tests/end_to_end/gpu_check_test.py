#!/usr/bin/env python3
"""scripts/gpu_check.sh without a GPU: it says so in a line; on the CPU and with a made-up program that acts like one on a GPU its
sections, budget, fallbacks and JSON are what they should be. Would catch a script that fails on the one day there is a GPU."""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import harness

report = harness.Report()
SCRIPT = harness.ROOT / "scripts/gpu_check.sh"
SECTIONS = ["tests", "kernels", "mfu", "memory", "pytorch", "metrics", "sanitizer"]

# Acts like `spikesink` on a GPU of 80 GB: 7B fits as configured only; one setting fails, one hangs.
PRETENDER = f"""#!{sys.executable}
import json, sys, time
words = " ".join(sys.argv[1:])
if words.startswith("bench kernels"):
    print(json.dumps({{"device": "NVIDIA Pretend", "dtype": "bf16", "copy_rate": 3e12, "matrix_rate": 7e14,
                      "cudnn_device_properties": "{{}}"}}))
    if "HANG" in __file__: print(json.dumps({{"kernel": "rms_norm", "what": "forward", "shape": "1", "rate": 2e12, "bytes": 1,
                                             "share": 0.7}}), flush=True); time.sleep(600)
elif words.startswith("plan"):
    print(json.dumps({{"tokens_per_step": 2e6, "memory": {{"pool_reserved_bytes": 70e9}}}}))
elif words.startswith("bench train"):
    if "7b_t4096" in words and "recompute" not in words:
        sys.exit("spikesink: out of memory; lower train.micro_batch")
    if "1b" in words and "HANG" in __file__: time.sleep(600)
    print(json.dumps({{"mfu": 0.5 if "recompute=layer" in words else 0.4, "tokens_per_second": 1e4, "context": 4096,
                      "pool_peak_bytes": 69e9, "pool_reserved_bytes": 70e9, "device_used_bytes": 71e9, "process_peak_bytes": 1,
                      "probe_seconds": 10, "probe_sequences": 100}}))
"""


def check(*arguments, out):
    done = subprocess.run(["bash", str(SCRIPT), *map(str, arguments), "--out", str(out)], capture_output=True, text=True,
                          timeout=300)  # fmt: skip
    return done, json.loads(out.read_text()) if out.exists() else None


with tempfile.TemporaryDirectory() as temporary:
    home = Path(temporary)
    cpu = ["--binary", harness.PROGRAM, "--device", "cpu", "--shapes", "tiny"]

    done, _ = check("--binary", harness.PROGRAM, out=home / "none.json")
    report.check(done.returncode == 2 and done.stderr.count("\n") == 1 and done.stdout == "", f"no GPU: {done}")
    done, _ = check("--binary", home / "missing", out=home / "none.json")
    report.check(done.returncode == 1 and "package.sh" in done.stderr, f"no program: {done}")

    out = home / "cpu.json"
    done, result = check(*cpu, out=out)
    report.check(done.returncode == 0 and list(result["sections"]) == SECTIONS, f"all sections: {done}")
    report.check(result["unfinished"] == [], f"nothing unfinished: {result['unfinished']}")
    report.check(result["sections"]["tests"]["parity"]["f32"]["passed"], "parity")
    kernels = {f["kernel"] for f in result["sections"]["kernels"]["f32"]["figures"]}
    # Every kernel of the program is timed: those with a CPU and a CUDA version, but for what others contain.
    inside = {"rope_angles"}
    for header in sorted((harness.ROOT / "kernels").glob("*/*.h")):
        if header.with_name(header.stem + "_cpu.cpp").exists():
            report.check(header.stem in kernels | inside, f"bench kernels times {header.stem}")
    report.check("MFU tiny" in done.stdout and "device" in result["hardware"], f"table: {done.stdout}")

    # A budget that is spent: what is left is listed, and a later call does it and keeps the rest.
    out = home / "short.json"
    done, result = check(*cpu, "--budget", 0.5, out=out)
    report.check(any("not begun" in line or "out of time" in line for line in result["unfinished"]), f"budget: {result}")
    done, result = check(*cpu, "--only", "kernels", "--only", "mfu", out=out)
    rest = {line.split(":")[0].split(" ")[0] for line in result["unfinished"]}
    report.check("kernels" in result["sections"] and "tiny" in result["mfu"], f"added: {result['sections'].keys()}")
    report.check("kernels" not in rest and "mfu" not in rest and "pytorch" in rest, f"unfinished then: {rest}")

    program = home / "spikesink"
    program.write_text(PRETENDER)
    program.chmod(0o755)
    done, result = check("--binary", program, "--only", "mfu", "--only", "memory", "--only", "metrics", out=home / "full.json")
    report.check(result.get("mfu") == {"7b_t1024": 0.4, "7b_t4096": 0.5, "1b_t1024": 0.4, "1b_t4096": 0.4, "125m_t1024": 0.4,
                                       "125m_t4096": 0.4, "any_order_7b_t1024": 0.4, "any_order_125m_t1024": 0.4, "any_order_125m_t4096": 0.4,
                                       "any_order_1b_t4096": 0.4, "any_order_7b_t4096": 0.5},
                 f"figures: {done} {result.get('mfu')}")  # fmt: skip
    seven = result["sections"]["mfu"]["7b_t4096"]
    report.check("out of memory" in seven["as configured"]["failure"], f"what did not fit is said: {seven}")
    memory = result["sections"]["memory"]["7b_t1024 as configured"]
    report.check(abs(memory["used_over_predicted"] - 71 / 70) < 1e-9, f"memory: {memory}")
    share = result["sections"]["metrics"]["7b"]["share"]
    report.check(abs(share - 10 / (500 * 200 + 10)) < 1e-9, f"probe's share: {share}")
    report.check(result["cudnn_device_properties"] == "{}" and done.returncode == 0, f"properties, exit code: {done}")

    program = home / "HANG" / "spikesink"
    program.parent.mkdir()
    program.write_text(PRETENDER.replace('"--sizes tiny"', '""'))
    program.chmod(0o755)
    # The first look at the device must not hang: it is what the pretender answers with --only add.
    program.write_text(PRETENDER.replace('if "HANG" in __file__: print', 'if "--only add" not in words: print'))
    done, result = check("--binary", program, "--only", "kernels", "--only", "mfu", "--only", "memory", "--budget", 8,
                         out=home / "hang.json")  # fmt: skip
    figures = result["sections"]["kernels"]["bf16"]["figures"]
    report.check(len(figures) == 1, f"what came before the time was up is kept: {figures}")
    report.check(any(line.startswith("kernels: bf16 after rms_norm forward") for line in result["unfinished"]),
                 f"what did not: {result['unfinished']}")  # fmt: skip
    report.check(any(line.startswith("mfu") for line in result["unfinished"]) and
                 any(line.startswith("memory") for line in result["unfinished"]), f"the rest: {result['unfinished']}")  # fmt: skip
report.end()
