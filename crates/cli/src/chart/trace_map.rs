//! A causal trace as Meng et al. draw it (arXiv 2202.05262, figure 1): tokens downwards, layers across, every cell the effect of what
//! was put back there; the layers that a plan leaves out are marked below.

use halfdepth::trace::{Kind, TraceDocument};

use super::heat_map::step;
use super::token::{clip, label};
use super::{Anchor, CUT, Drawing, FAINT, INK, shade};

const TOP: f32 = 88.0;
const RIGHT: f32 = 96.0;
const BOTTOM: f32 = 84.0;
const MARGIN: f32 = 16.0;
const ROW: f32 = 19.0;
const TEXT: f32 = 12.0;
/// Room for the cells across.
const SPAN: f32 = 480.0;
/// Letters of a token's label.
const LETTERS: usize = 16;
const LEFT: f32 = 132.0;

/// Draws a trace: its tokens from the subject on, since before it nothing can be put back.
pub(crate) fn trace_map(trace: &TraceDocument) -> Drawing {
    let layers = trace.effects.len();
    let first = trace.subject_tokens.first().copied().unwrap_or(0);
    let rows = trace.tokens.len() - first;
    let cell = (SPAN / layers as f32).min(40.0);
    let (width, height) = (cell * layers as f32, ROW * rows as f32);
    let across = (LEFT + width + RIGHT).max(640.0);
    let mut drawing = Drawing::new(across, TOP + height + BOTTOM);
    head(&mut drawing, trace);
    let effects = || trace.effects.iter().flatten().map(|cell| cell.mean);
    let most = effects().map(f64::abs).fold(f64::MIN_POSITIVE, f64::max);
    let least = effects().fold(0.0, f64::min);
    for (row, token) in (first..trace.tokens.len()).enumerate() {
        let y = TOP + ROW * row as f32;
        for (layer, effects) in trace.effects.iter().enumerate() {
            let corner = (LEFT + cell * layer as f32, y);
            drawing.rectangle(corner, (cell, ROW), shade(effects[token].mean / most));
        }
        let is_subject = trace.subject_tokens.contains(&token);
        let star = if is_subject { "*" } else { "" };
        let text = format!("{}{star}", clip(&label(&trace.tokens[token].text), LETTERS));
        let colour = if is_subject { INK } else { FAINT };
        drawing.text((LEFT - 8.0, y + ROW - 5.5), text, TEXT, Anchor::End, colour);
    }
    drawing.frame((LEFT, TOP), (width, height), INK, 1.0);
    axis(&mut drawing, trace, cell, TOP + height);
    bar(
        &mut drawing,
        (least, most),
        LEFT + width + 28.0,
        height.clamp(60.0, 200.0),
    );
    drawing
}

fn head(drawing: &mut Drawing, trace: &TraceDocument) {
    let answer: String = trace
        .answer
        .iter()
        .map(|token| token.text.as_str())
        .collect();
    let answer = clip(&label(&answer), 40);
    let name: String = trace.model.name.chars().take(40).collect();
    let what = match trace.settings.kind {
        Kind::State => "the state after a layer",
        Kind::Attention => "what attention adds",
        Kind::Mlp => "what the MLP adds",
    };
    let window = match trace.settings.window {
        1 => String::new(),
        window => format!(" in {window} layers"),
    };
    let title = format!("{name}: what brings back \"{answer}\"");
    drawing.text((MARGIN, 26.0), title, 15.0, Anchor::Start, INK);
    let lines = [
        format!(
            "its probability: {:.3} clean, {:.3} with noise on the tokens marked *; colour: what comes back of it",
            trace.clean, trace.corrupted.mean
        ),
        format!(
            "where {what}{window} is put back at one token; means of {} draws of noise",
            trace.settings.samples
        ),
    ];
    for (line, text) in lines.into_iter().enumerate() {
        let y = 46.0 + 16.0 * line as f32;
        drawing.text((MARGIN, y), text, TEXT, Anchor::Start, FAINT);
    }
}

fn axis(drawing: &mut Drawing, trace: &TraceDocument, cell: f32, bottom: f32) {
    let layers = trace.effects.len();
    let middle = |layer: usize| LEFT + cell * (layer as f32 + 0.5);
    for layer in (0..layers).step_by(step(layers)) {
        let x = middle(layer);
        drawing.line(vec![(x, bottom), (x, bottom + 4.0)], INK, 1.0);
        drawing.text(
            (x, bottom + 17.0),
            layer.to_string(),
            TEXT,
            Anchor::Middle,
            INK,
        );
    }
    let across = LEFT + cell * layers as f32 / 2.0;
    drawing.text((across, bottom + 34.0), "layer", 13.0, Anchor::Middle, INK);
    let Some(plan) = &trace.plan else { return };
    let y = bottom + 46.0;
    for layer in &plan.cut {
        let corner = (middle(*layer) - cell / 2.0 + 1.0, y);
        drawing.rectangle(corner, (cell - 2.0, 6.0), CUT);
    }
    let name = clip(&plan.plan, 20);
    let text = format!("cut by {name}");
    drawing.text((LEFT - 8.0, y + 7.5), text, TEXT, Anchor::End, CUT);
    let share = match plan.share_of_effects {
        Some(share) => format!(
            "{:.0} % of the effects lie in the layers cut; ",
            100.0 * share
        ),
        None => String::new(),
    };
    let text = format!(
        "{share}under the plan the answer has {:.3}",
        plan.probability
    );
    drawing.text((LEFT, y + 21.0), text, 11.0, Anchor::Start, FAINT);
}

/// The colours from the least effect to the greatest.
fn bar(drawing: &mut Drawing, (least, most): (f64, f64), x: f32, height: f32) {
    const STEPS: usize = 60;
    const WIDTH: f32 = 14.0;
    /// A share of the scale that is rounding's, and has no room on the bar.
    const NOTHING: f64 = 0.03;
    let least = if least < -NOTHING * most {
        least / most
    } else {
        0.0
    };
    let at = |share: f64| TOP + height * ((1.0 - share) / (1.0 - least)) as f32;
    for step in 0..STEPS {
        let share = least + (1.0 - least) * (step as f64 + 0.5) / STEPS as f64;
        let half = 0.5 * height / STEPS as f32;
        // A little overlap, against seams between the steps.
        let corner = (x, at(share) - half);
        drawing.rectangle(corner, (WIDTH, 2.0 * half + 0.5), shade(share));
    }
    drawing.frame((x, TOP), (WIDTH, height), INK, 0.8);
    let mut label = |share: f64, text: String| {
        let y = (at(share) + 4.0).clamp(TOP + 9.0, TOP + height);
        drawing.text((x + WIDTH + 6.0, y), text, TEXT, Anchor::Start, INK);
    };
    label(1.0, format!("+{most:.2}"));
    label(0.0, "0".into());
    if least < -0.15 {
        label(least, format!("−{:.2}", -least * most));
    }
}
