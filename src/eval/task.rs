//! The benchmarks: their names, their files, and the items they make of them.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use super::data::{self, Form, Question};
use super::item::Item;
use super::text::{wikitext_detokenized, wikitext_pages};
use super::{Ask, EvalError, prompt};
use crate::draws::SplitMix;

/// MMLU's subjects, in the order of their names.
pub const MMLU_SUBJECTS: [&str; 57] = [
    "abstract_algebra",
    "anatomy",
    "astronomy",
    "business_ethics",
    "clinical_knowledge",
    "college_biology",
    "college_chemistry",
    "college_computer_science",
    "college_mathematics",
    "college_medicine",
    "college_physics",
    "computer_security",
    "conceptual_physics",
    "econometrics",
    "electrical_engineering",
    "elementary_mathematics",
    "formal_logic",
    "global_facts",
    "high_school_biology",
    "high_school_chemistry",
    "high_school_computer_science",
    "high_school_european_history",
    "high_school_geography",
    "high_school_government_and_politics",
    "high_school_macroeconomics",
    "high_school_mathematics",
    "high_school_microeconomics",
    "high_school_physics",
    "high_school_psychology",
    "high_school_statistics",
    "high_school_us_history",
    "high_school_world_history",
    "human_aging",
    "human_sexuality",
    "international_law",
    "jurisprudence",
    "logical_fallacies",
    "machine_learning",
    "management",
    "marketing",
    "medical_genetics",
    "miscellaneous",
    "moral_disputes",
    "moral_scenarios",
    "nutrition",
    "philosophy",
    "prehistory",
    "professional_accounting",
    "professional_law",
    "professional_medicine",
    "professional_psychology",
    "public_relations",
    "security_studies",
    "sociology",
    "us_foreign_policy",
    "virology",
    "world_religions",
];

/// Sums that the arithmetic probe asks.
const SUMS: usize = 200;

/// How MMLU's answers are given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mmlu {
    /// The options are listed, and their letters are scored.
    Letter,
    /// The options are not shown, and their texts are scored: what small models can do.
    Cloze,
}

/// A benchmark. Its name is what `--tasks` takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "the names are the benchmarks' own")]
pub enum Task {
    Mmlu { kind: Mmlu, shots: usize },
    BoolQ,
    HellaSwag,
    ArcEasy,
    ArcChallenge,
    Piqa,
    WinoGrande,
    OpenBookQa,
    Lambada,
    Gsm8k,
    Gsm8kCot,
    Arithmetic,
    WikiText,
}

/// A task's files by name.
pub type Files = BTreeMap<String, Vec<u8>>;

impl Task {
    /// All of them.
    pub const ALL: [Self; 16] = [
        Self::mmlu(Mmlu::Letter, 5),
        Self::mmlu(Mmlu::Letter, 0),
        Self::mmlu(Mmlu::Cloze, 5),
        Self::mmlu(Mmlu::Cloze, 0),
        Self::BoolQ,
        Self::HellaSwag,
        Self::ArcEasy,
        Self::ArcChallenge,
        Self::Piqa,
        Self::WinoGrande,
        Self::OpenBookQa,
        Self::Lambada,
        Self::Gsm8k,
        Self::Gsm8kCot,
        Self::Arithmetic,
        Self::WikiText,
    ];

    const fn mmlu(kind: Mmlu, shots: usize) -> Self {
        Self::Mmlu { kind, shots }
    }

    /// What `--tasks` takes.
    pub fn name(self) -> &'static str {
        match self {
            Self::Mmlu {
                kind: Mmlu::Letter,
                shots: 0,
            } => "mmlu-0shot",
            Self::Mmlu {
                kind: Mmlu::Letter, ..
            } => "mmlu",
            Self::Mmlu {
                kind: Mmlu::Cloze,
                shots: 0,
            } => "mmlu-cloze-0shot",
            Self::Mmlu {
                kind: Mmlu::Cloze, ..
            } => "mmlu-cloze",
            Self::BoolQ => "boolq",
            Self::HellaSwag => "hellaswag",
            Self::ArcEasy => "arc-easy",
            Self::ArcChallenge => "arc-challenge",
            Self::Piqa => "piqa",
            Self::WinoGrande => "winogrande",
            Self::OpenBookQa => "openbookqa",
            Self::Lambada => "lambada",
            Self::Gsm8k => "gsm8k",
            Self::Gsm8kCot => "gsm8k-cot",
            Self::Arithmetic => "arithmetic",
            Self::WikiText => "wikitext",
        }
    }

    /// How it is asked and scored, in a line.
    pub fn protocol(self) -> &'static str {
        match self {
            Self::Mmlu {
                kind: Mmlu::Letter,
                shots: 0,
            } => "0 shots, letters scored",
            Self::Mmlu {
                kind: Mmlu::Letter, ..
            } => "5 shots from dev, letters scored",
            Self::Mmlu {
                kind: Mmlu::Cloze,
                shots: 0,
            } => "0 shots, texts of the options scored",
            Self::Mmlu {
                kind: Mmlu::Cloze, ..
            } => "5 shots from dev, texts of the options scored",
            Self::BoolQ => "0 shots, ` no` against ` yes`",
            Self::HellaSwag | Self::OpenBookQa => "0 shots, endings scored",
            Self::ArcEasy | Self::ArcChallenge | Self::Piqa => {
                "0 shots, texts of the options scored"
            }
            Self::WinoGrande => "0 shots, what follows the blank scored",
            Self::Lambada => "0 shots, right if every token of the last word is the likeliest",
            Self::Gsm8k => "0 shots, greedy, the last number is the answer",
            Self::Gsm8kCot => "8 worked shots, greedy, the last number is the answer",
            Self::Arithmetic => {
                "0 shots, sums of two numbers below 100 drawn from the seed, right if every token is the likeliest"
            }
            Self::WikiText => {
                "pages detokenised, rolling windows of the model's context, each token predicted once"
            }
        }
    }

    /// Whether it is answered by choosing among options.
    pub fn is_choice(self) -> bool {
        !matches!(
            self,
            Self::Lambada | Self::Gsm8k | Self::Gsm8kCot | Self::Arithmetic | Self::WikiText
        )
    }

    /// The files it is made of, as they are named in the data folder.
    pub fn files(self) -> Vec<String> {
        let one = |file: &str| vec![file.to_string()];
        match self {
            Self::Mmlu { .. } => (MMLU_SUBJECTS.iter())
                .flat_map(|subject| ["dev", "test"].map(|split| mmlu_file(split, subject)))
                .collect(),
            Self::BoolQ => one("boolq_validation.json"),
            Self::HellaSwag => one("hellaswag_val_full.txt"),
            Self::ArcEasy => one("ARC-Easy/test.json"),
            Self::ArcChallenge => one("ARC-Challenge/test.json"),
            Self::Piqa => one("piqa/test.json"),
            Self::WinoGrande => one("winogrande/test.json"),
            Self::OpenBookQa => one("openbookqa/test.json"),
            Self::Lambada => one("lambada_test.jsonl"),
            Self::Gsm8k | Self::Gsm8kCot => one("gsm8k_test.jsonl"),
            Self::Arithmetic => Vec::new(),
            Self::WikiText => one("wiki.test.raw"),
        }
    }

    /// Its items: the first `limit` (of MMLU, of every subject), all without one. `seed` draws what is drawn.
    ///
    /// # Errors
    /// A file is missing or damaged.
    pub fn items(
        self,
        files: &Files,
        limit: Option<usize>,
        seed: u64,
    ) -> Result<Vec<Item>, EvalError> {
        let limit = limit.unwrap_or(usize::MAX);
        let group: Arc<str> = self.name().into();
        let asks: Vec<Ask> = match self {
            Self::Mmlu { kind, shots } => return self.mmlu_items(files, kind, shots, limit),
            Self::BoolQ => (self.parse(files, data::boolq)?.iter())
                .take(limit)
                .map(prompt::boolq)
                .collect(),
            Self::HellaSwag => (self.parse(files, data::hellaswag)?.iter())
                .take(limit)
                .map(prompt::continued)
                .collect(),
            Self::OpenBookQa => (self.instruct(files, Form::Answer)?.iter())
                .take(limit)
                .map(prompt::continued)
                .collect(),
            Self::ArcEasy | Self::ArcChallenge => (self.instruct(files, Form::Answer)?.iter())
                .take(limit)
                .map(prompt::answered)
                .collect(),
            Self::Piqa => (self.instruct(files, Form::Solution)?.iter())
                .take(limit)
                .map(prompt::answered)
                .collect(),
            Self::WinoGrande => self.winogrande(files, limit)?,
            Self::Lambada => (self.parse(files, data::lambada)?.iter())
                .take(limit)
                .map(|text| prompt::last_word(text))
                .collect(),
            Self::Gsm8k => (self.parse(files, data::gsm8k)?.iter())
                .take(limit)
                .map(prompt::gsm8k)
                .collect(),
            Self::Gsm8kCot => (self.parse(files, data::gsm8k)?.iter())
                .take(limit)
                .map(prompt::gsm8k_cot)
                .collect(),
            Self::Arithmetic => sums(limit, seed),
            Self::WikiText => self.pages(files, limit)?,
        };
        Ok(asks
            .into_iter()
            .map(|ask| prompt::item(&group, ask))
            .collect())
    }

    fn mmlu_items(
        self,
        files: &Files,
        kind: Mmlu,
        shots: usize,
        limit: usize,
    ) -> Result<Vec<Item>, EvalError> {
        let mut items = Vec::new();
        for subject in MMLU_SUBJECTS {
            let group: Arc<str> = subject.into();
            let read = |split| {
                let name = mmlu_file(split, subject);
                data::mmlu(&name, self.file(files, &name)?)
            };
            let (dev, test) = (read("dev")?, read("test")?);
            let shots = &dev[..shots.min(dev.len())];
            items.extend((test.iter().take(limit)).map(|question| {
                prompt::item(&group, prompt::mmlu(subject, shots, question, kind))
            }));
        }
        Ok(items)
    }

    fn winogrande(self, files: &Files, limit: usize) -> Result<Vec<Ask>, EvalError> {
        let questions = self.instruct(files, Form::Option)?;
        let asks = questions.iter().take(limit).enumerate();
        asks.map(|(index, question)| {
            prompt::winogrande(question).ok_or_else(|| EvalError::Data {
                file: self.files().concat(),
                place: format!("item {}", index + 1),
                reason: "the sentence has no blank `_`".into(),
            })
        })
        .collect()
    }

    fn pages(self, files: &Files, limit: usize) -> Result<Vec<Ask>, EvalError> {
        let name = self.files().concat();
        let text =
            std::str::from_utf8(self.file(files, &name)?).map_err(|error| EvalError::Data {
                file: name.clone(),
                place: "the whole file".into(),
                reason: format!("it is not UTF-8: {error}"),
            })?;
        let pages = wikitext_pages(text);
        Ok((pages.iter().take(limit))
            .map(|page| Ask::Page {
                text: wikitext_detokenized(page),
                // As Python's `len(re.split(r"\s+", page))`: space at an end parts an empty word off.
                words: page.split_whitespace().count()
                    + usize::from(page.starts_with(char::is_whitespace))
                    + usize::from(page.ends_with(char::is_whitespace)),
                bytes: page.len(),
            })
            .collect())
    }

    fn instruct(self, files: &Files, form: Form) -> Result<Vec<Question>, EvalError> {
        self.parse(files, |name, bytes| data::instruct(name, bytes, form))
    }

    fn parse<T>(
        self,
        files: &Files,
        parse: impl Fn(&str, &[u8]) -> Result<T, EvalError>,
    ) -> Result<T, EvalError> {
        let name = self.files().concat();
        parse(&name, self.file(files, &name)?)
    }

    fn file<'f>(self, files: &'f Files, name: &str) -> Result<&'f [u8], EvalError> {
        let bytes = files.get(name).ok_or_else(|| EvalError::MissingFile {
            task: self.name().into(),
            file: name.into(),
        })?;
        Ok(bytes)
    }
}

impl fmt::Display for Task {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Task {
    type Err = EvalError;

    fn from_str(name: &str) -> Result<Self, EvalError> {
        let found = Self::ALL.into_iter().find(|task| task.name() == name);
        found.ok_or_else(|| EvalError::NoSuchTask {
            found: name.chars().take(40).collect(),
            known: Self::ALL.map(Self::name).join(", "),
        })
    }
}

fn mmlu_file(split: &str, subject: &str) -> String {
    format!("mmlu/{split}/{subject}_{split}.csv")
}

fn sums(limit: usize, seed: u64) -> Vec<Ask> {
    let mut random = SplitMix(seed);
    (0..SUMS.min(limit))
        .map(|_| prompt::sum(random.below(100), random.below(100)))
        .collect()
}
