//! In: steps and held-out losses as they come. Out: `log.jsonl`, a line in the terminal, and in the end the loss curve as a figure.

use std::collections::VecDeque;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::Result;
use halfdepth::heal::StepNote;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::Value;

use crate::chart::{LossCurve, loss_curve};
use crate::conduct::write_whole;
use crate::journal::{self, Journal};

/// Pixels of the PNG for each point of the SVG.
const PNG_SCALE: f32 = 2.0;
/// Losses that the line in the terminal shows.
const SHOWN: usize = 32;
/// Lines on steps where there is no terminal, at most.
const LINES: u64 = 50;

/// What was noted of each step.
pub(super) struct Log {
    path: PathBuf,
    journal: Journal,
}

impl Log {
    /// Goes on after `step`: what an interrupted run noted past its last state is noted again.
    pub(super) fn open(path: &Path, step: u64) -> Result<Self> {
        let known = if step == 0 {
            String::new()
        } else {
            journal::read(path)?
        };
        let is_kept = |line: &&str| {
            let line: Option<Value> = serde_json::from_str(line).ok();
            line.and_then(|line| line["step"].as_u64())
                .is_some_and(|noted| noted <= step)
        };
        let kept: String = known
            .lines()
            .filter(is_kept)
            .flat_map(|line| [line, "\n"])
            .collect();
        Ok(Self {
            journal: Journal::begin(path, &kept, "--output")?,
            path: path.to_path_buf(),
        })
    }

    /// Adds a line.
    pub(super) fn add(&mut self, line: &Value) -> Result<()> {
        self.journal.add(&format!("{line}\n"))
    }

    /// Draws what was noted: `loss.svg` and `loss.png`.
    pub(super) fn draw(&self, folder: &Path, plan: &str) -> Result<()> {
        let mut curve = LossCurve {
            title: format!("healing of plan {plan}"),
            trained: Vec::new(),
            held_out: Vec::new(),
        };
        for line in journal::read(&self.path)?.lines() {
            let line: Value = serde_json::from_str(line)?;
            let Some(step) = line["step"].as_f64() else {
                continue;
            };
            match (line["loss"].as_f64(), line["held_out_loss"].as_f64()) {
                (Some(loss), _) => curve.trained.push((step, loss)),
                (_, Some(loss)) => curve.held_out.push((step, loss)),
                _ => {}
            }
        }
        let drawing = loss_curve(&curve);
        write_whole(&folder.join("loss.svg"), &drawing.to_svg())?;
        write_whole(&folder.join("loss.png"), &drawing.to_png(PNG_SCALE)?)
    }
}

/// The line in the terminal; lines, one below the other, where there is none.
pub(super) struct Display {
    bar: Option<ProgressBar>,
    is_silent: bool,
    steps: u64,
    losses: VecDeque<f64>,
    since: Instant,
    since_step: u64,
    held_out: Option<f64>,
}

impl Display {
    pub(super) fn new(steps: u64, is_silent: bool) -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::new(steps);
            match ProgressStyle::with_template("{bar:16} {pos}/{len} {msg} {eta}") {
                Ok(style) => bar.with_style(style),
                Err(_) => bar,
            }
        });
        Self {
            bar,
            is_silent,
            steps,
            losses: VecDeque::new(),
            since: Instant::now(),
            since_step: 0,
            held_out: None,
        }
    }

    /// A step was done.
    pub(super) fn step(&mut self, note: &StepNote, tokens_a_step: u64) {
        if self.losses.len() == SHOWN {
            self.losses.pop_front();
        }
        self.losses.push_back(note.loss);
        if self.since_step == 0 {
            self.since_step = note.step;
            self.since = Instant::now();
        }
        let steps = (note.step - self.since_step) as f64;
        let speed = steps * tokens_a_step as f64 / self.since.elapsed().as_secs_f64().max(1e-9);
        let held_out = self
            .held_out
            .map_or(String::new(), |loss| format!("  held-out {loss:.4}"));
        if let Some(bar) = &self.bar {
            bar.set_position(note.step);
            bar.set_message(format!(
                "{} {:.4}{held_out}  {speed:.0} tokens/s",
                sparkline(self.losses.iter().copied()),
                note.loss
            ));
        } else if !self.is_silent && note.step.is_multiple_of((self.steps / LINES).max(1)) {
            println!(
                "step {}/{}  loss {:.4}  rate {:.2e}  {speed:.0} tokens/s",
                note.step, self.steps, note.loss, note.rate
            );
        }
    }

    /// A held-out loss was measured.
    pub(super) fn held_out(&mut self, step: u64, loss: f64) {
        self.held_out = Some(loss);
        self.say(&format!(
            "step {step}/{}  held-out loss {loss:.4}",
            self.steps
        ));
    }

    /// A line that stays.
    pub(super) fn say(&self, line: &str) {
        match &self.bar {
            Some(bar) => bar.println(line),
            None if !self.is_silent => println!("{line}"),
            None => {}
        }
    }

    /// Nothing moves any more.
    pub(super) fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// Values as bars of eight heights, the lowest value the lowest bar.
fn sparkline(values: impl Iterator<Item = f64> + Clone) -> String {
    const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let low = values.clone().fold(f64::INFINITY, f64::min);
    let high = values.clone().fold(f64::NEG_INFINITY, f64::max);
    let bar = |value: f64| {
        let height = (value - low) / (high - low).max(f64::MIN_POSITIVE) * (BARS.len() - 1) as f64;
        BARS[(height.round() as usize).min(BARS.len() - 1)]
    };
    values.map(bar).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sparkline_falls_as_its_values_do() {
        for (values, line) in [
            (vec![8.0, 1.0], "█▁"),
            (vec![2.0, 2.0], "▁▁"),
            (vec![0.0, 3.5, 7.0], "▁▅█"),
            (vec![], ""),
        ] {
            assert_eq!(sparkline(values.into_iter()), line);
        }
    }
}
