"""What was left out, and why: a line each on stderr, and again in the page."""

import sys


class Notes:
    def __init__(self):
        self.lines = []

    def left_out(self, path, what):
        """`path` is what could not be used, `what` a few words on why."""
        self._add(f"{path}: {what}; left out")

    def say(self, line):
        self._add(line)

    def _add(self, line):
        line = " ".join(str(line).split())  # one line, whatever an exception said
        if line not in self.lines:
            self.lines.append(line)
            clear = "\r\033[K" if sys.stderr.isatty() else ""
            print(f"{clear}report.py: {line}", file=sys.stderr, flush=True)


class Progress:
    """A line that counts, on a terminal in place; elsewhere one every ten per cent of a job of many."""

    def __init__(self, what, total):
        self.what, self.total, self.done, self.said = what, total, 0, 0
        self.on_terminal = sys.stderr.isatty()

    def step(self):
        self.done += 1
        if self.on_terminal:
            end = "\r\033[K" if self.done == self.total else ""
            print(f"\r{self.what} {self.done}/{self.total}{end}", end="", file=sys.stderr, flush=True)
        elif self.total >= 150 and (self.done == self.total or self.done >= self.said + self.total / 10):
            self.said = self.done
            print(f"{self.what} {self.done}/{self.total}", file=sys.stderr, flush=True)
