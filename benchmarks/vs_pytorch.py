#!/usr/bin/env python3
"""Training steps of spikesink against PyTorch on this CPU or GPU: the same model, batch and threads, in alternation.

    benchmarks/vs_pytorch.py [--rounds 5] [--steps 3] [--set system.recompute=layer] [--json FILE]
    benchmarks/vs_pytorch.py --program build/cuda/spikesink --config configs/benchmark/1b_t4096.yaml

Each round runs, one after another and each in a process of its own, spikesink (`bench train`), PyTorch eager and PyTorch
compiled. Reported are medians over rounds, the ratio of tokens/s to the faster PyTorch of the same round, and the ratio of
peak memory: the process's resident, or on a GPU all that it holds. PyTorch is the one of the Python that runs this file; it runs
where spikesink does, on a GPU with f32 weights and bf16 autocast.
"""

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def pytorch_steps(shape, compiled, steps):
    """Times `steps` training steps of the same Llama as PyTorch users write it; prints one JSON object."""
    import torch
    import torch.nn.functional as F
    from torch import nn

    torch.manual_seed(1)
    torch.set_num_threads(shape["threads"])
    cuda = shape.get("device", "cpu") != "cpu"
    device = torch.device("cuda" if cuda else "cpu")
    C, H, D, T = shape["d_model"], shape["n_heads"], shape["d_head"], shape["context"]

    angles = torch.outer(torch.arange(T).float(), 10000.0 ** (-torch.arange(0, D, 2).float() / D))
    angles = torch.cat([angles, angles], -1).to(device)
    cos, sin = (f(angles).to(torch.bfloat16 if cuda else torch.float32) for f in (torch.cos, torch.sin))

    def rope(x):
        a, b = x.chunk(2, -1)
        return x * cos + torch.cat([-b, a], -1) * sin

    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm1, self.norm2 = nn.RMSNorm(C, eps=1e-5), nn.RMSNorm(C, eps=1e-5)
            self.qkv, self.o = nn.Linear(C, 3 * H * D, bias=False), nn.Linear(H * D, C, bias=False)
            self.gate_up = nn.Linear(C, 2 * shape["d_hidden"], bias=False)
            self.down = nn.Linear(shape["d_hidden"], C, bias=False)

        def forward(self, x):
            B = x.shape[0]
            q, k, v = self.qkv(self.norm1(x)).view(B, T, 3, H, D).permute(2, 0, 3, 1, 4)
            heads = F.scaled_dot_product_attention(rope(q), rope(k), v, is_causal=True)
            x = x + self.o(heads.transpose(1, 2).reshape(B, T, H * D))
            gate, up = self.gate_up(self.norm2(x)).chunk(2, -1)
            return x + self.down(F.silu(gate) * up)

    class Llama(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed = nn.Embedding(shape["vocab_size"], C)
            self.blocks = nn.ModuleList(Block() for _ in range(shape["n_layers"]))
            self.norm, self.head = nn.RMSNorm(C, eps=1e-5), nn.Linear(C, shape["vocab_size"], bias=False)

        def forward(self, tokens, targets):
            x = self.embed(tokens)
            for block in self.blocks:
                x = block(x)
            return F.cross_entropy(self.head(self.norm(x)).flatten(0, 1), targets.flatten())

    model = Llama().to(device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-4, betas=(0.9, 0.95), weight_decay=0.1, fused=True)
    loss_of = torch.compile(model) if compiled else model
    samples = torch.randint(shape["vocab_size"], (shape["sequences"], T + 1)).to(device)
    passes = range(0, shape["sequences"], shape["micro_batch"])

    def step():
        optimizer.zero_grad(set_to_none=True)
        for first in passes:
            rows = samples[first : first + shape["micro_batch"]]
            with torch.autocast("cuda", torch.bfloat16, enabled=cuda):
                loss = loss_of(rows[:, :-1], rows[:, 1:])
            (loss * len(rows) / len(samples)).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        if cuda:
            torch.cuda.synchronize()

    for _ in range(2):
        step()
    seconds = []
    for _ in range(steps):
        begin = time.perf_counter()
        step()
        seconds.append(time.perf_counter() - begin)
    print(json.dumps({
        "tokens_per_second": shape["sequences"] * T / statistics.median(seconds),
        "process_peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        "parameters": sum(p.numel() for p in model.parameters()),
        "version": torch.__version__,
        **({"device_used_bytes": torch.cuda.mem_get_info()[1] - torch.cuda.mem_get_info()[0]} if cuda else {}),
    }))  # fmt: skip


def result_of(arguments, **environment):
    done = subprocess.run(arguments, capture_output=True, text=True, env={**os.environ, **environment})
    if done.returncode != 0:
        sys.exit(f"{' '.join(map(str, arguments))}: exit {done.returncode}\n{done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])


def cpu_name():
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", default=ROOT / "build/cpu/spikesink", help="the spikesink to time")
    parser.add_argument("--config", help="of `bench train`; default: its own")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=3, help="timed steps a round and program")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="a key of spikesink's config")
    parser.add_argument("--no-compile", action="store_true", help="PyTorch eager only")
    parser.add_argument("--json", metavar="FILE", help="write the result there too")
    parser.add_argument("--as-pytorch", nargs=2, metavar=("SHAPE", "MODE"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    try:
        import torch
    except ImportError:
        sys.exit("vs_pytorch.py: this Python has no PyTorch; run it with one that has (pip install torch)")
    if not hasattr(torch.nn, "RMSNorm"):
        sys.exit(f"vs_pytorch.py: PyTorch {torch.__version__} is too old to compare with; 2.4 or later is needed")
    if not Path(options.program).exists():
        sys.exit(f"vs_pytorch.py: no program {options.program}; build it: cmake --preset cpu && cmake --build --preset cpu")
    if options.as_pytorch:
        shape, mode = options.as_pytorch
        return pytorch_steps(json.loads(shape), mode == "compiled", options.steps)

    ours_command = [options.program, "bench", "train", "--json", "--steps", str(options.steps)]
    ours_command += [options.config] if options.config else []
    ours_command += [part for override in options.set for part in ("--set", override)]
    modes = ["eager"] + ([] if options.no_compile else ["compiled"])
    rounds = []
    for number in range(options.rounds):
        ours = result_of(ours_command, OMP_NUM_THREADS=str(options.threads))
        row = {"spikesink": ours}
        for mode in modes:
            row[mode] = result_of([sys.executable, __file__, "--steps", str(options.steps), "--as-pytorch",
                                   json.dumps(ours), mode])  # fmt: skip
            if row[mode]["parameters"] != ours["parameters"]:
                sys.exit(f"not the same model: {row[mode]['parameters']} and {ours['parameters']} parameters")
        rounds.append(row)
        print(f"round {number + 1}/{options.rounds}: " + ", ".join(
            f"{k} {v['tokens_per_second']:.0f} tokens/s {v.get('device_used_bytes', v['process_peak_bytes']) / 2**20:.0f} MiB"
            for k, v in row.items()), flush=True)  # fmt: skip

    on_gpu = rounds[0]["spikesink"].get("device", "cpu") != "cpu"
    memory_key = "device_used_bytes" if on_gpu else "process_peak_bytes"

    def middle(name, key):
        return statistics.median(row[name][key] for row in rounds)

    best = max(modes, key=lambda mode: middle(mode, "tokens_per_second"))
    speed = statistics.median(r["spikesink"]["tokens_per_second"] / r[best]["tokens_per_second"] for r in rounds)
    memory = statistics.median(r["spikesink"][memory_key] / r[best][memory_key] for r in rounds)
    result = {
        "hardware": {"cpu": cpu_name(), "threads": options.threads,
                     **({"gpu": rounds[0]["spikesink"]["device"]} if on_gpu else {})},
        "date": time.strftime("%Y-%m-%d"),
        "pytorch": rounds[0][best]["version"],
        "faster_pytorch": best,
        "model": {k: rounds[0]["spikesink"][k] for k in (
            "parameters", "d_model", "n_layers", "n_heads", "d_head", "d_hidden", "vocab_size", "context", "sequences",
            "micro_batch")},
        "settings": options.set,
        "rounds": options.rounds,
        "tokens_per_second": {k: middle(k, "tokens_per_second") for k in ["spikesink", *modes]},
        memory_key: {k: middle(k, memory_key) for k in ["spikesink", *modes]},
        "mfu": middle("spikesink", "mfu"),
        "speed_ratio": speed,
        "memory_ratio": memory,
    }  # fmt: skip
    print(f"spikesink over PyTorch {result['pytorch']} ({best}): {speed:.2f}x the tokens/s, {memory:.2f}x the peak "
          f"memory, at {100 * result['mfu']:.0f} % of the matrix rate")  # fmt: skip
    if options.json:
        Path(options.json).write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
