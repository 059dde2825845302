"""Computes what models of PyPI's transformers make of random weights, as fixtures for tests that need no Python.

Usage: peers.py write DIR [NAME ...]   makes DIR/NAME/{config.json,model.safetensors,reference.safetensors}
       peers.py check DIR [NAME ...]   computes them again and compares; ends with 1 on a difference

Weights are drawn in single precision and saved as a checkpoint of that library; everything in reference.safetensors is
computed in double precision from them, dropout off: `logits`, `loss` (mean cross-entropy of the logits against
`targets`, not shifted), `grad.<parameter>` of that loss. Mixtures also have `aux_loss`, the library's load balancing loss
without its coefficient, and `aux_grad.<parameter>` of that loss alone for the parameters it reaches.
Parameters have their names in the checkpoint.

DIR/defaults.json has every key of each class's configuration with its default, and the library's version.
"""

import contextlib
import json
import pathlib
import sys

import torch
import transformers
from safetensors.torch import load_file, save_file
from transformers.models.mixtral.modeling_mixtral import load_balancing_loss_func

VOCABULARY, BATCH, TIME = 61, 2, 12
# Largest difference over the largest value: double precision on another machine or another version of a kernel.
TOLERANCE = 1e-9

COMMON = dict(vocab_size=VOCABULARY, hidden_size=32, num_hidden_layers=2, max_position_embeddings=16)
HEADS = dict(num_attention_heads=4, num_key_value_heads=2)
ENDS = dict(bos_token_id=None, eos_token_id=None, pad_token_id=None)

PEERS = {
    "llama": lambda: transformers.LlamaConfig(
        **COMMON, **HEADS, **ENDS, intermediate_size=56, rms_norm_eps=1e-5, tie_word_embeddings=False
    ),
    "llama_tied": lambda: transformers.LlamaConfig(
        **COMMON, **HEADS, **ENDS, intermediate_size=56, rms_norm_eps=1e-6, tie_word_embeddings=True, head_dim=12,
        attention_bias=True, mlp_bias=True, rope_parameters={"rope_type": "default", "rope_theta": 500000.0},
    ),
    "qwen3": lambda: transformers.Qwen3Config(
        **COMMON, **HEADS, **ENDS, intermediate_size=56, head_dim=12, rms_norm_eps=1e-6, tie_word_embeddings=False
    ),
    "olmo2": lambda: transformers.Olmo2Config(
        **COMMON, **HEADS, **ENDS, intermediate_size=56, rms_norm_eps=1e-6, tie_word_embeddings=False
    ),
    "gemma2": lambda: transformers.Gemma2Config(
        **COMMON, **HEADS, **ENDS, intermediate_size=56, head_dim=12, query_pre_attn_scalar=12, sliding_window=4096,
        final_logit_softcapping=None, attn_logit_softcapping=None, rms_norm_eps=1e-6,
    ),
    "gpt2": lambda: transformers.GPT2Config(
        vocab_size=VOCABULARY, n_positions=16, n_embd=32, n_layer=2, n_head=4, **ENDS
    ),
    "gpt_neox": lambda: transformers.GPTNeoXConfig(
        **COMMON, **ENDS, num_attention_heads=4, intermediate_size=56, use_parallel_residual=False, rotary_pct=0.5,
        rotary_emb_base=5000,
    ),
    "stablelm": lambda: transformers.StableLmConfig(
        **COMMON, **HEADS, **ENDS, intermediate_size=56, use_qkv_bias=True, tie_word_embeddings=False,
        rope_parameters={"rope_type": "default", "rope_theta": 500000.0, "partial_rotary_factor": 0.5},
    ),
    "phi3": lambda: transformers.Phi3Config(
        **COMMON, **HEADS, **ENDS, intermediate_size=56, tie_word_embeddings=True, partial_rotary_factor=0.75,
    ),
    "mixtral": lambda: transformers.MixtralConfig(
        **COMMON, **HEADS, **ENDS, intermediate_size=24, num_local_experts=4, num_experts_per_tok=2,
        sliding_window=None, tie_word_embeddings=False,
    ),
    "qwen3_moe": lambda: transformers.Qwen3MoeConfig(
        **COMMON, **HEADS, **ENDS, intermediate_size=56, moe_intermediate_size=24, num_experts=5,
        num_experts_per_tok=2, head_dim=12, norm_topk_prob=True, decoder_sparse_step=1, mlp_only_layers=[],
        tie_word_embeddings=False,
    ),
}


CLASSES = [
    transformers.LlamaConfig, transformers.Qwen3Config, transformers.Olmo2Config, transformers.GPT2Config,
    transformers.Gemma2Config, transformers.GPTNeoXConfig, transformers.StableLmConfig, transformers.Phi3Config,
    transformers.MixtralConfig, transformers.Qwen3MoeConfig,
]
DEFAULTS = "defaults.json"


def defaults() -> dict:
    """What each class's configuration has beyond that of all classes."""
    base = transformers.PreTrainedConfig().to_dict().keys()
    own = {config.model_type: config().to_dict() for config in CLASSES}
    return {name: {k: v for k, v in keys.items() if k not in base} for name, keys in own.items()}


@contextlib.contextmanager
def double_precision():
    """The library computes norms, rotations, softmaxes and routers in float32 by name: here that name is float64."""
    single, short, method = torch.float32, torch.float, torch.Tensor.float
    torch.set_default_dtype(torch.float64)
    torch.float32 = torch.float = torch.float64
    torch.Tensor.float = torch.Tensor.double
    try:
        yield
    finally:
        torch.float32, torch.float, torch.Tensor.float = single, short, method
        torch.set_default_dtype(torch.float32)


def drawn(config) -> torch.nn.Module:
    """A model whose every parameter differs from its neighbours, so that a misplaced one shows."""
    torch.manual_seed(7)
    model = transformers.AutoModelForCausalLM.from_config(config)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.randn_like(parameter)
            if parameter.dim() > 1:
                parameter.copy_(noise * (0.5 if "embed" in name or "wte" in name else 0.2))
            else:
                # Gains start at 1 (Gemma's and biases at 0): keep that and move each entry.
                parameter.add_(0.1 * noise)
    return model


def saved(config, name: str, tensor: torch.Tensor) -> dict[str, torch.Tensor]:
    """A tensor under the names it has in a checkpoint, where each expert's matrices stand alone."""
    if config.model_type == "gpt_neox":
        name = name.replace("lm_head", "embed_out")
    mixtral = config.model_type == "mixtral"
    if mixtral:
        name = name.replace(".mlp.", ".block_sparse_moe.")
    gate, up, down = ("w1", "w3", "w2") if mixtral else ("gate_proj", "up_proj", "down_proj")
    parts = {}
    if name.endswith("experts.gate_up_proj"):
        for expert, both in enumerate(tensor):
            first, second = both.chunk(2)
            stem = name.removesuffix("gate_up_proj") + str(expert)
            parts |= {f"{stem}.{gate}.weight": first, f"{stem}.{up}.weight": second}
    elif name.endswith("experts.down_proj"):
        for expert, matrix in enumerate(tensor):
            parts[f"{name.removesuffix('down_proj')}{expert}.{down}.weight"] = matrix
    else:
        parts[name] = tensor
    return parts


def reference(config, state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Logits, loss and gradients in double precision."""
    generator = torch.Generator().manual_seed(11)
    tokens, targets = (torch.randint(VOCABULARY, (BATCH, TIME), generator=generator) for _ in range(2))
    with double_precision():
        config._attn_implementation = config._experts_implementation = "eager"
        model = transformers.AutoModelForCausalLM.from_config(config, dtype=torch.float64).double().eval()
        model.load_state_dict({name: tensor.double() for name, tensor in state.items()}, strict=False)
        model.tie_weights()
        mixture = hasattr(model, "num_experts")
        output = model(tokens, use_cache=False, **({"output_router_logits": True} if mixture else {}))
        logits = output.logits
        assert logits.dtype == torch.float64
        loss = torch.nn.functional.cross_entropy(logits.reshape(-1, VOCABULARY), targets.reshape(-1))
        parameters = dict(model.named_parameters())
        gradients = torch.autograd.grad(loss, parameters.values(), retain_graph=True)
        found = {}
        for name, gradient in zip(parameters, gradients):
            found |= {f"grad.{part}": tensor for part, tensor in saved(config, name, gradient).items()}
        if mixture:
            aux = load_balancing_loss_func(output.router_logits, model.num_experts, model.num_experts_per_tok)
            gradients = torch.autograd.grad(aux, parameters.values(), allow_unused=True)
            for name, gradient in zip(parameters, gradients):
                if gradient is not None:
                    found |= {f"aux_grad.{n}": g for n, g in saved(config, name, gradient).items()}
            found["aux_loss"] = aux.reshape(1)
    found |= {"logits": logits, "loss": loss.reshape(1)}
    found = {name: tensor.detach().clone().contiguous() for name, tensor in found.items()}
    return found | {"tokens": tokens.to(torch.int32), "targets": targets.to(torch.int32)}


def write(folder: pathlib.Path, name: str) -> None:
    config = PEERS[name]()
    model = drawn(config)
    model.save_pretrained(folder / name)
    (folder / name / "generation_config.json").unlink(missing_ok=True)
    save_file(reference(config, model.state_dict()), folder / name / "reference.safetensors")
    if name == "llama":
        sharded = folder / "llama_sharded"
        model.save_pretrained(sharded, max_shard_size="20KB")
        (sharded / "generation_config.json").unlink(missing_ok=True)


def check(folder: pathlib.Path, name: str) -> list[str]:
    config = transformers.AutoConfig.from_pretrained(folder / name)
    model = transformers.AutoModelForCausalLM.from_pretrained(folder / name, dtype=torch.float32)
    stored = load_file(folder / name / "reference.safetensors")
    computed = reference(config, model.state_dict())
    faults = [f"{name}: {n} is in one of the two" for n in stored.keys() ^ computed.keys()]
    worst = 0.0
    for key in stored.keys() & computed.keys():
        a, b = computed[key].double(), stored[key].double()
        kind = key.split(".")[0]
        scale = max(stored[k].double().abs().max().item() for k in stored if k.split(".")[0] == kind)
        error = (a - b).abs().max().item() / max(scale, 1e-300)
        worst = max(worst, error)
        if not error <= TOLERANCE:
            faults.append(f"{name}: {key} differs by {error:.1e}")
    print(f"{name}: {len(stored)} tensors, largest difference {worst:.1e}")
    return faults


def main() -> None:
    if len(sys.argv) < 3 or sys.argv[1] not in ("write", "check"):
        raise SystemExit(__doc__)
    folder, names = pathlib.Path(sys.argv[2]), sys.argv[3:] or list(PEERS)
    if sys.argv[1] == "write":
        for name in names:
            write(folder, name)
        stored = {"transformers": transformers.__version__, "classes": defaults()}
        (folder / DEFAULTS).write_text(json.dumps(stored, indent=1) + "\n")
        return
    faults = [fault for name in names for fault in check(folder, name)]
    stored = json.loads((folder / DEFAULTS).read_text())["classes"]
    faults += [f"{name}: other defaults" for name, keys in defaults().items() if stored[name] != keys]
    if faults:
        raise SystemExit("\n".join(faults))


if __name__ == "__main__":
    main()
