//! In: jobs. Out: the report. The model is loaded once; every task's answers are kept as they come.

use std::sync::Arc;

use anyhow::{Context, Result, bail};
use halfdepth::decode::{Device, GpuInfo, Lane};
use halfdepth::dense::{Dense, DenseSource};
use halfdepth::eval::{
    Answer, Answerer, Ask, Encoder, EvalReport, Item, ModelNote, PlanNote, REPORT_FORMAT,
    REPORT_VERSION, StateKey, TaskReport, Writer, summarise, warnings,
};
use halfdepth::heal::Healed;
use halfdepth::plan::{LanePlan, LayerPlan, SublayerPlan};
use halfdepth::tokenizer::Tokenizer;
use pollster::block_on;
use serde_json::json;

use super::state::{State, default_folder};
use super::{Args, Job, data};
use crate::dense::{self, Model};
use crate::healing;
use crate::model::{plan_file, progress};
use crate::open::file_name;

/// Items that are answered, and kept, together: enough to fill batches of like length.
const TOGETHER: usize = 64;

/// A job and its items.
struct Work<'j> {
    job: &'j Job,
    items: Vec<Item>,
}

/// Measures all jobs. `None` where it was only to be said what would be done.
pub(super) fn measure(args: &Args, jobs: &[Job]) -> Result<Option<EvalReport>> {
    let model = dense::open(&args.model)?;
    let tokenizer = model.tokenizer()?;
    let encoder = Encoder::new(&tokenizer, model.source().config())?;
    let healed = args.healed.as_deref();
    let config = model.source().config();
    let healing = healed.map(|folder| healing::open(folder, config, &model.hashes()));
    let healing = healing.transpose()?;
    let overlay = healing
        .as_ref()
        .map(|healing| Healed::new(model.source(), healing));
    let overlay = overlay.transpose()?;
    let chosen = match &healing {
        Some(healing) => healing.record.plan()?.into(),
        None => plan(args, &model)?,
    };
    let plan = chosen.sublayers();
    let mut works = Vec::new();
    for job in jobs {
        let items = data::items(args, job, &tokenizer)
            .with_context(|| format!("cannot prepare {}", name(job)))?;
        works.push(Work { job, items });
    }
    let (device, gpu) = args.device.open()?;
    if args.conduct.dry_run {
        say_what_would_be_done(args, &works, plan, &gpu)?;
        return Ok(None);
    }
    let sha256 = model.sha256_under(&chosen);
    let reference = Reference::open(args, &model)?;
    let replaced = model.replaced(&chosen)?;
    let other_weights = match &overlay {
        Some(healed) => Some(healed as &dyn DenseSource),
        None => replaced.as_deref(),
    };
    let (dense, other) = load(&model, other_weights, plan, &reference, &works, &device)?;
    // A lane runs what a file holds; a healing is laid over it in f32.
    let mut lane = match writes(&works) && healing.is_none() {
        true => Some(model.lane(chosen.clone(), &device, gpu.variant())?),
        false => None,
    };
    let key = Key {
        sha256: &sha256,
        reference: &reference.sha256,
        healing: healing.as_ref().map_or("", |h| h.record.tensors_sha256()),
        tokenizer: &tokenizer,
        plan,
        gpu: &gpu,
    };
    let folder = args.state.clone().map_or_else(default_folder, Ok)?;
    let mut tasks = Vec::new();
    for work in &works {
        let mut answerer = Answerer {
            encoder: encoder.clone(),
            model: &dense,
            reference: other.as_ref(),
            writer: Some(match &mut lane {
                Some(lane) => Writer::Lane(lane),
                None => Writer::Dense(&dense),
            }),
        };
        let mut state = State::open(&folder, &key.of(work), &work.items, args.fresh)?;
        answer(work, &mut answerer, &mut state)?;
        tasks.push(task_report(
            args,
            work,
            state.answers,
            dense.config().vocab_size,
        )?);
    }
    Ok(Some(EvalReport {
        format: REPORT_FORMAT,
        version: REPORT_VERSION,
        model: ModelNote {
            name: model.name().to_string(),
            sha256: sha256.clone(),
            vocab_size: dense.config().vocab_size,
            context: dense.config().context,
        },
        plan: note(plan),
        healing: healing.as_ref().map(|healing| healing.record.note()),
        reference: reference.name(&model),
        device: gpu.name,
        seed: args.conduct.seed,
        limit: args.limit,
        warnings: warnings(&tasks),
        tasks,
    }))
}

/// What is measured, in other weights than the model's own where they are given, and what `compare` compares it with: another
/// model, or this one whole and unhealed.
fn load<'m>(
    model: &'m Model,
    other_weights: Option<&'m dyn DenseSource>,
    plan: &SublayerPlan,
    reference: &'m Reference,
    works: &[Work],
    device: &Device,
) -> Result<(Dense<'m>, Option<Dense<'m>>)> {
    let full = LayerPlan::full(model.source().config().layers)?;
    let is_full =
        other_weights.is_none() && plan.is_whole_layers() && plan.layers().layers == full.layers;
    let compares = works.iter().any(|work| {
        matches!(
            work.job,
            Job::Text(halfdepth::eval::TextMeasure::Compare, _)
        )
    });
    let source = other_weights.unwrap_or(model.source());
    let own_reference = compares && reference.model.is_none() && !is_full;
    let bar = progress(full.layers.len() + 1, "loading");
    let mut set = |done: usize, _: usize| bar.set_position(done as u64);
    let (dense, whole) = match own_reference {
        true => {
            let whole = Dense::load(model.source(), full, device, &mut set)?;
            let dense = match other_weights {
                Some(source) => Dense::load(source, plan.clone(), device, &mut set)?,
                None => whole.with_plan(plan.clone())?,
            };
            (dense, Some(whole))
        }
        false => (Dense::load(source, plan.clone(), device, &mut set)?, None),
    };
    let other = match &reference.model {
        Some(model) => {
            let plan = LayerPlan::full(model.source().config().layers)?;
            Some(Dense::load(model.source(), plan, device, &mut |_, _| ())?)
        }
        None => whole,
    };
    bar.finish_and_clear();
    Ok((dense, other))
}

/// What `compare` compares with, where it is another model.
struct Reference {
    model: Option<Arc<Model>>,
    sha256: String,
}

impl Reference {
    fn open(args: &Args, own: &Model) -> Result<Self> {
        let model = args.reference.as_deref().map(dense::open).transpose()?;
        let tokens = |model: &Model| model.source().config().vocab_size;
        if let Some(model) = &model
            && tokens(model) != tokens(own)
        {
            bail!(
                "the reference has {} tokens, the model {}: their next tokens cannot be compared",
                tokens(model),
                tokens(own)
            );
        }
        Ok(Self {
            sha256: model.as_ref().map(Model::sha256).unwrap_or_default(),
            model: model.map(Arc::new),
        })
    }

    fn name(&self, own: &Model) -> String {
        let name = self.model.as_ref().map_or(own.name(), |model| model.name());
        format!("{name}, full depth")
    }
}

/// What tells the answers of one run from those of another.
struct Key<'k> {
    sha256: &'k str,
    reference: &'k str,
    /// Of a healing's weights; nothing where there is none.
    healing: &'k str,
    tokenizer: &'k Tokenizer,
    plan: &'k SublayerPlan,
    gpu: &'k GpuInfo,
}

impl Key<'_> {
    fn of(&self, work: &Work) -> StateKey {
        let tokenizer = dense::tokenizer_digest(self.tokenizer);
        let (runs, job) = (self.plan.what_runs(), name(work.job));
        let mut parts = vec![
            self.sha256,
            self.reference,
            &tokenizer,
            &runs,
            &self.gpu.name,
            &job,
        ];
        if !self.healing.is_empty() {
            parts.push(self.healing);
        }
        StateKey::new(&parts, &work.items)
    }
}

fn answer(work: &Work, answerer: &mut Answerer, state: &mut State) -> Result<()> {
    let mut open = state.open_items();
    // Long ones first and like beside like: little of a batch is padding.
    open.sort_by_key(|index| std::cmp::Reverse(work.items[*index].length()));
    let bar = progress(work.items.len(), "");
    bar.set_message(name(work.job));
    bar.set_position((work.items.len() - open.len()) as u64);
    let together = match writes(std::slice::from_ref(work)) {
        true => 1,
        false => TOGETHER,
    };
    for numbers in open.chunks(together) {
        let items: Vec<&Item> = numbers.iter().map(|number| &work.items[*number]).collect();
        let answers = block_on(answerer.answer(&items))?;
        state.add(numbers, answers)?;
        bar.inc(numbers.len() as u64);
    }
    bar.finish_and_clear();
    Ok(())
}

fn task_report(
    args: &Args,
    work: &Work,
    answers: Vec<Option<Answer>>,
    vocab_size: usize,
) -> Result<TaskReport> {
    let answers: Vec<Answer> = answers.into_iter().flatten().collect();
    let (figures, cut) = summarise(&work.items, &answers, vocab_size)
        .with_context(|| format!("{} has no items", name(work.job)))?;
    let (task, text, protocol) = match work.job {
        Job::Bench(task) => (task.name(), None, task.protocol().to_string()),
        Job::Text(measure, path) => (
            measure.name(),
            Some(file_name(path)),
            measure.protocol(args.window),
        ),
    };
    Ok(TaskReport {
        task: task.to_string(),
        text,
        protocol,
        items: work.items.len(),
        cut,
        figures,
    })
}

fn plan(args: &Args, model: &Model) -> Result<LanePlan> {
    let layers = model.source().config().layers;
    if !args.drop.is_empty() {
        return Ok(LayerPlan::without(layers, &args.drop)?.into());
    }
    let name = args.plan.as_deref().unwrap_or("full");
    if let Some(file) = plan_file(name, model.source().config())? {
        return Ok(file.plan()?.into());
    }
    model.plan(name)
}

fn note(plan: &SublayerPlan) -> PlanNote {
    PlanNote {
        name: plan.layers().name.clone(),
        layers: plan.layers().layers.clone(),
        mute_attention: plan.mute_attention().to_vec(),
        mute_mlp: plan.mute_mlp().to_vec(),
    }
}

fn name(job: &Job) -> String {
    match job {
        Job::Bench(task) => task.name().to_string(),
        Job::Text(measure, path) => format!("{} of {}", measure.name(), file_name(path)),
    }
}

fn writes(works: &[Work]) -> bool {
    let writes = |item: &Item| matches!(item.ask, Ask::Number { .. } | Ask::Repetition { .. });
    works
        .iter()
        .any(|work| work.items.first().is_some_and(writes))
}

fn say_what_would_be_done(
    args: &Args,
    works: &[Work],
    plan: &SublayerPlan,
    gpu: &GpuInfo,
) -> Result<()> {
    if args.conduct.json {
        let tasks = works
            .iter()
            .map(|work| json!({ "task": name(work.job), "items": work.items.len() }));
        let report = json!({
            "dry_run": true, "plan": note(plan), "device": gpu.name, "tasks": tasks.collect::<Vec<_>>(),
        });
        println!("{report}");
        return Ok(());
    }
    let layers = &plan.layers().layers;
    println!(
        "would measure plan {} ({} layers) on {}:",
        plan.layers().name,
        layers.len(),
        gpu.name
    );
    for work in works {
        println!("  {}: {} items", name(work.job), work.items.len());
    }
    Ok(())
}

impl Model {
    /// A lane for writing, as exact as the model's file: a checkpoint in f32, a pack as it is packed.
    fn lane(
        &self,
        plan: LanePlan,
        device: &halfdepth::decode::Device,
        variant: halfdepth::kernels::Variant,
    ) -> Result<Lane> {
        let model = self.llama(device)?;
        let options = halfdepth::decode::LaneOptions {
            context: model.config().context,
            variant,
        };
        Ok(block_on(Lane::with(&model, plan, options))?)
    }
}
