"""The configuration of a model that spikesink trained; spikesink writes this file beside it (`spikesink export`)."""

from transformers import PretrainedConfig


class SpikesinkConfig(PretrainedConfig):
    """`model` is the map of that name in spikesink's YAML, with all of its keys."""

    model_type = "spikesink"
    keys_to_ignore_at_inference = ["hidden_states", "attentions"]

    def __init__(self, model=None, **kwargs):
        self.model = model
        if model is not None:
            attention = model["attention"]
            self.vocab_size = model["vocab_size"]
            self.hidden_size = model["d_model"]
            self.num_hidden_layers = model["n_layers"]
            self.num_attention_heads = attention["n_heads"]
            self.num_key_value_heads = attention.get("n_kv_heads", attention["n_heads"])
            self.head_dim = attention["d_head"]
            self.max_position_embeddings = model["context"]
        # Known to the model by `model`, which ties by itself.
        kwargs["tie_word_embeddings"] = False
        for key in ("vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads", "head_dim",
                    "max_position_embeddings"):
            kwargs.pop(key, None)
        super().__init__(**kwargs)
