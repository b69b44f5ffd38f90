//! In: a curve. Out: a figure: a panel for each measure, the legend above them.

use halfdepth::curve::{Curve, Line, Measure};
use halfdepth::plan::Strategy;

use super::panel::{BOTTOM, LEFT, Marker, PLOT, Panel, RIGHT, Style, TOP, Trace, sample, wedge};
use super::{Anchor, Drawing, FAINT, INK};

const MARGIN: f32 = 16.0;
/// Title, three lines on how it was measured, legend.
const HEAD: f32 = 116.0;
/// Room for the lines above a single panel, which are wider than it.
const LEAST_WIDTH: f32 = 600.0;
/// Of the plot of a panel that stands alone.
const ALONE_HEIGHT: f32 = 300.0;
const LETTERS: f32 = 12.0;

/// Draws a curve: one panel for each measure that is drawn, or for this one alone.
pub(crate) fn curves(curve: &Curve, only: Option<&str>) -> Drawing {
    let lines = curve.lines();
    let drawn = |measure: &&Measure| match only {
        Some(name) => measure.name == name,
        None => measure.is_drawn,
    };
    let panels: Vec<Panel> = (curve.measures.iter().filter(drawn).zip('a'..='z'))
        .map(|(measure, letter)| panel(curve, &lines, measure, only.is_none().then_some(letter)))
        .collect();
    let columns = match panels.len() {
        0..=1 => 1,
        2 | 4 => 2,
        _ => 3,
    };
    let rows = panels.len().div_ceil(columns).max(1);
    let across = LEFT + PLOT.0 + RIGHT;
    let entries = legend(curve, &lines);
    let wide = entries
        .iter()
        .map(|(_, label)| entry_width(label))
        .sum::<f32>();
    let width = (across * columns as f32).max(wide).max(LEAST_WIDTH) + 2.0 * MARGIN;
    // A panel alone is as wide as what stands above it.
    let plot = match panels.len() {
        1 => (width - 2.0 * MARGIN - LEFT - RIGHT, ALONE_HEIGHT),
        _ => PLOT,
    };
    let down = TOP + plot.1 + BOTTOM;
    let mut drawing = Drawing::new(width, HEAD + down * rows as f32 + MARGIN);
    head(&mut drawing, curve);
    draw_legend(&mut drawing, &entries);
    for (index, panel) in panels.iter().enumerate() {
        let (column, row) = (index % columns, index / columns);
        let corner = (
            MARGIN + across * column as f32 + LEFT,
            HEAD + down * row as f32 + TOP,
        );
        panel.draw(&mut drawing, corner, plot);
    }
    drawing
}

fn panel(curve: &Curve, lines: &[Line], measure: &Measure, letter: Option<char>) -> Panel {
    let trace = |line: &Line| Trace {
        style: style(line),
        points: (line.points(&measure.name).into_iter())
            .map(|(x, value)| (x, value.value, value.low, value.high))
            .collect(),
        is_band: line.is_mean(),
        knee: curve.knee(&line.name, &measure.name).map(|knee| knee.at),
    };
    let mut baselines = Vec::new();
    if let Some(baseline) = &measure.baseline {
        let name = match measure.worse {
            halfdepth::curve::Worse::Up => "uniform",
            halfdepth::curve::Worse::Down => "chance",
        };
        baselines.push((format!("{name} {:.3}", baseline.chance), baseline.chance));
        if let Some(majority) = baseline.majority {
            baselines.push((format!("majority {majority:.3}"), majority));
        }
    }
    let knees: Vec<String> = (lines.iter())
        .filter_map(|line| {
            let knee = curve.knee(&line.name, &measure.name)?;
            Some(format!("{} {:.2}", line.name, knee.at))
        })
        .collect();
    Panel {
        letter,
        title: measure.title.clone(),
        note: match knees.is_empty() {
            true => "no knee".into(),
            false => format!("knees: {}", knees.join(", ")),
        },
        baselines,
        traces: lines.iter().map(trace).collect(),
    }
}

fn head(drawing: &mut Drawing, curve: &Curve) {
    let name: String = curve.model.name.chars().take(60).collect();
    let title = format!(
        "{name}: figures against the share of its {} layers that is dropped",
        curve.model.layers
    );
    drawing.text((MARGIN, 28.0), title, 16.0, Anchor::Start, INK);
    let text = |stretch: &halfdepth::curve::Stretch| {
        let files: String = stretch.files.join(", ").chars().take(48).collect();
        let end = stretch.first + stretch.tokens;
        format!("{files}, tokens {} to {end}", stretch.first)
    };
    let items = match curve.limit {
        Some(limit) => format!("at most {limit} items a benchmark"),
        None => "every item of a benchmark".into(),
    };
    let healed = match curve.series.iter().any(|series| series.healed.is_some()) {
        true => "healed where a line says so",
        false => "nothing healed",
    };
    let how = format!("windows of 128 predictions; {items}; whiskers: 95 %; {healed}");
    let about = [
        format!("plans chosen on {}", text(&curve.chosen_on)),
        format!("judged on {}", text(&curve.judged_on)),
        how,
    ];
    for (line, about) in about.into_iter().enumerate() {
        let y = 47.0 + 16.0 * line as f32;
        drawing.text((MARGIN, y), about, LETTERS, Anchor::Start, FAINT);
    }
}

/// What each line is called; last, without a style, the marker of knees.
fn legend(curve: &Curve, lines: &[Line]) -> Vec<(Option<Style>, String)> {
    let entry = |line: &Line| {
        let label = match line.series.len() {
            1 => line.name.clone(),
            seeds => format!("{}, mean of {seeds} (band: least to most)", line.name),
        };
        (Some(style(line)), label)
    };
    let mut entries: Vec<_> = lines.iter().map(entry).collect();
    let has_knee = |line: &Line| {
        let mut measures = curve.measures.iter();
        measures.any(|measure| curve.knee(&line.name, &measure.name).is_some())
    };
    if lines.iter().any(has_knee) {
        entries.push((None, "knee".into()));
    }
    entries
}

fn draw_legend(drawing: &mut Drawing, entries: &[(Option<Style>, String)]) {
    let (mut x, y) = (MARGIN, HEAD - 14.0);
    for (style, label) in entries {
        match style {
            Some(style) => sample(drawing, *style, (x, y)),
            None => wedge(drawing, (x + 24.0, y + 4.5), FAINT),
        }
        let text = label.clone();
        drawing.text((x + 36.0, y + 4.0), text, LETTERS, Anchor::Start, INK);
        x += entry_width(label);
    }
}

/// Letters are half as wide as high, on the average.
fn entry_width(label: &str) -> f32 {
    36.0 + label.chars().count() as f32 * LETTERS * 0.5 + 22.0
}

/// Okabe and Ito's colours, which eyes that tell red from green badly tell apart; dashes and markers tell the rest.
fn style(line: &Line) -> Style {
    if let Some(method) = &line.healed {
        return healed_style(method);
    }
    let (colour, dash, marker) = match line.strategy {
        Strategy::Similarity => ([0x00, 0x72, 0xb2], None, Marker::Circle),
        Strategy::Simple => ([0xd5, 0x5e, 0x00], Some([7.0, 3.0]), Marker::Square),
        Strategy::Influence => ([0x00, 0x9e, 0x73], Some([4.0, 2.0]), Marker::Triangle),
        Strategy::Greedy => ([0xb8, 0x4a, 0x8c], None, Marker::Diamond),
        Strategy::Sublayer => ([0xe6, 0x9f, 0x00], Some([9.0, 2.5]), Marker::Cross),
        Strategy::Random => ([0x66, 0x66, 0x66], Some([2.0, 2.5]), Marker::Point),
        Strategy::Manual => ([0x22, 0x22, 0x22], None, Marker::Cross),
    };
    Style {
        colour,
        dash,
        marker,
    }
}

/// Darker than the lines of what was not healed, and dotted between points that have nothing between them.
fn healed_style(method: &str) -> Style {
    let (colour, marker) = match method {
        "patch" => ([0x00, 0x3a, 0x5c], Marker::Square),
        "lora" => ([0x6b, 0x2f, 0x00], Marker::Triangle),
        "distill" => ([0x00, 0x4f, 0x3a], Marker::Circle),
        "last-layers" => ([0x5c, 0x25, 0x46], Marker::Diamond),
        _ => ([0x22, 0x22, 0x22], Marker::Cross),
    };
    Style {
        colour,
        dash: Some([1.5, 2.0]),
        marker,
    }
}
