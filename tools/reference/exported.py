"""Compares exported checkpoints, as PyPI's transformers loads them, with the logits of the program that wrote them.

Usage: exported.py DIR

Every folder of DIR has config.json, the weights and reference.safetensors: `tokens` [B, T] and the program's `logits`
[B, T, V] of them. In the number format of the weights, the logits have to agree, every parameter has to come from the
checkpoint and every tensor of it to be used; a greedy continuation of two prompts of different lengths in one padded
batch, with a cache, has to choose what a full pass without one finds most likely; the loss has to be the mean
cross-entropy of the next tokens; the model, saved and loaded once more, has to be the same; a tokenizer, where there is
one, has to load and to give the ids of its file. Prints one line for each folder; ends with 1 on a fault, or if there
is no folder.
"""

import contextlib
import pathlib
import sys
import tempfile

import torch
import transformers
from safetensors import safe_open
from safetensors.torch import load_file
from tokenizers import Tokenizer

from peers import double_precision

NEW_TOKENS, PADDING = 8, 3
TEXT = "Don't split  two spaces,\n\tnumbers 12345 or “Größe” 東京 alike: x+=1;\n"
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
    """The model, and what is wrong with the names, shapes and number formats of its weights."""
    model, info = transformers.AutoModelForCausalLM.from_pretrained(
        folder,
        dtype=dtype,
        attn_implementation="eager",
        experts_implementation="eager",
        trust_remote_code=True,
        output_loading_info=True,
    )
    faults = [f"{kind}: {sorted(map(str, names))}" for kind, names in info.items() if names]
    faults += [f"{name} is {p.dtype}" for name, p in model.named_parameters() if p.dtype != dtype]
    return model.eval(), faults


def saved_again(model: torch.nn.Module, dtype: torch.dtype) -> list[str]:
    """What changes when the model is saved and loaded."""
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        second, faults = loaded(pathlib.Path(folder), dtype)
        first, second = model.state_dict(), second.state_dict()
        same = first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)
    return [f"saved again, {fault}" for fault in faults + ["the weights are others"] * (not same)]


def logits(model: torch.nn.Module, tokens: torch.Tensor) -> torch.Tensor:
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
    # The end of a text, which the settings can't take away, would end a row early.
    model.generation_config.eos_token_id = None
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


def tokenizer_faults(folder: pathlib.Path) -> list[str]:
    """Some of the library's classes take the vocabulary of tokenizer.json alone and split text their own way."""
    own = Tokenizer.from_file(str(folder / "tokenizer.json"))
    found = transformers.AutoTokenizer.from_pretrained(folder, trust_remote_code=True)
    want = own.encode(TEXT).ids
    return [] if found(TEXT)["input_ids"] == want else [f"{type(found).__name__} encodes text in another way"]


@torch.no_grad()
def check(folder: pathlib.Path, dtype: torch.dtype) -> list[str]:
    model, faults = loaded(folder, dtype)
    faults += saved_again(model, dtype)
    reference = load_file(folder / "reference.safetensors")
    tokens, want = reference["tokens"].long(), reference["logits"].double()
    found = logits(model, tokens)
    if found.shape != want.shape:
        return [*faults, f"logits are {tuple(found.shape)} instead of {tuple(want.shape)}"]
    error = ((found - want).abs().max() / want.abs().max()).item()
    preferred = continued(model, tokens)
    loss = torch.nn.functional.cross_entropy(found[:, :-1].flatten(0, 1), tokens[:, 1:].flatten())
    off = abs(model(tokens, labels=tokens).loss.item() / loss.item() - 1)
    # Not `error > tolerance`: that lets what is not a number pass.
    faults += [f"logits differ by {error:.1e}"] * (not error <= TOLERANCE[dtype])
    faults += [f"a full pass prefers another token by {preferred:.1e}"] * (not preferred <= TOLERANCE[dtype])
    faults += [f"the loss is off by {off:.1e} of itself"] * (not off <= TOLERANCE[dtype])
    if (folder / "tokenizer.json").exists():
        faults += tokenizer_faults(folder)
    print(f"{folder.name}: {type(model).__name__}, {dtype}, largest difference {error:.1e}", flush=True)
    return faults


def main() -> None:
    if len(sys.argv) != 2:
        raise SystemExit(__doc__)
    transformers.utils.logging.disable_progress_bar()
    # The models are small: threads would spend the time waiting for one another.
    torch.set_num_threads(1)
    folders = sorted(path.parent for path in pathlib.Path(sys.argv[1]).glob("*/config.json"))
    faults = [] if folders else [f"no folder with a config.json in {sys.argv[1]}"]
    for folder in folders:
        try:
            dtype = number_format(folder)
            with double_precision() if dtype == torch.float64 else contextlib.nullcontext():
                found = check(folder, dtype)
        except Exception as error:
            found = [f"{type(error).__name__}: {error}"]
        faults += [f"{folder.name}: {fault}" for fault in found]
    print(f"{len(folders)} checkpoints, {len(faults)} faults")
    if faults:
        raise SystemExit("\n".join(faults))


if __name__ == "__main__":
    main()
