"""Numbers as the report writes them: few digits, the same units everywhere."""

import math

from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter, NullLocator


def number(value, digits=3):
    """Three significant digits, thousands as k, M, G, T."""
    if value is None or not math.isfinite(value):
        return "-"
    if value == 0:
        return "0"
    size = abs(value)
    for unit, scale in (("T", 1e12), ("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if size >= scale * 0.9995 and (scale > 1e3 or size >= 1e4):
            return significant(value / scale, digits) + unit
    return significant(value, digits)


def significant(value, digits):
    if abs(value) < 1e-3:
        return f"{value:.{digits - 1}e}".replace("e-0", "e-")
    decimals = max(digits - 1 - math.floor(math.log10(abs(value)) + 1e-12), 0)
    return f"{value:.{decimals}f}"


def whole(value):
    """1,200"""
    return "-" if value is None else f"{int(value):,}"


def fixed(value, decimals):
    return "-" if value is None or not math.isfinite(value) else f"{value:,.{decimals}f}"


def percent(value, decimals=1):
    return "-" if value is None or not math.isfinite(value) else f"{100 * value:.{decimals}f} %"


def tick(value, _=None):
    """Without trailing zeros: 0.5, 10, 2k."""
    if value == 0:
        return "0"
    size = abs(value)
    for unit, scale in (("T", 1e12), ("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if size >= scale:
            return f"{value / scale:.4g}{unit}"
    return f"{value:.4g}" if size >= 1e-4 else f"{value:.0e}".replace("e-0", "e-")


def plain_axis(axis):
    axis.set_major_formatter(FuncFormatter(tick))


def percent_axis(axis):
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{tick(round(100 * value, 9))} %"))


def log_axis(axes, which="y", low=None, high=None):
    """Decades, and 2 and 5 between them where there are few."""
    axis = axes.yaxis if which == "y" else axes.xaxis
    (axes.set_yscale if which == "y" else axes.set_xscale)("log")
    if low and high:
        decades = math.log10(high / low)
        axis.set_major_locator(
            LogLocator(
                base=10,
                subs=(1,) if decades > 2.2 else (1, 2, 5) if decades > 0.7 else (1, 1.5, 2, 3, 4, 5, 6, 8),
                numticks=12,
            )
        )
    axis.set_minor_locator(NullLocator())
    axis.set_minor_formatter(NullFormatter())
    axis.set_major_formatter(FuncFormatter(tick))
