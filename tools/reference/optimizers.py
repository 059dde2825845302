"""Computes 100 steps of optimizers that others maintain (PyTorch's and PyPI's), for tests that need no Python.

Usage: optimizers.py write DIR   makes DIR/NAME.{json,safetensors} of every case
       optimizers.py check DIR   computes them again and compares; ends with 1 on a difference

Everything is in double precision; Newton-Schulz iterations that their packages run in bfloat16 are in it, too.
Parameters have PyTorch's layout (linear weights are [out, in]), `experts` is three of them. Nothing is drawn: with

    u(p, i, t) = (splitmix64(i + 1009 p + 65537 t) >> 11) / 2^53 - 0.5    (integers modulo 2^64)

p the index of the parameter in SHAPES, i that of the entry in row-major order and t the step from 1, a parameter starts
at 0.4 u(p, i, 0) and its gradient at step t is 0.5 w + u(p, i, t), w its value before the step. Stored are
`step_1.NAME`, `step_10.NAME` and `step_100.NAME`, the values after so many steps. An optimizer that knows only matrices
has each expert as a parameter of its own and does not have `vector`. What an optimizer draws from where its formulas leave
it free (`first.q_out.NAME`, `first.q_in.NAME`) is stored as it is after the first step.
"""

import contextlib
import dataclasses
import importlib.metadata
import json
import pathlib
import sys
from collections.abc import Callable

import muon
import numpy
import pytorch_optimizer
import torch
from adam_mini import Adam_mini
from lion_pytorch import Lion
from pytorch_optimizer.optimizer.scion import LMONorm
from pytorch_optimizer.optimizer.utils.matrix import zero_power_via_newton_schulz_5
from safetensors.torch import load_file, save_file
from torch.nn import Parameter

SHAPES = dict(
    tall=(24, 8), wide=(8, 24), square=(16, 16), row=(1, 12), odd=(7, 13), experts=(3, 10, 6), vector=(9,)
)
STEPS, STORED = 100, (1, 10, 100)
# Largest difference over the largest value: double precision on another machine or another version of a kernel.
TOLERANCE = 1e-9

QUINTIC = (3.4445, -4.7750, 2.0315)
ADAMW = dict(lr=1e-2, betas=(0.9, 0.95), eps=1e-8, weight_decay=0.1)
MUON = dict(
    lr=0.02, weight_decay=0.1, momentum=0.95, nesterov=True, ns_coefficients=QUINTIC, eps=1e-7, ns_steps=5
)
NOR_MUON = dict(
    lr=0.02, momentum=0.95, beta2=0.95, weight_decay=0.1, weight_decouple=True, nesterov=True, ns_steps=5,
    ns_coeffs="original", use_adjusted_lr=False, eps=1e-10,
)
SCION = dict(lr=1e-2, momentum=0.1, constraint=False, scale=1.0, weight_decay=0.0)

# Names by which Adam-mini tells the kind of a tensor (it looks for parts of a name), and what each then gets.
MINI = dict(
    tall=("layers.0.mlp.up.weight", "row"),
    wide=("tok_embed.weight", "row"),
    square=("layers.0.attn.q_proj.weight", "heads 4"),
    row=("lm_head.weight", "row"),
    odd=("layers.0.router.weight", "tensor"),
    experts=("layers.0.mlp.experts.weight", "row"),
    vector=("layers.0.norm.weight", "tensor"),
)

MUON_FORM = (
    "B <- mu B + (1 - mu) g, from 0; M = (1 - mu) g + mu B with nesterov, else M = B. X = M / {norm}, transposed if "
    "out > in; five times X <- a X + (b A + c A A) X with A = X X^T; transposed back. Then w <- (1 - lr weight_decay) w"
    " and w <- w - lr s X, s = {scale}; the decay does not have s."
)
LIBRARY_NORM = "max(||M||_F, 1e-7)"
# A basis is corrected once there were as many gradients as `row` is wide: before, its null space would be anybody's again.
SOAP = dict(
    lr=1e-2, betas=(0.9, 0.95), shampoo_beta=0.9, weight_decay=0.1, precondition_frequency=15, max_precondition_dim=10000,
    eps=1e-8,
)
NOTES = dict(
    adamw_clipped_cosine="Gradients times min(1, max_norm / (norm + 1e-6)), norm that of all of them together.",
    muon_original=MUON_FORM.format(norm="max(||M||_F, eps)", scale="sqrt(max(1, out / in))"),
    muon_match_rms_adamw=MUON_FORM.format(norm="max(||M||_F, eps)", scale="0.2 sqrt(max(out, in))"),
    muon_plain=MUON_FORM.format(norm="max(||M||_F, eps)", scale="sqrt(max(1, out / in))"),
    muon_jordan=MUON_FORM.format(norm="(||M||_F + eps)", scale="sqrt(max(1, out / in))")
    + " SingleDeviceMuon, which takes all experts as one tensor: norm, products and s are of each matrix.",
    lion="w <- (1 - lr weight_decay) w, which is what decoupled_weight_decay=False does (True divides weight_decay by "
    "the first lr); w <- w - lr sign(beta1 m + (1 - beta1) g); then m <- beta2 m + (1 - beta2) g, from 0; sign(0) = 0.",
    adam_mini="AdamW's formula with v <- beta2 v + (1 - beta2) mean(g g), the mean over a block: w <- (1 - lr "
    "weight_decay) w; w <- w - lr (m / (1 - beta1^t)) / (sqrt(v) / sqrt(1 - beta2^t) + eps). Blocks: `row` one output "
    "(of an embedding one token), `heads 4` dim * dim / n_heads = 64 values on end, that is 4 outputs of [16, 16], "
    "`tensor` all of it. Names with norm, ln or bias have no decay: here `vector`; `tensor` alone does not exempt. "
    "Names with bias, which no case has, get plain Adam. Each expert is a parameter of its own.",
    scion_spectral="d <- 0.9 d + 0.1 g, from 0 (momentum is the weight of g); no Nesterov. X = d / "
    "max(||d||_F, 1e-7) and five steps of the quintic iteration of Muon; w <- w - lr scale sqrt(out / in) X, "
    "not max(1, .). weight_decay 0; another would be w <- (1 - lr weight_decay) w before the step.",
    scion_spectral_constrained="As scion_spectral, with w <- (1 - lr) w before w <- w - lr scale sqrt(out / in) X: "
    "(1 - lr) w + lr (scale times the oracle). weight_decay has no effect here.",
    scion_sign="d <- 0.9 d + 0.1 g, from 0; w <- w - lr scale sign(d), without 1 / in (normalize=False); sign(0) = 0. "
    "`vector` is passed as a matrix of one row, since the library asks for a second dimension.",
    scion_sign_normalized="d <- 0.9 d + 0.1 g, from 0; w <- w - lr scale sign(d) / in (normalize=True, the default, "
    "which cannot take a vector). in is the second dimension, of each expert by itself.",
    soap="Each expert by itself, every side with a basis. Step 1 moves nothing: L = (1 - s) g g^T, R = (1 - s) g^T g, bases "
    "their eigenvectors, the largest eigenvalue first. Step k + 1: m <- beta1 m + (1 - beta1) g, v <- beta2 v + (1 - beta2) "
    "g'^2, g' = Q_L^T g Q_R; w <- w - lr sqrt(1 - beta2^k) / (1 - beta1^k) Q_L (m' / (sqrt(v) + eps)) Q_R^T; "
    "w <- (1 - lr weight_decay) w; then L, R, and every precondition_frequency steps Q <- qr(L Q), columns and v in the order "
    "of the diagonal of Q^T L Q. The QR in float64, not float32. g g^T of a matrix that isn't square has no full rank: the "
    "bases of its null space, which are anybody's, are stored.",
    nor_muon=MUON_FORM.format(norm=LIBRARY_NORM, scale="sqrt(max(1, out / in))")
    + " Before the step: v <- beta2 v + (1 - beta2) mean over in of X X, from 0, one of each output, no bias "
    "correction; Y = X / (sqrt(v) + eps); X <- Y ||X||_F / (||Y||_F + eps).",
)


@dataclasses.dataclass(frozen=True)
class Case:
    """Package, the name of the optimizer, what makes it of its named parameters, and its hyperparameters."""

    package: str
    optimizer: str
    make: Callable[..., torch.optim.Optimizer]
    options: dict
    # Hyperparameters its constructor does not take.
    fixed: dict = dataclasses.field(default_factory=dict)
    vector: bool = False
    # Whether each expert is a parameter of its own.
    split: bool = True
    # Whether `vector` is a matrix of one row to it.
    row: bool = False
    # Whether it has bases that the first step leaves free.
    bases: bool = False
    clip: float | None = None
    cosine: dict | None = None
    description: dict = dataclasses.field(default_factory=dict)


def of_values(make: type) -> Callable[..., torch.optim.Optimizer]:
    return lambda parameters, **options: make(list(parameters.values()), **options)


def of_groups(make: type) -> Callable[..., torch.optim.Optimizer]:
    return lambda parameters, **options: make([dict(params=list(parameters.values()), use_muon=True)], **options)


def adam_mini(parameters: dict[str, Parameter], **options) -> Adam_mini:
    named = [(MINI[name.split(".")[0]][0].replace("experts", name), p) for name, p in parameters.items()]
    optimizer = Adam_mini(named, **options, verbose=False)
    # It takes the GPUs of the machine for the number of processes.
    optimizer.world_size = 1
    return optimizer


def scion(parameters: dict[str, Parameter], norm_type: str, **options) -> pytorch_optimizer.SCION:
    return pytorch_optimizer.SCION(list(parameters.values()), norm_type=LMONorm[norm_type], **options)


def torch_muon(adjust: str, **changed) -> Case:
    return Case("torch", "muon", of_values(torch.optim.Muon), MUON | changed | dict(adjust_lr_fn=adjust))


def library(optimizer: str, make: Callable, options: dict, **fixed) -> Case:
    # Its sign step asks for the second dimension of a tensor, used or not.
    plain = options.get("norm_kwargs") == PLAIN
    return Case("pytorch-optimizer", optimizer, make, options, fixed, vector=plain, row=plain)


PLAIN = dict(normalize=False)
NEWTON_SCHULZ = dict(ns_coefficients=QUINTIC, ns_steps=5, ns_eps=1e-7)
ALL = dict(vector=True, split=False)
CASES = dict(
    adamw=Case("torch", "adamw", of_values(torch.optim.AdamW), ADAMW, **ALL),
    adamw_clipped_cosine=Case(
        "torch", "adamw", of_values(torch.optim.AdamW), ADAMW, **ALL, clip=1.0,
        cosine=dict(T_max=STEPS, eta_min=0.1 * ADAMW["lr"]),
    ),
    adam=Case("torch", "adam", of_values(torch.optim.Adam), dict(lr=3e-3, betas=(0.8, 0.999), eps=1e-3), **ALL),
    muon_original=torch_muon("original"),
    muon_match_rms_adamw=torch_muon("match_rms_adamw"),
    muon_plain=torch_muon("original", momentum=0.9, nesterov=False),
    muon_jordan=Case(
        "muon-optimizer", "muon", of_values(muon.SingleDeviceMuon), dict(lr=0.02, weight_decay=0.1, momentum=0.95),
        dict(nesterov=True, ns_coefficients=QUINTIC, eps=1e-7, ns_steps=5), split=False,
    ),
    lion=Case(
        "lion-pytorch", "lion", of_values(Lion),
        dict(lr=1e-3, betas=(0.9, 0.99), weight_decay=0.1, decoupled_weight_decay=False), **ALL,
    ),
    adam_mini=Case(
        "adam-mini", "adam_mini", adam_mini, ADAMW | dict(dim=16, n_heads=4), vector=True,
        description=dict(
            names={name: given for name, (given, _) in MINI.items()},
            partitions={name: partition for name, (_, partition) in MINI.items()},
            weight_decays={name: 0.0 if "norm" in given else 0.1 for name, (given, _) in MINI.items()},
        ),
    ),
    scion_spectral=library("scion", scion, SCION | dict(norm_type="SPECTRAL"), **NEWTON_SCHULZ),
    scion_spectral_constrained=library(
        "scion", scion, SCION | dict(norm_type="SPECTRAL", constraint=True), **NEWTON_SCHULZ
    ),
    scion_sign=library("scion", scion, SCION | dict(norm_type="SIGN", norm_kwargs=PLAIN)),
    scion_sign_normalized=library("scion", scion, SCION | dict(norm_type="SIGN", norm_kwargs=dict(normalize=True))),
    nor_muon=library(
        "nor_muon", of_groups(pytorch_optimizer.NorMuon), NOR_MUON | dict(update_scale="preserve_norm"),
        ns_coefficients=QUINTIC, ns_eps=1e-7,
    ),
    soap=Case("pytorch-optimizer", "soap", of_values(pytorch_optimizer.SOAP), SOAP, bases=True),
)


@contextlib.contextmanager
def double_precision():
    """The packages run Newton-Schulz in bfloat16 by name or by a default, and QR in float32: here all are float64."""
    single = torch.float32
    short, method, defaults = torch.bfloat16, torch.Tensor.bfloat16, zero_power_via_newton_schulz_5.__defaults__
    torch.set_default_dtype(torch.float64)
    torch.float32 = torch.float64
    torch.bfloat16, torch.Tensor.bfloat16 = torch.float64, torch.Tensor.double
    assert defaults[-1] is short
    zero_power_via_newton_schulz_5.__defaults__ = (*defaults[:-1], torch.float64)
    try:
        yield
    finally:
        torch.bfloat16, torch.Tensor.bfloat16 = short, method
        zero_power_via_newton_schulz_5.__defaults__ = defaults
        torch.float32 = single
        torch.set_default_dtype(single)


def splitmix64(x: numpy.ndarray) -> numpy.ndarray:
    z = (x + numpy.uint64(1)) * numpy.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> numpy.uint64(30))) * numpy.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> numpy.uint64(27))) * numpy.uint64(0x94D049BB133111EB)
    return z ^ (z >> numpy.uint64(31))


def uniform(name: str, step: int) -> torch.Tensor:
    """Values in [-0.5, 0.5), exact in double precision."""
    shape = SHAPES[name]
    first = 1009 * list(SHAPES).index(name) + 65537 * step
    index = numpy.arange(numpy.prod(shape), dtype=numpy.uint64) + numpy.uint64(first)
    high = splitmix64(index) >> numpy.uint64(11)
    return torch.from_numpy(high.astype(numpy.float64) / 2.0**53 - 0.5).reshape(shape)


def parts(case: Case, tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The tensors as the optimizer of a case has them."""
    found = dict(tensors)
    if case.split:
        found |= {f"experts.{e}": matrix for e, matrix in enumerate(found.pop("experts"))}
    if case.row:
        found["vector"] = found["vector"].unsqueeze(0)
    return found


def computed(name: str, stored: dict[str, torch.Tensor] | None = None) -> tuple[dict[str, torch.Tensor], dict]:
    """Numbers and description of a case, from the bases of one that is stored: another machine has others."""
    case, found, norms, factors = CASES[name], {}, [], []
    with double_precision():
        weights = {n: 0.4 * uniform(n, 0) for n in SHAPES if case.vector or n != "vector"}
        # Parameters are views of the weights, which thus have what a step does to a part.
        parameters = {part: Parameter(view) for part, view in parts(case, weights).items()}
        optimizer = case.make(parameters, **case.options)
        schedule = case.cosine and torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, **case.cosine)
        for step in range(1, STEPS + 1):
            # A fresh tensor: some of the optimizers write on gradients.
            gradients = parts(case, {n: 0.5 * w + uniform(n, step) for n, w in weights.items()})
            for part, parameter in parameters.items():
                parameter.grad = gradients[part]
            if case.clip is not None:
                norms.append(torch.nn.utils.clip_grad_norm_(list(parameters.values()), case.clip).item())
            if schedule:
                factors.append(optimizer.param_groups[0]["lr"] / case.options["lr"])
            optimizer.step()
            if schedule:
                schedule.step()
            if case.bases and step == 1:
                found |= bases(optimizer, parameters, stored)
            if step in STORED:
                found |= {f"step_{step}.{n}": w.clone() for n, w in weights.items()}
        states = [v for state in optimizer.state.values() for v in state.values() if torch.is_tensor(v) and v.dim() > 0]
        assert all(tensor.dtype == torch.float64 for tensor in (*found.values(), *states))
    return found, described(name, norms, factors)


def bases(
    optimizer: torch.optim.Optimizer, parameters: dict[str, Parameter], stored: dict[str, torch.Tensor] | None
) -> dict[str, torch.Tensor]:
    """The eigenbases of outputs and inputs of every parameter, experts together; those that are stored take their place."""
    found = {}
    for at, side in enumerate(("q_out", "q_in")):
        for part, parameter in parameters.items():
            name, *expert = part.split(".")
            state, key = optimizer.state[parameter], f"first.{side}.{name}"
            if stored:
                state["Q"][at] = stored[key][int(expert[0]) if expert else 0].clone()
            found.setdefault(key, []).append(state["Q"][at])
    return {key: torch.stack(each).clone() for key, each in found.items()}


def described(name: str, norms: list[float], factors: list[float]) -> dict:
    case = CASES[name]
    description = dict(
        source=f"{case.package} {importlib.metadata.version(case.package)}",
        optimizer=dict(name=case.optimizer, **case.options, **case.fixed),
        **case.description,
    )
    if name in NOTES:
        description["notes"] = NOTES[name]
    if case.clip is not None:
        description |= dict(clip=dict(max_norm=case.clip, eps=1e-6), grad_norms=norms)
    if case.cosine:
        description |= dict(schedule=dict(name="cosine", **case.cosine), factors=factors)
    # As it is read again: tuples are lists.
    return json.loads(json.dumps(description))


def write(folder: pathlib.Path, name: str) -> None:
    numbers, description = computed(name)
    save_file(numbers, folder / f"{name}.safetensors")
    (folder / f"{name}.json").write_text(json.dumps(description, indent=1) + "\n")


def check(folder: pathlib.Path, name: str) -> list[str]:
    stored = load_file(folder / f"{name}.safetensors")
    description = json.loads((folder / f"{name}.json").read_text())
    numbers, recomputed = computed(name, stored)
    for tensors, d in ((stored, description), (numbers, recomputed)):
        lists = {key: d.pop(key) for key in ("grad_norms", "factors") if key in d}
        tensors |= {key: torch.tensor(values, dtype=torch.float64) for key, values in lists.items()}
    faults = [f"{name}: {n} is in one of the two" for n in sorted(stored.keys() ^ numbers.keys())]
    if description != recomputed:
        faults.append(f"{name}: the descriptions differ")
    worst = 0.0
    for key in sorted(stored.keys() & numbers.keys()):
        a, b = numbers[key], stored[key]
        if a.shape != b.shape:
            faults.append(f"{name}: {key} has another shape")
            continue
        error = (a - b).abs().max().item() / max(b.abs().max().item(), 1e-300)
        worst = max(worst, error)
        if not error <= TOLERANCE:
            faults.append(f"{name}: {key} differs by {error:.1e}")
    print(f"{name}: {len(stored)} tensors, largest difference {worst:.1e}")
    return faults


def main() -> None:
    if len(sys.argv) != 3 or sys.argv[1] not in ("write", "check"):
        raise SystemExit(__doc__)
    folder = pathlib.Path(sys.argv[2])
    if sys.argv[1] == "write":
        folder.mkdir(parents=True, exist_ok=True)
        for name in CASES:
            write(folder, name)
        return
    faults = [fault for name in CASES for fault in check(folder, name)]
    if faults:
        raise SystemExit("\n".join(faults))


if __name__ == "__main__":
    main()
