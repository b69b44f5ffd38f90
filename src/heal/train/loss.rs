//! In: the student's last stream, the tokens that follow, the teacher's logits. Out: the loss, and its gradient with respect to the
//! stream, the final norm and the head.
//!
//! The gradient of softmax and cross-entropy with respect to the logits is p - y, that of the divergence T (q - p): both are written
//! down as they are, and logits stand in memory for some rows at a time.

use burn::tensor::activation::log_softmax;
use burn::tensor::{DType, Device, IndexingUpdateOp, Int, Tensor, TensorData};

use super::settings::Objective;
use super::student::{Parameter, Student, Values};
use crate::checkpoint::Weight;
use crate::dense::{Dense, read_floats, rms_norm};
use crate::heal::HealError;

/// Sums over tokens, in nats; `hidden` has no unit.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Sums {
    pub(super) tokens: u64,
    pub(super) cross_entropy: f64,
    pub(super) divergence: f64,
    pub(super) hidden: f64,
}

/// What the last stream gives.
pub(super) struct HeadLoss {
    pub(super) sums: Sums,
    /// Of the objective's sum over tokens, times `per_token`: (rows, hidden_size).
    pub(super) gradient: Tensor<2>,
    pub(super) gradients: Values,
}

/// What the student's logits are held against.
pub(super) struct Targets<'t> {
    /// The token after each row.
    pub(super) tokens: &'t [u32],
    /// The full model, and its last stream: (rows, hidden_size).
    pub(super) teacher: Option<(&'t Dense<'t>, Tensor<2>)>,
}

impl Objective {
    /// The loss of the last stream's rows. `per_token` is what each token counts.
    pub(super) fn head_loss(
        &self,
        student: &Student,
        stream: Tensor<2>,
        targets: &Targets,
        per_token: f32,
        rows_at_once: usize,
    ) -> Result<HeadLoss, HealError> {
        let stream = stream.autodiff().require_grad();
        let mut norm = student.final_norm().autodiff();
        if student.trains_head() {
            norm = norm.require_grad();
        }
        let normed = rms_norm(stream.clone(), norm.clone(), student.eps());
        let head = student.head();
        let rows = targets.tokens.len();
        let mut sums = Sums::default();
        let mut upstream = Vec::new();
        let mut of_head: Option<Tensor<2>> = None;
        for first in (0..rows).step_by(rows_at_once) {
            let count = rows_at_once.min(rows - first);
            let x = normed.clone().inner().narrow(0, first, count);
            let (dz, part) = self.logit_gradient(&x, &head, targets, (first, count))?;
            let dz = dz * per_token;
            sums.add(&part);
            if student.trains_head() {
                let of_slice = dz.clone().transpose().matmul(x);
                of_head = Some(match of_head {
                    Some(sum) => sum + of_slice,
                    None => of_slice,
                });
            }
            upstream.push(through(dz, &head));
        }
        let upstream = Tensor::cat(upstream, 0);
        let mut gradients = (normed * upstream.autodiff()).sum().backward();
        let gradient = stream.grad_remove(&mut gradients);
        let gradient = gradient.expect("the stream takes part in the sum");
        let mut of_parameters = Values::new();
        if let Some(of_head) = of_head {
            of_parameters.insert(Parameter::Whole(Weight::Head), of_head);
            let of_norm = norm.grad_remove(&mut gradients);
            let of_norm = of_norm.expect("the norm takes part in the sum");
            of_parameters.insert(Parameter::Whole(Weight::FinalNorm), of_norm);
        }
        Ok(HeadLoss {
            sums,
            gradient,
            gradients: of_parameters,
        })
    }

    /// The gradient of some rows' loss with respect to their logits, (rows, vocab_size), and the loss.
    fn logit_gradient(
        &self,
        x: &Tensor<2>,
        head: &[Tensor<2>],
        targets: &Targets,
        (first, count): (usize, usize),
    ) -> Result<(Tensor<2>, Sums), HealError> {
        let logits = product(x, head);
        let tokens = ints(&targets.tokens[first..first + count], &x.device());
        let log_q = log_softmax(logits.clone(), 1);
        let picked = log_q.clone().gather(1, tokens.clone());
        let mut sums = Sums {
            tokens: count as u64,
            cross_entropy: -total(picked)?,
            ..Sums::default()
        };
        let mut gradient = None;
        if self.cross_entropy > 0.0 {
            let minus_one = Tensor::full([count, 1], -1.0, (&x.device(), DType::F32));
            let q = log_q.clone().exp();
            let of_text = q.scatter(1, tokens, minus_one, IndexingUpdateOp::Add);
            gradient = Some(of_text * self.cross_entropy);
        }
        if let (Some((teacher, stream)), true) = (&targets.teacher, self.divergence > 0.0) {
            let of_teacher = teacher.head(stream.clone().narrow(0, first, count));
            let is_plain = self.temperature == 1.0;
            let log_p = match is_plain {
                true => log_softmax(of_teacher, 1),
                false => log_softmax(of_teacher / self.temperature, 1),
            };
            let log_q = match is_plain {
                true => log_q,
                false => log_softmax(logits.clone() / self.temperature, 1),
            };
            let p = log_p.clone().exp();
            sums.divergence = total((p.clone() * (log_p - log_q.clone())).sum_dim(1))?;
            // T^2 KL, so that the gradient does not shrink with the temperature (arXiv 1503.02531).
            let of_teacher = (log_q.exp() - p) * (self.divergence * self.temperature);
            gradient = Some(match gradient {
                Some(of_text) => of_text + of_teacher,
                None => of_teacher,
            });
        }
        let gradient = gradient.unwrap_or_else(|| Tensor::zeros_like(&logits));
        Ok((gradient, sums))
    }

    /// The distance at a cut: its sum, and its gradient with respect to the student's stream times `per_token`.
    pub(super) fn hidden_loss(
        &self,
        student: Tensor<3>,
        teacher: Tensor<3>,
        per_token: f32,
    ) -> Result<(f64, Tensor<3>), HealError> {
        let square = teacher.clone().square().sum_dim(2);
        let difference = student - teacher;
        let scaled = difference.clone() / square;
        let sum = total((scaled.clone() * difference).sum_dim(2).flatten::<2>(0, 1))?;
        Ok((sum, scaled * (2.0 * self.hidden * per_token)))
    }

    /// The objective of a mean token.
    pub(super) fn value(&self, sums: &Sums) -> f64 {
        let tokens = sums.tokens.max(1) as f64;
        let temperature = f64::from(self.temperature);
        (f64::from(self.cross_entropy) * sums.cross_entropy
            + f64::from(self.divergence) * temperature * temperature * sums.divergence
            + f64::from(self.hidden) * sums.hidden)
            / tokens
    }
}

impl Sums {
    pub(super) fn add(&mut self, other: &Self) {
        self.tokens += other.tokens;
        self.cross_entropy += other.cross_entropy;
        self.divergence += other.divergence;
        self.hidden += other.hidden;
    }
}

fn product(x: &Tensor<2>, head: &[Tensor<2>]) -> Tensor<2> {
    let pieces = head.iter();
    let mut pieces: Vec<_> = pieces
        .map(|piece| x.clone().matmul(piece.clone().transpose()))
        .collect();
    match pieces.len() {
        1 => pieces.remove(0),
        _ => Tensor::cat(pieces, 1),
    }
}

/// From the logits' gradient to that of the rows the head was given.
fn through(dz: Tensor<2>, head: &[Tensor<2>]) -> Tensor<2> {
    let mut first = 0;
    let mut sum: Option<Tensor<2>> = None;
    for piece in head {
        let rows = piece.dims()[0];
        let part = dz.clone().narrow(1, first, rows).matmul(piece.clone());
        first += rows;
        sum = Some(match sum {
            Some(sum) => sum + part,
            None => part,
        });
    }
    sum.unwrap_or(dz)
}

fn ints(values: &[u32], device: &Device) -> Tensor<2, Int> {
    let values: Vec<i32> = values.iter().map(|id| *id as i32).collect();
    let rows = values.len();
    Tensor::from_data(TensorData::new(values, [rows, 1]), (device, DType::I32))
}

/// The sum of a column, in f64 and in order.
fn total(column: Tensor<2>) -> Result<f64, HealError> {
    Ok(read_floats(column)?.into_iter().map(f64::from).sum())
}
