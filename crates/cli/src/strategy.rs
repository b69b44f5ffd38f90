//! What names a choice of layers on the command line: a strategy, and how many are to go.

use std::str::FromStr;

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use halfdepth::plan::Strategy;

/// Reads one of `allowed`, and describes each in the help.
pub(crate) fn parser(
    allowed: impl IntoIterator<Item = Strategy>,
) -> impl TypedValueParser<Value = Strategy> {
    let allowed: Vec<Strategy> = allowed.into_iter().collect();
    let values = allowed.clone().into_iter();
    let values = values.map(|strategy| PossibleValue::new(strategy.name()).help(help(strategy)));
    PossibleValuesParser::new(values).try_map(move |name| {
        let named = allowed.iter().find(|strategy| strategy.name() == name);
        named.copied().ok_or("no such strategy")
    })
}

fn help(strategy: Strategy) -> &'static str {
    match strategy {
        Strategy::Similarity => "The block of least angular distance",
        Strategy::Simple => "The deepest layers but the last",
        Strategy::Influence => "The layers of least block influence, wherever they are",
        Strategy::Greedy => "One after the other, each time the one whose loss is least",
        Strategy::Sublayer => {
            "Twice as many attentions and MLPs, those that turn the stream least; runs, but is in no folder, GGUF file or pack"
        }
        Strategy::Random => {
            "The control: a block anywhere before the last layer, drawn by the seed"
        }
        Strategy::Manual => "Those of --layers",
    }
}

/// How much is to go.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Dropped {
    Layers(usize),
    Percent(f64),
}

impl FromStr for Dropped {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is neither a number of layers nor a share such as 50%");
        match text.strip_suffix('%') {
            None => text.parse().map(Self::Layers).map_err(|_| wrong()),
            Some(percent) => match percent.trim().parse() {
                Ok(percent) if (0.0..100.0).contains(&percent) => Ok(Self::Percent(percent)),
                Ok(_) => Err("a share lies between 0% and 100%, which would leave nothing".into()),
                Err(_) => Err(wrong()),
            },
        }
    }
}

impl Dropped {
    /// So many of `layers`, rounded down.
    pub(crate) fn of(self, layers: usize) -> usize {
        match self {
            Self::Layers(count) => count,
            Self::Percent(percent) => (layers as f64 * percent / 100.0).floor() as usize,
        }
    }
}
