//! What the article and the paper behind it claim of Llama-2-70B, and what the reckoning says to it.

use serde::Serialize;

use super::{Budget, CacheNumber, Depth, Storage, flops_per_token};
use crate::shapes::Shape;

/// One claim, beside what is reckoned here.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ArticleClaim {
    /// What is claimed.
    pub claim: &'static str,
    /// Full depth, as claimed.
    pub claimed_full: f64,
    /// Half depth and 4 bits, as claimed.
    pub claimed_half: f64,
    /// Full depth, reckoned.
    pub full: f64,
    /// Half depth (and 4 bits), reckoned.
    pub half: f64,
    /// Where the claim holds and where not.
    pub verdict: String,
}

/// The claims on memory and on FLOPs (arXiv 2403.17887, and the article on it).
pub fn article_claims() -> Vec<ArticleClaim> {
    let Some(shape) = Shape::named("llama-2-70b") else {
        return Vec::new();
    };
    let config = shape.config();
    let depths = [config.layers, config.layers / 2].map(Depth::layers);
    let bytes = |depth, storage| {
        let storage = Storage::named(storage);
        storage.map_or(0, |s| {
            Budget::new(&config, depth, &s, 0, CacheNumber::F16).weight_bytes
        }) as f64
    };
    let (full, half) = (bytes(depths[0], "f16"), bytes(depths[1], "4.0"));
    let usual = bytes(depths[1], "q4_0");
    let flops = depths.map(|depth| flops_per_token(&config, depth, 0) as f64);
    vec![
        ArticleClaim {
            claim: "bytes of the weights",
            claimed_full: 140e9,
            claimed_half: 17.5e9,
            full,
            half,
            verdict: format!(
                "70e9 weights x 2 bytes = 140 GB, / 4 (16 to 4 bits) / 2 (layers) = 17.5 GB. That is 4.000 bits a weight without scales, \
                 and an embedding halved with the layers; counted out it is {:.2} GB -> {:.2} GB, and {:.2} GB at the 4.5 bits of \
                 formats in use",
                full / 1e9,
                half / 1e9,
                usual / 1e9
            ),
        },
        ArticleClaim {
            claim: "FLOPs a token",
            claimed_full: 3e10,
            claimed_half: 1.5e10,
            full: flops[0],
            half: flops[1],
            verdict: format!(
                "3e10 does not hold: two operations a weight make {:.3e}, {:.1} times as many, and no usual convention yields 3e10. The \
                 ratio holds: half the layers take {:.1} % of the operations",
                flops[0],
                flops[0] / 3e10,
                100.0 * flops[1] / flops[0]
            ),
        },
    ]
}
