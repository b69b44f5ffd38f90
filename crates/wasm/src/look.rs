//! What JavaScript may ask of lanes besides answers: other layers, distances, losses, angles, and what each depth would say.

use halfdepth::decode::{compare, distribution};
use halfdepth::eval::cross_entropy;
use halfdepth::plan::LayerPlan;
use halfdepth::scan::{Sampling, angles, draw};
use halfdepth::tokenizer::Tokenizer;
use halfdepth::trace::Reading;
use serde::{Deserialize, Serialize};
use wasm_bindgen::JsValue;
use wasm_bindgen::prelude::wasm_bindgen;

use crate::boundary::{Failure, Prompt, PromptRequest};
use crate::engine::{Engine, to_js};

/// What a lane is to run of its model.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PlanChange {
    layers: Vec<usize>,
    mute_attention: Vec<usize>,
    mute_mlp: Vec<usize>,
}

/// Which runs of a text a scan reads.
#[derive(Deserialize)]
struct Samples {
    samples: usize,
    tokens: usize,
    seed: u32,
}

#[derive(Serialize)]
struct Compared {
    /// The token of the answer.
    token: u32,
    /// What each lane would have said: id and text.
    expected: Said,
    found: Said,
    agrees: bool,
    kl: f64,
}

#[derive(Serialize)]
struct Said {
    id: u32,
    text: String,
}

#[derive(Serialize)]
struct DepthReading {
    /// The likeliest tokens.
    top: Vec<Likely>,
    /// Of the token that the whole plan chooses.
    probability: f64,
    rank: usize,
    kl: f64,
}

#[derive(Serialize)]
struct Likely {
    id: u32,
    text: String,
    probability: f64,
}

#[wasm_bindgen]
impl Engine {
    /// Runs other layers on a lane from now on, or mutes parts of them. Nothing is loaded; what a healed lane replaces stays so.
    #[wasm_bindgen(js_name = setPlan)]
    pub async fn set_plan(&self, lane: usize, change: JsValue) -> Result<(), JsValue> {
        let change: PlanChange = serde_wasm_bindgen::from_value(change).map_err(Failure::from)?;
        let named = self.named_plan(lane)?;
        let plan = named.layers();
        let layers = match change.layers == plan.layers {
            true => Ok(plan.clone()),
            false => LayerPlan::new(plan.name.clone(), change.layers, usize::MAX),
        };
        let muted = layers.and_then(|layers| {
            let plan = named.with_layers(layers);
            plan.with_muted(change.mute_attention, change.mute_mlp)
        });
        let plan = muted.map_err(Failure::from)?;
        let changed = self.with_lane(lane, async |lane| Ok(lane.change_plan(plan).await?));
        Ok(changed.await?)
    }

    /// The ids of a text, without special tokens.
    pub fn tokenize(&self, text: &str) -> Result<Vec<u32>, JsValue> {
        Ok(self
            .tokenizer()?
            .encode(text, false)
            .map_err(Failure::from)?)
    }

    /// What two lanes predict at every token of an answer, and how far apart they are.
    pub async fn compare(
        &self,
        reference: usize,
        lane: usize,
        prompt: JsValue,
        answer: Vec<u32>,
    ) -> Result<JsValue, JsValue> {
        let prompt = self.prompt_ids(prompt)?;
        if reference == lane {
            let reason = "a lane is no distance from itself; name two";
            return Err(Failure::new("InvalidRequest", reason).into());
        }
        let compared = self
            .with_lanes([reference, lane], async |[reference, lane]| {
                Ok(compare(reference, lane, &prompt, &answer).await?)
            })
            .await?;
        let tokenizer = self.tokenizer()?;
        let said = |id| -> Result<Said, Failure> {
            let text = text_of(tokenizer, id)?;
            Ok(Said { id, text })
        };
        let mut rows = Vec::with_capacity(compared.len());
        for row in compared {
            rows.push(Compared {
                token: row.token,
                expected: said(row.expected)?,
                found: said(row.found)?,
                agrees: row.agrees(),
                kl: row.kl,
            });
        }
        to_js(&rows)
    }

    /// Nats a token of one window of a text, after the begin token alone.
    pub async fn loss(&self, lane: usize, ids: Vec<u32>) -> Result<f64, JsValue> {
        let begin = self.begin_token()?;
        let nats = self.with_lane(lane, async |lane| {
            Ok(cross_entropy(lane, &ids, ids.len(), begin).await?)
        });
        Ok(nats.await?)
    }

    /// The runs of a text that `halfdepth scan` reads.
    pub fn samples(&self, ids: Vec<u32>, request: JsValue) -> Result<JsValue, JsValue> {
        let Samples {
            samples,
            tokens,
            seed,
        } = serde_wasm_bindgen::from_value(request).map_err(Failure::from)?;
        let runs = draw(&ids, samples, tokens, Sampling::Random, u64::from(seed));
        to_js(&runs.map_err(|error| Failure::new("InvalidRequest", error.to_string()))?)
    }

    /// How far each block of a lane's layers turns the stream of the last of these tokens: by n, from 1, in units of pi.
    pub async fn angles(&self, lane: usize, ids: Vec<u32>) -> Result<JsValue, JsValue> {
        let streams = self.with_lane(lane, async |lane| Ok(lane.streams(&ids).await?));
        to_js(&angles(&streams.await?))
    }

    /// What a lane would say after a prompt and the beginning of an answer, were it to end before its first layer, and after each.
    pub async fn lens(
        &self,
        lane: usize,
        prompt: JsValue,
        answer: Vec<u32>,
        top: usize,
    ) -> Result<JsValue, JsValue> {
        let mut ids = self.prompt_ids(prompt)?;
        ids.extend(answer);
        let logits = self.with_lane(lane, async |lane| Ok(lane.logits_by_depth(&ids).await?));
        let logits = logits.await?;
        let logprobs: Vec<Vec<f64>> =
            (logits.iter().map(|row| distribution::log_softmax(row))).collect();
        let (Some(last), Some(row)) = (logprobs.last(), logits.last()) else {
            return to_js(&Vec::<DepthReading>::new());
        };
        let chosen = distribution::likeliest(row) as usize;
        let tokenizer = self.tokenizer()?;
        let mut readings = Vec::with_capacity(logprobs.len());
        for here in &logprobs {
            let reading = Reading::new(here, last, chosen, top);
            let mut likely = Vec::with_capacity(reading.top.len());
            for (id, probability) in reading.top {
                let text = text_of(tokenizer, id)?;
                likely.push(Likely {
                    id,
                    text,
                    probability,
                });
            }
            readings.push(DepthReading {
                top: likely,
                probability: reading.probability,
                rank: reading.rank,
                kl: reading.kl,
            });
        }
        to_js(&readings)
    }
}

fn text_of(tokenizer: &Tokenizer, id: u32) -> Result<String, Failure> {
    Ok(tokenizer.decode(&[id], false)?)
}

impl Engine {
    fn prompt_ids(&self, prompt: JsValue) -> Result<Vec<u32>, Failure> {
        let request: PromptRequest = serde_wasm_bindgen::from_value(prompt)?;
        match request.prompt()? {
            Prompt::Messages(messages) => self.prompt(&messages),
            Prompt::Ids(ids) => Ok(ids),
        }
    }

    async fn with_lane<T>(
        &self,
        lane: usize,
        work: impl AsyncFnOnce(&mut halfdepth::decode::Lane) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        self.with_lanes([lane], async |[lane]| work(lane).await)
            .await
    }
}
