#!/usr/bin/env python3
"""`spikesink prepare` of token files that others prepared, written here as their tools write them: the store's files are, byte for byte,
those of a store made of the documents' texts. Damaged files, and ids of another tokenizer, are refused in one line."""

import gzip
import io
import json
import random
import struct
import tarfile
import tempfile
from pathlib import Path

import harness

END, PAD = 256, 400  # of the tokenizer `bytes`; a number that it does not have
report = harness.Report()
rng = random.Random(5)


def ids_of(text):
    return list(text.encode())


def write_texts(path, texts):
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))


def tokshuf(path, contexts, packed=True, pax=False):
    """As tokshuf-rs: one member for each context, its ids as JSON in gzip; GNU headers."""
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT if pax else tarfile.GNU_FORMAT) as tar:
        for i, context in enumerate(contexts):
            data = json.dumps(context, separators=(",", ":")).encode()
            # A long name, which needs an entry of its own, and a member whose size is no multiple of a block.
            member = tarfile.TarInfo(f"00000000_{i:08d}_{'x' * (120 if i == 1 else 36)}.json" + (".gz" if packed else ""))
            data = gzip.compress(data, mtime=0) if packed else data
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))


def contexts_of(texts, length):
    """Documents one after another, each with its end, cut into contexts; the last is filled up."""
    stream = [i for text in texts for i in ids_of(text) + [END]]
    stream += [PAD] * (-len(stream) % length)
    return [stream[i : i + length] for i in range(0, len(stream), length)]


def pieces_of(contexts):
    """The documents, and parts of documents, that contexts have."""
    pieces = []
    for context in contexts:
        while context and context[-1] == PAD:
            context = context[:-1]
        text = bytes(i if i != END else 0 for i in context).decode()
        pieces += [piece for piece in text.split("\0") if piece]
    return pieces


def megatron(path, documents, kind="H", code=8):
    """Documents of sequences of ids, as IndexedDatasetBuilder writes them."""
    sequences = [sequence for document in documents for sequence in document]
    width = struct.calcsize(kind)
    path.with_suffix(".bin").write_bytes(b"".join(struct.pack(f"<{len(s)}{kind}", *s) for s in sequences))
    pointers, ends, at = [], [0], 0
    for sequence in sequences:
        pointers.append(at)
        at += len(sequence) * width
    for document in documents:
        ends.append(ends[-1] + len(document))
    index = b"MMIDIDX\x00\x00" + struct.pack("<QBQQ", 1, code, len(sequences), len(ends))
    index += struct.pack(f"<{len(sequences)}i", *map(len, sequences)) + struct.pack(f"<{len(sequences)}q", *pointers)
    path.with_suffix(".idx").write_bytes(index + struct.pack(f"<{len(ends)}q", *ends))


def llmc(path, ids, magic=20240520, version=1, kind="H", count=None):
    header = [magic, version, len(ids) if count is None else count] + [0] * 253
    path.write_bytes(struct.pack("<256i", *header) + struct.pack(f"<{len(ids)}{kind}", *ids))


class Home:
    def __init__(self, folder):
        self.folder, self.stores = Path(folder), 0

    def prepare(self, *inputs, code=0, words=(), more=(), holdout=0):
        self.stores += 1
        out = self.folder / f"store_{self.stores}"
        done = harness.run("prepare", *inputs, "--tokenizer", "bytes", "--out", out, "--holdout", holdout, *more, check=False)
        lines = done.stderr.splitlines()
        good = done.returncode == code and (not code or len(lines) == 1) and all(word in done.stderr for word in words)
        report.check(good, f"{inputs} {words}: exit {done.returncode}: {done.stdout} {done.stderr}")
        return out

    def same_as_texts(self, path, texts, *more):
        """The store of a token file is that of the texts."""
        out = self.prepare(path, more=more)
        write_texts(self.folder / "texts.jsonl", texts)
        expected = self.prepare(self.folder / "texts.jsonl")
        same = (out / "shard_00000000.h5").read_bytes() == (expected / "shard_00000000.h5").read_bytes()
        report.check(same, f"{path.name} gives the store of its texts")
        return json.loads((out / "manifest.json").read_text())


def damaged(path, change):
    """A file beside it that has been changed."""
    other = path.with_name(f"damaged_{path.name}")
    data = bytearray(path.read_bytes())
    other.write_bytes(change(data))
    return other


with tempfile.TemporaryDirectory() as temporary:
    home = Home(temporary)
    texts = ["".join(rng.choices("abcde ", k=rng.choice([1, 5, 90, 700]))) for _ in range(150)]

    # DCLM's contexts.
    contexts = contexts_of(texts, 65)
    report.check(contexts[-1][-1] == PAD, "the last context is filled up")
    rng.shuffle(contexts)
    tar = home.folder / "a.tar"
    for packed, pax in ((True, False), (False, False), (True, True)):
        tokshuf(tar, contexts, packed, pax)
        manifest = home.same_as_texts(tar, pieces_of(contexts), "--pad", PAD)
        report.check(manifest["pad"] == PAD and manifest["lines"]["broken"] == {}, f"manifest: {manifest}")
    home.prepare(tar, code=3, words=[f"has id {PAD}, but the tokenizer bytes has 258", "--pad"])
    # With a begin of text, as of Llama 3: 0 is the end of text where a document ends, and a token elsewhere.
    begin = 257
    tokshuf(tar, [[begin, 97, 0, 98, 0, begin, 0, 99], [98, 0, begin, 99, 0], [begin, 97, 0, PAD, PAD], [0, 97, 0, 98]])
    home.same_as_texts(tar, ["a\0b", "\0c", "b", "c", "a", "\0a\0b"], "--pad", PAD)
    # Ids that only look like filling up are text: nothing before them ends.
    tokshuf(tar, [[1, 2, 3, 97, 97], [1, END, 97, 97, 97], [END, 2, 3, 4, 97], [97] * 5])
    home.same_as_texts(tar, ["\1\2\3aa", "\1", "\2\3\4a"], "--pad", 97)
    tokshuf(tar, [[1, END, END, 2, 3], [4, 5]])
    home.prepare(tar, code=3, words=["1 of 4 lines are broken", "a.tar: token 3: a document of no tokens"])
    home.prepare(tar, more=["--max-bad-share", 0.3])
    tokshuf(tar, contexts)
    home.prepare(damaged(tar, lambda d: d[: len(d) // 2]), code=3, words=["damaged_a.tar: broken near byte", "ends in the middle"],
                 more=["--pad", PAD])  # fmt: skip
    home.prepare(damaged(tar, lambda d: d[:600] + b"?" + d[601:]), code=3, words=["is no sound gzip file"], more=["--pad", PAD])
    home.prepare(damaged(tar, lambda d: b"?" + d[1:]), code=3, words=["checksum of a member's header differs"])
    home.prepare(damaged(tar, lambda d: b"text\n" * 500), code=3, words=["damaged_a.tar: broken near byte 512"])
    for context, word in (({"a": 1}, "is no JSON array of token ids"), ([1, "a"], "is no JSON array"), ([1.5], "is no JSON array"),
                          ([-1], "has id -1"), ([1, 2**40], "token 1 has id 1099511627776")):  # fmt: skip
        tokshuf(tar, [context])
        home.prepare(tar, code=3, words=[word])
    with tarfile.open(tar, "w") as archive:
        archive.add(home.folder / "texts.jsonl", arcname="notes.txt")
    home.prepare(tar, code=3, words=["notes.txt is no .json or .json.gz file"])

    # Megatron-LM: documents of several sequences, with and without an end of text, in each width.
    documents = [ids_of(text) + [END] * (i % 2) for i, text in enumerate(texts)]
    split = [[d[: len(d) // 2], d[len(d) // 2 :]] if i % 5 == 0 else [d] for i, d in enumerate(documents)]
    bin_file, idx_file = home.folder / "m.bin", home.folder / "m.idx"
    for kind, code in (("H", 8), ("i", 4), ("q", 5)):
        megatron(home.folder / "m", split, kind, code)
        home.same_as_texts(bin_file, texts)
    # Documents that are longer than what is read at a time, of one sequence and of many.
    long_texts = [texts[0] * (2**19 // len(ids_of(texts[0])) + 1), "end", texts[1] * (2**19 // len(ids_of(texts[1])) + 1)]
    cut = [ids_of(text) + [END] for text in long_texts]
    megatron(home.folder / "m", [[cut[0]], [cut[1]], [cut[2][i : i + 999] for i in range(0, len(cut[2]), 999)]])
    home.same_as_texts(bin_file, long_texts)
    megatron(home.folder / "m", split, "q", 5)
    whole_bin, whole_idx = bin_file.read_bytes(), idx_file.read_bytes()

    def megatron_refused(words, index=None, data=None):
        idx_file.write_bytes(index if index is not None else whole_idx)
        bin_file.write_bytes(data if data is not None else whole_bin)
        home.prepare(bin_file, code=3, words=words)

    megatron_refused(["m.bin: has", "but its index says"], data=whole_bin[:-8])
    megatron_refused(["m.idx: ends before its"], index=whole_idx[:-9])
    megatron_refused(["m.idx: ends before its header"], index=whole_idx[:5])
    megatron_refused(["m.idx: is no index of Megatron-LM"], index=b"?" + whole_idx[1:])
    megatron_refused(["version 2, expected 1"], index=whole_idx[:9] + b"\2" + whole_idx[10:])
    megatron_refused(["numbers of kind 7"], index=whole_idx[:17] + b"\7" + whole_idx[18:])
    megatron_refused(["ends before its last length"], index=whole_idx[:18] + b"\xff" * 8 + whole_idx[26:])
    megatron_refused(["sequence 0 has -1 tokens"], index=whole_idx[:34] + b"\xff" * 4 + whole_idx[38:])
    megatron_refused(["do not cover its"], index=whole_idx[:-8] + struct.pack("<q", 7))
    megatron(home.folder / "m", [[[1, 2]], [[]], [[END]], [[3, 700]]])
    home.prepare(bin_file, code=3, words=["m.bin: token 4 has id 700"])
    megatron(home.folder / "m", [[[1, 2]], [[]], [[END]], [[3]]])
    home.prepare(bin_file, code=3, words=["2 of 4 lines are broken"])

    # llm.c: an end of text in front of each document, or behind it.
    stream = [i for text in texts for i in [END] + ids_of(text)]
    bin_file = home.folder / "l.bin"
    llmc(bin_file, stream)
    home.same_as_texts(bin_file, texts)
    llmc(bin_file, stream[1:] + [END], 20240801, 7, "I")
    home.same_as_texts(bin_file, texts)
    many = [rng.choice("abc") * rng.randint(1, 3000) for _ in range(400)]  # more than is read at a time
    llmc(bin_file, [i for text in many for i in [END] + ids_of(text)])
    home.same_as_texts(bin_file, many)
    llmc(bin_file, stream, count=len(stream) + 1)
    home.prepare(bin_file, code=3, words=["l.bin: has", f"but its header says {len(stream) + 1} tokens"])
    llmc(bin_file, stream, magic=20240522)
    home.prepare(bin_file, code=3, words=["begins with 20240522 and 1", "a file of Megatron-LM needs its .idx"])
    bin_file.write_bytes(b"short")
    home.prepare(bin_file, code=3, words=["too short for a header"])
    llmc(bin_file, [1, 2, 300])
    home.prepare(bin_file, code=3, words=["l.bin: token 2 has id 300", "name the tokenizer that it was made with"])

    # Held out by the ids, which are the same in every kind; repeats are found; options for text are refused.
    write_texts(home.folder / "texts.jsonl", texts)
    llmc(bin_file, stream)
    megatron(home.folder / "m", [[d] for d in documents])
    one, other = (home.prepare(path, more=["--dedup"], holdout=0.3) for path in (bin_file, home.folder / "m.bin"))
    same = (one / "shard_00000000.h5").read_bytes() == (other / "shard_00000000.h5").read_bytes()
    manifest = json.loads((one / "manifest.json").read_text())
    report.check(same and manifest["files"][0]["held_out"]["documents"] > 10, f"held out: {manifest['files']}")
    report.check(manifest["duplicates"] == len(texts) - len(set(texts)) > 0, f"repeats: {manifest['duplicates']}")
    home.prepare(bin_file, code=2, words=["--min-bytes and --max-bytes", "the input is tokens"], more=["--min-bytes", 3])
    home.prepare(bin_file, code=2, words=["--pad: has an effect on .tar files"], more=["--pad", 3])
    home.prepare(bin_file, home.folder / "texts.jsonl", code=2, words=["l.bin has tokens, but", "texts.jsonl has text"])
    home.prepare(home.folder, code=3, words=["is a folder"])
report.end()
