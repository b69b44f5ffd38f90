//! In: a task's items and answers. Out: its figures.

use std::collections::{BTreeMap, BTreeSet};

use super::item::{choose, choose_by_length};
use super::report::{Accuracy, Baselines, Figures, Mean};
use super::statistics::{Interval, Z, mean_interval};
use super::{Answer, Ask, Item};

/// The figures of a task's items and answers; `None` where there is nothing of the kind that the first item asks.
pub fn summarise(
    items: &[Item],
    answers: &[Answer],
    vocab_size: usize,
) -> Option<(Figures, usize)> {
    let pairs: Vec<(&Item, &Answer)> = items.iter().zip(answers).collect();
    let cut = (answers.iter())
        .filter(|answer| match answer {
            Answer::Choice { is_cut, .. }
            | Answer::Greedy { is_cut, .. }
            | Answer::Number { is_cut, .. } => *is_cut,
            _ => false,
        })
        .count();
    let figures = match &items.first()?.ask {
        Ask::Choice { .. } => choice(&pairs),
        Ask::Greedy(_) => word(&pairs),
        Ask::Number { .. } => number(&pairs),
        Ask::Page { .. } => pages(&pairs, vocab_size),
        Ask::Window(_) => loss(answers, vocab_size),
        Ask::Compare(_) => distance(answers),
        Ask::Repetition { .. } => repetition(answers),
    };
    Some((figures, cut))
}

fn choice(pairs: &[(&Item, &Answer)]) -> Figures {
    let mut plain = Vec::new();
    let mut by_length = Vec::new();
    let mut golds = Vec::new();
    let mut chance = 0.0;
    let mut subjects: BTreeMap<String, Vec<bool>> = BTreeMap::new();
    for (item, answer) in pairs {
        let (
            Ask::Choice {
                lengths,
                gold,
                requests,
            },
            Answer::Choice { logs, .. },
        ) = (&item.ask, answer)
        else {
            continue;
        };
        let right = choose(logs) == *gold;
        plain.push(right);
        by_length.push(choose_by_length(logs, lengths) == *gold);
        golds.push(requests[*gold].continuation.clone());
        chance += 1.0 / requests.len() as f64;
        subjects
            .entry(item.group.to_string())
            .or_default()
            .push(right);
    }
    chance /= plain.len().max(1) as f64;
    // Where every item has options of its own, the most frequent answer is a position.
    let positions: Vec<String> = (pairs.iter())
        .filter_map(|(item, _)| match &item.ask {
            Ask::Choice { gold, .. } => Some(format!("option {}", gold + 1)),
            _ => None,
        })
        .collect();
    let same = golds.iter().collect::<BTreeSet<_>>().len() <= 4;
    let labels = if same { &golds } else { &positions };
    let baselines = Baselines::new(labels.iter().map(|label| label.trim()), chance);
    let subjects: BTreeMap<String, Accuracy> = (subjects.into_iter())
        .map(|(subject, rights)| (subject, Accuracy::of(rights)))
        .collect();
    Figures::Choice {
        accuracy: Accuracy::of(plain),
        accuracy_by_length: Accuracy::of(by_length),
        baselines,
        over_subjects: (subjects.len() > 1).then(|| over_subjects(&subjects)),
        subjects: if subjects.len() > 1 {
            subjects
        } else {
            BTreeMap::new()
        },
    }
}

/// The subjects are fixed; the questions of each are a sample.
fn over_subjects(subjects: &BTreeMap<String, Accuracy>) -> Mean {
    let n = subjects.len() as f64;
    let value = subjects.values().map(|subject| subject.share).sum::<f64>() / n;
    let variance: f64 = (subjects.values())
        .map(|subject| subject.share * (1.0 - subject.share) / subject.of as f64)
        .sum();
    let half = Z * variance.sqrt() / n;
    let interval = Interval {
        low: value - half,
        high: value + half,
    };
    Mean { value, interval }
}

fn word(pairs: &[(&Item, &Answer)]) -> Figures {
    let mut rights = Vec::new();
    let mut logs = Vec::new();
    let mut words = Vec::new();
    for (item, answer) in pairs {
        if let (Ask::Greedy(request), Answer::Greedy { log, is_right, .. }) = (&item.ask, answer) {
            rights.push(*is_right);
            logs.push(*log);
            words.push(request.continuation.trim());
        }
    }
    Figures::Word {
        perplexity: (-logs.iter().sum::<f64>() / logs.len().max(1) as f64).exp(),
        accuracy: Accuracy::of(rights),
        baselines: Baselines::new(words, 0.0),
    }
}

fn number(pairs: &[(&Item, &Answer)]) -> Figures {
    let mut rights = Vec::new();
    let mut golds = Vec::new();
    let mut without = 0;
    for (item, answer) in pairs {
        if let (
            Ask::Number { gold, .. },
            Answer::Number {
                is_right, number, ..
            },
        ) = (&item.ask, answer)
        {
            rights.push(*is_right);
            golds.push(gold.rsplit("#### ").next().unwrap_or_default());
            without += usize::from(number == "[invalid]");
        }
    }
    Figures::Number {
        without_number: without as f64 / rights.len().max(1) as f64,
        accuracy: Accuracy::of(rights),
        baselines: Baselines::new(golds, 0.0),
    }
}

fn pages(pairs: &[(&Item, &Answer)], vocab_size: usize) -> Figures {
    let (mut nats, mut all_words, mut all_bytes, mut all_tokens) = (0.0, 0, 0, 0);
    for (item, answer) in pairs {
        if let (Ask::Page { words, bytes, .. }, Answer::Log { log, tokens }) = (&item.ask, answer) {
            nats -= log;
            all_words += words;
            all_bytes += bytes;
            all_tokens += tokens;
        }
    }
    let each = |count: usize| nats / count.max(1) as f64;
    Figures::Pages {
        word_perplexity: each(all_words).exp(),
        byte_perplexity: each(all_bytes).exp(),
        bits_per_byte: each(all_bytes) / std::f64::consts::LN_2,
        cross_entropy: each(all_tokens),
        over_ln_v: each(all_tokens) / (vocab_size as f64).ln(),
        tokens: all_tokens,
    }
}

fn loss(answers: &[Answer], vocab_size: usize) -> Figures {
    let windows = answers.iter().filter_map(|answer| match answer {
        Answer::Log { log, tokens } => Some((-log, *tokens as f64)),
        _ => None,
    });
    let (nats, tokens): (Vec<f64>, Vec<f64>) = windows.unzip();
    let (value, interval) = mean_interval(&nats, &tokens);
    Figures::Loss {
        cross_entropy: Mean { value, interval },
        over_ln_v: value / (vocab_size as f64).ln(),
        perplexity: value.exp(),
        tokens: tokens.iter().sum::<f64>() as usize,
    }
}

fn distance(answers: &[Answer]) -> Figures {
    let (mut nats, mut agreements, mut all) = (Vec::new(), Vec::new(), Vec::new());
    for answer in answers {
        if let Answer::Distance { kl, agreed, tokens } = answer {
            nats.push(*kl);
            agreements.push(*agreed as f64);
            all.push(*tokens as f64);
        }
    }
    let mean = |sums: &[f64]| {
        let (value, interval) = mean_interval(sums, &all);
        Mean { value, interval }
    };
    Figures::Distance {
        kl: mean(&nats),
        agreement: mean(&agreements),
        tokens: all.iter().sum::<f64>() as usize,
    }
}

fn repetition(answers: &[Answer]) -> Figures {
    let (mut written, mut truth) = ((0, 0), (0, 0));
    for answer in answers {
        if let Answer::Repetition {
            written: w,
            truth: t,
        } = answer
        {
            written = (written.0 + w.0, written.1 + w.1);
            truth = (truth.0 + t.0, truth.1 + t.1);
        }
    }
    let rate = |(repeated, all): (usize, usize)| repeated as f64 / all.max(1) as f64;
    Figures::Repetition {
        rate: rate(written),
        text_rate: rate(truth),
        grams: written.1,
    }
}
