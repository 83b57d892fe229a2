#!/usr/bin/env python3
"""Gathers English text that lies on any Debian system into shards of DCLM's format, to have something real to train on.

    gather_text.py --out FOLDER [--max-mb N] [--shards N] [SOURCE...]

Takes prose only: package documentation, manual pages, CMake's help, Perl's POD, docstrings of Python's library, comments
of C and C++ headers. A paragraph is kept once, a document has 500 to 20000 characters, and the order is that of a hash:
the same files give the same shards. Each line is {"text": ..., "url": ..., "metadata": {"kind": ...}}.
"""
import argparse
import ast
import glob
import gzip
import hashlib
import json
import pathlib
import re
import subprocess
import sys
import zlib

SOURCES = ["/usr/share/common-licenses", "/usr/share/doc", "/usr/share/man", "/usr/share/info", "/usr/share/cmake-*/Help",
           "/usr/share/perl", "/usr/share/perl5", "/usr/lib/python3", "/usr/lib/python3.*", "/usr/include"]
SHORTEST, LONGEST = 500, 20000
MAX_FILE_BYTES = 4 << 20


def from_manual(text):
    """The prose of a roff page: requests dropped, paragraph requests turned into empty lines, escapes resolved."""
    lines = []
    for line in text.splitlines():
        if re.match(r"[.'](PP|P|LP|SH|SS|TP|IP|HP|Pp|Sh|Ss|It|sp)\b", line):
            heading = re.sub(r"^.S[HSh]\s*", "", line).strip('" ')
            lines += ["", heading if heading != line else ""]
        elif re.match(r"\.(B|I|BR|BI|IR|IB|RB|RI|Nm|Fl|Ar|Xr)\s", line):
            lines.append(re.sub(r"^\.\w+\s+", "", line).replace('"', ""))
        elif not re.match(r"[.']", line):
            lines.append(line)
    text = "\n".join(lines)
    text = re.sub(r"\\f(\[\w*\]|\(..|.)", "", text)
    text = re.sub(r"\\\*?\((aq|cq|oq|Aq)", "'", text)
    text = re.sub(r"\\\*?\((lq|rq|dq|L\"|R\")", '"', text)
    text = re.sub(r"\\\((em|en|mi|hy)", "-", text)
    text = re.sub(r"\\[&|^/,%:)c]|\\s[-+]?\d+|\\\".*", "", text)
    return text.replace("\\-", "-").replace("\\e", "\\").replace("\\(bu", "*").replace("\\ ", " ")


def from_pod(text):
    """The POD of a Perl file, its formatting codes resolved."""
    parts = re.findall(r"^=(?:pod|head\d|over|item|encoding)\b.*?(?=^=cut\b|\Z)", text, re.MULTILINE | re.DOTALL)
    pod = re.sub(r"^=(?:head\d|item)\s+", "\n", "\n\n".join(parts), flags=re.MULTILINE)
    pod = re.sub(r"^=\w+.*$", "", pod, flags=re.MULTILINE)
    for _ in range(3):  # nested codes, from the inside
        pod = re.sub(r"\b[BCFISXZ]<([^<>]*)>", r"\1", pod)
        pod = re.sub(r"\bL<(?:([^<>|]*)\|)?([^<>]*)>", lambda m: m[1] or m[2], pod)
    return re.sub(r"\bE<(gt|lt)>", lambda m: ">" if m[1] == "gt" else "<", pod)


def from_python(text):
    """The docstrings of a module, in the order of its definitions."""
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError):
        return ""
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    return "\n\n".join(doc for node in ast.walk(tree) if isinstance(node, kinds) and (doc := ast.get_docstring(node)))


def from_c(text):
    """The comments of a C or C++ file; neighbouring // lines are one."""
    comments = re.findall(r"/\*.*?\*/|(?:^[ \t]*//[^\n]*\n)+", text, re.MULTILINE | re.DOTALL)
    cleaned = (re.sub(r"^[ \t]*(?:/\*+!?|//[/!]?<?|\*+/|\*)|\*+/[ \t]*$", "", c, flags=re.MULTILINE) for c in comments)
    return "\n\n".join(re.sub(r"[@\\](brief|param|return|note|see|tparam|sa|ref|p|c)\b(\[\w+\])? ?", "", c) for c in cleaned)


def from_text(text):
    return text


def extractor(path):
    """(kind, function) by the file's place and name, or nothing for a file that is no documentation."""
    name = path.name.removesuffix(".gz")
    suffix = pathlib.PurePath(name).suffix
    if "man" in path.parts:  # English pages lie in man1 ... man9, translations in a folder a language
        return ("manual", from_manual) if re.search(r"/man/man\d/[^/]*$", path.as_posix()) else None
    if suffix in (".pm", ".pod", ".pl"):
        return "pod", from_pod
    if suffix == ".py":
        return "docstrings", from_python
    if suffix in (".h", ".hpp", ".hh", ".ipp") or "/include/c++/" in path.as_posix():
        return "comments", from_c
    if re.match(r"(copyright|README|NEWS|FAQ|ANNOUNCE|CHANGES|RelNotes)", name) or "common-licenses" in path.parts:
        return "notes", from_text
    if suffix in (".txt", ".rst", ".md", ".info") and not name.startswith(("CMakeLists", "SOURCES", "top_level")):
        return "notes", from_text
    return None


def read(path):
    """The file's text; nothing where it is unreadable, damaged, too large or not UTF-8."""
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            return ""
        data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        return data.decode("utf-8").replace("\r\n", "\n") if len(data) <= 4 * MAX_FILE_BYTES else ""
    except (OSError, EOFError, zlib.error, UnicodeDecodeError):
        return ""


def is_prose(paragraph):
    """Mostly letters and blanks, and in sentences: tables, code and lists of names are left out."""
    letters = sum(map(str.isalpha, paragraph)) + paragraph.count(" ")
    words = paragraph.split()
    return len(words) >= 6 and letters > 0.8 * len(paragraph) and any(w in COMMON for w in map(str.lower, words))


COMMON = frozenset("the of and to in is that for with as be on are this it or by an not from which if can you a".split())


def paragraphs(text):
    for part in re.split(r"\n\s*\n", text):
        lines = [" ".join(line.split()) for line in part.splitlines()]
        part = "\n".join(line for line in lines if line and not re.fullmatch(r"[-=*~_#. ]+", line))
        if is_prose(part):
            yield part


def digest(text):
    return hashlib.blake2b(text.encode("utf-8", "surrogateescape"), digest_size=16).digest()


def gather(folders, most):
    """Yields (text, path, kind), of each folder about `most` characters at most. Files come in the order of a hash, so that
    a part of a folder is a fair one, and of equal paragraphs the same one stays each time."""
    seen, visited = set(), set()
    for folder in folders:
        files = [folder] if folder.is_file() else sorted(folder.rglob("*"), key=lambda path: digest(str(path)))
        taken = 0
        for path in files:
            found = extractor(path)
            if taken > most or not found or path in visited or path.is_symlink() or not path.is_file():
                continue
            visited.add(path)
            for text in documents(found[1](read(path)), seen):
                taken += len(text)
                yield text, path, found[0]


def documents(text, seen):
    """The paragraphs not `seen` before, joined to texts of SHORTEST to LONGEST characters."""
    kept, length = [], 0
    for paragraph in paragraphs(text):
        key = digest(" ".join(paragraph.lower().split()))
        if key in seen or len(paragraph) > LONGEST:
            continue
        seen.add(key)
        if length + len(paragraph) > LONGEST:
            yield "\n\n".join(kept)
            kept, length = [], 0
        kept.append(paragraph)
        length += len(paragraph) + 2
    if length >= SHORTEST:
        yield "\n\n".join(kept)


def write_shard(path, chosen):
    lines = "".join(json.dumps({"text": text, "url": f"file://{source}", "metadata": {"kind": kind}}) + "\n"
                    for text, source, kind in chosen)
    part = path.with_suffix(".part")
    subprocess.run(["zstd", "-q", "-f", "-9", "-o", str(part)], input=lines.encode(), check=True)
    part.rename(path)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=pathlib.Path, required=True, help="folder for the shards")
    parser.add_argument("--max-mb", type=float, default=16, help="MB of text at most (default: %(default)s)")
    parser.add_argument("--shards", type=int, default=4, help="number of files (default: %(default)s)")
    parser.add_argument("sources", nargs="*", metavar="SOURCE", help="files or folders instead of the system's")
    args = parser.parse_args()

    sources = args.sources or SOURCES
    folders = [path for source in sources for path in map(pathlib.Path, sorted(glob.glob(source)))]
    order = sorted(gather(folders, args.max_mb * 1e6 / 3), key=lambda document: digest(document[0]))
    chosen, size = [], 0
    for document in order:
        if size + len(document[0]) <= args.max_mb * 1e6:
            chosen.append(document)
            size += len(document[0])
    if not chosen:
        sys.exit("gather_text.py: no text found in " + ", ".join(sources) + "; name other folders")
    args.out.mkdir(parents=True, exist_ok=True)
    for index in range(args.shards):
        write_shard(args.out / f"shard_{index:08d}_processed.jsonl.zst", chosen[index::args.shards])
    kinds = {}
    for text, _, kind in chosen:
        kinds[kind] = kinds.get(kind, 0) + len(text)
    parts = ", ".join(f"{kind} {chars / 1e6:.1f}" for kind, chars in sorted(kinds.items(), key=lambda k: -k[1]))
    print(f"{len(chosen)} documents, {size / 1e6:.1f} MB ({parts})")


if __name__ == "__main__":
    main()
