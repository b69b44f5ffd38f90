//! In: lines of points with their intervals. Out: one panel of a figure: axes, baselines, bands, whiskers, lines, markers, knees.

use super::axis::Axis;
use super::{Anchor, Colour, Drawing, FAINT, INK};

/// Points of one of several plots alone; labels stand around it.
pub(super) const PLOT: (f32, f32) = (318.0, 214.0);
/// Room on the left, at the top, on the right and at the bottom of the plot.
pub(super) const LEFT: f32 = 56.0;
pub(super) const TOP: f32 = 44.0;
pub(super) const RIGHT: f32 = 72.0;
pub(super) const BOTTOM: f32 = 52.0;

const SMALL: f32 = 10.5;
const GRID: Colour = [0xe6, 0xe6, 0xe6];
/// Least distance of two labels' baselines.
const APART: f32 = 12.0;
/// Less room from point to point than this, and whiskers would hide the lines.
const ROOM_FOR_WHISKERS: f32 = 14.0;

/// How a line looks: colour, dashes and marker each tell it from the others.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Style {
    pub(super) colour: Colour,
    pub(super) dash: Option<[f32; 2]>,
    pub(super) marker: Marker,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Marker {
    Circle,
    Square,
    Triangle,
    Diamond,
    Cross,
    Point,
}

/// A line of a panel.
#[derive(Clone, Debug)]
pub(super) struct Trace {
    pub(super) style: Style,
    /// (x, figure, low, high).
    pub(super) points: Vec<(f64, f64, f64, f64)>,
    /// Whether the intervals are drawn as a band; else as whiskers.
    pub(super) is_band: bool,
    /// Where the knee is.
    pub(super) knee: Option<f64>,
}

/// A panel.
#[derive(Clone, Debug)]
pub(super) struct Panel {
    /// Which of several panels.
    pub(super) letter: Option<char>,
    pub(super) title: String,
    pub(super) note: String,
    /// What guessing scores, by name.
    pub(super) baselines: Vec<(String, f64)>,
    pub(super) traces: Vec<Trace>,
}

impl Panel {
    /// Draws the panel with the corner of its plot at a place, the plot of this size.
    pub(super) fn draw(&self, drawing: &mut Drawing, corner: (f32, f32), size: (f32, f32)) {
        let plot = Plot::new(self, corner, size);
        plot.axes(drawing, self);
        plot.baselines(drawing, self);
        let bands = self.traces.iter().filter(|trace| trace.is_band);
        bands.for_each(|trace| plot.band(drawing, trace));
        let count = self.traces.len();
        for (index, trace) in self.traces.iter().enumerate() {
            // Side by side, so that no whisker lies on another.
            let aside = (index as f32 - (count as f32 - 1.0) / 2.0) * 2.0;
            plot.whiskers(drawing, trace, aside);
        }
        self.traces
            .iter()
            .for_each(|trace| plot.line(drawing, trace));
        self.traces
            .iter()
            .for_each(|trace| plot.knee(drawing, trace));
    }
}

struct Plot {
    corner: (f32, f32),
    size: (f32, f32),
    x: Axis,
    y: Axis,
}

impl Plot {
    fn new(panel: &Panel, corner: (f32, f32), size: (f32, f32)) -> Self {
        let points = panel.traces.iter().flat_map(|trace| &trace.points);
        // A baseline far from every curve is left to its label rather than flatten the curves.
        let values = points.flat_map(|(_, value, low, high)| [*value, *low, *high]);
        let baselines = panel.baselines.iter().map(|(_, value)| *value);
        Self {
            corner,
            size,
            x: Axis::shares(),
            y: Axis::covering(values.chain(baselines), 5),
        }
    }

    fn at(&self, x: f64, y: f64) -> (f32, f32) {
        (
            self.corner.0 + self.size.0 * self.x.place(x),
            self.corner.1 + self.size.1 * (1.0 - self.y.place(y)),
        )
    }

    fn axes(&self, drawing: &mut Drawing, panel: &Panel) {
        let (left, top) = self.corner;
        let (right, bottom) = (left + self.size.0, top + self.size.1);
        let title = match panel.letter {
            Some(letter) => format!("({letter}) {}", panel.title),
            None => panel.title.clone(),
        };
        drawing.text((left, top - 24.0), title, 13.0, Anchor::Start, INK);
        drawing.text(
            (left, top - 9.0),
            panel.note.clone(),
            SMALL,
            Anchor::Start,
            FAINT,
        );
        for tick in &self.y.ticks {
            let (_, y) = self.at(0.0, *tick);
            drawing.line(vec![(left, y), (right, y)], GRID, 0.7);
            drawing.line(vec![(left - 4.0, y), (left, y)], INK, 1.0);
            let label = self.y.label(*tick);
            drawing.text((left - 8.0, y + 3.8), label, SMALL, Anchor::End, INK);
        }
        for tick in &self.x.ticks {
            let (x, _) = self.at(*tick, 0.0);
            drawing.line(vec![(x, bottom), (x, bottom + 4.0)], INK, 1.0);
            let label = self.x.label(*tick);
            drawing.text((x, bottom + 16.0), label, SMALL, Anchor::Middle, INK);
        }
        drawing.line(vec![(left, top), (left, bottom), (right, bottom)], INK, 1.0);
        let middle = left + self.size.0 / 2.0;
        let across = "share of layers dropped";
        drawing.text((middle, bottom + 33.0), across, 11.5, Anchor::Middle, INK);
    }

    fn baselines(&self, drawing: &mut Drawing, panel: &Panel) {
        let right = self.corner.0 + self.size.0;
        let mut sorted = panel.baselines.clone();
        sorted.sort_by(|a, b| b.1.total_cmp(&a.1));
        let mut lowest = f32::NEG_INFINITY;
        for (name, value) in sorted {
            let (_, y) = self.at(0.0, value);
            let ends = vec![(self.corner.0, y), (right, y)];
            drawing.dashes(ends, FAINT, 1.0, Some([2.0, 2.5]));
            let beside = (y + 3.8).max(lowest + APART);
            lowest = beside;
            drawing.text((right + 5.0, beside), name, SMALL, Anchor::Start, FAINT);
        }
    }

    fn band(&self, drawing: &mut Drawing, trace: &Trace) {
        let above = trace
            .points
            .iter()
            .map(|(x, _, _, high)| self.at(*x, *high));
        let below = trace
            .points
            .iter()
            .rev()
            .map(|(x, _, low, _)| self.at(*x, *low));
        drawing.polygon(above.chain(below).collect(), pale(trace.style.colour));
    }

    fn whiskers(&self, drawing: &mut Drawing, trace: &Trace, aside: f32) {
        let room = self.size.0 / trace.points.len().max(1) as f32;
        if trace.is_band || room < ROOM_FOR_WHISKERS {
            return;
        }
        for (x, _, low, high) in &trace.points {
            let ((x, low), (_, high)) = (self.at(*x, *low), self.at(*x, *high));
            if (low - high).abs() > 1.5 {
                let ends = vec![(x + aside, low), (x + aside, high)];
                drawing.line(ends, light(trace.style.colour), 0.9);
            }
        }
    }

    fn line(&self, drawing: &mut Drawing, trace: &Trace) {
        let places: Vec<_> = trace
            .points
            .iter()
            .map(|(x, y, ..)| self.at(*x, *y))
            .collect();
        drawing.dashes(places.clone(), trace.style.colour, 1.6, trace.style.dash);
        // Deep models have more points than there is room for markers.
        let every = places.len().div_ceil(24).max(1);
        for at in places.into_iter().step_by(every) {
            marker(drawing, trace.style, at);
        }
    }

    /// A wedge that stands on the axis, and a thin line from it to the curve.
    fn knee(&self, drawing: &mut Drawing, trace: &Trace) {
        let Some(knee) = trace.knee else { return };
        let (x, y) = self.at(knee, height_at(&trace.points, knee));
        let bottom = self.corner.1 + self.size.1;
        let colour = trace.style.colour;
        drawing.dashes(vec![(x, bottom), (x, y)], colour, 0.9, Some([1.0, 2.0]));
        wedge(drawing, (x, bottom), colour);
    }
}

/// The marker of a knee.
pub(super) fn wedge(drawing: &mut Drawing, (x, y): (f32, f32), colour: Colour) {
    drawing.polygon(vec![(x, y - 9.0), (x + 4.5, y), (x - 4.5, y)], colour);
}

/// A piece of a line with its marker, as the legend shows it.
pub(super) fn sample(drawing: &mut Drawing, style: Style, (x, y): (f32, f32)) {
    drawing.dashes(vec![(x, y), (x + 30.0, y)], style.colour, 1.6, style.dash);
    marker(drawing, style, (x + 15.0, y));
}

fn marker(drawing: &mut Drawing, style: Style, (x, y): (f32, f32)) {
    let colour = style.colour;
    let mut polygon = |corners: &[(f32, f32)]| {
        let corners = corners.iter().map(|(dx, dy)| (x + dx, y + dy));
        drawing.polygon(corners.collect(), colour);
    };
    match style.marker {
        Marker::Circle | Marker::Point => {
            let radius = if style.marker == Marker::Circle {
                3.4
            } else {
                2.2
            };
            let corner = |at: usize| {
                let angle = at as f32 / 16.0 * std::f32::consts::TAU;
                (radius * angle.cos(), radius * angle.sin())
            };
            polygon(&std::array::from_fn::<_, 16, _>(corner));
        }
        Marker::Square => polygon(&[(-3.0, -3.0), (3.0, -3.0), (3.0, 3.0), (-3.0, 3.0)]),
        Marker::Triangle => polygon(&[(0.0, -4.2), (3.8, 2.8), (-3.8, 2.8)]),
        Marker::Diamond => polygon(&[(0.0, -4.6), (4.0, 0.0), (0.0, 4.6), (-4.0, 0.0)]),
        Marker::Cross => {
            let arm = 3.2;
            drawing.line(vec![(x - arm, y - arm), (x + arm, y + arm)], colour, 1.6);
            drawing.line(vec![(x - arm, y + arm), (x + arm, y - arm)], colour, 1.6);
        }
    }
}

/// The line's height between its points.
fn height_at(points: &[(f64, f64, f64, f64)], x: f64) -> f64 {
    let pair = points.windows(2).find(|pair| x <= pair[1].0);
    match pair {
        Some([a, b]) => a.1 + (b.1 - a.1) * (x - a.0) / (b.0 - a.0),
        _ => points.last().map_or(0.0, |last| last.1),
    }
}

fn pale(colour: Colour) -> Colour {
    towards_white(colour, 0.8)
}

fn light(colour: Colour) -> Colour {
    towards_white(colour, 0.45)
}

fn towards_white(colour: Colour, share: f32) -> Colour {
    colour.map(|part| (f32::from(part) + (255.0 - f32::from(part)) * share) as u8)
}
