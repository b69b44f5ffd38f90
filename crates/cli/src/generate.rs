//! `halfdepth generate`: continues a text.

use std::io::Write;

use anyhow::Result;
use clap::Args as ClapArgs;
use halfdepth::chat::{Message, Role};
use halfdepth::decode::{Drafts, LaneStats, SpeculationStats, Turn, TurnRequest};
use pollster::block_on;
use serde::Serialize;

use crate::model::{ModelArgs, clock_ms};
use crate::sampling::SamplingArgs;

/// Continues a text.
#[derive(ClapArgs)]
pub(crate) struct Args {
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    sampling: SamplingArgs,
    /// The text to continue
    #[arg(long)]
    prompt: String,
    /// Put the prompt into the model's chat template, as a question
    #[arg(long)]
    chat: bool,
    /// Tokens at most
    #[arg(long, default_value_t = 128)]
    max_tokens: usize,
    /// Go on past end tokens
    #[arg(long)]
    ignore_eos: bool,
    /// End the text where this comes up; may be given several times
    #[arg(long)]
    stop: Vec<String>,
    /// Let another plan draft: the text stays the same, and where its drafts are good it comes sooner. As --plan names plans
    #[arg(long, value_name = "PLAN")]
    draft: Option<String>,
    /// Draft to the end, also where it does not pay
    #[arg(long, requires = "draft")]
    always_draft: bool,
    /// One JSON object on one line
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Report<'a> {
    prompt_ids: &'a [u32],
    generated_ids: &'a [u32],
    text: &'a str,
    finish: Option<halfdepth::decode::Finish>,
    plan: &'a str,
    layers: &'a [usize],
    device: &'a str,
    timings: Timings,
    speculation: Option<SpeculationStats>,
}

#[derive(Serialize)]
struct Timings {
    load_ms: f64,
    time_to_first_token_ms: f64,
    decode_ms: f64,
    prefill_tokens_per_second: f64,
    decode_tokens_per_second: f64,
}

impl Timings {
    fn new(load_ms: f64, stats: LaneStats) -> Self {
        Self {
            load_ms,
            time_to_first_token_ms: stats.time_to_first_token_ms,
            decode_ms: stats.decode_ms,
            prefill_tokens_per_second: stats.prefill_tokens_per_second,
            decode_tokens_per_second: stats.decode_tokens_per_second,
        }
    }
}

/// Runs the verb.
pub(crate) fn run(args: &Args) -> Result<()> {
    let mut loaded = args.model.load_with(args.draft.as_deref())?;
    let prompt = if args.chat {
        loaded.chat_prompt(&[Message::new(Role::User, args.prompt.as_str())])?
    } else {
        loaded.tokenizer.encode(&args.prompt, true)?
    };
    let request = TurnRequest {
        prompt: prompt.clone(),
        sampling: args.sampling.sampling(),
        max_tokens: args.max_tokens,
        stop: args.stop.clone(),
        ignore_end: args.ignore_eos,
        drafts: match (&args.draft, args.always_draft) {
            (None, _) => Drafts::None,
            (Some(_), false) => Drafts::WhereTheyPay,
            (Some(_), true) => Drafts::Always,
        },
    };
    let mut turn = Turn::start(&mut loaded.lane, &loaded.tokenizer, request, clock_ms)?;
    let mut text = String::new();
    let mut stdout = std::io::stdout();
    let finish = loop {
        let (lane, tokenizer) = (&mut loaded.lane, &loaded.tokenizer);
        let step = block_on(async {
            match &mut loaded.draft {
                Some(draft) => turn.step_with(lane, draft, tokenizer).await,
                None => turn.step(lane, tokenizer).await,
            }
        })?;
        text.push_str(&step.text);
        if !args.json {
            write!(stdout, "{}", step.text)?;
            stdout.flush()?;
        }
        if step.finish.is_some() {
            break step.finish;
        }
    };
    let plan = loaded.lane.plan().layers();
    if !args.json {
        writeln!(stdout)?;
        if let Some(s) = turn.stats().speculation {
            let end = if s.on {
                ""
            } else {
                "; given up, because it did not pay"
            };
            eprintln!(
                "{} of {} drafts kept in {} passes{end}",
                s.accepted, s.drafted, s.rounds
            );
        }
        return Ok(());
    }
    let report = Report {
        prompt_ids: &prompt,
        generated_ids: turn.tokens(),
        text: &text,
        finish,
        plan: &plan.name,
        layers: &plan.layers,
        device: &loaded.device,
        timings: Timings::new(loaded.load_ms, turn.stats()),
        speculation: turn.stats().speculation,
    };
    writeln!(stdout, "{}", serde_json::to_string(&report)?)?;
    Ok(())
}
