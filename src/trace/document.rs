//! Traces and lenses as JSON files, for people and their scripts: nothing in this program reads them back.

use serde::Serialize;

use super::{Estimate, Lens, Map, Settings, Tracer};
use crate::header::pretty;
use crate::plan::LayerPlan;
use crate::scan::ScannedModel;

const VERSION: u64 = 1;

const TRACE_PROTOCOL: &str = "clean: the prompt as it is; corrupted: normal noise of `settings.noise` times `embedding_deviation` added to the embeddings of the subject's tokens; effects[layer][token]: the answer's probability in the corrupted run with what the clean run holds at this token put back (state: the residual stream after the layer; attention, mlp: what these add to the stream) in the window of layers around this one, minus the corrupted probability under the same noise, mean over the samples with a 95 % interval after Student; the answer's probability is the product over its tokens, each read after those before it";

const LENS_PROTOCOL: &str = "readings[depth][position]: the final norm and the head applied to the residual stream; depth 0 is the embedding, depth l + 1 the stream after layer l; probability and rank of the token that the whole model chooses at this position; kl: sum of p ln(p/q) in nats, p of the whole model, q of this depth";

/// A token and its text.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TokenNote {
    /// Its id.
    pub id: u32,
    /// What it decodes to, alone.
    pub text: String,
}

/// The layers that a plan leaves out, and what that does to the answer.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CutLayers {
    /// The plan.
    pub plan: String,
    /// The layers that it leaves out.
    pub cut: Vec<usize>,
    /// The answer's probability under the plan, without noise.
    pub probability: f64,
    /// The share of the positive effects that lies in the layers left out; unknown where there is no effect.
    pub share_of_effects: Option<f64>,
}

/// A causal trace.
#[derive(Clone, Debug, Serialize)]
pub struct TraceDocument {
    format: &'static str,
    version: u64,
    protocol: &'static str,
    /// What was traced.
    pub model: ScannedModel,
    /// The prompt's text.
    pub prompt: String,
    /// What the model reads: the prompt's tokens, and the answer's but for its last.
    pub tokens: Vec<TokenNote>,
    /// The subject's text.
    pub subject: String,
    /// Which of the tokens are the subject's.
    pub subject_tokens: Vec<usize>,
    /// The answer's tokens.
    pub answer: Vec<TokenNote>,
    /// Whether the answer is the token that the model holds likeliest.
    pub answer_is_the_models: bool,
    /// How it was traced.
    pub settings: Settings,
    /// Of the embeddings' numbers.
    pub embedding_deviation: f64,
    /// The answer's probability without noise.
    pub clean: f64,
    /// The answer's probability under noise.
    pub corrupted: Estimate,
    /// By layer, by token.
    pub effects: Vec<Vec<Estimate>>,
    /// Layer and token of the strongest effect.
    pub strongest: (usize, usize),
    /// What a plan does to the answer.
    pub plan: Option<CutLayers>,
}

/// What was asked, as texts.
#[derive(Clone, Debug)]
pub struct Asked {
    /// The prompt's text.
    pub prompt: String,
    /// The tokens read.
    pub tokens: Vec<TokenNote>,
    /// The subject's text.
    pub subject: String,
    /// The subject's tokens.
    pub subject_tokens: Vec<usize>,
    /// The answer's tokens.
    pub answer: Vec<TokenNote>,
    /// Whether the answer was left to the model.
    pub answer_is_the_models: bool,
}

impl TraceDocument {
    /// Puts a trace together; `plan` is what runs under a plan, and the answer's probability there.
    pub fn new(
        model: ScannedModel,
        asked: Asked,
        (tracer, settings): (&Tracer, Settings),
        map: Map,
        plan: Option<(&LayerPlan, f64)>,
    ) -> Self {
        let plan = plan.map(|(plan, probability)| {
            let cut = cut(plan, tracer.layers());
            CutLayers {
                plan: plan.name.clone(),
                share_of_effects: map.share(&cut),
                cut,
                probability,
            }
        });
        Self {
            format: "halfdepth-trace",
            version: VERSION,
            protocol: TRACE_PROTOCOL,
            model,
            prompt: asked.prompt,
            tokens: asked.tokens,
            subject: asked.subject,
            subject_tokens: asked.subject_tokens,
            answer: asked.answer,
            answer_is_the_models: asked.answer_is_the_models,
            settings,
            embedding_deviation: tracer.deviation(),
            clean: tracer.clean(),
            corrupted: Estimate::of(tracer.corrupted()),
            strongest: map.strongest(),
            effects: map.effects,
            plan,
        }
    }

    /// The document as its file's text.
    pub fn to_json(&self) -> String {
        pretty(self)
    }
}

/// A prompt read at every depth.
#[derive(Clone, Debug, Serialize)]
pub struct LensDocument {
    format: &'static str,
    version: u64,
    protocol: &'static str,
    /// What was read.
    pub model: ScannedModel,
    /// The prompt's text.
    pub prompt: String,
    /// The prompt's tokens.
    pub tokens: Vec<TokenNote>,
    /// By position: what the whole model chooses next.
    pub chosen: Vec<TokenNote>,
    /// By position: the first depth at which that token is the likeliest, and the one from which it stays so.
    pub first_chosen: Vec<(usize, usize)>,
    /// By depth, by position.
    pub readings: Vec<Vec<ReadingNote>>,
    /// What a plan leaves out.
    pub plan: Option<CutDepths>,
}

/// One depth at one position.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ReadingNote {
    /// The likeliest tokens.
    pub top: Vec<ProbableToken>,
    /// The probability of the token finally chosen.
    pub probability: f64,
    /// Its rank, from 1.
    pub rank: usize,
    /// From the whole model's distribution, in nats.
    pub kl: f64,
}

/// A token with its probability.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ProbableToken {
    /// Its id.
    pub id: u32,
    /// What it decodes to, alone.
    pub text: String,
    /// How likely it is.
    pub probability: f64,
}

/// The layers that a plan leaves out, beside where the last position's answer is first read.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CutDepths {
    /// The plan.
    pub plan: String,
    /// The layers that it leaves out.
    pub cut: Vec<usize>,
    /// The layer after which the answer is first the likeliest; none where the embedding holds it already.
    pub answer_first_after: Option<usize>,
    /// Whether the plan leaves that layer out.
    pub cuts_it: bool,
}

impl LensDocument {
    /// Puts a lens together; `text` spells a token.
    pub fn new(
        model: ScannedModel,
        (prompt, tokens): (&str, Vec<TokenNote>),
        lens: &Lens,
        plan: Option<&LayerPlan>,
        text: impl Fn(u32) -> String,
    ) -> Self {
        let layers = model.config.layers;
        let note = |id: &u32| TokenNote {
            id: *id,
            text: text(*id),
        };
        let first_chosen: Vec<_> = (0..tokens.len()).map(|at| lens.first_chosen(at)).collect();
        let answer = first_chosen.last().map_or(0, |(first, _)| *first);
        let plan = plan.map(|plan| {
            let cut = cut(plan, layers);
            let after = answer.checked_sub(1);
            CutDepths {
                plan: plan.name.clone(),
                answer_first_after: after,
                cuts_it: after.is_some_and(|layer| cut.contains(&layer)),
                cut,
            }
        });
        let reading = |reading: &super::Reading| ReadingNote {
            top: (reading.top.iter())
                .map(|(id, probability)| ProbableToken {
                    id: *id,
                    text: text(*id),
                    probability: *probability,
                })
                .collect(),
            probability: reading.probability,
            rank: reading.rank,
            kl: reading.kl,
        };
        Self {
            format: "halfdepth-lens",
            version: VERSION,
            protocol: LENS_PROTOCOL,
            model,
            prompt: prompt.to_string(),
            tokens,
            chosen: lens.chosen.iter().map(note).collect(),
            first_chosen,
            readings: (lens.readings.iter())
                .map(|readings| readings.iter().map(reading).collect())
                .collect(),
            plan,
        }
    }

    /// The document as its file's text.
    pub fn to_json(&self) -> String {
        pretty(self)
    }
}

/// The layers that a plan leaves out.
fn cut(plan: &LayerPlan, layers: usize) -> Vec<usize> {
    (0..layers)
        .filter(|layer| !plan.layers.contains(layer))
        .collect()
}
