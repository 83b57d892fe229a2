#!/usr/bin/env python3
"""The analyses of practice from the command line, and the report's sections of a checkpoint's analyses, one of them
damaged. Would catch an analysis of many passes that runs unasked or says no time first, figures that are missing, empty or
cannot be read on their ground, light or dark, and a folder whose figures are shown under another run."""

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import h5py
import numpy
from markupsafe import escape

import browser
import harness

SCRIPT = harness.ROOT / "scripts/report.py"
LOOK = Path(__file__).with_name("report_look.js").read_text()
PRACTICE = ("quantization", "eviction", "interventions")
PARTS = {
    "analysis": [
        "Rise, plateau, fall on the spike channels",
        "SiLU near the identity",
        "What the norm leaves",
        "How alike tokens are",
        "How far heads look",
        "Sink ratio over sequences",
        "First-token mass over sequences",
        "Spike over sequences",
    ],
    "structure": [
        "Size of the quadratic forms",
        "Their eigenvalues",
        "Every vocabulary item alone",
        "Queries and keys of a head",
        "Dimension of sink keys",
        "Logits on the sink",
    ],
    "practice": ["Quantisation", "Error by block", "Eviction", "Eviction along the sequence"],
}
report = harness.Report()


def make_report(*arguments):
    return subprocess.run([sys.executable, SCRIPT, *map(str, arguments)], capture_output=True, text=True, timeout=600)


def train(home, corpus):
    keys = harness.sets(
        data__train=f"[{corpus}]",
        data__holdout=0.05,
        run__dir=home,
        run__name="plain",
        train__steps=30,
        **harness.SMALL,
        metrics__probe_every_steps=15,
        metrics__sequences=4,
        system__device="cpu",
    )
    harness.run("train", harness.TINY, *keys)
    return home / "plain"


def analyze(run, out, *more):
    return harness.run("analyze", run, "--out", out, "--sequences", 6, "--length", 24, *more)


def practice_is_asked_for(run, out):
    done = analyze(run, out)
    report.check(not any(name in done.stdout for name in PRACTICE), f"none unasked: {done.stdout}")
    summary = json.loads((out / "summary.json").read_text())
    report.check("trajectory" in summary and not set(PRACTICE) & set(summary), f"nor in the summary: {list(summary)}")
    for name in PRACTICE:
        done = analyze(run, out, "--only", name)
        log = (out / "log.txt").read_text()
        foretold = re.search(rf"{name}: at most \d+ passes, about \d", log)
        took = re.search(rf"{name}: [\d.]+ s\n", log)
        report.check(foretold and took and foretold.start() < took.start(), f"says first how long it takes: {log}")
    summary = json.loads((out / "summary.json").read_text())
    report.check({*PRACTICE, "trajectory"} <= set(summary), f"added to those that were there: {list(summary)}")
    with h5py.File(out / "analysis.h5") as file:
        loss = file["quantization/loss"][...]
        whole = file["eviction/loss_by_position_whole"][...].mean()
        taken_out = file["interventions/loss"][0]
        report.check(
            abs(loss[0] - whole) < 1e-6 and abs(loss[0] - taken_out) < 1e-6, f"one text: {loss[0]}, {whole}, {taken_out}"
        )
        report.check(file["quantization/error"].shape == (5, 4), "errors by scheme and block")
        report.check(
            all({"unit", "meaning"} <= set(file[name].attrs) for group in PRACTICE for name in flat(file, group)),
            "every array says its unit and meaning",
        )
    report.check(summary["quantization"]["loss"] > 0 and abs(loss[0] - summary["quantization"]["loss"]) < 1e-12, "loss")


def flat(file, group):
    return [f"{group}/{name}" for name, item in file[group].items() if isinstance(item, h5py.Dataset)]


def look(page, titles):
    missing = browser.available()
    if missing:
        print(f"no {missing}: the page is not opened; scripts/setup.sh --tests installs it")
        return
    with browser.browser() as chromium:
        for scheme in ("light", "dark"):
            chromium.open(page.as_uri(), scheme)
            seen = chromium.script(LOOK)
            report.check(chromium.log("browser") == [], f"{scheme}: the console is silent")
            for section, parts in PARTS.items():
                cards = [card for card in seen["cards"] if card["section"] == section]
                found = [(card["part"], card["title"]) for card in cards]
                wanted = [(part, title) for part in parts for title in titles]
                report.check(found == wanted, f"{scheme}: figures of {section}: {found}")
                for card in cards:
                    report.check(
                        card["width"] > 200 and card["height"] > 60 and card["marks"] > 3, f"{scheme}: is drawn: {card}"
                    )
            report.check(
                seen["faint"] == [] and seen["texts"] > 200,
                f"{scheme}: {seen['texts']} texts; too faint: {seen['faint'][:5]}",
            )


with tempfile.TemporaryDirectory() as temporary:
    home = Path(temporary)
    run = train(home, harness.write_corpus(home / "data", documents=60))
    practice_is_asked_for(run, run / "analysis")

    # The same checkpoint with thresholds that a small model reaches: it has spike tokens.
    spiky = home / "spiky"
    for name in ("", *PRACTICE):
        analyze(run, spiky, *harness.sets(metrics__spike__abs=0, metrics__spike__ratio=1.7), *(["--only", name] if name else []))
    spikes = json.loads((spiky / "summary.json").read_text())["quantization"]["spike_tokens"]
    report.check(0 < spikes < 6 * 24, f"some tokens are spike tokens: {spikes}")
    damaged = home / "damaged"
    damaged.mkdir()
    (damaged / "summary.json").write_text('{"source": {"step": 3}, "interventions": {"rows": {"<b>x</b>": {"perplexity": 7')
    with h5py.File(damaged / "analysis.h5", "w") as file:
        file["trajectory/residual/max"] = numpy.ones((2, 2))

    page, figures = home / "report.html", home / "figures"
    done = make_report(
        run, "--analysis", spiky, "--analysis", damaged, "--analysis", home / "data", "--out", page, "--figures", figures
    )
    report.check(done.returncode == 0, f"a page: {done.stderr}")
    text, said = page.read_text(), done.stderr.splitlines()
    for line in (
        rf"{damaged}/summary\.json: not a summary \(.*\); left out",
        rf"{damaged}/analysis\.h5: trajectory/residual/max: not of an analysis's shape, or too large; left out",
        rf"{home}/data: not a folder of `spikesink analyze`; left out",
    ):
        matching = [s for s in said if re.fullmatch("report.py: " + line, s)]
        report.check(len(matching) == 1, f"says once: {line}: {said}")
        report.check(all(str(escape(s.removeprefix("report.py: "))) in text for s in matching), "the page says it too")
    report.check(len(said) == 3 and "<b>x" not in text, f"says nothing else: {said}")
    for word in ("plain (analysis)", "plain (spiky)", "spike channels zero", "spikes mean", "no first token"):
        report.check(word in text, f"the page has {word}")
    report.check("no massive activation; the channel of the largest value" in text, "and what was left out")
    pngs = sorted(path.name for path in figures.glob("*_a*.png"))
    report.check(len(pngs) == 2 * sum(map(len, PARTS.values())), f"files of both analyses: {pngs}")
    look(page, ["plain (analysis)", "plain (spiky)"])

    # Without a run: a page of analyses only.
    done = make_report("--analysis", spiky, "--out", page)
    text = page.read_text()
    report.check(done.returncode == 0 and "<h1>spiky</h1>" in text, f"analyses alone: {done.stderr}")
    done = make_report("--out", home / "none.html")
    report.check(done.returncode == 2 and not (home / "none.html").exists(), "no page of nothing")
report.end()
