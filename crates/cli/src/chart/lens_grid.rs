//! A logit lens as nostalgebraist draws it: depth upwards, positions across, in every cell the token that is likeliest there, its colour
//! the probability of the token that the whole model chooses.

use halfdepth::trace::LensDocument;

use super::token::{clip, label};
use super::{Anchor, CUT, Drawing, FAINT, INK, shade};

const MARGIN: f32 = 16.0;
const LEFT: f32 = 96.0;
const TOP: f32 = 84.0;
const RIGHT: f32 = 64.0;
const BOTTOM: f32 = 58.0;
const CELL: (f32, f32) = (62.0, 20.0);
const TEXT: f32 = 12.0;
const SMALL: f32 = 10.5;
/// Letters that fit into a cell.
const LETTERS: usize = 10;
/// Positions drawn: the last ones, since these have read the most.
const POSITIONS: usize = 10;

/// Draws the last positions of a lens.
pub(crate) fn lens_grid(lens: &LensDocument) -> Drawing {
    let positions = lens.tokens.len();
    let first = positions.saturating_sub(POSITIONS);
    let depths = lens.readings.len();
    let (width, height) = (CELL.0 * (positions - first) as f32, CELL.1 * depths as f32);
    let across = (LEFT + width + RIGHT).max(640.0);
    let mut drawing = Drawing::new(across, TOP + height + BOTTOM);
    head(&mut drawing, lens);
    let corner = |depth: usize, position: usize| {
        let x = LEFT + CELL.0 * (position - first) as f32;
        (x, TOP + height - CELL.1 * (depth + 1) as f32)
    };
    for (depth, readings) in lens.readings.iter().enumerate() {
        for (position, reading) in readings.iter().enumerate().skip(first) {
            let (x, y) = corner(depth, position);
            drawing.rectangle((x, y), CELL, shade(reading.probability));
            let text = reading.top.first().map_or("", |token| token.text.as_str());
            let colour = match reading.probability > 0.7 {
                true => [255, 255, 255],
                false => INK,
            };
            let at = (x + CELL.0 / 2.0, y + 14.0);
            let text = clip(&label(text), LETTERS);
            drawing.text(at, text, SMALL, Anchor::Middle, colour);
        }
        depth_label(&mut drawing, lens, depth, corner(depth, first).1);
    }
    for position in first..positions {
        let (depth, _) = lens.first_chosen[position];
        let (x, y) = corner(depth, position);
        let inner = (CELL.0 - 2.0, CELL.1 - 2.0);
        drawing.frame((x + 1.0, y + 1.0), inner, INK, 1.4);
        let read = clip(&label(&lens.tokens[position].text), LETTERS);
        let at = (x + CELL.0 / 2.0, TOP + height + 16.0);
        drawing.text(at, read, SMALL, Anchor::Middle, INK);
    }
    drawing.frame((LEFT, TOP), (width, height), INK, 1.0);
    let below = (LEFT + width / 2.0, TOP + height + 36.0);
    drawing.text(below, "token read", 13.0, Anchor::Middle, INK);
    bar(&mut drawing, (LEFT + width + 14.0, TOP), height.min(180.0));
    drawing
}

fn head(drawing: &mut Drawing, lens: &LensDocument) {
    let name: String = lens.model.name.chars().take(48).collect();
    let title = format!("{name}: what would be answered after each layer");
    drawing.text((MARGIN, 26.0), title, 15.0, Anchor::Start, INK);
    let lines = [
        "in a cell: the likeliest next token; its colour: the probability of the token that the whole model chooses",
        "framed: where that token is first the likeliest",
    ];
    for (line, text) in lines.into_iter().enumerate() {
        let y = 46.0 + 16.0 * line as f32;
        drawing.text((MARGIN, y), text, TEXT, Anchor::Start, FAINT);
    }
    if let Some(plan) = &lens.plan {
        let text = format!("marked: layers that {} leaves out", clip(&plan.plan, 24));
        drawing.text((MARGIN + 300.0, 62.0), text, TEXT, Anchor::Start, CUT);
    }
}

fn depth_label(drawing: &mut Drawing, lens: &LensDocument, depth: usize, y: f32) {
    let text = match depth {
        0 => "embedding".to_string(),
        depth => format!("layer {}", depth - 1),
    };
    let is_cut = |plan: &halfdepth::trace::CutDepths| depth > 0 && plan.cut.contains(&(depth - 1));
    let is_cut = lens.plan.as_ref().is_some_and(is_cut);
    if is_cut {
        drawing.rectangle((LEFT - 8.0, y + 1.0), (6.0, CELL.1 - 2.0), CUT);
    }
    let colour = if is_cut { CUT } else { INK };
    drawing.text((LEFT - 14.0, y + 14.0), text, TEXT, Anchor::End, colour);
}

fn bar(drawing: &mut Drawing, (x, top): (f32, f32), height: f32) {
    const STEPS: usize = 60;
    const WIDTH: f32 = 12.0;
    let step = height / STEPS as f32;
    for at in 0..STEPS {
        let y = top + height - step * (at + 1) as f32;
        let share = (at as f64 + 0.5) / STEPS as f64;
        // A little overlap, against seams between the steps.
        drawing.rectangle((x, y), (WIDTH, step + 0.5), shade(share));
    }
    drawing.frame((x, top), (WIDTH, height), INK, 0.8);
    for (text, at) in [("1", 9.0), ("0", height)] {
        drawing.text((x + WIDTH + 6.0, top + at), text, TEXT, Anchor::Start, INK);
    }
}
