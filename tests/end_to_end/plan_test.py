#!/usr/bin/env python3
"""What `plan` says of a run's memory is what the run then takes, and a run that cannot have its memory is refused first."""

import json
import os
import re
import subprocess
import tempfile
from pathlib import Path

import harness

os.environ["OMP_NUM_THREADS"] = "2"
report = harness.Report()


def plan(*arguments):
    return json.loads(harness.run("plan", *arguments, "--json").stdout)


with tempfile.TemporaryDirectory() as temporary:
    home = Path(temporary)
    corpus = harness.write_corpus(home / "data", documents=600)
    variants = {
        "plain": {},
        "layer": {"system__recompute": "layer"},
        "large": {"model__n_layers": 8, "train__batch_tokens": 8192, "train__micro_batch": 24},
        "cheap": {"system__recompute": "cheap", "data__document_mask": "true", "train__loss_from_position": 65},
    }
    for name, changes in variants.items():
        keys = harness.sets(
            system__device="cpu", data__train=f"[{corpus}]", data__holdout=0.1, run__dir=home, run__name=name,
            train__steps=3, train__schedule__warmup_steps=1, **changes)  # fmt: skip
        memory = plan(harness.TINY, *keys)["memory"]
        harness.run("train", harness.TINY, *keys)
        said = re.search(r"memory: tensors took ([\d.]+) MiB at most .\d+ bytes., ([\d.]+) MiB", (home / name / "log.txt").read_text())
        planned = [f"{memory[key] / 2**20:.1f}" for key in ("pool_peak_bytes", "pool_reserved_bytes")]
        report.check(said and list(said.groups()) == planned, f"{name}: {planned} MiB planned, {said and said.groups()}")

    # 400 billion parameters: no machine that runs this has so much, and nothing of it is allocated before it is said.
    giant = harness.sets(
        system__device="cpu", data__train=f"[{corpus}]", data__holdout=0.1, run__dir=home, run__name="giant",
        model__d_model=16384, model__n_layers=128)  # fmt: skip
    done = harness.run("train", harness.TINY, *giant, check=False)
    line = done.stderr
    report.check(done.returncode == 2 and line.count("\n") == 1, f"a giant is refused: {done.returncode} {line!r}")
    report.check("needed" in line and "free" in line and "a smaller model" in line, f"the line says what and how: {line!r}")
    report.check(not (home / "giant").exists(), "nothing was written")

    seven = harness.ROOT / "configs/llama/7b.yaml"
    found = plan(seven, "--gpu", "H100", "--fit")
    fit, fastest, memory = found["fit"], found["fastest"], found["memory"]
    report.check(not fit["fits"] and "change" not in fit, f"7B is too large, and no single change helps: {fit}")
    report.check(fit["free"] + fit["set_aside"] == int(79.1 * 2**30), f"room is left for CUDA: {fit}")
    kind = [memory[key] for key in ("device", "precision", "micro_batch", "recompute", "state_precision")]
    report.check(kind == ["cuda", "bf16", 4, "none", "f32"], f"it says what is counted: {kind}")
    roomy = plan(seven, "--gpu", "b200")["fit"]
    report.check("change" not in roomy if roomy["fits"] else roomy["change"]["needed"] <= roomy["free"], f"a change helps: {roomy}")
    report.check("system.state_precision=bf16" in fastest["set"], f"7B fits one H100 with bf16 state: {fastest}")
    sets = [part for change in fastest["set"] for part in ("--set", change)]
    again = plan(seven, "--gpu", "h100", *sets)
    report.check(again["fit"]["fits"] and again["memory"]["needed"] == fastest["needed"], f"and so it does: {again['fit']}")
    days = again["time"]["seconds"] / 86400
    report.check(90 < days < 110, f"100B tokens at 7B are 100 days on one H100 at half its rate: {days}")
    text = harness.run("plan", seven, "--gpu", "h100", "--fit").stdout
    report.check("fastest that fits: --set " in text and "does not fit" in text, f"the text says the same: {text}")
    text = harness.run("plan", seven, "--gpu", "h100").stdout
    report.check("no single change is enough; try --fit" in text and "masters" in text, f"and where to look: {text}")
    text = harness.run("plan", seven, "--gpu", "h100", *sets).stdout
    report.check("for CUDA's context and libraries" in text and "masters" not in text, f"bf16 state has no masters: {text}")
    f32 = ["--set", "system.precision=f32", "--gpu", "h100", "--fit"]
    text = harness.run("plan", seven, *f32).stdout
    report.check("nothing fits in f32; fastest in bf16: --set system.precision=bf16" in text, f"bf16 is named: {text}")
    narrow = plan(seven, *f32)
    good = narrow["fastest"] is None and "system.state_precision=bf16" in narrow["fastest_in_bf16"]["set"]
    report.check(good, f"in the JSON too: {narrow}")
    for what, words, arguments in [
        ("cpu and a GPU", ["--gpu h100", "system.device"], ["--gpu", "h100", "--set", "system.device=cpu"]),
        ("bf16 state on the CPU", ["system.state_precision", "--gpu"], ["--set", "system.state_precision=bf16"]),
        ("bf16 on the CPU", ["system.precision", "--gpu"], ["--set", "system.precision=bf16"]),
    ]:
        done = harness.run("plan", seven, *arguments, check=False)
        good = done.returncode == 2 and done.stderr.count("\n") == 1 and all(word in done.stderr for word in words)
        report.check(good, f"{what} is refused: {done.returncode} {done.stderr!r}")
    keys = {"train.batch_tokens": 2**36, "model.context": 4096}
    vast = plan(seven, "--gpu", "h100", *[part for k, v in keys.items() for part in ("--set", f"{k}={v}")])
    report.check(vast["tokens_per_step"] == 2**36, "a step of 64 billion tokens is planned without them")
    wrong = harness.run("plan", seven, "--gpu", "h1000", check=False)
    report.check(wrong.returncode == 2 and "h100" in wrong.stderr, f"an unknown GPU is refused: {wrong.stderr!r}")
    wide = harness.run("plan", harness.TINY, "--gpu", "h100", "--set", "model.attention.d_head=512", check=False)
    good = wide.returncode == 2 and wide.stderr.count("\n") == 1 and "model.attention.d_head: 512" in wide.stderr
    report.check(good, f"a head that CUDA has no kernel for is refused by its key: {wide.returncode} {wide.stderr!r}")

    # Many ranks.
    baseline = harness.ROOT / "configs/paper/baseline.yaml"
    eight = plan(baseline, "--world", 8, "--gpu", "h100", "--fit")
    fastest, ranks = eight["fastest"], eight["ranks"]
    report.check(fastest["needed"] <= eight["fit"]["free"] < 80 * 2**30, f"the baseline fits eight 80 GB GPUs: {fastest}")
    report.check("system.state_precision=bf16" not in fastest["set"], f"with f32 state: {fastest['set']}")
    parts = ["weights", "gradients", "optimizer", "activations", "buffers", "working", "other"]
    for way in (eight, fastest):
        memory = way["memory"]
        report.check(sum(memory[part] for part in parts) == memory["pool_peak_bytes"], f"the parts add up: {memory}")
    report.check(memory["buffers"] > 0, f"ranks have buffers: {memory}")
    P = eight["parameters"]["total"]
    sent = ranks["sent_bytes"] / (P * (4 + 2) * 7 / 8)
    report.check(0.999 < sent < 1.001, f"sharded optimizer: f32 gradients and bf16 weights are sent once: {sent}")
    report.check(ranks["sequences"] == 64 and ranks["passes"] == 16 and ranks["idle"] == 0, f"a rank's share: {ranks}")
    most = eight["fit"]["largest_micro_batch"]
    sizes = {m: plan(baseline, "--world", 8, "--gpu", "h100", "--set", f"train.micro_batch={m}")["fit"]["fits"] for m in (most, most + 1)}
    report.check(sizes == {most: True, most + 1: False}, f"the largest micro-batch is: {sizes}")
    time = fastest["time"]
    total = sum(time[part] for part in ("products", "attention", "memory", "optimizer", "sending", "latency")) - time["hidden"]
    report.check(abs(total / time["step_seconds"] - 1) < 1e-9, f"the parts of the time add up: {time}")
    text = harness.run("plan", baseline, "--world", 8, "--gpu", "h100", "--fit").stdout
    report.check("fastest that fits: --set " in text and "buffers" in text and "MFU" in text, f"the text has a plan: {text}")
    slow = plan(baseline, "--world", 16, "--gpu", "h100", "--nic", 1)["time"]["step_seconds"]
    fast = plan(baseline, "--world", 16, "--gpu", "h100", "--nic", 1, "--node", 16)["time"]["step_seconds"]
    report.check(slow > 2 * fast, f"a slow network between nodes takes time, not inside one: {slow} {fast}")
    many = harness.run("plan", harness.TINY, "--world", 1000, "--gpu", "h100", "--set", "train.batch_tokens=12800").stdout
    report.check("900 ranks idle: a step has 100 sequences" in many, f"ranks without sequences are said: {many}")
    tiny = plan(harness.TINY, "--world", 2, "--set", "system.device=cpu")
    whole = plan(harness.TINY, "--set", "system.device=cpu")
    report.check(tiny["memory"]["optimizer"] < 0.6 * whole["memory"]["optimizer"], "ranks of a CPU share the state")
    report.check(tiny["fit"]["free"] < 0.7 * whole["fit"]["free"], f"and its memory: {tiny['fit']} {whole['fit']}")
    for arguments in (["--world", 0], ["--world", 8, "--node", 0], ["--world", 8, "--node", 2**31 - 1], ["--nic", -1], ["--nic", 0]):
        done = harness.run("plan", baseline, "--gpu", "h100", *arguments, check=False)
        good = done.returncode == 2 and done.stderr.count("\n") == 1 and arguments[-2] in done.stderr
        report.check(good, f"{arguments} is refused: {done.returncode} {done.stderr!r}")

    large = home / "13b.yaml"
    large.write_text("""run: {name: llama_13b}
model: {d_model: 5120, n_layers: 40, attention: {n_heads: 40}, ffn: {d_hidden: 13824}}
data: {train: [none.jsonl]}
train: {tokens: 100e9}
""")
    mfus = []
    for config, world in ((large, 8), (large, 1024), (harness.ROOT / "configs/llama/1b.yaml", 1), (seven, 1024)):
        best = plan(config, "--world", world, "--gpu", "h100", "--fit")["fastest"]
        mfus.append(best and best["time"]["mfu"])
    report.check(all(mfu and 0.02 < mfu < 0.7 for mfu in mfus) and mfus[0] > mfus[1], f"13B, 1B and 7B have plans: {mfus}")

    # The model of a step's time against the steps of one H100.
    recorded = json.loads((harness.ROOT / "benchmarks/results/gpu_h100_sxm.json").read_text())["sections"]["mfu"]
    for name in ("7b_t1024", "7b_t4096", "1b_t1024", "1b_t4096", "125m_t1024", "125m_t4096"):
        step = plan(harness.ROOT / f"configs/benchmark/{name}.yaml", "--gpu", "h100")["time"]["step_seconds"]
        ratio = step / recorded[name]["as configured"]["step_seconds"]
        report.check(0.95 < ratio < 1.05, f"{name}: {ratio:.3f} of the recorded step's time")

    document = subprocess.run([harness.ROOT / "scripts/scaling_table.py", "--check", "--program", harness.PROGRAM])
    report.check(document.returncode == 0, "docs/scaling.md is what the planner gives")
report.end()
