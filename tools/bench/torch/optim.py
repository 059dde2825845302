"""Times optimizer steps of PyTorch on the shapes of `bench_optim.rs`: AdamW and Muon, clipping included.

Usage: optim.py [ROUNDS]   prints one JSON object a line
"""

import json
import statistics
import sys
import time

import torch

WIDTH, HIDDEN, LAYERS, VOCABULARY = 256, 688, 7, 8192
BLOCK = [(WIDTH, WIDTH)] * 4 + [(HIDDEN, WIDTH)] * 2 + [(WIDTH, HIDDEN)]


def parameters() -> tuple[list[torch.nn.Parameter], list[torch.nn.Parameter]]:
    """The matrices inside the blocks, and everything else."""
    make = lambda shape: torch.nn.Parameter(torch.randn(shape) * 0.02)  # noqa: E731
    matrices = [make(shape) for _ in range(LAYERS) for shape in BLOCK]
    # Gains of the norms before both branches, of q and k, and of the last norm.
    gains = [make((WIDTH,)) for _ in range(2 * LAYERS + 1)] + [make((WIDTH // 4,)) for _ in range(2 * LAYERS)]
    return matrices, [make((VOCABULARY, WIDTH)), make((VOCABULARY, WIDTH)), *gains]


def adamw(parameters: list) -> torch.optim.Optimizer:
    return torch.optim.AdamW(parameters, lr=1e-4, betas=(0.9, 0.95), weight_decay=0.1, fused=True)


def contenders() -> dict:
    matrices, rest = parameters()
    plain = matrices + rest
    found = {"adamw": (plain, [adamw(plain)])}
    matrices, rest = parameters()
    muon = torch.optim.Muon(matrices, lr=1e-4, weight_decay=0.1, momentum=0.95)
    found["muon"] = (matrices + rest, [muon, adamw(rest)])
    return found


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 7
    found, times = contenders(), {}
    for turn in range(rounds + 1):
        for name, (parameters, optimizers) in found.items():
            for parameter in parameters:
                parameter.grad = torch.randn_like(parameter) * 1e-3
            start = time.perf_counter()
            torch.nn.utils.clip_grad_norm_(parameters, 1.0)
            for optimizer in optimizers:
                optimizer.step()
            # The first step makes the state.
            if turn:
                times.setdefault(name, []).append(time.perf_counter() - start)
    for name, seconds in times.items():
        line = dict(contender="torch", recipe=name, ms=statistics.median(seconds) * 1e3, rounds=len(seconds))
        print(json.dumps(line))


if __name__ == "__main__":
    main()
