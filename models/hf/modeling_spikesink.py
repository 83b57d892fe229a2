"""Models that spikesink trained and that no class of transformers covers: norms, FFNs and gates of all kinds, in plain
PyTorch. spikesink writes this file beside the weights (`spikesink export`); load by
AutoModelForCausalLM.from_pretrained(DIR, trust_remote_code=True).

Attention is eager, so that output_attentions always works; there is no cache of keys. Dimensions: B sequences, T positions,
C d_model, H heads, K key/value heads, D d_head.
"""

import math

import torch
from torch import nn
from transformers import PreTrainedModel
from transformers.modeling_outputs import CausalLMOutput

from .configuration_spikesink import SpikesinkConfig


class RmsNorm(nn.Module):
    def __init__(self, width, eps):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.eps = eps

    def forward(self, x):
        wide = x.float() if x.dtype in (torch.float16, torch.bfloat16) else x
        return self.weight * (wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + self.eps)).to(x.dtype)


class DynamicTanh(nn.Module):
    """weight * tanh(alpha x) [+ bias]. Zhu et al. 2025, arXiv:2503.10622."""

    def __init__(self, width, alpha, beta):
        super().__init__()
        self.alpha = nn.Parameter(torch.full((1,), alpha))
        self.weight = nn.Parameter(torch.ones(width))
        self.bias = nn.Parameter(torch.zeros(width)) if beta else None

    def forward(self, x):
        y = self.weight * torch.tanh(self.alpha * x)
        return y if self.bias is None else y + self.bias


def make_norm(model, place, output=False):
    norm = model["norm"]
    eps = norm["output_eps"] if output and "output_eps" in norm else norm["eps"]
    if norm["kind"] == "rmsnorm":
        return RmsNorm(model["d_model"], eps)
    if norm["kind"] == "layernorm":
        return nn.LayerNorm(model["d_model"], eps=eps)
    if norm["kind"] == "dynamic_tanh":
        return DynamicTanh(model["d_model"], norm["alpha"][place], norm["beta"])
    raise ValueError(f"norm of kind {norm['kind']}: this file does not know it")


def rope_frequencies(attention):
    """(D/2), double. Scaling: Chen et al. 2023, arXiv:2306.15595 (linear); Llama 3.1's."""
    i = torch.arange(0, attention["d_head"], 2, dtype=torch.float64)
    frequency = attention["rope_theta"] ** (-i / attention["d_head"])
    scaling = attention.get("rope_scaling", {"kind": "none"})
    if scaling["kind"] == "none":
        return frequency
    if scaling["kind"] == "linear":
        return frequency / scaling["factor"]
    low, high = scaling["low_freq_factor"], scaling["high_freq_factor"]
    turns = scaling["original_context"] * frequency / (2 * math.pi)  # in the original context
    smooth = ((turns - low) / (high - low)).clamp(0, 1)
    return frequency * (smooth + (1 - smooth) / scaling["factor"])


def rotate(x, frequencies):
    """x (B, heads, T, D): channels i and i + D/2 turn by t * frequency_i. Su et al. 2021, arXiv:2104.09864."""
    angle = torch.arange(x.shape[2], dtype=torch.float64, device=x.device)[:, None] * frequencies.to(x.device)
    cos, sin = angle.cos().to(x.dtype), angle.sin().to(x.dtype)
    a, b = x.chunk(2, -1)
    return torch.cat([a * cos - b * sin, b * cos + a * sin], -1)


class Gate(nn.Module):
    """Logits of the sigmoid gate on the heads' output. Qiu et al. 2025, arXiv:2505.06708, position G1."""

    def __init__(self, model):
        super().__init__()
        attention = model["attention"]
        heads, width, gate = attention["n_heads"], attention["d_head"], attention["gate"]
        self.shape = {"channel": (heads, width), "head": (heads, 1), "single": (1, 1)}[gate["granularity"]]
        self.source = gate["source"]
        logits = self.shape[0] * self.shape[1]
        if self.source in ("conditional", "token"):
            self.weight = nn.Parameter(torch.zeros(logits, model["d_model"]))
        elif self.source == "unconditional":
            self.logits = nn.Parameter(torch.zeros(logits))
        elif self.source == "positional":
            self.table = nn.Parameter(torch.zeros(model["context"], logits))
        else:
            raise ValueError(f"gate of source {self.source}: this file does not know it")

    def forward(self, heads, x, embedding):
        """heads (B, T, H, D), the block's input and the token embedding (B, T, C)."""
        if self.source in ("conditional", "token"):
            logits = nn.functional.linear(x if self.source == "conditional" else embedding, self.weight)
        else:
            logits = self.logits if self.source == "unconditional" else self.table[: heads.shape[1]]
        return heads * torch.sigmoid(logits.view(*logits.shape[:-1], *self.shape))


class Attention(nn.Module):
    def __init__(self, model):
        super().__init__()
        self.attention = attention = model["attention"]
        self.heads, self.width = attention["n_heads"], attention["d_head"]
        self.kv_heads = attention.get("n_kv_heads", self.heads)
        C, D, bias = model["d_model"], self.width, attention.get("qkv_bias", False)
        self.q_proj = nn.Linear(C, self.heads * D, bias=bias)
        self.k_proj = nn.Linear(C, self.kv_heads * D, bias=bias)
        self.v_proj = nn.Linear(C, self.kv_heads * D, bias=bias)
        self.o_proj = nn.Linear(self.heads * D, C, bias=False)
        norm = model["norm"]
        self.qk = norm["qk"]  # none | head: of each head | full: of all heads at once
        if self.qk != "none":
            self.q_norm = RmsNorm(D if self.qk == "head" else self.heads * D, norm["eps"])
            self.k_norm = RmsNorm(D if self.qk == "head" else self.kv_heads * D, norm["eps"])
        self.gate = Gate(model) if attention["gate"]["source"] != "none" else None

    def forward(self, x, embedding, mask):
        """(B, T, C), and the probabilities (B, H, T, T)."""
        B, T, _ = x.shape
        q, k, v = self.q_proj(x), self.k_proj(x), self.v_proj(x)
        if self.qk == "full":
            q, k = self.q_norm(q), self.k_norm(k)
        q, k, v = (y.view(B, T, -1, self.width) for y in (q, k, v))
        if self.qk == "head":
            q, k = self.q_norm(q), self.k_norm(k)
        frequencies = rope_frequencies(self.attention)
        q, k, v = rotate(q.transpose(1, 2), frequencies), rotate(k.transpose(1, 2), frequencies), v.transpose(1, 2)
        group = self.heads // self.kv_heads
        k, v = k.repeat_interleave(group, 1), v.repeat_interleave(group, 1)
        scores = (q @ k.transpose(2, 3)) / math.sqrt(self.width) + mask
        wide = torch.float64 if scores.dtype == torch.float64 else torch.float32
        probabilities = torch.softmax(scores, -1, dtype=wide).to(q.dtype)
        heads = (probabilities @ v).transpose(1, 2)
        if self.gate is not None:
            heads = self.gate(heads, x, embedding)
        return self.o_proj(heads.reshape(B, T, -1)), probabilities


class Mlp(nn.Module):
    def __init__(self, model):
        super().__init__()
        ffn, C = model["ffn"], model["d_model"]
        self.kind = ffn["kind"]
        if self.kind == "linear":
            self.proj = nn.Linear(C, C, bias=False)
            return
        if self.kind == "swiglu":
            self.gate_proj = nn.Linear(C, ffn["d_hidden"], bias=False)
        elif self.kind != "gelu":
            raise ValueError(f"FFN of kind {self.kind}: this file does not know it")
        else:
            self.activation = nn.GELU(approximate="tanh" if ffn["gelu"] == "tanh" else "none")
        self.up_proj = nn.Linear(C, ffn["d_hidden"], bias=False)
        self.down_proj = nn.Linear(ffn["d_hidden"], C, bias=False)

    def forward(self, x):
        if self.kind == "linear":
            return self.proj(x)
        if self.kind == "swiglu":
            return self.down_proj(nn.functional.silu(self.gate_proj(x)) * self.up_proj(x))
        return self.down_proj(self.activation(self.up_proj(x)))


class Layer(nn.Module):
    """Attention and FFN, each x + output_norm(F(input_norm(x))), either norm absent."""

    def __init__(self, model):
        super().__init__()
        norm, second = model["norm"], model["ffn"]["kind"] == "attention"
        # With output norms the names are those of Gemma 2 and OLMo 2, else Llama's.
        ffn_input = "pre_feedforward_layernorm" if norm["output"] else "post_attention_layernorm"
        self.norms = {
            "attention": ("input_layernorm" if norm["input"] else None, "post_attention_layernorm" if norm["output"] else None),
            "ffn": (ffn_input if norm["input"] else None, "post_feedforward_layernorm" if norm["output"] else None),
        }
        for block, names in self.norms.items():
            for name, output in zip(names, (False, True)):
                if name:
                    setattr(self, name, make_norm(model, "attention" if second else block, output))
        self.self_attn = Attention(model)
        if second:
            self.self_attn2 = Attention(model)
        else:
            self.mlp = Mlp(model)
        self.second = second

    def block(self, x, which, branch):
        before, after = self.norms[which]
        y = branch(getattr(self, before)(x) if before else x)
        return x + (getattr(self, after)(y) if after else y)

    def forward(self, x, embedding, mask):
        attentions = []

        def attend(module):
            def branch(y):
                y, probabilities = module(y, embedding, mask)
                attentions.append(probabilities)
                return y

            return branch

        x = self.block(x, "attention", attend(self.self_attn))
        x = self.block(x, "ffn", attend(self.self_attn2) if self.second else self.mlp)
        return x, attentions


class Embedding(nn.Embedding):
    def __init__(self, model):
        super().__init__(model["vocab_size"], model["d_model"])
        self.scale = nn.Parameter(torch.full((1,), model["d_model"] ** 0.5)) if model["embedding_scale"] == "learned" else None


class Decoder(nn.Module):
    def __init__(self, model):
        super().__init__()
        self.embed_tokens = Embedding(model)
        self.layers = nn.ModuleList(Layer(model) for _ in range(model["n_layers"]))
        self.norm = make_norm(model, "final") if model["norm"]["final"] else None


class SpikesinkForCausalLM(PreTrainedModel):
    config_class = SpikesinkConfig
    base_model_prefix = "model"
    _no_split_modules = ["Layer"]

    def __init__(self, config):
        super().__init__(config)
        model = config.model
        self.model = Decoder(model)
        self.lm_head = None if model["tie_embeddings"] else nn.Linear(model["d_model"], model["vocab_size"], bias=False)
        self.post_init()

    def get_input_embeddings(self):
        return self.model.embed_tokens

    def get_output_embeddings(self):
        return self.lm_head

    def _init_weights(self, module):
        if isinstance(module, (nn.Linear, nn.Embedding)):
            module.weight.data.normal_(0, self.config.model["init_std"])
            if getattr(module, "bias", None) is not None:
                module.bias.data.zero_()

    def forward(self, input_ids, attention_mask=None, labels=None, output_hidden_states=None, output_attentions=None,
                return_dict=None, **unused):
        """hidden_states: the embedding, then after each layer, the last one after the final norm, as Llama's class has it.
        attentions: one a layer; two where the FFN is attention."""
        if input_ids.shape[1] > self.config.model["context"] and self.config.model["attention"]["gate"]["source"] == "positional":
            raise ValueError(f"{input_ids.shape[1]} tokens, but the gate's table ends at {self.config.model['context']}")
        config = self.config
        with_hidden = config.output_hidden_states if output_hidden_states is None else output_hidden_states
        with_attentions = config.output_attentions if output_attentions is None else output_attentions
        embedding = self.model.embed_tokens(input_ids)
        scale = self.model.embed_tokens.scale
        x = embedding if scale is None else embedding * scale
        T = input_ids.shape[1]
        visible = torch.ones(T, T, dtype=torch.bool, device=x.device).tril()[None, None]
        if attention_mask is not None:
            visible = visible & attention_mask.bool()[:, None, None, :]
        mask = torch.zeros(visible.shape, dtype=x.dtype, device=x.device).masked_fill(~visible, torch.finfo(x.dtype).min)
        hidden, attentions = [x], []
        for layer in self.model.layers:
            x, new = layer(x, embedding, mask)
            hidden.append(x)
            attentions += new
        if self.model.norm is not None:
            hidden[-1] = x = self.model.norm(x)
        head = self.model.embed_tokens.weight if self.lm_head is None else self.lm_head.weight
        logits = nn.functional.linear(x, head)
        loss = None
        if labels is not None:
            loss = nn.functional.cross_entropy(logits[:, :-1].float().flatten(0, 1), labels[:, 1:].flatten())
        out = CausalLMOutput(loss=loss, logits=logits, hidden_states=tuple(hidden) if with_hidden else None,
                             attentions=tuple(attentions) if with_attentions else None)
        return out.to_tuple() if return_dict is False else out


SpikesinkForCausalLM.register_for_auto_class("AutoModelForCausalLM")  # save_pretrained() then copies this file too
