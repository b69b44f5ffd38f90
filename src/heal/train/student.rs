//! In: the layers that run, what of them is trained. Out: the stream layer by layer, and from the gradient of a layer's output those
//! of its input and of what is trained in it.
//!
//! Every layer is a graph of its own, so that its activations can be kept or made again, and so that threads share no node.

use std::collections::BTreeMap;

use burn::tensor::{DType, Device, Tensor, TensorData};

use super::settings::{Base, LowRank, Settings};
use crate::checkpoint::{LayerWeight, Weight};
use crate::config::LlamaConfig;
use crate::dense::{
    Dense, DenseError, DenseSource, Heads, Positions, Weights, attention, mlp, read_floats, tensor,
};
use crate::draws::SplitMix;
use crate::heal::HealError;
use crate::quant::{Format, Packed};
use crate::weights::WeightsError;

/// What is trained: a weight of the model, or a factor of a low-rank change of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Parameter {
    /// The weight itself; a norm is one row.
    Whole(Weight),
    /// (rank, in).
    A(usize, LayerWeight),
    /// (out, rank).
    B(usize, LayerWeight),
}

/// A tensor for each of some parameters: values, gradients or moments.
pub(super) type Values = BTreeMap<Parameter, Tensor<2>>;

/// The model that learns.
pub(super) struct Student {
    /// The layers that run, in the numbers of the model that was never cut.
    pub(super) layers: Vec<usize>,
    pub(super) values: Values,
    frozen: BTreeMap<Weight, Tensor<2>>,
    /// The head's rows, some to a tensor; empty where the head is trained.
    head: Vec<Tensor<2>>,
    low_rank: Option<LowRank>,
    heads: Heads,
    eps: f32,
}

/// Which inputs of the adapters are dropped: the same in every run of the same piece of the same step.
#[derive(Clone, Copy, Debug)]
pub(super) struct Draw(pub(super) u64);

/// One layer's run, kept for the way back.
pub(super) struct Segment {
    input: Tensor<3>,
    output: Tensor<3>,
    leaves: Values,
}

/// Floats of one piece of the head on the device; a driver may bind no more than 128 MiB at once.
const HEAD_PIECE: usize = 1 << 24;

impl Student {
    /// Reads the layers that run. `source` is what healing begins with; `resident` what of it is on the device already.
    pub(super) fn load(
        source: &dyn DenseSource,
        layers: &[usize],
        settings: &Settings,
        resident: Option<&Dense>,
        device: &Device,
    ) -> Result<Self, HealError> {
        let config = source.config();
        let mut student = Self {
            layers: layers.to_vec(),
            values: Values::new(),
            frozen: BTreeMap::new(),
            head: Vec::new(),
            low_rank: settings.low_rank.clone(),
            heads: Heads::new(config),
            eps: config.rms_norm_eps,
        };
        let trained = settings.trained_layers(layers, config.layers);
        for (place, &layer) in layers.iter().enumerate() {
            let values = match resident.and_then(|dense| dense.block(layer)) {
                Some(block) => LayerWeight::ALL.map(|part| block.weight(part)).to_vec(),
                None => read_layer(source, layer, settings.base, device)?,
            };
            for (part, values) in LayerWeight::ALL.into_iter().zip(values) {
                let weight = Weight::Layer(layer, part);
                match trained.contains(&place) {
                    true => student.values.insert(Parameter::Whole(weight), values),
                    false => student.frozen.insert(weight, values),
                };
            }
        }
        let norm = tensor(source.final_norm()?, [1, config.hidden_size], device);
        if settings.head {
            let head = tensor(
                source.head(0..config.vocab_size)?,
                [config.vocab_size, config.hidden_size],
                device,
            );
            let head = [(Weight::FinalNorm, norm), (Weight::Head, head)];
            let head = head.map(|(weight, values)| (Parameter::Whole(weight), values));
            student.values.extend(head);
        } else {
            student.frozen.insert(Weight::FinalNorm, norm);
            student.head = head_pieces(source, device)?;
        }
        student.add_factors(config, settings, device);
        Ok(student)
    }

    /// A is drawn evenly from within 1 / sqrt(in), as PEFT draws it; B is zero, so that nothing is changed yet.
    fn add_factors(&mut self, config: &LlamaConfig, settings: &Settings, device: &Device) {
        let Some(low_rank) = &settings.low_rank else {
            return;
        };
        let mut random = SplitMix(settings.seed ^ 0x4c6f_5241);
        for &layer in &self.layers {
            for &part in &low_rank.targets {
                let (rows, cols) = part.shape(config);
                let bound = (cols as f64).powf(-0.5);
                let mut draw = || {
                    let unit = (random.next() >> 11) as f64 * 2.0_f64.powi(-53);
                    ((2.0 * unit - 1.0) * bound) as f32
                };
                let a = (0..low_rank.rank * cols).map(|_| draw()).collect();
                let a = tensor(a, [low_rank.rank, cols], device);
                let b = tensor(
                    vec![0.0; rows * low_rank.rank],
                    [rows, low_rank.rank],
                    device,
                );
                self.values.insert(Parameter::A(layer, part), a);
                self.values.insert(Parameter::B(layer, part), b);
            }
        }
    }

    /// By place: whether anything of the layer is trained.
    pub(super) fn learns(&self, place: usize) -> bool {
        let layer = self.layers[place];
        self.values
            .keys()
            .any(|parameter| parameter.layer() == Some(layer))
    }

    /// Runs a layer, nothing kept.
    pub(super) fn forward(
        &self,
        place: usize,
        x: Tensor<3>,
        positions: &Positions,
        draw: Option<Draw>,
    ) -> Tensor<3> {
        let leaves = self.leaves(place);
        self.run(place, &leaves, x, positions, draw)
    }

    /// Runs a layer and keeps what its way back needs. `reaches_input`: whether the gradient of the input will be asked for.
    pub(super) fn segment(
        &self,
        place: usize,
        x: Tensor<3>,
        positions: &Positions,
        (draw, reaches_input): (Option<Draw>, bool),
    ) -> Segment {
        let input = match reaches_input {
            true => x.autodiff().require_grad(),
            false => x,
        };
        let leaves = self.leaves(place).into_iter();
        let leaves = leaves.map(|(parameter, value)| (parameter, value.autodiff().require_grad()));
        let leaves: Values = leaves.collect();
        Segment {
            output: self.run(place, &leaves, input.clone(), positions, draw),
            input,
            leaves,
        }
    }

    fn run(
        &self,
        place: usize,
        leaves: &Values,
        x: Tensor<3>,
        positions: &Positions,
        draw: Option<Draw>,
    ) -> Tensor<3> {
        let weights = Layer {
            student: self,
            layer: self.layers[place],
            leaves,
            draw,
        };
        let between = x.clone() + attention(&weights, self.heads, x, positions);
        between.clone() + mlp(&weights, self.heads, between)
    }

    fn leaves(&self, place: usize) -> Values {
        let layer = Some(self.layers[place]);
        let own = self
            .values
            .iter()
            .filter(|(parameter, _)| parameter.layer() == layer);
        own.map(|(parameter, value)| (*parameter, value.clone()))
            .collect()
    }

    /// The gains of the final norm: (1, hidden_size).
    pub(super) fn final_norm(&self) -> Tensor<2> {
        let trained = self.values.get(&Parameter::Whole(Weight::FinalNorm));
        let norm = trained.or_else(|| self.frozen.get(&Weight::FinalNorm));
        norm.cloned()
            .expect("a student has a final norm: `load` puts it into one of the maps")
    }

    /// The head's rows, one tensor after the other: (rows, hidden_size) each.
    pub(super) fn head(&self) -> Vec<Tensor<2>> {
        match self.values.get(&Parameter::Whole(Weight::Head)) {
            Some(head) => vec![head.clone()],
            None => self.head.clone(),
        }
    }

    pub(super) fn trains_head(&self) -> bool {
        self.head.is_empty()
    }

    pub(super) fn eps(&self) -> f32 {
        self.eps
    }
}

impl Parameter {
    fn layer(self) -> Option<usize> {
        match self {
            Self::Whole(Weight::Layer(layer, _)) | Self::A(layer, _) | Self::B(layer, _) => {
                Some(layer)
            }
            Self::Whole(_) => None,
        }
    }

    /// Whether weight decay leaves it alone: a norm's gains are not near zero.
    pub(super) fn is_norm(self) -> bool {
        matches!(self, Self::Whole(weight) if weight.is_norm())
    }
}

impl Segment {
    /// The stream after the layer.
    pub(super) fn output(&self) -> Tensor<3> {
        self.output.clone().inner()
    }

    /// From the gradient of the output: that of the input, where it was to be reached, and those of what the layer learns.
    pub(super) fn backward(self, upstream: Tensor<3>) -> (Option<Tensor<3>>, Values) {
        // The gradient of sum(y * g) with respect to y is g.
        let mut gradients = (self.output * upstream.autodiff()).sum().backward();
        let input = self.input.grad_remove(&mut gradients);
        let leaves = self.leaves.into_iter();
        let leaves = leaves
            .filter_map(|(parameter, leaf)| Some((parameter, leaf.grad_remove(&mut gradients)?)));
        (input, leaves.collect())
    }
}

/// A layer as it multiplies.
struct Layer<'s> {
    student: &'s Student,
    layer: usize,
    leaves: &'s Values,
    draw: Option<Draw>,
}

impl Layer<'_> {
    fn weight(&self, part: LayerWeight) -> Tensor<2> {
        let weight = Weight::Layer(self.layer, part);
        let trained = self.leaves.get(&Parameter::Whole(weight));
        let found = trained.or_else(|| self.student.frozen.get(&weight));
        found
            .cloned()
            .expect("a student has every weight of its layers: `load` puts it into one of the maps")
    }

    fn drop_some(&self, part: LayerWeight, x: Tensor<2>, share: f32) -> Tensor<2> {
        let Some(Draw(draw)) = self.draw.filter(|_| share > 0.0) else {
            return x;
        };
        let [rows, cols] = x.dims();
        let place = (self.layer as u64) << 8 | part as u64;
        let mut random = SplitMix(draw ^ place.wrapping_mul(0xd134_2543_de82_ef95));
        let below = (f64::from(share) * 2.0_f64.powi(32)) as u64;
        let kept = 1.0 / (1.0 - share);
        // Two draws of 32 bits to a number.
        let mut mask = Vec::with_capacity(rows * cols + 1);
        while mask.len() < rows * cols {
            let number = random.next();
            for half in [number >> 32, number & 0xffff_ffff] {
                mask.push(if half < below { 0.0 } else { kept });
            }
        }
        mask.truncate(rows * cols);
        let device = x.device();
        x * Tensor::from_data(TensorData::new(mask, [rows, cols]), (&device, DType::F32))
    }
}

impl Weights for Layer<'_> {
    fn gains(&self, part: LayerWeight) -> Tensor<2> {
        self.weight(part)
    }

    fn product(&self, part: LayerWeight, x: Tensor<2>) -> Tensor<2> {
        let y = x.clone().matmul(self.weight(part).transpose());
        let (a, b) = (
            Parameter::A(self.layer, part),
            Parameter::B(self.layer, part),
        );
        match (
            &self.student.low_rank,
            self.leaves.get(&a),
            self.leaves.get(&b),
        ) {
            (Some(low_rank), Some(a), Some(b)) => {
                let x = self.drop_some(part, x, low_rank.dropout);
                let change = x
                    .matmul(a.clone().transpose())
                    .matmul(b.clone().transpose());
                y + change * low_rank.scale()
            }
            _ => y,
        }
    }
}

/// A layer's weights in the order of [`LayerWeight::ALL`].
fn read_layer(
    source: &dyn DenseSource,
    layer: usize,
    base: Base,
    device: &Device,
) -> Result<Vec<Tensor<2>>, HealError> {
    let mut weights = source.layer(layer)?;
    let mut read = Vec::new();
    for part in LayerWeight::ALL {
        let mut values = std::mem::take(weights.part_mut(part));
        let (rows, cols) = part.shape(source.config());
        if base == Base::Q4 && !part.is_norm() {
            let packed = Packed::quantise(rows, cols, Format::Q4, &values);
            let weight = Weight::Layer(layer, part);
            let packed = packed
                .map_err(|source| DenseError::Weights(WeightsError::Quant { weight, source }))?;
            values = packed.dequantise();
        }
        read.push(tensor(values, [rows, cols], device));
    }
    Ok(read)
}

fn head_pieces(source: &dyn DenseSource, device: &Device) -> Result<Vec<Tensor<2>>, HealError> {
    let config = source.config();
    let rows = (HEAD_PIECE / config.hidden_size).max(1);
    let firsts = (0..config.vocab_size).step_by(rows);
    firsts
        .map(|first| {
            let last = (first + rows).min(config.vocab_size);
            let values = source.head(first..last)?;
            Ok(tensor(values, [last - first, config.hidden_size], device))
        })
        .collect()
}

/// A parameter's values on the host.
pub(super) fn to_host(value: &Tensor<2>) -> Result<Vec<f32>, HealError> {
    Ok(read_floats(value.clone())?)
}
