//! A training run on its way, as one file: values, moments, the best values so far, and how far it is. Who goes on from it ends with
//! the weights of a run that was never interrupted, bit for bit where the device's sums are.

use std::collections::HashMap;
use std::io::Write;

use safetensors::tensor::{Dtype, TensorView};
use serde::{Deserialize, Serialize};

use super::optimiser::Moments;
use super::student::{Parameter, Values, to_host};
use super::trainer::Progress;
use super::{Trainer, part_name};
use crate::checkpoint::hugging_face_name;
use crate::dense::tensor;
use crate::heal::HealError;
use crate::heal::healing::parse_tensors;

const FORMAT: &str = "halfdepth-heal-state";
const VERSION: u64 = 1;

/// Losses are kept as their bits: text would round them.
#[derive(Serialize, Deserialize)]
struct Header {
    format: String,
    version: u64,
    key: String,
    step: u64,
    lowest_loss: u64,
    recent: Vec<u64>,
    loss_before: Option<u64>,
    best: Option<(u64, u64)>,
    waited: u64,
}

impl Trainer<'_> {
    /// Writes how far it is. `key` says what run it is: whoever goes on has to give the same.
    ///
    /// # Errors
    /// The device failed, or it cannot be written.
    pub fn save(&self, key: &str, to: &mut dyn Write) -> Result<(), HealError> {
        let mut stored: Vec<(String, Vec<usize>, Vec<u8>)> = Vec::new();
        let mut store = |prefix: &str,
                         parameter: Parameter,
                         value: &burn::tensor::Tensor<2>|
         -> Result<(), HealError> {
            let bytes = to_host(value)?
                .iter()
                .flat_map(|value| value.to_le_bytes())
                .collect();
            stored.push((
                format!("{prefix}.{}", name(parameter)),
                value.dims().to_vec(),
                bytes,
            ));
            Ok(())
        };
        for (parameter, value) in &self.student.values {
            store("value", *parameter, value)?;
            if let Some(moments) = self.optimiser.moments(*parameter) {
                store("first", *parameter, &moments.first)?;
                store("second", *parameter, &moments.second)?;
            }
        }
        for (parameter, value) in self.best.iter().flatten() {
            store("best", *parameter, value)?;
        }
        let mut views = Vec::new();
        for (name, shape, bytes) in &stored {
            views.push((
                name.as_str(),
                TensorView::new(Dtype::F32, shape.clone(), bytes).map_err(unusable)?,
            ));
        }
        let header = serde_json::to_string(&self.header(key)).map_err(unusable)?;
        let about: HashMap<String, String> = [("state".to_string(), header)].into();
        let bytes = safetensors::serialize(views, Some(about)).map_err(unusable)?;
        to.write_all(&bytes).map_err(unusable)
    }

    /// Goes on from what [`Self::save`] wrote.
    ///
    /// # Errors
    /// It is damaged, or of another run.
    pub fn resume(&mut self, key: &str, bytes: &[u8]) -> Result<(), HealError> {
        let header = read_header(bytes)?;
        if header.key != key {
            return Err(unusable(
                "it is of a run with other settings, another model or other texts",
            ));
        }
        let tensors: HashMap<String, TensorView> = parse_tensors(bytes)
            .map_err(unusable)?
            .into_iter()
            .collect();
        let read = |prefix: &str, parameter: Parameter, like: [usize; 2]| {
            let name = format!("{prefix}.{}", name(parameter));
            let view = tensors
                .get(&name)
                .ok_or_else(|| unusable(format!("`{name}` is missing")))?;
            if view.dtype() != Dtype::F32 || view.shape() != like {
                return Err(unusable(format!("`{name}` has another shape")));
            }
            let values = view
                .data()
                .as_chunks::<4>()
                .0
                .iter()
                .map(|bytes| f32::from_le_bytes(*bytes));
            Ok(tensor(values.collect(), like, &self.parts.device))
        };
        let (mut values, mut best, mut moments) = (Values::new(), Values::new(), Vec::new());
        for (parameter, value) in &self.student.values {
            let shape = value.dims();
            values.insert(*parameter, read("value", *parameter, shape)?);
            if header.step > 0 {
                let steps = header.step as usize;
                let (first, second) = (
                    read("first", *parameter, shape)?,
                    read("second", *parameter, shape)?,
                );
                moments.push((
                    *parameter,
                    Moments {
                        steps,
                        first,
                        second,
                    },
                ));
            }
            if header.best.is_some() {
                best.insert(*parameter, read("best", *parameter, shape)?);
            }
        }
        self.student.values = values;
        self.best = header.best.is_some().then_some(best);
        for (parameter, moments) in moments {
            self.optimiser.set_moments(parameter, moments);
        }
        self.progress = header.progress();
        Ok(())
    }

    fn header(&self, key: &str) -> Header {
        let progress = &self.progress;
        Header {
            format: FORMAT.into(),
            version: VERSION,
            key: key.into(),
            step: progress.step,
            lowest_loss: progress.lowest_loss.to_bits(),
            recent: progress.recent.iter().map(|loss| loss.to_bits()).collect(),
            loss_before: progress.loss_before.map(f64::to_bits),
            best: progress.best.map(|(loss, step)| (loss.to_bits(), step)),
            waited: progress.waited,
        }
    }
}

impl Header {
    fn progress(&self) -> Progress {
        Progress {
            step: self.step,
            lowest_loss: f64::from_bits(self.lowest_loss),
            recent: self
                .recent
                .iter()
                .map(|bits| f64::from_bits(*bits))
                .collect(),
            loss_before: self.loss_before.map(f64::from_bits),
            best: self.best.map(|(loss, step)| (f64::from_bits(loss), step)),
            waited: self.waited,
        }
    }
}

fn read_header(bytes: &[u8]) -> Result<Header, HealError> {
    parse_tensors(bytes).map_err(unusable)?;
    let (_, metadata) = safetensors::SafeTensors::read_metadata(bytes).map_err(unusable)?;
    let state = metadata
        .metadata()
        .as_ref()
        .and_then(|about| about.get("state"));
    let state = state.ok_or_else(|| unusable("it is no state"))?;
    let header: Header = serde_json::from_str(state).map_err(unusable)?;
    match (header.format.as_str(), header.version) {
        (FORMAT, VERSION) => Ok(header),
        _ => Err(unusable("it is of another version of this program")),
    }
}

fn name(parameter: Parameter) -> String {
    match parameter {
        Parameter::Whole(weight) => hugging_face_name(weight),
        Parameter::A(layer, part) => format!("{layer}.{}.a", part_name(part)),
        Parameter::B(layer, part) => format!("{layer}.{}.b", part_name(part)),
    }
}

fn unusable(reason: impl ToString) -> HealError {
    HealError::State {
        reason: reason.to_string(),
    }
}
