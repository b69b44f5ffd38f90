//! Charts, drawn once and written as SVG and as PNG. In: shapes in points, y downwards. Out: the bytes of either file.
//!
//! The font is Roboto (Apache-2.0, Google Inc.), cut down to the letters and signs that charts use: a PNG looks the same on a
//! machine that has no fonts at all.

mod axis;
mod curves;
mod heat_map;
mod lens_grid;
mod loss;
mod panel;
mod raster;
mod svg;
mod token;
mod trace_map;

pub(crate) use curves::curves;
pub(crate) use heat_map::heat_map;
pub(crate) use lens_grid::lens_grid;
pub(crate) use loss::{LossCurve, loss_curve};
pub(crate) use trace_map::trace_map;

/// A picture on white.
#[derive(Clone, Debug)]
pub(crate) struct Drawing {
    width: f32,
    height: f32,
    shapes: Vec<Shape>,
}

/// Red, green, blue.
pub(crate) type Colour = [u8; 3];

pub(crate) const INK: Colour = [0x22, 0x22, 0x22];
pub(crate) const FAINT: Colour = [0x77, 0x77, 0x77];

/// What marks layers that a plan leaves out: Okabe and Ito's vermilion, which stands out beside blue for every eye.
pub(crate) const CUT: Colour = [0xd5, 0x5e, 0x00];

/// Where a text stands beside its point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Anchor {
    Start,
    Middle,
    End,
}

#[derive(Clone, Debug)]
enum Shape {
    Rectangle {
        corner: (f32, f32),
        size: (f32, f32),
        fill: Colour,
    },
    Line {
        points: Vec<(f32, f32)>,
        colour: Colour,
        width: f32,
        /// Points drawn, points left out.
        dash: Option<[f32; 2]>,
    },
    Polygon {
        points: Vec<(f32, f32)>,
        fill: Colour,
    },
    Text {
        /// On the baseline.
        at: (f32, f32),
        text: String,
        size: f32,
        anchor: Anchor,
        colour: Colour,
        /// Reads upwards.
        upright: bool,
    },
}

impl Drawing {
    pub(crate) fn new(width: f32, height: f32) -> Self {
        Self {
            width,
            height,
            shapes: Vec::new(),
        }
    }

    pub(crate) fn rectangle(&mut self, corner: (f32, f32), size: (f32, f32), fill: Colour) {
        self.shapes.push(Shape::Rectangle { corner, size, fill });
    }

    /// A line through the points; closed when the last is the first.
    pub(crate) fn line(&mut self, points: Vec<(f32, f32)>, colour: Colour, width: f32) {
        self.shapes.push(Shape::Line {
            points,
            colour,
            width,
            dash: None,
        });
    }

    /// A line of dashes: points drawn, points left out.
    pub(crate) fn dashes(
        &mut self,
        points: Vec<(f32, f32)>,
        colour: Colour,
        width: f32,
        dash: Option<[f32; 2]>,
    ) {
        self.shapes.push(Shape::Line {
            points,
            colour,
            width,
            dash,
        });
    }

    /// The area within the points.
    pub(crate) fn polygon(&mut self, points: Vec<(f32, f32)>, fill: Colour) {
        self.shapes.push(Shape::Polygon { points, fill });
    }

    pub(crate) fn frame(
        &mut self,
        (x, y): (f32, f32),
        (w, h): (f32, f32),
        colour: Colour,
        width: f32,
    ) {
        let corners = vec![(x, y), (x + w, y), (x + w, y + h), (x, y + h), (x, y)];
        self.line(corners, colour, width);
    }

    pub(crate) fn text(
        &mut self,
        at: (f32, f32),
        text: impl Into<String>,
        size: f32,
        anchor: Anchor,
        colour: Colour,
    ) {
        self.shapes.push(Shape::Text {
            at,
            text: text.into(),
            size,
            anchor,
            colour,
            upright: false,
        });
    }

    /// A text that reads upwards, its middle at the point.
    pub(crate) fn upright_text(&mut self, at: (f32, f32), text: impl Into<String>, size: f32) {
        self.shapes.push(Shape::Text {
            at,
            text: text.into(),
            size,
            anchor: Anchor::Middle,
            colour: INK,
            upright: true,
        });
    }

    /// The file of a picture that can be scaled.
    pub(crate) fn to_svg(&self) -> Vec<u8> {
        svg::render(self).into_bytes()
    }

    /// The file of a picture with `scale` pixels a point.
    pub(crate) fn to_png(&self, scale: f32) -> anyhow::Result<Vec<u8>> {
        raster::render(self, scale)
    }
}

/// White at 0, blue at 1, brown at -1.
pub(crate) fn shade(at: f64) -> Colour {
    const UP: [Colour; 3] = [[0xff, 0xff, 0xff], [0x6b, 0xae, 0xd6], [0x08, 0x30, 0x6b]];
    const DOWN: [Colour; 3] = [[0xff, 0xff, 0xff], [0xd8, 0xa8, 0x6c], [0x7f, 0x3b, 0x08]];
    let stops = if at < 0.0 { DOWN } else { UP };
    between(&stops, at.abs())
}

/// Matplotlib's viridis, which stays in order in grey and for eyes that tell red from green badly: 0 dark, 1 bright.
pub(crate) fn viridis(at: f64) -> Colour {
    const STOPS: [Colour; 9] = [
        [0x44, 0x01, 0x54],
        [0x47, 0x2d, 0x7b],
        [0x3b, 0x52, 0x8b],
        [0x2c, 0x72, 0x8e],
        [0x21, 0x91, 0x8c],
        [0x28, 0xae, 0x80],
        [0x5e, 0xc9, 0x62],
        [0xad, 0xdc, 0x30],
        [0xfd, 0xe7, 0x25],
    ];
    between(&STOPS, at)
}

/// A colour on the way from stop to stop, 0 the first, 1 the last.
fn between(stops: &[Colour], at: f64) -> Colour {
    let steps = stops.len() - 1;
    let at = at.clamp(0.0, 1.0) * steps as f64;
    let low = (at as usize).min(steps - 1);
    let share = at - low as f64;
    std::array::from_fn(|i| {
        let (a, b) = (f64::from(stops[low][i]), f64::from(stops[low + 1][i]));
        (a + (b - a) * share).round() as u8
    })
}
