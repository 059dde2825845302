"""Trains a model of the benchmark in PyTorch, a few steps at a time: the peer of `bench_train.rs`.

Usage: train.py MODEL.toml [KEY=VALUE ...] --way eager|compile [--bf16] [--warm N]

Answers the lines `steps N` and `memory` of standard input, each with a line of JSON. Plain and idiomatic PyTorch: fused
attention, fused AdamW, one product for q, k, v and one for gate and up, rotation tables made once.
"""

import argparse
import json
import math
import resource
import sys
import time
import tomllib

import torch
import torch.nn.functional as F
from torch import nn


def rotated(x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    """Turns the halves of every head: the layout that is cheapest here."""
    a, b = x.chunk(2, dim=-1)
    return torch.cat((a * cos - b * sin, a * sin + b * cos), dim=-1)


class Block(nn.Module):
    """What the schemes share: the projections, and attention between them."""

    def __init__(self, dim: int, heads: int, hidden: int):
        super().__init__()
        self.heads, self.head = heads, dim // heads
        self.qkv = nn.Linear(dim, 3 * dim, bias=False)
        self.o = nn.Linear(dim, dim, bias=False)
        self.gate_up = nn.Linear(dim, 2 * hidden, bias=False)
        self.down = nn.Linear(hidden, dim, bias=False)

    def split(self, x: torch.Tensor) -> torch.Tensor:
        return x.unflatten(-1, (self.heads, self.head)).transpose(1, 2)

    def attend(self, q, k, v, scale: float) -> torch.Tensor:
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True, scale=scale)
        return y.transpose(1, 2).flatten(2)


class PreNorm(Block):
    """RMSNorm before each branch, and of each head's queries and keys."""

    def __init__(self, dim, heads, hidden):
        super().__init__(dim, heads, hidden)
        self.before_attn, self.before_mlp = nn.RMSNorm(dim, 1e-5), nn.RMSNorm(dim, 1e-5)
        self.of_q, self.of_k = nn.RMSNorm(self.head, 1e-5), nn.RMSNorm(self.head, 1e-5)

    def forward(self, h, cos, sin):
        q, k, v = map(self.split, self.qkv(self.before_attn(h)).chunk(3, dim=-1))
        q, k = rotated(self.of_q(q), cos, sin), rotated(self.of_k(k), cos, sin)
        h = h + self.o(self.attend(q, k, v, self.head**-0.5))
        gate, up = self.gate_up(self.before_mlp(h)).chunk(2, dim=-1)
        return h + self.down(F.silu(gate) * up)


class SimpleNorm(Block):
    """RMSNorm after every linear map, and none before."""

    def __init__(self, dim, heads, hidden):
        super().__init__(dim, heads, hidden)
        self.of_q, self.of_k, self.of_v = (nn.RMSNorm(dim, 1e-5) for _ in range(3))
        self.of_o, self.of_down = nn.RMSNorm(dim, 1e-5), nn.RMSNorm(dim, 1e-5)
        self.of_gate, self.of_up = nn.RMSNorm(hidden, 1e-5), nn.RMSNorm(hidden, 1e-5)

    def forward(self, h, cos, sin):
        q, k, v = self.qkv(h).chunk(3, dim=-1)
        q, k, v = self.split(self.of_q(q)), self.split(self.of_k(k)), self.split(self.of_v(v))
        y = self.attend(rotated(q, cos, sin), rotated(k, cos, sin), v, self.head**-0.5)
        h = h + self.of_o(self.o(y))
        gate, up = self.gate_up(h).chunk(2, dim=-1)
        return h + self.of_down(self.down(F.silu(self.of_gate(gate)) * self.of_up(up)))


class Lerp(nn.Module):
    """nu (h + a (x - h)) with nu = 1 / sqrt(a^2 + (1 - a)^2), a of 0.05 stored as 0.01."""

    def __init__(self, dim):
        super().__init__()
        self.stored = nn.Parameter(torch.full((dim,), 0.01))

    def forward(self, h, x):
        a = self.stored * 5.0
        return torch.rsqrt(a.square() + (1 - a).square()) * torch.lerp(h, x.to(h.dtype), a)


class AnGpt(Block):
    """Branch outputs, queries and keys of unit length, a learned scale of the scores, constants, interpolated residuals."""

    def __init__(self, dim, heads, hidden):
        super().__init__(dim, heads, hidden)
        self.attn, self.mlp = Lerp(dim), Lerp(dim)
        ratio = hidden / dim
        self.factors = math.sqrt(heads), heads**-0.5, ratio**-0.5, math.sqrt(dim), math.sqrt(ratio)
        # 1 / sqrt(E[silu(z)^2]) for z of variance 1 / ratio.
        z = torch.linspace(-10, 10, 200001, dtype=torch.float64)
        density = torch.exp(-z.square() / 2) / math.sqrt(2 * math.pi)
        mean = torch.trapezoid(F.silu(z * ratio**-0.5).square() * density, z)
        self.activation = float(mean**-0.5)
        self.scale = nn.Parameter(torch.full((1,), math.sqrt(self.head)))

    def forward(self, h, cos, sin):
        into, out, up_factor, before, down_factor = self.factors
        q, k, v = map(self.split, (self.qkv(h) * into).chunk(3, dim=-1))
        q = F.normalize(rotated(q, cos, sin), dim=-1)
        k = F.normalize(rotated(k, cos, sin), dim=-1)
        y = self.attend(q, k * self.scale, v, 1.0)
        h = self.attn(h, F.normalize(self.o(y) * out, dim=-1))
        gate, up = (self.gate_up(h) * up_factor).chunk(2, dim=-1)
        x = self.down(self.activation * up * F.silu(before * gate)) * down_factor
        return self.mlp(h, F.normalize(x, dim=-1))


class Decoder(nn.Module):
    def __init__(self, model: dict, scheme: str):
        super().__init__()
        dim, heads = model["dim"], model["heads"]
        block = {"pre_norm": PreNorm, "simple_norm": SimpleNorm, "angpt": AnGpt}[scheme]
        self.embed = nn.Embedding(model["vocab_size"], dim)
        self.blocks = nn.ModuleList(block(dim, heads, model["hidden"]) for _ in range(model["layers"]))
        self.head = nn.Linear(dim, model["vocab_size"], bias=False)
        self.bounded = scheme == "angpt"
        if self.bounded:
            self.norm, self.logits = nn.Identity(), nn.Parameter(torch.full((model["vocab_size"],), 0.01))
        else:
            self.norm, self.logits = nn.RMSNorm(dim, 1e-5), None
        pairs = dim // heads // 2
        rates = 10000.0 ** (-torch.arange(pairs) / pairs)
        angles = torch.arange(model["context"])[:, None] * rates
        self.register_buffer("cos", angles.cos(), persistent=False)
        self.register_buffer("sin", angles.sin(), persistent=False)
        for parameter in self.parameters():
            if parameter.dim() == 2:
                nn.init.normal_(parameter, std=0.02)
        self.bound(1.0)

    def forward(self, tokens, targets):
        h = self.embed(tokens)
        for block in self.blocks:
            h = block(h, self.cos, self.sin)
        logits = self.head(self.norm(h))
        if self.logits is not None:
            logits = logits * (self.logits * 100.0)
        return F.cross_entropy(logits.flatten(0, 1).float(), targets.flatten())

    @torch.no_grad()
    def bound(self, least: float = 0.0):
        """Rows of length 1 at most: of exactly 1 where `least` is 1."""
        if self.bounded:
            for parameter in self.parameters():
                if parameter.dim() == 2:
                    parameter.div_(parameter.norm(dim=1, keepdim=True).clamp_min(1e-12 if least else 1.0))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("model")
    parser.add_argument("keys", nargs="*")
    parser.add_argument("--way", choices=["eager", "compile"], default="eager")
    parser.add_argument("--bf16", action="store_true")
    parser.add_argument("--warm", type=int, default=2)
    arguments = parser.parse_args()
    with open(arguments.model, "rb") as file:
        config = tomllib.load(file)
    for pair in arguments.keys:
        key, value = pair.split("=", 1)
        section, name = key.split(".", 1)
        config.setdefault(section, {})[name] = int(value) if value.isdigit() else value
    model, batch = config["model"], config["train"]["batch_size"]
    scheme = config.get("norm", {}).get("scheme", "pre_norm")

    torch.manual_seed(0)
    decoder = Decoder(model, scheme)
    matrices = [p for p in decoder.parameters() if p.dim() == 2]
    vectors = [p for p in decoder.parameters() if p.dim() != 2]
    decay = 0.0 if decoder.bounded else 0.1
    optimizer = torch.optim.AdamW(
        [dict(params=matrices, weight_decay=decay), dict(params=vectors, weight_decay=0.0)],
        lr=config["optim"]["lr"], betas=(0.9, 0.95), eps=1e-8, fused=True,
    )
    forward = torch.compile(decoder) if arguments.way == "compile" else decoder
    bound = torch.compile(decoder.bound) if arguments.way == "compile" else decoder.bound

    def step() -> float:
        tokens = torch.randint(model["vocab_size"], (batch, model["context"] + 1))
        with torch.autocast("cpu", torch.bfloat16, enabled=arguments.bf16):
            loss = forward(tokens[:, :-1].contiguous(), tokens[:, 1:].contiguous())
        loss.backward()
        torch.nn.utils.clip_grad_norm_(decoder.parameters(), 1.0)
        optimizer.step()
        bound()
        optimizer.zero_grad(set_to_none=True)
        return loss.item()

    for _ in range(arguments.warm):
        step()
    answer({"parameters": sum(p.numel() for p in decoder.parameters())})
    for line in sys.stdin:
        what, *count = line.split()
        if what == "steps":
            seconds = []
            for _ in range(int(count[0])):
                start = time.perf_counter()
                loss = step()
                seconds.append(time.perf_counter() - start)
            answer({"seconds": seconds, "loss": loss})
        elif what == "memory":
            answer({"peak_rss_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024})
        else:
            sys.exit(f"`{line.strip()}` is no request")


def answer(value: dict) -> None:
    print(json.dumps(value), flush=True)


if __name__ == "__main__":
    main()
