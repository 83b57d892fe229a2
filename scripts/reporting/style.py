"""Colours, type and sizes. Each colour is a hex code of its own in the light palette, by which svg.py finds it and puts a
variable of the page in its place; the dark palette's values for the same variables are in PALETTE too."""

import matplotlib
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure

LEVELS = 24  # of a map's scale


def ramp(stops):
    """LEVELS colours through the stops, in equal steps."""
    rgb = [to_rgb(stop) for stop in stops]
    out = []
    for i in range(LEVELS):
        at = i / (LEVELS - 1) * (len(rgb) - 1)
        k = min(int(at), len(rgb) - 2)
        out.append(to_hex([a + (b - a) * (at - k) for a, b in zip(rgb[k], rgb[k + 1])]))
    return out


def luminance(color):
    parts = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(color)]
    return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2]


def contrast(a, b):
    low, high = sorted((luminance(a), luminance(b)))
    return (high + 0.05) / (low + 0.05)


def label_on(color):
    return max(("#ffffff", "#000000"), key=lambda ink: contrast(ink, color))


# Categories: told apart by the common kinds of colour blindness, and at least 3:1 against the card that they are on.
SERIES = [
    ("#1f5fa8", "#6cb0f5"),
    ("#c2410c", "#ff9457"),
    ("#0f7f5f", "#4fcf9f"),
    ("#8a4fa3", "#cd9be6"),
    ("#956600", "#e3b341"),
    ("#0d7a8a", "#56cfe0"),
    ("#c0356f", "#f584b0"),
    ("#556070", "#a5b1bf"),
]
LIGHT_RAMP = ramp(["#edf2f7", "#b5d0e8", "#64a1d2", "#2867ab", "#112f5c"])
DARK_RAMP = ramp(["#212b37", "#1f4a70", "#2f80bd", "#7fc0ee", "#eaf6ff"])
INK, MUTED, GRID, AXIS, CARD = "#1b2430", "#566171", "#e5e9ee", "#b4bdc8", "#fefefe"

PALETTE = {
    "ink": (INK, "#e8edf3"),
    "muted": (MUTED, "#a3afbd"),
    "grid": (GRID, "#2a3441"),
    "axis": (AXIS, "#4c5969"),
    "card": (CARD, "#161d26"),
    "paper": ("#f5f7f9", "#0e141b"),
    "accent": ("#1d5da6", "#7db9f7"),
    "good": ("#0d6e52", "#5bd3a7"),
    "bad": ("#ad3a0a", "#ff9a61"),
    "line": ("#dfe4ea", "#2a3441"),
}
for i, pair in enumerate(SERIES):
    PALETTE[f"c{i}"] = pair
for i, pair in enumerate(zip(LIGHT_RAMP, DARK_RAMP)):
    PALETTE[f"h{i}"] = pair
    PALETTE[f"t{i}"] = tuple(map(label_on, pair))

# What is drawn, by its light colour. Labels on maps are not in it: svg.py gives them their class.
VARIABLE_OF = {
    light: name
    for name, (light, _) in PALETTE.items()
    if name in ("ink", "muted", "grid", "axis", "card") or name[0] in "ch" and name[1:].isdigit()
}

WIDTH, HEIGHT = 3.9, 2.55  # inches of a figure, a third of the page's width


def level(share):
    """The level of a share of a map's scale."""
    return min(max(int(share * LEVELS), 0), LEVELS - 1)


matplotlib.rcParams.update(
    {
        "figure.figsize": (WIDTH, HEIGHT),
        "figure.facecolor": CARD,
        "savefig.facecolor": CARD,
        "font.family": "DejaVu Sans",
        "font.size": 8,
        "text.color": INK,
        "text.parse_math": False,
        "axes.facecolor": CARD,
        "axes.edgecolor": AXIS,
        "axes.labelcolor": MUTED,
        "axes.labelsize": 8,
        "axes.linewidth": 0.7,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "axes.axisbelow": True,
        "axes.titlesize": 9,
        "axes.titlelocation": "left",
        "axes.titlecolor": INK,
        "grid.color": GRID,
        "grid.linewidth": 0.6,
        "xtick.color": AXIS,
        "ytick.color": AXIS,
        "xtick.labelcolor": MUTED,
        "ytick.labelcolor": MUTED,
        "xtick.labelsize": 8,
        "ytick.labelsize": 8,
        "xtick.major.size": 3,
        "ytick.major.size": 0,
        "xtick.minor.size": 0,
        "ytick.minor.size": 0,
        "lines.linewidth": 1.5,
        "lines.markersize": 3.2,
        "lines.solid_capstyle": "round",
        "lines.solid_joinstyle": "round",
        "legend.frameon": False,
        "legend.fontsize": 7,
        "svg.fonttype": "none",
        "svg.hashsalt": "spikesink",
        "pdf.fonttype": 42,
        "path.simplify_threshold": 0.2,
        "axes.unicode_minus": False,
    }
)


def new_axes(width=WIDTH, height=HEIGHT):
    figure = Figure(figsize=(width, height), layout="constrained")  # not pyplot's, which would keep it
    return figure, figure.subplots()


def new_grid(rows, columns):
    """A figure of several axes, each of the usual size; (figure, array of axes)."""
    figure = Figure(figsize=(WIDTH * columns, HEIGHT * rows), layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=False)
