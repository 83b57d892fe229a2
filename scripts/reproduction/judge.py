"""Verdicts: does each contrast hold in the figures of the recorded runs?

Sinks are judged by the sink ratio where the baseline's is at least 0.1, else by sink_excess, the first token's mass above
the uniform one; spikes by the largest |h|; all of them by means over seeds, of which a sink_excess below 0 counts as 0. A
contrast is undecided where the baseline's own sink or spike is below three standard deviations over its seeds, where seeds
are missing, or where two rows whose ratio is asked for both show none. One criterion that is missed with enough seeds fails
the contrast, whatever rows have not been run yet.

Margins are distances to the bound in standard errors: how far the rows' means would have to move together, each by its own
standard error, to give the other answer.
"""

import itertools
import math
import statistics
from dataclasses import dataclass, field

import sinks

from .contrasts import BASELINE, CONTRASTS, Ratio, Rises

LEAST_SEEDS, LEAST_RATIO, LEAST_CERTAINTY = 3, 0.1, 3
HOLDS, FAILS, UNDECIDED, NOT_RUN = "holds", "fails", "undecided", "not run"


@dataclass
class Sample:
    """One figure of one row over its seeds. Python's statistics add without rounding: equal values have a deviation of 0."""

    values: list
    least: float = -math.inf  # a mean below it counts as this

    @property
    def mean(self):
        return max(self.least, statistics.mean(self.values))

    @property
    def deviation(self):
        """Of the sample; infinite where one seed cannot tell."""
        return statistics.stdev(self.values) if len(self.values) > 1 else math.inf

    @property
    def error(self):
        return self.deviation / math.sqrt(len(self.values))


@dataclass
class Finding:
    """A criterion against the figures."""

    text: str
    holds: bool  # None: undecided
    margin: float = None  # how far inside the bound it is, in standard errors; None where a row has too few seeds


@dataclass
class Verdict:
    contrast: object
    word: str
    findings: list = field(default_factory=list)
    why: str = ""

    @property
    def margin(self):
        """Of the criterion that holds least; None unless all criteria have one, or one is missed."""
        margins = [finding.margin for finding in self.findings]
        if self.word == NOT_RUN or (None in margins and self.word != FAILS):
            return None
        return min(margin for margin in margins if margin is not None)


class Judge:
    def __init__(self, results):
        """results: {row: [a dict of figures a seed]}, each with `length`, the T of its sinks."""
        self.results = results
        ratios = [figures["sink_ratio"] for figures in results.get(BASELINE, [])]
        self.sink = "sink_ratio" if ratios and sum(ratios) / len(ratios) >= LEAST_RATIO else "sink_excess"
        self.spike = "spike_max"

    def sample(self, figure, row):
        figure = {"sink": self.sink, "spike": self.spike}.get(figure, figure)
        if figure == "sink_excess":
            return Sample([sinks.sink_excess(f["first_token_mass"], f["length"]) for f in self.results[row]], least=0.0)
        return Sample([figures[figure] for figures in self.results[row]])

    def ratio(self, criterion):
        row, base = self.sample(criterion.figure, criterion.row), self.sample(criterion.figure, criterion.of)
        distance = criterion.sign * (row.mean - criterion.bound * base.mean)
        holds = distance > 0 or (distance == 0 and criterion.relation.endswith("="))
        of = "" if criterion.of == BASELINE else f" of {criterion.of}"
        value = f"{told_apart(row.mean / base.mean, criterion.bound)}x" if base.mean > 0 else f"{row.mean:.3g} against {base.mean:.3g}"
        text = f"{criterion.row}: {criterion.figure} {value}{of} ({criterion.relation} {criterion.bound:.3g}x)"
        if row.mean == base.mean == 0:
            text, holds = f"{criterion.row}: {criterion.figure}: both rows show none", None
        return Finding(text, holds, margin(distance, (row, 1), (base, criterion.bound)))

    def rises(self, criterion):
        samples = [self.sample(criterion.figure, row) for row in criterion.rows]
        means = [sample.mean for sample in samples]
        rho = spearman(means)
        text = f"{criterion.figure} {', '.join(f'{m:.3g}' for m in means)}: rank correlation {rho:.2f} (> {criterion.bound})"
        return Finding(text, rho > criterion.bound, rank_margin(samples, criterion.bound))

    def smaller_drop(self, criterion):
        base, row, than = (self.sample(criterion.figure, name) for name in (BASELINE, criterion.row, criterion.than))
        text = (f"{criterion.figure} falls by {base.mean - row.mean:.3g} with {criterion.row}, by {base.mean - than.mean:.3g} "
                f"with {criterion.than} (less)")  # fmt: skip
        distance = row.mean - than.mean  # the baseline's is in both drops, so its noise is in neither's difference
        return Finding(text, distance > 0, margin(distance, (row, 1), (than, 1)))

    def finding(self, criterion):
        if isinstance(criterion, Ratio):
            return self.ratio(criterion)
        return self.rises(criterion) if isinstance(criterion, Rises) else self.smaller_drop(criterion)

    def seeds(self, row):
        return len(self.results.get(row, []))

    def weak(self, figures):
        """What the baseline shows too little of to compare with, a text each."""
        bases = {figure: self.sample(figure, BASELINE) for figure in sorted(figures & {"sink", "spike"})}
        return [f"the baseline's {figure} is {base.mean:.3g} with a deviation of {base.deviation:.2g} over seeds"
                for figure, base in bases.items() if base.mean < LEAST_CERTAINTY * base.deviation]  # fmt: skip

    def verdict(self, contrast):
        missing = [row for row in contrast.rows if not self.seeds(row)]
        few = [row for row in contrast.rows if 0 < self.seeds(row) < LEAST_SEEDS]
        there = [criterion for criterion in contrast.criteria if not set(missing) & {BASELINE, *criterion.needs}]
        findings = [self.finding(criterion) for criterion in there]
        missed = any(finding.holds is False and finding.margin is not None for finding in findings)
        weak = self.weak(contrast.figures) if there else []
        if missed and not weak:
            word = FAILS
        elif missing:
            word = NOT_RUN
        elif few or weak or None in [finding.holds for finding in findings]:
            word = UNDECIDED
        else:
            word = HOLDS
        why = ["missing: " + ", ".join(missing)] * bool(missing)
        why += [f"fewer than {LEAST_SEEDS} seeds: " + ", ".join(few)] * bool(few)
        return Verdict(contrast, word, findings, "; ".join(why + weak))

    def verdicts(self):
        return [self.verdict(contrast) for contrast in CONTRASTS]


def told_apart(ratio, bound):
    """With two decimals, or as many as it takes to lie on the side of the bound that it does lie on."""
    for decimals in range(2, 7):
        text = f"{ratio:.{decimals}f}"
        if (float(text) > bound) == (ratio > bound) and (float(text) < bound) == (ratio < bound):
            break
    return text


def enough(samples):
    return all(len(sample.values) >= LEAST_SEEDS for sample in samples)


def margin(distance, *weighted):
    """A distance in its standard errors, of (sample, weight) that it is made of: with its sign infinite where these are 0, and
    None where a row has too few seeds to have one."""
    if not enough(sample for sample, _ in weighted):
        return None
    error = math.hypot(*(weight * sample.error for sample, weight in weighted))
    if error == 0:
        return math.copysign(math.inf, distance) if distance else 0.0
    return distance / error


def rank_margin(samples, bound):
    """The distance of the means to the nearest order whose rank correlation is on the other side of the bound."""
    if not enough(samples):
        return None
    means, errors = [sample.mean for sample in samples], [sample.error for sample in samples]
    inside = spearman(means) > bound
    others = [order for order in itertools.permutations(range(len(means))) if (spearman(order) > bound) != inside]
    return min(distance_to_order(means, errors, order) for order in others) * (1 if inside else -1)


def distance_to_order(means, errors, order):
    """How far the means are, in standard errors, from the nearest ones with these ranks: isotonic regression, by pooling
    neighbours. A mean without an error stays where it is; infinite where two of those are in the wrong order."""
    blocks = []  # (rows, their common value)
    for rank in range(len(means)):
        blocks.append(pooled([order.index(rank)], means, errors))
        while len(blocks) > 1 and blocks[-2][1] > blocks[-1][1]:
            last, before = blocks.pop(), blocks.pop()
            blocks.append(pooled(before[0] + last[0], means, errors))
    moves = [(means[row] - value, errors[row]) for rows, value in blocks for row in rows]
    return math.hypot(*((move / error if error else math.inf) for move, error in moves if move))


def pooled(rows, means, errors):
    fixed = [means[row] for row in rows if not errors[row]]
    if fixed:
        return rows, statistics.mean(fixed)
    weights = {row: errors[row] ** -2 for row in rows}
    return rows, sum(means[row] * weight for row, weight in weights.items()) / sum(weights.values())


def ranks(values):
    """From 1; equal values share the mean of their ranks."""
    order = sorted(values)
    return [order.index(v) + (order.count(v) + 1) / 2 for v in values]


def spearman(values):
    """The rank correlation of `values` with their order; 0 where all are equal."""
    mine, theirs = ranks(values), range(1, len(values) + 1)
    mean = (len(values) + 1) / 2
    covariance = sum((a - mean) * (b - mean) for a, b in zip(mine, theirs))
    scale = math.sqrt(sum((a - mean) ** 2 for a in mine) * sum((b - mean) ** 2 for b in theirs))
    return covariance / scale if scale > 0 else 0.0
