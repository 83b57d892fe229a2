#!/usr/bin/env python3
"""All variants of the decoder in plain PyTorch, written from the formulas of the papers named below, not from the C++: the
other opinion that compare.py asks for. Nothing is fused, nothing is clever, and backward is autograd's.

A config is the resolved YAML as a dict; weights are a dict by Hugging Face's names. Dimensions: B sequences, T positions,
C d_model, H heads, K key/value heads, D d_head, G logits of a gate, V vocabulary.

    model.py        checks the pieces against loops, closed forms and torch's own functions
"""
import cmath
import math

import torch


def rms_norm(x, weight, eps):
    """Zhang & Sennrich 2019, arXiv:1910.07467."""
    return x / torch.sqrt((x * x).mean(-1, keepdim=True) + eps) * weight


def layer_norm(x, weight, bias, eps):
    """Ba et al. 2016, arXiv:1607.06450; the variance is that of all C values, not C - 1."""
    centred = x - x.mean(-1, keepdim=True)
    return centred / torch.sqrt((centred * centred).mean(-1, keepdim=True) + eps) * weight + bias


def rope_frequencies(D, theta, scaling):
    """Radians a position of each pair, as Llama 3.1's code scales them by wavelength."""
    frequencies = theta ** (-2 * torch.arange(D // 2, dtype=torch.float64) / D)
    kind = scaling["kind"]
    if kind == "none":
        return frequencies
    if kind == "linear":
        return frequencies / scaling["factor"]
    out, old = [], scaling["original_context"]
    for frequency in frequencies.tolist():
        wavelength = 2 * math.pi / frequency
        if wavelength > old / scaling["low_freq_factor"]:
            frequency /= scaling["factor"]
        elif wavelength >= old / scaling["high_freq_factor"]:
            smooth = (old / wavelength - scaling["low_freq_factor"]) / (scaling["high_freq_factor"] - scaling["low_freq_factor"])
            frequency *= (1 - smooth) / scaling["factor"] + smooth
        out.append(frequency)
    return torch.tensor(out, dtype=torch.float64)


def rope(x, theta, scaling={"kind": "none"}):
    """x (B, T, heads, D): channel i and i + D/2 turn by t * theta^(-2i/D). Su et al. 2021, arXiv:2104.09864, in the
    half-split order of Hugging Face's Llama."""
    T, D = x.shape[1], x.shape[3]
    angle = torch.arange(T, dtype=torch.float64)[:, None] * rope_frequencies(D, theta, scaling)  # (T, D/2)
    cos, sin = (f(angle).to(x.dtype)[None, :, None, :] for f in (torch.cos, torch.sin))
    a, b = x[..., :D // 2], x[..., D // 2:]
    return torch.cat([a * cos - b * sin, b * cos + a * sin], -1)


def attend(q, k, v, visible):
    """q (B, T, H, D), k and v (B, T, K, D), visible (B, T, T): softmax(q k^T / sqrt(D)) v; query head h reads key head
    h // (H / K). Ainslie et al. 2023, arXiv:2305.13245."""
    group = q.shape[2] // k.shape[2]
    k, v = k.repeat_interleave(group, 2), v.repeat_interleave(group, 2)
    scores = torch.einsum("bthd,bshd->bhts", q, k) / math.sqrt(q.shape[3])
    scores = scores.masked_fill(~visible[:, None], float("-inf"))
    return torch.einsum("bhts,bshd->bthd", torch.softmax(scores, -1), v)


def visible_keys(tokens, end_of_text):
    """(B, T, T): key s for query t. Causal; with end_of_text only within a document, which ends with that token."""
    B, T = tokens.shape
    t = torch.arange(T)
    causal = (t[None, :] <= t[:, None])[None].expand(B, T, T)
    if end_of_text is None:
        return causal
    ends = (tokens == end_of_text).long()
    document = ends.cumsum(1) - ends  # number of documents that ended before this position
    return causal & (document[:, :, None] == document[:, None, :])


def gelu(x, kind):
    """Hendrycks & Gimpel 2016, arXiv:1606.08415."""
    if kind == "exact":
        return 0.5 * x * (1 + torch.erf(x / math.sqrt(2)))
    return 0.5 * x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x ** 3)))


def silu(x):
    return x / (1 + torch.exp(-x))


def norm_names(norm):
    """Names of (attention input, attention output, FFN input, FFN output) norm in a layer; None: there is none. Llama's
    names without output norms, those of Gemma 2 and OLMo 2 with them."""
    if not norm["output"]:
        return ("input_layernorm", None, "post_attention_layernorm", None) if norm["input"] else (None,) * 4
    inputs = ("input_layernorm", "pre_feedforward_layernorm") if norm["input"] else (None, None)
    return inputs[0], "post_attention_layernorm", inputs[1], "post_feedforward_layernorm"


def gate_width(attention):
    H, D = attention["n_heads"], attention["d_head"]
    return {"channel": H * D, "head": H, "single": 1}[attention["gate"]["granularity"]]


def shapes(config):
    """{name: shape} of every parameter that a model of this config has, and no other."""
    m = config["model"]
    C, V, norm, attention, ffn = m["d_model"], m["vocab_size"], m["norm"], m["attention"], m["ffn"]
    H, D = attention["n_heads"], attention["d_head"]
    K = attention.get("n_kv_heads", H)
    out = {"model.embed_tokens.weight": (V, C)}

    def add_norm(path):
        out[path + ".weight"] = (C,)
        if norm["kind"] == "layernorm" or norm.get("beta", False):
            out[path + ".bias"] = (C,)
        if norm["kind"] == "dynamic_tanh":
            out[path + ".alpha"] = (1,)

    def add_attention(path):
        for name, rows in (("q", H * D), ("k", K * D), ("v", K * D)):
            out[f"{path}.{name}_proj.weight"] = (rows, C)
            if attention["qkv_bias"]:
                out[f"{path}.{name}_proj.bias"] = (rows,)
        out[path + ".o_proj.weight"] = (C, H * D)
        if norm["qk"] != "none":
            whole = norm["qk"] == "full"
            out[path + ".q_norm.weight"] = (H * D if whole else D,)
            out[path + ".k_norm.weight"] = (K * D if whole else D,)
        source = attention["gate"]["source"]
        if source in ("conditional", "token"):
            out[path + ".gate.weight"] = (gate_width(attention), C)
        elif source == "unconditional":
            out[path + ".gate.logits"] = (gate_width(attention),)
        elif source == "positional":
            out[path + ".gate.table"] = (m["context"], gate_width(attention))

    def add_ffn(path):
        if ffn["kind"] == "attention":
            add_attention(path + ".self_attn2")
        elif ffn["kind"] == "linear":
            out[path + ".mlp.proj.weight"] = (C, C)
        else:
            matched = -(-8 * C // (3 * 64)) * 64  # 8/3 C, up to a multiple of 64
            if ffn["kind"] == "gelu":
                matched = matched * 3 // 2
            F = ffn.get("d_hidden", matched)
            for name in ("gate", "up") if ffn["kind"] == "swiglu" else ("up",):
                out[f"{path}.mlp.{name}_proj.weight"] = (F, C)
            out[path + ".mlp.down_proj.weight"] = (C, F)

    if m["embedding_scale"] == "learned":
        out["model.embed_tokens.scale"] = (1,)
    for layer in range(m["n_layers"]):
        path = f"model.layers.{layer}"
        for name in norm_names(norm):
            if name:
                add_norm(f"{path}.{name}")
        add_attention(path + ".self_attn")
        add_ffn(path)
    if norm["final"]:
        add_norm("model.norm")
    if not m["tie_embeddings"]:
        out["lm_head.weight"] = (V, C)
    return out


class Reference:
    """The model as functions of its weights. A name that a config should not need is never looked up."""

    def __init__(self, config, weights):
        self.model, self.weights = config["model"], weights
        self.spread = {}  # {name: the copies of a learned number}

    def scalar(self, name, like):
        """A learned number as a tensor of its copies, one a product that it takes part in: run() reads terms off them."""
        self.spread[name] = self.weights[name].expand_as(like)
        return self.spread[name]

    def norm(self, x, path, output=False):
        norm = self.model["norm"]
        weight = self.weights[path + ".weight"]
        if norm["kind"] != "dynamic_tanh":
            eps = norm["output_eps"] if output and "output_eps" in norm else norm["eps"]
            return rms_norm(x, weight, eps) if norm["kind"] == "rmsnorm" else layer_norm(x, weight, self.weights[path + ".bias"], eps)
        y = weight * torch.tanh(self.scalar(path + ".alpha", x) * x)  # Zhu et al. 2025, arXiv:2503.10622
        return y + self.weights[path + ".bias"] if norm["beta"] else y

    def gate_logits(self, path, block_input, token_embedding):
        """(B, T, G), or (T, G), or (G): broadcasts over sequences and positions."""
        source = self.model["attention"]["gate"]["source"]
        if source == "conditional":
            return block_input @ self.weights[path + ".weight"].T
        if source == "token":
            return token_embedding @ self.weights[path + ".weight"].T
        if source == "unconditional":
            return self.weights[path + ".logits"]
        return self.weights[path + ".table"][:block_input.shape[1]]

    def attention(self, x, path, token_embedding, visible):
        a, norm = self.model["attention"], self.model["norm"]
        B, T, _ = x.shape
        H, D = a["n_heads"], a["d_head"]
        K = a.get("n_kv_heads", H)
        q, k, v = (x @ self.weights[f"{path}.{name}_proj.weight"].T for name in "qkv")
        if a["qkv_bias"]:
            q, k, v = (y + self.weights[f"{path}.{name}_proj.bias"] for y, name in zip((q, k, v), "qkv"))
        if norm["qk"] == "full":  # over all heads at once, OLMo et al. 2024, arXiv:2501.00656
            q = rms_norm(q, self.weights[path + ".q_norm.weight"], norm["eps"])
            k = rms_norm(k, self.weights[path + ".k_norm.weight"], norm["eps"])
        q, k, v = q.view(B, T, H, D), k.view(B, T, K, D), v.view(B, T, K, D)
        if norm["qk"] == "head":
            q = rms_norm(q, self.weights[path + ".q_norm.weight"], norm["eps"])
            k = rms_norm(k, self.weights[path + ".k_norm.weight"], norm["eps"])
        heads = attend(*(rope(y, a["rope_theta"], a["rope_scaling"]) for y in (q, k)), v, visible)  # (B, T, H, D)
        if a["gate"]["source"] != "none":  # Qiu et al. 2025, arXiv:2505.06708, position G1
            logits = self.gate_logits(path + ".gate", x, token_embedding)
            shape = {"channel": (H, D), "head": (H, 1), "single": (1, 1)}[a["gate"]["granularity"]]
            logits = logits.view(*logits.shape[:-1], *shape)
            if logits.numel() == 1:
                logits = self.scalar(path + ".gate.logits", heads)
            heads = heads / (1 + torch.exp(-logits))
        return heads.reshape(B, T, H * D) @ self.weights[path + ".o_proj.weight"].T

    def ffn(self, x, path, token_embedding, visible):
        f = self.model["ffn"]
        if f["kind"] == "attention":
            return self.attention(x, path + ".self_attn2", token_embedding, visible)
        matrix = lambda name: self.weights[f"{path}.mlp.{name}.weight"].T
        if f["kind"] == "linear":
            return x @ matrix("proj")
        if f["kind"] == "gelu":
            return gelu(x @ matrix("up_proj"), f["gelu"]) @ matrix("down_proj")
        return (silu(x @ matrix("gate_proj")) * (x @ matrix("up_proj"))) @ matrix("down_proj")

    def logits(self, tokens, end_of_text=None):
        """tokens (B, T) -> (B, T, V). end_of_text: attention stays inside a document."""
        m, w = self.model, self.weights
        embedding = w["model.embed_tokens.weight"][tokens]
        visible = visible_keys(tokens, end_of_text)
        x = embedding
        if m["embedding_scale"] == "learned":
            x = x * self.scalar("model.embed_tokens.scale", x)
        attention_in, attention_out, ffn_in, ffn_out = norm_names(m["norm"])
        for layer in range(m["n_layers"]):
            path = f"model.layers.{layer}"

            def block(x, branch, name, norm_in, norm_out):
                y = self.norm(x, f"{path}.{norm_in}") if norm_in else x
                y = branch(y, path + name, embedding, visible)
                return x + (self.norm(y, f"{path}.{norm_out}", output=True) if norm_out else y)

            x = block(x, self.attention, ".self_attn", attention_in, attention_out)
            x = block(x, self.ffn, "", ffn_in, ffn_out)
        if m["norm"]["final"]:
            x = self.norm(x, "model.norm")
        return x @ w["model.embed_tokens.weight" if m["tie_embeddings"] else "lm_head.weight"].T


def mean_loss(logits, targets, from_position):
    """Cross entropy in nats, the mean over positions >= from_position (1-based) of all sequences."""
    log_p = logits - torch.logsumexp(logits, -1, keepdim=True)
    picked = log_p.gather(-1, targets[..., None])[..., 0]
    return -picked[:, from_position - 1:].mean()


def run(config, weights, samples, end_of_text=None):
    """samples (n, T + 1) -> (logits (n, T, V), loss, {name: gradient of the loss}, {name: size of its terms}); weights are
    tensors by name. A parameter that the loss does not depend on has gradient 0. The size of terms is given for parameters of
    one element: the root of the sum of squares of what its gradient sums up, which is how large it were with random signs."""
    weights = {name: w.clone().requires_grad_() for name, w in weights.items()}
    reference = Reference(config, weights)
    logits = reference.logits(samples[:, :-1], end_of_text)
    loss = mean_loss(logits, samples[:, 1:], config["train"]["loss_from_position"])
    spread = reference.spread
    grads = torch.autograd.grad(loss, [*weights.values(), *spread.values()], allow_unused=True)
    own, terms = grads[:len(weights)], grads[len(weights):]
    return (logits.detach(), loss.detach(),
            {name: torch.zeros_like(w) if g is None else g for (name, w), g in zip(weights.items(), own)},
            {name: float(g.norm()) for name, g in zip(spread, terms)})


def self_test():
    """Facts that do not come from this file: torch's own functions, plain loops and closed forms."""
    import torch.nn.functional as F

    torch.manual_seed(0)
    real = lambda *shape: torch.randn(*shape, dtype=torch.float64)
    exact = lambda values: torch.tensor(values, dtype=torch.float64)
    same = lambda a, b: torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)
    x, w, b = real(3, 7), real(7), real(7)
    same(layer_norm(x, w, b, 0.1), F.layer_norm(x, (7,), w, b, 0.1))
    same(rms_norm(exact([3, 4]), exact([1, 2]), 0.5), exact([3, 8]) / math.sqrt(13))
    same(gelu(x, "exact"), F.gelu(x))
    same(gelu(x, "tanh"), F.gelu(x, approximate="tanh"))
    same(silu(x), F.silu(x))

    # Rotary: as complex numbers, position t multiplies (x_i + j x_{i + D/2}) by e^(j t theta^(-2i/D)).
    y = real(2, 5, 3, 6)
    turned = rope(y, 100.0)
    for t in range(5):
        for i in range(3):
            z = torch.complex(y[:, t, :, i], y[:, t, :, i + 3]) * cmath.exp(1j * t * 100 ** (-i / 3))
            same(turned[:, t, :, i], z.real)
            same(turned[:, t, :, i + 3], z.imag)

    # Attention: a loop a query, over the keys of its own document only. Token 9 ends documents.
    tokens = torch.tensor([[1, 9, 2, 3, 9, 9, 4], [9, 1, 2, 3, 4, 5, 6]])
    starts = [[0, 0, 2, 2, 2, 5, 6], [0, 1, 1, 1, 1, 1, 1]]
    q, k, v = real(2, 7, 4, 6), real(2, 7, 2, 6), real(2, 7, 2, 6)
    for end, first_key in ((9, lambda n, t: starts[n][t]), (None, lambda n, t: 0)):
        got = attend(q, k, v, visible_keys(tokens, end))
        for n in range(2):
            for t in range(7):
                for h in range(4):
                    keys = range(first_key(n, t), t + 1)
                    p = [math.exp(float(q[n, t, h] @ k[n, s, h // 2]) / math.sqrt(6)) for s in keys]
                    same(got[n, t, h], sum(p_s / sum(p) * v[n, s, h // 2] for p_s, s in zip(p, keys)))

    # The loss of even logits is log V, wherever it counts; its positions are 1-based.
    targets = torch.randint(0, 11, (2, 4))
    same(mean_loss(torch.zeros(2, 4, 11, dtype=torch.float64), targets, 3), exact(math.log(11)))
    logits = real(2, 4, 11)
    same(mean_loss(logits, targets, 4), F.cross_entropy(logits[:, 3], targets[:, 3]))
    same(mean_loss(logits, targets, 1), F.cross_entropy(logits.view(8, 11), targets.view(8)))

    # Gates with logits 0 halve the heads, of every source and granularity; each logit reaches its own columns.
    config = {"model": {"d_model": 10, "n_layers": 1, "context": 5, "vocab_size": 13, "tie_embeddings": False,
                        "embedding_scale": "none", "ffn": {"kind": "linear"},
                        "norm": {"kind": "rmsnorm", "input": True, "output": False, "final": True, "qk": "none", "eps": 1e-5},
                        "attention": {"n_heads": 2, "d_head": 4, "rope_theta": 100.0, "qkv_bias": False,
                                      "rope_scaling": {"kind": "none"}, "gate": {"source": "none"}}}}
    weights = {name: real(*shape) for name, shape in shapes(config).items()}
    x, visible = real(2, 5, 10), visible_keys(torch.zeros(2, 5).long(), None)
    path = "model.layers.0.self_attn"
    open_heads = Reference(config, weights).attention(x, path, x, visible)
    for source in ("conditional", "unconditional", "positional", "token"):
        for granularity in ("channel", "head", "single"):
            config["model"]["attention"]["gate"] = {"source": source, "granularity": granularity}
            gates = {n: torch.zeros(s).double() for n, s in shapes(config).items() if ".gate." in n}
            assert len(gates) == 1, gates
            same(Reference(config, {**weights, **gates}).attention(x, path, x, visible), open_heads / 2)
    config["model"]["attention"]["gate"] = {"source": "unconditional", "granularity": "head"}
    half_open = {path + ".gate.logits": exact([50, -50])}  # head 0 open, head 1 shut
    first_only = dict(weights)
    first_only[path + ".o_proj.weight"] = weights[path + ".o_proj.weight"].clone()
    first_only[path + ".o_proj.weight"][:, 4:] = 0
    got = Reference(config, {**weights, **half_open}).attention(x, path, x, visible)
    config["model"]["attention"]["gate"] = {"source": "none"}
    same(got, Reference(config, first_only).attention(x, path, x, visible))


if __name__ == "__main__":
    self_test()
    print("model.py: self-test passed")
