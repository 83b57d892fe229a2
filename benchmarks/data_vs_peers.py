#!/usr/bin/env python3
"""Tokenising by spikesink against the Python package of the same tokenizer, on one core, in alternation.

    benchmarks/data_vs_peers.py --data 'SHARDS' --tokenizer FILE.model [--tokenizer FILE.tiktoken] [--rounds 5] [--json FILE]

Each round times, one after another and each in a process of its own, `spikesink bench data --only tokenise` and the package:
sentencepiece for a FILE.model, tiktoken for a FILE.tiktoken (with DCLM's pattern, or --pattern FILE's). Both tokenise the
same first 8 MB of documents of the shards, one at a time, again and again for --seconds. Reported are medians over rounds of MB of
text a second of CPU time, and their ratio. Before timing, ids are held against one another: `spikesink prepare` of the same
documents against the package, token by token. The packages are those of the Python that runs this file.
"""

import argparse
import base64
import glob
import gzip
import hashlib
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TEXT_BYTES = 8 << 20  # as `bench data` takes
DCLM_PATTERN = (
    r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"  # mlfoundations/dclm, tokshuf-rs
)


def lines_of(path):
    if path.endswith(".zst"):
        packed = subprocess.run(["zstd", "-dcq", path], capture_output=True, check=True).stdout
        return packed.decode().split("\n")
    with gzip.open(path, "rt") if path.endswith(".gz") else open(path) as file:
        return file.read().split("\n")


def documents_of(pattern):
    documents, size = [], 0
    for path in sorted(glob.glob(pattern)):
        for line in lines_of(path):
            if not line.strip():
                continue
            documents.append(json.loads(line)["text"])
            size += len(documents[-1].encode())
            if size >= TEXT_BYTES:
                return documents
    return documents


def package_of(tokenizer, pattern):
    """Name and version of the package, and its function from text to ids."""
    if tokenizer.endswith(".model"):
        import sentencepiece

        model = sentencepiece.SentencePieceProcessor(model_file=tokenizer)
        return f"sentencepiece {sentencepiece.__version__}", model.encode
    import tiktoken

    ranks = {}
    for line in Path(tokenizer).read_bytes().splitlines():
        if line:
            token, rank = line.split()
            ranks[base64.b64decode(token)] = int(rank)
    encoding = tiktoken.Encoding("theirs", pat_str=pattern, mergeable_ranks=ranks, special_tokens={})
    return f"tiktoken {tiktoken.__version__}", encoding.encode_ordinary


def time_package(options):
    documents = documents_of(options.data)
    name, encode = package_of(options.tokenizer[0], options.pattern)
    size = sum(len(d.encode()) for d in documents)
    text, begin, cpu = 0, time.perf_counter(), time.process_time()
    while time.perf_counter() - begin < options.seconds:
        for document in documents:
            encode(document)
        text += size
    print(json.dumps({"rate_a_core": text / (time.process_time() - cpu), "package": name}))


def ids_of_package(options):
    """A hash and the number of the ids of all documents."""
    _, encode = package_of(options.tokenizer[0], options.pattern)
    digest, count = hashlib.sha256(), 0
    for document in documents_of(options.data):
        ids = encode(document)
        count += len(ids)
        digest.update(b"".join(i.to_bytes(4, "little") for i in ids))
    print(json.dumps({"tokens": count, "sha256": digest.hexdigest()}))


def ids_of_ours(options):
    """The same by `spikesink prepare`, read from its store without the ends of text."""
    with tempfile.TemporaryDirectory() as work:
        shard = Path(work) / "documents.jsonl"
        shard.write_text("".join(json.dumps({"text": d}) + "\n" for d in documents_of(options.data)))
        done = subprocess.run([options.program, "prepare", shard, "--tokenizer", options.tokenizer[0], "--out", f"{work}/store",
                               "--holdout", "0", "--threads", "1"], capture_output=True, text=True)  # fmt: skip
        if done.returncode != 0:
            sys.exit(done.stderr)
        import h5py

        manifest = json.loads(Path(f"{work}/store/manifest.json").read_text())
        digest, count = hashlib.sha256(), 0
        with h5py.File(f"{work}/store/{manifest['files'][0]['name']}") as file:
            tokens, starts = file["tokens"][...].astype("<i4"), file["documents"][...]
            for begin, end in zip(starts, starts[1:]):
                count += int(end - begin - 1)
                digest.update(tokens[begin : end - 1].tobytes())
        return {"tokens": count, "sha256": digest.hexdigest()}


def result_of(arguments):
    done = subprocess.run(arguments, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    if done.returncode != 0:
        sys.exit(f"{' '.join(map(str, arguments))}: exit {done.returncode}\n{done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])


def cpu_name():
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor()


def compare(options, tokenizer):
    common = ["--data", options.data, "--tokenizer", tokenizer]
    theirs_command = [sys.executable, __file__, *common, "--pattern", options.pattern, "--seconds", str(options.seconds)]
    ours_ids = ids_of_ours(argparse.Namespace(**{**vars(options), "tokenizer": [tokenizer]}))
    theirs_ids = result_of([*theirs_command, "--as", "ids"])
    ours_command = [options.program, "bench", "data", *common, "--only", "tokenise", "--json", "--seconds",
                    str(options.seconds)]  # fmt: skip
    ours, theirs = [], []
    for number in range(options.rounds):
        ours.append(result_of(ours_command)["rate_a_core"])
        package = result_of([*theirs_command, "--as", "timer"])
        theirs.append(package["rate_a_core"])
        print(f"{Path(tokenizer).name}, round {number + 1}/{options.rounds}: spikesink {ours[-1] / 1e6:.2f} MB/s, "
              f"{package['package']} {theirs[-1] / 1e6:.2f} MB/s", flush=True)  # fmt: skip
    return {
        "tokenizer": Path(tokenizer).name,
        "package": package["package"],
        "equal_ids": ours_ids == theirs_ids,
        "tokens": ours_ids["tokens"],
        "rounds": options.rounds,
        "spikesink_bytes_per_cpu_second": statistics.median(ours),
        "package_bytes_per_cpu_second": statistics.median(theirs),
        "ratio": statistics.median(a / b for a, b in zip(ours, theirs)),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", default=ROOT / "build/cpu/spikesink", help="the spikesink to time")
    parser.add_argument("--data", required=True, help="shards: a glob of .jsonl, .jsonl.zst or .jsonl.gz")
    parser.add_argument("--tokenizer", action="append", required=True, help="FILE.model or FILE.tiktoken; may be repeated")
    parser.add_argument("--pattern", default=DCLM_PATTERN, help="of FILE.tiktoken; default: DCLM's")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2, help="that each is timed for")
    parser.add_argument("--json", metavar="FILE", help="write the result there too")
    parser.add_argument("--as", dest="role", choices=["timer", "ids"], help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.role:
        return time_package(options) if options.role == "timer" else ids_of_package(options)
    for name in ("h5py", *(("sentencepiece",) if any(t.endswith(".model") for t in options.tokenizer) else ()),
                 *(("tiktoken",) if any(t.endswith(".tiktoken") for t in options.tokenizer) else ())):  # fmt: skip
        try:
            __import__(name)
        except ImportError:
            sys.exit(f"data_vs_peers.py: this Python has no {name}; pip install {name}")
    if not Path(options.program).exists():
        sys.exit(f"data_vs_peers.py: no program {options.program}; build it: cmake --preset cpu && cmake --build --preset cpu")
    rows = [compare(options, tokenizer) for tokenizer in options.tokenizer]
    for row in rows:
        print(f"{row['tokenizer']}: {row['ratio']:.2f}x the speed of {row['package']} a core; ids "
              f"{'equal' if row['equal_ids'] else 'DIFFER'} ({row['tokens']} tokens)")  # fmt: skip
    if options.json:
        result = {"hardware": {"cpu": cpu_name(), "threads": 1}, "date": time.strftime("%Y-%m-%d"), "rows": rows}
        Path(options.json).write_text(json.dumps(result, indent=1) + "\n")
    if not all(row["equal_ids"] for row in rows):
        sys.exit(1)


if __name__ == "__main__":
    main()
