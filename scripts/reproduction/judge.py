"""Verdicts: does each contrast hold in the figures of the recorded runs?

Sinks are judged by the sink ratio where the baseline's is at least 0.1, else by sink_excess, the first token's mass above
the uniform one, where below 0 counts as 0; spikes by the largest |h|; all of them by means over seeds. A contrast is undecided
where the baseline's own sink or spike is below three standard deviations over its seeds, or where seeds are missing.
"""

import math
from dataclasses import dataclass, field

from .contrasts import BASELINE, CONTRASTS, Ratio, Rises

LEAST_SEEDS, LEAST_RATIO, LEAST_CERTAINTY = 3, 0.1, 3
HOLDS, FAILS, UNDECIDED, NOT_RUN = "holds", "fails", "undecided", "not run"


@dataclass
class Sample:
    """One figure of one row over its seeds."""

    values: list

    @property
    def mean(self):
        return sum(self.values) / len(self.values)

    @property
    def deviation(self):
        """Of the sample; infinite where one seed cannot tell."""
        if len(self.values) < 2:
            return math.inf
        return math.sqrt(sum((v - self.mean) ** 2 for v in self.values) / (len(self.values) - 1))

    @property
    def error(self):
        return self.deviation / math.sqrt(len(self.values))


@dataclass
class Finding:
    """A criterion against the figures: `margin` is how far inside the bound it is, in standard errors where it has some."""

    text: str
    holds: bool
    margin: float


@dataclass
class Verdict:
    contrast: object
    word: str
    findings: list = field(default_factory=list)
    why: str = ""

    @property
    def margin(self):
        """Of the criterion that holds least."""
        return min((finding.margin for finding in self.findings), default=math.nan)


def uniform_mass(length):
    return (sum(1 / k for k in range(1, length + 1)) - 1) / (length - 1)


class Judge:
    def __init__(self, results):
        """results: {row: [a dict of figures a seed]}, each with `length`, the T of its sinks."""
        self.results = results
        ratios = [figures["sink_ratio"] for figures in results.get(BASELINE, [])]
        self.sink = "sink_ratio" if ratios and sum(ratios) / len(ratios) >= LEAST_RATIO else "sink_excess"
        self.spike = "spike_max"

    def value(self, figure, figures):
        if figure == "sink_excess":
            uniform = uniform_mass(figures["length"])
            return max(0.0, (figures["first_token_mass"] - uniform) / (1 - uniform))
        return figures[figure]

    def sample(self, figure, row):
        figure = {"sink": self.sink, "spike": self.spike}.get(figure, figure)
        return Sample([self.value(figure, figures) for figures in self.results[row]])

    def ratio(self, criterion):
        row, base = self.sample(criterion.figure, criterion.row), self.sample(criterion.figure, criterion.of)
        sign = 1 if criterion.above else -1
        distance = sign * (row.mean - criterion.bound * base.mean)
        error = math.hypot(row.error, criterion.bound * base.error)
        of = "" if criterion.of == BASELINE else f" of {criterion.of}"
        value = f"{row.mean / base.mean:.2f}x" if base.mean > 0 else f"{row.mean:.3g} against {base.mean:.3g}"
        text = f"{criterion.row}: {criterion.figure} {value}{of} ({'>' if criterion.above else '<'} {criterion.bound:.3g}x)"
        return Finding(text, distance >= 0 if criterion.above else distance > 0, distance / error if error > 0 else math.inf)

    def rises(self, criterion):
        means = [self.sample(criterion.figure, row).mean for row in criterion.rows]
        rho = spearman(means)
        text = f"{criterion.figure} {', '.join(f'{m:.3g}' for m in means)}: rank correlation {rho:.2f} (> {criterion.bound})"
        return Finding(text, rho > criterion.bound, rho - criterion.bound)

    def smaller_range(self, criterion):
        ranges = []
        for rows in (criterion.rows, criterion.than):
            samples = [self.sample(criterion.figure, row) for row in rows]
            low, high = min(samples, key=lambda s: s.mean), max(samples, key=lambda s: s.mean)
            ranges.append((high.mean - low.mean, math.hypot(high.error, low.error)))
        (ours, error), (theirs, their_error) = ranges
        text = f"range of {criterion.figure} {ours:.3g} (< {theirs:.3g})"
        error = math.hypot(error, their_error)
        return Finding(text, ours < theirs, (theirs - ours) / error if error > 0 else math.inf)

    def finding(self, criterion):
        if isinstance(criterion, Ratio):
            return self.ratio(criterion)
        return self.rises(criterion) if isinstance(criterion, Rises) else self.smaller_range(criterion)

    def verdict(self, contrast):
        missing = [row for row in contrast.rows if not self.results.get(row)]
        if missing:
            return Verdict(contrast, NOT_RUN, why="missing: " + ", ".join(missing))
        verdict = Verdict(contrast, UNDECIDED, [self.finding(criterion) for criterion in contrast.criteria])
        few = [row for row in contrast.rows if len(self.results[row]) < LEAST_SEEDS]
        weak = []
        for figure in sorted(contrast.figures & {"sink", "spike"}):
            base = self.sample(figure, BASELINE)
            if base.mean < LEAST_CERTAINTY * base.deviation:
                weak.append(f"the baseline's {figure} is {base.mean:.3g} with a deviation of {base.deviation:.2g} over seeds")
        if few:
            verdict.why = f"fewer than {LEAST_SEEDS} seeds: " + ", ".join(few)
        elif weak:
            verdict.why = "; ".join(weak)
        else:
            verdict.word = HOLDS if all(finding.holds for finding in verdict.findings) else FAILS
        return verdict

    def verdicts(self):
        return [self.verdict(contrast) for contrast in CONTRASTS]


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
