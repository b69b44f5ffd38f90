//! The shape of a Llama: from Hugging Face's `config.json` (old and new rope spelling) to a checked [`LlamaConfig`].
//! GGUF metadata makes the same type in `checkpoint/gguf.rs`; a pack's manifest stores it as it is.

use serde::{Deserialize, Serialize};
use serde_json::Value;

mod fields;
mod rope;

use fields::{Fields, brief};
pub use rope::{Rope, RopeScaling};

/// What one Llama is made of. A value that came through [`LlamaConfig::validate`] has sizes whose products fit in 64 bits.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LlamaConfig {
    /// Width of the residual stream.
    pub hidden_size: usize,
    /// Width inside the MLP.
    pub intermediate_size: usize,
    /// Transformer blocks.
    pub layers: usize,
    /// Query heads.
    pub heads: usize,
    /// Key and value heads; divides `heads`.
    pub kv_heads: usize,
    /// Width of one head; `heads * head_dim` may differ from `hidden_size`.
    pub head_dim: usize,
    /// Rows of the embedding.
    pub vocab_size: usize,
    /// Positions the model was trained for.
    pub context: usize,
    /// Added to the mean square in every RMSNorm.
    pub rms_norm_eps: f32,
    /// Rotary embedding.
    pub rope: Rope,
    /// The head is the embedding.
    pub tied_head: bool,
    /// First token of every text, where the model has one.
    pub bos_token: Option<u32>,
    /// Tokens that end an answer.
    pub eos_tokens: Vec<u32>,
}

/// Why a configuration cannot be used.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ConfigError {
    /// More bytes than any real configuration has.
    #[error(
        "config: {file} has {bytes} bytes, more than the {limit} a configuration may have; is it the right file?"
    )]
    TooLarge {
        /// File name.
        file: &'static str,
        /// Bytes found.
        bytes: usize,
        /// Bytes allowed.
        limit: usize,
    },
    /// Not a JSON object.
    #[error("config: {file} is not a JSON object ({reason}); download it again")]
    Json {
        /// File name.
        file: &'static str,
        /// What the parser said.
        reason: String,
    },
    /// A field that has no default is absent.
    #[error("config: `{field}` is missing; only complete Llama configurations can be read")]
    Missing {
        /// Field name.
        field: String,
    },
    /// A field holds the wrong kind of value.
    #[error("config: `{field}` should be {expected}, found {found}")]
    Field {
        /// Field name.
        field: String,
        /// What belongs there.
        expected: &'static str,
        /// What is there.
        found: String,
    },
    /// A known feature that this model code does not have.
    #[error(
        "config: {feature} = {found} is not supported; only plain Llama checkpoints (grouped-query attention, SiLU, no biases) run here"
    )]
    Unsupported {
        /// Field or feature.
        feature: String,
        /// Its value.
        found: String,
    },
    /// Sizes that contradict each other or leave every sane bound.
    #[error("config: `{field}` = {found} is out of range: {rule}")]
    Range {
        /// Field name.
        field: &'static str,
        /// Its value.
        found: String,
        /// The rule it breaks.
        rule: String,
    },
}

impl LlamaConfig {
    /// Reads `config.json` and, where there is one, `generation_config.json` (its end tokens win, as in generation there).
    pub fn from_hugging_face(
        config_json: &[u8],
        generation_config_json: Option<&[u8]>,
    ) -> Result<Self, ConfigError> {
        let config = Fields::parse("config.json", config_json)?;
        refuse_unsupported(&config)?;

        let hidden_size = config.size("hidden_size")?;
        let heads = config.size("num_attention_heads")?;
        let context = config.size("max_position_embeddings")?;
        let head_dim = match config.optional_size("head_dim")? {
            Some(given) => given,
            None if heads > 0 && hidden_size % heads == 0 => hidden_size / heads,
            None => {
                return Err(ConfigError::Range {
                    field: "num_attention_heads",
                    found: heads.to_string(),
                    rule: format!(
                        "must divide hidden_size = {hidden_size}, as head_dim is not given"
                    ),
                });
            }
        };

        let generation = match generation_config_json {
            Some(json) => Some(Fields::parse("generation_config.json", json)?),
            None => None,
        };
        let of_generation = |field| match &generation {
            Some(fields) => fields.tokens(field),
            None => Ok(Vec::new()),
        };
        let first_given = |field| -> Result<Vec<u32>, ConfigError> {
            let tokens = of_generation(field)?;
            if tokens.is_empty() {
                config.tokens(field)
            } else {
                Ok(tokens)
            }
        };

        Self {
            hidden_size,
            intermediate_size: config.size("intermediate_size")?,
            layers: config.size("num_hidden_layers")?,
            heads,
            kv_heads: config
                .optional_size("num_key_value_heads")?
                .unwrap_or(heads),
            head_dim,
            vocab_size: config.size("vocab_size")?,
            context,
            rms_norm_eps: config.optional_number("rms_norm_eps")?.unwrap_or(1e-6) as f32,
            rope: rope::read(&config, context)?,
            tied_head: config
                .optional_flag("tie_word_embeddings")?
                .unwrap_or(false),
            bos_token: first_given("bos_token_id")?.first().copied(),
            eos_tokens: first_given("eos_token_id")?,
        }
        .validate()
    }

    /// Refuses sizes that contradict each other or that no real model has, so that later arithmetic cannot overflow.
    pub fn validate(self) -> Result<Self, ConfigError> {
        // Above the largest published Llama by a factor of four or more.
        let bounds = [
            ("hidden_size", self.hidden_size, 1 << 16),
            ("intermediate_size", self.intermediate_size, 1 << 18),
            ("layers", self.layers, 1 << 10),
            ("heads", self.heads, 1 << 10),
            ("kv_heads", self.kv_heads, 1 << 10),
            ("head_dim", self.head_dim, MAX_HEAD_DIM),
            ("vocab_size", self.vocab_size, 1 << 20),
            ("context", self.context, 1 << 24),
        ];
        for (field, found, most) in bounds {
            if found == 0 || found > most {
                let rule = format!("must lie between 1 and {most}");
                return Err(ConfigError::Range {
                    field,
                    found: found.to_string(),
                    rule,
                });
            }
        }
        if !self.heads.is_multiple_of(self.kv_heads) {
            return Err(ConfigError::Range {
                field: "kv_heads",
                found: self.kv_heads.to_string(),
                rule: format!("must divide the {} query heads", self.heads),
            });
        }
        if !self.head_dim.is_multiple_of(4) {
            return Err(ConfigError::Range {
                field: "head_dim",
                found: self.head_dim.to_string(),
                rule: "must be a multiple of 4: rotary embedding turns pairs, and the cache is read by fours".into(),
            });
        }
        if attention_bytes(self.heads / self.kv_heads, self.head_dim) > WORKGROUP_BYTES {
            return Err(ConfigError::Range {
                field: "heads",
                found: self.heads.to_string(),
                rule: format!(
                    "{} query heads of {} to a key-value head are more than attention can hold here",
                    self.heads / self.kv_heads,
                    self.head_dim
                ),
            });
        }
        positive("rms_norm_eps", f64::from(self.rms_norm_eps))?;
        if self.rms_norm_eps > 1.0 {
            return Err(ConfigError::Range {
                field: "rms_norm_eps",
                found: self.rms_norm_eps.to_string(),
                rule: "must be at most 1".into(),
            });
        }
        rope::validate(&self.rope, self.head_dim)?;
        for (field, token) in self
            .bos_token
            .iter()
            .map(|token| ("bos_token", *token))
            .chain(self.eos_tokens.iter().map(|token| ("eos_tokens", *token)))
        {
            if token as usize >= self.vocab_size {
                return Err(ConfigError::Range {
                    field,
                    found: token.to_string(),
                    rule: format!("must be below vocab_size = {}", self.vocab_size),
                });
            }
        }
        Ok(self)
    }

    /// Weights in all, norms included; a tied head counts once.
    pub fn parameters(&self) -> u64 {
        let [hidden, intermediate, layers, vocab] = [
            self.hidden_size,
            self.intermediate_size,
            self.layers,
            self.vocab_size,
        ]
        .map(|size| size as u64);
        let attention = (self.query_rows() + self.kv_rows()) as u64 * 2 * hidden;
        let layer = attention + 3 * intermediate * hidden + 2 * hidden;
        let tables = if self.tied_head { 1 } else { 2 };
        layers * layer + tables * vocab * hidden + hidden
    }

    /// Rows of the query projection, and columns of the output projection: `heads * head_dim`.
    pub fn query_rows(&self) -> usize {
        self.heads * self.head_dim
    }

    /// Rows of the key projection, and of the value projection: `kv_heads * head_dim`.
    pub fn kv_rows(&self) -> usize {
        self.kv_heads * self.head_dim
    }
}

/// Bytes of workgroup memory that every device has.
pub(crate) const WORKGROUP_BYTES: usize = 16 << 10;

/// What a workgroup of attention holds for the query heads of one key-value head: the queries and a tile of 64 scores for each, two
/// words of running maximum, and what its 64 threads join in the end.
pub(crate) fn attention_bytes(queries: usize, head_dim: usize) -> usize {
    4 * (queries * (head_dim + 64 + 2) + 6 * 64)
}

// What the attention kernels hold of one head.
const MAX_HEAD_DIM: usize = 256;

fn positive(field: &'static str, found: f64) -> Result<(), ConfigError> {
    if found.is_finite() && found > 0.0 {
        return Ok(());
    }
    Err(ConfigError::Range {
        field,
        found: found.to_string(),
        rule: "must be finite and above 0".into(),
    })
}

fn refuse_unsupported(config: &Fields) -> Result<(), ConfigError> {
    let unsupported = |feature: &str, found: &Value| {
        Err(ConfigError::Unsupported {
            feature: feature.into(),
            found: brief(found),
        })
    };
    match config.get("model_type") {
        Some(Value::String(kind)) if kind == "llama" || kind == "mistral" => {}
        Some(other) => return unsupported("model_type", other),
        None => {
            return Err(ConfigError::Missing {
                field: "model_type".into(),
            });
        }
    }
    for flag in ["attention_bias", "mlp_bias", "rope_interleaved"] {
        if config.optional_flag(flag)? == Some(true) {
            return unsupported(flag, &Value::Bool(true));
        }
    }
    if let Some(activation) = config.get("hidden_act")
        && activation != "silu"
    {
        return unsupported("hidden_act", activation);
    }
    for field in [
        "quantization_config",
        "layer_types",
        "partial_rotary_factor",
    ] {
        let plain = match (field, config.get(field)) {
            (_, None) => true,
            ("layer_types", Some(Value::Array(types))) => {
                types.iter().all(|kind| kind == "full_attention")
            }
            ("partial_rotary_factor", Some(share)) => share.as_f64() == Some(1.0),
            _ => false,
        };
        if !plain {
            return unsupported(field, config.get(field).unwrap_or(&Value::Null));
        }
    }
    // A window at least as long as the context never closes.
    if let Some(window) = config.optional_size("sliding_window")?
        && window < config.size("max_position_embeddings")?
    {
        return unsupported("sliding_window", &Value::from(window));
    }
    Ok(())
}
