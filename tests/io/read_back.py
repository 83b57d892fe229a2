#!/usr/bin/env python3
"""Reads files that spikesink wrote with the libraries that others read them with, and fails if they do not take them.

    read_back.py h5 FILE...       HDF5: probes, checkpoints (h5py)
    read_back.py events FOLDER    TensorBoard events (tensorboard)

Prints what it found. Exit code 1 and one line on stderr on the first fault.
"""
import math
import os
import sys


class Fault(Exception):
    pass


def check(holds, *message):
    if not holds:
        raise Fault(": ".join(str(part) for part in message))


def read_h5(path):
    import h5py
    import numpy

    counts = {"datasets": 0, "bf16": 0, "numbers": 0, "attributes": 0}

    def attributes(name, of):
        for key, value in of.attrs.items():
            counts["attributes"] += 1
            if isinstance(value, bytes):
                value.decode("utf-8")

    def visit(name, item):
        attributes(name, item)
        if not isinstance(item, h5py.Dataset):
            return
        values = item[...]
        check(values.shape == item.shape, path, name, "shape")
        check(values.dtype.kind in "fi", path, name, f"holds {values.dtype}, expected numbers")
        check(item.chunks is None and item.compression is None, path, name, "is not contiguous")
        check(item.size == 0 or item.id.get_offset() is not None, path, name, "has no place in the file")
        if item.id.get_type().get_size() == 2:  # a float type of the file's own: the upper half of an f32
            fields, bias = item.id.get_type().get_fields(), item.id.get_type().get_ebias()
            check((fields, bias) == ((15, 7, 8, 0, 7), 127), path, name, f"is no bf16: {fields}, {bias}")
            check(values.dtype == numpy.float32, path, name, f"bf16 is read as {values.dtype}")
            check(not (values.view(numpy.uint32) & 0xFFFF).any(), path, name, "bf16 has more than its 16 bits")
            check(numpy.isfinite(values).all(), path, name, "bf16 is not finite")
            counts["bf16"] += 1
        counts["datasets"] += 1
        counts["numbers"] += item.size

    with h5py.File(path, "r") as file:
        attributes("/", file)
        file.visititems(visit)
    check(counts["datasets"] > 0, path, "no dataset")
    print(f"{path}: " + ", ".join(f"{n} {what}" for what, n in counts.items()))


def read_events(folder):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.backend.event_processing.event_file_loader import LegacyEventFileLoader

    files = sorted(name for name in os.listdir(folder) if "tfevents" in name)
    check(files, folder, "no event file")
    in_files, about = 0, []
    for name in files:
        events = list(LegacyEventFileLoader(os.path.join(folder, name)).Load())
        check(events and events[0].file_version == "brain.Event:2", name, "does not open with a file version")
        check(all(event.wall_time > 1e9 for event in events), name, "wall time is not now")
        for value in (value for event in events for value in event.summary.value):
            if value.HasField("metadata"):
                about.append(value.tag)
            else:
                in_files += 1

    run = EventAccumulator(folder, size_guidance={"scalars": 0})  # 0: keep all
    run.Reload()
    tags = run.Tags()["scalars"]
    check(tags, folder, "no scalars")
    read = 0
    for tag in tags:
        scalars = run.Scalars(tag)
        steps = [scalar.step for scalar in scalars]
        check(steps == sorted(set(steps)), folder, tag, f"steps do not rise: {steps}")
        check(not all(math.isnan(scalar.value) for scalar in scalars), folder, tag, "only NaN")
        read += len(scalars)
    check(read == in_files, folder, f"{in_files} scalars in the files, TensorBoard shows {read}")
    expected = ["_hparams_/session_start_info", "_hparams_/session_end_info"]
    check(about == expected, folder, f"of the session: {about}, expected {expected}")
    print(f"{folder}: {len(files)} files, {len(tags)} tags, {read} scalars, a session of HParams")


def main(arguments):
    if len(arguments) >= 2 and arguments[0] == "h5":
        for path in arguments[1:]:
            try:
                read_h5(path)
            except (OSError, ValueError) as error:  # h5py names no file
                raise Fault(f"{path}: {error}") from error
    elif len(arguments) == 2 and arguments[0] == "events":
        read_events(arguments[1])
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except (Fault, OSError) as fault:
        print(fault, file=sys.stderr)
        sys.exit(1)
