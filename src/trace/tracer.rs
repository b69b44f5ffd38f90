//! In: a question and a model. Out: the answer's probability clean, under noise on the subject, and under noise with states of the
//! clean run put back.
//!
//! The answer's probability is that of all its tokens, each read after those before it; of an answer of one token, that token's.

use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};

use burn::tensor::activation::log_softmax;
use burn::tensor::{Bool, DType, Int, Tensor, TensorData};

use super::noise::{corrupt, embedding_deviation};
use super::{Estimate, Kind, Map, Question, Settings, TraceError};
use crate::dense::{Block, Dense, DenseError, Positions, in_parallel, is_cpu, read_floats, tensor};
use crate::plan::LayerPlan;

/// Positions that run at once on one core, and on a GPU.
const CPU_POSITIONS: usize = 1024;
const GPU_POSITIONS: usize = 8192;

/// A question whose clean and noisy runs are done.
pub struct Tracer<'s> {
    model: Dense<'s>,
    settings: Settings,
    /// The prompt, and the answer but for its last token.
    read: Vec<u32>,
    answer: Vec<u32>,
    /// The first of the subject's tokens: before it nothing differs.
    first: usize,
    positions: Positions,
    /// By layer, what is put back: (1, tokens, hidden).
    clean: Vec<Tensor<3>>,
    /// The noisy stream before each layer and after the last: (samples, tokens, hidden).
    noisy: Vec<Tensor<3>>,
    deviation: f64,
    clean_probability: f64,
    corrupted: Vec<f64>,
}

impl<'s> Tracer<'s> {
    /// Runs a question clean and under noise.
    ///
    /// # Errors
    /// The settings measure nothing, the question has no subject or no answer, or the model fails.
    pub fn new(
        model: &Dense<'s>,
        question: &Question,
        settings: Settings,
    ) -> Result<Self, TraceError> {
        let layers = model.config().layers;
        settings.check(layers)?;
        let Some(&first) = question.subject.first() else {
            return Err(TraceError::Empty { what: "subject" });
        };
        let Some((_, before_last)) = question.answer.split_last() else {
            return Err(TraceError::Empty { what: "answer" });
        };
        let full = LayerPlan::full(layers).map_err(DenseError::from)?;
        let model = model.with_plan(full)?;
        let read = [&question.prompt, before_last].concat();
        let (x, positions) = model.embed(&[&read])?;
        let deviation = embedding_deviation(model.source(), settings.seed)?;
        let [_, tokens, hidden] = x.dims();
        let values = corrupt(
            &read_floats(x.clone())?,
            hidden,
            &question.subject,
            (settings.samples, settings.noise * deviation, settings.seed),
        );
        let mut tracer = Self {
            noisy: vec![tensor(
                values,
                [settings.samples, tokens, hidden],
                model.device(),
            )],
            clean: Vec::with_capacity(layers),
            model,
            settings,
            read,
            answer: question.answer.clone(),
            first,
            positions,
            deviation,
            clean_probability: 0.0,
            corrupted: Vec::new(),
        };
        tracer.run_both(x)?;
        Ok(tracer)
    }

    fn run_both(&mut self, mut clean: Tensor<3>) -> Result<(), TraceError> {
        for layer in 0..self.layers() {
            let block = self.block(layer)?;
            let attention = block.attention(clean.clone(), &self.positions);
            let between = clean + attention.clone();
            let mlp = block.mlp(between.clone());
            clean = between + mlp.clone();
            let noisy = block.forward(self.noisy[layer].clone(), &self.positions);
            self.noisy.push(noisy);
            self.clean.push(match self.settings.kind {
                Kind::State => clean.clone(),
                Kind::Attention => attention,
                Kind::Mlp => mlp,
            });
        }
        self.clean_probability = self.probabilities(clean)?[0];
        let layers = self.layers();
        self.corrupted = self.probabilities(self.noisy[layers].clone())?;
        let mut all = self.corrupted.iter().chain([&self.clean_probability]);
        match all.all(|probability| probability.is_finite()) {
            true => Ok(()),
            false => Err(TraceError::NonFinite),
        }
    }

    /// Layers of the model.
    pub fn layers(&self) -> usize {
        self.model.config().layers
    }

    /// What the model reads: the prompt, and the answer but for its last token.
    pub fn read(&self) -> &[u32] {
        &self.read
    }

    /// The standard deviation of the embeddings' numbers.
    pub fn deviation(&self) -> f64 {
        self.deviation
    }

    /// The answer's probability without noise.
    pub fn clean(&self) -> f64 {
        self.clean_probability
    }

    /// The answer's probability under each draw of the noise.
    pub fn corrupted(&self) -> &[f64] {
        &self.corrupted
    }

    /// The answer's probability under each draw of the noise, with what the clean run held at these tokens put back in each of these
    /// layers.
    ///
    /// # Errors
    /// The device failed.
    pub fn restored(&self, tokens: &[usize], layers: Range<usize>) -> Result<Vec<f64>, TraceError> {
        let mut found = self.restored_each(&[tokens.to_vec()], layers)?;
        Ok(found.remove(0))
    }

    /// The effect of every token in every layer. `progress` is told how many of how many cells are done.
    ///
    /// # Errors
    /// The device failed.
    pub fn map(&self, progress: &(dyn Fn(usize, usize) + Sync)) -> Result<Map, TraceError> {
        let budget = match is_cpu(self.model.device()) {
            true => CPU_POSITIONS,
            false => GPU_POSITIONS,
        };
        let at_once = (budget / (self.settings.samples * self.read.len())).max(1);
        // A causal model holds the same before the subject, with noise and without: there is nothing to put back.
        let tokens: Vec<usize> = (self.first..self.read.len()).collect();
        let layers = self.layers();
        let jobs: Vec<(usize, &[usize])> = (0..layers)
            .flat_map(|layer| tokens.chunks(at_once).map(move |tokens| (layer, tokens)))
            .collect();
        let done = AtomicUsize::new(0);
        let rows = in_parallel(self.model.threads(), &jobs, |(layer, tokens)| {
            let sets: Vec<Vec<usize>> = tokens.iter().map(|token| vec![*token]).collect();
            let found = self.restored_each(&sets, self.settings.around(*layer, layers));
            let so_far = done.fetch_add(tokens.len(), Ordering::Relaxed) + tokens.len();
            progress(so_far, layers * (self.read.len() - self.first));
            found
        })?;
        let nothing = Estimate::of(&vec![0.0; self.settings.samples]);
        let mut effects = vec![vec![nothing; self.read.len()]; layers];
        for ((layer, tokens), rows) in jobs.iter().zip(rows) {
            for (token, probabilities) in tokens.iter().zip(rows) {
                let pairs = probabilities.iter().zip(&self.corrupted);
                let draws: Vec<f64> = pairs.map(|(with, without)| with - without).collect();
                effects[*layer][*token] = Estimate::of(&draws);
            }
        }
        Ok(Map { effects })
    }

    /// For each set of tokens, the probability under each draw.
    fn restored_each(
        &self,
        sets: &[Vec<usize>],
        layers: Range<usize>,
    ) -> Result<Vec<Vec<f64>>, TraceError> {
        let mask = self.mask(sets);
        let put_back = |x: Tensor<3>, layer: usize| {
            let clean = self.clean[layer].clone().expand(x.dims());
            x.mask_where(mask.clone(), clean)
        };
        let kind = self.settings.kind;
        let begin = layers.start.min(self.layers());
        let mut x = self.noisy[begin].clone().repeat_dim(0, sets.len());
        for layer in begin..self.layers() {
            let within = layers.contains(&layer);
            if within && kind == Kind::State && layer == begin {
                // What was put back first stands after a layer that had run with nothing put back.
                x = put_back(
                    self.noisy[layer + 1].clone().repeat_dim(0, sets.len()),
                    layer,
                );
                continue;
            }
            let block = self.block(layer)?;
            let mut add = block.attention(x.clone(), &self.positions);
            if within && kind == Kind::Attention {
                add = put_back(add, layer);
            }
            x = x + add;
            let mut add = block.mlp(x.clone());
            if within && kind == Kind::Mlp {
                add = put_back(add, layer);
            }
            x = x + add;
            if within && kind == Kind::State {
                x = put_back(x, layer);
            }
        }
        let all = self.probabilities(x)?;
        let rows = all.chunks_exact(self.settings.samples);
        Ok(rows.map(<[f64]>::to_vec).collect())
    }

    /// Where something is put back: (sets * samples, tokens, hidden).
    fn mask(&self, sets: &[Vec<usize>]) -> Tensor<3, Bool> {
        let (samples, tokens) = (self.settings.samples, self.read.len());
        let rows = sets.iter().flat_map(|set| {
            let row: Vec<bool> = (0..tokens).map(|token| set.contains(&token)).collect();
            row.repeat(samples)
        });
        let shape = [sets.len() * samples, tokens, 1];
        let data = TensorData::new(rows.collect::<Vec<bool>>(), shape);
        let hidden = self.model.config().hidden_size;
        Tensor::<3, Bool>::from_data(data, self.model.device()).expand([shape[0], tokens, hidden])
    }

    /// The answer's probability in each row of a batch of streams.
    fn probabilities(&self, x: Tensor<3>) -> Result<Vec<f64>, TraceError> {
        let [batch, tokens, hidden] = x.dims();
        let asked = self.answer.len();
        let rows = x.narrow(1, tokens - asked, asked);
        let logits = self.model.head(rows.reshape([batch * asked, hidden]));
        let expected: Vec<i32> = self.answer.iter().map(|id| *id as i32).collect();
        let expected = TensorData::new(expected.repeat(batch), [batch * asked, 1]);
        let expected = Tensor::<2, Int>::from_data(expected, (self.model.device(), DType::I32));
        let logprobs = read_floats(log_softmax(logits, 1).gather(1, expected))?;
        let sum = |row: &[f32]| row.iter().map(|logprob| f64::from(*logprob)).sum::<f64>();
        Ok(logprobs
            .chunks_exact(asked)
            .map(|row| sum(row).exp())
            .collect())
    }

    fn block(&self, layer: usize) -> Result<&Block, DenseError> {
        let block = self.model.block(layer);
        block.ok_or(DenseError::NotLoaded { layer })
    }
}

/// The token that the model holds likeliest after a prompt.
///
/// # Errors
/// The prompt is empty, an id is past the vocabulary, or the device failed.
pub fn likeliest(model: &Dense, prompt: &[u32]) -> Result<u32, TraceError> {
    let logits = model.logits(&[prompt])?.remove(0);
    let best = (0..logits.len()).max_by(|a, b| logits[*a].total_cmp(&logits[*b]));
    Ok(best.unwrap_or_default() as u32)
}
