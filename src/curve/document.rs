//! A curve as the JSON file that people and charts read.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{CurveError, Knee, KneeFinder, Measure, Shape, Value, Worse};
use crate::header::{HeaderError, check_header, pretty};
use crate::plan::{Strategy, SublayerPlan};

const FORMAT: &str = "halfdepth-curve";
const VERSION: u64 = 1;

/// More than the curve of a model with 1,024 layers has.
pub const MAX_CURVE_BYTES: usize = 1 << 28;

/// What was measured at every depth.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Curve {
    format: String,
    version: u64,
    /// The model at full depth.
    pub model: CurveModel,
    /// Where plans were chosen.
    pub chosen_on: Stretch,
    /// Where they were judged.
    pub judged_on: Stretch,
    /// Items of a benchmark at most.
    pub limit: Option<usize>,
    /// What was drawn at random was drawn from this and the numbers after it.
    pub seed: u64,
    /// Where it ran.
    pub device: String,
    /// What was measured.
    pub measures: Vec<Measure>,
    /// One for each strategy, and for each seed of a random one.
    pub series: Vec<Series>,
    /// By line, by measure.
    pub knees: BTreeMap<String, BTreeMap<String, Shape>>,
}

/// The model that plans cut.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CurveModel {
    /// What it is called.
    pub name: String,
    /// Of its weights.
    pub sha256: String,
    /// Layers it has.
    pub layers: usize,
    /// Tokens of its vocabulary.
    pub vocab_size: usize,
}

/// Part of a text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stretch {
    /// Names of the text's files.
    pub files: Vec<String>,
    /// SHA-256 of the text.
    pub sha256: String,
    /// Its first token.
    pub first: usize,
    /// Tokens in it.
    pub tokens: usize,
}

/// Plans of one kind, by how much they drop.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Series {
    /// What it is called.
    pub name: String,
    /// What it is drawn as: series of the same line are drawn as their mean.
    pub line: String,
    /// The model that runs under its plans.
    pub model: String,
    /// How its plans were made.
    pub strategy: Strategy,
    /// What they were drawn from, where they were.
    pub seed: Option<u64>,
    /// The method that healed its points, each for itself; `None` where nothing was healed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub healed: Option<String>,
    /// In rising order of layers dropped; of what was not healed, from none on.
    pub points: Vec<Point>,
}

/// One plan and its figures.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Point {
    /// Layers dropped.
    pub dropped: usize,
    /// Of all layers.
    pub fraction: f64,
    /// Layers that run.
    pub layers: Vec<usize>,
    /// Of these, layers whose attention is muted.
    pub mute_attention: Vec<usize>,
    /// Of these, layers whose MLP is muted.
    pub mute_mlp: Vec<usize>,
    /// By measure.
    pub values: BTreeMap<String, Value>,
}

/// Series that are drawn as one.
#[derive(Clone, Debug, PartialEq)]
pub struct Line {
    /// What it is called.
    pub name: String,
    /// How its plans were made.
    pub strategy: Strategy,
    /// The method that healed its points.
    pub healed: Option<String>,
    /// One or more.
    pub series: Vec<Series>,
}

impl Line {
    /// Whether its points are means over series: their intervals then go from the least to the most of these.
    pub fn is_mean(&self) -> bool {
        self.series.len() > 1
    }

    /// (share of layers dropped, figure), where every series has the figure.
    pub fn points(&self, measure: &str) -> Vec<(f64, Value)> {
        let Some(first) = self.series.first() else {
            return Vec::new();
        };
        let point = |point: &Point| {
            let values = self.series.iter().map(|series| {
                let same = series.points.iter().find(|p| p.dropped == point.dropped)?;
                same.values.get(measure).copied()
            });
            let values: Vec<Value> = values.collect::<Option<_>>()?;
            Some((point.fraction, Value::mean_of(&values)?))
        };
        first.points.iter().filter_map(point).collect()
    }
}

impl Point {
    /// The figures of a plan of a model with so many layers.
    pub fn new(
        dropped: usize,
        layers: usize,
        plan: &SublayerPlan,
        values: BTreeMap<String, Value>,
    ) -> Self {
        Self {
            dropped,
            fraction: dropped as f64 / layers as f64,
            layers: plan.layers().layers.clone(),
            mute_attention: plan.mute_attention().to_vec(),
            mute_mlp: plan.mute_mlp().to_vec(),
            values,
        }
    }
}

impl Curve {
    /// A curve without series.
    pub fn new(model: CurveModel, chosen_on: Stretch, judged_on: Stretch, device: String) -> Self {
        Self {
            format: FORMAT.into(),
            version: VERSION,
            model,
            chosen_on,
            judged_on,
            limit: None,
            seed: 0,
            device,
            measures: Vec::new(),
            series: Vec::new(),
            knees: BTreeMap::new(),
        }
    }

    /// What is drawn: the series, those of one line as their mean.
    pub fn lines(&self) -> Vec<Line> {
        let mut lines: Vec<Line> = Vec::new();
        for series in &self.series {
            match lines.iter_mut().find(|line| line.name == series.line) {
                Some(line) => line.series.push(series.clone()),
                None => lines.push(Line {
                    name: series.line.clone(),
                    strategy: series.strategy,
                    healed: series.healed.clone(),
                    series: vec![series.clone()],
                }),
            }
        }
        lines
    }

    /// Finds the knee of every line in every measure.
    pub fn find_knees(&mut self) {
        let mut finders: Vec<(Vec<f64>, KneeFinder)> = Vec::new();
        for line in self.lines() {
            for measure in &self.measures {
                let points = line.points(&measure.name);
                let x: Vec<f64> = points.iter().map(|(x, _)| *x).collect();
                let y: Vec<f64> = points.iter().map(|(_, value)| value.value).collect();
                let known = finders.iter().position(|(places, _)| *places == x);
                let index = known.unwrap_or_else(|| {
                    finders.push((x.clone(), KneeFinder::new(&x)));
                    finders.len() - 1
                });
                let mut shape = finders[index].1.find(&y, measure.worse);
                // Plans share items and so their luck: what looks like a bend may be within what another sample would show.
                if matches!(shape, Shape::Knee(knee) if !is_beyond_intervals(&points, &knee, measure.worse))
                {
                    shape = Shape::Straight;
                }
                let knees = self.knees.entry(line.name.clone()).or_default();
                knees.insert(measure.name.clone(), shape);
            }
        }
    }

    /// The knee of a line in a measure, where it has one.
    pub fn knee(&self, line: &str, measure: &str) -> Option<&Knee> {
        match self.knees.get(line)?.get(measure)? {
            Shape::Knee(knee) => Some(knee),
            _ => None,
        }
    }

    /// Parses and checks a curve.
    ///
    /// # Errors
    /// It is none, of another version, or contradicts itself.
    pub fn parse(json: &[u8]) -> Result<Self, CurveError> {
        check_header(json, (FORMAT, VERSION), MAX_CURVE_BYTES).map_err(|error| match error {
            HeaderError::Other(reason) => not_a_curve(reason),
            HeaderError::Version(found) => CurveError::Version {
                found,
                known: VERSION,
            },
        })?;
        let curve: Self = serde_json::from_slice(json).map_err(not_a_curve)?;
        curve.check()?;
        Ok(curve)
    }

    /// The curve as its file's text.
    pub fn to_json(&self) -> String {
        pretty(self)
    }

    fn check(&self) -> Result<(), CurveError> {
        let layers = self.model.layers;
        for series in &self.series {
            let rises = series
                .points
                .windows(2)
                .all(|pair| pair[0].dropped < pair[1].dropped);
            if !rises || series.points.iter().any(|point| point.dropped >= layers) {
                let name: String = series.name.chars().take(40).collect();
                let reason =
                    format!("series {name:?} does not go from no layer to fewer than {layers}");
                return Err(not_a_curve(reason));
            }
            for point in &series.points {
                let is_share = (point.fraction * layers as f64 - point.dropped as f64).abs() < 1e-6;
                if !is_share || point.values.values().any(|value| !value.is_finite()) {
                    return Err(not_a_curve(format!(
                        "the point of {} layers is none",
                        point.dropped
                    )));
                }
            }
        }
        Ok(())
    }
}

/// Whether some figure after the knee is worse than the one before it by more than their intervals.
fn is_beyond_intervals(points: &[(f64, Value)], knee: &Knee, worse: Worse) -> bool {
    let before = points.iter().rfind(|(x, _)| *x <= knee.at + 1e-9);
    let after = points.iter().filter(|(x, _)| *x > knee.at + 1e-9);
    before.is_some_and(|(_, before)| {
        after.map(|(_, after)| after).any(|after| {
            let is_worse = match worse {
                Worse::Up => after.value > before.value,
                Worse::Down => after.value < before.value,
            };
            is_worse && !after.may_equal(before)
        })
    })
}

fn not_a_curve(reason: impl ToString) -> CurveError {
    CurveError::NotACurve {
        reason: reason.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn curve(figures: &[f64], half: f64) -> Curve {
        let layers = figures.len();
        let model = CurveModel {
            name: "m".into(),
            sha256: "00".into(),
            layers,
            vocab_size: 512,
        };
        let stretch = Stretch {
            files: vec!["t.txt".into()],
            sha256: "00".into(),
            first: 0,
            tokens: 512,
        };
        let mut curve = Curve::new(model, stretch.clone(), stretch, "cpu".into());
        curve.measures.push(Measure {
            name: "piqa".into(),
            title: "piqa".into(),
            worse: Worse::Down,
            protocol: String::new(),
            items: 200,
            baseline: None,
            is_drawn: true,
        });
        let point = |(dropped, figure): (usize, &f64)| {
            let value = Value {
                value: *figure,
                low: figure - half,
                high: figure + half,
            };
            let plan = crate::plan::LayerPlan::simple(layers, dropped).expect("a plan");
            Point::new(
                dropped,
                layers,
                &plan.into(),
                BTreeMap::from([("piqa".into(), value)]),
            )
        };
        curve.series.push(Series {
            name: "simple".into(),
            line: "simple".into(),
            model: "m".into(),
            strategy: Strategy::Simple,
            seed: None,
            healed: None,
            points: figures.iter().enumerate().map(point).collect(),
        });
        curve.find_knees();
        curve
    }

    const CLIFF: [f64; 12] = [
        0.7, 0.69, 0.7, 0.7, 0.69, 0.7, 0.6, 0.5, 0.41, 0.3, 0.2, 0.1,
    ];

    #[test]
    fn a_bend_within_the_intervals_is_no_knee() {
        let knee = curve(&CLIFF, 0.03)
            .knee("simple", "piqa")
            .map(|knee| knee.at);
        assert!(
            knee.is_some_and(|at| (at - 5.0 / 12.0).abs() < 0.05),
            "{knee:?}"
        );
        assert_eq!(curve(&CLIFF, 0.4).knee("simple", "piqa"), None);
    }

    #[test]
    fn series_of_one_line_are_drawn_as_their_mean_from_the_least_to_the_most() {
        let (mut low, high) = (curve(&[0.2; 12], 0.1), curve(&[0.4; 12], 0.1));
        low.series.extend(high.series);
        let lines = low.lines();
        assert!(lines.len() == 1 && lines[0].is_mean());
        let (_, value) = lines[0].points("piqa")[3];
        assert!((value.value - 0.3).abs() < 1e-12);
        assert_eq!((value.low, value.high), (0.2, 0.4));
    }

    #[test]
    fn a_curve_survives_its_file_and_damaged_ones_are_refused() {
        let good = curve(&CLIFF, 0.03);
        let json = good.to_json();
        assert_eq!(Curve::parse(json.as_bytes()).expect("its own file"), good);
        for (from, to) in [
            ("halfdepth-curve", "something"),
            ("\"version\": 1", "\"version\": 2"),
            ("\"dropped\": 3", "\"dropped\": 2"),
            ("\"dropped\": 11", "\"dropped\": 12"),
            ("\"fraction\": 0.25", "\"fraction\": 0.5"),
            ("\"value\": 0.41", "\"value\": null"),
        ] {
            assert!(json.contains(from), "{from}");
            let error = Curve::parse(json.replacen(from, to, 1).as_bytes()).expect_err(to);
            assert!(error.to_string().starts_with("curve"), "{error}");
        }
        assert!(Curve::parse(b"{").is_err() && Curve::parse(b"\xff").is_err());
    }
}
