"""The tree as the house rules see it: the parts of the program and their C++ files."""
import pathlib

ROOT = pathlib.Path(__file__).resolve().parents[2]
PARTS = ["io", "kernels", "data", "models", "trainer", "analysis", "configs", "sweeps", "cli"]
HEADERS = {".h", ".cuh"}
SOURCES = HEADERS | {".cpp", ".cu"}


def files(folders=PARTS, suffixes=SOURCES):
    """{path from the root: text} of the files with these suffixes below the folders, sorted."""
    found = {}
    for folder in folders:
        for path in sorted((ROOT / folder).rglob("*")):
            if path.suffix in suffixes and path.is_file():
                found[path.relative_to(ROOT).as_posix()] = path.read_text(encoding="utf-8", errors="replace")
    return found


def report(rule, problems, checked):
    """Prints the problems and gives the exit code."""
    for problem in problems:
        print(problem)
    print(f"{rule}: {checked} files, {len(problems)} problems")
    return 1 if problems or not checked else 0
