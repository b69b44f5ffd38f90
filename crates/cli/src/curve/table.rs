//! In: a curve. Out: its tables: Markdown for a file, a short one for a terminal.

use halfdepth::curve::{Curve, Line, Measure, Shape, Stretch, Value};

/// Every measure as a table: a row for each number of layers, a column for each line.
pub(super) fn markdown(curve: &Curve) -> String {
    let lines = curve.lines();
    let limit = match curve.limit {
        Some(limit) => format!("{limit} items of a benchmark at most"),
        None => "every item of a benchmark".into(),
    };
    let healed = match curve.series.iter().any(|series| series.healed.is_some()) {
        true => "Healed is what a column says is; its plan may be another than those of its row",
        false => "Nothing was healed",
    };
    let mut text = format!(
        "# {}: figures against the layers dropped\n\n{} layers; plans chosen on {}; judged on {}; {limit}; seed {}; {}. {healed}. Brackets are 95 % intervals; of random plans, the least and the most.\n",
        plain(&curve.model.name),
        curve.model.layers,
        stretch(&curve.chosen_on),
        stretch(&curve.judged_on),
        curve.seed,
        plain(&curve.device),
    );
    for measure in &curve.measures {
        text.push_str(&table(curve, &lines, measure));
    }
    text
}

fn table(curve: &Curve, lines: &[Line], measure: &Measure) -> String {
    let mut text = format!(
        "\n## {}\n\n{}; {} items.",
        measure.title, measure.protocol, measure.items
    );
    if let Some(baseline) = &measure.baseline {
        text.push_str(&format!(" Uniform guessing: {:.4}.", baseline.chance));
        if let (Some(majority), Some(answer)) = (baseline.majority, &baseline.most_frequent) {
            text.push_str(&format!(" Always `{}`: {majority:.4}.", plain(answer)));
        }
    }
    let names: Vec<&str> = lines.iter().map(|line| line.name.as_str()).collect();
    text.push_str(&format!(
        "\n\n| dropped | share | {} |\n",
        names.join(" | ")
    ));
    text.push_str(&format!("|---:|---:|{}\n", "---|".repeat(lines.len())));
    let columns: Vec<Vec<(f64, Value)>> = lines
        .iter()
        .map(|line| line.points(&measure.name))
        .collect();
    for dropped in 0..curve.model.layers {
        let share = dropped as f64 / curve.model.layers as f64;
        let cells = columns.iter().map(|points| {
            let point = points.iter().find(|(x, _)| (x - share).abs() < 1e-9);
            point.map_or_else(String::new, |(_, value)| cell(value))
        });
        let cells: Vec<String> = cells.collect();
        text.push_str(&format!(
            "| {dropped} | {share:.3} | {} |\n",
            cells.join(" | ")
        ));
    }
    let knees = lines
        .iter()
        .map(|line| knee(curve, &line.name, &measure.name));
    text.push_str(&format!(
        "| knee | | {} |\n",
        knees.collect::<Vec<_>>().join(" | ")
    ));
    text
}

/// The knees, for a terminal.
pub(super) fn text(curve: &Curve) -> String {
    let lines = curve.lines();
    let mut text = format!(
        "{} · {} layers · {}\n",
        curve.model.name, curve.model.layers, curve.device
    );
    let drawn = curve.measures.iter().filter(|measure| measure.is_drawn);
    for measure in drawn {
        text.push_str(&format!("\n{}\n", measure.title));
        for line in &lines {
            let points = line.points(&measure.name);
            let at = |share: f64| {
                // Between the points of what was healed lies nothing.
                let least = match line.healed {
                    Some(_) => share - 0.5 / curve.model.layers as f64,
                    None => 0.0,
                };
                let near = points.iter().rfind(|(x, _)| *x <= share + 1e-9);
                let near = near.filter(|(x, _)| *x >= least);
                near.map_or_else(String::new, |(_, value)| format!("{:.4}", value.value))
            };
            text.push_str(&format!(
                "  {:<12} full {:>8}  a quarter dropped {:>8}  half {:>8}  {}\n",
                line.name,
                at(0.0),
                at(0.25),
                at(0.5),
                knee(curve, &line.name, &measure.name)
            ));
        }
    }
    text
}

fn cell(value: &Value) -> String {
    match value.high - value.low > 1e-9 {
        true => format!("{:.4} [{:.4}, {:.4}]", value.value, value.low, value.high),
        false => format!("{:.4}", value.value),
    }
}

fn knee(curve: &Curve, line: &str, measure: &str) -> String {
    let shape = curve.knees.get(line).and_then(|knees| knees.get(measure));
    match shape {
        Some(Shape::Knee(knee)) => format!(
            "at {:.2} of the layers ({:.2} to {:.2})",
            knee.at, knee.low, knee.high
        ),
        Some(Shape::Straight) => "none: straight".into(),
        Some(Shape::Gradual) => "none: bends evenly".into(),
        Some(Shape::AtOnce) => "none: worse at once".into(),
        Some(Shape::TooFew) | None => "too few points".into(),
    }
}

fn stretch(stretch: &Stretch) -> String {
    let files: Vec<String> = stretch.files.iter().map(|file| plain(file)).collect();
    format!(
        "{}, tokens {} to {}",
        files.join(", "),
        stretch.first,
        stretch.first + stretch.tokens
    )
}

/// A name is anybody's text: nothing in it becomes Markdown.
fn plain(name: &str) -> String {
    let kept = name.chars().filter(|letter| !letter.is_control());
    kept.map(|letter| match letter {
        '|' | '`' | '<' | '>' | '#' | '\\' => ' ',
        letter => letter,
    })
    .collect()
}
