"""Computes a case of DeepNorm with the library of its authors (PyPI's torchscale), for tests that need no Python.

Usage: deep_norm.py write DIR   makes DIR/deep_norm.{json,safetensors}
       deep_norm.py check DIR   computes them again from the stored weights; ends with 1 on a difference

The library's decoder with `deepnorm`: its skip factor, exact GELU, biases on every linear map, no position embedding.
The shifts of its LayerNorms, which the scheme does not have, stay at zero. Weights are drawn in single precision;
everything else is in double precision, dropout off, with `torch.optim.AdamW` and `clip_grad_norm_`.
"""

import json
import pathlib
import sys
import types

import torch
from safetensors.torch import load_file, save_file

from peers import double_precision

# The library imports them for checkpointing and stochastic depth, which nothing here uses, in versions of 2021.
for name, members in {"fairscale.nn": ["checkpoint_wrapper", "wrap"], "timm.models.layers": ["drop_path"]}.items():
    stub = types.ModuleType(name)
    for member in members:
        setattr(stub, member, None)
    sys.modules[name] = stub

from torchscale.architecture.config import DecoderConfig  # noqa: E402
from torchscale.architecture.decoder import Decoder  # noqa: E402

SIZES = dict(dim=24, n_layers=3, n_heads=4, vocab_size=31, hidden=40, max_seq_len=8)
BATCH, STEPS = 2, 10
ADAMW = dict(lr=1e-3, betas=[0.9, 0.95], eps=1e-8, weight_decay=0.1)
CLIP = 1.0
# Largest difference over the largest value: double precision on another machine or another version of a kernel.
TOLERANCE = 1e-9


def decoder() -> Decoder:
    config = DecoderConfig(
        decoder_embed_dim=SIZES["dim"], decoder_ffn_embed_dim=SIZES["hidden"], decoder_layers=SIZES["n_layers"],
        decoder_attention_heads=SIZES["n_heads"], vocab_size=SIZES["vocab_size"], activation_fn="gelu", deepnorm=True,
        no_scale_embedding=True,
    )
    return Decoder(config, embed_tokens=torch.nn.Embedding(SIZES["vocab_size"], SIZES["dim"])).eval()


def trained(model: Decoder) -> dict[str, torch.nn.Parameter]:
    """Every parameter but the shifts of the normalizations."""
    return {n: p for n, p in model.named_parameters() if not n.endswith("layer_norm.bias")}


def drawn() -> dict[str, torch.Tensor]:
    torch.manual_seed(3)
    weights = {}
    for name, parameter in trained(decoder()).items():
        noise = torch.randn_like(parameter)
        matrix = parameter.dim() > 1
        scale = (0.6 if "embed" in name else 0.25) if matrix else 0.2
        weights[name] = scale * noise + (1.0 if name.endswith("layer_norm.weight") else 0.0)
    return weights


def loss_of(model: Decoder, tokens: torch.Tensor, targets: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    logits = model(tokens)[0]
    assert logits.dtype == torch.float64
    return logits, torch.nn.functional.cross_entropy(logits.reshape(-1, SIZES["vocab_size"]), targets.reshape(-1))


def computed(weights: dict[str, torch.Tensor]) -> tuple[dict[str, torch.Tensor], dict]:
    generator = torch.Generator().manual_seed(5)
    shape = (STEPS, BATCH, SIZES["max_seq_len"])
    tokens, targets = (torch.randint(SIZES["vocab_size"], shape, generator=generator) for _ in range(2))
    with double_precision():
        model = decoder().double()
        parameters = trained(model)
        assert parameters.keys() == weights.keys()
        for name, parameter in model.named_parameters():
            if name in parameters:
                parameter.data.copy_(weights[name])
            else:
                parameter.data.zero_()
                parameter.requires_grad_(False)
        logits, loss = loss_of(model, tokens[0], targets[0])
        gradients = torch.autograd.grad(loss, parameters.values())
        found = {"output.logits": logits, "output.loss": loss.reshape(1)}
        found |= {f"grad.{name}": gradient for name, gradient in zip(parameters, gradients)}
        decayed, kept = ([p for p in parameters.values() if (p.dim() > 1) == matrix] for matrix in (True, False))
        options = {key: value for key, value in ADAMW.items() if key != "weight_decay"}
        optimizer = torch.optim.AdamW(
            [dict(params=decayed, weight_decay=ADAMW["weight_decay"]), dict(params=kept, weight_decay=0.0)], **options
        )
        losses, norms = [], []
        for step in range(STEPS):
            optimizer.zero_grad()
            _, loss = loss_of(model, tokens[step], targets[step])
            loss.backward()
            losses.append(loss.item())
            norms.append(torch.nn.utils.clip_grad_norm_(list(parameters.values()), CLIP).item())
            optimizer.step()
        found |= {f"final.{name}": parameter for name, parameter in parameters.items()}
    found = {name: tensor.detach().clone().contiguous() for name, tensor in found.items()}
    integers = {"input.tokens": tokens[0], "input.targets": targets[0], "train.tokens": tokens, "train.targets": targets}
    found |= {name: tensor.to(torch.int32).contiguous() for name, tensor in integers.items()}
    optimizer = dict(name="adamw", **ADAMW, decays="tensors of rank >= 2", clip_global_norm=CLIP)
    description = dict(
        source="torchscale 0.3.0, f64", optimizer=optimizer, after_step="none", **SIZES, norm_eps=1e-5,
        weight_layout="linear weights are [out, in]", scheme="deep_norm", norm="ln", mlp="gelu", positions="none",
        biases="all", train_losses=losses, grad_norms=norms,
    )
    return found, description


def write(folder: pathlib.Path) -> None:
    weights = drawn()
    numbers, description = computed(weights)
    numbers |= {f"param.{name}": tensor.contiguous() for name, tensor in weights.items()}
    save_file(numbers, folder / "deep_norm.safetensors")
    (folder / "deep_norm.json").write_text(json.dumps(description, indent=1) + "\n")


def check(folder: pathlib.Path) -> None:
    stored = load_file(folder / "deep_norm.safetensors")
    described = json.loads((folder / "deep_norm.json").read_text())
    weights = {name.removeprefix("param."): t for name, t in stored.items() if name.startswith("param.")}
    numbers, description = computed(weights)
    numbers |= {f"param.{name}": tensor for name, tensor in weights.items()}
    faults = [f"{name} is in one of the two" for name in stored.keys() ^ numbers.keys()]
    for key in ("train_losses", "grad_norms"):
        numbers[key], stored[key] = (torch.tensor(d.pop(key), dtype=torch.float64) for d in (description, described))
    if description != described:
        faults.append("the descriptions differ")
    worst = 0.0
    for name in stored.keys() & numbers.keys():
        a, b = numbers[name].double(), stored[name].double()
        error = (a - b).abs().max().item() / max(b.abs().max().item(), 1e-300)
        # Adam gives a gradient that cancels, as that of a bias before a softmax, an arbitrary sign.
        cancels = name.startswith(("grad.", "final.")) and name.endswith("k_proj.bias")
        if not (cancels or error <= TOLERANCE):
            faults.append(f"{name} differs by {error:.1e}")
        worst = worst if cancels else max(worst, error)
    print(f"deep_norm: {len(stored)} tensors, largest difference {worst:.1e}")
    if faults:
        raise SystemExit("\n".join(faults))


def main() -> None:
    if len(sys.argv) != 3 or sys.argv[1] not in ("write", "check"):
        raise SystemExit(__doc__)
    {"write": write, "check": check}[sys.argv[1]](pathlib.Path(sys.argv[2]))


if __name__ == "__main__":
    main()
