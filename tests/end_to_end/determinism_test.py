#!/usr/bin/env python3
"""What may change without a bit of the losses, gradient norms or checkpoints changing: the run itself, when it is repeated; the threads that
read ahead; recomputation; how often something is measured or saved. With another number of threads that compute the losses are equal but for
the order of sums."""

import os
import tempfile
from pathlib import Path

import h5py
import harness

EXACT = ("step", "tokens", "loss", "lr", "grad_norm", "samples")
STEPS = 12
report = harness.Report()


def result(run):
    losses = [tuple(line[k] for k in EXACT) for line in harness.metrics(run) if "event" not in line]
    arrays = {}
    with h5py.File(run / f"checkpoints/step_{STEPS:08d}/rank_0000.h5") as file:
        file.visititems(lambda name, item: arrays.update({name: item[()].tobytes()}) if isinstance(item, h5py.Dataset) else None)
    return losses, arrays


with tempfile.TemporaryDirectory() as temporary:
    home = Path(temporary)
    corpus = harness.write_corpus(home / "data", documents=200)
    keys = harness.sets(data__train=f"[{corpus}]", data__holdout=0.1, data__lanes=3, run__dir=home, train__steps=STEPS,
                        train__schedule__warmup_steps=2, metrics__every_steps=1, metrics__sequences=2, **harness.SMALL)  # fmt: skip

    def train(name, threads, **more):
        harness.run("train", harness.TINY, *keys, *harness.sets(run__name=name, **more), env=os.environ | {"OMP_NUM_THREADS": str(threads)})
        return result(home / name)

    for threads in (1, 2):
        whole = train(f"whole{threads}", threads)
        report.check(len(whole[0]) == STEPS, "a line a step")
        for name, more in {
            "again": {},
            "data_threads": dict(data__threads=4),
            "recompute_layer": dict(system__recompute="layer"),
            "recompute_cheap": dict(system__recompute="cheap"),
            "probes": dict(metrics__probe_every_steps=3),
            "checkpoints": dict(checkpoint__every_steps=5, checkpoint__async="false"),
        }.items():
            report.check(train(f"{name}{threads}", threads, **more) == whole, f"{name}, on {threads} threads: other bits")
    for one, two in zip(result(home / "whole1")[0], result(home / "whole2")[0]):
        report.check(one[:2] == two[:2] and one[-1] == two[-1], f"the same samples on one thread as on two: {one}, {two}")
        report.check(abs(one[2] / two[2] - 1) < 1e-5, f"step {one[0]}: losses of one thread and of two: {one[2]}, {two[2]}")
    print("losses of one thread and of two, greatest difference:",
          max(abs(one[2] / two[2] - 1) for one, two in zip(result(home / "whole1")[0], result(home / "whole2")[0])))  # fmt: skip
report.end()
