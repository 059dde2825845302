//! The two ends of a decoder: the embedding, and what turns the stream into logits.

use super::gain::GainPlan;
use super::norm::NormPlan;
use serde::{Deserialize, Serialize};

/// What stands around the blocks; `[ends]` of `plan.toml`, where both parts share one table.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EndsPlan {
    /// Before the first block.
    #[serde(flatten)]
    pub embedding: EmbeddingPlan,
    /// Behind the last block.
    #[serde(flatten)]
    pub head: HeadPlan,
}

/// What stands behind the embedding table: `h = norm( gain * factor * (table[token] + positions[place]) )`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EmbeddingPlan {
    /// Constant on the embedded tokens (Gemma: the square root of the model's width).
    #[serde(rename = "embed_factor")]
    pub factor: f64,
    /// Learned scale of the embedded tokens.
    #[serde(rename = "embed_gain", skip_serializing_if = "Option::is_none")]
    pub gain: Option<GainPlan>,
    /// Normalization of the embedded tokens.
    #[serde(rename = "embed_norm", skip_serializing_if = "Option::is_none")]
    pub norm: Option<NormPlan>,
}

impl EmbeddingPlan {
    /// The embedded tokens as they are.
    pub fn plain() -> Self {
        Self {
            factor: 1.0,
            gain: None,
            norm: None,
        }
    }
}

/// What stands between the last block and the logits: `logits = logit_gain * (final_norm(join(h)) W)`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HeadPlan {
    /// Where a stream of two components becomes one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub join: Option<JoinPlan>,
    /// Normalization before the output layer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub final_norm: Option<NormPlan>,
    /// Learned scale of each logit (`s_z` of nGPT and anGPT).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub logit_gain: Option<GainPlan>,
}

impl HeadPlan {
    /// The product with the output layer's matrix and nothing else.
    pub fn plain() -> Self {
        Self {
            join: None,
            final_norm: None,
            logit_gain: None,
        }
    }
}

/// How the two components of a stream become one behind the last block: `stream(h) + companion(y)`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct JoinPlan {
    /// Normalization of the first component.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stream: Option<NormPlan>,
    /// Normalization of the second one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub companion: Option<NormPlan>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::GainRole;

    /// The table as runs have recorded it from the first one on, in this order.
    #[derive(Serialize)]
    struct Recorded {
        embed_factor: f64,
        #[serde(skip_serializing_if = "Option::is_none")]
        embed_gain: Option<GainPlan>,
        #[serde(skip_serializing_if = "Option::is_none")]
        embed_norm: Option<NormPlan>,
        #[serde(skip_serializing_if = "Option::is_none")]
        join: Option<JoinPlan>,
        #[serde(skip_serializing_if = "Option::is_none")]
        final_norm: Option<NormPlan>,
        #[serde(skip_serializing_if = "Option::is_none")]
        logit_gain: Option<GainPlan>,
    }

    /// A run is bound to its plan by the hash of this text.
    #[test]
    fn both_ends_are_recorded_as_one_table() {
        let norm = || Some(NormPlan::rms(1e-5, GainRole::Output));
        let gain = || Some(GainPlan::scalar(2.5));
        let join = || {
            Some(JoinPlan {
                stream: norm(),
                companion: None,
            })
        };
        let full = EndsPlan {
            embedding: EmbeddingPlan {
                factor: 8.0,
                gain: gain(),
                norm: norm(),
            },
            head: HeadPlan {
                join: join(),
                final_norm: norm(),
                logit_gain: gain(),
            },
        };
        let recorded = Recorded {
            embed_factor: 8.0,
            embed_gain: gain(),
            embed_norm: norm(),
            join: join(),
            final_norm: norm(),
            logit_gain: gain(),
        };
        let plain = EndsPlan {
            embedding: EmbeddingPlan::plain(),
            head: HeadPlan::plain(),
        };
        let nothing = Recorded {
            embed_factor: 1.0,
            embed_gain: None,
            embed_norm: None,
            join: None,
            final_norm: None,
            logit_gain: None,
        };
        for (plan, recorded) in [(full, recorded), (plain, nothing)] {
            let text = toml::to_string_pretty(&plan).unwrap();
            assert_eq!(text, toml::to_string_pretty(&recorded).unwrap());
            let read: EndsPlan = toml::from_str(&text).unwrap();
            assert_eq!(toml::to_string_pretty(&read).unwrap(), text);
        }
    }
}
