//! A drawing as the bytes of a PNG.

use anyhow::{Context, Result};
use tiny_skia::{
    Color, FillRule, Paint, Path, PathBuilder, Pixmap, Rect, Stroke, StrokeDash, Transform,
};
use ttf_parser::{Face, OutlineBuilder};

use super::{Anchor, Colour, Drawing, Shape};

const FONT: &[u8] = include_bytes!("Roboto-Regular-subset.ttf");

pub(super) fn render(drawing: &Drawing, scale: f32) -> Result<Vec<u8>> {
    let pixels = |points: f32| (points * scale).ceil() as u32;
    let (width, height) = (pixels(drawing.width), pixels(drawing.height));
    let mut canvas = Pixmap::new(width, height).context("the chart is too large to draw")?;
    canvas.fill(Color::WHITE);
    let face = Face::parse(FONT, 0).context("the chart's font is damaged")?;
    let to_pixels = Transform::from_scale(scale, scale);
    for shape in &drawing.shapes {
        draw(&mut canvas, shape, &face, to_pixels);
    }
    Ok(png(&canvas))
}

fn draw(canvas: &mut Pixmap, shape: &Shape, face: &Face, to_pixels: Transform) {
    match shape {
        Shape::Rectangle {
            corner: (x, y),
            size: (w, h),
            fill,
        } => {
            // Cells meet without a seam: edges are not smoothed.
            let paint = paint(*fill, false);
            if let Some(rect) = Rect::from_xywh(*x, *y, *w, *h) {
                canvas.fill_rect(rect, &paint, to_pixels, None);
            }
        }
        Shape::Line {
            points,
            colour,
            width,
            dash,
        } => {
            let stroke = Stroke {
                width: *width,
                line_cap: match dash {
                    // A square end would fill the gaps.
                    Some(_) => tiny_skia::LineCap::Butt,
                    None => tiny_skia::LineCap::Square,
                },
                dash: dash.and_then(|dash| StrokeDash::new(dash.to_vec(), 0.0)),
                ..Stroke::default()
            };
            if let Some(path) = outline(points).finish() {
                canvas.stroke_path(&path, &paint(*colour, true), &stroke, to_pixels, None);
            }
        }
        Shape::Polygon { points, fill } => {
            let mut path = outline(points);
            path.close();
            if let Some(path) = path.finish() {
                let paint = paint(*fill, true);
                canvas.fill_path(&path, &paint, FillRule::Winding, to_pixels, None);
            }
        }
        Shape::Text {
            at: (x, y),
            text,
            size,
            anchor,
            colour,
            upright,
        } => {
            let turn = if *upright { -90.0 } else { 0.0 };
            let place = to_pixels.pre_translate(*x, *y).pre_rotate(turn);
            if let Some(path) = letters(face, text, *size, *anchor) {
                let paint = paint(*colour, true);
                canvas.fill_path(&path, &paint, FillRule::Winding, place, None);
            }
        }
    }
}

fn outline(points: &[(f32, f32)]) -> PathBuilder {
    let mut path = PathBuilder::new();
    for (index, (x, y)) in points.iter().enumerate() {
        match index {
            0 => path.move_to(*x, *y),
            _ => path.line_to(*x, *y),
        }
    }
    path
}

fn paint([r, g, b]: Colour, anti_alias: bool) -> Paint<'static> {
    let mut paint = Paint {
        anti_alias,
        ..Paint::default()
    };
    paint.set_color_rgba8(r, g, b, 255);
    paint
}

/// The outlines of a text on a baseline through the origin.
fn letters(face: &Face, text: &str, size: f32, anchor: Anchor) -> Option<Path> {
    let scale = size / f32::from(face.units_per_em());
    let glyphs: Vec<_> = text
        .chars()
        .map(|letter| {
            face.glyph_index(letter)
                .or_else(|| face.glyph_index('?'))
                .unwrap_or_default()
        })
        .collect();
    let advance = |glyph| f32::from(face.glyph_hor_advance(glyph).unwrap_or(0)) * scale;
    let width: f32 = glyphs.iter().map(|glyph| advance(*glyph)).sum();
    let mut pen = Pen {
        path: PathBuilder::new(),
        x: match anchor {
            Anchor::Start => 0.0,
            Anchor::Middle => -width / 2.0,
            Anchor::End => -width,
        },
        scale,
    };
    for glyph in glyphs {
        face.outline_glyph(glyph, &mut pen);
        pen.x += advance(glyph);
    }
    pen.path.finish()
}

struct Pen {
    path: PathBuilder,
    x: f32,
    scale: f32,
}

impl Pen {
    /// Fonts count upwards, pictures downwards.
    fn at(&self, x: f32, y: f32) -> (f32, f32) {
        (self.x + x * self.scale, -y * self.scale)
    }
}

impl OutlineBuilder for Pen {
    fn move_to(&mut self, x: f32, y: f32) {
        let (x, y) = self.at(x, y);
        self.path.move_to(x, y);
    }

    fn line_to(&mut self, x: f32, y: f32) {
        let (x, y) = self.at(x, y);
        self.path.line_to(x, y);
    }

    fn quad_to(&mut self, x1: f32, y1: f32, x: f32, y: f32) {
        let ((x1, y1), (x, y)) = (self.at(x1, y1), self.at(x, y));
        self.path.quad_to(x1, y1, x, y);
    }

    fn curve_to(&mut self, x1: f32, y1: f32, x2: f32, y2: f32, x: f32, y: f32) {
        let ((x1, y1), (x2, y2), (x, y)) = (self.at(x1, y1), self.at(x2, y2), self.at(x, y));
        self.path.cubic_to(x1, y1, x2, y2, x, y);
    }

    fn close(&mut self) {
        self.path.close();
    }
}

/// 8-bit RGB; every row is stored as its difference from the row above, which is mostly zeros.
fn png(canvas: &Pixmap) -> Vec<u8> {
    let (width, height) = (canvas.width(), canvas.height());
    let mut rows = Vec::with_capacity(((3 * width + 1) * height) as usize);
    let mut above = vec![0; 3 * width as usize];
    for row in canvas.data().chunks_exact(4 * width as usize) {
        const UP: u8 = 2;
        rows.push(UP);
        let row: Vec<u8> = row
            .chunks_exact(4)
            .flat_map(|rgba| [rgba[0], rgba[1], rgba[2]])
            .collect();
        rows.extend(
            row.iter()
                .zip(&above)
                .map(|(now, above)| now.wrapping_sub(*above)),
        );
        above = row;
    }
    let mut header = [width.to_be_bytes(), height.to_be_bytes()].concat();
    // Eight bits, RGB; deflate, the usual filters, not interlaced.
    header.extend([8, 2, 0, 0, 0]);
    let mut png = b"\x89PNG\r\n\x1a\n".to_vec();
    for (name, content) in [
        (b"IHDR", header),
        (b"IDAT", fdeflate::compress_to_vec(&rows)),
        (b"IEND", Vec::new()),
    ] {
        png.extend((content.len() as u32).to_be_bytes());
        let begin = png.len();
        png.extend(name);
        png.extend(content);
        png.extend(crc32(&png[begin..]).to_be_bytes());
    }
    png
}

/// The checksum of a PNG's chunks (ISO 3309), bit by bit: a chart has few bytes.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg())
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_the_published_one() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
    }

    #[test]
    fn every_sign_that_charts_use_is_in_the_font() {
        let face = Face::parse(FONT, 0).expect("a font");
        let printable = (' '..='~').chain("±·×–—−≈≤≥√ℓπ".chars());
        for sign in printable {
            assert!(face.glyph_index(sign).is_some(), "{sign}");
        }
    }
}
