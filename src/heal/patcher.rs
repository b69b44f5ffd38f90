//! The full model and the cut one, side by side on the calibration text: layers pass, cuts are closed by their patches.

use std::collections::BTreeMap;

use burn::tensor::Tensor;

use super::HealError;
use super::normal::{Normal, Sums};
use super::patch::{Calibration, PatchForm, PatchOptions, Patched, PatchedCut};
use crate::checkpoint::{LayerWeight, Weight};
use crate::dense::{
    Block, Dense, DenseError, DenseSource, Positions, default_threads, in_parallel, is_cpu,
    read_floats, tensor,
};
use crate::plan::LayerPlan;

/// Sequences of one length that run together, and where they are.
struct Stream<'t> {
    ids: Vec<&'t [u32]>,
    held_out: bool,
    /// (sequences, positions, hidden_size) of the full model, after the layers passed.
    full: Vec<f32>,
    /// Of the cut and patched model.
    cut: Vec<f32>,
}

/// Positions that run at once on a core, and on a GPU.
const POSITIONS: (usize, usize) = (1024, 4096);

/// What least squares came to.
struct Fit {
    ridge: f64,
    /// On held-out text: the squared error it leaves, over that of the plain cut.
    error: f64,
    /// To be added to the matrix: (hidden_size, intermediate_size).
    change: Vec<f64>,
}

/// Where the full model and the cut one are, and what was patched so far.
pub(super) struct Patcher<'p, 't> {
    source: &'p dyn DenseSource,
    model: &'p Dense<'p>,
    plan: &'p LayerPlan,
    options: &'p PatchOptions,
    streams: Vec<Stream<'t>>,
    pub(super) patched: Patched,
}

impl<'p, 't> Patcher<'p, 't> {
    /// Embeds the sequences.
    pub(super) fn begin(
        source: &'p dyn DenseSource,
        model: &'p Dense<'p>,
        plan: &'p LayerPlan,
        options: &'p PatchOptions,
        calibration: &'t Calibration,
    ) -> Result<Self, HealError> {
        let mut streams = Vec::new();
        let at_once = match is_cpu(model.device()) {
            true => POSITIONS.0,
            false => POSITIONS.1,
        };
        for (sequences, held_out) in [(&calibration.fit, false), (&calibration.held_out, true)] {
            let mut sorted: Vec<&[u32]> = sequences.iter().map(Vec::as_slice).collect();
            sorted.retain(|ids| ids.len() > 1);
            sorted.sort_by_key(|ids| ids.len());
            for alike in sorted.chunk_by(|a, b| a.len() == b.len()) {
                for ids in alike.chunks((at_once / alike[0].len()).max(1)) {
                    let (x, _) = model.embed(ids)?;
                    let full = read_floats(x)?;
                    streams.push(Stream {
                        ids: ids.to_vec(),
                        held_out,
                        cut: full.clone(),
                        full,
                    });
                }
            }
        }
        Ok(Self {
            source,
            model,
            plan,
            options,
            streams,
            patched: Patched {
                tensors: BTreeMap::new(),
                cuts: Vec::new(),
                loss_before: f64::NAN,
                loss_after: f64::NAN,
            },
        })
    }

    /// Runs a layer: the full model's, and the cut model's where it has it. Where a cut follows, the cut stream stays between
    /// attention and MLP.
    pub(super) fn pass(&mut self, layer: usize, before_cut: bool) -> Result<(), HealError> {
        let block = self.block(layer)?;
        let has_cut = !self.patched.cuts.is_empty();
        let runs = self.plan.layers.contains(&layer);
        let device = self.model.device();
        let passed = in_parallel(default_threads(device), &self.streams, |stream| {
            let (x, positions) = self.on_device(stream, &stream.full);
            let (between, after) = block.streams(x, &positions);
            let full = read_floats(after)?;
            let cut = match (runs, has_cut, before_cut) {
                (false, ..) => None,
                (true, false, false) => Some(full.clone()),
                (true, false, true) => Some(read_floats(between)?),
                (true, true, _) => {
                    let (x, positions) = self.on_device(stream, &stream.cut);
                    let (between, after) = block.streams(x, &positions);
                    Some(read_floats(if before_cut { between } else { after })?)
                }
            };
            Ok::<_, DenseError>((full, cut))
        })?;
        for (stream, (full, cut)) in self.streams.iter_mut().zip(passed) {
            stream.full = full;
            if let Some(cut) = cut {
                stream.cut = cut;
            }
        }
        Ok(())
    }

    /// Fits, chooses and lays in the patch of the cut between `layer` and the layer after `last`.
    pub(super) fn close(&mut self, layer: usize, last: usize) -> Result<(), HealError> {
        let block = self.block(layer)?;
        let down = self.source.layer(layer)?.down;
        let fit = self.fit(&block, &down, last)?;
        let before = match self.patched.cuts.last() {
            Some(cut) => cut.loss,
            None => self.loss(&block, last)?,
        };
        if self.patched.cuts.is_empty() {
            self.patched.loss_before = before;
        }
        let mut chosen = (before, 0.0, block.clone(), None);
        // A fit that makes the error no less on text it was not made on is of that text's noise.
        let strengths = self.options.strengths.iter().filter(|_| fit.error < 1.0);
        for &strength in strengths {
            let changed = down.iter().zip(&fit.change);
            let changed = changed.map(|(w, z)| (f64::from(*w) + strength * z) as f32);
            let changed: Vec<f32> = changed.collect();
            let block = block.with_down(changed.clone());
            let loss = self.loss(&block, last)?;
            if loss < chosen.0 {
                chosen = (loss, strength, block, Some(changed));
            }
        }
        let (loss, strength, block, changed) = chosen;
        if let Some(changed) = changed {
            let weight = Weight::Layer(layer, LayerWeight::Down);
            self.patched.tensors.insert(weight, changed);
        }
        self.patched.cuts.push(PatchedCut {
            layer,
            dropped: last - layer,
            ridge: fit.ridge,
            strength,
            error: fit.error,
            loss,
        });
        self.patched.loss_after = loss;
        self.lay_in(&block)
    }

    /// The change of `down`, (hidden_size, intermediate_size), with the ridge whose error is least on held-out text.
    fn fit(&self, block: &Block, down: &[f32], last: usize) -> Result<Fit, HealError> {
        let config = self.source.config();
        let (hidden, intermediate) = (config.hidden_size, config.intermediate_size);
        let [fitted, held_out] = self.equations(block)?;
        if !fitted.is_finite() || !held_out.is_finite() {
            return Err(HealError::NonFinite { layer: last });
        }
        let solved = self.options.ridges.iter().filter_map(|ridge| {
            let z = fitted.solve(*ridge)?;
            Some((*ridge, held_out.error(&z), z))
        });
        let best = solved.min_by(|(_, a, _), (_, b, _)| a.total_cmp(b));
        let (ridge, error, z) = best.ok_or(HealError::NonFinite { layer: last })?;
        let change = match self.options.form {
            PatchForm::Map => times(&z, down, hidden, intermediate),
            PatchForm::Down => transposed(&z, intermediate, hidden),
        };
        Ok(Fit {
            ridge,
            error,
            change,
        })
    }

    /// The normal equations of the text to be fitted, and of that held out.
    fn equations(&self, block: &Block) -> Result<[Normal; 2], HealError> {
        let config = self.source.config();
        let features = match self.options.form {
            PatchForm::Map => config.hidden_size,
            PatchForm::Down => config.intermediate_size,
        };
        let mut both = [false; 2].map(|_| Normal::new(features, config.hidden_size));
        let threads = default_threads(self.model.device());
        // As many products as there are cores stand in memory, and they are added in the text's order: the same sums every time.
        for streams in self.streams.chunks(threads) {
            let sums = in_parallel(threads, streams, |stream| self.sums(block, stream))?;
            for (stream, sums) in streams.iter().zip(sums) {
                both[usize::from(stream.held_out)].add(&sums);
            }
        }
        Ok(both)
    }

    fn sums(&self, block: &Block, stream: &Stream) -> Result<Sums, DenseError> {
        let (between, _) = self.on_device(stream, &stream.cut);
        let (full, _) = self.on_device(stream, &stream.full);
        let [sequences, positions, hidden] = full.dims();
        let rows = [sequences * positions, hidden];
        let added = block.mlp(between.clone()).reshape(rows);
        let full = full.reshape(rows);
        let wanted = full.clone() - between.clone().reshape(rows) - added.clone();
        let features = match self.options.form {
            PatchForm::Map => added,
            PatchForm::Down => block.gated(between),
        };
        let weight = full.square().sum_dim(1).sqrt().recip();
        let (features, wanted) = (features * weight.clone(), wanted * weight);
        let turned = features.clone().transpose();
        let squares = read_floats(wanted.clone().square().sum_dim(1))?;
        Ok(Sums {
            gram: read_floats(turned.clone().matmul(features))?,
            cross: read_floats(turned.matmul(wanted))?,
            energy: squares.into_iter().map(f64::from).sum(),
        })
    }

    /// Nats a token of the held-out text with `block` before the cut that ends with `last`.
    fn loss(&self, block: &Block, last: usize) -> Result<f64, HealError> {
        let held_out: Vec<&Stream> = self.streams.iter().filter(|s| s.held_out).collect();
        let rest = self.plan.layers.iter().filter(|layer| **layer > last);
        let rest: Vec<&Block> = rest.filter_map(|layer| self.model.block(*layer)).collect();
        let threads = default_threads(self.model.device());
        let nats = in_parallel(threads, &held_out, |stream| {
            let (between, positions) = self.on_device(stream, &stream.cut);
            let mut x = between.clone() + block.mlp(between);
            for block in &rest {
                x = block.forward(x, &positions);
            }
            self.model.nats_of(x, &stream.ids)
        })?;
        let predictions = held_out.iter().flat_map(|stream| &stream.ids);
        let predictions: usize = predictions.map(|ids| ids.len() - 1).sum();
        Ok(nats.into_iter().sum::<f64>() / predictions as f64)
    }

    /// The cut stream goes on through the MLP of the layer as it now is.
    fn lay_in(&mut self, block: &Block) -> Result<(), HealError> {
        let threads = default_threads(self.model.device());
        let after = in_parallel(threads, &self.streams, |stream| {
            let (between, _) = self.on_device(stream, &stream.cut);
            read_floats(between.clone() + block.mlp(between))
        })?;
        for (stream, after) in self.streams.iter_mut().zip(after) {
            stream.cut = after;
        }
        Ok(())
    }

    fn block(&self, layer: usize) -> Result<Block, DenseError> {
        let block = self.model.block(layer).cloned();
        block.ok_or(DenseError::NotLoaded { layer })
    }

    fn on_device(&self, stream: &Stream, values: &[f32]) -> (Tensor<3>, Positions) {
        let (config, device) = (self.source.config(), self.model.device());
        let positions = stream.ids.first().map_or(0, |ids| ids.len());
        let shape = [stream.ids.len(), positions, config.hidden_size];
        let positions = Positions::new(config, positions, device);
        (tensor(values.to_vec(), shape, device), positions)
    }
}

/// Z' W, of Z (hidden, hidden) and W (hidden, cols).
fn times(z: &[f64], w: &[f32], hidden: usize, cols: usize) -> Vec<f64> {
    let mut product = vec![0.0; hidden * cols];
    for (z, w) in z.chunks_exact(hidden).zip(w.chunks_exact(cols)) {
        for (z, product) in z.iter().zip(product.chunks_exact_mut(cols)) {
            for (product, w) in product.iter_mut().zip(w) {
                *product += z * f64::from(*w);
            }
        }
    }
    product
}

fn transposed(z: &[f64], rows: usize, cols: usize) -> Vec<f64> {
    let at = |index: usize| z[index % rows * cols + index / rows];
    (0..rows * cols).map(at).collect()
}
