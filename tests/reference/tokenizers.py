#!/usr/bin/env python3
"""Ids of spikesink against the Python packages tiktoken and sentencepiece, and what they decode to.

    tokenizers.py ENCODE SPIKESINK      programs of the build: reference_encode, spikesink

Encodings: ranks learned here with each of the patterns that spikesink scans by hand and two that go to PCRE2, a sentencepiece
model trained by spikesink, and DCLM's ranks where ../shared/data has them. Texts: every code point that has a character,
odd Unicode, long runs, bytes that are no UTF-8, and all documents of ../shared/data. A line a comparison, then
`N passed, N failed`; exit code 1 if one failed, 77 where a package is missing.
"""
import base64
import collections
import json
import pathlib
import random
import re
import struct
import subprocess
import sys
import tempfile
import unicodedata

try:
    import sentencepiece
    import tiktoken
except ImportError as missing:
    print(f"tokenizers.py: skipped: {missing}; scripts/setup.sh --tests installs it")
    sys.exit(77)

ROOT = pathlib.Path(__file__).resolve().parents[2]
GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
PATTERNS = {
    "gpt2": GPT2,
    "gpt2 possessive": r"'(?:[sdmt]|ll|ve|re)| ?\p{L}++| ?\p{N}++| ?[^\s\p{L}\p{N}]++|\s++$|\s+(?!\S)|\s",
    "llama3": r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    "cl100k": r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+| ?[^\s\p{L}\p{N}]++[\r\n]*+|\s++$|\s*[\r\n]|\s+(?!\S)|\s",
    "o200k": r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|"
             r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|"
             r"\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    "all that is let through": r"(?i:[k-s])++|[\v\x41-\x43\-]{2}|\D\d{1,2}?(?=\pN)|(?<=\s)[\p{P}\d\p{Lo}]+|(?>[\p{So}\p{Sm}]+)|"
                               r"[^\P{L}a-z]+|\P{Nd}\P{Lu}|[-\p{M}]|[^]\S]{2,}|(?s-i:.)",
}
TOKENS = 1500  # of the ranks learned here
PLANES = 4  # that have characters; the others only samples


def shared_data():
    """The folder of real text beside the project, or nothing."""
    for folder in ROOT.parents:
        if (folder / "shared" / "data" / "dclm-sample").is_dir():
            return folder / "shared" / "data"
    return None


def shards(folder):
    for path in sorted(folder.glob("*.jsonl.zst")):
        lines = subprocess.run(["zstd", "-dc", path], check=True, stdout=subprocess.PIPE).stdout.splitlines()
        yield [json.loads(line)["text"] for line in lines if line.strip()]


def learn_ranks(text, tokens):
    """Byte pairs merged where they are most common, in words of about the patterns' kind."""
    ranks = {bytes([b]): b for b in range(256)}
    words = collections.Counter(tuple(bytes([b]) for b in w.encode()) for w in re.findall(r" ?[^\W\d_]+|\s+|.", text))
    while len(ranks) < tokens:
        pairs = collections.Counter()
        for word, count in words.items():
            for pair in zip(word, word[1:]):
                pairs[pair] += count
        (a, b), _ = max(pairs.items(), key=lambda item: (item[1], item[0]))
        ranks[a + b] = len(ranks)
        merged = collections.Counter()
        for word, count in words.items():
            parts, i = [], 0
            while i < len(word):
                both = word[i:i + 2] == (a, b)
                parts.append(a + b if both else word[i])
                i += 2 if both else 1
            merged[tuple(parts)] += count
        words = merged
    return ranks


def add_borders(ranks):
    """Tokens of a character of each class and the first or last byte of another: with them the ids tell where pieces end."""
    for one in b"a 1.'\n":
        for first in range(0xC2, 0xF5):
            ranks[bytes([one, first])] = len(ranks)
        for last in range(0x80, 0xC0):
            ranks[bytes([last, one])] = len(ranks)
    return ranks


def read_ranks(path):
    pairs = (line.split() for line in path.read_bytes().splitlines() if line)
    return {base64.b64decode(token): int(rank) for token, rank in pairs}


def code_points():
    """Every character between others of each class, many in a text; the empty planes by samples."""
    texts, text = [], []
    for c in list(range(PLANES << 16)) + list(range(PLANES << 16, 0x110000, 251)):
        if not 0xD800 <= c < 0xE000:
            text.append(f"a{chr(c)} {chr(c)}1{chr(c)}{chr(c)}.{chr(c)}\n")
        if len(text) == 256:
            texts.append("".join(text))
            text = []
    return texts + ["".join(text)]


def odd_texts(number):
    draw = random.Random(7)
    atoms = ["'", "'", "s", "S", "t", "re", "VE", "m", "lL", "d", "\u017f", "\u212a", "a", "word", " the", "\u00e9", "e\u0301",
             "\u4f60\u597d", "\U0001d500", " ", " ", "  ", "\n", "\r", "\r\n", "\t", "\x0b", "\x1c", "\x1f", "\x85", "\xa0", "\u180e",
             "\u200b", "\u2028", "\u3000", "\ufeff", "1", "23", "4567", "\u00b2", "\u2167", "\u0663", ".", "!?", "-", "_", "/", "\0",
             "\x7f", "\U0001f600", "\U0001f3f3\ufe0f\u200d\U0001f308", "\U000e0001", "\uffff", "\ufffd", "\U0010ffff", "<|endoftext|>",
             "<|begin_of_text|>", "<s>", "\u2581", "\U00010d50", "\U00010d40", "\U000323b0", "\u1c89"]
    texts = ["".join(draw.choices(atoms, k=draw.randint(1, 30))) for _ in range(number)]
    texts += ["".join(chr(draw.choice([draw.randrange(0x80), draw.randrange(0xD800), draw.randrange(0xE000, 0x110000)]))
                      for _ in range(20)) for _ in range(number)]
    endings = ["s", "S", "\u017f", "t", "T", "m", "M", "d", "D", "ll", "lL", "LL", "re", "Re", "VE", "ve", "l", "r", "v", "\u212a"]
    return texts + [f"it'{end}a '{end}a'{end} .'{end}a\n'{end}a''{end}" for end in endings]


def long_texts():
    draw = random.Random(11)
    letters = "".join(draw.choices("abcdefgh", k=1 << 18))
    return [c * (1 << 17) + "x" for c in ["a", " ", "\n", "7", ".", "\u00e9", "\u4f60", "ab", "\u3000"]] + [letters, "\0" * 5000, ""]


def damaged_texts(number):
    """Bytes, most of them no UTF-8."""
    draw = random.Random(13)
    out = []
    for text in odd_texts(number):
        data = bytearray(text.encode())
        for _ in range(draw.randint(1, 4)):
            if data:
                data[draw.randrange(len(data))] = draw.randrange(256)
        out.append(bytes(data[draw.randrange(3):]))
    return out


class Ours:
    """The program reference_encode on one tokenizer."""

    def __init__(self, program, tokenizer):
        self.command = [program, str(tokenizer)]

    def head(self):
        return [int(word) for word in subprocess.run(self.command, input=b"", check=True, stdout=subprocess.PIPE).stdout.split()]

    def encode(self, texts):
        """(ids, the bytes that they decode to) of texts, each str or bytes."""
        data = [text if isinstance(text, bytes) else text.encode() for text in texts]
        given = b"".join(struct.pack("=I", len(d)) + d for d in data)
        out = subprocess.run(self.command, input=given, check=True, stdout=subprocess.PIPE).stdout
        at = out.index(b"\n") + 1
        for _ in texts:
            n, = struct.unpack_from("=I", out, at)
            ids = list(struct.unpack_from(f"={n}i", out, at + 4))
            at += 4 + 4 * n
            n, = struct.unpack_from("=I", out, at)
            yield ids, out[at + 4:at + 4 + n]
            at += 4 + n
        assert at == len(out), "more comes back than was asked for"


class Report:
    passed = failed = 0

    def add(self, name, detail, problem):
        print(f"{name:42} {detail:>34}  {'ok' if not problem else 'FAILED: ' + problem}", flush=True)
        if problem:
            self.failed += 1
        else:
            self.passed += 1


def compare(report, name, ours, theirs, texts, back_as=lambda text: text):
    """`theirs` gives the ids of a str, `back_as` what these decode to. Bytes are read as Python replaces what is no UTF-8."""
    problem, tokens, size = "", 0, 0
    for text, (ids, back) in zip(texts, ours.encode(texts)):
        as_str = text.decode("utf-8", "replace") if isinstance(text, bytes) else text
        want = theirs(as_str)
        tokens += len(want)
        size += len(as_str.encode())
        if ids != want:
            at = next((i for i, (a, b) in enumerate(zip(ids, want)) if a != b), min(len(ids), len(want)))
            problem = f"{as_str[:60]!a}: id {at} is {ids[at:at + 4]}, theirs {want[at:at + 4]}"
        elif back != back_as(as_str).encode():
            problem = f"{as_str[:60]!a}: decodes to {back[:60]}"
        if problem:
            break
    report.add(name, f"{len(texts)} texts, {size / 1e6:.1f} MB, {tokens} ids", problem)


def compare_head(report, name, ours, want):
    report.add(name, "size, end and begin of text", "" if ours.head() == want else f"{ours.head()}, not {want}")


def compare_learned(report, program, work, corpora):
    ranks = add_borders(learn_ranks("".join((ROOT / name).read_text() for name in ["README.md", "docs/design.md"]), TOKENS))
    path = work / "learned.tiktoken"
    path.write_bytes(b"".join(base64.b64encode(token) + b" %d\n" % rank for token, rank in ranks.items()))
    special = {"<end>": len(ranks), "<begin>": len(ranks) + 7}
    for name, pattern in PATTERNS.items():
        sidecar = {"pattern": pattern, "special_tokens": special, "end_of_text": "<end>", "begin_of_text": "<begin>"}
        pathlib.Path(f"{path}.json").write_text(json.dumps(sidecar))
        theirs = tiktoken.Encoding(name, pat_str=pattern, mergeable_ranks=ranks, special_tokens=special)
        compare_head(report, name, Ours(program, path), [theirs.n_vocab, *special.values()])
        for corpus, texts in corpora.items():
            compare(report, f"{name}, {corpus}", Ours(program, path), theirs.encode_ordinary, texts)


def compare_dclm(report, program, data, corpora):
    path = data / "tokenizers" / "EleutherAI_gpt-neox-20b.tiktoken"
    theirs = tiktoken.Encoding("gpt-neox", pat_str=GPT2, mergeable_ranks=read_ranks(path), special_tokens={})
    compare_head(report, "gpt-neox", Ours(program, path), [theirs.n_vocab, 0, -1])
    for corpus, texts in corpora.items():
        compare(report, f"gpt-neox, {corpus}", Ours(program, path), theirs.encode_ordinary, texts)


def compare_sentencepiece(report, program, spikesink, work, corpora):
    model = work / "t.model"
    train = [spikesink, "tokenizer", "train", work / "*.jsonl", "--vocab", "1000", "--out", model]
    subprocess.run(train, check=True, stdout=subprocess.DEVNULL)
    theirs = sentencepiece.SentencePieceProcessor(model_file=str(model))
    compare_head(report, "sentencepiece", Ours(program, model), [theirs.vocab_size(), theirs.eos_id(), theirs.bos_id()])
    for corpus, texts in corpora.items():
        compare(report, f"sentencepiece, {corpus}", Ours(program, model), theirs.encode, texts,
                lambda text: text.replace("\u2581", " "))  # which is how a space is written inside


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__.split("\n\n")[1])
    program, spikesink = sys.argv[1:]
    report = Report()
    odd = {"code points": code_points(), "odd texts": odd_texts(10000), "long texts": long_texts()}
    damaged = {"damaged texts": damaged_texts(5000)}
    data = shared_data()
    real = {}
    if data:
        real["dclm-sample"] = [text for shard in shards(data / "dclm-sample") for text in shard]
        for number, texts in enumerate(shards(data / "novels")):
            real[f"novels {number}"] = texts
    else:
        print("tokenizers.py: no ../shared/data: real text and DCLM's ranks are skipped")
    sample = {name: texts for name, texts in real.items() if name == "dclm-sample"}
    with tempfile.TemporaryDirectory(prefix="spikesink-tokenizers-") as folder:
        work = pathlib.Path(folder)
        lines = [line for name in ["README.md", "docs/design.md"] for line in (ROOT / name).read_text().split("\n") if line]
        (work / "text.jsonl").write_text("".join(json.dumps({"text": line}) + "\n" for line in lines))
        compare_learned(report, program, work, odd | damaged | sample)
        compare_sentencepiece(report, program, spikesink, work, odd | real)
        if data:
            compare_dclm(report, program, data, odd | damaged | real)
    print(f"tiktoken {tiktoken.__version__}, sentencepiece {sentencepiece.__version__}; Python's Unicode {unicodedata.unidata_version}")
    print(f"{report.passed} passed, {report.failed} failed")
    sys.exit(1 if report.failed else 0)


if __name__ == "__main__":
    main()
