#!/usr/bin/env python3
"""No config, checkpoint, store, sweep or probe file makes the program or the report write outside its run's folder, run a command, or read a file
that nobody named.

What else shows it: safetensors indices (tests/io/safetensors.cpp), manifests (tests/data/store.cpp), sbatch scripts (tests/sweeps/slurm_script.cpp),
reports (report_test.py)."""

import json
import os
import re
import resource
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import h5py
import harness

LITTLE_MEMORY = 4 << 30  # of addresses, many times what the small model takes
report = harness.Report()


def refused(what, done, *says, code=3):
    line = done.returncode == code and done.stderr.count("\n") == 1 and all(text in done.stderr for text in says)
    report.check(line, f"{what}: exit {done.returncode}, stderr {done.stderr!r}, wanted {says}")


def rewrite(path, name, make):
    """Puts something else in the place of a dataset; the rest of the file stays."""
    with h5py.File(path, "r+") as file:
        values = file[name][()]
        del file[name]
        make(file, name, values)


def linked_from(other):
    return lambda file, name, values: file.__setitem__(name, h5py.ExternalLink(str(other), name))


def stored_in(other):
    return lambda file, name, values: file.create_dataset(name, values.shape, values.dtype, external=[(str(other), 0, values.nbytes)])


def seen_through(other):
    def make(file, name, values):
        layout = h5py.VirtualLayout(values.shape, values.dtype)
        layout[...] = h5py.VirtualSource(str(other), name, values.shape)
        file.create_virtual_dataset(name, layout)

    return make


def without_places(store):
    """A manifest that leaves it to HDF5 where tokens lie, and fits its files' sizes."""
    manifest = json.loads((store / "manifest.json").read_text())
    for file in manifest["files"]:
        file["bytes"] = (store / file["name"]).stat().st_size
        for part in ("train", "held_out"):
            del file[part]["tokens_at"]
    (store / "manifest.json").write_text(json.dumps(manifest))


WAYS = {"a link into another file": linked_from, "numbers in another file": stored_in, "a view of another file": seen_through}


with tempfile.TemporaryDirectory() as temporary:
    home = Path(temporary)
    work, outside = home / "work", home / "outside"
    work.mkdir()
    outside.mkdir()
    corpus = harness.write_corpus(home / "data", documents=60)
    keys = harness.sets(
        data__train=f"[{corpus}]", data__holdout=0.1, data__lanes=3, train__steps=2, train__schedule__warmup_steps=1, metrics__sequences=2,
        **harness.SMALL)  # fmt: skip

    # Names of runs are names of folders, and no text of a config is looked at by a shell.
    for name in ("../outside/run", str(outside / "run"), "..", "a/../../outside", "a/b"):
        refused(f"run.name {name}", harness.run("train", harness.TINY, *keys, *harness.sets(run__dir=work, run__name=name), check=False, cwd=work), "run.name", code=2)
    report.check(not any(work.iterdir()) and not any(outside.iterdir()), "names that are refused make nothing")
    run = work / "$(touch pwned) `touch pwned`; touch pwned" / "it's $(touch pwned) \"<b>\" %s%n"
    harness.run("train", harness.TINY, *keys, "--set", f"run.dir={json.dumps(str(run.parent))}", "--set", f"run.name={json.dumps(run.name)}", cwd=work)
    report.check([path.name for path in work.iterdir()] == [run.parent.name], f"a run makes its folder only: {list(work.iterdir())}")

    # A checkpoint that would have another file read: refused, though its checksums fit.
    checkpoint = run / "checkpoints/step_00000002"
    with h5py.File(checkpoint / "rank_0000.h5") as file:
        weights = []
        file.visititems(lambda name, item: weights.append(name) if isinstance(item, h5py.Dataset) and name.startswith("weights/") else None)
    shutil.copy(checkpoint / "rank_0000.h5", outside / "other.h5")
    for way, make in WAYS.items():
        bad = home / "bad"
        shutil.copytree(checkpoint, bad)
        rewrite(bad / "rank_0000.h5", weights[0], make(outside / "other.h5"))
        harness.seal(bad)
        refused(f"checkpoint, {way}", harness.run("eval", bad, "--sequences", 1, check=False), str(bad / "rank_0000.h5"), weights[0])
        shutil.rmtree(bad)

    # The same of a token store.
    store = home / "store"
    harness.run("prepare", corpus, "--tokenizer", "bytes", "--holdout", 0.1, "--threads", 1, "--out", store)
    shutil.copy(store / "shard_00000000.h5", outside / "tokens.h5")
    for way, make in WAYS.items():
        bad = home / "bad_store"
        shutil.copytree(store, bad)
        for shard in bad.glob("shard_*.h5"):
            rewrite(shard, "tokens", make(outside / "tokens.h5"))
        done = harness.run("data", "verify", bad, check=False)
        refused(f"verify of a store, {way}", done, str(bad), "is not sound")
        named = re.search(r"shard_00000000\.h5: tokens(:| has its numbers in another file)", done.stdout)
        report.check(named, f"verify of a store, {way}: {done.stdout!r}")
        without_places(bad)
        done = harness.run("train", harness.TINY, *keys, *harness.sets(data__train=f"[{bad}]", run__dir=home, run__name=way.replace(" ", "_")), check=False)
        refused(f"store, {way}", done, str(bad), "tokens")
        shutil.rmtree(bad)

    # The report draws nothing of another file: what would is left out, in one line each.
    probe = sorted((run / "probes").glob("step_*.h5"))[-1]
    shutil.copy(probe, outside / "probe.h5")
    with h5py.File(outside / "analysis.h5", "w") as file:
        file["trajectory/residual/max"] = [1.0, 2.0]
    lines = []
    for way, make in WAYS.items():
        shown = home / "shown" / way.replace(" ", "_")
        shutil.copytree(run, shown)
        (shown / "analysis").mkdir()
        (shown / "analysis/summary.json").write_text("{}")
        shutil.copy(outside / "analysis.h5", shown / "analysis/analysis.h5")
        for path, name in ((shown / "probes" / probe.name, "spike/max"), (shown / "analysis/analysis.h5", "trajectory/residual/max")):
            rewrite(path, name, make(outside / path.name.replace(probe.name, "probe.h5")))
            lines.append(f"report.py: {path}: {name} has its numbers in another file, which is not read; make the file anew, "
                         "with all of it inside; left out")  # fmt: skip
    done = subprocess.run([sys.executable, harness.ROOT / "scripts/report.py", home / "shown", "--out", home / "report.html"],
                          capture_output=True, text=True, timeout=600)  # fmt: skip
    report.check(done.returncode == 0 and sorted(done.stderr.splitlines()) == sorted(lines), f"report: exit {done.returncode}, {done.stderr}")

    # `latest` leads to a checkpoint beside it, or nowhere.
    shutil.copytree(checkpoint, outside / "step_00000002")
    latest = run / "checkpoints/latest"
    for target in ("../../../../outside/step_00000002", str(outside / "step_00000002"), "../checkpoints/step_00000002"):
        latest.unlink()
        latest.symlink_to(target)
        refused(f"latest -> {target}", harness.run("eval", run, "--sequences", 1, check=False), str(latest), "step_ folder beside it")

    # What an imported checkpoint kept goes along with an export; a link in it would take any file along.
    kept = home / "imported"
    shutil.copytree(checkpoint, kept)
    (kept / "huggingface").mkdir()
    (outside / "secret").write_text("nobody named this file")
    (kept / "huggingface/tokenizer.json").symlink_to(outside / "secret")
    refused("export of a link", harness.run("export", kept, "--out", home / "exported", check=False), str(kept / "huggingface/tokenizer.json"), "link")
    report.check(not (home / "exported").exists(), "no export is left")

    # So would a link in a model's folder that is imported; those of Hugging Face's cache lead to the model's own blobs.
    def import_of(model):
        shutil.rmtree(home / "brought", ignore_errors=True)
        return harness.run("import", model, "--out", home / "brought", check=False)

    model = home / "model"
    harness.run("export", checkpoint, "--out", model)
    cache = home / "hub/models--a--b"
    blobs, snapshot = cache / "blobs", cache / "snapshots/0123abcd"
    blobs.mkdir(parents=True)
    snapshot.mkdir(parents=True)
    for path in model.iterdir():
        shutil.copy(path, blobs / f"hash_of_{path.name}")
        (snapshot / path.name).symlink_to(f"../../blobs/hash_of_{path.name}")
    (blobs / "of_words").write_text('{"a": 1}')
    (snapshot / "vocab.json").symlink_to("../../blobs/of_words")
    (snapshot / "added_tokens.json").symlink_to("vocab.json")
    done = import_of(snapshot)
    came = [home / "brought/huggingface" / name for name in ("vocab.json", "added_tokens.json")]
    report.check(done.returncode == 0 and all(path.read_text() == '{"a": 1}' and not path.is_symlink() for path in came),
                 f"a model of Hugging Face's cache is imported: {done.stderr}")  # fmt: skip
    (blobs / "away").symlink_to(outside)
    for near in (home / "blobs", home / "model_2"):  # where a model's blobs would be without a cache; a name that begins as the model's
        near.mkdir()
        shutil.copy(outside / "secret", near / "secret")
    shutil.copytree(model, home / "models/a")
    for folder, name, target in (
        (model, "vocab.json", outside / "secret"),
        (model, "merges.txt", "../outside/secret"),
        (model, "my.tiktoken", "../model_2/secret"),
        (home / "models/a", "vocab.json", "../../blobs/secret"),
        (snapshot, "tokenizer.json", outside / "secret"),
        (snapshot, "chat_template.jinja", "../../blobs/away/secret"),
    ):
        (folder / name).symlink_to(target)
        refused(f"import of {name} -> {target}", import_of(folder), str(folder / name), "which is no file of the model")
        report.check(not (home / "brought").exists(), "no import is left")
        (folder / name).unlink()
    report.check(import_of(model).returncode == 0 and import_of(snapshot).returncode == 0, "imported without them")

    # How large a model is said to be takes no memory: the files must have it.
    def little():
        if "ASAN_OPTIONS" not in os.environ:  # that sanitizer takes all addresses there are
            resource.setrlimit(resource.RLIMIT_AS, (LITTLE_MEMORY, LITTLE_MEMORY))

    def hollow(file, name, values):
        """A dataset as of that many hidden channels, of which the file has no numbers."""
        file.create_dataset(name, [n if n == harness.SMALL["model__d_model"] else 16000000 for n in values.shape], "f4")

    state = json.loads((checkpoint / "state.json").read_text())
    large = home / "large"
    for changes, shapes_fit, says in (
        ({r"d_model: \d+": "d_model: 65536", r"n_layers: \d+": "n_layers: 64"}, False, "of another model"),
        ({"kind: swiglu": "kind: swiglu\n    d_hidden: 16000000"}, True, "too small for the numbers of weights/"),
    ):
        shutil.copytree(checkpoint, large)
        config = state["config"]
        for key, value in changes.items():
            config, count = re.subn(key, value, config)
            report.check(count == 1, f"the config has one {key}")
        (large / "state.json").write_text(json.dumps(state | {"config": config}))
        if shapes_fit:
            for name in [name for name in weights if "mlp" in name]:
                rewrite(large / "rank_0000.h5", name, hollow)
        harness.seal(large)
        for command in (["eval", "--sequences", 1], ["analyze", "--out", home / "large_analysis", "--sequences", 1], ["export", "--out", home / "large_model"]):
            done = harness.run(command[0], large, *command[1:], check=False, preexec_fn=little)
            refused(f"{command[0]} of {changes}", done, str(large / "rank_0000.h5"), says)
        shutil.rmtree(large)
    harness.run("eval", checkpoint, "--sequences", 1, preexec_fn=little)

    # Sweeps: rows are names of folders.
    for row in ("../../outside/row", str(outside / "row"), "..", "a b", "$(touch pwned)"):
        sweep = home / "sweep.yaml"
        sweep.write_text(f"name: s\ndir: {work}\nbase: {harness.TINY}\nrows: [{{name: {json.dumps(row)}}}]\n")
        refused(f"row {row}", harness.run("sweep", "run", sweep, check=False, cwd=work), "sweep.yaml", "no plain file name", code=2)

    made = sorted(str(path.relative_to(home)) for path in home.rglob("*") if re.search("pwned|row", path.name) and path != run.parent and path != run)
    report.check(not made, f"no command ran and nothing was made elsewhere: {made}")
    report.check(sorted(path.name for path in outside.iterdir()) == ["analysis.h5", "other.h5", "probe.h5", "secret", "step_00000002", "tokens.h5"], f"{sorted(outside.iterdir())}")
report.end()
