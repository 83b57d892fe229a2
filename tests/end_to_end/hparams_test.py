#!/usr/bin/env python3
"""TensorBoard, pointed at a sweep's folder, lists its runs with the hyperparameters that vary, and their metrics.

Asked as its page asks: a server is started on this machine, once with the fast reader that people get and once with the
plain one. What would be caught: a message that is not TensorBoard's, a run that is not found, a value or a type that is
not the run's, hyperparameters of before a resume, a run that is shown as going on when it is done.
"""

import json
import tempfile
import time
import urllib.request
from pathlib import Path

import harness

ROWS = {"base": {},
        "small": {"model": {"attention": {"d_head": 16}}, "train": {"optimizer": {"lr": 2e-3}}},
        "tanh": {"model": {"norm": {"kind": "dynamic_tanh"}}, "train": {"optimizer": {"betas": [0.9, 0.99]}}}}
METRICS = ["probe/sink_ratio", "probe/spike_max", "probe/perplexity", "train/loss"]

report = harness.Report()


class Server:
    """TensorBoard in this process, over a folder."""

    def __init__(self, folder, *options):
        from tensorboard import default, program

        board = program.TensorBoard(plugins=default.get_plugins())
        board.configure(argv=[None, "--logdir", str(folder), "--port", "0", *options])
        self.url = board.launch()

    def ask(self, what, **request):
        body = json.dumps(request).encode()
        address = f"{self.url}data/plugin/hparams/{what}"
        asked = urllib.request.Request(address, body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(asked, timeout=30) as answer:
            return json.load(answer)

    def groups(self, wanted):
        """What the page's table is made of, as soon as `wanted` runs are read."""
        for _ in range(200):
            groups = self.ask("session_groups", startIndex=0, sliceSize=100, colParams=[],
                              allowedStatuses=["STATUS_UNKNOWN", "STATUS_SUCCESS", "STATUS_FAILURE",
                                               "STATUS_RUNNING"]).get("sessionGroups", [])  # fmt: skip
            if len(groups) >= wanted and all(group.get("metricValues") for group in groups):
                break
            time.sleep(0.1)
        return {group["name"]: group for group in groups}


def last(run_folder, key, event):
    return [line[key] for line in harness.metrics(run_folder) if line.get("event") == event][-1]


def check_sweep(folder, *options):
    server = Server(folder, *options)
    groups = server.groups(len(ROWS))
    names = {f"runs/{row}/tensorboard" for row in ROWS}
    report.check(set(groups) == names, f"{options}: runs are listed: {sorted(groups)}")
    if set(groups) != names:
        return
    experiment = server.ask("experiment", experimentName="", includeMetrics=True)
    columns = {info["name"]: info for info in experiment["hparamInfos"]}
    expected = {"model.norm.kind", "model.norm.eps", "model.norm.alpha.attention", "model.norm.alpha.ffn",
                "model.norm.alpha.final", "model.norm.beta", "model.attention.d_head", "train.optimizer.lr",
                "train.optimizer.beta2"}  # fmt: skip
    report.check(set(columns) == expected, f"columns are what varies: {list(columns)}")
    report.check(all(info["differs"] for info in columns.values()), "and are shown as such")
    report.check(columns["model.attention.d_head"]["type"] == "DATA_TYPE_FLOAT64", "d_head is a number")
    report.check(sorted(columns["model.attention.d_head"]["domainDiscrete"]) == [16, 32], "and has its two values")
    report.check(columns["model.norm.kind"]["type"] == "DATA_TYPE_STRING", "a kind is text")
    report.check(columns["model.norm.beta"]["type"] == "DATA_TYPE_BOOL", "a flag is one")
    tags = [info["name"]["tag"] for info in experiment["metricInfos"]]
    report.check(tags == METRICS, f"metrics: {tags}")
    for row in ROWS:
        group = groups[f"runs/{row}/tensorboard"]
        hparams, run = group["hparams"], folder / "runs" / row
        report.check(group["sessions"][0]["status"] == "STATUS_SUCCESS", f"{row} is done: {group['sessions'][0]}")
        report.check(hparams["model.attention.d_head"] == (16 if row == "small" else 32), f"{row}: d_head")
        report.check(hparams["model.norm.kind"] == ("dynamic_tanh" if row == "tanh" else "rmsnorm"), f"{row}: norm")
        report.check(hparams["train.optimizer.beta2"] == (0.99 if row == "tanh" else 0.95), f"{row}: beta2")
        report.check(hparams["model.tie_embeddings"] is False and hparams["run.seed"] == 1, f"{row}: what is alike")
        report.check(hparams.get("model.norm.beta") == (False if row == "tanh" else None), f"{row}: norm.beta")
        shown = {value["name"]["tag"]: value["value"] for value in group["metricValues"]}
        own = {tag: last(run, tag.split("/")[1], "probe" if tag.startswith("probe/") else None) for tag in METRICS}
        close = shown.keys() == own.keys() and all(abs(shown[t] - own[t]) <= 1e-6 * abs(own[t]) for t in METRICS)
        report.check(close, f"{row}: metrics are the run's: {shown}, {own}")


def check_resume(home, keys):
    """A run that was resumed with another length shows the new one, and is one run that is done."""
    harness.run("train", harness.TINY, *keys, *harness.sets(run__name="again", checkpoint__every_steps=2))
    harness.run("train", harness.TINY, *keys, *harness.sets(run__name="again", train__steps=6), "--resume")
    server = Server(home / "again", "--load_fast=false")
    groups = server.groups(1)
    report.check(list(groups) == ["tensorboard"], f"a resumed run is one: {list(groups)}")
    group = groups["tensorboard"]
    report.check(group["hparams"]["train.steps"] == 6, f"and has its new length: {group['hparams']['train.steps']}")
    report.check(group["sessions"][0]["status"] == "STATUS_SUCCESS", "and is done")


with tempfile.TemporaryDirectory() as temporary:
    home = Path(temporary)
    corpus = harness.write_corpus(home / "data", documents=120)
    keys = harness.sets(data__train=f"[{corpus}]", data__holdout=0.1, train__steps=4, model__n_layers=1, model__d_model=32,
                        model__attention__n_heads=1, train__batch_tokens=512, train__schedule__warmup_steps=2,
                        metrics__every_steps=1, metrics__sequences=4)  # fmt: skip
    (home / "sweep.yaml").write_text(json.dumps({
        "name": "study", "dir": str(home), "base": str(harness.TINY),
        "rows": [{"name": name, "set": changes} for name, changes in ROWS.items()]}))
    harness.run("sweep", "run", home / "sweep.yaml", *keys)
    sweep = home / "study"
    check_sweep(sweep)
    check_sweep(sweep, "--load_fast=false")
    check_resume(home, [*keys, *harness.sets(run__dir=home)])
report.end()
