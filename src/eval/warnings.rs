//! In: the figures of an evaluation. Out: what they do not show by themselves.

use super::report::{Figures, TaskReport};

/// Repeating more than every second 4-gram is no longer language, whatever the text.
const DEGENERATE: f64 = 0.5;

/// What to tell a reader who looks at one figure alone: multiple choice may be fine where writing or arithmetic is broken, and
/// says nothing where it does not beat guessing.
pub fn warnings(tasks: &[TaskReport]) -> Vec<String> {
    let mut fine = Vec::new();
    let mut failed = Vec::new();
    let mut warnings = Vec::new();
    let (mut chose, mut generated) = (false, false);
    for report in tasks {
        let task = &report.task;
        match &report.figures {
            Figures::Choice {
                accuracy,
                accuracy_by_length,
                baselines,
                ..
            } => {
                chose = true;
                if accuracy.beats(baselines) || accuracy_by_length.beats(baselines) {
                    fine.push(task.as_str());
                } else {
                    warnings.push(format!(
                        "{task} does not beat guessing: it says nothing of this model"
                    ));
                }
            }
            Figures::Word {
                accuracy,
                baselines,
                ..
            } if task == "arithmetic" => {
                generated = true;
                if !accuracy.beats(baselines) {
                    failed.push(format!("{task} ({:.1} % right)", accuracy.share * 100.0));
                }
            }
            Figures::Number {
                accuracy,
                baselines,
                ..
            } => {
                generated = true;
                if !accuracy.beats(baselines) {
                    failed.push(format!("{task} ({:.1} % right)", accuracy.share * 100.0));
                }
            }
            Figures::Repetition { rate, .. } => {
                generated = true;
                if *rate > DEGENERATE {
                    failed.push(format!("{task} ({:.0} % of 4-grams)", rate * 100.0));
                }
            }
            _ => {}
        }
    }
    if !fine.is_empty() && !failed.is_empty() {
        warnings.push(format!(
            "multiple choice says fine ({}), but what the model writes or computes fails: {}",
            fine.join(", "),
            failed.join(", ")
        ));
    }
    if chose && !generated {
        warnings.push(
            "no generation or arithmetic was measured, and multiple choice does not show it: add --tasks repetition,arithmetic,gsm8k"
                .into(),
        );
    }
    warnings
}
