"""A Llama in plain NumPy, in double and without a fused anything, that keeps all that analyses look at: written from
the papers' formulas, not from the C++."""

import glob
import json

import h5py
import numpy as np


def read_checkpoint(folder):
    """(config's model, weights by name) of a checkpoint of one process."""
    import yaml

    state = json.loads((folder / "state.json").read_text())
    weights = {}
    for path in sorted(glob.glob(f"{folder}/rank_*.h5")):
        with h5py.File(path) as file:
            weights |= {name: data[...].astype(np.float64) for name, data in file["weights"].items()}
    return yaml.safe_load(state["config"])["model"], weights


def rms_norm(x, weight, eps):
    return x / np.sqrt((x * x).mean(-1, keepdims=True) + eps) * weight


def rope(x, theta):
    """x (S, T, H, D): channels i and i + D/2 turn by t theta^(-2i/D). Su et al. 2021, arXiv:2104.09864."""
    T, D = x.shape[1], x.shape[3]
    angle = np.arange(T)[:, None] * theta ** (-2 * np.arange(D // 2) / D)
    cos, sin = np.cos(angle)[None, :, None], np.sin(angle)[None, :, None]
    a, b = x[..., : D // 2], x[..., D // 2 :]
    return np.concatenate([a * cos - b * sin, b * cos + a * sin], -1)


class Forward:
    """What a model does with tokens (S, T): `residual` and `added` (2 L lists of (S, T, C)), `attention` (L lists of
    (S, H, T, T)), `q` and `k` (L lists of (S, H, T, D), after the rotary embedding, k once a query head), `gate` (L lists
    of (S, T, F)), `normed` (2 L lists of (S, T, C), without the norm's scale)."""

    def __init__(self, model, weights, tokens):
        a, eps = model["attention"], model["norm"]["eps"]
        H, K, D = a["n_heads"], a.get("n_kv_heads", a["n_heads"]), a["d_head"]
        S, T = tokens.shape
        self.residual, self.added, self.attention, self.gate, self.normed, self.q, self.k = ([] for _ in range(7))
        x = weights["model.embed_tokens.weight"][tokens]

        def add(y):
            nonlocal x
            x = x + y
            self.added.append(y)
            self.residual.append(x)

        def normed(name):
            self.normed.append(rms_norm(x, 1, eps))
            return self.normed[-1] * weights[name]

        for layer in range(model["n_layers"]):
            path = f"model.layers.{layer}."
            w = lambda name: weights[path + name + ".weight"].T
            h = normed(path + "input_layernorm.weight")
            q = rope((h @ w("self_attn.q_proj")).reshape(S, T, H, D), a["rope_theta"])
            k = rope((h @ w("self_attn.k_proj")).reshape(S, T, K, D), a["rope_theta"]).repeat(H // K, 2)
            self.q.append(q.transpose(0, 2, 1, 3))
            self.k.append(k.transpose(0, 2, 1, 3))
            v = (h @ w("self_attn.v_proj")).reshape(S, T, K, D).repeat(H // K, 2)
            scores = np.einsum("bthd,bshd->bhts", q, k) / np.sqrt(D)
            scores[..., np.triu(np.ones((T, T), bool), 1)] = -np.inf
            p = np.exp(scores - scores.max(-1, keepdims=True))
            p /= p.sum(-1, keepdims=True)
            self.attention.append(p)
            add(np.einsum("bhts,bshd->bthd", p, v).reshape(S, T, H * D) @ w("self_attn.o_proj"))
            h = normed(path + "post_attention_layernorm.weight")
            g = h @ w("mlp.gate_proj")
            self.gate.append(g)
            add((g / (1 + np.exp(-g)) * (h @ w("mlp.up_proj"))) @ w("mlp.down_proj"))
