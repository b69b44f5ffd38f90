//! A drawing as SVG text. Letters stay letters, so that they can be searched and copied.

use std::fmt::Write;

use super::{Anchor, Colour, Drawing, Shape};

pub(super) fn render(drawing: &Drawing) -> String {
    let (width, height) = (drawing.width, drawing.height);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" viewBox=\"0 0 {width} {height}\" font-family=\"Roboto, Helvetica, Arial, sans-serif\">\n<rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n"
    );
    for shape in &drawing.shapes {
        // Writing to a string cannot fail.
        let _ = element(&mut svg, shape);
    }
    svg.push_str("</svg>\n");
    svg
}

fn element(svg: &mut String, shape: &Shape) -> std::fmt::Result {
    match shape {
        Shape::Rectangle {
            corner: (x, y),
            size: (w, h),
            fill,
        } => writeln!(
            svg,
            "<rect x=\"{x:.2}\" y=\"{y:.2}\" width=\"{w:.2}\" height=\"{h:.2}\" fill=\"{}\" shape-rendering=\"crispEdges\"/>",
            hex(*fill)
        ),
        Shape::Line {
            points,
            colour,
            width,
            dash,
        } => {
            let dash = dash.map_or(String::new(), |[on, off]| {
                format!(" stroke-dasharray=\"{on} {off}\"")
            });
            writeln!(
                svg,
                "<polyline points=\"{}\" fill=\"none\" stroke=\"{}\" stroke-width=\"{width}\"{dash}/>",
                places(points),
                hex(*colour)
            )
        }
        Shape::Polygon { points, fill } => writeln!(
            svg,
            "<polygon points=\"{}\" fill=\"{}\"/>",
            places(points),
            hex(*fill)
        ),
        Shape::Text {
            at: (x, y),
            text,
            size,
            anchor,
            colour,
            upright,
        } => {
            let anchor = match anchor {
                Anchor::Start => "start",
                Anchor::Middle => "middle",
                Anchor::End => "end",
            };
            let turn = match upright {
                true => format!(" transform=\"rotate(-90 {x:.2} {y:.2})\""),
                false => String::new(),
            };
            writeln!(
                svg,
                "<text x=\"{x:.2}\" y=\"{y:.2}\" font-size=\"{size}\" text-anchor=\"{anchor}\" fill=\"{}\"{turn}>{}</text>",
                hex(*colour),
                escaped(text)
            )
        }
    }
}

fn places(points: &[(f32, f32)]) -> String {
    let points = points.iter().map(|(x, y)| format!("{x:.2},{y:.2}"));
    points.collect::<Vec<_>>().join(" ")
}

fn hex([r, g, b]: Colour) -> String {
    format!("#{r:02x}{g:02x}{b:02x}")
}

/// A model's name is anybody's text.
fn escaped(text: &str) -> String {
    let mut escaped = String::new();
    for letter in text.chars() {
        match letter {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            letter if letter.is_control() => {}
            letter => escaped.push(letter),
        }
    }
    escaped
}
