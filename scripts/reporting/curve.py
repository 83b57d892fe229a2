"""Curves of many points, thinned without losing their extremes."""

from dataclasses import dataclass

import numpy as np


@dataclass
class Curve:
    x: np.ndarray
    y: np.ndarray

    def __len__(self):
        return len(self.x)

    @property
    def last(self):
        return float(self.y[-1]) if len(self.y) else None


def thinned(curve, most):
    """At most `most` points: the lowest and the highest of equal stretches, and both ends."""
    n = len(curve)
    if n <= most:
        return curve
    stretches = max((most - 2) // 2, 1)
    edges = np.linspace(0, n, stretches + 1).astype(int)
    keep = {0, n - 1}
    for start, end in zip(edges[:-1], edges[1:]):
        part = curve.y[start:end]
        keep.update((start + int(np.argmin(part)), start + int(np.argmax(part))))
    index = np.array(sorted(keep))
    return Curve(curve.x[index], curve.y[index])


def smoothed(curve, window):
    """A running mean over `window` points, at the ends over those that are there."""
    n = len(curve)
    if window < 3 or n < window:
        return curve
    total = np.concatenate([[0.0], np.cumsum(curve.y)])
    at = np.arange(n)
    first, end = np.maximum(at - window // 2, 0), np.minimum(at + window // 2 + 1, n)
    return Curve(curve.x, (total[end] - total[first]) / (end - first))
