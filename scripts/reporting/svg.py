"""A matplotlib figure as SVG that lives in the page: its colours are the page's variables, its letters the page's, its
ids its own, and points and cells say their value when the pointer is on them."""

import io
import re
import xml.etree.ElementTree as ET
from dataclasses import dataclass, field

from .style import VARIABLE_OF

SVG, XLINK = "{http://www.w3.org/2000/svg}", "{http://www.w3.org/1999/xlink}href"
ET.register_namespace("", SVG[1:-1])
MAX_TITLED_CELLS = 1100  # above it the cells of a map are joined by colour, without values to hover


@dataclass
class Figure:
    """What figures_*.py make. A gid is that of an artist of `figure`."""

    key: str  # of a file name
    title: str
    figure: object
    run: int = None  # whose it is; None: of all runs
    note: str = ""
    alt: str = ""
    titles: dict = field(default_factory=dict)  # {gid: text to hover}
    points: dict = field(default_factory=dict)  # {gid: [text of each point or cell]}
    levels: dict = field(default_factory=dict)  # {gid: [level of each cell]}; gid of a label: its level
    classes: dict = field(default_factory=dict)  # {gid: class}


def page_svg(drawn, prefix):
    """The markup. `prefix` keeps the ids of this figure apart from those of others."""
    out = io.BytesIO()
    drawn.figure.savefig(out, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    root = ET.fromstring(out.getvalue())
    for child in list(root):
        if child.tag != SVG + "g" and not (child.tag == SVG + "defs" and child.find(f"{SVG}clipPath") is not None):
            root.remove(child)
    named = {element.get("id"): element for element in root.iter(SVG + "g") if element.get("id")}
    for gid, name in drawn.classes.items():
        if gid in named:
            named[gid].set("class", name)
    for gid, levels in drawn.levels.items():
        if gid in named:
            color_cells(named[gid], levels)
    for gid, texts in drawn.points.items():
        if gid in named:
            title_points(named[gid], texts)
    for gid, text in drawn.titles.items():
        if gid in named:
            add_title(named[gid], text)
    tidy(root, prefix)
    _, _, width, height = root.get("viewBox").split()
    root.attrib = {
        "viewBox": root.get("viewBox"),
        "width": width,
        "height": height,
        "role": "img",
        "aria-label": drawn.alt or drawn.title,
    }
    return re.sub(r" xmlns=\"[^\"]*\"", "", ET.tostring(root, encoding="unicode"), count=1)  # HTML knows it


def add_title(element, text):
    title = ET.Element(SVG + "title")
    title.text = text
    element.insert(0, title)


def marks(group):
    """Its points or cells, in the order in which they were drawn."""
    uses = list(group.iter(SVG + "use"))
    return uses or [path for path in group.iter(SVG + "path") if path.get("id") is None]


def title_points(group, texts):
    found = marks(group)
    if len(found) == len(texts):  # matplotlib leaves out points that are outside of the axes
        for mark, text in zip(found, texts):
            if text:
                add_title(mark, text)


def color_cells(group, levels):
    if isinstance(levels, int):  # a label on a cell
        for text in group.iter(SVG + "text"):
            text.set("style", re.sub(r"\bfill: #\w+;?", "", text.get("style", "")))
            text.set("class", f"t{levels}")
        return
    cells = marks(group)
    joined = {}
    for cell, cell_level in zip(cells, levels):
        if len(cells) <= MAX_TITLED_CELLS:
            cell.attrib = {"class": f"h{cell_level}", "d": cell.get("d", "")}
        else:
            joined.setdefault(cell_level, []).append(cell.get("d", ""))
    if joined:
        group[:] = [ET.Element(SVG + "path", {"class": f"h{k}", "d": " ".join(d)}) for k, d in sorted(joined.items())]
    group.set("class", "cells")


def rounded(text, decimals=2):
    return re.sub(r"-?\d+\.\d+(?:e-?\d+)?", lambda m: f"{float(m[0]):.{decimals}f}".rstrip("0").rstrip("."), text)


def tidy(root, prefix):
    for element in root.iter():
        name = element.get("id")
        if name and element.tag in (SVG + "g",):
            del element.attrib["id"]
        elif name:
            element.set("id", prefix + name)
        if element.get(XLINK):
            element.set("href", "#" + prefix + element.attrib.pop(XLINK)[1:])
        if element.get("clip-path"):
            element.set("clip-path", element.get("clip-path").replace("url(#", f"url(#{prefix}"))
        if element.get("d"):
            element.set("d", re.sub(r"\s+", " ", rounded(element.get("d"))).strip())
        for key in ("x", "y", "transform", "width", "height"):
            if element.get(key):
                element.set(key, rounded(element.get(key)))
        style = element.get("style")
        if style:
            style = re.sub(
                r"#[0-9a-f]{6}", lambda m: f"var(--{VARIABLE_OF[m[0]]})" if m[0] in VARIABLE_OF else m[0], style
            )
            style = re.sub(r"font: (?:[\w ]+ )?([\d.]+)px [^;]*", r"font-size: \1px", style)
            element.set("style", rounded(style))
        element.tail = None
        if element.tag not in (SVG + "text", SVG + "tspan", SVG + "title"):
            element.text = None


def save_files(drawn, folder, legend):
    """PDF and PNG, with the title and the legend that the page has around the figure."""
    figure = drawn.figure
    axes = figure.axes[0]
    axes.set_title(drawn.title, pad=8)
    if legend:
        figure.legend(handles=legend, loc="upper center", bbox_to_anchor=(0.5, 0), ncol=min(len(legend), 4))
    for suffix in ("pdf", "png"):
        figure.savefig(
            folder / f"{drawn.key}.{suffix}",
            dpi=200,
            metadata={"CreationDate": None} if suffix == "pdf" else None,
            bbox_inches="tight",
        )
