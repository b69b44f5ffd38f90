//! A scan's distances as the paper draws them (figure 4): the block's first layer across, its length upwards, every row scaled
//! to its own least and most, the best block of every length marked.

use halfdepth::scan::{Sampling, Scan};

use super::{Anchor, Drawing, FAINT, INK, viridis};

const LEFT: f32 = 64.0;
const TOP: f32 = 64.0;
const RIGHT: f32 = 110.0;
const BOTTOM: f32 = 62.0;
/// Room for the cells, in either direction.
const SPAN: f32 = 480.0;
const BAR_WIDTH: f32 = 14.0;
const TEXT: f32 = 12.0;

/// Draws a scan.
pub(crate) fn heat_map(scan: &Scan) -> Drawing {
    let layers = scan.layers();
    // The block of all layers has one place only: nothing to compare, unless it is all there is.
    let longest = (layers - 1).max(1);
    let cell = SPAN / layers as f32;
    let (width, height) = (cell * layers as f32, cell * longest as f32);
    let mut drawing = Drawing::new(LEFT + width + RIGHT, TOP + height + BOTTOM);
    title(&mut drawing, scan);
    for n in 1..=longest {
        let Some(row) = scan.distance.get(&n) else {
            continue;
        };
        let least = row.iter().copied().fold(f64::INFINITY, f64::min);
        let most = row.iter().copied().fold(0.0, f64::max);
        let y = TOP + height - cell * n as f32;
        for (l, distance) in row.iter().enumerate() {
            let share = if most > least {
                (distance - least) / (most - least)
            } else {
                0.0
            };
            let x = LEFT + cell * l as f32;
            drawing.rectangle((x, y), (cell, cell), viridis(share));
        }
        if let Some(&best) = scan.best_start.get(&n) {
            mark(&mut drawing, (LEFT + cell * best as f32, y), cell);
        }
    }
    axes(&mut drawing, layers, longest, cell);
    bar(&mut drawing, LEFT + width + 28.0, height.min(240.0));
    drawing
}

fn title(drawing: &mut Drawing, scan: &Scan) {
    let name: String = scan.model.name.chars().take(60).collect();
    let title = format!("{name}: angular distance across blocks of layers");
    drawing.text((LEFT, 26.0), title, 15.0, Anchor::Start, INK);
    let sampling = match scan.sampling {
        Sampling::Sequential => "from its start",
        Sampling::Random => "drawn from it",
    };
    let text: String = scan.text.files.join(", ").chars().take(48).collect();
    let how = format!(
        "{text}: {} runs of {} tokens {sampling}",
        scan.samples, scan.tokens_per_sample
    );
    drawing.text((LEFT, 46.0), how, TEXT, Anchor::Start, FAINT);
}

/// A frame inside the cell, white within dark, so that it shows on every colour.
fn mark(drawing: &mut Drawing, (x, y): (f32, f32), cell: f32) {
    let inset = (cell * 0.22).max(1.0);
    let corner = (x + inset, y + inset);
    let size = (cell - 2.0 * inset, cell - 2.0 * inset);
    let width = (cell * 0.06).clamp(0.8, 2.0);
    drawing.frame(corner, size, INK, 2.0 * width);
    drawing.frame(corner, size, [255, 255, 255], width);
}

fn axes(drawing: &mut Drawing, layers: usize, longest: usize, cell: f32) {
    let (width, height) = (cell * layers as f32, cell * longest as f32);
    let bottom = TOP + height;
    drawing.line(
        vec![(LEFT, TOP), (LEFT, bottom), (LEFT + width, bottom)],
        INK,
        1.0,
    );
    let step = step(layers);
    for l in (0..layers).step_by(step) {
        let x = LEFT + cell * (l as f32 + 0.5);
        drawing.line(vec![(x, bottom), (x, bottom + 4.0)], INK, 1.0);
        drawing.text((x, bottom + 17.0), l.to_string(), TEXT, Anchor::Middle, INK);
    }
    for n in (1..=longest).filter(|n| *n == 1 || n % step == 0) {
        let y = bottom - cell * (n as f32 - 0.5);
        drawing.line(vec![(LEFT - 4.0, y), (LEFT, y)], INK, 1.0);
        drawing.text((LEFT - 8.0, y + 4.0), n.to_string(), TEXT, Anchor::End, INK);
    }
    let middle = LEFT + width / 2.0;
    let across = "first layer of the block, l";
    drawing.text((middle, bottom + 40.0), across, 13.0, Anchor::Middle, INK);
    drawing.upright_text((24.0, TOP + height / 2.0), "layers in the block, n", 13.0);
}

/// Layers from tick to tick: at most 17 ticks.
pub(super) fn step(layers: usize) -> usize {
    [1, 2, 4, 5, 8, 10, 20, 50, 100]
        .into_iter()
        .find(|step| layers <= 17 * step)
        .unwrap_or(200)
}

fn bar(drawing: &mut Drawing, x: f32, height: f32) {
    const STEPS: usize = 60;
    let step = height / STEPS as f32;
    for at in 0..STEPS {
        let y = TOP + height - step * (at + 1) as f32;
        // A little overlap, against seams between the steps.
        let size = (BAR_WIDTH, step + 0.5);
        drawing.rectangle((x, y), size, viridis((at as f64 + 0.5) / STEPS as f64));
    }
    drawing.frame((x, TOP), (BAR_WIDTH, height), INK, 0.8);
    let beside = x + BAR_WIDTH + 6.0;
    drawing.text((beside, TOP + 10.0), "most", TEXT, Anchor::Start, INK);
    drawing.text((beside, TOP + 24.0), "in its row", TEXT, Anchor::Start, INK);
    drawing.text((beside, TOP + height), "least", TEXT, Anchor::Start, INK);
    let y = TOP + height + 20.0;
    mark(drawing, (x - 2.0, y), 18.0);
    drawing.text((beside, y + 13.0), "best block", TEXT, Anchor::Start, INK);
}
