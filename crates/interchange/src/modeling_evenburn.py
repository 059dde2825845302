"""A decoder whose normalization is a choice, carried out from the plan in its `config.json`.

    model = transformers.AutoModelForCausalLM.from_pretrained(folder, trust_remote_code=True)

The plan lists every decision of the model, and the modules below carry it out. Parameters have the paths they have in
Evenburn; matrices are `[out, in]`. The losses that balance the experts of a mixture in training are not computed here.
Written against transformers 5.24.

`B` batch, `T` time, `S` keys, `D` model, `H` query heads, `G` key and value heads, `K` head width, `F` hidden width of
the MLP, `E` experts, `N` tokens, `V` vocabulary.
"""

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import GenerationMixin, PreTrainedConfig, PreTrainedModel
from transformers.cache_utils import Cache, DynamicCache
from transformers.modeling_outputs import CausalLMOutputWithPast
from transformers.utils.generic import can_return_tuple

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "swiglu": F.silu,
    "geglu": F.gelu,
    "geglu_tanh": lambda z: F.gelu(z, approximate="tanh"),
    "gelu": F.gelu,
    "gelu_tanh": lambda z: F.gelu(z, approximate="tanh"),
    "relu2": lambda z: F.relu(z).square(),
}


# Numbers that training keeps in normalizations, which no gradient moves.
STATE = ("gate", "c", "normalized", "plain", "mean", "target")


class EvenburnConfig(PreTrainedConfig):
    """The plan, and its sizes under the names that transformers knows."""

    model_type = "evenburn"
    keys_to_ignore_at_inference = ["cache"]

    plan: dict | None = None
    bos_token_id: int | None = None
    eos_token_id: int | None = None
    pad_token_id: int | None = None

    def __post_init__(self, **kwargs):
        if self.plan is not None:
            dims = self.plan["dims"]
            kwargs |= {
                "vocab_size": dims["vocab"],
                "hidden_size": dims["model"],
                "num_hidden_layers": dims["layers"],
                "num_attention_heads": dims["heads"],
                "num_key_value_heads": dims["kv_heads"],
                "head_dim": dims["head"],
                "max_position_embeddings": dims["context"],
                "tie_word_embeddings": "head" not in self.plan,
            }
        super().__post_init__(**kwargs)


class Gain(nn.Module):
    """A learned scale: `used = form(value * init / scale)`."""

    def __init__(self, plan: dict, width: int):
        super().__init__()
        self.plan = plan
        self.value = nn.Parameter(torch.ones(1 if plan["shape"] == "scalar" else width))
        if plan["form"] in ("product", "exp_product", "unit_product", "centered_exp"):
            self.magnitude = nn.Parameter(torch.ones(1))

    def used(self) -> Tensor:
        match self.plan["form"]:
            case "direct":
                return self.value * (self.plan["init"] / self.plan["scale"])
            case "absolute":
                return (self.value * (self.plan["init"] / self.plan["scale"])).abs()
            case "one_plus":
                return 1 + self.value
            case "product":
                return self.magnitude * self.value
            case "exp_product":
                return self.magnitude.exp() * self.value
            case "unit_product":
                return self.magnitude * self.value / self.value.square().mean().sqrt()
            case "centered_exp":
                return (self.magnitude + self.value - self.value.mean()).exp()
            case form:
                raise ValueError(f"unknown form of a learned scale {form!r}")

    def forward(self, x: Tensor) -> Tensor:
        return x * self.used()


class Norm(nn.Module):
    """`y = factor * f(x; gain) + bias`, over all channels or head by head."""

    def __init__(self, plan: dict, width: int, head: int):
        super().__init__()
        self.eps, self.factor = plan["eps"], plan["factor"]
        self.group = head if plan["over"] == "per_head" else width
        # A function with options carries them: {"tanh": {"slope": 0.5}}.
        kind = plan["kind"] if isinstance(plan["kind"], dict) else {plan["kind"]: {}}
        [(self.kind, self.options)] = kind.items()
        self.gain = gain(plan.get("gain"), self.group)
        for name, shape in arrays(self.kind, self.options, self.group).items():
            self.register_parameter(name, nn.Parameter(torch.ones(shape), requires_grad=name not in STATE))
        self.bias = nn.Parameter(torch.zeros(self.group)) if "bias" in plan else None

    def forward(self, x: Tensor) -> Tensor:
        y = self.value(x.unflatten(-1, (-1, self.group))) * self.factor
        return (y if self.bias is None else y + self.bias).flatten(-2)

    def rms(self, x: Tensor) -> Tensor:
        return x / (x.square().mean(-1, keepdim=True) + self.eps).sqrt()

    def value(self, x: Tensor) -> Tensor:
        """`f(x; gain)`."""
        match self.kind:
            case "rms" | "anchored":
                return self.gain(self.rms(x))
            case "l2":
                return self.gain(x / (x.square().sum(-1, keepdim=True) + self.eps).sqrt())
            case "layer":
                return self.gain(F.layer_norm(x, (self.group,), eps=self.eps))
            case "tanh":
                return self.gain(torch.tanh(self.slope * x))
            case "erf":
                return self.gain(torch.erf(self.slope * x + self.shift))
            case "seed_norm":
                along = (x * self.seed).unflatten(-1, (self.options["heads"], -1)).sum(-1)
                moved = self.dyn * along.tanh().repeat_interleave(self.group // along.shape[-1], -1)
                y = self.rms(x)
                return self.gain(y) + moved * y
            case "gated_norm":
                y = self.gain(self.rms(x))
                return y * F.linear(F.silu(F.linear(y, self.down)), self.up).sigmoid()
            case "pre_affine":
                return self.gain(self.rms(getattr(self, "lambda") * x))
            case "taper":
                return self.gate * self.gain(self.rms(x)) + (1 - self.gate) * self.c * self.copy * x
            case kind:
                raise ValueError(f"unknown normalization {kind!r}")


def arrays(kind: str, options: dict, width: int) -> dict[str, tuple[int, ...]]:
    """What a normalization function has beside its gain: names and shapes, matrices `[out, in]`."""
    match kind:
        case "tanh":
            return {"slope": (1,)}
        case "erf":
            return {"slope": (1,), "shift": (1,)}
        case "seed_norm":
            return {"dyn": (width,), "seed": (width,)}
        case "gated_norm":
            return {"down": (options["rank"], width), "up": (width, options["rank"])}
        case "pre_affine":
            return {"lambda": (width,)}
        case "taper":
            averages = {"normalized": (1,), "plain": (1,)} if options["schedule"] == "cosine" else {}
            return {"copy": (width,), "gate": (1,), "c": (1,)} | averages
        case "anchored":
            return {"mean": (1,), "target": (1,)}
        case _:
            return {}


def gain(plan: dict | None, width: int) -> nn.Module:
    return nn.Identity() if plan is None else Gain(plan, width)


def norm(plan: dict | None, width: int, head: int) -> nn.Module:
    return nn.Identity() if plan is None else Norm(plan, width, head)


class Projection(nn.Linear):
    """`y = after( norm( factor * ((before * x) W) + bias ) )`."""

    def __init__(self, around: dict, inputs: int, outputs: int, head: int):
        super().__init__(inputs, outputs, bias="bias" in around)
        self.factor = around["factor"]
        self.before = gain(around.get("before"), inputs)
        self.norm = norm(around.get("norm"), outputs, head)
        self.after = gain(around.get("after"), outputs)

    def forward(self, x: Tensor) -> Tensor:
        y = F.linear(self.before(x), self.weight) * self.factor
        return self.after(self.norm(y if self.bias is None else y + self.bias))


class Geodesic(nn.Module):
    """`h` turned towards `x` by an angle of at most `clamp`, its length kept."""

    def __init__(self, factor: float, clamp: float):
        super().__init__()
        self.factor, self.clamp = factor, clamp
        self.scale, self.bias = nn.Parameter(torch.ones(1)), nn.Parameter(torch.zeros(1))

    def forward(self, h: Tensor, x: Tensor) -> Tensor:
        square = h.square().sum(-1, keepdim=True).clamp(min=1e-12)
        tangent = x - h * ((h * x).sum(-1, keepdim=True) / square)
        length, radius = tangent.square().sum(-1, keepdim=True).clamp(min=1e-16).sqrt(), square.sqrt()
        angle = (length / radius).clamp(max=self.clamp)
        angle = ((angle * self.scale + self.bias) * self.factor).clamp(max=self.clamp)
        return h * angle.cos() + tangent * (radius * angle.sin() / length)


# Residual rules by the names that plans have for them.
RULES: dict[str, type[nn.Module]] = {"geodesic": Geodesic}


class Mix(nn.Module):
    """`skip * h + x`, `nu * (h + alpha * (x - h))` with a learned `alpha`, or a rule of its own."""

    def __init__(self, plan: dict, width: int):
        super().__init__()
        self.skip, self.factor = plan.get("skip", 1.0), plan.get("factor")
        self.alpha = Gain(plan["alpha"], width) if plan["kind"] == "lerp" else None
        self.rule = None
        if plan["kind"] == "rule":
            # A rule without options is its name alone.
            rule = plan["rule"] if isinstance(plan["rule"], dict) else {plan["rule"]: {}}
            [(name, options)] = rule.items()
            self.rule = RULES[name](**options)

    def forward(self, h: Tensor, x: Tensor) -> Tensor:
        if self.rule is not None:
            return self.rule(h, x)
        if self.alpha is None:
            return self.skip * h + x
        alpha = self.alpha.used()
        nu = (alpha.square() + (1 - alpha).square()).rsqrt() if self.factor == "second_moment" else 1
        return nu * (1 - alpha) * h + nu * alpha * x


class Companion(nn.Module):
    """The second component `y` of the stream at a branch, which reads `scale * h + norm(y)`."""

    def __init__(self, plan: dict, dims: dict):
        super().__init__()
        self.scale = gain(plan.get("scale"), dims["model"])
        self.norm = norm(plan.get("norm"), dims["model"], dims["head"])
        self.factor = plan["factor"]

    def forward(self, h: Tensor, y: Tensor) -> Tensor:
        return self.scale(h) + self.norm(y)


class Join(nn.Module):
    """Where the two components of the stream become one: `stream(h) + companion(y)`."""

    def __init__(self, plan: dict, dims: dict):
        super().__init__()
        self.stream = norm(plan.get("stream"), dims["model"], dims["head"])
        self.companion = norm(plan.get("companion"), dims["model"], dims["head"])

    def forward(self, h: Tensor, y: Tensor) -> Tensor:
        return self.stream(h) + self.companion(y)


class Residual(nn.Module):
    """The stream around a branch: `h = stream(h)`, then `after( mix( skip(h), output( branch( input(h) ) ) ) )`.

    Where it has a second component `y`, the branch reads both, and `y` takes what it writes.
    """

    def __init__(self, plan: dict, dims: dict):
        super().__init__()
        self.companion = Companion(plan["companion"], dims) if "companion" in plan else None
        for place in ("stream", "input", "output", "skip", "after"):
            setattr(self, place, norm(plan.get(place), dims["model"], dims["head"]))
        self.mix = Mix(plan["mix"], dims["model"])

    def forward(self, h: Tensor, y: Tensor, branch: Callable[[Tensor], Tensor]) -> tuple[Tensor, Tensor]:
        h = self.stream(h)
        x = self.output(branch(self.input(h if self.companion is None else self.companion(h, y))))
        if self.companion is not None:
            y, x = y + x, x * self.companion.factor
        return self.after(self.mix(self.skip(h), x)), y


class Rotary:
    """Turns pairs of the first `R` channels of each head by `position * theta^(-2i/R)`, the angles in double precision.

    Pair `i` is made of the channels `(2i, 2i + 1)` for `rope` and `(i, i + R/2)` for `rope_halves`. `R` is `K` but where
    the plan has a fraction.
    """

    def __init__(self, positions: Tensor, dims: dict, dtype: torch.dtype):
        channels = round(dims.get("rope_fraction", 1.0) * dims["head"])
        self.parts = [channels, dims["head"] - channels]
        exponents = torch.arange(0, channels, 2, dtype=torch.float64, device=positions.device) / channels
        angles = positions[..., None, None] * dims["rope_theta"] ** -exponents
        self.cos, self.sin = angles.cos().to(dtype), angles.sin().to(dtype)
        self.pairs, self.axis = {"rope": ((-1, 2), -1), "rope_halves": ((2, -1), -2)}[dims["positions"]]

    def __call__(self, x: Tensor) -> Tensor:
        """`x [B, T, heads, K]`."""
        x, rest = x.split(self.parts, -1)
        a, b = x.unflatten(-1, self.pairs).unbind(self.axis)
        turned = (a * self.cos - b * self.sin, a * self.sin + b * self.cos)
        return torch.cat([torch.stack(turned, self.axis).flatten(-2), rest], -1)


class Scores(nn.Module):
    """Between the projections of attention."""

    def __init__(self, plan: dict, dims: dict):
        super().__init__()
        self.scale, self.factor, self.dropout = plan["softmax_scale"], plan["factor"], dims["dropout"]
        self.norm = norm(plan.get("qk_norm"), dims["head"], dims["head"])
        self.normed = plan.get("normed", "both")
        self.gain = gain(plan.get("qk_gain"), dims["heads"] * dims["head"])
        self.softmax = gain(plan.get("softmax_gain"), 1)

    def prepare(self, q: Tensor, k: Tensor) -> tuple[Tensor, Tensor]:
        """`q [B, T, H, K]` and `k [B, T, G, K]` after the rotation."""
        q, k = self.norm(q) if self.normed == "both" else q, self.softmax(self.norm(k))
        # The gain of each query head stands on both sides of the product: twice on q, a key stays one for its group.
        return self.gain(self.gain(q.flatten(-2))).view_as(q), k

    def forward(self, q: Tensor, k: Tensor, v: Tensor, visible: Tensor) -> Tensor:
        """`q [B, H, T, K]`, `k` and `v [B, G, S, K]`, `visible [B or 1, 1, T, S]`."""
        dropout = self.dropout if self.training else 0.0
        if self.factor == "exact":
            k, v = (x.repeat_interleave(q.shape[1] // x.shape[1], dim=1) for x in (k, v))
            weights = (q @ k.mT * self.scale).masked_fill(~visible, -math.inf).softmax(-1)
            length = weights.detach().square().sum(-1, keepdim=True).sqrt()
            return F.dropout(weights, dropout) @ v / length
        y = F.scaled_dot_product_attention(q, k, v, visible, dropout, scale=self.scale, enable_gqa=True)
        if self.factor == "dense":
            y = y * visible.sum(-1, keepdim=True).to(y.dtype).sqrt()
        return y


class Attention(nn.Module):
    """Causal self-attention with grouped heads."""

    def __init__(self, layer: dict, dims: dict, index: int):
        super().__init__()
        model, self.head, self.index = dims["model"], dims["head"], index
        own, shared = dims["heads"] * self.head, dims["kv_heads"] * self.head
        self.q = Projection(layer["q"]["linear"], model, own, self.head)
        self.k = Projection(layer["k"]["linear"], model, shared, self.head)
        self.v = Projection(layer["v"]["linear"], model, shared, self.head)
        self.scores = Scores(layer["attention"], dims)
        self.o = Projection(layer["o"]["linear"], own, model, self.head)

    def forward(self, x: Tensor, rotary: Rotary | None, visible: Tensor, cache: Cache | None) -> Tensor:
        q, k, v = (project(x).unflatten(-1, (-1, self.head)) for project in (self.q, self.k, self.v))
        if rotary is not None:
            q, k = rotary(q), rotary(k)
        q, k = self.scores.prepare(q, k)
        q, k, v = (x.transpose(1, 2) for x in (q, k, v))
        if cache is not None:
            k, v = cache.update(k, v, self.index)
        return self.o(self.scores(q, k, v, visible).transpose(1, 2).flatten(-2))


class Mlp(nn.Module):
    """`down( after * up(x) * f(before * gate(x)) )`, or `down( after * f(before * up(x)) )` without a gate."""

    def __init__(self, layer: dict, dims: dict):
        super().__init__()
        model, hidden, head = dims["model"], dims["hidden"], dims["head"]
        self.gate = Projection(layer["gate"]["linear"], model, hidden, head) if "gate" in layer else None
        self.up = Projection(layer["up"]["linear"], model, hidden, head)
        self.down = Projection(layer["down"]["linear"], hidden, model, head)
        self.activation = ACTIVATIONS[dims["mlp"]]
        self.first, self.last = layer["mlp"]["before"], layer["mlp"]["after"]

    def forward(self, x: Tensor) -> Tensor:
        if self.gate is None:
            y = self.activation(self.first * self.up(x))
        else:
            y = self.up(x) * self.activation(self.first * self.gate(x))
        return self.down(self.last * y)


class Experts(nn.Module):
    """A mixture of experts: each token goes through the `top_k` networks that a router chooses, none is dropped."""

    def __init__(self, layer: dict, dims: dict):
        super().__init__()
        self.plan, self.combine = dims["experts"], layer["mlp"]["combine"]
        count, shared = self.plan["count"], self.plan["shared"]
        self.router = Projection(layer["router"]["linear"], dims["model"], count, dims["head"])
        self.experts = nn.ModuleList(Mlp(layer, dims) for _ in range(count))
        wide = dims | {"hidden": self.plan.get("shared_hidden", dims["hidden"])}
        self.shared = nn.ModuleList(Mlp(layer, wide) for _ in range(shared))
        # Moved by the load in training, never by a gradient.
        balanced = self.plan["balance"] == "bias"
        self.correction = nn.Parameter(torch.zeros(count), requires_grad=False) if balanced else None

    def forward(self, x: Tensor) -> Tensor:
        tokens = x.flatten(0, -2)
        logits = self.router(tokens)
        gates = logits.softmax(-1) if self.plan["gates"] == "softmax" else logits.sigmoid()
        scores = gates if self.correction is None else gates + self.correction
        # Unlike topk, a stable sort gives ties to the smaller index.
        chosen = scores.sort(dim=-1, descending=True, stable=True).indices[:, : self.plan["top_k"]]
        gates = gates.gather(-1, chosen)
        if self.plan["kept"] == "renormalized":
            gates = gates / gates.sum(-1, keepdim=True)
        gates = gates * self.plan["scale"]
        if self.combine == "sqrt":
            gates = gates.clamp(min=1e-30).sqrt()
        y = torch.zeros_like(tokens)
        for index, expert in enumerate(self.experts):
            rows, slots = (chosen == index).nonzero(as_tuple=True)
            y = y.index_add(0, rows, expert(tokens[rows]) * gates[rows, slots, None])
        for expert in self.shared:
            y = y + expert(tokens)
        if self.combine == "unit_length":
            y = y / (gates.detach().square().sum(-1, keepdim=True) + self.plan["shared"]).sqrt()
        if self.combine == "sqrt":
            y = y / math.sqrt(1 + self.plan["shared"])
        return y.view_as(x)


class Block(nn.Module):
    """Attention, then the MLP or the mixture of experts, each inside its residual."""

    def __init__(self, layer: dict, dims: dict, index: int):
        super().__init__()
        self.attn_residual = Residual(layer["attn_residual"], dims)
        self.attn = Attention(layer, dims, index)
        self.mlp_residual = Residual(layer["mlp_residual"], dims)
        self.mlp = None if "router" in layer else Mlp(layer, dims)
        self.moe = Experts(layer, dims) if "router" in layer else None
        self.drop = nn.Dropout(dims["dropout"])

    def forward(
        self, h: Tensor, y: Tensor, rotary: Rotary | None, visible: Tensor, cache: Cache | None
    ) -> tuple[Tensor, Tensor]:
        h, y = self.attn_residual(h, y, lambda x: self.drop(self.attn(x, rotary, visible, cache)))
        network = self.moe if self.mlp is None else self.mlp
        return self.mlp_residual(h, y, lambda x: self.drop(network(x)))


class Embedding(nn.Embedding):
    """`norm( gain * factor * (weight[token] + positions[place]) )`."""

    def __init__(self, plan: dict):
        dims, ends = plan["dims"], plan["ends"]
        super().__init__(dims["vocab"], dims["model"])
        self.factor = ends["embed_factor"]
        table = torch.zeros(dims["context"], dims["model"])
        self.positions = nn.Parameter(table) if "positions" in plan else None
        self.gain = gain(ends.get("embed_gain"), dims["model"])
        self.norm = norm(ends.get("embed_norm"), dims["model"], dims["head"])

    def forward(self, tokens: Tensor, places: Tensor) -> Tensor:
        x = super().forward(tokens)
        if self.positions is not None:
            x = x + self.positions[places]
        return self.norm(self.gain(x * self.factor))


class EvenburnForCausalLM(PreTrainedModel, GenerationMixin):
    """The decoder: embedding, blocks, final normalization, output layer."""

    config_class = EvenburnConfig
    _tied_weights_keys = {"head.weight": "embed.weight"}
    _no_split_modules = ["Block"]
    _supports_sdpa = True

    def __init__(self, config: EvenburnConfig):
        super().__init__(config)
        plan, ends = config.plan, config.plan["ends"]
        self.dims = dims = plan["dims"]
        self.embed = Embedding(plan)
        self.blocks = nn.ModuleList(Block(layer, dims, index) for index, layer in enumerate(plan["layers"]))
        self.join = Join(ends["join"], dims) if "join" in ends else None
        self.final_norm = norm(ends.get("final_norm"), dims["model"], dims["head"])
        output = {"factor": 1.0, "after": ends.get("logit_gain")}
        self.head = Projection(output, dims["model"], dims["vocab"], dims["head"])
        self.drop = nn.Dropout(dims["dropout"])
        self.post_init()

    def get_input_embeddings(self) -> Embedding:
        return self.embed

    def get_output_embeddings(self) -> Projection:
        return self.head

    @can_return_tuple
    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        cache: Cache | None = None,
        labels: Tensor | None = None,
        use_cache: bool | None = None,
        logits_to_keep: int | Tensor = 0,
        **kwargs,
    ) -> CausalLMOutputWithPast:
        """Logits of `input_ids [B, T]` that follow what the cache holds, and the loss of `labels`, which it shifts.

        `attention_mask [B, S]` is 0 at padding, on the left or on the right; without `position_ids`, positions count
        what isn't padding.
        """
        if use_cache and cache is None:
            cache = DynamicCache(config=self.config)
        time, past = input_ids.shape[1], 0 if cache is None else cache.get_seq_length()
        keys = torch.arange(past + time, device=input_ids.device)
        if position_ids is None:
            counted = keys[None] if attention_mask is None else (attention_mask.cumsum(-1) - 1).clamp(min=0)
            position_ids = counted[:, past:]
        queries = keys[past:, None]
        visible = (keys <= queries)[None, None]
        if attention_mask is not None:
            # Padding sees itself: over no keys at all, the softmax is not a number.
            visible = visible & attention_mask[:, None, None].bool() | (keys == queries)
        rotates = self.dims["positions"] in ("rope", "rope_halves")
        rotary = Rotary(position_ids, self.dims, self.embed.weight.dtype) if rotates else None
        h = self.drop(self.embed(input_ids, position_ids))
        # Both components of the stream begin as the embedding; where there is one, nothing touches the other.
        y = h
        for block in self.blocks:
            h, y = block(h, y, rotary, visible, cache)
        h = h if self.join is None else self.join(h, y)
        kept = slice(-logits_to_keep, None) if isinstance(logits_to_keep, int) else logits_to_keep
        logits = self.head(self.final_norm(h)[:, kept])
        loss = None
        if labels is not None:
            loss = self.loss_function(logits=logits, labels=labels, vocab_size=self.config.vocab_size, **kwargs)
        return CausalLMOutputWithPast(loss=loss, logits=logits, cache=cache)
