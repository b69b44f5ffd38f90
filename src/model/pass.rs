//! In: token ids and a position on the device. Out: logits on the device. One pass over the layers of a plan.

use burn::tensor::{DType, Device, Int, Tensor};

use super::{Llama, float_tensor, word_tensor};
use crate::config::LlamaConfig;
use crate::kernels::argmax::{argmax, slices};
use crate::kernels::argmax_join::argmax_join;
use crate::kernels::attention::{Heads, attention, attention_combine};
use crate::kernels::embed::embed;
use crate::kernels::linear::Epilogue;
use crate::kernels::rms_norm::{Rows, rms_norm};
use crate::kernels::rope_cache::rope_cache;
use crate::kernels::{Feedback, FloatSlot, IntSlot, RING, Slot};

/// The keys and values of every token so far, for the layers of one plan. Allocated once, for `context` positions.
#[derive(Debug)]
pub struct Cache {
    layers: Vec<(FloatSlot<3>, FloatSlot<3>)>,
    /// Cosine and sine by position: made in f64, because a shader's own sine is good to three digits only.
    rotations: Tensor<1>,
    heads: Heads,
}

impl Cache {
    /// An empty cache for `layers` layers and `context` positions.
    pub fn new(config: &LlamaConfig, layers: usize, context: usize, device: &Device) -> Self {
        let heads = Heads {
            heads: config.heads,
            kv_heads: config.kv_heads,
            head_dim: config.head_dim,
            context,
        };
        let shape = [config.kv_heads, context, config.head_dim];
        let frequencies = config.rope.inverse_frequencies(config.head_dim);
        let mut rotations = Vec::with_capacity(context * config.head_dim);
        for position in 0..context {
            for frequency in &frequencies {
                let (sine, cosine) = (position as f64 * frequency).sin_cos();
                rotations.extend([cosine as f32, sine as f32]);
            }
        }
        Self {
            layers: (0..layers)
                .map(|_| (slot(shape, device), slot(shape, device)))
                .collect(),
            rotations: float_tensor(rotations, device),
            heads,
        }
    }

    /// Bytes of such a cache: rotations and, for each layer, keys and values.
    pub fn bytes_for(config: &LlamaConfig, layers: usize, context: usize) -> u64 {
        let tensors = 2 * config.kv_heads as u64 * layers as u64 + 1;
        (4 * context as u64 * config.head_dim as u64).saturating_mul(tensors)
    }

    /// Bytes of its largest tensor: the keys, or the values, of one layer.
    pub fn largest_tensor_bytes(config: &LlamaConfig, context: usize) -> u64 {
        4 * (config.kv_heads * context * config.head_dim) as u64
    }

    /// Positions that it holds.
    pub fn context(&self) -> usize {
        self.heads.context
    }

    /// Bytes on the device.
    pub fn bytes(&self) -> usize {
        let h = self.heads;
        4 * h.context * h.head_dim * (2 * h.kv_heads * self.layers.len() + 1)
    }
}

/// What a pass writes between the embedding and the logits, for passes of a fixed number of rows.
#[derive(Debug)]
pub struct Workspace {
    residual: FloatSlot<2>,
    normed: FloatSlot<2>,
    qkv: FloatSlot<2>,
    partials: FloatSlot<2>,
    attended: FloatSlot<2>,
    mlp: FloatSlot<2>,
    last: FloatSlot<2>,
    /// Row 0 after [`Llama::finish`]; every row after [`Llama::score`].
    logits: FloatSlot<2>,
    /// The best token of each slice of the vocabulary, and its value.
    best: IntSlot<1>,
    bytes: usize,
}

impl Workspace {
    /// Room for passes of `rows` rows, of which `logit_rows` reach the head.
    pub fn new(
        config: &LlamaConfig,
        context: usize,
        rows: usize,
        logit_rows: usize,
        device: &Device,
    ) -> Self {
        let heads = Heads {
            heads: config.heads,
            kv_heads: config.kv_heads,
            head_dim: config.head_dim,
            context,
        };
        let qkv = (config.heads + 2 * config.kv_heads) * config.head_dim;
        let shapes = [
            [rows, config.hidden_size],
            [rows, config.hidden_size],
            [rows, qkv],
            heads.partials_shape(rows),
            [rows, config.heads * config.head_dim],
            [rows, config.intermediate_size],
            [1, config.hidden_size],
            [logit_rows, config.vocab_size],
        ];
        let [residual, normed, qkv, partials, attended, mlp, last, logits] =
            shapes.map(|shape| slot(shape, device));
        let best_words = 2 * slices(config.vocab_size);
        let bytes = 4 * (shapes.iter().map(|[a, b]| a * b).sum::<usize>() + best_words);
        Self {
            residual,
            normed,
            qkv,
            partials,
            attended,
            mlp,
            last,
            logits,
            best: Slot::new(word_tensor(vec![0; best_words], device)),
            bytes,
        }
    }

    /// Logits of the last [`Llama::finish`] or [`Llama::score`]. (logit rows, vocabulary)
    pub fn logits(&self) -> Tensor<2> {
        self.logits.read()
    }

    /// Bytes on the device.
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

/// The few words that steer a pass: read and written on the device, so that a captured graph never changes.
#[derive(Debug)]
pub struct Control {
    /// Inputs of the pass. (rows)
    pub ids: IntSlot<1>,
    /// Position of the first row, rows of the pass. (2)
    pub step: IntSlot<1>,
    /// Workgroups of the next decode step's attention. (3)
    pub grid: IntSlot<1>,
    /// The token at position p lies at p % [`RING`]. ([`RING`])
    pub history: IntSlot<1>,
    /// [`sampling_words`](crate::kernels::argmax::sampling_words): the likeliest token, until others are written. (3)
    pub sampling: IntSlot<1>,
}

impl Control {
    /// Control words for passes of up to `rows` rows, at position 0.
    pub fn new(config: &LlamaConfig, rows: usize, device: &Device) -> Self {
        let words = |words: Vec<u32>| Slot::new(word_tensor(words, device));
        Self {
            ids: words(vec![0; rows]),
            step: words(vec![0, 1]),
            grid: words(vec![config.kv_heads as u32, 1, 1]),
            history: words(vec![0; RING]),
            sampling: words(vec![0; 3]),
        }
    }
}

impl Llama {
    /// Runs `layers` over the ids in `control`: fills the cache and leaves the residual stream in `work`.
    pub fn body(
        &self,
        layers: &[usize],
        control: &Control,
        work: &mut Workspace,
        cache: &mut Cache,
    ) {
        let epsilon = self.config.rms_norm_eps;
        let heads = cache.heads;
        let step = || control.step.read();
        work.residual
            .update(|out| embed(control.ids.read(), &self.embedding.matrix(), out, step()));
        for (&index, (keys, values)) in layers.iter().zip(&mut cache.layers) {
            let layer = &self.layers[index];
            normalise(&layer.attention_norm.val(), work, step(), epsilon);
            let normed = work.normed.read();
            work.qkv
                .update(|out| layer.qkv.forward(normed, out, step(), Epilogue::Store));
            let rotations = cache.rotations.clone();
            let rotated = rope_cache(
                work.qkv.take(),
                rotations,
                keys.take(),
                values.take(),
                step(),
                heads,
            );
            work.qkv.put(rotated.0);
            keys.put(rotated.1);
            values.put(rotated.2);
            let qkv = work.qkv.read();
            work.partials.update(|out| {
                attention(
                    qkv,
                    keys.read(),
                    values.read(),
                    out,
                    step(),
                    control.grid.read(),
                    heads,
                )
            });
            let partials = work.partials.read();
            work.attended
                .update(|out| attention_combine(partials, out, step(), heads));
            let attended = work.attended.read();
            work.residual.update(|out| {
                layer
                    .output
                    .forward(attended, out, step(), Epilogue::Residual)
            });
            normalise(&layer.mlp_norm.val(), work, step(), epsilon);
            let normed = work.normed.read();
            work.mlp
                .update(|out| layer.gate_up.forward(normed, out, step(), Epilogue::SwiGlu));
            let mlp = work.mlp.read();
            work.residual
                .update(|out| layer.down.forward(mlp, out, step(), Epilogue::Residual));
        }
    }

    /// Takes the last row of the residual stream in `from` to logits, picks the likeliest token and moves the step on.
    pub fn finish(
        &self,
        control: &mut Control,
        from: &Workspace,
        work: &mut Workspace,
        cache: &Cache,
    ) {
        let last = from.residual.read();
        self.finish_row(last, control, work, cache);
    }

    /// [`Llama::finish`] for a workspace that also ran the body.
    pub fn finish_own(&self, control: &mut Control, work: &mut Workspace, cache: &Cache) {
        let last = work.residual.read();
        self.finish_row(last, control, work, cache);
    }

    fn finish_row(
        &self,
        residual: Tensor<2>,
        control: &mut Control,
        work: &mut Workspace,
        cache: &Cache,
    ) {
        let gamma = self.norm.val();
        let epsilon = self.config.rms_norm_eps;
        work.last.update(|out| {
            rms_norm(
                residual,
                gamma,
                out,
                control.step.read(),
                epsilon,
                Rows::Last,
            )
        });
        let last = work.last.read();
        work.logits.update(|out| {
            self.head()
                .forward(last, out, control.step.read(), Epilogue::Store)
        });
        let logits = work.logits.read();
        work.best
            .update(|out| argmax(logits, control.sampling.read(), control.step.read(), out));
        let feedback = Feedback {
            ids: control.ids.take(),
            step: control.step.take(),
            grid: control.grid.take(),
            history: control.history.take(),
        };
        let feedback = argmax_join(work.best.read(), feedback, cache.heads);
        control.ids.put(feedback.ids);
        control.step.put(feedback.step);
        control.grid.put(feedback.grid);
        control.history.put(feedback.history);
    }

    /// Takes every row of the residual stream to logits; nothing is picked. For measuring.
    pub fn score(&self, control: &Control, work: &mut Workspace) {
        normalise(
            &self.norm.val(),
            work,
            control.step.read(),
            self.config.rms_norm_eps,
        );
        let normed = work.normed.read();
        work.logits.update(|out| {
            self.head()
                .forward(normed, out, control.step.read(), Epilogue::Store)
        });
    }
}

fn normalise(gamma: &Tensor<1>, work: &mut Workspace, step: Tensor<1, Int>, epsilon: f32) {
    let residual = work.residual.read();
    work.normed
        .update(|out| rms_norm(residual, gamma.clone(), out, step, epsilon, Rows::Each));
}

/// Room on the device. Nothing reads it before an op has written it.
fn slot<const D: usize>(shape: [usize; D], device: &Device) -> FloatSlot<D> {
    Slot::new(
        device.memory_persistent_allocations(shape, |shape| {
            Tensor::empty(shape, (device, DType::F32))
        }),
    )
}
