#!/usr/bin/env python3
"""scripts/reproduce.sh: a small scale run, recorded and shown. reproduce_verdicts_test.py has the verdicts.

What would be caught: a row that no sweep has; a run that is run again though it is recorded, or not though its config or data
changed; a run of an older config that is recorded as one of the row's; a record with a path of this machine, or without the
device and precision that it ran in; tables and page that are made of something else than the records.
"""

import argparse
import dataclasses
import json
import math
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import harness
import yaml

sys.path.insert(0, str(harness.ROOT / "scripts"))
from reproduction import __main__ as command  # noqa: E402
from reproduction import contrasts, drive, figures, records, scale  # noqa: E402

report = harness.Report()
BY_NAME = {contrast.name: contrast for contrast in contrasts.CONTRASTS}


def refused(what, words, *said):
    """`what` ends with one line for the user that has all of `said`."""
    try:
        what()
        report.check(False, f"{words}: not refused")
    except records.Trouble as error:
        report.check(all(text in str(error) for text in said) and "\n" not in str(error), f"{words}: {error}")


def check_paper():
    """Rows of the contrasts have the paper's figures as the rows of its tables do, and each is drawn once."""
    of_config = {}
    for file in sorted((harness.ROOT / "configs/sweeps/tables").glob("table*.yaml")):
        for row in yaml.safe_load(file.read_text())["rows"]:
            of_config.setdefault(row["config"], []).append((file.name, row["paper"]))
    for row in scale.rows_of_sweep().values():
        in_tables = of_config.get(row["config"], [])
        others = [table for table, paper in in_tables if paper != row["paper"]]
        report.check(in_tables and not others, f"{row['name']}: the paper's figures, as in {others or 'no table'}")
    drawn = sorted(row for _, members in figures.GROUPS for row in members)
    report.check(drawn == sorted(set(scale.rows_of_sweep()) - {contrasts.BASELINE}), f"rows that are drawn: {drawn}")


def check_rows(program):
    """Every row is in the sweeps of both scales, and its config resolves there."""
    for each in scale.SCALES.values():
        rows = scale.rows_of_sweep()
        needed = {row for contrast in contrasts.CONTRASTS for row in contrast.rows}
        report.check(needed == set(rows), f"{each.name}: rows of the sweep and of the contrasts: {needed ^ set(rows)}")
        sizes = {row: scale.resolved(program, each, row, 2) for row in rows}
        report.check(all(config["run"]["seed"] == 2 for config in sizes.values()), f"{each.name}: the seed")
        places = {(config["system"]["device"], config["system"]["precision"]) for config in sizes.values()}
        want = {"cpu": ("cpu", "f32"), "60m": ("cuda", "bf16")}[each.name]
        report.check(places == {want} and each.build == harness.ROOT / f"build/{want[0]}/spikesink", f"{each.name}: on {places}")
        report.check(sizes["baseline"]["model"]["vocab_size"] == each.vocabulary, f"{each.name}: the tokenizer's size")
        heads = [sizes[row]["model"]["attention"]["d_head"] for row in contrasts.WIDTHS]
        report.check(heads == sorted(set(heads)), f"{each.name}: widths rise: {heads}")
        totals = {sizes[row]["model"]["attention"][k] for row in contrasts.WIDTHS for k in ("n_heads",)}
        report.check(len(totals) == 1, f"{each.name}: heads stay: {totals}")
        products = {sizes[row]["model"]["attention"]["n_heads"] * sizes[row]["model"]["attention"]["d_head"]
                    for row in contrasts.FIXED_TOTAL}  # fmt: skip
        report.check(len(products) == 1, f"{each.name}: n_heads * d_head stays: {products}")
        rates = [sizes[row]["train"]["optimizer"]["lr"] for row in contrasts.RATES]
        base = rates[2]
        report.check([rate / base for rate in rates] == [0.25, 0.5, 1, 2], f"{each.name}: learning rates {rates}")
        context = sizes["baseline"]["model"]["context"]
        starts = [sizes[row]["train"]["loss_from_position"] / context for row in ("loss_1024_4096", "loss_2048_4096")]
        report.check(starts == [0.25, 0.5], f"{each.name}: loss from {starts} of the context on")


@dataclasses.dataclass(frozen=True)
class Small(scale.Scale):
    """Two rows of two seeds, of the real rows' configs made short."""

    home: Path = None

    def apart(self, results):
        return self

    @property
    def sweep(self):
        return self.home / "contrasts_small.yaml"

    @property
    def folder(self):
        return self.home / "contrasts_small"

    @property
    def configs(self):
        return self.home


SHORT = {"model": {"d_model": 16, "n_layers": 1, "vocab_size": 300, "context": 32,
                   "attention": {"n_heads": 2, "d_head": 8}, "ffn": {"d_hidden": 32}},
         "data": {"begin_of_text": True}, "train": {"steps": 40, "batch_tokens": 256, "micro_batch": 8},
         "metrics": {"probe_every_steps": 10, "sequences": 4, "every_steps": 5}, "checkpoint": {"every_steps": 10}}  # fmt: skip
SHORT_GELU = {**SHORT, "model": {**SHORT["model"], "ffn": {"kind": "gelu", "d_hidden": 48}}}
RUNS = [("baseline", 1), ("gelu", 1), ("baseline", 2), ("gelu", 2)]


def make_small(home):
    """The scale and its data."""
    write_rows(home)
    rows = [{"name": "baseline", "config": "baseline.yaml"}, {"name": "gelu", "config": "table4_gelu.yaml"}]
    small = Small("small", 300, 1, "this", 2, "cpu", "f32", home, home)
    small.sweep.write_text(yaml.safe_dump({"name": "contrasts_small", "seeds": [1, 2], "rows": rows}))
    return small, scale.Data(small, [harness.write_corpus(home / "text", documents=60)])


def write_rows(home, gelu_steps=40):
    (home / "baseline.yaml").write_text(yaml.safe_dump(SHORT))
    gelu = {**SHORT_GELU, "train": {**SHORT["train"], "steps": gelu_steps}}
    (home / "table4_gelu.yaml").write_text(yaml.safe_dump(gelu))


def check_drive(program, small, data, kept):
    home = small.home
    drive.prepare_data(program, kept, RUNS, data)
    first = data.description()
    drive.prepare_data(program, kept, RUNS, data)
    report.check(first["tokens"] > 1000 and data.description() == first, f"data is made once: {first}")

    runs = drive.wanted(small, [BY_NAME["C1"]])
    report.check(runs == RUNS, f"runs: {runs}")
    report.check(drive.missing(kept, runs) == runs, "all are missing")
    report.check(drive.expected_minutes(small, kept, runs, 2)[0] == 2, "four runs of a minute, two at a time")
    code = drive.Drive(program, small, kept, data, 2).run(runs[:1])
    left = drive.missing(kept, runs)
    report.check(code == 0 and left == RUNS[1:], f"one is recorded: exit {code}, left {left}")
    stamp = kept.path("baseline", 1).read_bytes()
    code = drive.Drive(program, small, kept, data, 2).run(left)
    report.check(code == 0 and not drive.missing(kept, runs), f"the rest: exit {code}")
    report.check(kept.path("baseline", 1).read_bytes() == stamp, "what is recorded is not run again")
    starts = sum('"start"' in line for line in (small.folder / "attempts/baseline_seed1.jsonl").read_text().splitlines())
    report.check(starts == 1, f"starts of the first: {starts}")
    seconds = [kept.read(*run).content["seconds"] for run in runs]
    minutes, why = drive.expected_minutes(small, kept, runs, 2)
    report.check(all(0 < s < 300 for s in seconds) and math.isclose(minutes, sum(seconds) / 120), f"{seconds}, {minutes}")

    for run in runs:
        text = kept.path(*run).read_text()
        report.check(str(home) not in text and str(harness.ROOT) not in text, f"{run}: no path in {text[:200]}")
        record, folder = kept.read(*run), small.folder / "runs" / drive.name_of(*run)
        probe = [line for line in harness.metrics(folder) if line.get("event") == "probe"][-1]
        same = all(math.isclose(record.figures[key], probe[key], rel_tol=1e-6, abs_tol=1e-9) for key in
                   ("perplexity", "sink_ratio", "first_token_mass", "spike_max", "spike_ratio"))  # fmt: skip
        report.check(same and record.figures["length"] == 32, f"{run}: the last probe's figures {record.figures}")
        report.check(record.content["probes"]["step"] == [0, 10, 20, 30, 40], f"{run}: a curve")
        where = "on the CPU in f32" in (folder / "log.txt").read_text(), record.content["config"]["system"]["device"], \
            record.content["config"]["system"]["precision"]  # fmt: skip
        report.check(where == (True, "cpu", "f32"), f"{run}: where it ran: {where}")
        report.check(record.content["program"] == harness.run("--version").stdout.strip(), f"{run}: by {record.content['program']}")


def check_curves(home, kept):
    of_rows = {row: [kept.read(row, seed) for seed in (1, 2)] for row in ("baseline", "gelu")}
    steps, means = figures.mean_curve(of_rows["gelu"], "spike_max")
    last = [record.figures["spike_max"] for record in of_rows["gelu"]]
    report.check(steps == [0, 10, 20, 30, 40] and math.isclose(means[-1], sum(last) / 2), f"a row's curve: {steps}, {means}")
    figures.write_figures(home, of_rows, {"baseline": "The baseline", "gelu": "Its <GeLU>"})
    for name, texts in (("baseline", ("seed 1", "seed 2", "uniform")), ("rows", ("The baseline", "Its &lt;GeLU&gt;", "FFN: sink ratio"))):
        drawn = (home / f"{name}.svg").read_text()
        report.check(all(text in drawn for text in texts), f"{name}.svg has {texts}")


def check_written(program, small, data, kept):
    """Tables and page are those of the records, whatever else has run here."""
    of_runs = json.loads(program.ask("sweep", "collect", small.sweep, "--format", "json", *data.sets()))
    stray = small.folder / "runs/gelu_seed3"  # not recorded
    shutil.copytree(small.folder / "runs/gelu_seed2", stray)

    def collected():
        args = argparse.Namespace(scale="small", only=["C1"], data=[], jobs=None, results=kept.folder, dry_run=False, no_run=True)
        report.check(command.go(args) == 0, "judged without a run")
        return json.loads((small.recorded / "tables/table.json").read_text())["rows"], (small.folder / "report.html").read_text()

    rows, page = collected()
    close = lambda a, b: a == b or (isinstance(a, float) and math.isclose(a, b, rel_tol=1e-5, abs_tol=1e-8))
    for row, again in zip(of_runs["rows"], rows):
        for name, figure in row["figures"].items():
            report.check(figure["count"] == again["figures"][name]["count"] == 2, f"{row['name']}: {name} of two seeds")
            report.check(close(figure["mean"], again["figures"][name]["mean"]), f"{row['name']}: {name} of restored runs")
    report.check("gelu_seed2" in page and "gelu_seed3" not in page, "the page has what is recorded, and nothing else")
    said = (small.folder / "verdicts.md").read_text()
    report.check("| C1 |" in said and "fewer than 3 seeds: baseline, gelu" in said, f"verdicts: {said}")

    # Other records, other tables.
    path = kept.path("gelu", 1)
    before, record = path.read_text(), json.loads(path.read_text())
    record["probes"]["perplexity"][-1] = 12345.0
    path.write_text(json.dumps(record))
    kept.path("gelu", 2).rename(kept.folder / "aside")
    rows, page = collected()
    gelu = next(row for row in rows if row["name"] == "gelu")["figures"]["perplexity"]
    report.check((gelu["count"], gelu["mean"]) == (1, 12345.0), f"of the record as it is now: {gelu}")
    page = page.replace("gelu_seed2: has not started", "")
    report.check("gelu_seed1" in page and "gelu_seed2" not in page, "and without the one that is gone")
    (kept.folder / "aside").rename(kept.path("gelu", 2))
    path.write_text(before)
    shutil.rmtree(stray)


def check_changes(program, small, data, kept):
    """Another config, or other data, is not what is recorded, or trained here."""
    go = lambda **words: command.go(argparse.Namespace(**{"scale": "small", "only": ["C1"], "data": data.shards, "jobs": 1,
                                                          "results": kept.folder, "dry_run": False, "no_run": False} | words))  # fmt: skip
    write_rows(small.home, gelu_steps=41)
    for no_run in (False, True):
        refused(lambda: go(no_run=no_run), f"a changed config, {no_run=}", "gelu_seed1.json", "train.steps", "--results")
    # Without its record, the finished run is still no run of the row as it is now.
    aside = kept.path("gelu", 1).rename(kept.folder / "aside")
    runs, driver = [("gelu", 1)], drive.Drive(program, small, kept, data, 1)
    report.check(driver.record(runs) == 0 and not kept.path("gelu", 1).exists(), "a run of an older config is not recorded")
    begun, real = [], subprocess.Popen
    subprocess.Popen = lambda words, *rest, **named: begun.append(list(map(str, words))) or real(words, *rest, **named)
    refused(lambda: driver.run(runs), "a run of an older config", str(small.folder / "runs/gelu_seed1"), "train.steps", "remove it")
    subprocess.Popen = real
    report.check(begun and not any(words[1:3] == ["sweep", "run"] for words in begun), "before the sweep is started for other rows")
    write_rows(small.home)
    report.check(driver.run(runs) == 0 and kept.path("gelu", 1).exists(), "it is recorded again where the config is its own")
    aside.unlink()

    # One that ran elsewhere is another, whatever its figures are.
    system = {"device": "cuda", "precision": "bf16"}
    kept_text = kept.path("gelu", 1).read_text()
    record = json.loads(kept_text)
    record["config"]["system"] |= system
    kept.path("gelu", 1).write_text(json.dumps(record))
    refused(lambda: go(no_run=True), "another precision", "gelu_seed1.json", "system.device, system.precision")
    kept.path("gelu", 1).write_text(kept_text)

    drive.require_data(kept, RUNS, data)
    asked = []
    program_asked = dataclasses.make_dataclass("Asked", ["show"])(lambda *words: asked.append(words) or 0)
    for key, at in (("tokens", []), ("tokenizer", [])):
        record = json.loads(kept_text)
        record["data"][key] = 1
        kept.path("gelu", 1).write_text(json.dumps(record))
        refused(lambda: drive.prepare_data(program_asked, kept, RUNS, data), f"other {key}", "other data", "--results")
        report.check(asked == at, f"other {key}: before anything is made: {asked}")
        for words in ({"no_run": True}, {}):  # nothing is left to run
            refused(lambda: go(**words), f"other {key} with --data, {words}", "gelu_seed1.json", "other data", "--results")
    elsewhere = scale.Data(small, data.shards)
    elsewhere.store = small.home / "no_store"  # only the tokenizer is made
    refused(lambda: drive.prepare_data(program_asked, kept, RUNS, elsewhere), "another tokenizer", "other data")
    report.check(asked == [], f"before the text is tokenised with it: {asked}")
    kept.path("gelu", 1).write_text(kept_text)
    report.check(go(no_run=True) == 0, "the same data")


def check_damage(home):
    """Lines of a run's files that are none are left out, here and by run_table.py."""
    folder = home / "damaged"
    folder.mkdir()
    none = [b"[1]", b"7", b"null", b'"x"', b"{", b"\xff\xfe", b"[" * 100000, b'{"step": "1"}', b'{"event": "probe"}', b'{"step": 1, "ev']
    good = [b'{"step": 0, "event": "data"}', b'{"step": 1, "loss": 2.5}', b'{"step": 1, "event": "probe", "perplexity": 9.5, "sink_ratio": "x"}']
    (folder / "metrics.jsonl").write_bytes(b"\n".join(none[:5] + good + none[5:]))
    steps, probes, starts = records.read_metrics(folder / "metrics.jsonl")
    report.check([step["loss"] for step in steps] == [2.5] and [probe["perplexity"] for probe in probes] == [9.5], f"{steps}, {probes}")
    report.check(starts == [{"step": 0, "event": "data"}], f"starts: {starts}")
    said = records.programs([{"program": "b"}, {}, {"program": "a"}, {"program": "b"}])
    report.check(said == "b; one that does not say its commit; a", f"each program once, in their order: {said}")
    attempts = [b'{"event": "start", "time": 5}', b'{"event": "end"}', b'{"event": "end", "time": 8.5}']
    (folder / "attempts.jsonl").write_bytes(b"\n".join(none + attempts))
    report.check(records.seconds_of(folder / "attempts.jsonl") == 3.5, "seconds of attempts between damage")
    done = subprocess.run([sys.executable, harness.ROOT / "scripts/run_table.py", folder], capture_output=True, text=True)
    report.check(done.returncode == 0 and done.stdout.split()[-7:] == ["1", "2.500", "9.5", "-", "-", "-", "-"], f"{done}")


def check_command(program, home):
    go = lambda *words: subprocess.run(["bash", harness.ROOT / "scripts/reproduce.sh", *map(str, words)], capture_output=True,
                                       text=True, env={**os.environ, "SPIKESINK": str(harness.PROGRAM)}, cwd=home)  # fmt: skip
    done = go("--scale", "cpu", "--only", "C3", "--dry-run", "--results", home / "none")
    report.check(done.returncode == 0 and "6 of 6 runs are missing: about" in done.stdout, f"time first: {done.stdout}{done.stderr}")
    report.check(done.stdout.split()[-1] == "sandwich_seed3", f"and the runs: {done.stdout}")
    for words, said in ((("--scale", "cpu", "--only", "C17"), "C1 to C16"), (("--scale", "7b"), "invalid choice"),
                        (("--scale", "cpu", "--dry-run", "--jobs", "0"), "--jobs 0"),
                        (("--scale", "cpu", "--dry-run", "--data", "gone/*.jsonl"), f"{home}/gone/*.jsonl: no such file")):  # fmt: skip
        done = go(*words)
        report.check(done.returncode == 2 and said in done.stderr, f"{words}: exit {done.returncode}: {done.stderr}")
    # All of other records is in their folder, which lies where the command was given.
    done = go("--scale", "cpu", "--no-run", "--results", "mine")
    report.check(done.returncode == 0 and (home / "mine/runs/contrasts_cpu/verdicts.md").exists(), f"--results of here: {done}")
    report.check("16 not run." in done.stdout, f"nothing is recorded there: {done.stdout}")
    mine = scale.Data(scale.SCALES["cpu"].apart(home / "mine"), [])
    report.check(mine.store.parent == mine.tokenizer.parent == home / "mine/runs", f"its own text: {mine.store}, {mine.tokenizer}")

    (home / "bad").mkdir()
    (home / "bad/baseline_seed1.json").write_text("{")
    done = go("--scale", "cpu", "--only", "C3", "--dry-run", "--results", home / "bad")
    report.check(done.returncode == 2 and done.stderr.count("\n") == 1 and "damaged" in done.stderr, f"damage: {done.stderr}")
    config = scale.resolved(program, scale.SCALES["cpu"], "baseline", 1)
    config["train"]["steps"] += 1
    (home / "bad/baseline_seed1.json").write_text(json.dumps({"format": records.FORMAT, "config": config}))
    done = go("--scale", "cpu", "--only", "C3", "--no-run", "--results", home / "bad")
    report.check(done.returncode == 2 and done.stderr.count("\n") == 1 and "train.steps" in done.stderr, f"another config: {done.stderr}")


with tempfile.TemporaryDirectory() as temporary:
    home = Path(temporary).resolve()
    os.environ["SPIKESINK"] = str(harness.PROGRAM)
    program = scale.Program(scale.SCALES["cpu"])
    check_paper()
    check_rows(program)
    small, data = make_small(home)
    kept = records.Records(home / "records")
    scale.SCALES["small"] = small
    check_drive(program, small, data, kept)
    check_curves(home, kept)
    check_written(program, small, data, kept)
    check_changes(program, small, data, kept)
    check_damage(home)
    check_command(program, home)
report.end()
