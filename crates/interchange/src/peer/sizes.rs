//! The keys that all classes after Llama share, and the tensors.
//!
//! Their defaults differ from class to class; a `config.json` may leave out any key that has one.

use crate::error::InterchangeError;
use crate::fields::Fields;
use crate::peer::DefaultEnds;
use crate::rows::{Row, out_in, same};
use evenburn_model::plan::{LayerPlan, NormPlan};
use evenburn_model::{HeadWeights, MlpKind, ModelConfig, Plan, Positions, Site};
use serde_json::{Map, Value, json};

/// What a class takes where its `config.json` leaves a key out.
pub(super) struct Defaults {
    /// `vocab_size`.
    pub(super) vocab: usize,
    /// `hidden_size`.
    pub(super) dim: usize,
    /// `intermediate_size`.
    pub(super) hidden: usize,
    /// `num_hidden_layers`.
    pub(super) layers: usize,
    /// `num_attention_heads`.
    pub(super) heads: usize,
    /// `num_key_value_heads`; as many as heads when `None`.
    pub(super) kv_heads: Option<usize>,
    /// `head_dim`; `hidden_size / num_attention_heads` when `None`.
    pub(super) head_dim: Option<usize>,
    /// `rope_theta`.
    pub(super) theta: f64,
    /// Which keys say more about the rotation.
    pub(super) rotation: Rotation,
    /// `tie_word_embeddings`.
    pub(super) tied: bool,
    /// `max_position_embeddings`.
    pub(super) context: usize,
    /// `hidden_act`.
    pub(super) activation: &'static str,
    /// The activations that its MLP may have.
    pub(super) activations: &'static Activations,
    /// `rms_norm_eps`, `layer_norm_eps`.
    pub(super) eps: f64,
    /// `bos_token_id`, `eos_token_id` and `pad_token_id`.
    pub(super) ends: DefaultEnds,
}

/// How a class reads its rotation.
pub(super) struct Rotation {
    /// Key of the base beside `rope_parameters`.
    pub(super) theta: &'static str,
    /// Key beside `rope_parameters` of the part of each head that turns, and its default; `None` where whole heads do.
    pub(super) part: Option<(&'static str, f64)>,
}

/// The keys of most classes.
pub(super) const WHOLE_HEADS: Rotation = Rotation {
    theta: "rope_theta",
    part: None,
};

/// Of `LlamaConfig`, in `transformers` 5.24 like those of the other classes (`tests/fixtures/peers/defaults.json`).
pub(super) const LLAMA: Defaults = Defaults {
    vocab: 32_000,
    dim: 4096,
    hidden: 11_008,
    layers: 32,
    heads: 32,
    kv_heads: None,
    head_dim: None,
    theta: 10_000.0,
    rotation: WHOLE_HEADS,
    tied: false,
    context: 2048,
    activation: "silu",
    activations: &GATED,
    eps: 1e-6,
    ends: DefaultEnds {
        bos: Some(1),
        eos: Some(2),
        pad: None,
    },
};

/// Activations by their names in `transformers`; the first of a kind is written.
pub(super) struct Activations {
    known: &'static [(&'static str, MlpKind)],
    /// Which there are.
    why: &'static str,
}

impl Activations {
    /// The MLP that a key of a configuration asks for.
    pub(super) fn read(
        &self,
        config: &Fields,
        key: &str,
        default: &str,
    ) -> Result<MlpKind, InterchangeError> {
        let name = config.text(key, default)?;
        let found = self.known.iter().find(|(known, _)| *known == name);
        found
            .map(|(_, kind)| *kind)
            .ok_or_else(|| config.inexpressible(key, self.why))
    }

    /// The name of an MLP's activation, or that of the first where it has no name here.
    pub(super) fn name(&self, mlp: MlpKind) -> &'static str {
        let found = self.known.iter().find(|(_, kind)| *kind == mlp);
        found.or(self.known.first()).map_or("", |(name, _)| name)
    }
}

/// Of gated MLPs.
pub(super) const GATED: Activations = Activations {
    known: &[
        ("silu", MlpKind::Swiglu),
        ("swish", MlpKind::Swiglu),
        ("gelu", MlpKind::Geglu),
        ("gelu_python", MlpKind::Geglu),
        ("gelu_pytorch_tanh", MlpKind::GegluTanh),
        ("gelu_new", MlpKind::GegluTanh),
        ("gelu_fast", MlpKind::GegluTanh),
        ("gelu_accurate", MlpKind::GegluTanh),
    ],
    why: "gated MLPs have silu or gelu",
};

/// Of MLPs without a gate.
pub(super) const PLAIN: Activations = Activations {
    known: &[
        ("gelu_new", MlpKind::GeluTanh),
        ("gelu_pytorch_tanh", MlpKind::GeluTanh),
        ("gelu_fast", MlpKind::GeluTanh),
        ("gelu_accurate", MlpKind::GeluTanh),
        ("gelu", MlpKind::Gelu),
        ("gelu_python", MlpKind::Gelu),
        ("relu2", MlpKind::Relu2),
    ],
    why: "plain MLPs have gelu, its tanh form or relu2",
};

/// The sizes in a configuration; refuses what changes the function of every class and no plan says.
pub(super) fn read(
    config: &Fields,
    defaults: &Defaults,
    activation: &str,
) -> Result<ModelConfig, InterchangeError> {
    config.refuse(
        "quantization_config",
        |_| false,
        "weights have to be stored as floating-point numbers",
    )?;
    let model = ModelConfig {
        vocab_size: config.size_or("vocab_size", defaults.vocab)?,
        dim: config.size_or("hidden_size", defaults.dim)?,
        layers: config.size_or("num_hidden_layers", defaults.layers)?,
        heads: config.size_or("num_attention_heads", defaults.heads)?,
        kv_heads: config.optional_size("num_key_value_heads", defaults.kv_heads)?,
        head_dim: config.size("head_dim")?.or(defaults.head_dim),
        hidden: Some(config.size_or("intermediate_size", defaults.hidden)?),
        context: config.size_or("max_position_embeddings", defaults.context)?,
        head: if config.flag("tie_word_embeddings", defaults.tied)? {
            HeadWeights::Tied
        } else {
            HeadWeights::Untied
        },
        positions: Positions::RopeHalves,
        mlp: defaults
            .activations
            .read(config, activation, defaults.activation)?,
        ..ModelConfig::default()
    };
    let (rope_theta, rope_fraction) = rotation(config, defaults, &model)?;
    Ok(ModelConfig {
        rope_theta,
        rope_fraction,
        ..model
    })
}

/// Refuses heads of another width than `hidden_size / num_attention_heads` in a class that has no key for it.
pub(super) fn head_of_heads(config: &Fields, model: &ModelConfig) -> Result<(), InterchangeError> {
    match model.head_dim {
        Some(head) if head * model.heads != model.dim => {
            let why = "heads have hidden_size / num_attention_heads channels in this class";
            Err(config.inexpressible("head_dim", why))
        }
        _ => Ok(()),
    }
}

/// Refuses a window of attention that is shorter than the context, in a class that has one in every block.
pub(super) fn no_window(
    config: &Fields,
    model: &ModelConfig,
    default: Option<usize>,
) -> Result<(), InterchangeError> {
    match config.optional_size("sliding_window", default)? {
        // A window that is no shorter than the context hides nothing.
        Some(width) if width < model.context => {
            Err(config.inexpressible("sliding_window", "attention sees the whole context"))
        }
        _ => Ok(()),
    }
}

/// [`no_window`] for a class that has a window in the blocks that `layer_types` names, or where that is left out in those
/// that `has_window` does.
pub(super) fn no_window_in_some(
    config: &Fields,
    model: &ModelConfig,
    default: Option<usize>,
    has_window: impl Fn(usize) -> bool,
) -> Result<(), InterchangeError> {
    let kinds = config.typed("layer_types", "a list", Value::as_array)?;
    let some = match kinds {
        Some(kinds) => {
            let known = |kind: &Value| kind == "full_attention" || kind == "sliding_attention";
            if !kinds.iter().all(known) {
                return Err(config.inexpressible("layer_types", "every layer has causal attention"));
            }
            kinds.iter().any(|kind| kind == "sliding_attention")
        }
        None => (0..model.layers).any(has_window),
    };
    if some {
        no_window(config, model, default)
    } else {
        Ok(())
    }
}

/// The base of the rotary frequencies and the part of each head that turns: in `rope_scaling` or, by its newer name,
/// `rope_parameters`; else beside them.
fn rotation(
    config: &Fields,
    defaults: &Defaults,
    model: &ModelConfig,
) -> Result<(f64, f64), InterchangeError> {
    let whole = |part: &Value| part.as_f64().is_some_and(|part| (part - 1.0).abs() < 1e-12);
    let Rotation { theta, part } = &defaults.rotation;
    let theta = config.number(theta, defaults.theta)?;
    let (part_key, part_beside) = if let Some((key, default)) = part {
        (*key, config.number(key, *default)?)
    } else {
        let why = "a rotation turns whole heads in this class";
        config.refuse(PART, whole, why)?;
        (PART, 1.0)
    };
    let given = |key: &&str| {
        let value = config.get(key);
        value.is_some_and(|v| v.as_object().is_none_or(|map| !map.is_empty()))
    };
    // Where both are there, `transformers` takes the older one.
    let Some(key) = ["rope_scaling", "rope_parameters"].into_iter().find(given) else {
        return Ok((theta, fraction(config, part_key, part_beside, model)?));
    };
    let plain = |rope: &Value| {
        let kind = rope.get("rope_type").or_else(|| rope.get("type"));
        let of_kinds = |map: &Map<String, Value>| map.values().any(Value::is_object);
        let known = |value: &Value| match part {
            Some(_) => value.is_number(),
            None => whole(value),
        };
        kind.is_none_or(|kind| kind == "default")
            && rope.as_object().is_some_and(|map| !of_kinds(map))
            && rope.get(PART).is_none_or(known)
    };
    config.refuse(
        key,
        plain,
        "rotary frequencies are the same in every layer and not scaled",
    )?;
    let within = |name: &str| config.get(key)?.get(name)?.as_f64();
    let (part_key, part) = match within(PART) {
        Some(part) => (key, part),
        None => (part_key, part_beside),
    };
    Ok((
        within("rope_theta").unwrap_or(theta),
        fraction(config, part_key, part, model)?,
    ))
}

/// The part of each head that turns, within `rope_parameters` and in most classes beside them.
pub(super) const PART: &str = "partial_rotary_factor";

/// What a part of each head is to us: a class turns the whole channels in it, rounded down.
fn fraction(
    config: &Fields,
    key: &str,
    part: f64,
    model: &ModelConfig,
) -> Result<f64, InterchangeError> {
    let head = model
        .head_dim
        .or_else(|| model.dim.checked_div(model.heads));
    let head = match head {
        Some(head) if head > 0 && (part - 1.0).abs() > f64::EPSILON => head,
        // Whatever is wrong with a whole head is refused by the names of the sizes.
        _ => return Ok(1.0),
    };
    let channels = (head as f64 * part) as usize;
    if !(1..=head).contains(&channels) || part > 1.0 || channels % 2 == 1 {
        let why = format!("{part} of {head} channels have to be an even number from 2 to {head}");
        return Err(config.inexpressible(key, &why));
    }
    Ok(channels as f64 / head as f64)
}

/// The part whose product with the head's width, rounded down, is a number of channels.
pub(super) fn part(head: usize, channels: usize) -> f64 {
    let part = channels as f64 / head as f64;
    if ((head as f64 * part) as usize) < channels {
        part.next_up()
    } else {
        part
    }
}

/// The part of each head that turns, in a configuration's keys.
pub(super) fn write_part(map: &mut Map<String, Value>, plan: &Plan, key: &str) {
    let d = plan.dims();
    let part = part(d.head, d.rope_channels());
    map.insert(key.to_owned(), json!(part));
    if let Some(rope) = map.get_mut("rope_parameters") {
        rope[PART] = json!(part);
    }
}

/// The first epsilon of a plan: classes have one for all their normalizations.
pub(super) fn eps(plan: &Plan) -> f64 {
    let of = |norm: &Option<NormPlan>| norm.as_ref().map(|norm| norm.eps);
    let block = |layer: &LayerPlan| {
        let around = [&layer.attn_residual, &layer.mlp_residual];
        let around = around
            .into_iter()
            .find_map(|r| of(&r.input).or_else(|| of(&r.output)));
        around.or_else(|| of(&layer.q.linear.norm))
    };
    plan.layers
        .first()
        .and_then(block)
        .or_else(|| of(&plan.ends.head.final_norm))
        .unwrap_or(1e-6)
}

/// Whether the maps at some sites of the first block have biases.
pub(super) fn biased(plan: &Plan, sites: &[Site]) -> bool {
    let has =
        |layer: &LayerPlan, site: &Site| layer.site(*site).is_some_and(|s| s.linear.bias.is_some());
    let first = plan.layers.first();
    first.is_some_and(|layer| sites.iter().any(|site| has(layer, site)))
}

/// The keys of every class.
pub(super) fn write(plan: &Plan, activation: &str) -> Map<String, Value> {
    let d = plan.dims();
    let mut map = Map::new();
    let mut set = |key: &str, value: Value| map.insert(key.to_owned(), value);
    set("vocab_size", json!(d.vocab));
    set("hidden_size", json!(d.model));
    set("num_hidden_layers", json!(d.layers));
    set("num_attention_heads", json!(d.heads));
    set("num_key_value_heads", json!(d.kv_heads));
    set("head_dim", json!(d.head));
    set("intermediate_size", json!(d.hidden));
    set("max_position_embeddings", json!(d.context));
    set("rms_norm_eps", json!(eps(plan)));
    set("tie_word_embeddings", json!(plan.head.is_none()));
    set(activation, json!(GATED.name(d.mlp)));
    // Older versions read the first, newer ones the second.
    set("rope_theta", json!(d.rope_theta));
    let rope = json!({ "rope_type": "default", "rope_theta": d.rope_theta });
    set("rope_parameters", rope);
    map
}

/// Both ends.
pub(super) const ENDS: [Row; 3] = [
    same("model.embed_tokens.weight", &["embed.weight"]),
    same("model.norm.weight", &["final_norm.gain.value"]),
    out_in("lm_head.weight", &["head.weight"]),
];

/// The maps of attention, with biases.
pub(super) const ATTENTION: [Row; 8] = [
    out_in(
        "model.layers.{}.self_attn.q_proj.weight",
        &["blocks.{}.attn.q.weight"],
    ),
    same(
        "model.layers.{}.self_attn.q_proj.bias",
        &["blocks.{}.attn.q.bias"],
    ),
    out_in(
        "model.layers.{}.self_attn.k_proj.weight",
        &["blocks.{}.attn.k.weight"],
    ),
    same(
        "model.layers.{}.self_attn.k_proj.bias",
        &["blocks.{}.attn.k.bias"],
    ),
    out_in(
        "model.layers.{}.self_attn.v_proj.weight",
        &["blocks.{}.attn.v.weight"],
    ),
    same(
        "model.layers.{}.self_attn.v_proj.bias",
        &["blocks.{}.attn.v.bias"],
    ),
    out_in(
        "model.layers.{}.self_attn.o_proj.weight",
        &["blocks.{}.attn.o.weight"],
    ),
    same(
        "model.layers.{}.self_attn.o_proj.bias",
        &["blocks.{}.attn.o.bias"],
    ),
];

/// Gains of q and k before the rotation.
pub(super) const QK_NORM: [Row; 2] = [
    same(
        "model.layers.{}.self_attn.q_norm.weight",
        &["blocks.{}.attn.q.norm.gain.value"],
    ),
    same(
        "model.layers.{}.self_attn.k_norm.weight",
        &["blocks.{}.attn.k.norm.gain.value"],
    ),
];

/// The maps of one MLP, with biases.
pub(super) const MLP: [Row; 6] = [
    out_in(
        "model.layers.{}.mlp.gate_proj.weight",
        &["blocks.{}.mlp.gate.weight"],
    ),
    same(
        "model.layers.{}.mlp.gate_proj.bias",
        &["blocks.{}.mlp.gate.bias"],
    ),
    out_in(
        "model.layers.{}.mlp.up_proj.weight",
        &["blocks.{}.mlp.up.weight"],
    ),
    same(
        "model.layers.{}.mlp.up_proj.bias",
        &["blocks.{}.mlp.up.bias"],
    ),
    out_in(
        "model.layers.{}.mlp.down_proj.weight",
        &["blocks.{}.mlp.down.weight"],
    ),
    same(
        "model.layers.{}.mlp.down_proj.bias",
        &["blocks.{}.mlp.down.bias"],
    ),
];

/// Gains before both branches.
pub(super) const INPUT_NORMS: [Row; 2] = [
    same(
        "model.layers.{}.input_layernorm.weight",
        &["blocks.{}.attn_residual.input.gain.value"],
    ),
    same(
        "model.layers.{}.post_attention_layernorm.weight",
        &["blocks.{}.mlp_residual.input.gain.value"],
    ),
];

/// What LayerNorm adds, before both branches and at the end.
pub(super) const NORM_BIASES: [Row; 3] = [
    same(
        "model.layers.{}.input_layernorm.bias",
        &["blocks.{}.attn_residual.input.bias"],
    ),
    same(
        "model.layers.{}.post_attention_layernorm.bias",
        &["blocks.{}.mlp_residual.input.bias"],
    ),
    same("model.norm.bias", &["final_norm.bias"]),
];
