#!/usr/bin/env python3
"""analyze on a short trained model: every group with its units, --only, what is refused, and figures that eval has too."""

import json
import shutil
import string
import tempfile
from pathlib import Path

import h5py
import numpy
import harness

import plain_llama

GROUPS = ["sinks", "trajectory", "silu", "quadratic", "vocabulary", "first_position", "delimiters", "norm", "distance",
          "keys"]

report = harness.Report()


def poison(checkpoint):
    """A NaN in a weight, under checksums that fit."""
    path = checkpoint / "rank_0000.h5"
    with h5py.File(path, "r+") as file:
        file["weights/model.layers.1.mlp.down_proj.weight"][3, 4] = numpy.nan
    harness.seal(checkpoint)


def refused(what, code, *arguments, says=()):
    done = harness.run("analyze", *arguments, check=False)
    report.check(done.returncode == code, f"{what}: exit {done.returncode}, not {code}: {done.stderr}")
    report.check(done.stderr.count("\n") == 1 and all(word in done.stderr for word in says), f"{what}: {done.stderr}")


def tokens_of(shard, sequences, context):
    """Samples as documents are packed: bytes, and 256 at the end of each."""
    ids = [i for line in shard.read_text().splitlines() for i in [*json.loads(line)["text"].encode(), 256]]
    return numpy.array(ids[: sequences * context]).reshape(sequences, context)


def check_by_numpy(out, checkpoint, tokens, length, epsilon, spike):
    """Every figure that NumPy can say something of, from what its own forward pass has in double."""
    ours = plain_llama.Forward(*plain_llama.read_checkpoint(checkpoint), tokens[:, :length])
    S, T = tokens[:, :length].shape
    with h5py.File(out / "analysis.h5") as file:
        found = {}
        file.visititems(lambda name, item: found.update({name: item[...]}) if isinstance(item, h5py.Dataset) else None)

    def close(name, want, tolerance=1e-4):
        want = numpy.asarray(want)
        same = found[name].shape == want.shape and numpy.allclose(found[name], want, rtol=tolerance, atol=1e-6, equal_nan=True)
        report.check(same, f"{name} is NumPy's: {found[name]}, {want}")

    A = numpy.stack(ours.attention, 1)  # (S, L, H, T, T)
    alpha = A.mean(-2)
    sink = alpha[..., : T // 2].max(-1) > epsilon  # (S, L, H)
    ratio = sink.mean((1, 2))
    report.check(0 < ratio.mean() < 1, f"some heads are sink heads: {ratio}")
    close("sinks/length/sink_ratio", ratio, 0)
    close("sinks/length/sink_first", (alpha[..., 0] > epsilon).mean((1, 2)), 0)
    close("sinks/length/first_token_mass", A[..., 1:, 0].mean((1, 2, 3)))
    far = numpy.arange(T)[:, None] - numpy.arange(T)
    close("distance/distance", (A * far).sum(-1)[..., 1:].mean((0, 3)))
    rest = A[..., 1:, 1:]
    close("distance/distance_without_first", ((rest * far[1:, 1:]).sum(-1) / rest.sum(-1)).mean((0, 3)))
    close("distance/sink_share", sink.mean(0))

    h = numpy.abs(numpy.stack(ours.residual, 1)).reshape(S, len(ours.residual), -1)  # (S, 2 L, T C)
    h.sort(-1)
    median = h[..., (h.shape[-1] - 1) // 2]
    close("trajectory/residual/median", median.mean(0))
    close("trajectory/residual/top_values", h[..., :-4:-1].mean(0))
    close("sinks/length/spike_max", h[..., -1].max(1))
    block = h[..., -1].argmax(1)
    close("sinks/length/spike_ratio", h[..., -1].max(1) / median[numpy.arange(S), block])
    added = numpy.abs(numpy.stack(ours.added, 1)).max(2)  # (S, 2 L, C): over positions
    added = numpy.sort(added.mean(0), -1)
    close("trajectory/output/top_channel_values", added[:, :-4:-1])

    massive = numpy.abs(numpy.stack(ours.residual, 1)) > numpy.maximum(spike[0], spike[1] * median)[..., None, None]
    token, channel = massive.any((1, 3)), massive.any((0, 1, 2))
    report.check(token.any() and not token.all(), "some tokens are spike tokens")
    report.check(sorted(found["trajectory/spikes/channels"]) == numpy.flatnonzero(channel).tolist(), "spike channels")
    classes = (token, ~token)

    silu = [g / (1 + numpy.exp(-g)) for g in ours.gate]
    norm = lambda x: numpy.sqrt((x * x).sum(-1))
    by_class = lambda values: [[v[c].mean() for c in classes] for v in values]
    close("silu/cosine", by_class([(s * g).sum(-1) / norm(s) / norm(g) for s, g in zip(silu, ours.gate)]))
    close("silu/norm_ratio", by_class([norm(s) / norm(g) for s, g in zip(silu, ours.gate)]))
    close("norm/max", [[numpy.abs(n[c]).max() for c in classes] for n in ours.normed])
    close("norm/spike_share", by_class([(n[..., channel] ** 2).sum(-1) / (n**2).sum(-1) for n in ours.normed]))
    close("norm/participation", by_class([(n**2).sum(-1) ** 2 / (n**4).sum(-1) for n in ours.normed]))
    pairs = []
    for x in ours.residual:
        unit = x / norm(x)[..., None]
        pairs.append([(u @ u.T)[numpy.triu_indices(len(u), 1)].mean() for u in (unit[c] for c in classes)])
    close("norm/cosine", numpy.array([found["norm/cosine"][0], *pairs]))  # before the first block: the embedding


def check_structure_by_numpy(out, checkpoint, tokens, length, epsilon, spike):
    """The structural analyses, with the d x d matrices that they never form."""
    model, weights = plain_llama.read_checkpoint(checkpoint)
    ours = plain_llama.Forward(model, weights, tokens[:, :length])
    C, L, H, D = model["d_model"], model["n_layers"], model["attention"]["n_heads"], model["attention"]["d_head"]
    V, T = model["vocab_size"], length
    with h5py.File(out / "analysis.h5") as file:
        found = {}
        file.visititems(lambda name, item: found.update({name: item[...]}) if isinstance(item, h5py.Dataset) else None)

    def close(name, got, want, tolerance=1e-3):
        report.check(numpy.allclose(got, want, rtol=tolerance, atol=1e-5), f"{name} is NumPy's: {got}, {want}")

    for layer in range(L):
        path = f"model.layers.{layer}."
        w = lambda name: weights[path + name + ".weight"]
        gate, up = (w(f"mlp.{name}_proj") * w("post_attention_layernorm") for name in ("gate", "up"))
        U = numpy.einsum("ki,ia,ib->kab", w("mlp.down_proj"), gate, up, optimize=True)
        S = (U + U.transpose(0, 2, 1)) / 2
        close("norm", found["quadratic/norm"][layer], numpy.linalg.norm(U, axis=(1, 2)))
        close("symmetric norm", found["quadratic/symmetric_norm"][layer], numpy.linalg.norm(S, axis=(1, 2)))
        spectrum = numpy.linalg.eigvalsh(S[found["quadratic/channels"][layer]])
        spectrum = numpy.take_along_axis(spectrum, numpy.argsort(-numpy.abs(spectrum), -1), -1)
        # Two that differ in sign only may change places.
        close("eigenvalues", numpy.abs(found["quadratic/eigenvalues"][layer]), numpy.abs(spectrum[:, :4]))
        value = w("self_attn.v_proj").reshape(-1, D, C)
        value = value.repeat(H // len(value), 0).reshape(H * D, C)
        singular = numpy.linalg.svd(w("self_attn.o_proj") @ value)[1]
        close("singular values", found["first_position/singular_values"][layer], singular[:4])
    report.check(found["first_position/error"].max() < 1e-4, f"W_VO is attention at position 1: {found['first_position/error']}")

    alone = plain_llama.Forward(model, weights, numpy.arange(V)[:, None])
    h = numpy.sort(numpy.abs(numpy.stack(alone.residual))[:, :, 0], -1)  # (2 L, V, C)
    close("vocabulary", found["vocabulary/max"], h[..., -1].max(0))
    massive = (h[..., -1] > spike[0]) & (h[..., -1] > spike[1] * h[..., (C - 1) // 2])
    differs = (massive.any(0) != found["vocabulary/is_spike"]).sum()
    report.check(massive.any() and differs <= 1, f"{differs} items of {massive.any(0).sum()} are no spike tokens")

    marks = numpy.isin(tokens[:, :T], [ord(c) for c in string.punctuation + "\n"])
    itself = numpy.stack(ours.attention).diagonal(0, 3, 4)[..., 1:]  # (L, S, H, T - 1)
    for kind, of in enumerate((marks, ~marks)):
        close("self-attention", found["delimiters/self_attention"][..., kind],
              itself.transpose(0, 2, 1, 3)[:, :, of[:, 1:]].mean(-1))  # fmt: skip

    alpha = numpy.stack(ours.attention, 1).mean(-2)[..., : T // 2]  # (S, L, H, T / 2)
    votes = (numpy.eye(T // 2)[alpha.argmax(-1)] * (alpha.max(-1) > epsilon)[..., None]).sum((1, 2))
    sink = votes.argmax(-1)
    report.check((sink == found["keys/sink_position"]).all(), f"sinks: {found['keys/sink_position']}, {sink}")
    rows, others = numpy.arange(len(sink)), numpy.arange(T) != sink[:, None]
    sees = numpy.tril(numpy.ones((T, T), bool)) & others[:, None]  # of (query, other key)
    behind = numpy.arange(T) > sink[:, None]
    for layer in range(L):
        for head in range(H):
            q, k = ours.q[layer][:, head], ours.k[layer][:, head]
            for name, keys in (("sink", k[rows, sink]), ("other", k[others])):
                eigenvalues = numpy.linalg.eigvalsh(numpy.cov(keys.T, bias=True))
                close(f"{name} dimension", found[f"keys/{name}_dimension"][layer, head],
                      eigenvalues.sum() ** 2 / (eigenvalues**2).sum())  # fmt: skip
            logits = numpy.einsum("btd,bsd->bts", q, k) / D**0.5
            gap = logits[rows, :, sink] - (logits * sees).sum(-1) / numpy.maximum(sees.sum(-1), 1)
            close("logit gap", found["keys/logit_gap"][layer, head], gap[behind].mean())


with tempfile.TemporaryDirectory() as temporary:
    home = Path(temporary)
    corpus = harness.write_corpus(home / "data")
    train = lambda name, **keys: harness.run("train", harness.TINY, *harness.sets(
        data__train=f"[{corpus}]", data__holdout=0.1, run__dir=home, run__name=name, metrics__sequences=20,
        train__schedule__warmup_steps=5, **keys))  # fmt: skip
    train("swiglu", train__steps=40, checkpoint__every_steps=20)
    train("gelu", train__steps=10, model__ffn__kind="gelu")
    run, out = home / "swiglu", home / "out"

    # Spikes by bounds that a model of this size reaches.
    spike = harness.sets(metrics__spike__abs=1, metrics__spike__ratio=3)
    done = harness.run("analyze", run, "--out", out, "--sequences", 20, *spike)
    for name in GROUPS:
        report.check(f"\n{name}: " in done.stdout, f"{name} has a line in the log: {done.stdout}")
    report.check("length.sink_ratio" in done.stdout, f"a table of the figures: {done.stdout}")
    summary = json.loads((out / "summary.json").read_text())
    report.check(list(summary) == ["source", *GROUPS], f"a summary of each analysis: {list(summary)}")
    with h5py.File(out / "analysis.h5") as file:
        report.check(sorted(file) == sorted(GROUPS), f"a group of each analysis: {sorted(file)}")
        found = {key: file.attrs[key] for key in ("step", "sequences", "length", "context")}
        report.check(found == {"step": 40, "sequences": 20, "length": 64, "context": 128}, f"attributes: {found}")
        arrays = []
        file.visititems(lambda name, item: arrays.append(item) if isinstance(item, h5py.Dataset) else None)
        without = [a.name for a in arrays if not {"unit", "meaning"} <= set(a.attrs)]
        report.check(len(arrays) > 40 and not without, f"arrays without unit and meaning: {without}")
        shapes = {name: file[name].shape for name in ("trajectory/residual/top_values", "sinks/length/sink_ratio",
                                                      "norm/cosine", "silu/cosine", "distance/distance")}
        report.check(list(shapes.values()) == [(8, 3), (20,), (9, 2), (4, 2), (4, 4)], f"shapes: {shapes}")
        top = file["trajectory/residual/top_values"][...]
        report.check(numpy.all(top[:, 0] >= top[:, 1]) and numpy.all(top > 0), f"top three fall: {top}")
        report.check(numpy.isfinite(file["distance/distance"][...]).all(), "distances are finite")
        whole = {a.name: a[...] for a in arrays}
    report.check((out / "log.txt").exists() and not list(out.glob("*.unfinished")), "a log, and nothing unfinished")
    report.check(summary["source"]["step"] == 40 and summary["trajectory"]["spike_channels"], f"spikes: {summary}")

    # What eval measures on the same sequences.
    measured = json.loads(harness.run("eval", run, "--sequences", 20, "--json", *spike).stdout)
    for suffix, group in (("", "length"), ("_context", "context")):
        for name in ("sink_ratio", "sink_first", "first_token_mass"):
            ours, theirs = summary["sinks"][group][name]["mean"], measured[name + suffix]
            report.check(abs(ours - theirs) < 1e-6, f"{name}{suffix} is eval's: {ours}, {theirs}")
    for name in ("spike_max", "spike_mean", "spike_ratio"):
        ours, theirs = summary["sinks"]["context"]["probe"][name], measured[name]
        report.check(abs(ours - theirs) <= 1e-5 * theirs, f"{name} is eval's: {ours}, {theirs}")

    # One analysis again: its figures are the same, and the others stay to the last bit.
    done = harness.run("analyze", run, "--out", out, "--sequences", 20, "--only", "silu", *spike)
    report.check("norm: " not in done.stdout, "only what is asked for is run")
    with h5py.File(out / "analysis.h5") as file:
        same = [name for name, values in whole.items() if not numpy.array_equal(file[name][...], values, equal_nan=True)]
        report.check(sorted(file) == sorted(GROUPS) and not same, f"the same arrays as before, but for {same}")
    again = json.loads((out / "summary.json").read_text())
    report.check(again == summary, "the summary is the same")

    # On text of which the tokens are known, against NumPy.
    shard = next(path for path in sorted((home / "data").iterdir()) if path.suffix == ".jsonl")
    texts = [json.loads(line)["text"] for line in shard.read_text().splitlines()]
    shard = home / "known.jsonl"  # with delimiters
    shard.write_text("".join(json.dumps({"text": text.replace(" ", ", ")}) + "\n" for text in texts))
    bounds = harness.sets(metrics__spike__abs=1, metrics__spike__ratio=3, metrics__sink_epsilon=0.08)
    harness.run("analyze", run, "--out", home / "known", "--data", shard, "--sequences", 6, *bounds)
    for check in (check_by_numpy, check_structure_by_numpy):
        check(home / "known", run / "checkpoints/step_00000040", tokens_of(shard, 6, 128), 64, 0.08, (1, 3))

    # A model that has no SiLU: left out where all are asked for, refused where it alone is.
    gelu = home / "gelu_out"
    done = harness.run("analyze", home / "gelu", "--out", gelu, "--sequences", 5)
    report.check("silu: left out: the model's FFN is gelu" in done.stdout, f"silu is left out: {done.stdout}")
    report.check("quadratic: left out: the model has no SwiGLU" in done.stdout, f"so is quadratic: {done.stdout}")
    without = json.loads((gelu / "summary.json").read_text())
    report.check(not {"silu", "quadratic"} & set(without), "and they have no figures")
    refused("silu alone", 2, home / "gelu", "--out", home / "none", "--only", "silu", says=["silu", "gelu"])

    before = (out / "summary.json").read_text()
    refused("another checkpoint", 2, home / "gelu", "--out", out, "--sequences", 20, *spike,
            says=["another checkpoint", "--out"])
    refused("another step", 2, run / "checkpoints/step_00000020", "--out", out, "--sequences", 20, *spike,
            says=["another checkpoint"])
    refused("other bounds", 2, run, "--out", out, "--sequences", 20, "--only", "norm", says=["spike_abs"])
    refused("fewer sequences", 2, run, "--out", out, "--sequences", 10, "--only", "norm", *spike, says=["sequences"])
    report.check((out / "summary.json").read_text() == before, "a refusal changes nothing")
    refused("an unknown analysis", 2, run, "--out", out, "--only", "spectrum", says=["spectrum", *GROUPS])
    refused("a longer length", 2, run, "--out", out, "--length", 200, says=["--length 200", "128"])
    refused("a longer context", 2, run, "--out", out, "--context", 200, says=["--context 200", "128"])
    refused("another model", 2, run, "--out", out, "--set", "model.d_model=64", says=["model.d_model"])
    refused("no checkpoint", 3, home / "data", "--out", out, says=["data"])
    refused("no data", 3, run, "--out", out, "--data", home / "none.jsonl", says=["none.jsonl"])
    refused("no tokenizer", 3, run, "--out", out, "--tokenizer", home / "none.model", says=["none.model"])
    refused("eviction of 2", 2, run, "--out", home / "short", "--only", "eviction", "--length", 2,
            says=["eviction", "--length 2", "--length 4"])  # fmt: skip
    refused("eviction of a context of 3", 2, run, "--out", home / "short", "--only", "eviction", "--context", 3,
            says=["eviction", "--context 3", "--context 4"])  # fmt: skip
    refused("one token, which has no choice", 2, run, "--out", home / "short", "--length", 1, says=["--length", "at least 2"])
    report.check(not (home / "short").exists(), "a refusal for the length leaves no folder")
    harness.run("analyze", run, "--out", home / "two", "--sequences", 5, "--length", 2)
    report.check(len(json.loads((home / "two/summary.json").read_text())) > 8, "every analysis by default goes with two tokens")
    done = harness.run("analyze", run, "--out", home / "small", "--context", 32, "--sequences", 10**6, "--only", "norm")
    report.check("of 1000000: the text has no more" in done.stdout, f"fewer sequences are told: {done.stdout}")
    report.check(json.loads((home / "small/summary.json").read_text())["source"]["length"] == 32, "length by default")

    # A weight that is not finite.
    broken = home / "broken"
    shutil.copytree(run / "checkpoints/step_00000040", broken)
    poison(broken)
    refused("a NaN weight", 3, broken, "--out", home / "nan", says=["not finite", "layers"])
    report.check(not (home / "nan").exists(), "a broken model leaves no folder")
    measured = json.loads(harness.run("eval", broken, "--sequences", 4, "--json").stdout)
    for name in ("loss", "spike_max", "spike_mean", "spike_ratio", "sink_ratio", "sink_first", "first_token_mass"):
        report.check(measured[name] is None, f"eval has no {name} of a broken model: {measured}")
    (home / "file").write_text("")
    refused("no folder", 3, run, "--out", home / "file/out", says=["file/out"])
report.end()
