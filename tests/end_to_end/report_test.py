#!/usr/bin/env python3
"""scripts/report.py on real runs of three variants and a sweep, some of it damaged: what is sound is drawn, what is not is
named; the page is opened in Chromium, light and dark. Would catch a figure that is missing or empty, text that cannot be
read on its ground, markup let in by a config, a request to the network, an error in the page's script."""

import json
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import h5py
import numpy
import yaml
from markupsafe import escape

import browser
import harness

sys.path.insert(0, str(harness.ROOT / "scripts"))
from reporting.curve import Curve, thinned  # noqa: E402

SCRIPT = harness.ROOT / "scripts/report.py"
HOSTILE = '<img src=x onerror=window.alerted=1> $x_1$ & "quotes"'
report = harness.Report()


def make_report(*arguments, check=True):
    done = subprocess.run([sys.executable, SCRIPT, *map(str, arguments)], capture_output=True, text=True, timeout=600)
    if check and done.returncode:
        sys.exit(f"report.py {arguments}\nexit {done.returncode}\n{done.stdout}\n{done.stderr}")
    return done


def train(home, corpus, name, folder=None, steps=24, **more):
    keys = harness.sets(
        data__train=f"[{corpus}]",
        data__holdout=0.05,
        run__dir=folder or home,
        run__name=name,
        train__steps=steps,
        **harness.SMALL,
        train__schedule__warmup_steps=4,
        metrics__every_steps=1,
        metrics__probe_every_steps=8,
        metrics__sequences=4,
        system__device="cpu",
    )
    harness.run("train", harness.TINY, *keys, *harness.sets(**more))
    return (folder or home) / name


def last_probe(run):
    return sorted((run / "probes").glob("*.h5"))[-1]


def add_gates(run, layers=2, heads=2):
    """The gates' figures of docs/file-formats.md, where this build's probes have none."""
    rng = numpy.random.default_rng(1)
    with h5py.File(last_probe(run), "a") as file:
        if "gate" in file:
            return
        for name in ("mean", "deviation", "closed", "open", "first_position_mean"):
            file[f"gate/{name}"] = rng.uniform(0, 1, (layers, heads))
        histogram = rng.uniform(0, 1, (layers, 20))
        file["gate/histogram"] = histogram / histogram.sum(axis=1, keepdims=True)


def write_table(sweep, rows):
    """As `spikesink sweep collect` writes it; docs/file-formats.md has the keys."""
    out = []
    for name, paper, direction in rows:
        probe = [line for line in harness.metrics(sweep / "runs" / name) if line.get("event") == "probe"][-1]
        ours = {
            key: probe[key] for key in ("perplexity", "sink_ratio", "spike_max", "first_token_mass", "spike_ratio")
        } | {"sink_excess": 0.01}
        out.append(
            {
                "name": name,
                "label": f"<u>{name}</u>",
                "axes": {"model.attention.d_head": name.rsplit("_", 1)[1]},
                "seeds": 1,
                "runs": [{"name": name, "seed": 1, "figures": ours}],
                "figures": {
                    key: {"count": 1, "mean": value, "deviation": None, "paper": paper.get(key), "direction": direction}
                    for key, value in ours.items()
                },
            }
        )
    (sweep / "tables").mkdir()
    (sweep / "tables/table.json").write_text(
        json.dumps(
            {
                "format": 1,
                "sweep": "d_head",
                "title": "Table 6: heads & widths",
                "baseline": "d_head_16",
                "sink_judged_by": "sink_excess",
                "rows": out,
                "notes": ["d_head_99: never started"],
            }
        )
    )


def write_many(home, count, lines):
    """Runs as files only: none trained."""
    for i in range(count):
        run = home / f"run_{i:03d}"
        run.mkdir(parents=True)
        (run / "config.yaml").write_text(
            f"run: {{name: run_{i}}}\nmodel: {{context: 128}}\ntrain: {{steps: {lines}, batch_tokens: 1024}}\n"
        )
        with open(run / "metrics.jsonl", "w") as out:
            for s in range(1, lines + 1):
                loss = 99.0 if (i, s) == (7, lines // 3) else 5 / (1 + s / 100) + 0.1 * ((s * 7919) % 13) / 13
                out.write(
                    json.dumps(
                        {
                            "step": s,
                            "tokens": 1024 * s,
                            "loss": loss,
                            "lr": 1e-3,
                            "grad_norm": 1 + (s % 7) / 7,
                            "tokens_per_second": 1e4 + s % 90,
                            "mfu": 0.4,
                        }
                    )
                    + "\n"
                )
                if s % (lines // 10) == 0:
                    out.write(
                        json.dumps(
                            {
                                "step": s,
                                "event": "probe",
                                "perplexity": 99 - i % 9,
                                "sink_ratio": i / 300,
                                "sink_first": i / 300,
                                "first_token_mass": 0.1,
                                "spike_max": 10.0 + i,
                                "spike_mean": 9.0,
                                "spike_ratio": 20.0 + i,
                            }
                        )
                        + "\n"
                    )
    return home


LOOK = Path(__file__).with_name("report_look.js").read_text()
EXPECTED = {
    "training": ["Loss", "Perplexity", "Learning rate", "Gradient norm", "Throughput", "Model FLOPs used (MFU)"],
    "sinks": ["Sink ratio", "Sinks on the first token", "First-token mass"],
    "spikes": ["Spike", "Spike, mean of sequences", "Spike over the median"],
    "sweep": [
        "Sink against spike",
        "Sink against spike",
        "First-token mass above uniform",
        "Spike, max |h|",
        "Perplexity",
    ],
}
PARTS = {
    "blocks": ["Rise, plateau, fall", "Top channels"],
    "heads": [
        "When, and in which layer",
        "Attention at the sink token",
        "First-token mass",
        "Share of sequences with a sink",
        "Where attention goes",
    ],
}
GATES = ["Mean gate value", "Closed", "Spread of values", "At the first position"]


def look(page, runs):
    """`runs`: how many have figures of their own."""
    missing = browser.available()
    if missing:
        print(f"no {missing}: the page is not opened; scripts/setup.sh --tests installs it")
        return
    with browser.browser() as chromium:
        papers = []
        for scheme in ("light", "dark"):
            chromium.log("performance")
            chromium.open(page.as_uri(), scheme)
            seen = chromium.script(LOOK)
            console = [entry for entry in chromium.log("browser") if entry["level"] in ("SEVERE", "WARNING")]
            report.check(console == [], f"{scheme}: the console is silent: {console}")
            events = [json.loads(entry["message"])["message"] for entry in chromium.log("performance")]
            asked = {
                event["params"]["request"]["url"] for event in events if event["method"] == "Network.requestWillBeSent"
            }
            others = {url for url in asked if url != page.as_uri() and not url.startswith("data:")}
            report.check(
                page.as_uri() in asked and not others, f"{scheme}: nothing else is asked for: {others or asked}"
            )
            by_section = {}
            for card in seen["cards"]:
                by_section.setdefault(card["section"], []).append(card)
                report.check(
                    card["width"] > 200 and card["height"] > 60 and card["marks"] > 3, f"{scheme}: is drawn: {card}"
                )
            for section, titles in EXPECTED.items():
                found = [card["title"] for card in by_section.get(section, [])]
                report.check(found == titles, f"{scheme}: figures of {section}: {found}")
            for section, parts in PARTS.items():
                found = [card["part"] for card in by_section.get(section, [])]
                report.check(
                    found == [part for part in parts for _ in range(runs)], f"{scheme}: figures of {section}: {found}"
                )
            found = [card["part"] for card in by_section.get("gates", [])]
            report.check(found == GATES, f"{scheme}: figures of the one gated run: {found}")
            report.check(
                seen["faint"] == [] and seen["texts"] > 300 and seen["labels"] > 20,
                f"{scheme}: {seen['texts']} texts, {seen['labels']} labels on cells; too faint: {seen['faint'][:5]}",
            )
            report.check(seen["images"] == 0 and not seen["alerted"], f"{scheme}: no markup comes from a config")
            papers.append(sum(seen["paper"][:3]))
        report.check(papers[0] > 600 > 200 > papers[1], f"the page is light, and dark: {papers}")
        run_line = ".run-0 path"
        shown = chromium.script(
            "document.querySelector('.chip').click();"
            f"return getComputedStyle(document.querySelector('{run_line}').parentElement).display"
        )
        report.check(shown == "none", f"a click on a run's name hides its lines: {shown}")
        chromium.script("document.getElementById('theme').click()")
        paper = chromium.script("return getComputedStyle(document.body).backgroundColor")
        report.check(sum(map(int, re.findall(r"\d+", paper)[:3])) > 600, f"the button makes a dark page light: {paper}")
        chromium.open(page.as_uri(), "dark", media="print")
        paper = chromium.script(
            "return getComputedStyle(document.body).backgroundColor + getComputedStyle(document.querySelector('h1')).color"
        )
        report.check(
            sum(map(int, re.findall(r"\d+", paper)[:3])) == 765 and sum(map(int, re.findall(r"\d+", paper)[3:6])) < 200,
            f"print is dark on white: {paper}",
        )
        report.check(
            not [entry for entry in chromium.log("browser") if entry["level"] == "SEVERE"],
            "no error came of the clicks",
        )


def files_are_valid(folder, count):
    pdfs, pngs = sorted(folder.glob("*.pdf")), sorted(folder.glob("*.png"))
    report.check(len(pdfs) == len(pngs) == count, f"{count} figures as PDF and PNG: {len(pdfs)}, {len(pngs)}")
    for pdf in pdfs:
        data = pdf.read_bytes()
        report.check(
            data.startswith(b"%PDF-") and data.rstrip().endswith(b"%%EOF") and b"/Type /Page" in data,
            f"{pdf.name} is a PDF",
        )
    from matplotlib.image import imread

    for png in pngs:
        pixels = imread(png)[..., :3]
        report.check(min(pixels.shape[:2]) > 150 and pixels.std() > 0.01, f"{png.name} has something on it")


# A spike one step long is there after thinning, and so is the end.
y = numpy.sin(numpy.arange(20000) / 500)
y[12345], y[777] = 50, -50
thin = thinned(Curve(numpy.arange(20000.0), y), 2000)
report.check(
    len(thin) <= 2000 and {50, -50} <= set(thin.y) and thin.x[-1] == 19999,
    f"extremes outlive thinning: {len(thin)} points",
)

with tempfile.TemporaryDirectory() as temporary:
    home = Path(temporary)
    corpus = harness.write_corpus(home / "data", documents=60)
    plain = train(home, corpus, "plain")
    gated = train(
        home,
        corpus,
        "gated",
        steps=16,
        model__attention__gate__source="conditional",
        model__attention__gate__granularity="head",
    )
    double = train(home, corpus, "double", model__ffn__kind="attention")
    sweep = home / "sweeps/d_head"
    for width in (8, 16, 32):
        train(home, corpus, f"d_head_{width}", sweep / "runs", steps=8, model__attention__d_head=width)
    add_gates(gated)
    write_table(
        sweep,
        [
            ("d_head_8", {}, "none"),
            ("d_head_16", {"perplexity": 10.3, "sink_ratio": 0.46, "spike_max": 2112}, "none"),
            ("d_head_32", {"perplexity": 10.1, "sink_ratio": 0.52, "spike_max": 3818}, "agrees"),
        ],
    )

    # Not done: cut back to step 10 of 24; its name is markup. Damaged: a line of metrics, the last probe.
    hostile = home / "hostile"
    shutil.copytree(plain, hostile)
    config = yaml.safe_load((hostile / "config.yaml").read_text())
    config["run"]["name"] = HOSTILE
    (hostile / "config.yaml").write_text(yaml.safe_dump(config))
    lines = (hostile / "metrics.jsonl").read_text().splitlines(keepends=True)
    lines = [line for line in lines if json.loads(line)["step"] <= 10]
    (hostile / "metrics.jsonl").write_text("".join(lines) + '{"step":11,"tok')  # being written: no damage
    lines = (gated / "metrics.jsonl").read_text().splitlines(keepends=True)
    (gated / "metrics.jsonl").write_text("".join(lines[:3]) + '{"step":3, "loss"\n' + "".join(lines[3:]))
    damaged = last_probe(double)
    damaged.write_bytes(damaged.read_bytes()[:1500])
    empty = home / "empty"
    empty.mkdir()
    shutil.copy(plain / "config.yaml", empty)

    page, figures = home / "out/report.html", home / "out/figures"
    done = make_report(
        plain,
        gated,
        double,
        hostile,
        empty,
        home / "nowhere",
        sweep,
        "--out",
        page,
        "--figures",
        figures,
        "--title",
        HOSTILE,
        "--details",
        4,
    )
    said = done.stderr.splitlines()
    for line in (
        rf"{gated}/metrics\.jsonl:4: not a line of metrics; left out",
        rf"{damaged}: not readable as HDF5 \(.*\); left out",
        rf"{empty}/metrics\.jsonl: no such file; left out",
        rf"{empty}: no step and no probe in it; left out",
        rf"{home}/nowhere: no such folder; left out",
        r"blocks, heads and gates of 4 of the 7 runs are shown; --details 7 shows all",
    ):
        report.check(sum(bool(re.fullmatch("report.py: " + line, s)) for s in said) == 1, f"says once: {line}: {said}")
    report.check(len(said) == 6, f"says nothing else: {said}")
    text = page.read_text()
    for line in said:
        report.check(str(escape(line.removeprefix("report.py: "))) in text, f"the page says it too: {line}")
    report.check(
        "<img" not in text and "&lt;img src=x" in text and "<u>" not in text and "&lt;u&gt;d_head_8" in text,
        "names are escaped",
    )
    report.check(
        re.search(r'(?:src|href)="(?!#|data:)', text) is None and "url(http" not in text and "@import" not in text,
        "needs no other file",
    )
    report.check("42 % of 24" in text, "a run that is not done says how far it is")
    for word in (
        "Table 6: heads &amp; widths",
        "d_head_99: never started",
        "Sinks are judged by the first-token mass",
        "agrees",
        "2112",
        "10.3",
        "model.ffn.kind",
    ):
        report.check(word in text, f"the page has {word}")
    files_are_valid(figures, text.count("<figure"))
    look(page, runs=4)

    # The same sweep without its table: rows from the last probes, its axis from the configs.
    shutil.rmtree(sweep / "tables")
    make_report(sweep, "--out", page)
    text = page.read_text()
    report.check(
        "Along model.attention.d_head" in text and "No tables/table.json" in text,
        "a sweep without a table is shown by its probes",
    )

    # Many runs: the page stays small, and each has its name and its lines.
    many = write_many(home / "many", 40, 3000)
    make_report(many, "--out", page)
    size = page.stat().st_size
    report.check(size < 10e6, f"40 runs make a page of {size / 1e6:.1f} MB")
    text = page.read_text()
    lines = [text.count(f'class="run run-{i}"') for i in (0, 39)]
    report.check(
        text.count('data-run="39"') == 3 and min(lines) == 12, f"every run has its name and its lines: {lines}"
    )

    for arguments, words in (
        ([home / "nowhere"], "no run that can be read"),
        ([home / "data"], "no run that can be read"),
        ([plain, "--out", home / "plain/config.yaml/x.html"], "name a place that can be written"),
    ):
        more = [] if "--out" in arguments else ["--out", home / "none.html"]
        done = make_report(*arguments, *more, check=False)
        last = done.stderr.splitlines()[-1]
        report.check(
            done.returncode == 2 and words in last and "Traceback" not in done.stderr,
            f"{words}: {done.returncode} {done.stderr}",
        )
    report.check(not (home / "none.html").exists(), "no page of nothing")
report.end()
