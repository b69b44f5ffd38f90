//! `halfdepth heal --method patch`: closed-form patches, fitted on texts in one pass.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use clap::{Args as ClapArgs, ValueEnum};
use halfdepth::checkpoint::hex;
use halfdepth::decode::Device;
use halfdepth::eval::Encoder;
use halfdepth::heal::{
    Calibration, Healing, PatchForm, PatchOptions, Patched, Record, Text, patch,
};
use halfdepth::plan::LayerPlan;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use crate::dense::Model;
use crate::healing;
use crate::model::progress;
use crate::open::file_name;

/// Flags of `--method patch` alone.
#[derive(ClapArgs, Clone, Debug)]
pub(crate) struct PatchArgs {
    /// What a patch fits: `down` the whole of the MLP's last matrix before each cut, `map` a square map behind it (fewer unknowns)
    #[arg(long, value_enum, default_value_t = Form::Down)]
    pub(crate) patch_form: Form,
    /// Tokens that patches are fitted and chosen on, from all of each --text alike
    #[arg(long, default_value_t = 65_536)]
    pub(crate) patch_tokens: usize,
}

/// What a patch fits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Form {
    /// A square map of what the MLP adds.
    Map,
    /// The MLP's last matrix.
    Down,
}

/// What is to be patched, and on which texts.
pub(crate) struct Job<'j> {
    pub(crate) model: &'j Model,
    pub(crate) plan: &'j LayerPlan,
    /// What is fitted and, without `valid`, chosen on an eighth of.
    pub(crate) text: &'j [PathBuf],
    /// What ridges and strengths are chosen on.
    pub(crate) valid: &'j [PathBuf],
    /// Predictions of a sequence, after the begin token.
    pub(crate) window: usize,
    pub(crate) seed: u64,
}

/// Patches, and says of every cut what was chosen.
pub(crate) fn run(job: &Job, args: &PatchArgs, device: &Device) -> Result<(Healing, Patched)> {
    let (mut texts, sequences) = job.sequences(job.text, args.patch_tokens)?;
    let calibration = match job.valid.is_empty() {
        true => Calibration::split(sequences),
        false => {
            let (valid, held_out) = job.sequences(job.valid, args.patch_tokens / 8)?;
            texts.extend(valid);
            Calibration {
                fit: sequences,
                held_out,
            }
        }
    };
    let form = match args.patch_form {
        Form::Map => PatchForm::Map,
        Form::Down => PatchForm::Down,
    };
    let options = PatchOptions {
        form,
        ..PatchOptions::default()
    };
    let source = job.model.source();
    let bar = progress(source.config().layers, "patching");
    let patched = patch(
        source,
        job.plan,
        &calibration,
        &options,
        device,
        &mut |done, _| bar.set_position(done as u64),
    )?;
    bar.finish_and_clear();
    let tokens = [&calibration.fit, &calibration.held_out];
    let tokens: usize = tokens.into_iter().flatten().map(|ids| ids.len() - 1).sum();
    let mut record = Record::new("patch", healing::source(job.model), job.plan, job.seed);
    record.settings = settings(args, &options, &patched);
    record.texts = texts;
    record.tokens = tokens as u64;
    record.loss_before = Some(patched.loss_before);
    record.loss_after = Some(patched.loss_after);
    let healing = Healing {
        record,
        tensors: patched.tensors.clone(),
    };
    Ok((healing, patched))
}

fn settings(args: &PatchArgs, options: &PatchOptions, patched: &Patched) -> Map<String, Value> {
    let form = match args.patch_form {
        Form::Map => "map",
        Form::Down => "down",
    };
    Map::from_iter([
        ("form".to_string(), form.into()),
        ("ridges".to_string(), json!(options.ridges)),
        ("strengths".to_string(), json!(options.strengths)),
        ("cuts".to_string(), json!(patched.cuts)),
    ])
}

impl Job<'_> {
    /// Sequences from all over every text, as many tokens of each; a begin token before each sequence.
    fn sequences(&self, paths: &[PathBuf], tokens: usize) -> Result<(Vec<Text>, Vec<Vec<u32>>)> {
        let tokenizer = self.model.tokenizer()?;
        let config = self.model.source().config();
        let begin = Encoder::new(&tokenizer, config)?.prefix();
        if self.window == 0 || self.window >= config.context {
            bail!(
                "a window of {} predictions does not fit the model's context of {}",
                self.window,
                config.context
            );
        }
        let wanted = tokens / (self.window * paths.len().max(1));
        let (mut texts, mut sequences) = (Vec::new(), Vec::new());
        for path in paths {
            let text = std::fs::read_to_string(path)
                .with_context(|| format!("cannot read {} as text", path.display()))?;
            let ids = tokenizer.encode(&text, false)?;
            let windows: Vec<&[u32]> = ids.chunks_exact(self.window).collect();
            let taken = wanted.clamp(1, windows.len().max(1));
            if windows.is_empty() {
                bail!(
                    "{} has {} tokens, fewer than a window of {}; give a longer text",
                    path.display(),
                    ids.len(),
                    self.window
                );
            }
            sequences.extend((0..taken).map(|at| {
                let window = windows[at * windows.len() / taken];
                [&[begin], window].concat()
            }));
            texts.push(Text {
                name: file_name(path),
                sha256: hex(&Sha256::digest(text.as_bytes())),
            });
        }
        Ok((texts, sequences))
    }
}

/// What was chosen for every cut.
pub(crate) fn table(patched: &Patched) -> String {
    let mut text = String::from("layer  left out after it  ridge  strength  error left    loss\n");
    for cut in &patched.cuts {
        text.push_str(&format!(
            "{:>5}  {:>17}  {:>5.0e}  {:>8.3}  {:>10.4}  {:.4}\n",
            cut.layer, cut.dropped, cut.ridge, cut.strength, cut.error, cut.loss
        ));
    }
    text.push_str(&format!(
        "\nheld out: {:.4} nats a token before, {:.4} after",
        patched.loss_before, patched.loss_after
    ));
    text
}
