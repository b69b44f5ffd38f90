//! Baselines, warnings, and what a task of known answers comes to.

use halfdepth::eval::{
    Accuracy, Answer, Ask, Baselines, Figures, Item, TaskReport, summarise, warnings,
};

use crate::items;

fn choosing(items: &[Item], choice: impl Fn(usize, &Item) -> usize) -> Figures {
    let answers: Vec<Answer> = (items.iter().enumerate())
        .map(|(index, item)| {
            let Ask::Choice { requests, .. } = &item.ask else {
                panic!("no choice")
            };
            let chosen = choice(index, item);
            Answer::Choice {
                logs: (0..requests.len())
                    .map(|at| if at == chosen { -1.0 } else { -2.0 })
                    .collect(),
                is_cut: false,
            }
        })
        .collect();
    summarise(items, &answers, 1000).expect("figures").0
}

#[test]
fn always_yes_scores_0_6217_on_boolq_which_is_its_majority() {
    let items = items("boolq".parse().expect("a task"), None);
    let Figures::Choice {
        accuracy,
        baselines,
        ..
    } = choosing(&items, |_, _| 1)
    else {
        panic!("no choice")
    };
    assert_eq!(format!("{:.4}", accuracy.share), "0.6217");
    assert_eq!(format!("{:.4}", baselines.majority), "0.6217");
    assert_eq!(
        (baselines.most_frequent.as_str(), baselines.chance),
        ("yes", 0.5)
    );
    assert_eq!((accuracy.right, accuracy.of), (2033, 3270));
}

#[test]
fn mmlu_is_given_per_question_and_as_a_mean_over_subjects() {
    let items = items("mmlu-0shot".parse().expect("a task"), None);
    // Right in one subject alone: the two means must differ.
    let right = |_: usize, item: &Item| match &item.ask {
        Ask::Choice { gold, .. } if &*item.group == "anatomy" => *gold,
        Ask::Choice { gold, .. } => (gold + 1) % 4,
        _ => 0,
    };
    let Figures::Choice {
        accuracy,
        over_subjects,
        subjects,
        baselines,
        ..
    } = choosing(&items, right)
    else {
        panic!("no choice")
    };
    assert_eq!(subjects.len(), 57);
    assert_eq!((accuracy.right, accuracy.of), (135, 14_042));
    let mean = over_subjects.expect("a mean").value;
    assert!((mean - 1.0 / 57.0).abs() < 1e-12, "{mean}");
    assert_eq!(baselines.chance, 0.25);
    assert!(["A", "B", "C", "D"].contains(&baselines.most_frequent.as_str()));
}

fn report(task: &str, figures: Figures) -> TaskReport {
    TaskReport {
        task: task.into(),
        text: None,
        protocol: String::new(),
        items: 1000,
        cut: 0,
        figures,
    }
}

fn choice(right: usize) -> TaskReport {
    let accuracy = Accuracy::new(right, 1000);
    let baselines = Baselines {
        chance: 0.25,
        majority: 0.27,
        most_frequent: "A".into(),
    };
    report(
        "mmlu",
        Figures::Choice {
            accuracy,
            accuracy_by_length: accuracy,
            baselines,
            over_subjects: None,
            subjects: Default::default(),
        },
    )
}

fn sums(right: usize) -> TaskReport {
    let baselines = Baselines {
        chance: 0.0,
        majority: 0.03,
        most_frequent: "99".into(),
    };
    report(
        "arithmetic",
        Figures::Word {
            accuracy: Accuracy::new(right, 1000),
            perplexity: 2.0,
            baselines,
        },
    )
}

fn repetition(rate: f64) -> TaskReport {
    report(
        "repetition",
        Figures::Repetition {
            rate,
            text_rate: 0.02,
            grams: 1000,
        },
    )
}

#[test]
fn a_model_that_chooses_well_and_computes_or_writes_badly_is_flagged() {
    // (tasks, a part of the one warning; none where there is nothing to warn of)
    let rows = [
        (vec![choice(600), sums(700), repetition(0.05)], None),
        (
            vec![choice(600), sums(10), repetition(0.05)],
            Some("fails: arithmetic (1.0 % right)"),
        ),
        (
            vec![choice(600), sums(700), repetition(0.8)],
            Some("fails: repetition (80 % of 4-grams)"),
        ),
        (vec![choice(260), sums(10)], Some("does not beat guessing")),
        (
            vec![choice(600)],
            Some("no generation or arithmetic was measured"),
        ),
    ];
    for (tasks, expected) in rows {
        let found = warnings(&tasks);
        assert_eq!(found.len(), usize::from(expected.is_some()), "{found:?}");
        if let Some(part) = expected {
            assert!(found[0].contains(part), "{found:?}");
        }
    }
}
