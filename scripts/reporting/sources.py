"""Which folders are meant: runs, sweeps (with runs/ in them), or folders that hold some of these."""

import json
import re
from dataclasses import dataclass, field
from pathlib import Path

from .runs import first_line


@dataclass
class Sweep:
    path: Path
    name: str
    table: dict = None  # tables/table.json of `spikesink sweep collect`; None: not there
    run_paths: list = field(default_factory=list)
    runs: list = field(default_factory=list)  # those that could be read


def is_run(path):
    return any((path / name).exists() for name in ("metrics.jsonl", "config.yaml", "probes"))


def is_sweep(path):
    return (path / "runs").is_dir() and (
        (path / "sweep.json").exists()
        or (path / "configs").is_dir()
        or (path / "tables").is_dir()
        or any(map(is_run, folders(path / "runs")))
    )


def folders(path):
    try:
        return sorted((p for p in path.iterdir() if p.is_dir() and not p.name.startswith(".")), key=natural)
    except OSError:
        return []


def natural(path):
    """d_head_8 before d_head_16."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"([0-9]+)", path.name)]


def read_table(path, notes):
    file = path / "tables/table.json"
    try:
        table = json.loads(file.read_text(encoding="utf-8"))
        if (
            not isinstance(table, dict)
            or not isinstance(table.get("rows"), list)
            or not all(isinstance(row, dict) for row in table["rows"])
        ):
            raise ValueError("no rows in it")
        if table.get("format") != 1:
            raise ValueError(f"format {table.get('format')}, where 1 is read")
        return table
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError) as error:
        notes.left_out(file, f"not a sweep's table ({first_line(error)})")
        return None


def find(paths, notes):
    """([run folders], [sweeps]), each folder once; a run that is named itself and by its sweep is in both."""
    runs, sweeps, seen = [], [], set()

    def add(path, depth):
        resolved = path.resolve()
        if resolved in seen:
            return True
        if is_run(path):
            seen.add(resolved)
            runs.append(path)
            return True
        if is_sweep(path):
            seen.add(resolved)
            sweep = Sweep(path, path.resolve().name, read_table(path, notes))
            sweep.run_paths = [folder for folder in folders(path / "runs") if is_run(folder)]
            sweeps.append(sweep)
            return True
        return depth > 0 and any([add(folder, depth - 1) for folder in folders(path)])

    for path in paths:
        path = path.parent if path.name == "metrics.jsonl" else path
        if not path.is_dir():
            notes.left_out(path, "no such folder")
        elif not add(path, 2):
            notes.left_out(path, "not the folder of a run or of a sweep")
    return runs, sweeps
