//! In: the verb's arguments. Out: the curve: scanned, searched, measured; what was measured before is taken from the store.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use halfdepth::checkpoint::hex;
use halfdepth::curve::{
    Curve, CurveModel, Job, Measured, Point, Series, Stretch, Stretches, Wanted, plan, point_key,
    stretches,
};
use halfdepth::dense::{Dense, DenseSource};
use halfdepth::eval::{self, Answerer, Encoder, TextMeasure};
use halfdepth::heal::Healed;
use halfdepth::plan::{LayerPlan, Strategy, SublayerPlan};
use halfdepth::scan::Scan;
use halfdepth::tokenizer::Tokenizer;
use indicatif::ProgressBar;
use pollster::block_on;
use serde_json::json;
use sha2::{Digest, Sha256};

use super::healed::{Group, groups};
use super::store::Store;
use super::{Args, scanned};
use crate::dense::{self, Model};
use crate::eval::data;
use crate::model::progress;
use crate::open::file_name;

/// A text that was read.
pub(super) struct Text {
    pub(super) name: String,
    pub(super) sha256: String,
    pub(super) ids: Vec<u32>,
}

/// Measures everything. `None` where it was only to be said what would be done.
pub(super) fn measure(args: &Args) -> Result<Option<Curve>> {
    let model = dense::open(&args.model)?;
    let (sha256, tokenizer) = (model.sha256(), model.tokenizer()?);
    let encoder = Encoder::new(&tokenizer, model.source().config())?;
    let text = read_text(args, &tokenizer)?;
    let given = (args.from.as_deref())
        .map(|path| scanned::given(path, &model, &sha256))
        .transpose()?;
    let chosen = scanned::tokens_read(args, given.as_ref(), &text)?;
    let parts = stretches(&text.ids, chosen, args.search_tokens, args.tokens)?;
    let jobs = jobs(args, &parts)?;
    let healed = groups(&args.healed, &model)?;
    let (device, gpu) = args.device.open()?;
    if args.conduct.dry_run {
        say_what_would_be_done(args, &model, &parts, &jobs, &gpu.name)?;
        return Ok(None);
    }
    let output = &args.output;
    std::fs::create_dir_all(output).with_context(|| format!("cannot make {}", output.display()))?;
    let store = Store::open(&output.join("curve.state"))?;
    let scan = match given {
        Some(scan) => scan,
        None => scanned::made(args, &model, &sha256, &text, &device)?,
    };
    let layers = scan.layers();
    let bar = progress(layers + 1, "loading");
    let full = Dense::load(
        model.source(),
        LayerPlan::full(layers)?,
        &device,
        &mut |done, _| bar.set_position(done as u64),
    )?;
    bar.finish_and_clear();
    let runner = Runner {
        source: model.source(),
        full: &full,
        encoder,
        model: [
            sha256.clone(),
            dense::tokenizer_digest(&tokenizer),
            gpu.name.clone(),
        ],
    };
    let described = CurveModel {
        name: model.name().to_string(),
        sha256,
        layers,
        vocab_size: full.config().vocab_size,
    };
    let curve = Curve::new(
        described,
        chosen_on(&scan),
        Stretch {
            files: vec![text.name.clone()],
            sha256: text.sha256.clone(),
            first: parts.first,
            tokens: parts.judge.len(),
        },
        gpu.name,
    );
    let chosen = Chosen {
        scan: &scan,
        parts: &parts,
        healed: &healed,
    };
    Ok(Some(runner.fill(args, curve, &chosen, &jobs, store)?))
}

fn read_text(args: &Args, tokenizer: &Tokenizer) -> Result<Text> {
    let content = std::fs::read_to_string(&args.text)
        .with_context(|| format!("cannot read {}", args.text.display()))?;
    Ok(Text {
        name: file_name(&args.text),
        sha256: hex(&Sha256::digest(content.as_bytes())),
        ids: tokenizer.encode(&content, false)?,
    })
}

fn jobs(args: &Args, parts: &Stretches) -> Result<Vec<Job>> {
    let mut jobs = vec![
        Job::text(TextMeasure::Loss, &parts.judge)?,
        Job::text(TextMeasure::Compare, &parts.judge)?,
    ];
    let limit = (args.limit > 0).then_some(args.limit);
    for task in args.benchmarks()? {
        let files = data::files(task, args.data.as_deref())?;
        let items = task.items(&files, limit, args.conduct.seed)?;
        jobs.push(Job::task(task, items));
    }
    Ok(jobs)
}

fn chosen_on(scan: &Scan) -> Stretch {
    Stretch {
        files: scan.text.files.clone(),
        sha256: scan.text.sha256.clone(),
        first: 0,
        tokens: scan.samples * scan.tokens_per_sample,
    }
}

/// A loaded model and what tells it from others.
struct Runner<'m> {
    source: &'m dyn DenseSource,
    full: &'m Dense<'m>,
    encoder: Encoder<'m>,
    model: [String; 3],
}

/// What plans are made of, and those that were healed.
struct Chosen<'c> {
    scan: &'c Scan,
    parts: &'c Stretches,
    healed: &'c [Group],
}

impl Runner<'_> {
    fn fill(
        &self,
        args: &Args,
        mut curve: Curve,
        chosen: &Chosen,
        jobs: &[Job],
        mut store: Store,
    ) -> Result<Curve> {
        let scan = chosen.scan;
        let (layers, wanted) = (scan.layers(), args.wanted());
        let is_greedy = |wanted: &Wanted| wanted.strategy == Strategy::Greedy;
        let greedy = match wanted.iter().any(is_greedy) {
            true => self.search(layers, &chosen.parts.search, &mut store)?,
            false => Vec::new(),
        };
        let bar = progress(wanted.len() * layers * jobs.len(), "measuring");
        let mut notes: BTreeMap<usize, Measured> = BTreeMap::new();
        for wanted in wanted {
            let mut points = Vec::new();
            for dropped in 0..layers {
                let plan = plan(wanted, scan, &greedy, dropped)?;
                let mut values = BTreeMap::new();
                for (index, job) in jobs.iter().enumerate() {
                    let measured = self.point(&plan, job, &mut store)?;
                    values.extend(measured.values.clone());
                    notes.entry(index).or_insert(measured);
                    bar.inc(1);
                }
                points.push(Point::new(dropped, layers, &plan, values));
            }
            curve.series.push(Series {
                name: wanted.name(),
                line: wanted.strategy.name().to_string(),
                model: curve.model.name.clone(),
                strategy: wanted.strategy,
                seed: wanted.seed,
                healed: None,
                points,
            });
        }
        bar.finish_and_clear();
        for group in chosen.healed {
            let series = self.healed(group, &curve.model.name, jobs, &mut store)?;
            curve.series.push(series);
        }
        if store.found > 0 {
            tracing::debug!(points = store.found, "taken from the state file");
        }
        curve.limit = (args.limit > 0).then_some(args.limit);
        curve.seed = args.conduct.seed;
        let measures = notes
            .iter()
            .flat_map(|(index, note)| jobs[*index].measures(note));
        curve.measures = measures.collect();
        curve.find_knees();
        Ok(curve)
    }

    /// The layers that greedy removal keeps, after each removal.
    fn search(&self, layers: usize, tokens: &[u32], store: &mut Store) -> Result<Vec<Vec<usize>>> {
        let job = Job::text(TextMeasure::Loss, tokens)?;
        let bar: ProgressBar = progress(layers * (layers + 1) / 2, "searching");
        let loss = |kept: &[usize]| -> Result<f64> {
            bar.inc(1);
            let plan = LayerPlan::new("searched", kept.to_vec(), layers)?.into();
            let measured = self.point(&plan, &job, store)?;
            let loss = measured.values.get("cross_entropy");
            Ok(loss.context("no loss was measured")?.value)
        };
        let path = eval::greedy(layers, 1, loss)?;
        bar.finish_and_clear();
        Ok(path.into_iter().map(|(kept, _)| kept).collect())
    }

    fn point(&self, plan: &SublayerPlan, job: &Job, store: &mut Store) -> Result<Measured> {
        let model: Vec<&str> = self.model.iter().map(String::as_str).collect();
        store.point(point_key(&model, plan, job), || {
            self.measure(&self.full.with_plan(plan.clone())?, job)
        })
    }

    /// The points of some healings.
    fn healed(
        &self,
        group: &Group,
        model: &str,
        jobs: &[Job],
        store: &mut Store,
    ) -> Result<Series> {
        let mut points = Vec::new();
        for (dropped, healing) in &group.healings {
            let plan: SublayerPlan = healing.record.plan()?.into();
            let healed = Healed::new(self.source, healing)?;
            let mut dense = None;
            let mut key: Vec<&str> = self.model.iter().map(String::as_str).collect();
            key.push(healing.record.tensors_sha256());
            let mut values = BTreeMap::new();
            for job in jobs {
                let measured = store.point(point_key(&key, &plan, job), || {
                    let loaded = match dense.take() {
                        Some(loaded) => loaded,
                        None => {
                            Dense::load(&healed, plan.clone(), self.full.device(), &mut |_, _| ())?
                        }
                    };
                    self.measure(dense.insert(loaded), job)
                })?;
                values.extend(measured.values);
            }
            points.push(Point::new(
                *dropped,
                self.full.config().layers,
                &plan,
                values,
            ));
        }
        Ok(Series {
            name: group.name.clone(),
            line: group.name.clone(),
            model: model.to_string(),
            strategy: Strategy::Manual,
            seed: None,
            healed: Some(group.method.clone()),
            points,
        })
    }

    fn measure(&self, dense: &Dense, job: &Job) -> Result<Measured> {
        let mut answerer = Answerer {
            encoder: self.encoder.clone(),
            model: dense,
            reference: Some(self.full),
            writer: None,
        };
        Ok(block_on(job.measure(&mut answerer))?)
    }
}

fn say_what_would_be_done(
    args: &Args,
    model: &Model,
    parts: &Stretches,
    jobs: &[Job],
    device: &str,
) -> Result<()> {
    let layers = model.source().config().layers;
    let series: Vec<String> = args.wanted().iter().map(Wanted::name).collect();
    let plans = series.len() * (layers - 1) + 1;
    let end = parts.first + parts.judge.len();
    if args.conduct.json {
        let jobs = jobs
            .iter()
            .map(|job| json!({ "measure": job.name(), "items": job.len() }));
        let report = json!({
            "dry_run": true, "device": device, "output": args.output, "series": series, "plans_at_most": plans,
            "chosen_on_tokens": [0, parts.first], "judged_on_tokens": [parts.first, end], "measures": jobs.collect::<Vec<_>>(),
        });
        println!("{report}");
        return Ok(());
    }
    println!(
        "would choose at most {plans} plans ({}) on the text's tokens 0 to {}, and judge them on {device} by",
        series.join(", "),
        parts.first
    );
    for job in jobs {
        match job.name() {
            "loss" | "compare" => println!("  {}: tokens {} to {end}", job.name(), parts.first),
            name => println!("  {name}: {} items", job.len()),
        }
    }
    println!("and write {}", args.output.display());
    Ok(())
}
