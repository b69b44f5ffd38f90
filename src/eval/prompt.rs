//! In: a question. Out: the very text that lm-evaluation-harness asks a model with.

use std::sync::Arc;

use super::data::{Problem, Question, YesNo};
use super::item::{Ask, Item, Request};
use super::task::Mmlu;

/// Every choice after one context: the harness puts a space between the two.
fn choices(context: &str, options: &[String], gold: usize) -> Ask {
    let context: Arc<str> = context.into();
    let request = |option: &String| Request {
        context: Arc::clone(&context),
        continuation: format!(" {option}"),
    };
    Ask::Choice {
        requests: options.iter().map(request).collect(),
        lengths: options
            .iter()
            .map(|option| option.chars().count())
            .collect(),
        gold,
    }
}

pub(super) fn mmlu(subject: &str, shots: &[Question], question: &Question, kind: Mmlu) -> Ask {
    let letters = ["A", "B", "C", "D"].map(String::from);
    let (what, options) = match kind {
        Mmlu::Letter => ("multiple choice questions", &letters[..]),
        Mmlu::Cloze => ("questions", &question.options[..]),
    };
    let subject = subject.replace('_', " ");
    let mut context = format!("The following are {what} (with answers) about {subject}.\n\n");
    for shot in shots {
        let answer = match kind {
            Mmlu::Letter => &letters[shot.answer.min(3)],
            Mmlu::Cloze => &shot.options[shot.answer],
        };
        context.push_str(&format!("{} {answer}\n\n", mmlu_question(shot, kind)));
    }
    context.push_str(&mmlu_question(question, kind));
    choices(&context, options, question.answer)
}

fn mmlu_question(question: &Question, kind: Mmlu) -> String {
    let text = question.text.trim();
    match kind {
        Mmlu::Cloze => format!("Question: {text}\nAnswer:"),
        Mmlu::Letter => {
            let mut asked = text.to_string();
            for (letter, option) in ["A", "B", "C", "D"].iter().zip(&question.options) {
                asked.push_str(&format!("\n{letter}. {option}"));
            }
            asked + "\nAnswer:"
        }
    }
}

pub(super) fn boolq(item: &YesNo) -> Ask {
    let context = format!("{}\nQuestion: {}?\nAnswer:", item.passage, item.question);
    choices(
        &context,
        &["no", "yes"].map(String::from),
        usize::from(item.answer),
    )
}

/// HellaSwag, OpenBookQA: the text goes on.
pub(super) fn continued(question: &Question) -> Ask {
    choices(&question.text, &question.options, question.answer)
}

/// ARC, PIQA.
pub(super) fn answered(question: &Question) -> Ask {
    let context = format!("Question: {}\nAnswer:", question.text);
    choices(&context, &question.options, question.answer)
}

/// WinoGrande: the options stand in the context, and what follows the blank is scored. `None` where there is no blank.
pub(super) fn winogrande(question: &Question) -> Option<Ask> {
    let (before, after) = question.text.split_once('_')?;
    let contexts: Vec<String> = (question.options.iter())
        .map(|option| format!("{before}{option}"))
        .collect();
    let continuation = format!(" {}", after.trim());
    let request = |context: &String| Request {
        context: context.as_str().into(),
        continuation: continuation.clone(),
    };
    Some(Ask::Choice {
        requests: contexts.iter().map(request).collect(),
        lengths: contexts
            .iter()
            .map(|context| context.chars().count())
            .collect(),
        gold: question.answer,
    })
}

/// LAMBADA: the last word.
pub(super) fn last_word(text: &str) -> Ask {
    let (context, word) = text.rsplit_once(' ').unwrap_or(("", text));
    Ask::Greedy(Request {
        context: context.into(),
        continuation: format!(" {word}"),
    })
}

/// A sum of two numbers, asked as the harness's `arithmetic` tasks ask.
pub(super) fn sum(a: u64, b: u64) -> Ask {
    Ask::Greedy(Request {
        context: format!("Question: What is {a} plus {b}?\nAnswer:").into(),
        continuation: format!(" {}", a + b),
    })
}

pub(super) fn gsm8k(problem: &Problem) -> Ask {
    Ask::Number {
        prompt: format!("Question: {}\nAnswer:", problem.question),
        gold: problem.answer.clone(),
        stops: ["Question:", "</s>", "<|im_end|>"]
            .map(String::from)
            .to_vec(),
    }
}

/// The eight worked problems of Wei et al. 2022, as the harness gives them.
const WORKED: &str = include_str!("gsm8k_cot.json");

pub(super) fn gsm8k_cot(problem: &Problem) -> Ask {
    let worked: Vec<(String, String)> = serde_json::from_str(WORKED).unwrap_or_default();
    let mut prompt = String::new();
    for (question, answer) in worked {
        prompt.push_str(&format!("Q: {question}\nA: {answer}\n\n"));
    }
    prompt.push_str(&format!("Q: {}\nA:", problem.question));
    let gold = problem.answer.rsplit("####").next().unwrap_or_default();
    Ask::Number {
        prompt,
        gold: gold.trim().to_string(),
        stops: ["Q:", "</s>", "<|im_end|>"].map(String::from).to_vec(),
    }
}

/// The harness's cleaning of HellaSwag: what WikiHow's pages left in brackets goes.
pub(super) fn hellaswag_cleaned(text: &str) -> String {
    let mut rest = text.trim().replace(" [title]", ". ");
    let mut cleaned = String::new();
    while let Some(open) = rest.find('[') {
        // As the pattern `\[.*?\]`, whose dot takes no line break; lines hold none.
        let Some(close) = rest[open..].find(']') else {
            break;
        };
        cleaned.push_str(&rest[..open]);
        rest = rest[open + close + 1..].to_string();
    }
    (cleaned + &rest).replace("  ", " ")
}

/// An item of a task whose items are not grouped.
pub(super) fn item(group: &Arc<str>, ask: Ask) -> Item {
    Item {
        group: Arc::clone(group),
        ask,
    }
}
