#!/usr/bin/env python3
"""Training on several ranks against one: every kind of shards and of recomputation gives the same losses on 1 to 4 ranks, from the
same samples; a run that is stopped on four ranks goes on on three and then on one; a rank that is killed, or meets an error, ends
all of them with a line that names it, and the run resumes."""

import itertools
import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time

import harness
import ranks_home
from ranks_home import MPIRUN, PATIENCE, Home, children_of, differences, ours, rank_pid, samples, wait_for_end

report = harness.Report()
ranks_home.skip_without_mpi()


def has_checkpoint(run, timeout=PATIENCE):
    """Waits until the run in a folder has written its first one."""
    begin = time.monotonic()
    while not (run / "checkpoints/latest").exists():
        if time.monotonic() - begin > timeout:
            return False
        time.sleep(0.02)
    return True


with tempfile.TemporaryDirectory() as temporary:
    home = Home(temporary, report)

    # Seven sequences a step: no number of ranks but one shares them evenly.
    kinds = ["none", "optimizer", "gradients", "parameters"]
    f64 = dict(home.small, system__precision="f64", train__steps=6)
    home.train(1, "alone", **f64)
    alone = home.steps("alone")
    report.check(len(alone) == 6 and len(set(samples(alone))) == 6, f"six different steps: {alone}")
    cases = list(itertools.product(kinds, ["none", "cheap", "layer"], [2, 3, 4]))
    for i, (kind, recompute, world) in enumerate(cases):
        if recompute != "none" and (i + world) % 2:  # half of these, so that each pair of two choices is there
            continue
        name = f"{kind}_{recompute}_{world}"
        home.train(world, name, system__shard=kind, system__recompute=recompute, **f64)
        steps = home.steps(name)
        report.check(len(steps) == 6 and differences(steps, alone) < 1e-11, f"{name}: losses {steps} beside {alone}")
        report.check(samples(steps) == samples(alone), f"{name}: the same samples")

    # The whole of tiny.yaml.
    home.train(1, "tiny_alone", system__precision="f64", train__steps=50)
    home.train(4, "tiny_four", system__precision="f64", train__steps=50, system__shard="parameters")
    worst = differences(home.steps("tiny_alone"), home.steps("tiny_four"))
    report.check(worst < 1e-9, f"50 steps in f64 on four ranks: {worst}")
    home.train(1, "f32_alone", system__precision="f32", train__steps=10)
    home.train(4, "f32_four", system__precision="f32", train__steps=10, system__shard="parameters")
    worst = differences(home.steps("f32_alone"), home.steps("f32_four"))
    report.check(worst < 1e-5, f"10 steps in f32 on four ranks: {worst}")
    out, _ = home.train(2, "bf16_sent", system__precision="f32", system__reduce_precision="bf16", train__steps=10)
    worst = differences(home.steps("f32_alone"), home.steps("bf16_sent"))
    report.check(0 < worst < 1e-2 and "gradients sent in bf16" in out, f"gradients sent in bf16: {worst}")

    # What `plan` counted is what the ranks took, to the byte.
    for kind in kinds:
        keys = dict(system__shard=kind, train__steps=2, run__name=f"memory_{kind}")
        out, _ = home.train(4, f"memory_{kind}", **keys)
        took = re.search(r"tensors took .* \((\d+) bytes\)", out)
        line = home.line(f"memory_{kind}", "--world", 4, "--json", **keys)
        line[1] = "plan"
        planned = subprocess.run(line, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
        peak = json.loads(planned.stdout)["memory"]["pool_peak_bytes"]
        report.check(took and int(took[1]) == peak, f"{kind}: {took and took[0]}, planned {peak}")

    # Stopped on four ranks by a signal to one of them, resumed on three, then on one.
    moving = dict(home.small, system__precision="f64", train__steps=60, system__shard="parameters", checkpoint__every_steps=10,
                  metrics__probe_every_steps=30)  # fmt: skip
    home.train(1, "unbroken", **moving)
    unbroken = home.steps("unbroken")
    child = home.start(4, home.line("moved", **{**moving, "train__steps": 100000}))
    report.check(has_checkpoint(home.folder / "moved"), "the run on four ranks gets under way")
    child.send_signal(signal.SIGUSR1)
    out, err = child.communicate(timeout=PATIENCE)
    report.check(child.returncode == 75 and "go on with --resume" in out + err, f"stopped: {child.returncode} {out} {err}")
    stopped = home.steps("moved")[-1]["step"]
    report.check(stopped < 50000, f"stopped at step {stopped}")
    last = stopped + 20
    for world, until in ((3, stopped + 10), (1, last)):
        out, _ = home.train(world, "moved", "--resume", **{**moving, "train__steps": until})
        report.check("ranks: " in out, f"the change of ranks is logged: {out}")
    moved = home.steps("moved")
    home.train(1, "long", **{**moving, "train__steps": last})
    long = home.steps("long")
    report.check([line["step"] for line in moved] == list(range(1, last + 1)), "each step once")
    report.check(samples(moved) == samples(long), "the samples of the unbroken run")
    # The learning rate follows train.steps, which differs: losses of the first steps only.
    report.check(samples(moved)[: len(unbroken)] == samples(unbroken)[: len(moved)], "the samples of a run of another length")

    # kill -9 of one of four.
    child = home.start(4, home.line("killed", **{**moving, "train__steps": 100000, "system__rank_timeout": 20}))
    report.check(has_checkpoint(home.folder / "killed"), "the run to be killed gets under way")
    victim, ranks = rank_pid(child, 2), children_of(child)
    begin = time.monotonic()
    os.kill(victim, signal.SIGKILL)
    out, err = child.communicate(timeout=PATIENCE)
    took = time.monotonic() - begin
    report.check(child.returncode != 0 and re.search(r"rank 2\b", err), f"killed: {child.returncode} {err}")
    report.check(took < 30, f"all have ended within {took:.1f} s")
    wait_for_end(ranks, report)
    behind = len(home.steps("killed"))
    out, _ = home.train(4, "killed", "--resume", **{**moving, "train__steps": behind + 20})
    killed = home.steps("killed")
    common = min(len(killed), len(long))
    report.check("resumed from" in out and len(killed) == behind + 20, f"it goes on: {out}")
    report.check(samples(killed)[:common] == samples(long)[:common], "with the samples of a run that was not killed")

    # A damaged file, which rank 1 of two verifies: all go on from the checkpoint before, and say so once. With all of them damaged
    # the newest is named, in one line.
    checkpoints = home.folder / "killed/checkpoints"
    newest, *older = sorted(checkpoints.glob("step_????????"), reverse=True)
    damage = [newest / "rank_0003.h5", *(checkpoint / "rank_0000.h5" for checkpoint in older)]
    damage[0].write_bytes(damage[0].read_bytes()[:-1] + b"?")
    out, _ = home.train(2, "killed", "--resume", **{**moving, "train__steps": behind + 20})
    report.check(out.count(f"passed over: {damage[0]}: checksum differs") == 1 and f"resumed from {older[0]}" in out, f"a damaged file: {out}")
    report.check(samples(home.steps("killed")) == samples(killed), "the samples from there on are those that were")
    damage = [next(checkpoint.glob("rank_*.h5")) for checkpoint in sorted(checkpoints.glob("step_????????"), reverse=True)]
    for file in damage:
        file.write_bytes(file.read_bytes()[:-1] + b"?")
    _, err = home.train(2, "killed", "--resume", code=3, **{**moving, "train__steps": behind + 30})
    said = ours(err)
    report.check(len(said) == 1 and f"{damage[0]}: checksum differs" in said[0], f"all damaged: {err}")

    # Ranks whose folders, or disks, have other files under the same paths do not begin. Here and there only one letter differs.
    for place in ("here", "there"):
        for part in ("text", "val"):
            shutil.copytree(home.folder / "data", home.folder / place / part)
    keys = dict(moving, train__steps=20, data__train="[text/*]", data__validation="[val/*]", data__holdout=None)
    launcher = [*MPIRUN, *(f"-np 1 -wdir {home.folder}/here".split()), *home.line("apart", **keys), ":",
                *(f"-np 1 -wdir {home.folder}/there".split()), *home.line("apart", **keys)]  # fmt: skip
    for key, folder, words in (("data.train", "text", "is another file of the same size: the checksum of its first and last 64 KiB is"),
                               ("data.validation", "val", "the checksum of sequence 1 of those that probes measure is")):  # fmt: skip
        shard = home.folder / "there" / folder / "shard_00000000_processed.jsonl"
        text = shard.read_bytes()
        shard.write_bytes(text.replace(b"a", b"e", 1) if folder == "text" else text.replace(b': "', b': "e', 1))
        child = subprocess.run(launcher, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"}, timeout=PATIENCE)
        said = ours(child.stderr)
        told = len(said) == 1 and f"spikesink: {key}: " in said[0] and words in said[0] and "on rank 1 of 2, but" in said[0]
        report.check(child.returncode == 3 and told and not (home.folder / "apart").exists(), f"other {key}: {child.returncode} {child.stderr}")
        shard.write_bytes(text)
    child = subprocess.run(launcher, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"}, timeout=PATIENCE)
    report.check(child.returncode == 0, f"the same files in two folders: {child.returncode} {child.stderr}")
    # Nor do ranks that would write into folders of their own.
    launcher = [part for place in ("here", "there")
                for part in (":", "-np", "1", "-wdir", str(home.folder / place), *home.line("torn", **dict(moving, run__dir="runs")))][1:]  # fmt: skip
    child = subprocess.run([*MPIRUN, *launcher], capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"}, timeout=PATIENCE)
    said = ours(child.stderr)
    told = len(said) == 1 and "runs/torn/checkpoints: not the same folder on rank 1 of 2 as on rank 0" in said[0]
    left = list((home.folder / "here/runs/torn/checkpoints").iterdir())
    report.check(child.returncode == 2 and told and left == [], f"two folders: {child.returncode} {left} {child.stderr}")
    mine, theirs = (home.line("others", **moving | more) for more in ({}, {"train__optimizer__lr": 0.5}))
    child = subprocess.run([*MPIRUN, "-np", "1", *mine, ":", "-np", "1", *theirs], capture_output=True, text=True, timeout=PATIENCE)
    said = ours(child.stderr)
    told = len(said) == 1 and "rank 1 of 2 was started with another config than rank 0: train.optimizer.lr: " in said[0]
    report.check(child.returncode == 2 and told and not (home.folder / "others").exists(), f"other config: {child.returncode} {child.stderr}")

    # An error of one rank, whose shard has lines that are broken where nobody looks beforehand, is in rank 0's log and on its terminal, once.
    whole, broken = home.folder / "whole", home.folder / "broken"
    harness.write_corpus(whole / "corpus", documents=1500, shards=1)
    shutil.copytree(whole, broken)
    for shard in (broken / "corpus").iterdir():
        text, end = shard.read_bytes(), 1 << 16
        shard.write_bytes(text[:end] + text[end:-end].replace(b'"text"', b'"tex_"') + text[-end:])
    keys = dict(moving, train__steps=100000, data__validation=f"[{home.data}]", data__holdout=None)
    erring = home.line("erring", **keys, data__train="[corpus/*]")
    child = subprocess.Popen([*MPIRUN, *f"-np 1 -wdir {whole}".split(), *erring, ":", *f"-np 1 -wdir {broken}".split(), *erring], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                             text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})  # fmt: skip
    out, err = child.communicate(timeout=PATIENCE)
    said = ours(err)
    report.check(child.returncode == 3 and len(said) == 1 and "rank 1 of 2: " in said[0], f"an error of rank 1: {child.returncode} {err}")
    log = (home.folder / "erring/log.txt").read_text()
    report.check(said and said[0].removeprefix("spikesink: ") in log, f"rank 1's error is in the log: {log[-600:]}")
report.end()
