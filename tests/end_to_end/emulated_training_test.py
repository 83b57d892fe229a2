#!/usr/bin/env python3
"""Training on CUDA, emulated on the host, against training on the CPU: losses and probes of models that between them
use every op, in f32 and in bf16 with both kinds of state; a run that is resumed gives the bits of one that was not; and
checkpoints of either device are read on the other.

Needs two programs: SPIKESINK (build/cpu/spikesink) and SPIKESINK_EMULATED (build/emulated/spikesink)."""

import concurrent.futures
import json
import math
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import harness

EMULATED = Path(os.environ.get("SPIKESINK_EMULATED", harness.ROOT / "build/emulated/spikesink"))
STEPS, CHECKPOINT = 20, 12
# The losses of the first steps are those of the same weights, later ones those of weights that drifted apart. f32 differs
# in the order of sums. bf16 keeps 8 bits of an activation, whose errors average out over a batch; so do those of
# stochastic rounding, where the state is bf16 too.
TOLERANCES = {"f32": 1e-5, "bf16": 1e-2, "bf16_state": 1e-2}
DEVICES = {
    "cpu": {},
    "f32": dict(system__device="cuda", system__precision="f32"),
    "bf16": dict(system__device="cuda", system__precision="bf16", system__state_precision="f32"),
    "bf16_state": dict(system__device="cuda", system__precision="bf16", system__state_precision="bf16"),
}

# Each is configs/cpu/tiny.yaml, narrower, and what stands here.
MODELS = {
    # A head size and a context that cuDNN's twin serves in bf16; 5 sequences in passes of 2, so of two sizes.
    "plain": dict(model__context=64, model__attention__d_head=64, model__attention__n_heads=1, train__batch_tokens=192,
                  train__micro_batch=2),
    "sandwich": dict(model__norm__output="true", model__norm__qk="full", model__attention__n_kv_heads=1,
                     model__attention__gate="{source: conditional, granularity: channel}"),
    "layer_norm": dict(model__norm__kind="layernorm", model__ffn__kind="gelu", model__tie_embeddings="true",
                       model__attention__gate="{source: positional, granularity: head}", system__recompute="layer"),
    "dynamic_tanh": dict(model__norm__kind="dynamic_tanh", model__norm__beta="true", model__embedding_scale="learned",
                         model__ffn="{kind: gelu, gelu: tanh}", train__loss_from_position=5,
                         model__attention__gate="{source: token, granularity: single}"),
    "attention": dict(model__ffn__kind="attention", model__norm__qk="head", data__document_mask="true",
                      model__attention__gate="{source: unconditional, granularity: channel}"),
    "linear": dict(model__ffn__kind="linear", model__norm__final="false", system__recompute="cheap",
                   model__attention__gate="{source: conditional, granularity: single}"),
}  # fmt: skip

report = harness.Report()


def program(device):
    return harness.PROGRAM if device == "cpu" else EMULATED


def train(home, model, device, *more, name=None, check=True):
    keys = dict(
        data__train=f"[{home}/data/*.jsonl*]", data__holdout=0.05, run__dir=home, run__name=name or f"{model}_{device}",
        model__d_model=64, model__n_layers=2, model__context=24, model__attention__n_heads=2, model__attention__d_head=32,
        model__init_std=0.2,  # so that heads differ, and some have sinks
        train__steps=STEPS, train__batch_tokens=96, train__micro_batch=2, train__schedule__warmup_steps=5,
        metrics__every_steps=1, metrics__probe_every_steps=STEPS, metrics__sequences=4, metrics__sink_length=16,
        metrics__sink_epsilon=0.25, checkpoint__every_steps=CHECKPOINT)  # fmt: skip
    keys |= MODELS[model] | DEVICES[device]
    done = harness.run("train", harness.TINY, *harness.sets(**keys), *more, check=check, program=program(device))
    return home / keys["run__name"] if check else done


def losses(folder):
    return [(line["step"], line["loss"], line["grad_norm"]) for line in harness.metrics(folder) if "event" not in line]


def last_probe(folder):
    return next(line for line in reversed(harness.metrics(folder)) if line.get("event") == "probe")


def apart(a, b):
    return abs(a - b) / max(abs(b), 1e-3) if math.isfinite(a) else math.inf


def compare(model, device, folder, cpu):
    want, got = losses(cpu), losses(folder)
    report.check([line[0] for line in got] == [line[0] for line in want], f"{model} {device}: every step is there")
    worst = max(apart(a[1], b[1]) for a, b in zip(got, want))
    report.check(worst <= TOLERANCES[device], f"{model} {device}: losses are {worst:.1e} apart")
    norms = max(apart(a[2], b[2]) for a, b in zip(got[:5], want[:5]))
    report.check(norms <= 10 * TOLERANCES[device], f"{model} {device}: gradient norms are {norms:.1e} apart")
    probe, reference = last_probe(folder), last_probe(cpu)
    # Shares of heads change by whole ones where a mean of attention is near the threshold.
    for key, value in reference.items():
        if key in ("event", "step"):
            continue
        share = key.startswith(("sink_ratio", "sink_first"))
        error = abs(probe[key] - value) if share else apart(probe[key], value)
        allowed = (0.001 if device == "f32" else 0.13) if share else 3 * TOLERANCES[device]
        report.check(error <= allowed, f"{model} {device}: {key} is {probe[key]}, on the CPU {value}")
    print(f"{model:14}{device:12}losses {worst:.1e}  norms {norms:.1e}  sink_ratio {probe['sink_ratio']:.3f} "
          f"({reference['sink_ratio']:.3f})", flush=True)  # fmt: skip


def resume(home, device):
    """The run without what came after its first checkpoint, resumed."""
    name = f"resumed_{device}"
    shutil.copytree(home / f"plain_{device}", home / name, symlinks=True)
    shutil.rmtree(home / name / f"checkpoints/step_{STEPS:08d}")
    (home / name / "checkpoints/latest").unlink()
    return train(home, "plain", device, "--resume", name=name)


def evaluate(folder, device):
    """The run's newest checkpoint on a device, which need not be the one that wrote it."""
    keys = DEVICES[device] or dict(system__device="cpu", system__precision="f32")
    return json.loads(harness.run("eval", folder, "--json", *harness.sets(**keys), program=program(device)).stdout)


with tempfile.TemporaryDirectory() as temporary, concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
    home = Path(temporary)
    harness.write_corpus(home / "data")
    runs = {(model, device): pool.submit(train, home, model, device) for model in MODELS for device in DEVICES}
    folders = {key: run.result() for key, run in runs.items()}
    for model in MODELS:
        for device in TOLERANCES:
            compare(model, device, folders[model, device], folders[model, "cpu"])
    sinks = [last_probe(folders[model, "cpu"])["sink_ratio"] for model in MODELS]
    report.check(any(0 < ratio < 1 for ratio in sinks), f"some heads have sinks: {sinks}")

    resumed = {device: pool.submit(resume, home, device) for device in ("bf16", "bf16_state")}
    pairs = [("bf16", "cpu"), ("bf16_state", "cpu"), ("f32", "cpu"), ("cpu", "f32"), ("cpu", "bf16")]
    evaluated = {pair: pool.submit(evaluate, folders["plain", pair[0]], pair[1]) for pair in pairs}
    for device, run in resumed.items():
        folder = run.result()
        report.check("resumed from" in (folder / "log.txt").read_text(), f"{device}: the run was resumed")
        report.check(losses(folder) == losses(folders["plain", device]), f"{device}: the same losses after a resume")
        report.check(last_probe(folder) == last_probe(folders["plain", device]), f"{device}: and the same figures")
    for (written, read), run in evaluated.items():
        found, probe = run.result(), last_probe(folders["plain", written])
        allowed = 1e-4 if "bf16" not in written + read else 3e-2
        worst = max(apart(found[key], probe[key]) for key in ("perplexity", "first_token_mass", "spike_max"))
        report.check(worst <= allowed, f"written on {written}, read on {read}: {worst:.1e} apart")

    # bf16 in a file is a type of its own.
    files = sorted(folders["plain", "bf16_state"].glob("checkpoints/step_*/*.h5"))
    read = [sys.executable, harness.ROOT / "tests/io/read_back.py", "h5", *files]
    done = subprocess.run(read, capture_output=True, text=True)
    report.check(done.returncode == 0 and " 0 bf16" not in done.stdout, f"h5py reads bf16: {done.stdout} {done.stderr}")

    # Divergence: exit code 4, and the line says where.
    keys = dict(run__name="diverged", train__optimizer__lr=1e30, train__optimizer__clip=0, train__schedule__warmup_steps=0)
    done = train(home, "plain", "bf16", *harness.sets(**keys), name="diverged", check=False)
    report.check(done.returncode == 4 and "first in" in done.stderr, f"divergence: {done.returncode}: {done.stderr}")
    # What the log and a refusal say of a GPU.
    log = (folders["plain", "bf16"] / "log.txt").read_text()
    good = "a plain stand-in for cuDNN" in log and "emulated" in log and "TFLOP" not in log
    report.check(good, f"the log says that all is emulated: {log[:1000]}")
    keys = dict(run__name="giant", model__d_model=4096, model__n_layers=8, model__ffn__d_hidden=16384)
    done = train(home, "plain", "bf16", *harness.sets(**keys), name="giant", check=False)
    good = done.returncode == 2 and "less 256.0 MiB for CUDA's context and libraries" in done.stderr
    report.check(good, f"a refusal says what is set aside: {done.returncode}: {done.stderr}")
report.end()
