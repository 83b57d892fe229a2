#!/usr/bin/env python3
"""spikesink against PyTorch: logits, loss and the gradient of every parameter, for every row of configs/paper_cpu at tiny
size and for a list of combinations that no row has.

    compare.py DUMP [NAME...]      DUMP: the program reference_dump of the build; NAME: only configs whose name has it

Both sides have the same weights; PyTorch (model.py) always computes in double. A line a config, then `N passed, N failed`;
exit code 1 if one failed, 77 where there is no PyTorch.
"""
import copy
import os
import pathlib
import subprocess
import sys
import tempfile

try:
    import h5py
    import torch
    import yaml
except ImportError as missing:
    print(f"compare.py: skipped: {missing}; Debian has python3-torch, python3-h5py, python3-yaml")
    sys.exit(77)

import model

ROOT = pathlib.Path(__file__).resolve().parents[2]
ROWS = ROOT / "configs" / "paper_cpu"

# Largest difference over the largest magnitude of the tensor. Not element by element: an element is a sum of terms of about
# the tensor's scale, each rounded at that scale, so where it cancels to nearly 0 its error does not shrink with it. 1e-5 is some
# 80 roundings of f32; 1e-10 is half a million of f64, and far below what a wrong formula, eps or constant could hide in. A tensor of
# one element (alpha, a single gate's logit, the embedding's scale) has no larger element to show the scale of what it sums up,
# so there the scale is at least the root of the sum of squares of the terms (model.run). Where such a sum cancels, PyTorch in
# f32 misses 1e-5 of the sum too: 6e-5 for an alpha of norm_dynamic_tanh_both_qk_none.
TOLERANCE = {"f32": 1e-5, "f64": 1e-10}

# Small, and with weights that are large enough for attention to be far from even.
TINY = {
    "run": {"name": "reference", "seed": 3},
    "model": {"d_model": 32, "n_layers": 2, "context": 16, "vocab_size": 50, "init_std": 0.2,
              "attention": {"n_heads": 4, "d_head": 8}, "ffn": {"d_hidden": 40}},
    "data": {"train": ["none.jsonl"]},
    "train": {"steps": 10, "batch_tokens": 48, "micro_batch": 2, "schedule": {"warmup_steps": 1}},
}


def merged(base, over):
    """Maps merge, all else is replaced: what `extends` and --set do."""
    out = copy.deepcopy(base)
    for key, value in over.items():
        out[key] = merged(out[key], value) if isinstance(value, dict) and isinstance(out.get(key), dict) else value
    return out


def extended(path):
    """The keys of a config file over those of the files that it extends."""
    own = yaml.safe_load(path.read_text())
    out = {}
    bases = own.pop("extends", [])
    for base in [bases] if isinstance(bases, str) else bases:
        out = merged(out, extended(path.parent / base))
    return merged(out, own)


def tiny_row(path):
    """A config that extends a row and shrinks it. What rows are about stays: heads, and the loss's share of the context.

    DynamicTanh does not normalise: at alpha 2 weights as large as the others' drive it into saturation, and rounding grows from
    layer to layer, in PyTorch's f32 as well (1.2e-5 of an alpha's gradient). So its weights shrink as alpha grows."""
    row = extended(path)
    m, first = row["model"], row["train"].get("loss_from_position", 1)
    context = max(m["context"] // 4, 4)
    alphas = m.get("norm", {}).get("alpha", {}).values()
    tiny = {"extends": str(path), "run": TINY["run"],
            "model": {"d_model": 32, "n_layers": 2, "context": context, "vocab_size": 50,
                      "init_std": 0.2 / max([1, *alphas])},
            "train": {"batch_tokens": 3 * context, "micro_batch": 2,
                      "loss_from_position": -(-first * context // m["context"])}}
    if m.get("ffn", {}).get("kind", "swiglu") in ("swiglu", "gelu"):
        tiny["model"]["ffn"] = {"d_hidden": 40}
    return tiny


def extras():
    """{name: config} of what no row of the paper has, or not alone."""
    out = {}

    def add(name, config, drop_hidden=False):
        full = merged(TINY, config)
        if drop_hidden:
            del full["model"]["ffn"]["d_hidden"]
        out[name] = full

    norm = lambda **keys: {"model": {"norm": keys}}
    attention = lambda **keys: {"model": {"attention": keys}}
    ffn = lambda **keys: {"model": {"ffn": keys}}
    for qk in ("none", "head", "full"):
        for kind in ("rmsnorm", "layernorm", "dynamic_tanh"):
            add(f"norm_{kind}_both_qk_{qk}", norm(kind=kind, output=True, qk=qk))
    add("norm_layernorm_input", norm(kind="layernorm"))
    add("norm_dynamic_tanh_beta", norm(kind="dynamic_tanh", output=True, beta=True))
    add("norm_output_only", norm(input=False, output=True))
    add("norm_none", norm(input=False, final=False))
    add("norm_none_but_final", norm(input=False))
    add("norm_large_eps", norm(eps=0.3, output=True, qk="head"))
    add("norm_large_eps_layernorm", norm(kind="layernorm", eps=0.3, qk="full"))
    add("norm_output_eps", norm(output=True, output_eps=0.01, qk="head"))
    add("norm_output_eps_alone_qk_full", norm(input=False, output=True, output_eps=0.01, qk="full"))
    add("norm_output_eps_no_other", norm(input=False, output=True, final=False, output_eps=0.01))
    add("norm_output_eps_layernorm", norm(kind="layernorm", output=True, output_eps=0.01))
    for source in ("conditional", "unconditional", "positional", "token"):
        for granularity in ("channel", "head", "single"):
            add(f"gate_{source}_{granularity}", attention(gate={"source": source, "granularity": granularity}))
        add(f"gate_{source}_ffn_attention_no_norm",
            merged(merged(attention(gate={"source": source}), ffn(kind="attention")), norm(input=False)), drop_hidden=True)
    add("gate_token_embedding_scale_tied",
        {"model": {"attention": {"gate": {"source": "token"}}, "embedding_scale": "learned", "tie_embeddings": True}})
    add("embedding_scale", {"model": {"embedding_scale": "learned"}})
    for n_kv_heads in (1, 2):
        for qk in ("none", "head", "full"):
            add(f"grouped_{n_kv_heads}_qk_{qk}", merged(attention(n_kv_heads=n_kv_heads), norm(qk=qk)))
    add("grouped_gate_channel", attention(n_kv_heads=2, gate={"source": "conditional", "granularity": "channel"}))
    add("heads_wider_than_model", attention(n_heads=8, d_head=10))
    add("heads_narrow", attention(n_heads=3, d_head=2, rope_theta=50))
    add("qkv_bias", attention(qkv_bias=True))
    add("qkv_bias_grouped_gate", attention(qkv_bias=True, n_kv_heads=2, gate={"source": "conditional"}))
    add("rope_linear", attention(rope_theta=50, rope_scaling={"kind": "linear", "factor": 3}))
    llama3 = {"kind": "llama3", "factor": 5, "low_freq_factor": 0.5, "high_freq_factor": 2.5, "original_context": 10}
    add("rope_llama3", attention(rope_theta=50, d_head=12, rope_scaling=llama3))
    for qk in ("head", "full"):
        add(f"rope_llama3_qk_{qk}_bias", merged(attention(rope_theta=50, d_head=12, rope_scaling=llama3, qkv_bias=True), norm(qk=qk)))
    add("tied", {"model": {"tie_embeddings": True}})
    add("ffn_default_width", {}, drop_hidden=True)
    add("ffn_gelu_exact", ffn(kind="gelu", gelu="exact"))
    add("ffn_gelu_tanh", ffn(kind="gelu", gelu="tanh"))
    add("ffn_gelu_default_width", ffn(kind="gelu"), drop_hidden=True)
    add("ffn_linear", ffn(kind="linear"), drop_hidden=True)
    add("ffn_attention_grouped_qk_gate",
        merged(merged(ffn(kind="attention"), norm(qk="head", output=True)),
               attention(n_kv_heads=2, gate={"source": "conditional", "granularity": "channel"})), drop_hidden=True)
    mask = {"data": {"document_mask": True}}
    add("document_mask", mask)
    add("document_mask_grouped_qk", merged(merged(mask, norm(qk="head")), attention(n_kv_heads=2)))
    add("document_mask_ffn_attention", merged(mask, ffn(kind="attention")), drop_hidden=True)
    add("document_mask_gate_positional", merged(mask, attention(gate={"source": "positional"})))
    add("document_mask_long", merged(mask, {"model": {"context": 150}, "train": {"batch_tokens": 450}}))
    for first in (2, 9, 16):
        add(f"loss_from_position_{first}", {"train": {"loss_from_position": first}})
    add("loss_from_position_tied_mask", merged(mask, {"model": {"tie_embeddings": True}, "train": {"loss_from_position": 5}}))
    return out


def difference(got, want, least_scale=0.0):
    """Largest |got - want| over the largest |want|; NaN if anything is not finite. Two zero tensors are equal."""
    if got.shape != want.shape:
        return float("inf")
    worst, scale = (got.double() - want).abs().max().item(), max(want.abs().max().item(), least_scale)
    return worst / scale if scale else worst


def check(dump):
    """{what: difference} of one dump from the reference."""
    config = yaml.safe_load(dump.attrs["config"])
    read = lambda group: {name: torch.from_numpy(values[...]) for name, values in dump[group].items()}
    weights, grads = read("weights"), read("grads")
    have, need = {name: tuple(w.shape) for name, w in weights.items()}, model.shapes(config)
    if have != need:
        wrong = sorted(set(have.items()) ^ set(need.items()))
        raise ValueError("other parameters than expected: " + ", ".join(
            f"{name} {list(shape)} {'not expected' if have.get(name) == shape else 'missing'}" for name, shape in wrong[:4]))
    end_of_text = int(dump.attrs["end_of_text"]) if config["data"].get("document_mask", False) else None
    tokens = torch.from_numpy(dump["tokens"][...]).long()
    weights = {name: w.double() for name, w in weights.items()}
    logits, loss, want, terms = model.run(config, weights, tokens, end_of_text)
    out = {"logits": difference(torch.from_numpy(dump["logits"][...]), logits),
           "loss": difference(torch.from_numpy(dump["loss"][...]), loss[None])}
    return {**out, **{name: difference(grads[name], want[name], terms.get(name, 0.0)) for name in want}}


def compare(program, name, config, folder):
    """Runs one config in both precisions; prints its line; whether it passed."""
    file = folder / f"{name}.yaml"
    file.write_text(yaml.safe_dump(config, sort_keys=False))
    words, passed = [], True
    for precision, tolerance in TOLERANCE.items():
        out = folder / f"{name}.{precision}.h5"
        command = [program, str(file), str(out)] + ["--f64"] * (precision == "f64")
        run = subprocess.run(command, stderr=subprocess.PIPE, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
        try:
            if run.returncode:
                raise ValueError(run.stderr.strip() or f"exit code {run.returncode}")
            with h5py.File(out, "r") as dump:
                differences = check(dump)
        except (ValueError, OSError, KeyError) as fault:
            words, passed = [f"{precision}: {fault}"], False
            break
        bad = {what: d for what, d in differences.items() if not d <= tolerance}  # not <=: NaN is bad too
        worst = max(bad or differences, key=differences.get)
        words.append(f"{precision} {differences[worst]:.1e} ({worst})" + (f" and {len(bad) - 1} more" if len(bad) > 1 else ""))
        passed = passed and not bad
        out.unlink()
    print("ok  " if passed else "FAIL", name, *words, sep="  ", flush=True)
    return passed


def self_test():
    """The comparison must see one wrong element, a missing axis and a NaN."""
    model.self_test()
    want = torch.tensor([[1.0, -2.0], [0.5, 0.0]]).double()
    assert difference(want.clone(), want) == 0 and difference(torch.zeros(2), torch.zeros(2).double()) == 0
    for wrong in (want + 4e-5 * torch.eye(2), want[0], want * float("nan"), -want):
        assert not difference(wrong, want) <= TOLERANCE["f32"], wrong


def main(program, only):
    self_test()
    torch.set_num_threads(1)
    configs = {path.stem: tiny_row(path) for path in sorted(ROWS.glob("*.yaml")) if path.stem != "scale"}
    rows = len(configs)
    if not rows:
        print(f"compare.py: {ROWS} has no rows")
        return 1
    configs.update(extras())
    chosen = {name: c for name, c in configs.items() if not only or any(word in name for word in only)}
    with tempfile.TemporaryDirectory() as folder:
        passed = sum(compare(program, name, config, pathlib.Path(folder)) for name, config in chosen.items())
    print(f"{rows} rows, {len(configs) - rows} more combinations: {passed} passed, {len(chosen) - passed} failed")
    return 0 if chosen and passed == len(chosen) else 1


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    sys.exit(main(sys.argv[1], sys.argv[2:]))
