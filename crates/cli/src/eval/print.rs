//! In: a report. Out: the table a terminal shows.

use halfdepth::eval::{Accuracy, Baselines, EvalReport, Figures, Interval, Mean, TaskReport};

/// The whole report as text.
pub(super) fn report(report: &EvalReport) -> String {
    let healed = report.healing.as_ref();
    let mut lines = vec![format!(
        "{} · plan {}: {} layers{} · {}",
        report.model.name,
        report.plan.name,
        report.plan.layers.len(),
        healed.map_or_else(String::new, |h| format!(", healed by {}", h.method)),
        report.device
    )];
    for task in &report.tasks {
        lines.push(String::new());
        let text = task
            .text
            .as_ref()
            .map_or(String::new(), |text| format!(" of {text}"));
        lines.push(format!(
            "{}{text} · {} items · {}",
            task.task, task.items, task.protocol
        ));
        lines.extend(
            figures(task, &report.reference)
                .into_iter()
                .map(|line| format!("  {line}")),
        );
        if task.cut > 0 {
            lines.push(format!(
                "  {} of {} prompts were cut at the left: the model's context has {} positions",
                task.cut, task.items, report.model.context
            ));
        }
    }
    if !report.warnings.is_empty() {
        lines.push(String::new());
        lines.extend(
            report
                .warnings
                .iter()
                .map(|warning| format!("note: {warning}")),
        );
    }
    lines.push(String::new());
    lines.push("[a, b]: 95 % interval; Wilson for shares of items, normal approximation over windows or subjects".into());
    lines.join("\n") + "\n"
}

fn figures(task: &TaskReport, reference: &str) -> Vec<String> {
    match &task.figures {
        Figures::Choice {
            accuracy: plain,
            accuracy_by_length,
            baselines: guess,
            over_subjects,
            ..
        } => {
            let per_question = match over_subjects {
                Some(_) => "accuracy, per question",
                None => "accuracy",
            };
            let mut lines = vec![accuracy(per_question, plain)];
            if let Some(mean) = over_subjects {
                lines.push(row("accuracy, mean over subjects", &with_interval(mean)));
            }
            lines.push(accuracy("accuracy by length", accuracy_by_length));
            lines.extend(baselines(guess));
            lines
        }
        Figures::Word {
            accuracy: right,
            perplexity,
            baselines: guess,
        } => {
            let mut lines = vec![accuracy("accuracy", right)];
            lines.extend(baselines(guess));
            lines.push(row("perplexity of the word", &format!("{perplexity:.3}")));
            lines
        }
        Figures::Number {
            accuracy: right,
            without_number,
            baselines: guess,
        } => {
            let mut lines = vec![accuracy("exact match", right)];
            lines.extend(baselines(guess));
            lines.push(row(
                "answers without a number",
                &format!("{without_number:.4}"),
            ));
            lines
        }
        Figures::Pages {
            word_perplexity,
            byte_perplexity,
            bits_per_byte,
            cross_entropy,
            over_ln_v,
            tokens,
        } => vec![
            row("word perplexity", &format!("{word_perplexity:.4}")),
            row("byte perplexity", &format!("{byte_perplexity:.4}")),
            row("bits a byte", &format!("{bits_per_byte:.4}")),
            row(
                "cross-entropy",
                &format!("{cross_entropy:.4} nats a token over {tokens}"),
            ),
            row(
                "cross-entropy / ln V",
                &format!("{over_ln_v:.4} (1: uniform guessing)"),
            ),
        ],
        Figures::Loss {
            cross_entropy,
            over_ln_v,
            perplexity,
            tokens,
        } => vec![
            row(
                "cross-entropy",
                &format!(
                    "{} nats a token over {tokens}",
                    with_interval(cross_entropy)
                ),
            ),
            row(
                "cross-entropy / ln V",
                &format!("{over_ln_v:.4} (1: uniform guessing)"),
            ),
            row("perplexity", &format!("{perplexity:.3}")),
        ],
        Figures::Distance {
            kl,
            agreement,
            tokens,
        } => vec![
            row(
                &format!("KL({reference} || this)"),
                &format!("{} nats a token over {tokens}", with_interval(kl)),
            ),
            row("same token picked", &with_interval(agreement)),
        ],
        Figures::Repetition {
            rate,
            text_rate,
            grams,
        } => vec![
            row("repeated 4-grams", &format!("{rate:.4} of {grams}")),
            row("of the text itself", &format!("{text_rate:.4}")),
        ],
    }
}

fn accuracy(name: &str, accuracy: &Accuracy) -> String {
    let Accuracy {
        right,
        of,
        share,
        interval,
    } = accuracy;
    row(
        name,
        &format!("{share:.4} {} ({right} of {of})", range(interval)),
    )
}

fn baselines(baselines: &Baselines) -> [String; 2] {
    let Baselines {
        chance,
        majority,
        most_frequent,
    } = baselines;
    [
        row("by chance", &format!("{chance:.4}")),
        row(
            "by majority",
            &format!("{majority:.4} (always `{most_frequent}`)"),
        ),
    ]
}

fn with_interval(mean: &Mean) -> String {
    format!("{:.4} {}", mean.value, range(&mean.interval))
}

fn range(interval: &Interval) -> String {
    format!("[{:.4}, {:.4}]", interval.low, interval.high)
}

fn row(name: &str, value: &str) -> String {
    format!("{name:<30} {value}")
}
