//! `halfdepth chat`: talks with a model in the terminal.

use std::io::{BufRead, IsTerminal, Write};

use anyhow::Result;
use clap::Args as ClapArgs;
use halfdepth::chat::{Message, Role};
use halfdepth::decode::{DecodeError, Drafts, Finish, Turn, TurnRequest};
use pollster::block_on;

use crate::model::{Loaded, ModelArgs, clock_ms};
use crate::sampling::SamplingArgs;

/// Talks with a model. An empty line or the end of input ends it; `/new` begins anew.
#[derive(ClapArgs)]
pub(crate) struct Args {
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    sampling: SamplingArgs,
    /// What the model is told before the conversation
    #[arg(long)]
    system: Option<String>,
    /// Tokens of an answer at most
    #[arg(long, default_value_t = 256)]
    max_tokens: usize,
}

/// Runs the verb.
pub(crate) fn run(args: &Args) -> Result<()> {
    let mut loaded = args.model.load()?;
    let plan = loaded.lane.plan().layers();
    let (layers, of) = (plan.layers.len(), loaded.lane.model().config().layers);
    eprintln!(
        "{} on {}: {layers} of {of} layers. An empty line ends.",
        plan.name, loaded.device
    );
    let begin: Vec<Message> = args
        .system
        .iter()
        .map(|text| Message::new(Role::System, text.as_str()))
        .collect();
    let mut messages = begin.clone();
    let stdin = std::io::stdin();
    loop {
        if stdin.is_terminal() {
            eprint!("> ");
        }
        let mut line = String::new();
        if stdin.lock().read_line(&mut line)? == 0 || line.trim().is_empty() {
            return Ok(());
        }
        if line.trim() == "/new" {
            messages.clone_from(&begin);
            continue;
        }
        messages.push(Message::new(Role::User, line.trim()));
        match answer(&mut loaded, args, &messages) {
            Ok(text) => messages.push(Message::new(Role::Assistant, text)),
            Err(error) if matches!(error.downcast_ref(), Some(DecodeError::ContextFull { .. })) => {
                messages.pop();
                eprintln!("{error}. /new begins a new conversation.");
            }
            Err(error) => return Err(error),
        }
    }
}

/// Streams one answer to the terminal and gives it back.
fn answer(loaded: &mut Loaded, args: &Args, messages: &[Message]) -> Result<String> {
    let request = TurnRequest {
        prompt: loaded.chat_prompt(messages)?,
        sampling: args.sampling.sampling(),
        max_tokens: args.max_tokens,
        stop: Vec::new(),
        ignore_end: false,
        drafts: Drafts::None,
    };
    let mut turn = Turn::start(&mut loaded.lane, &loaded.tokenizer, request, clock_ms)?;
    let mut text = String::new();
    let mut stdout = std::io::stdout();
    loop {
        let step = block_on(turn.step(&mut loaded.lane, &loaded.tokenizer))?;
        write!(stdout, "{}", step.text)?;
        stdout.flush()?;
        text.push_str(&step.text);
        let Some(finish) = step.finish else { continue };
        writeln!(stdout)?;
        if finish == Finish::ContextFull {
            eprintln!("(the context is full; the answer is cut off)");
        }
        let stats = step.stats;
        eprintln!(
            "({} tokens, first after {:.0} ms, {:.1} tokens/s)",
            stats.generated_tokens, stats.time_to_first_token_ms, stats.decode_tokens_per_second
        );
        return Ok(text);
    }
}
