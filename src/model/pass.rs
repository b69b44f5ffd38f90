//! In: token ids and a position on the device. Out: logits on the device. One pass over the layers of a plan.

use std::ops::Range;

use burn::tensor::{DType, Device, Int, Tensor};

use super::{Layer, Llama, float_tensor, word_tensor};
use crate::config::LlamaConfig;
use crate::kernels::argmax_join::argmax_join;
use crate::kernels::attention::{Heads, attention, attention_combine, split_count};
use crate::kernels::candidates::{LIST_WORDS, PARTIAL_WORDS};
use crate::kernels::candidates_join::candidates_join;
use crate::kernels::embed::embed;
use crate::kernels::linear::{Epilogue, Input, Linear, Rows, linear, normed_shape};
use crate::kernels::linear_qkv::{Qkv, QkvOutputs, linear_qkv};
use crate::kernels::linear_residual::linear_residual;
use crate::kernels::{Feedback, FloatSlot, IntSlot, RING, Slot, Variant, argmax, candidates};
use crate::plan::LanePlan;

/// The keys and values of every token so far, for the layers of one plan. Allocated once, for `context` positions.
#[derive(Debug)]
pub struct Cache {
    layers: Vec<(IntSlot<1>, IntSlot<1>)>,
    /// Cosine and sine by position: made in f64, because a shader's own sine is good to three digits only.
    rotations: Tensor<1>,
    heads: Heads,
    variant: Variant,
}

impl Cache {
    /// An empty cache for `layers` attentions and `context` positions.
    pub fn new(
        config: &LlamaConfig,
        layers: usize,
        context: usize,
        variant: Variant,
        device: &Device,
    ) -> Self {
        let heads = heads(config, context);
        let words = variant
            .cache
            .words(config.kv_heads * context * config.head_dim);
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
                .map(|_| (words_slot(words, device), words_slot(words, device)))
                .collect(),
            rotations: float_tensor(rotations, device),
            heads,
            variant,
        }
    }

    /// Makes room for plans of more attentions.
    pub fn grow(&mut self, layers: usize, device: &Device) {
        let h = self.heads;
        let words = (self.variant.cache).words(h.kv_heads * h.context * h.head_dim);
        while self.layers.len() < layers {
            let room = (words_slot(words, device), words_slot(words, device));
            self.layers.push(room);
        }
    }

    /// Bytes of such a cache at most, which is in f32: rotations and, for each layer, keys and values.
    pub fn bytes_for(config: &LlamaConfig, layers: usize, context: usize) -> u64 {
        let tensors = 2 * config.kv_heads as u64 * layers as u64 + 1;
        (4 * context as u64 * config.head_dim as u64).saturating_mul(tensors)
    }

    /// Bytes of its largest tensor: the keys, or the values, of one layer.
    pub fn largest_tensor_bytes(config: &LlamaConfig, context: usize) -> u64 {
        4 * (config.kv_heads * context * config.head_dim) as u64
    }

    /// Workgroups of a decode step's attention over `visible` positions, as the device counts them itself.
    pub fn grid(&self, visible: usize) -> [u32; 3] {
        let splits = split_count(visible, self.heads, self.heads.max_splits(1));
        [self.heads.kv_heads as u32, splits as u32, 1]
    }

    /// Positions that it holds.
    pub fn context(&self) -> usize {
        self.heads.context
    }

    /// Bytes on the device.
    pub fn bytes(&self) -> usize {
        let h = self.heads;
        let words = self
            .variant
            .cache
            .words(h.kv_heads * h.context * h.head_dim);
        4 * (2 * self.layers.len() * words + h.context * h.head_dim)
    }
}

/// What a pass writes between the embedding and the logits, for passes of a fixed number of rows.
#[derive(Debug)]
pub struct Workspace {
    residual: FloatSlot<2>,
    /// The residual stream as the next RMSNorm's product takes it.
    normed: FloatSlot<2>,
    queries: FloatSlot<2>,
    partials: FloatSlot<2>,
    attended: FloatSlot<2>,
    mlp: FloatSlot<2>,
    bytes: usize,
}

impl Workspace {
    /// Room for passes of `rows` rows.
    pub fn new(config: &LlamaConfig, context: usize, rows: usize, device: &Device) -> Self {
        let attention = config.heads * config.head_dim;
        let shapes = [
            [rows, config.hidden_size],
            normed_shape(rows, config.hidden_size),
            [rows, attention],
            heads(config, context).partials_shape(rows),
            [rows, attention],
            [rows, config.intermediate_size],
        ];
        let [residual, normed, queries, partials, attended, mlp] =
            shapes.map(|shape| slot(shape, device));
        let bytes = 4 * shapes.iter().map(|[a, b]| a * b).sum::<usize>();
        Self {
            residual,
            normed,
            queries,
            partials,
            attended,
            mlp,
            bytes,
        }
    }

    /// The residual stream that the last pass left. (rows, hidden_size)
    pub fn residual(&self) -> Tensor<2> {
        self.residual.read()
    }

    /// Bytes on the device.
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

/// What the head writes.
#[derive(Debug)]
pub struct HeadWork {
    /// Row 0 after [`Llama::finish`]; every row after [`Llama::score`] and [`Llama::verify`].
    logits: FloatSlot<2>,
    /// The best token of each slice of the vocabulary, and its value; by row after [`Llama::verify`].
    best: IntSlot<1>,
    /// The candidates of each slice, and of the whole vocabulary.
    partials: IntSlot<1>,
    list: IntSlot<1>,
    bytes: usize,
}

impl HeadWork {
    /// Room for `rows` rows of logits.
    pub fn new(config: &LlamaConfig, rows: usize, device: &Device) -> Self {
        let vocabulary = config.vocab_size;
        let best = 2 * rows * argmax::slices(vocabulary);
        let partials = candidates::slices(vocabulary) * PARTIAL_WORDS;
        Self {
            logits: slot([rows, vocabulary], device),
            best: words_slot(best, device),
            partials: words_slot(partials, device),
            list: words_slot(LIST_WORDS, device),
            bytes: 4 * (rows * vocabulary + best + partials + LIST_WORDS),
        }
    }

    /// Logits of the last [`Llama::finish`] or [`Llama::score`]. (rows, vocabulary)
    pub fn logits(&self) -> Tensor<2> {
        self.logits.read()
    }

    /// What [`Llama::verify`] found: [`argmax::argmax_rows`].
    pub fn best(&self) -> Tensor<1, Int> {
        self.best.read()
    }

    /// Words of the candidates of the last [`Llama::finish`] that kept any: see [`candidates::Candidates::from_words`].
    pub fn candidates(&self) -> Tensor<1, Int> {
        self.list.read()
    }

    /// Bytes on the device.
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

/// How the token after a pass is chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pick {
    /// On the device: the likeliest, or a draw at the temperature that lies in the control words.
    Device,
    /// The likeliest, and candidates for a sampler, whose choice takes its place.
    Candidates,
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

    /// Bytes on the device.
    pub fn bytes(&self) -> usize {
        let words = [
            &self.ids,
            &self.step,
            &self.grid,
            &self.history,
            &self.sampling,
        ];
        let words = words.map(|slot| slot.read().shape().num_elements());
        4 * words.iter().sum::<usize>()
    }
}

/// Half of a layer: what is added to the residual stream at once.
enum Sublayer<'m> {
    Attention(&'m Layer),
    Mlp(&'m Layer),
}

impl Sublayer<'_> {
    fn norm(&self) -> Tensor<1> {
        match self {
            Self::Attention(layer) => layer.attention_norm.val(),
            Self::Mlp(layer) => layer.mlp_norm.val(),
        }
    }
}

impl Llama {
    /// Runs a plan's sublayers over the ids in `control`: fills the cache and leaves the residual stream in `work`.
    pub fn body(
        &self,
        plan: &LanePlan,
        control: &Control,
        work: &mut Workspace,
        cache: &mut Cache,
    ) {
        let all = self.sublayers(plan, plan.layers().layers.len());
        self.run(plan, &all, 0..all.len(), control, work, cache);
    }

    /// As [`Llama::body`], from layer `layers.start` of the plan's list on, after a pass that ended there, to before `layers.end`.
    pub fn body_between(
        &self,
        plan: &LanePlan,
        layers: Range<usize>,
        control: &Control,
        work: &mut Workspace,
        cache: &mut Cache,
    ) {
        let all = self.sublayers(plan, plan.layers().layers.len());
        let [first, last] = [layers.start, layers.end].map(|n| self.sublayers(plan, n).len());
        self.run(plan, &all, first..last, control, work, cache);
    }

    /// As [`Llama::body`], over the first `layers` layers alone: their stream is left as the head takes it.
    pub fn body_to(
        &self,
        plan: &LanePlan,
        layers: usize,
        control: &Control,
        work: &mut Workspace,
        cache: &mut Cache,
    ) {
        let some = self.sublayers(plan, layers);
        self.run(plan, &some, 0..some.len(), control, work, cache);
    }

    fn run(
        &self,
        plan: &LanePlan,
        sublayers: &[Sublayer<'_>],
        part: Range<usize>,
        control: &Control,
        work: &mut Workspace,
        cache: &mut Cache,
    ) {
        let step = || control.step.read();
        let variant = cache.variant;
        // Who writes the stream leaves it as the next sublayer's norm, or the head's, takes it.
        let norm_of = |at: usize| {
            let sublayer = sublayers.get(at);
            sublayer.map_or_else(|| self.head(plan).0, Sublayer::norm)
        };
        let vocabulary = self.config.vocab_size;
        let tables = if part.start == 0 { usize::MAX } else { 0 };
        for table in self.embedding.parts().take(tables) {
            let (ids, norm) = (control.ids.read(), norm_of(0));
            work.stream(|residual, normed| {
                embed(ids, &table, residual, norm, normed, step(), vocabulary)
            });
        }
        let is_attention = |sublayer: &&Sublayer| matches!(sublayer, Sublayer::Attention(_));
        let before = sublayers[..part.start].iter().filter(is_attention).count();
        let mut caches = cache.layers.iter_mut().skip(before);
        for (at, sublayer) in sublayers.iter().enumerate().take(part.end).skip(part.start) {
            let (input, weight) = match sublayer {
                Sublayer::Attention(layer) => {
                    let Some(kept) = caches.next() else {
                        break; // made for a plan of fewer attentions
                    };
                    let rotary = (&cache.rotations, cache.heads);
                    self.attend(layer, control, work, kept, rotary, variant);
                    (work.attended.read(), layer.output.matrix())
                }
                Sublayer::Mlp(layer) => {
                    let normed = work.normed.read();
                    let spec = self.normed_product(Rows::Each, Epilogue::SwiGlu, variant);
                    let weight = layer.gate_up.matrix();
                    work.mlp
                        .update(|out| linear(normed, &weight, out, step(), spec));
                    (work.mlp.read(), layer.down.matrix())
                }
            };
            let norm = norm_of(at + 1);
            work.stream(|residual, normed| {
                linear_residual(input, &weight, residual, norm, normed, step(), variant)
            });
        }
    }

    /// The sublayers that a plan's first `layers` layers run, in their order.
    fn sublayers(&self, plan: &LanePlan, layers: usize) -> Vec<Sublayer<'_>> {
        let muted = plan.sublayers();
        let mut sublayers = Vec::new();
        for layer in plan.layers().layers.iter().take(layers) {
            let weights = self.layer(plan, *layer);
            if !muted.mute_attention().contains(layer) {
                sublayers.push(Sublayer::Attention(weights));
            }
            if !muted.mute_mlp().contains(layer) {
                sublayers.push(Sublayer::Mlp(weights));
            }
        }
        sublayers
    }

    /// The attention of one layer, up to its output projection.
    fn attend(
        &self,
        layer: &Layer,
        control: &Control,
        work: &mut Workspace,
        (keys, values): &mut (IntSlot<1>, IntSlot<1>),
        (rotations, heads): (&Tensor<1>, Heads),
        variant: Variant,
    ) {
        let step = || control.step.read();
        let spec = Qkv {
            heads,
            epsilon: self.config.rms_norm_eps,
            variant,
        };
        let outputs = QkvOutputs {
            queries: work.queries.take(),
            keys: keys.take(),
            values: values.take(),
        };
        let normed = work.normed.read();
        let weight = layer.qkv.matrix();
        let outputs = linear_qkv(normed, &weight, rotations.clone(), outputs, step(), spec);
        work.queries.put(outputs.queries);
        keys.put(outputs.keys);
        values.put(outputs.values);
        let queries = work.queries.read();
        work.partials.update(|out| {
            let (keys, values) = (keys.read(), values.read());
            let grid = control.grid.read();
            attention(queries, keys, values, out, step(), grid, heads, variant)
        });
        let partials = work.partials.read();
        work.attended
            .update(|out| attention_combine(partials, out, step(), heads));
    }

    /// Takes the last row of the residual stream in `work` to logits, picks the next token and moves the step on.
    pub fn finish(
        &self,
        plan: &LanePlan,
        control: &mut Control,
        work: &Workspace,
        head: &mut HeadWork,
        cache: &Cache,
        pick: Pick,
    ) {
        let spec = self.normed_product(Rows::Last, Epilogue::Store, cache.variant);
        self.logits(plan, work, head, control, spec);
        let logits = head.logits.read();
        let sampling = control.sampling.read();
        match pick {
            Pick::Device => {
                let step = control.step.read();
                head.best
                    .update(|out| argmax::argmax(logits, sampling, step, out));
                let best = head.best.read();
                control.feed_back(|feedback| argmax_join(best, feedback, cache.heads));
            }
            Pick::Candidates => {
                head.partials
                    .update(|out| candidates::candidates(logits, sampling.clone(), out));
                let partials = head.partials.read();
                let list = head.list.take();
                control.feed_back(|feedback| {
                    let (list, feedback) =
                        candidates_join(partials, sampling, list, feedback, cache.heads);
                    head.list.put(list);
                    feedback
                });
            }
        }
    }

    /// Takes every row of the residual stream to logits; nothing is picked. For measuring.
    pub fn score(
        &self,
        plan: &LanePlan,
        control: &Control,
        work: &Workspace,
        head: &mut HeadWork,
        variant: Variant,
    ) {
        let spec = self.normed_product(Rows::Each, Epilogue::Store, variant);
        self.logits(plan, work, head, control, spec);
    }

    /// Takes every row of the residual stream to logits and picks the token after each; nothing moves on.
    pub fn verify(
        &self,
        plan: &LanePlan,
        control: &Control,
        work: &Workspace,
        head: &mut HeadWork,
        variant: Variant,
    ) {
        self.score(plan, control, work, head, variant);
        let logits = head.logits.read();
        let (sampling, step) = (control.sampling.read(), control.step.read());
        head.best
            .update(|out| argmax::argmax_rows(logits, sampling, step, out));
    }

    /// The head, part by part.
    fn logits(
        &self,
        plan: &LanePlan,
        work: &Workspace,
        head: &mut HeadWork,
        control: &Control,
        spec: Linear,
    ) {
        for weight in self.head(plan).1.parts() {
            let normed = work.normed.read();
            head.logits
                .update(|out| linear(normed, &weight, out, control.step.read(), spec));
        }
    }

    /// A product of the normed residual stream.
    fn normed_product(&self, rows: Rows, epilogue: Epilogue, variant: Variant) -> Linear {
        Linear {
            input: Input::Normed {
                epsilon: self.config.rms_norm_eps,
            },
            rows,
            epilogue,
            variant,
        }
    }
}

impl Control {
    /// Hands what a pick changes to an op and keeps what it gives back.
    fn feed_back(&mut self, op: impl FnOnce(Feedback) -> Feedback) {
        let feedback = op(Feedback {
            ids: self.ids.take(),
            step: self.step.take(),
            grid: self.grid.take(),
            history: self.history.take(),
        });
        self.ids.put(feedback.ids);
        self.step.put(feedback.step);
        self.grid.put(feedback.grid);
        self.history.put(feedback.history);
    }
}

impl Workspace {
    /// Hands the residual stream, plain and normed, to an op and keeps what it gives back.
    fn stream(&mut self, op: impl FnOnce(Tensor<2>, Tensor<2>) -> (Tensor<2>, Tensor<2>)) {
        let (residual, normed) = op(self.residual.take(), self.normed.take());
        self.residual.put(residual);
        self.normed.put(normed);
    }
}

fn heads(config: &LlamaConfig, context: usize) -> Heads {
    Heads {
        heads: config.heads,
        kv_heads: config.kv_heads,
        head_dim: config.head_dim,
        context,
    }
}

/// Room on the device. Nothing reads it before an op has written it.
fn slot<const D: usize>(shape: [usize; D], device: &Device) -> FloatSlot<D> {
    Slot::new(
        device.memory_persistent_allocations(shape, |shape| {
            Tensor::empty(shape, (device, DType::F32))
        }),
    )
}

/// Room for so many words.
fn words_slot(words: usize, device: &Device) -> IntSlot<1> {
    Slot::new(
        device.memory_persistent_allocations([words], |shape| {
            Tensor::empty(shape, (device, DType::U32))
        }),
    )
}
