#!/usr/bin/env python3
"""The paper's metrics against NumPy on what transformers' own forward pass of the same models has: attentions, hidden states.

What would be caught: a metric that reads another row, head, block or position than its definition does; a definition of
sail-sg/Attention-Sink or locuslab/massive-activations that ours only resembles.
"""

import json
import os
import sys
import tempfile
from pathlib import Path

import harness

sys.path.append(str(harness.ROOT / "tests/reference"))  # behind the packages, of which one has the name of a file there
try:
    import h5py
    import numpy
    import torch

    import old_torch  # noqa: F401, before transformers
    import transformers
except ImportError as missing:
    print(f"metrics_by_transformers_test.py: skipped: {missing}; scripts/setup.sh --tests brings it")
    sys.exit(77)

os.environ["HF_HUB_OFFLINE"] = "1"
transformers.logging.set_verbosity_error()
torch.set_num_threads(1)
torch.manual_seed(7)
report = harness.Report()

# Wide enough in their initial values that heads point and channels stand out. The last is of ours, trained and exported.
SHAPE = dict(vocab_size=258, hidden_size=48, intermediate_size=80, num_hidden_layers=3, num_attention_heads=6,
             num_key_value_heads=2, max_position_embeddings=128, initializer_range=0.3, bos_token_id=257, eos_token_id=256,
             pad_token_id=None)  # fmt: skip
MODELS = {"llama": "Llama", "qwen25": "Qwen2", "qwen3": "Qwen3", "olmo2": "Olmo2"}
SEQUENCES, EPSILON, SPIKE_ABS, SPIKE_RATIO = 7, 0.09, 6.0, 5.0  # bounds that models of this size reach


def make(name, folder):
    config = getattr(transformers, MODELS[name] + "Config")(**SHAPE)
    model = getattr(transformers, MODELS[name] + "ForCausalLM")(config)
    with torch.no_grad():
        for value in model.parameters():
            if value.dim() == 1:
                value += 0.5 * torch.randn_like(value)
    model.save_pretrained(folder)


def residual_and_attention(folder, tokens):
    """(2 L, S, T, C) after each block, attention and FFN by turns, and (S, L, H, T, T)."""
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, attn_implementation="eager").double().eval()
    olmo = model.config.model_type == "olmo2"  # its FFN reads the residual stream itself
    after_attention = []
    for layer in model.model.layers:
        reader = layer.mlp if olmo else layer.post_attention_layernorm
        reader.register_forward_pre_hook(lambda _, given: after_attention.append(given[0]))
    last = []
    model.model.norm.register_forward_pre_hook(lambda _, given: last.append(given[0]))  # before the final norm
    with torch.no_grad():
        out = model(torch.from_numpy(tokens), output_attentions=True, output_hidden_states=True)
    after_ffn = [*out.hidden_states[1:-1], last[0]]
    blocks = [h.numpy() for pair in zip(after_attention, after_ffn) for h in pair]
    return numpy.stack(blocks), numpy.stack([a.double().numpy() for a in out.attentions], 1)


def sail_sg(attention, k, epsilon):
    """Of each sequence the share of heads of which key k (from 0) gets more than epsilon of the rows that see it."""
    T = attention.shape[-1]
    return (attention[..., k].sum(-1) / (T - k) > epsilon).mean((1, 2))


def locuslab(hidden):
    """Of each layer the three largest |h| and the median over (token, channel), each the mean over sequences."""
    flat = torch.from_numpy(numpy.abs(hidden)).flatten(2)  # (layers, S, T C)
    return flat.topk(3).values.mean(1).numpy(), flat.median(-1).values.mean(1).numpy()


def check(name, folder, checkpoint, shard, tokens, out, context):
    harness.run("analyze", checkpoint, "--data", shard, "--tokenizer", "bytes", "--out", out, "--sequences", SEQUENCES,
                "--only", "sinks", "--only", "trajectory", *harness.sets(
                    metrics__spike__abs=SPIKE_ABS, metrics__spike__ratio=SPIKE_RATIO, metrics__sink_epsilon=EPSILON))  # fmt: skip
    with h5py.File(out / "analysis.h5") as file:
        found = {}
        file.visititems(lambda key, item: found.update({key: item[...]}) if isinstance(item, h5py.Dataset) else None)
    summary = json.loads((out / "summary.json").read_text())

    def close(key, want, tolerance=1e-4):
        want = numpy.asarray(want)
        same = found[key].shape == want.shape and numpy.allclose(found[key], want, rtol=tolerance, atol=tolerance / 100)
        report.check(same, f"{name}: {key} is {found[key]}, by transformers {want}")

    for group, length in (("length", 64), ("context", context)):
        residual, attention = residual_and_attention(folder, tokens[:, :length])
        alpha = attention.mean(-2)  # (S, L, H, T): over all rows
        ratio = (alpha[..., : length // 2].max(-1) > EPSILON).mean((1, 2))
        close(f"sinks/{group}/sink_ratio", ratio, 0)
        close(f"sinks/{group}/sink_first", (alpha[..., 0] > EPSILON).mean((1, 2)), 0)
        close(f"sinks/{group}/sink_first", sail_sg(attention, 0, EPSILON), 0)
        close(f"sinks/{group}/first_token_mass", attention[..., 1:, 0].mean((1, 2, 3)))
        magnitude = numpy.abs(residual).max((2, 3))  # (2 L, S)
        close(f"sinks/{group}/spike_max", magnitude.max(0))
        if group == "length":
            top, median = locuslab(residual)
            close("trajectory/residual/top_values", top)
            close("trajectory/residual/median", median)
            flat = numpy.sort(numpy.abs(residual).reshape(*residual.shape[:2], -1))
            each = flat[..., (flat.shape[-1] - 1) // 2]  # the median that PyTorch takes: the lower of two
            massive = numpy.abs(residual) > numpy.maximum(SPIKE_ABS, SPIKE_RATIO * each)[..., None, None]
            channels = numpy.flatnonzero(massive.any((0, 1, 2))).tolist()
            report.check(sorted(found["trajectory/spikes/channels"]) == channels, f"{name}: spike channels {channels}")
        probe = summary["sinks"][group].get("probe")
        if probe:
            near = abs(probe["spike_mean"] - magnitude.max(0).mean()) <= 1e-4 * probe["spike_mean"]
            report.check(near and abs(probe["spike_max"] - magnitude.max()) <= 1e-4 * probe["spike_max"], f"{name}: {probe}")
    return ratio.mean(), len(channels)  # at the context


with tempfile.TemporaryDirectory() as temporary:
    home = Path(temporary)
    corpus = harness.write_corpus(home / "data")
    shard = next(path for path in sorted((home / "data").iterdir()) if path.suffix == ".jsonl")
    ids = [i for line in shard.read_text().splitlines() for i in [*json.loads(line)["text"].encode(), 256]]
    tokens = numpy.array(ids[: SEQUENCES * 128]).reshape(SEQUENCES, 128)  # as documents are packed
    sinks, spikes = {}, {}
    for name in MODELS:
        make(name, home / name)
        harness.run("import", home / name, "--out", home / f"{name}_in")
        sinks[name], spikes[name] = check(name, home / name, home / f"{name}_in", shard, tokens, home / f"{name}_out", 128)
    harness.run("train", harness.TINY, *harness.sets(
        data__train=f"[{corpus}]", data__holdout=0.1, run__dir=home, run__name="ours", metrics__sequences=5,
        train__schedule__warmup_steps=5, train__steps=40))  # fmt: skip
    harness.run("export", home / "ours", "--out", home / "ours_hf")
    check("ours", home / "ours_hf", home / "ours", shard, tokens, home / "ours_out", 128)
    report.check(any(0 < share < 1 for share in sinks.values()), f"some heads are sink heads: {sinks}")
    report.check(any(spikes.values()), f"some channels are spike channels: {spikes}")
report.end()
