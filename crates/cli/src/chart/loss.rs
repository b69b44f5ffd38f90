//! In: losses by step. Out: two panels: what was trained on, and what was held out.

use super::axis::Axis;
use super::{Anchor, Colour, Drawing, FAINT, INK};

/// A training run's losses: (step, loss).
pub(crate) struct LossCurve {
    pub(crate) title: String,
    /// The objective of each step's batch.
    pub(crate) trained: Vec<(f64, f64)>,
    /// Nats a token.
    pub(crate) held_out: Vec<(f64, f64)>,
}

/// Points, colour, width.
type Line<'p> = (&'p [(f64, f64)], Colour, f32);

const PLOT: (f32, f32) = (318.0, 214.0);
const LEFT: f32 = 64.0;
const TOP: f32 = 72.0;
const BETWEEN: f32 = 72.0;
const RIGHT: f32 = 24.0;
const BOTTOM: f32 = 56.0;
const GRID: Colour = [0xe6, 0xe6, 0xe6];
const BLUE: Colour = [0x00, 0x72, 0xb2];
const PALE: Colour = [0xa8, 0xcc, 0xe4];
const RED: Colour = [0xd5, 0x5e, 0x00];
/// Steps over which the trained loss is averaged: a fortieth of them.
const SPANS: usize = 40;

/// Draws a run.
pub(crate) fn loss_curve(curve: &LossCurve) -> Drawing {
    let mut drawing = Drawing::new(LEFT + 2.0 * PLOT.0 + BETWEEN + RIGHT, TOP + PLOT.1 + BOTTOM);
    let title: String = curve.title.chars().take(80).collect();
    drawing.text((LEFT, 28.0), title, 15.0, Anchor::Start, INK);
    let steps = Axis::covering(
        [0.0].into_iter().chain(
            curve
                .trained
                .iter()
                .chain(&curve.held_out)
                .map(|(step, _)| *step),
        ),
        5,
    );
    let mean = averaged(&curve.trained);
    let left = [(&curve.trained[..], PALE, 1.0), (&mean, BLUE, 2.0)];
    panel(&mut drawing, LEFT, ("trained on", &steps), &left);
    let held_out = [(&curve.held_out[..], RED, 2.0)];
    panel(
        &mut drawing,
        LEFT + PLOT.0 + BETWEEN,
        ("held out, nats a token", &steps),
        &held_out,
    );
    drawing
}

fn panel(drawing: &mut Drawing, x: f32, (name, steps): (&str, &Axis), lines: &[Line]) {
    let losses = Axis::covering(
        lines
            .iter()
            .flat_map(|(points, ..)| points.iter().map(|(_, loss)| *loss)),
        5,
    );
    drawing.text((x, TOP - 12.0), name, 12.0, Anchor::Start, INK);
    let at = |step: f64, loss: f64| {
        (
            x + PLOT.0 * steps.place(step),
            TOP + PLOT.1 * (1.0 - losses.place(loss)),
        )
    };
    for tick in &losses.ticks {
        let y = at(0.0, *tick).1;
        drawing.line(vec![(x, y), (x + PLOT.0, y)], GRID, 1.0);
        drawing.text(
            (x - 8.0, y + 4.0),
            losses.label(*tick),
            10.5,
            Anchor::End,
            FAINT,
        );
    }
    for tick in &steps.ticks {
        let x = x + PLOT.0 * steps.place(*tick);
        drawing.text(
            (x, TOP + PLOT.1 + 18.0),
            steps.label(*tick),
            10.5,
            Anchor::Middle,
            FAINT,
        );
    }
    drawing.frame((x, TOP), PLOT, FAINT, 1.0);
    drawing.text(
        (x + PLOT.0 / 2.0, TOP + PLOT.1 + 40.0),
        "step",
        12.0,
        Anchor::Middle,
        INK,
    );
    for (points, colour, width) in lines {
        let finite = points.iter().filter(|(_, loss)| loss.is_finite());
        let points: Vec<_> = finite.map(|(step, loss)| at(*step, *loss)).collect();
        if points.len() > 1 {
            drawing.line(points, *colour, *width);
        }
    }
}

/// The mean of each of some spans, at its middle.
fn averaged(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let span = (points.len() / SPANS).max(1);
    let mean =
        |values: &mut dyn Iterator<Item = f64>, count: usize| values.sum::<f64>() / count as f64;
    let spans = points.chunks(span);
    spans
        .map(|points| {
            let count = points.len();
            (
                mean(&mut points.iter().map(|point| point.0), count),
                mean(&mut points.iter().map(|point| point.1), count),
            )
        })
        .collect()
}
