#!/usr/bin/env python3
"""A training step on the GPU against PyTorch: logits, loss and the gradient of every parameter of a few small models that
between them have every kernel, in f32 and bf16.

    compare_cuda.py DUMP [--json FILE] [NAME...]      DUMP: the program reference_dump of a build with CUDA

PyTorch (model.py) computes in double from the weights as the GPU has them. Needs PyTorch and nothing else. A line a model, then
`N passed, N failed`; exit code 1 if one failed, 77 where there is no PyTorch.
"""
import argparse
import json
import pathlib
import struct
import subprocess
import sys
import tempfile

try:
    import torch
except ImportError as missing:
    print(f"compare_cuda.py: skipped: {missing}")
    sys.exit(77)

import model

# Largest difference over the largest magnitude of a tensor, as in compare.py. For bf16 the norms of both instead, since rounding
# moves every element (by 2^-9 at each activation), and the largest of many differences grows with their number. Gradients of q and k
# come to 2.3e-2: the gradient of a score is a small difference of rounded terms. A wrong term shows as a tenth or more.
TOLERANCE = {"f32": 1e-5, "bf16": 4e-2}
FLAGS = {"f32": ["--cuda"], "bf16": ["--cuda", "--bf16"]}

# All keys that model.py reads, so that no YAML need be parsed; JSON is YAML to the program.
BASE = {
    "run": {"seed": 3},
    "model": {
        "d_model": 64, "n_layers": 2, "context": 64, "vocab_size": 50, "init_std": 0.1, "tie_embeddings": False,
        "embedding_scale": "none",
        "norm": {"kind": "rmsnorm", "input": True, "output": False, "final": True, "qk": "none", "eps": 1e-5},
        "attention": {"n_heads": 2, "d_head": 32, "rope_theta": 10000.0, "gate": {"source": "none"}},
        "ffn": {"kind": "swiglu", "d_hidden": 96}},
    "data": {"train": ["none"]},
    "train": {"steps": 1, "batch_tokens": 128, "micro_batch": 2, "loss_from_position": 1, "schedule": {"warmup_steps": 1}},
}  # fmt: skip


def merged(base, over):
    out = dict(base)
    for key, value in over.items():
        out[key] = merged(out[key], value) if isinstance(value, dict) and isinstance(out.get(key), dict) else value
    return out


def models():
    """{name: config}"""
    norm = lambda **keys: {"model": {"norm": keys}}
    attention = lambda **keys: {"model": {"attention": keys}}
    gate = lambda source, granularity: {"gate": {"source": source, "granularity": granularity}}
    changes = {
        "baseline": {},
        "cudnn_grouped": attention(n_heads=4, n_kv_heads=2, d_head=64),
        "sandwich_qk_full": norm(output=True, qk="full"),
        "layernorm_gelu": merged(norm(kind="layernorm"), {"model": {"ffn": {"kind": "gelu", "gelu": "exact"}}}),
        "dynamic_tanh_beta_scale": {"model": {"norm": {"kind": "dynamic_tanh", "beta": True}, "embedding_scale": "learned"}},
        "qk_head_gate_channel": merged(norm(qk="head"), attention(**gate("conditional", "channel"))),
        "gate_positional_head": attention(**gate("positional", "head")),
        "gate_unconditional_single_narrow": attention(n_heads=8, d_head=8, **gate("unconditional", "single")),
        "ffn_attention_mask": {"model": {"ffn": {"kind": "attention"}}, "data": {"document_mask": True}},
        "ffn_linear_tied": {"model": {"ffn": {"kind": "linear"}, "tie_embeddings": True}},
        "loss_from_position": {"train": {"loss_from_position": 33}},
    }
    out = {name: merged(BASE, change) for name, change in changes.items()}
    for config in out.values():
        if config["model"]["ffn"]["kind"] in ("attention", "linear"):
            config["model"]["ffn"] = {"kind": config["model"]["ffn"]["kind"]}
    return out


def program_config(config):
    """What the program takes: without keys that the choices beside them disable."""
    config = json.loads(json.dumps(config))
    if config["model"]["norm"]["kind"] == "dynamic_tanh":
        del config["model"]["norm"]["eps"]
    return config


def read_safetensors(path):
    """({name: tensor}, metadata)"""
    data = path.read_bytes()
    (length,) = struct.unpack_from("<Q", data)
    header = json.loads(data[8 : 8 + length])
    metadata, body = header.pop("__metadata__"), bytearray(data[8 + length :])
    types = {"F32": (torch.float32, 4), "F64": (torch.float64, 8), "I32": (torch.int32, 4)}
    out = {}
    for name, entry in header.items():
        (begin, end), (dtype, size) = entry["data_offsets"], types[entry["dtype"]]
        flat = torch.frombuffer(body, dtype=dtype, offset=begin, count=(end - begin) // size)
        out[name] = flat.reshape(entry["shape"])
    return out, metadata


def difference(got, want, precision, least_scale=0.0):
    """NaN if anything is not finite. Two zero tensors are equal."""
    if got.shape != want.shape:
        return float("inf")
    size = (lambda t: t.abs().max().item()) if precision == "f32" else (lambda t: t.norm().item())
    worst, scale = size(got.double() - want), max(size(want), least_scale)
    return worst / scale if scale else worst


def compare(dump, config, precision):
    """{what: difference}"""
    tensors, metadata = read_safetensors(dump)
    part = lambda group: {n[len(group) + 1 :]: t for n, t in tensors.items() if n.startswith(group + "/")}
    weights, grads = {n: w.double() for n, w in part("weights").items()}, part("grads")
    if {n: tuple(w.shape) for n, w in weights.items()} != model.shapes(config):
        raise ValueError("other parameters than expected")
    mask = config["data"].get("document_mask", False)
    logits, loss, want, terms = model.run(config, weights, tensors["tokens"].long(),
                                          int(metadata["end_of_text"]) if mask else None)  # fmt: skip
    out = {"logits": difference(tensors["logits"], logits, precision),
           "loss": difference(tensors["loss"], loss[None], precision)}  # fmt: skip
    return {**out, **{name: difference(grads[name], want[name], precision, terms.get(name, 0.0)) for name in want}}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dump")
    parser.add_argument("--json", help="write {name: {precision: {difference, of, loss_difference}}} there")
    parser.add_argument("names", nargs="*")
    options = parser.parse_intermixed_args()
    results, failed = {}, 0
    chosen = {n: c for n, c in models().items() if not options.names or any(word in n for word in options.names)}
    with tempfile.TemporaryDirectory() as folder:
        for name, config in chosen.items():
            file = pathlib.Path(folder) / f"{name}.yaml"
            file.write_text(json.dumps(program_config(config)))
            words = []
            results[name] = {}
            for precision, flags in FLAGS.items():
                out = file.with_suffix(f".{precision}.safetensors")
                run = subprocess.run([options.dump, str(file), str(out), *flags], capture_output=True, text=True)
                try:
                    if run.returncode:
                        raise ValueError((run.stderr.strip() or f"exit code {run.returncode}").splitlines()[-1])
                    differences = compare(out, config, precision)
                except (ValueError, KeyError, OSError) as fault:
                    failed += 1
                    words.append(f"{precision} FAILED: {fault}")
                    results[name][precision] = {"error": str(fault)}
                    continue
                out.unlink()
                wrong = {what: d for what, d in differences.items() if not d <= TOLERANCE[precision]}  # NaN is wrong too
                worst = max(wrong or differences, key=differences.get)
                failed += bool(wrong)
                words.append(f"{precision} {'FAILED ' if wrong else ''}{differences[worst]:.1e} ({worst})")
                results[name][precision] = {"difference": differences[worst], "of": worst,
                                            "loss_difference": differences["loss"], "passed": not wrong}  # fmt: skip
            print(name, *words, sep="  ", flush=True)
            if options.json:
                pathlib.Path(options.json).write_text(json.dumps(results, indent=1) + "\n")
    total = len(chosen) * len(FLAGS)
    print(f"{total - failed} passed, {failed} failed")
    return 1 if failed or not chosen else 0


if __name__ == "__main__":
    sys.exit(main())
