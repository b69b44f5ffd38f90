//! In: a tensor. Out: the same tensor, written in place by an op that takes it and gives it back.

use burn::tensor::{Int, Tensor};

/// A tensor that ops overwrite: the cache, the residual stream, the step.
///
/// Burn's CPU backend copies a tensor on write when anyone else holds it. A slot gives its only reference to the
/// op and keeps what comes back, so that nothing is copied.
#[derive(Debug)]
pub struct Slot<T>(Option<T>);

/// A slot of activations.
pub type FloatSlot<const D: usize> = Slot<Tensor<D>>;

/// A slot of whole numbers: ids, positions, counts.
pub type IntSlot<const D: usize> = Slot<Tensor<D, Int>>;

impl<T: Clone> Slot<T> {
    /// Takes charge of a tensor.
    pub fn new(tensor: T) -> Self {
        Self(Some(tensor))
    }

    /// Another reference to the tensor, to read from. Drop it before the next [`Slot::update`].
    pub fn read(&self) -> T {
        match &self.0 {
            Some(tensor) => tensor.clone(),
            None => unreachable!("a slot is empty only inside `update`"),
        }
    }

    /// Hands the tensor to an op and keeps what it gives back.
    pub fn update(&mut self, op: impl FnOnce(T) -> T) {
        if let Some(tensor) = self.0.take() {
            self.0 = Some(op(tensor));
        }
    }

    /// Hands the tensor over; [`Slot::put`] it back.
    pub fn take(&mut self) -> T {
        match self.0.take() {
            Some(tensor) => tensor,
            None => unreachable!("a slot is empty only between `take` and `put`"),
        }
    }

    /// Puts back what [`Slot::take`] handed over.
    pub fn put(&mut self, tensor: T) {
        self.0 = Some(tensor);
    }
}
