#!/usr/bin/env python3
"""The verdicts of scripts/reproduce.sh on figures of which the answer is known, and docs/reproduction.md beside them.

What would be caught: a criterion that is turned around, or whose bound, rows or strictness are not the ones stated here; a
verdict where the baseline shows nothing, two rows show none, or seeds are missing; a margin that has no noise to be
measured in, or has the wrong sign; sinks that are clamped a seed each; tables in the documentation that the code or the
records do not give.
"""

import itertools
import json
import math
import sys
from fractions import Fraction

import harness

sys.path.insert(0, str(harness.ROOT / "scripts"))
import sinks  # noqa: E402
from reproduction import __main__ as command  # noqa: E402
from reproduction import contrasts, drive, judge, scale, tables  # noqa: E402

report = harness.Report()
BY_NAME = {contrast.name: contrast for contrast in contrasts.CONTRASTS}
KEYS = {"sink": "sink_ratio", "spike": "spike_max", "perplexity": "perplexity"}
NOISE = (-0.01, 0, 0.01)  # of three seeds; their mean is 0

# Contrast, figure, row, relation, bound, and the row that it is a share of where that is not the baseline.
BOUNDS = [line.split() for line in """
C1 sink gelu >= 1
C2 spike linear < 1/2
C2 spike attention < 1/2
C2 sink linear >= 7/10
C2 sink attention >= 7/10
C3 spike sandwich < 1/2
C3 sink sandwich >= 7/10
C4 spike sandwich_qk < 1/4
C4 sink sandwich_qk >= 7/10
C5 spike dynamic_tanh < 1/4
C5 sink dynamic_tanh >= 8/10
C9 sink conditional_channel < 1/4
C9 sink conditional_head < 1/4
C9 spike conditional_channel < 1/2
C9 spike conditional_head < 1/2
C10 sink conditional_single < 1
C10 sink conditional_single > 1 conditional_channel
C10 sink conditional_single > 1 conditional_head
C11 sink unconditional_channel >= 6/10
C11 sink unconditional_head >= 6/10
C11 sink unconditional_single >= 6/10
C11 sink static_positional >= 6/10
C11 sink static_token >= 6/10
C12 sink loss_1024_4096 < 1/2
C12 sink loss_2048_4096 < 1/2
C12 sink loss_2048_4096 < 1 loss_1024_4096
C14 spike weight_decay_0 > 1
C14 sink weight_decay_0 < 1
C15 sink beta2_0.999 < 7/10
""".strip().splitlines()]
# Sinks of a row, as a share of the baseline's, that keep a contrast's other criteria while one is tried.
BESIDE = {("C10", "conditional_single", "conditional_channel"): ("conditional_head", 0.01),
          ("C10", "conditional_single", "conditional_head"): ("conditional_channel", 0.01),
          ("C12", "loss_2048_4096", "baseline"): ("loss_1024_4096", 0.49999998)}  # fmt: skip


def seeds(perplexity, sink, spike, noise=NOISE):
    return [{"perplexity": perplexity * (1 + n), "sink_ratio": sink * (1 + n), "spike_max": spike * (1 + n),
             "spike_ratio": 1.0, "first_token_mass": 0.1, "length": 64} for n in noise]  # fmt: skip


def papers_figures():
    """What the paper has, as if it were three seeds' with a little noise."""
    entries = {row: entry["paper"] for row, entry in scale.rows_of_sweep().items()}
    return {row: seeds(paper["perplexity"], paper["sink_ratio"] / 100, paper["spike"]) for row, paper in entries.items()}


def near_rows():
    """Of the rows here, those within 5 % of the baseline's perplexity in the paper."""
    entries = {row: entry["paper"]["perplexity"] for row, entry in scale.rows_of_sweep().items()}
    return [row for row, value in entries.items() if row != "baseline" and abs(value / entries["baseline"] - 1) <= 0.05]


def with_mean(results, row, figure, value, noise=NOISE):
    return {**results, row: [{**f, KEYS[figure]: value * (1 + n)} for f, n in zip(results[row], noise)]}


def mean(results, row, figure):
    return judge.Judge(results).sample(figure, row).mean


def verdict(results, name):
    return judge.Judge(results).verdict(BY_NAME[name])


def word(results, name):
    return verdict(results, name).word


def check_paper(paper):
    wrong = {v.contrast.name: [f.text for f in v.findings if not f.holds] for v in judge.Judge(paper).verdicts() if v.word != "holds"}
    report.check(not wrong, f"the paper's figures hold: {wrong}")
    report.check(list(BY_NAME) == [f"C{i}" for i in range(1, 17)], f"sixteen: {list(BY_NAME)}")
    near = near_rows()
    report.check(sorted(contrasts.NEAR) == sorted(near) and len(near) == 24, f"near ones: {set(contrasts.NEAR) ^ set(near)}")


def check_bounds(paper):
    """Each ratio just inside of its bound, at it, and just outside; no contrast has another one."""
    bounds = [(*line, "baseline")[:6] for line in BOUNDS]
    bounds += [("C16", "perplexity", row, relation, bound, "baseline") for row in near_rows()
               for relation, bound in ((">=", "95/100"), ("<=", "105/100"))]  # fmt: skip
    ratios = [(c.name, r.figure, r.row, r.relation, r.of) for c in contrasts.CONTRASTS for r in c.criteria if isinstance(r, contrasts.Ratio)]
    stated = [(name, figure, row, relation, of) for name, figure, row, relation, _, of in bounds]
    report.check(sorted(ratios) == sorted(stated), f"criteria that are not stated here, or not there: {set(ratios) ^ set(stated)}")
    for name, figure, row, relation, bound, of in bounds:
        start, share, inward = paper, float(Fraction(bound)), 1e-7 if relation[0] == ">" else -1e-7
        if (name, row, of) in BESIDE:
            beside, sink = BESIDE[name, row, of]
            start = with_mean(paper, beside, "sink", sink * mean(paper, "baseline", "sink"))
        base = mean(start, of, figure)
        for side, want in ((1, "holds"), (-1, "fails")):
            said = verdict(with_mean(start, row, figure, share * base * (1 + side * inward)), name)
            report.check(said.word == want and said.margin * side > 0, f"{name}, {row} at {bound} {side * inward:+}: {said}")
        # At the bound itself, with nothing that rounds.
        flat = with_mean(with_mean(paper, of, figure, 1.0, (0, 0, 0)), row, figure, share, (0, 0, 0))
        criterion = next(c for c in BY_NAME[name].criteria if (c.figure, c.row, c.relation, c.of) == (figure, row, relation, of))
        found = judge.Judge(flat).finding(criterion)
        report.check(found.holds == relation.endswith("=") and found.margin == 0, f"{name}, {row} at {bound}: {found}")
        moved = with_mean(flat, row, figure, share + (0.01 if relation[0] == "<" else -0.01), (0, 0, 0))
        report.check(judge.Judge(moved).finding(criterion).margin == -math.inf, f"{name}, {row}: far outside, without noise")
    # What is said of a ratio lies on its own side of the bound.
    shown = [judge.told_apart(ratio, bound) for ratio, bound in ((0.9464, 0.95), (0.95, 0.95), (0.50004, 0.5), (0.3812, 0.5), (1, 1))]
    report.check(shown == ["0.946", "0.95", "0.50004", "0.38", "1.00"], f"ratios beside their bounds: {shown}")


def check_ranks(paper):
    """No swap of neighbours among four or five rows, and one among six."""
    series = {"C6": (contrasts.WIDTHS, 0), "C7": (contrasts.FIXED_TOTAL, 1), "C13": (contrasts.RATES, 0)}
    for name, (rows, allowed) in series.items():
        report.check(list(BY_NAME[name].criteria[0].rows) == list(rows), f"{name}: along {rows}")
        for swaps in itertools.chain.from_iterable(itertools.combinations(range(0, len(rows) - 1), n) for n in (0, 1, 2)):
            if len(swaps) == 2 and swaps[1] - swaps[0] == 1:
                continue
            values = [0.2 + 0.1 * i for i in range(len(rows))]
            for i in swaps:
                values[i], values[i + 1] = values[i + 1], values[i]
            results = paper
            for row, value in zip(rows, values):
                results = with_mean(results, row, "sink", value)
            said = verdict(results, name)
            want = "holds" if len(swaps) <= allowed else "fails"
            report.check(said.word == want and (said.margin > 0) == (want == "holds"), f"{name}, swaps at {swaps}: {said}")
            texts = [f"rank correlation {judge.spearman(values):.2f}" in finding.text for finding in said.findings]
            report.check(texts == [True], f"{name}: {said}")
    one = {**paper, "lr_6e-4": paper["lr_6e-4"][:1]}
    report.check(tables.margin_text(verdict(one, "C13")) == "", "ranks of too few seeds show nothing")
    for values, want in (([1, 2, 3], 1), ([3, 2, 1], -1), ([1, 3, 2, 4], 0.8), ([1, 1, 2], math.sqrt(3) / 2), ([1, 1], 0)):
        report.check(math.isclose(judge.spearman(values), want, abs_tol=1e-12), f"Spearman of {values}")


def check_rank_margins():
    """How far the nearest order of the other verdict is."""
    rows = lambda *means, error=1.0: [judge.Sample([m - error * math.sqrt(3), m, m + error * math.sqrt(3)]) for m in means]
    cases = {  # of standard errors of 1 each: to swap two neighbours both go half of the way, by the gap over the root of 2
        (1, 4, 9, 16): 3 / math.sqrt(2), (4, 1, 9, 16): -3 / math.sqrt(2), (1, 4, 9, 8): -1 / math.sqrt(2), (1, 4, 4, 16): 0,
        (4, 1, 16, 9): -math.hypot(3, 7) / math.sqrt(2), (1, 1, 1, 1): 0,
        (2, 3, 1, 16): -math.sqrt(2),  # the second and third meet at 2, beside the first
        (1, 4, 9, 16, 25, 36): math.hypot(3, 7) / math.sqrt(2),  # of six, two neighbours must be swapped
    }  # fmt: skip
    for means, want in cases.items():
        found = judge.rank_margin(rows(*means), 0.9)
        report.check(math.isclose(found, want, abs_tol=1e-9), f"margin of ranks {means}: {found}, not {want}")
    twice = judge.rank_margin(rows(1, 4, 9, 16, error=2.0), 0.9)
    report.check(math.isclose(twice, 1.5 / math.sqrt(2)), f"in standard errors: {twice}")
    fixed = [judge.Sample([value] * 3) for value in (1, 4, 9, 16)]
    report.check(judge.rank_margin(fixed, 0.9) == math.inf and judge.rank_margin(fixed[::-1], 0.9) == -math.inf, "without noise")
    found = judge.rank_margin([fixed[0], *rows(4), *fixed[2:]], 0.9)
    report.check(math.isclose(found, 3), f"one with noise moves alone, to the nearer neighbour: {found}")


def check_early(paper):
    """A criterion that is missed fails the contrast, whatever rows are still to be run; one that is kept says nothing yet."""
    for row, want in (("static_token", "fails"), ("unconditional_head", "fails")):
        results = with_mean(paper, row, "sink", 0.01)
        said = verdict({r: found for r, found in results.items() if r == row or r not in contrasts.WEAK_GATES}, "C11")
        report.check(said.word == want and said.margin < 0 and len(said.findings) == 1, f"C11 with {row} alone: {said}")
        report.check("missing: " in said.why and row not in said.why, f"and says what is missing: {said.why}")
    some = {row: found for row, found in paper.items() if row not in ("static_token", "heads_16")}
    for name in ("C11", "C16"):
        said = verdict(some, name)
        report.check(said.word == "not run" and said.margin is None and all(f.holds for f in said.findings), f"{name} so far: {said}")
    shown = tables.verdicts_markdown(judge.Judge(some), [verdict(some, "C16")])
    report.check("all 22 rows that have been run; missing: heads_16, static_token" in shown, f"C16 so far: {shown}")
    few = with_mean(some, "static_positional", "sink", 0.01)
    few["static_positional"] = few["static_positional"][:2]
    said = verdict(few, "C11")
    report.check(said.word == "not run" and said.margin is None, f"two seeds fail nothing: {said}")
    missed = with_mean(few, "unconditional_head", "sink", 0.01)
    said = verdict(missed, "C11")
    report.check(said.word == "fails" and said.margin < 0 and "fewer than 3 seeds: static_positional" in said.why, f"beside them: {said}")
    shaky = {**missed, "baseline": [{**f, "sink_ratio": v} for f, v in zip(paper["baseline"], (0.1, 0.4, 0.9))]}
    report.check(word(shaky, "C11") == "not run", "nor does a baseline that seeds do not agree on")
    without = {row: found for row, found in paper.items() if row != "baseline"}
    report.check({v.word for v in judge.Judge(without).verdicts()} == {"not run"}, "nothing is judged without the baseline")


def check_drops(paper):
    """C8: of the two rows alone, and with their direction."""
    narrow, base = mean(paper, "d_head_32", "sink"), mean(paper, "baseline", "sink")
    for factor, want in ((1 + 1e-7, "holds"), (1 - 1e-7, "fails"), (10, "holds")):
        said = verdict(with_mean(paper, "heads_8", "sink", narrow * factor), "C8")
        report.check(said.word == want and (said.margin > 0) == (want == "holds"), f"C8 at {factor} of the narrow heads' sinks: {said}")
    raised = with_mean(with_mean(paper, "d_head_32", "sink", 2 * base), "heads_8", "sink", base)
    report.check(word(raised, "C8") == "fails", "narrow heads that have more sinks take none away")
    noisy = with_mean(paper, "baseline", "sink", base, (-0.2, 0, 0.2))
    margins = [verdict(results, "C8").margin for results in (paper, noisy)]
    error = math.hypot(*(judge.Judge(paper).sample("sink", row).error for row in ("heads_8", "d_head_32")))
    want = (mean(paper, "heads_8", "sink") - narrow) / error
    report.check(all(math.isclose(m, want) for m in margins), f"C8's margin has no noise of the baseline: {margins}, not {want}")


def check_undecided(paper):
    some = {row: found for row, found in paper.items() if row != "gelu"}
    report.check(word(some, "C1") == "not run", "a row that is missing")
    shaky = [{**f, "sink_ratio": value} for f, value in zip(paper["baseline"], (0.1, 0.4, 0.9))]
    report.check(word({**paper, "baseline": shaky}, "C1") == "undecided", "a baseline that seeds do not agree on")
    report.check(word({**paper, "baseline": shaky}, "C16") == "holds", "which says nothing of perplexity")

    # A criterion is missed by far, but two seeds of a row have no noise to say how far.
    few = verdict({**paper, "sandwich": seeds(10, 0.01, 520)[:2]}, "C3")
    said = json.loads(tables.verdicts_json(judge.Judge(paper), [few]))["contrasts"][0]
    report.check(few.word == "undecided" and few.margin is None and tables.margin_text(few) == "", f"two seeds: {few}")
    report.check(said["margin"] is None and [c["holds"] for c in said["criteria"]] == [True, False], f"and as JSON: {said}")

    gone = paper
    for row in ("conditional_channel", "conditional_single"):
        gone = with_mean(gone, row, "sink", 0)
    said = verdict(gone, "C10")
    report.check(said.word == "fails", f"a single gate without sinks is not above that by head: {said}")
    said = verdict(with_mean(gone, "conditional_head", "sink", 0), "C10")
    report.check(said.word == "undecided" and said.margin == 0, f"no sinks in any gate: {said}")
    texts = [f.text for f in said.findings if f.holds is None]
    report.check(len(texts) == 2 and all("both rows show none" in text for text in texts), f"which is said: {texts}")
    shown = tables.verdicts_markdown(judge.Judge(paper), [said])
    report.check("**" not in shown and "| undecided | +0.0 |" in shown, f"and is not shown as missed: {shown}")

    # Without noise a margin is infinite, with a sign.
    for value, sign, text in ((0.8, 1, "far inside"), (0.01, -1, "far outside")):
        flat = {**paper, "baseline": seeds(10, 0.5, 4000, (0, 0, 0)), "sandwich": seeds(10, value, 520, (0, 0, 0))}
        said = verdict(flat, "C3")
        report.check(said.margin == sign * math.inf and tables.margin_text(said) == text, f"C3 without noise: {said}")


def check_excess(paper):
    """Without sink heads the mass above the uniform one is what counts, and of a mean below it nothing."""
    small = {row: [{**f, "sink_ratio": 0.0} for f in found] for row, found in paper.items()}
    with_masses = lambda row, masses: {**small, row: [{**f, "first_token_mass": mass} for f, mass in zip(small[row], masses)]}
    small = with_masses("baseline", (0.20, 0.21, 0.22))
    small = with_masses("gelu", (0.3, 0.3, 0.3))
    small = with_masses("beta2_0.999", (0.01, 0.01, 0.01))
    told = judge.Judge(small)
    report.check(word(small, "C1") == "holds" and word(small, "C15") == "holds", "by the first token's mass")
    excess = told.sample("sink", "beta2_0.999")
    report.check(told.sink == "sink_excess" and excess.mean == 0, f"below the uniform mass is none: {excess}")
    uniform = (sum(1 / k for k in range(1, 65)) - 1) / 63
    found = told.sample("sink", "baseline").mean
    report.check(math.isclose(found, (0.21 - uniform) / (1 - uniform)), f"sink_excess: {found}")
    # The mean is clamped, as `sweep collect` does, and no seed: these have a mean of 0.01, were it -0.02 and twice 0.025.
    masses = [uniform + e * (1 - uniform) for e in (-0.02, 0.025, 0.025)]
    found = judge.Judge(with_masses("beta2_0.999", masses)).sample("sink", "beta2_0.999")
    report.check(math.isclose(found.mean, 0.01) and math.isclose(found.deviation, 0.045 / math.sqrt(3)), f"of three seeds: {found}")
    report.check(sinks.uniform_mass(1) == 0 and math.isclose(sinks.uniform_mass(2), 0.5), "the uniform mass of one and two positions")


def after(text, marker):
    """What stands in a document between a marker's line and the next end."""
    start = text.find(f"<!-- {marker} -->\n")
    return text[start : text.find("<!-- end -->", start)].split("\n", 1)[1] if start >= 0 else ""


def check_documented():
    """docs/reproduction.md has the criteria as the code has them, and the tables that the records of this tree give."""
    text = (harness.ROOT / "docs/reproduction.md").read_text()
    want = tables.criteria_markdown()
    report.check(after(text, "criteria") == want, f"docs/reproduction.md: the table of criteria is not\n{want}")
    for name, each in scale.SCALES.items():
        kept = scale.records_of(each)
        found = command.recorded(kept, drive.wanted(each, contrasts.CONTRASTS))
        if not found:
            continue
        told = judge.Judge({row: [record.figures for record in seeds] for row, seeds in found.items()})
        want = tables.page(told, told.verdicts(), found, scale.rows_of_sweep())
        report.check(after(text, f"verdicts.md of scale {name}") == want,
                     f"docs/reproduction.md, scale {name}: not the tables that `scripts/reproduce.sh --scale {name} --no-run` writes")  # fmt: skip


figures = papers_figures()
check_paper(figures)
check_bounds(figures)
check_ranks(figures)
check_rank_margins()
check_early(figures)
check_drops(figures)
check_undecided(figures)
check_excess(figures)
check_documented()
report.end()
