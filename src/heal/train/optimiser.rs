//! In: gradients. Out: parameters a step further, by Burn's AdamW; its moments are read and put back as they are.

use std::collections::BTreeMap;

use burn::optim::{AdamW, AdamWConfig, AdamWState, AdaptiveMomentumState, Optimizer};
use burn::tensor::Tensor;

use super::student::{Parameter, Values, to_host};
use crate::heal::HealError;

/// AdamW over all parameters: decay for matrices, none for norms.
pub(super) struct Optimiser {
    decaying: AdamW,
    plain: AdamW,
    states: BTreeMap<Parameter, AdamWState<2>>,
}

/// Moments after some steps.
pub(super) struct Moments {
    pub(super) steps: usize,
    pub(super) first: Tensor<2>,
    pub(super) second: Tensor<2>,
}

impl Optimiser {
    pub(super) fn new(weight_decay: f32) -> Self {
        let config = AdamWConfig::new().with_epsilon(1e-8);
        Self {
            decaying: config.clone().with_weight_decay(weight_decay).build(),
            plain: config.with_weight_decay(0.0).build(),
            states: BTreeMap::new(),
        }
    }

    /// One step. Parameters without a gradient stay as they are.
    pub(super) fn step(&mut self, rate: f64, values: &mut Values, gradients: Values) {
        for (parameter, gradient) in gradients {
            let Some(value) = values.remove(&parameter) else {
                continue;
            };
            let optimiser = match parameter.is_norm() {
                true => &self.plain,
                false => &self.decaying,
            };
            let state = self.states.remove(&parameter);
            let (value, state) = optimiser.step(rate, value, gradient, state);
            values.insert(parameter, value);
            if let Some(state) = state {
                self.states.insert(parameter, state);
            }
        }
    }

    pub(super) fn moments(&self, parameter: Parameter) -> Option<Moments> {
        let momentum = &self.states.get(&parameter)?.momentum;
        Some(Moments {
            steps: momentum.time,
            first: momentum.moment_1.clone(),
            second: momentum.moment_2.clone(),
        })
    }

    pub(super) fn set_moments(&mut self, parameter: Parameter, moments: Moments) {
        let Moments {
            steps,
            first,
            second,
        } = moments;
        let momentum = AdaptiveMomentumState::new(steps, first, second);
        self.states.insert(parameter, AdamWState::new(momentum));
    }
}

/// The length of all gradients together.
pub(super) fn norm(gradients: &Values) -> Result<f64, HealError> {
    let mut square = 0.0;
    for gradient in gradients.values() {
        let column = gradient.clone().square().sum_dim(1);
        square += to_host(&column)?.into_iter().map(f64::from).sum::<f64>();
    }
    Ok(square.sqrt())
}
