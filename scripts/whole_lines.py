"""Lines of JSON of a run's files, read without trust in them."""

import json


def objects(path):
    """The objects, a line each. What is none is left out: a line that is being written, or was cut off by a kill."""
    with open(path, "rb") as file:
        for line in file:
            try:
                entry = json.loads(line)
            except (ValueError, RecursionError):
                continue
            if isinstance(entry, dict):
                yield entry


def is_number(value):
    return isinstance(value, (int, float)) and not isinstance(value, bool)
