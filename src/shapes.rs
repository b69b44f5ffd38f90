//! The shapes of published Llamas, by name: for reckoning and measuring where the weights are not at hand.

use crate::config::{LlamaConfig, Rope, RopeScaling};

/// A published model, by its sizes alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// As it is typed: `llama-2-70b`.
    pub name: &'static str,
    /// Layers, hidden size, intermediate size.
    sizes: [usize; 3],
    /// Query heads, key-value heads, width of a head.
    heads: [usize; 3],
    family: Family,
}

impl Shape {
    /// All of them.
    pub const ALL: [Self; 12] = [
        Self::new(
            "llama-2-7b",
            [32, 4096, 11_008],
            [32, 32, 128],
            Family::Llama2,
        ),
        Self::new(
            "llama-2-13b",
            [40, 5120, 13_824],
            [40, 40, 128],
            Family::Llama2,
        ),
        Self::new(
            "llama-2-70b",
            [80, 8192, 28_672],
            [64, 8, 128],
            Family::Llama2,
        ),
        Self::new(
            "llama-3.1-405b",
            [126, 16_384, 53_248],
            [128, 8, 128],
            Family::Llama31,
        ),
        Self::new(
            "llama-3.1-70b",
            [80, 8192, 28_672],
            [64, 8, 128],
            Family::Llama31,
        ),
        Self::new(
            "llama-3.1-8b",
            [32, 4096, 14_336],
            [32, 8, 128],
            Family::Llama31,
        ),
        Self::new(
            "llama-3.2-3b",
            [28, 3072, 8192],
            [24, 8, 128],
            Family::Llama32,
        ),
        Self::new(
            "llama-3.2-1b",
            [16, 2048, 8192],
            [32, 8, 64],
            Family::Llama32,
        ),
        Self::new(
            "tinyllama-1.1b",
            [22, 2048, 5632],
            [32, 4, 64],
            Family::TinyLlama,
        ),
        Self::new("smollm2-135m", [30, 576, 1536], [9, 3, 64], Family::SmolLm2),
        Self::new(
            "smollm2-360m",
            [32, 960, 2560],
            [15, 5, 64],
            Family::SmolLm2,
        ),
        Self::new(
            "smollm2-1.7b",
            [24, 2048, 8192],
            [32, 32, 64],
            Family::SmolLm2,
        ),
    ];

    /// The one of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|shape| shape.name == name)
    }

    /// The names of all, separated by commas: for messages.
    pub fn names() -> String {
        Self::ALL.map(|shape| shape.name).join(", ")
    }

    /// The whole configuration.
    pub fn config(self) -> LlamaConfig {
        let [layers, hidden_size, intermediate_size] = self.sizes;
        let [heads, kv_heads, head_dim] = self.heads;
        let family = self.family.common();
        LlamaConfig {
            hidden_size,
            intermediate_size,
            layers,
            heads,
            kv_heads,
            head_dim,
            ..family
        }
    }

    const fn new(name: &'static str, sizes: [usize; 3], heads: [usize; 3], family: Family) -> Self {
        Self {
            name,
            sizes,
            heads,
            family,
        }
    }
}

/// Models that share a tokenizer and a rotary embedding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Family {
    Llama2,
    Llama31,
    Llama32,
    TinyLlama,
    SmolLm2,
}

impl Family {
    /// What its models have in common; the sizes are placeholders.
    fn common(self) -> LlamaConfig {
        let plain = |theta| Rope {
            theta,
            scaling: RopeScaling::None,
        };
        let llama3 = |factor| Rope {
            theta: 500_000.0,
            scaling: RopeScaling::Llama3 {
                factor,
                low_freq_factor: 1.0,
                high_freq_factor: 4.0,
                original_context: 8192,
            },
        };
        let (vocab_size, context, rope, tied_head) = match self {
            Self::Llama2 => (32_000, 4096, plain(10_000.0), false),
            Self::Llama31 => (128_256, 131_072, llama3(8.0), false),
            Self::Llama32 => (128_256, 131_072, llama3(32.0), true),
            Self::TinyLlama => (32_000, 2048, plain(10_000.0), false),
            Self::SmolLm2 => (49_152, 8192, plain(100_000.0), true),
        };
        let (bos_token, eos_tokens) = match self {
            Self::Llama31 | Self::Llama32 => (128_000, vec![128_001, 128_008, 128_009]),
            Self::Llama2 | Self::TinyLlama | Self::SmolLm2 => (1, vec![2]),
        };
        LlamaConfig {
            hidden_size: 0,
            intermediate_size: 0,
            layers: 0,
            heads: 0,
            kv_heads: 0,
            head_dim: 0,
            vocab_size,
            context,
            rms_norm_eps: 1e-5,
            rope,
            tied_head,
            bos_token: Some(bos_token),
            eos_tokens,
        }
    }
}
