#!/usr/bin/env python3
"""`import` and `export` against transformers: models of its classes come in with its logits, ours load there with ours, what
goes out comes back to the last bit, and what cannot be taken is refused in one line with nothing written."""

import json
import os
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

import harness

sys.path.append(str(harness.ROOT / "tests/reference"))  # behind the packages, of which one has the name of a file there
try:
    import numpy
    import torch

    import old_torch  # noqa: F401, before transformers
    import transformers
    from safetensors.numpy import load_file, save_file
except ImportError as missing:
    print(f"huggingface_test.py: skipped: {missing}; scripts/setup.sh --tests brings it")
    sys.exit(77)

import compare  # its configs

os.environ["HF_HUB_OFFLINE"] = "1"
transformers.logging.set_verbosity_error()
torch.set_num_threads(1)
torch.manual_seed(1)
LOGITS = harness.PROGRAM.parent / "tests/reference_logits"
TOLERANCE = 1e-4  # in logits of about 1, f32 on both sides
report = harness.Report()


class Home:
    def __init__(self, folder):
        self.folder, self.count = Path(folder), 0

    def new(self, name):
        self.count += 1
        return self.folder / f"{self.count}_{name}"

    def bring_in(self, model, code=0, words=()):
        out = self.new("imported")
        done = harness.run("import", model, "--out", out, check=False)
        lines = done.stderr.splitlines()
        good = done.returncode == code and (not code or len(lines) == 1) and all(word in done.stderr for word in words)
        report.check(good, f"import {model} {words}: exit {done.returncode}: {done.stdout} {done.stderr}")
        left = [path.name for path in self.folder.iterdir() if path.name.startswith(out.name)]
        report.check(bool(left) == (code == 0), f"import {words}: leaves {left}")
        return out

    def send_out(self, checkpoint, *options):
        out = self.new("exported")
        done = harness.run("export", checkpoint, "--out", out, *options, check=False)
        report.check(done.returncode == 0, f"export {checkpoint}: {done.stderr}")
        return out

    def our_logits(self, checkpoint, tokens):
        rows, length = tokens.shape
        given, got = self.new("tokens"), self.new("logits")
        given.write_bytes(tokens.numpy().astype("<i4").tobytes())
        subprocess.run([LOGITS, checkpoint, given, str(length), got], check=True)
        return torch.from_numpy(numpy.fromfile(got, "<f4").reshape(rows, length, -1))


def their_logits(model, tokens):
    with torch.no_grad():
        return model.eval()(tokens).logits.float()


def load(folder, **options):
    return transformers.AutoModelForCausalLM.from_pretrained(folder, attn_implementation="eager", **options)


def tokens_for(vocabulary, length, rows=3):
    return torch.randint(0, vocabulary, (rows, length))


def perturb(tensors, seed):
    """Every value moved, so that scales of one and biases of zero hide nothing."""
    generator = numpy.random.default_rng(seed)
    return {name: (t + 0.2 * generator.standard_normal(t.shape)).astype(t.dtype) for name, t in tensors.items()}


def weights(folder):
    out = {}
    for path in sorted(folder.glob("*.safetensors")):
        out.update(load_file(path))
    return out


def same_weights(a, b):
    return a.keys() == b.keys() and all(a[name].dtype == b[name].dtype and a[name].tobytes() == b[name].tobytes() for name in a)


def close(got, want, what):
    difference = (got - want).abs().max().item() if got.shape == want.shape else float("inf")
    report.check(difference < TOLERANCE and want.std() > 0.05, f"{what}: logits differ by {difference}, of {want.std():.3g}")


# Random models of transformers' classes, small, with heads that are not hidden_size / heads wide in some.
SMALL = dict(vocab_size=83, hidden_size=48, intermediate_size=80, num_hidden_layers=3, num_attention_heads=6,
             num_key_value_heads=2, max_position_embeddings=128, initializer_range=0.3, bos_token_id=1, eos_token_id=2)
LLAMA3 = dict(rope_type="llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0, original_max_position_embeddings=32)
THEIRS = {
    "llama2": ("Llama", dict(num_key_value_heads=6, rms_norm_eps=1e-5)),
    "llama3": ("Llama", dict(rope_theta=500000.0, rms_norm_eps=1e-5, head_dim=12)),
    "llama31": ("Llama", dict(rope_theta=10000.0, rope_scaling=LLAMA3)),
    "llama_linear_tied": ("Llama", dict(rope_scaling=dict(rope_type="linear", factor=4.0), tie_word_embeddings=True)),
    "qwen25": ("Qwen2", dict(rope_theta=1000000.0)),
    # A window that no layer has; as long as the text, since transformers 4.51 masks by it in all layers.
    "qwen25_tied": ("Qwen2", dict(tie_word_embeddings=True, use_sliding_window=True, sliding_window=100, max_window_layers=3)),
    "qwen3": ("Qwen3", dict(head_dim=16, rope_theta=1000000.0)),
    "qwen3_tied": ("Qwen3", dict(head_dim=8, tie_word_embeddings=True)),
    "olmo2": ("Olmo2", dict(rope_theta=500000.0, pad_token_id=None)),
}


def make_theirs(home, name, **more):
    kind, config = THEIRS[name]
    config = getattr(transformers, kind + "Config")(**{**SMALL, **config, **more})
    model = getattr(transformers, kind + "ForCausalLM")(config)
    with torch.no_grad():
        for key, value in model.named_parameters():
            if value.dim() == 1:
                value += 0.3 * torch.randn_like(value)
    return model


def check_theirs(home):
    for name in THEIRS:
        model = make_theirs(home, name)
        folder = home.new(name)
        model.save_pretrained(folder, max_shard_size="20KB" if name == "llama3" else "5GB")
        tokens = tokens_for(83, 100)
        checkpoint = home.bring_in(folder)
        close(home.our_logits(checkpoint, tokens), their_logits(model, tokens), f"import of {name}")
        back = home.send_out(checkpoint, *(["--shard-gb", 1] if name == "qwen3" else []))
        report.check(same_weights(weights(back), weights(folder)), f"{name}: export of the import has its weights")
        close(their_logits(load(back), tokens), their_logits(model, tokens), f"{name}, out again")
        again = json.loads((back / "config.json").read_text())
        first = json.loads((folder / "config.json").read_text())
        for key in ("architectures", "bos_token_id", "eos_token_id", "num_key_value_heads", "rms_norm_eps", "rope_theta",
                    "tie_word_embeddings", "max_position_embeddings"):
            report.check(again[key] == first[key], f"{name}: {key} is {again[key]}, was {first[key]}")


def check_precisions(home):
    """bf16 stays bf16; f16 becomes f32 with the same values; --dtype rounds."""
    model = make_theirs(home, "llama3")
    tokens = tokens_for(83, 40)
    for dtype, stored in ((torch.bfloat16, torch.bfloat16), (torch.float16, torch.float32)):
        folder = home.new("half")
        model.to(dtype).save_pretrained(folder)
        checkpoint = home.bring_in(folder)
        wide = load(folder, torch_dtype=dtype).float()
        close(home.our_logits(checkpoint, tokens), their_logits(wide, tokens), f"import of {dtype}")
        back = load(home.send_out(checkpoint), torch_dtype="auto")
        report.check(back.dtype == stored, f"{dtype} is exported as {back.dtype}")
        same = all(torch.equal(a.float(), b) for a, b in zip(back.state_dict().values(), wide.state_dict().values()))
        report.check(same, f"{dtype}: the values are the same")
        for word, want in (("bf16", torch.bfloat16), ("f32", torch.float32)):
            rounded = load(home.send_out(checkpoint, "--dtype", word), torch_dtype="auto").state_dict()
            same = all(torch.equal(rounded[name], value.to(want)) for name, value in wide.state_dict().items())
            report.check(same, f"{dtype} by --dtype {word}")
        model.float()


def check_newer_config(home):
    """transformers 5 writes rope_parameters and dtype in place of rope_theta, rope_scaling and torch_dtype."""
    model = make_theirs(home, "llama31")
    folder = home.new("newer")
    model.save_pretrained(folder)
    config = json.loads((folder / "config.json").read_text())
    config["rope_parameters"] = {"rope_theta": config.pop("rope_theta"), **config.pop("rope_scaling")}
    config["dtype"] = config.pop("torch_dtype")
    (folder / "config.json").write_text(json.dumps(config))
    tokens = tokens_for(83, 100)
    close(home.our_logits(home.bring_in(folder), tokens), their_logits(model, tokens), "rope_parameters")


# Ours: every row of the paper's tables and every combination of the reference tests.
RELEASED = {"baseline": "Llama", "tied": "Llama", "grouped_2_qk_none": "Llama", "grouped_2_qk_head": "Qwen3",
            "heads_wider_than_model": "Llama", "norm_output_only_qk_full": "Olmo2"}


def check_ours(home):
    import yaml

    corpus = harness.write_corpus(home.folder / "corpus", documents=20, shards=1)
    configs = {path.stem: compare.tiny_row(path) for path in sorted(compare.ROWS.glob("table[4567]*.yaml"))}
    configs["baseline"] = compare.tiny_row(compare.ROWS / "baseline.yaml")
    configs |= {name: c for name, c in compare.extras().items() if not name.startswith(("document_mask", "loss_from"))}
    configs["norm_output_only_qk_full"] = compare.merged(
        compare.TINY, {"model": {"norm": {"input": False, "output": True, "qk": "full"}}})
    for name, config in configs.items():
        file = home.new(f"{name}.yaml")
        config = {**config, "data": {"train": [corpus], "tokenizer": "bytes", "holdout": 0.5}}
        config["metrics"] = {"sequences": 1}
        file.write_text(yaml.safe_dump(config, sort_keys=False))
        harness.run("train", file, *harness.sets(run__dir=home.folder, run__name=f"run_{name}", model__vocab_size=258,
                                                 train__steps=1))
        exported = home.send_out(home.folder / f"run_{name}")
        want = RELEASED.get(name, None)
        architecture = json.loads((exported / "config.json").read_text())["architectures"][0]
        if want:
            report.check(architecture == want + "ForCausalLM", f"{name} is exported as {architecture}")
        shaken = home.new(f"{name}_shaken")
        shaken.mkdir()
        for path in exported.iterdir():
            if path.suffix != ".safetensors":
                (shaken / path.name).write_bytes(path.read_bytes())
        save_file(perturb(weights(exported), 3), shaken / "model.safetensors", metadata={"format": "pt"})
        checkpoint = home.bring_in(shaken)
        back = home.send_out(checkpoint)
        report.check(same_weights(weights(back), weights(shaken)), f"{name}: weights are the same after import and export")
        report.check((back / "config.json").read_text() == (exported / "config.json").read_text(), f"{name}: config.json stays")
        length = 12 if "table" in name else 16
        tokens = tokens_for(258, length)
        model = load(back, trust_remote_code=True)
        close(their_logits(model, tokens), home.our_logits(checkpoint, tokens), f"export of {name} ({architecture})")
        with torch.no_grad():
            out = model(tokens, output_hidden_states=True, output_attentions=True)
        sums = all(torch.allclose(a.sum(-1), torch.ones(())) and a.shape[2:] == (length, length) for a in out.attentions)
        report.check(len(out.hidden_states) == model.config.num_hidden_layers + 1 and sums, f"{name}: hidden states, attentions")


def check_reading(home):
    """What a run reads in its text comes back, so that it measures the same; a saved copy of a model of ours loads."""
    corpus = harness.write_corpus(home.folder / "masked_text", documents=60, shards=1)
    for norm in ("rmsnorm", "layernorm"):
        harness.run("train", harness.TINY, *harness.sets(**harness.SMALL), *harness.sets(
            data__train=f"[{corpus}]", data__holdout=0.3, data__document_mask="true", data__begin_of_text="true",
            train__loss_from_position=9, train__steps=2, model__norm__kind=norm, metrics__sequences=4, run__dir=home.folder,
            run__name=f"masked_{norm}"))  # fmt: skip
        run = home.folder / f"masked_{norm}"
        exported = home.send_out(run)
        measured = [json.loads(harness.run("eval", checkpoint, "--data", corpus, "--sequences", 4, "--json").stdout)
                    for checkpoint in (run, home.bring_in(exported))]  # fmt: skip
        for name in ("loss_from_position", "perplexity", "sink_ratio", "first_token_mass", "spike_max"):
            values = [each[name] for each in measured]
            report.check(values[0] == values[1], f"{norm}: {name} of run and of its import: {values}")
        report.check(measured[0]["loss_from_position"] == 9, f"{norm}: the loss begins where that of the training did: {measured[0]}")
    tokens, saved = tokens_for(258, 20), home.new("saved")
    model = load(exported, trust_remote_code=True)
    model.save_pretrained(saved)
    close(their_logits(load(saved, trust_remote_code=True), tokens), their_logits(model, tokens), "saved by transformers")
    for words, said in ((("--out", ""), "empty argument behind --out"), (("--out", home.new("x"), "--shard-gb", 10**10), "--shard-gb")):
        done = harness.run("export", run, *words, check=False)
        report.check(done.returncode == 2 and done.stderr.count("\n") == 1 and said in done.stderr, f"{words}: {done.stderr}")


LLAMA3_PATTERN = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
                  r"|\s*[\r\n]+|\s+(?!\S)|\s+")
TEXTS = ["Hello world, hello  world!\n\n  It's 12345 o'clock.", "", " ", "caf\u00e9 \u4f60\u597d \U0001f600\t\r\n x", "<|end|> is text"]


def their_tokenizer(texts, by_pattern):
    """A byte-level BPE as published ones are, trained on the texts."""
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    whole = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=not by_pattern)
    split = [pre_tokenizers.Split(Regex(LLAMA3_PATTERN), "isolated"), whole]
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(split) if by_pattern else whole
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator(texts, trainers.BpeTrainer(
        vocab_size=700, special_tokens=["<|end|>", "<|begin|>"], initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False))
    return tokenizer


def our_ids(tokenizer, texts):
    program = LOGITS.parent / "reference_encode"
    given = b"".join(struct.pack("<I", len(t.encode())) + t.encode() for t in texts)
    out = subprocess.run([program, tokenizer], input=given, capture_output=True, check=True).stdout
    at, ids = out.index(b"\n") + 1, []
    for _ in texts:
        count = struct.unpack_from("<I", out, at)[0]
        ids.append(list(struct.unpack_from(f"<{count}i", out, at + 4)))
        at += 4 + 4 * count
        at += 4 + struct.unpack_from("<I", out, at)[0]
    return ids


def check_tokenizers(home):
    """A tokenizer.json is converted to the same ids, comes along, and text is measured with it; sentencepiece's goes out."""
    pattern = harness.write_corpus(home.folder / "words", documents=60, shards=1)
    texts = [json.loads(line)["text"] for line in Path(pattern.replace("*.jsonl*", "shard_00000000_processed.jsonl")).read_text().splitlines()]
    for by_pattern in (True, False):
        folder = home.new("with_tokenizer")
        make_theirs(home, "llama3", vocab_size=700).save_pretrained(folder)
        tokenizer = their_tokenizer(texts[:40] + TEXTS, by_pattern)
        tokenizer.save(str(folder / "tokenizer.json"))
        (folder / "tokenizer_config.json").write_text(json.dumps({"eos_token": "<|end|>", "bos_token": {"content": "<|begin|>"}}))
        checkpoint = home.bring_in(folder)
        kept = json.loads((checkpoint / "state.json").read_text())["config"]
        report.check("begin_of_text: true" in kept, f"a tokenizer with a begin-of-text token of its own: {kept}")
        others = TEXTS[:-1] + texts[40:]  # no special token in them
        want = [tokenizer.encode(text, add_special_tokens=False).ids for text in others]
        report.check(our_ids(checkpoint / "tokenizer.tiktoken", others) == want, f"ids of a converted tokenizer.json, {by_pattern}")
        moved = home.new("moved")
        checkpoint.rename(moved)
        done = harness.run("eval", moved, "--data", pattern, "--sequences", 2, "--context", 50, "--json", check=False)
        got = json.loads(done.stdout or "{}")
        report.check(done.returncode == 0 and (got["sequences"], got["context"]) == (2, 50), f"eval of an import: {done.stderr}")
        done = harness.run("eval", moved, "--data", pattern, "--context", 129, check=False)
        report.check(done.returncode == 2 and "--context 129: must lie" in done.stderr, f"beyond the context: {done.stderr}")
        back = home.send_out(moved)
        report.check((back / "tokenizer.json").read_bytes() == (folder / "tokenizer.json").read_bytes(), "tokenizer.json goes out again")

    model = home.folder / "words.model"
    harness.run("tokenizer", "train", pattern, "--vocab", 400, "--out", model)
    harness.run("train", harness.TINY, *harness.sets(
        run__dir=home.folder, run__name="pieces", data__train=f"[{pattern}]", data__tokenizer=model, model__vocab_size=400, data__holdout=0.5,
        model__context=32, train__batch_tokens=64, train__steps=1, metrics__sequences=1))
    out = home.send_out(home.folder / "pieces")
    tokenizer = transformers.AutoTokenizer.from_pretrained(out, use_fast=False)
    want = [tokenizer.encode(text, add_special_tokens=False) for text in texts[:20]]
    report.check(our_ids(model, texts[:20]) == want, "sentencepiece's ids by transformers")
    kept = json.loads((home.bring_in(out) / "state.json").read_text())["config"]
    report.check("tokenizer: huggingface/tokenizer.model" in kept and "begin_of_text: false" in kept, f"tokenizer of an export that came back: {kept}")


def check_refusals(home):
    folder = home.new("good")
    make_theirs(home, "llama3").save_pretrained(folder)
    config, tensors = json.loads((folder / "config.json").read_text()), load_file(folder / "model.safetensors")

    def refused(*words, code=3, tensors=tensors, raw=None, **keys):
        bad = home.new("bad")
        bad.mkdir()
        (bad / "config.json").write_text(json.dumps({key: value for key, value in {**config, **keys}.items() if value != "gone"}))
        if raw is not None:
            (bad / "model.safetensors").write_bytes(raw)
        else:
            save_file(tensors, bad / "model.safetensors", metadata={"format": "pt"})
        home.bring_in(bad, code=code, words=words)

    refused("architectures", "MixtralForCausalLM", "LlamaForCausalLM, Qwen2ForCausalLM", architectures=["MixtralForCausalLM"])
    refused("architectures", "names no single class", architectures="gone")
    refused("quantization_config", "quantised", quantization_config={"bits": 4})
    refused("hidden_act", "gelu", hidden_act="gelu")
    refused("mlp_bias", mlp_bias=True)
    refused("attention_bias", "o_proj", attention_bias=True)
    refused("rope_scaling.rope_type", '"yarn" is none of', rope_scaling={"rope_type": "yarn", "factor": 4.0})
    refused("rope_scaling.factor", "missing", rope_scaling={"type": "linear"})
    refused("partial_rotary_factor", rope_parameters={"rope_type": "default", "partial_rotary_factor": 0.5})
    refused("use_sliding_window", architectures=["Qwen2ForCausalLM"], use_sliding_window=True, sliding_window=16)
    refused("layer_types", "sliding_attention", layer_types=["full_attention", "sliding_attention"])
    refused("config.json: hidden_size: missing", hidden_size="gone")
    refused("hidden_size", "is no whole number", hidden_size="48")
    refused("num_attention_heads", "divide", head_dim=None, num_attention_heads=5)
    refused("n_kv_heads: 4 does not divide", num_key_value_heads=4)
    refused("vocab_size", vocab_size=-1)
    without = {name: t for name, t in tensors.items() if "layers.1.self_attn.k_proj" not in name}
    refused("no tensor model.layers.1.self_attn.k_proj.weight", tensors=without)
    refused("tensor model.layers.9.odd is none of the model", tensors={**tensors, "model.layers.9.odd": tensors["model.norm.weight"]})
    narrow = {**tensors, "model.norm.weight": tensors["model.norm.weight"][:-1].copy()}
    refused("tensor model.norm.weight is (47), the model of config.json needs (48)", tensors=narrow)
    whole = {**tensors, "model.norm.weight": numpy.ones(48, numpy.int8)}
    refused("tensor model.norm.weight is of dtype I8", tensors=whole)
    good = (folder / "model.safetensors").read_bytes()
    refused("model.safetensors: tensor", "of which there are", raw=good[:-4])
    refused("model.safetensors: its header is said to have", raw=struct.pack("<Q", 1 << 60) + good[8:])
    refused("model.safetensors: is too short for a header", raw=b"")
    checkpoint = home.bring_in(folder)
    done = harness.run("import", folder, "--out", checkpoint, check=False)
    report.check(done.returncode == 2 and "exists already" in done.stderr, f"--out that exists: {done.stderr}")
    done = harness.run("eval", checkpoint, check=False)
    report.check(done.returncode == 2 and "--data" in done.stderr, f"eval without text: {done.stderr}")
    corpus = harness.write_corpus(home.folder / "text", documents=20, shards=1)
    done = harness.run("eval", checkpoint, "--data", corpus, check=False)
    report.check(done.returncode == 2 and "--tokenizer" in done.stderr, f"eval without a tokenizer: {done.stderr}")


def check_memory(home):
    """A model of 1 GB comes in and goes out in little memory."""
    config = {**SMALL, "architectures": ["LlamaForCausalLM"], "vocab_size": 120000, "hidden_size": 1024, "num_hidden_layers": 1,
              "num_attention_heads": 8, "num_key_value_heads": 8, "intermediate_size": 64}
    shapes = {"model.embed_tokens.weight": (120000, 1024), "lm_head.weight": (120000, 1024), "model.norm.weight": (1024,)}
    layer = "model.layers.0."
    shapes |= {layer + f"self_attn.{p}_proj.weight": (1024, 1024) for p in "qkvo"}
    shapes |= {layer + "mlp.gate_proj.weight": (64, 1024), layer + "mlp.up_proj.weight": (64, 1024),
               layer + "mlp.down_proj.weight": (1024, 64), layer + "input_layernorm.weight": (1024,),
               layer + "post_attention_layernorm.weight": (1024,)}
    folder = home.new("large")
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(config))
    header, at = {}, 0
    for name, shape in shapes.items():
        size = 4 * int(numpy.prod(shape))
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [at, at + size]}
        at += size
    text = json.dumps(header).encode()
    with open(folder / "model.safetensors", "wb") as file:  # sparse: zeros
        file.write(struct.pack("<Q", len(text)) + text)
        file.truncate(8 + len(text) + at)
    report.check(at > 0.98e9, f"a model of {at} bytes")
    measure = "import resource, subprocess, sys; code = subprocess.run(sys.argv[1:]).returncode; " \
              "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss); sys.exit(code)"

    def peak(*arguments):
        done = subprocess.run([sys.executable, "-c", measure, harness.PROGRAM, *map(str, arguments)], capture_output=True, text=True)
        report.check(done.returncode == 0, f"{arguments}: {done.stderr}")
        kilobytes = int(done.stdout.split()[-1])
        report.check(kilobytes < 300_000, f"{arguments[0]} of 1 GB takes {kilobytes} kB")
        return kilobytes

    checkpoint, back = home.new("large_imported"), home.new("large_exported")
    sizes = peak("import", folder, "--out", checkpoint), peak("export", checkpoint, "--out", back, "--dtype", "bf16")
    print(f"peak memory of a 1 GB model: import {sizes[0]} kB, export {sizes[1]} kB")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as temporary:
        home = Home(temporary)
        for check in (check_theirs, check_precisions, check_newer_config, check_ours, check_reading, check_tokenizers, check_refusals, check_memory):
            check(home)
    report.end()
