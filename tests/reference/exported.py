"""Compares exported checkpoints, as PyPI's transformers loads them, with the logits of the program that wrote them.

Usage: exported.py DIR

Every folder of DIR has config.json, the weights and reference.safetensors: `tokens` [B, T] and the program's `logits`
[B, T, V] of them. In the number format of the weights, the logits have to agree, every parameter has to come from the
checkpoint and every tensor of it to be used; a greedy continuation of two prompts of different lengths in one padded
batch, with a cache, has to choose what a full pass without one finds most likely; a tokenizer, where there is one, has
to load. Prints one line for each folder; ends with 1 on a fault, or if there is no folder.
"""

import pathlib
import sys

import torch
import transformers
from safetensors import safe_open
from safetensors.torch import load_file

from peers import double_precision

NEW_TOKENS, PADDING = 8, 3
# Largest difference over the largest value, by the number format of the weights.
TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-9}


def number_format(folder: pathlib.Path) -> torch.dtype:
    """That of the weights, which all have the same."""
    formats = set()
    for path in sorted(folder.glob("model*.safetensors")):
        with safe_open(path, framework="pt") as file:
            formats |= {file.get_tensor(name).dtype for name in file.keys()}
    if len(formats) != 1 or not formats <= TOLERANCE.keys():
        raise ValueError(f"the weights are {sorted(map(str, formats))} instead of one of {list(TOLERANCE)}")
    return formats.pop()


def loaded(folder: pathlib.Path, dtype: torch.dtype) -> tuple[torch.nn.Module, list[str]]:
    """The model, and what is wrong with the names and shapes of its weights."""
    model, info = transformers.AutoModelForCausalLM.from_pretrained(
        folder, dtype=dtype, trust_remote_code=True, output_loading_info=True
    )
    faults = [f"{kind}: {sorted(map(str, names))}" for kind, names in info.items() if names]
    faults += [f"{name} is {p.dtype}" for name, p in model.named_parameters() if p.dtype != dtype]
    if dtype == torch.float64 and type(model).__module__.startswith("transformers.models."):
        # The library's own classes compute parts in single precision, so this one is built again in double.
        with double_precision():
            twin = type(model)(model.config).double()
        twin.load_state_dict(model.state_dict())
        model = twin
    return model.eval(), faults


def logits(model: torch.nn.Module, tokens: torch.Tensor) -> torch.Tensor:
    if next(model.parameters()).dtype == torch.float64:
        with double_precision():
            return model(tokens, use_cache=False).logits
    return model(tokens, use_cache=False).logits.double()


def continued(model: torch.nn.Module, tokens: torch.Tensor) -> float:
    """By how much a full pass prefers another token to one that `generate` chose, over the largest logit."""
    new = min(NEW_TOKENS, model.config.max_position_embeddings - PADDING - 1)
    time = min(tokens.shape[1], model.config.max_position_embeddings - new)
    prompts, mask = tokens[:1, :time].repeat(2, 1), torch.ones(2, time, dtype=torch.long)
    mask[1, :PADDING] = 0
    settings = transformers.GenerationConfig(
        do_sample=False, max_new_tokens=new, eos_token_id=None, pad_token_id=0
    )
    whole = model.generate(prompts, attention_mask=mask, generation_config=settings)
    if whole.shape != (2, time + new):
        raise ValueError(f"generate() returned {tuple(whole.shape)} instead of {(2, time + new)}")
    worst = 0.0
    for row, skipped in zip(whole, (0, PADDING)):
        row = row[None, skipped:]
        full = logits(model, row)[0, -new - 1 : -1]
        taken = full.gather(-1, row[0, -new:, None])[:, 0]
        worst = max(worst, ((full.amax(-1) - taken).max() / full.abs().max()).item())
    return worst


@torch.no_grad()
def check(folder: pathlib.Path) -> list[str]:
    dtype = number_format(folder)
    model, faults = loaded(folder, dtype)
    reference = load_file(folder / "reference.safetensors")
    tokens, want = reference["tokens"].long(), reference["logits"].double()
    found = logits(model, tokens)
    if found.shape != want.shape:
        return [*faults, f"logits are {tuple(found.shape)} instead of {tuple(want.shape)}"]
    error = ((found - want).abs().max() / want.abs().max()).item()
    preferred = continued(model, tokens)
    # Not `error > tolerance`: that lets what is not a number pass.
    faults += [f"logits differ by {error:.1e}"] * (not error <= TOLERANCE[dtype])
    faults += [f"a full pass prefers another token by {preferred:.1e}"] * (not preferred <= TOLERANCE[dtype])
    if (folder / "tokenizer.json").exists():
        transformers.AutoTokenizer.from_pretrained(folder)
    print(f"{folder.name}: {type(model).__name__}, {dtype}, largest difference {error:.1e}", flush=True)
    return faults


def main() -> None:
    if len(sys.argv) != 2:
        raise SystemExit(__doc__)
    transformers.utils.logging.disable_progress_bar()
    folders = sorted(path.parent for path in pathlib.Path(sys.argv[1]).glob("*/config.json"))
    faults = [] if folders else [f"no folder with a config.json in {sys.argv[1]}"]
    for folder in folders:
        try:
            found = check(folder)
        except Exception as error:
            found = [f"{type(error).__name__}: {error}"]
        faults += [f"{folder.name}: {fault}" for fault in found]
    print(f"{len(folders)} checkpoints, {len(faults)} faults")
    if faults:
        raise SystemExit("\n".join(faults))


if __name__ == "__main__":
    main()
