//! Renders a conversation into the prompt a model was trained on: messages and a Jinja template in, text out.
//!
//! Templates come with checkpoints and are not trusted. Rendering is bounded by fuel, which pays for steps and for
//! the bytes of every string, and there is no clock, file or network behind it. One thing fuel does not pay for: a
//! list that holds one list many times over, at many levels, costs as much as it seems to hold once it is compared
//! or turned into text. So a page renders in a worker that it can end.

use std::fmt;

use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Kwargs, Value, ValueKind};
use minijinja::{Environment, Error as JinjaError, ErrorKind, context};
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// The longest template that is read, in bytes; the longest known is about 30 kB.
pub const MAX_TEMPLATE_BYTES: usize = 1 << 20;
/// What rendering may cost, in steps: an instruction, or 64 bytes of a string. A turn takes about forty steps, and
/// each of its bytes is copied about four times.
const BASE_FUEL: usize = 20_000;
const FUEL_PER_TURN: usize = 200;
const BYTES_PER_FUEL: usize = 4;
/// Where it ends for any conversation. Five steps nest a list once more, and dropping ten thousand levels of it takes
/// the 1 MB of stack that wasm gives a worker.
const MAX_FUEL: usize = 64_000;
/// Loops and macros inside one another.
const MAX_RECURSION: usize = 48;
/// What `tojson` writes at most, in levels and in bytes.
const MAX_JSON_DEPTH: usize = 64;
const MAX_JSON_BYTES: usize = 1 << 20;

/// Who speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Instructions that stand above the conversation.
    System,
    /// The person.
    User,
    /// The model.
    Assistant,
}

/// One turn of a conversation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// Who said it.
    pub role: Role,
    /// What was said.
    pub content: String,
}

/// A template that compiled, with the special tokens it may name.
pub struct ChatTemplate {
    environment: Environment<'static>,
    source: String,
    bos: String,
    eos: String,
}

/// What `tokenizer_config.json` says about chatting.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SpecialText {
    /// The text of the token that begins a sequence.
    pub bos: Option<String>,
    /// The text of the token that ends one.
    pub eos: Option<String>,
    /// The template; of several, the one called `default`.
    pub chat_template: Option<String>,
}

/// Why a conversation could not be rendered.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ChatError {
    /// The template is longer than any real one.
    #[error("chat template: {bytes} bytes, at most {limit} are read; is this the template?")]
    TooLarge {
        /// Bytes of the template.
        bytes: usize,
        /// Bytes that are allowed.
        limit: usize,
    },
    /// The template is not valid Jinja.
    #[error("chat template, line {line}: {message}")]
    Syntax {
        /// Line of the template, from 1.
        line: usize,
        /// What the parser said.
        message: String,
    },
    /// The template refused the conversation through `raise_exception`.
    #[error("chat template: {0}")]
    Raised(String),
    /// Rendering took more steps or memory than a conversation of this length can need.
    #[error(
        "chat template: stopped after {fuel} steps; it loops without end, or the conversation is far too long"
    )]
    OutOfFuel {
        /// The steps that were allowed.
        fuel: u64,
    },
    /// The template failed on this conversation.
    #[error("chat template, line {line}: {message}")]
    Render {
        /// Line of the template, from 1; 0 where it is not known.
        line: usize,
        /// What went wrong.
        message: String,
    },
    /// `tokenizer_config.json` could not be read.
    #[error("tokenizer_config.json: {0}")]
    Config(String),
}

impl Message {
    /// One turn.
    pub fn new(role: Role, content: impl Into<String>) -> Self {
        Self {
            role,
            content: content.into(),
        }
    }
}

impl ChatTemplate {
    /// Compiles a template. `bos` and `eos` are what `bos_token` and `eos_token` stand for in it.
    pub fn new(source: &str, bos: Option<&str>, eos: Option<&str>) -> Result<Self, ChatError> {
        if source.len() > MAX_TEMPLATE_BYTES {
            return Err(ChatError::TooLarge {
                bytes: source.len(),
                limit: MAX_TEMPLATE_BYTES,
            });
        }
        let environment = environment();
        let source = without_generation_tags(source);
        if let Err(error) = environment.template_from_named_str("chat", &source) {
            return Err(ChatError::Syntax {
                line: error.line().unwrap_or(0),
                message: describe(&error),
            });
        }
        let text = |token: Option<&str>| token.unwrap_or_default().to_owned();
        Ok(Self {
            environment,
            source,
            bos: text(bos),
            eos: text(eos),
        })
    }

    /// The prompt for a conversation; with `add_generation_prompt` it ends where the model's answer begins.
    pub fn render(
        &self,
        messages: &[Message],
        add_generation_prompt: bool,
    ) -> Result<String, ChatError> {
        let bytes: usize = messages.iter().map(|message| message.content.len()).sum();
        let fuel = BASE_FUEL + FUEL_PER_TURN * messages.len() + bytes / BYTES_PER_FUEL;
        let fuel = fuel.min(MAX_FUEL) as u64;
        let mut environment = self.environment.clone();
        environment.set_fuel(Some(fuel));
        let context = context! {
            messages => messages.iter().map(turn).collect::<Vec<_>>(),
            add_generation_prompt,
            bos_token => self.bos.as_str(),
            eos_token => self.eos.as_str(),
        };
        let template = environment.template_from_named_str("chat", &self.source);
        template
            .and_then(|template| template.render(context))
            .map_err(|error| render_error(&error, fuel))
    }
}

impl fmt::Debug for ChatTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChatTemplate")
            .field("source", &self.source)
            .finish_non_exhaustive()
    }
}

/// Reads the special tokens and the chat template of a `tokenizer_config.json`.
pub fn special_text(tokenizer_config: &[u8]) -> Result<SpecialText, ChatError> {
    let config: TokenizerConfig = serde_json::from_slice(tokenizer_config)
        .map_err(|error| ChatError::Config(error.to_string()))?;
    let chat_template = match config.chat_template {
        Some(Templates::One(source)) => Some(source),
        Some(Templates::Named(mut named)) if !named.is_empty() => {
            let chosen = named
                .iter()
                .position(|entry| entry.name == "default")
                .unwrap_or(0);
            Some(named.swap_remove(chosen).template)
        }
        _ => None,
    };
    Ok(SpecialText {
        bos: config.bos_token.map(text_of),
        eos: config.eos_token.map(text_of),
        chat_template,
    })
}

#[derive(Deserialize)]
struct TokenizerConfig {
    #[serde(default)]
    bos_token: Option<TokenText>,
    #[serde(default)]
    eos_token: Option<TokenText>,
    #[serde(default)]
    chat_template: Option<Templates>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum TokenText {
    Plain(String),
    Added { content: String },
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Templates {
    One(String),
    Named(Vec<NamedTemplate>),
}

#[derive(Deserialize)]
struct NamedTemplate {
    name: String,
    template: String,
}

fn text_of(token: TokenText) -> String {
    match token {
        TokenText::Plain(text) | TokenText::Added { content: text } => text,
    }
}

/// A message as templates see it.
fn turn(message: &Message) -> Value {
    let role = match message.role {
        Role::System => "system",
        Role::User => "user",
        Role::Assistant => "assistant",
    };
    Value::from_pairs([("role", role), ("content", message.content.as_str())])
}

/// Jinja as transformers sets it up: blocks take their line with them, Python's string methods, no escaping.
fn environment() -> Environment<'static> {
    let mut environment = Environment::new();
    // Building fails only for delimiters that clash, and these are the usual ones.
    if let Ok(syntax) = SyntaxConfig::builder()
        .trim_blocks(true)
        .lstrip_blocks(true)
        .build()
    {
        environment.set_syntax(syntax);
    }
    environment.set_recursion_limit(MAX_RECURSION);
    environment.set_auto_escape_callback(|_| minijinja::AutoEscape::None);
    environment.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
    environment.add_function("raise_exception", raise_exception);
    environment.add_filter("tojson", tojson);
    // `strftime_now` stays undefined: this library has no clock, and templates ask whether it is defined.
    environment
}

fn raise_exception(message: String) -> Result<Value, JinjaError> {
    Err(JinjaError::new(ErrorKind::InvalidOperation, message.clone()).with_source(Raised(message)))
}

/// Marks an error as the template's own words.
#[derive(Debug, Error)]
#[error("{0}")]
struct Raised(String);

/// Python's `json.dumps(ensure_ascii=False)`: a space after `,` and `:`, and no HTML escapes.
///
/// The engine's own filter escapes for HTML, and follows shared lists as often as they are shared, without bound.
fn tojson(value: &Value, indent: Option<usize>, options: Kwargs) -> Result<Value, JinjaError> {
    let named: Option<usize> = options.get("indent")?;
    // Templates pass these with the values that are the rule here anyway.
    for known in ["ensure_ascii", "separators", "sort_keys"] {
        let _: Option<Value> = options.get(known)?;
    }
    options.assert_all_used()?;
    let mut writer = JsonWriter {
        out: String::new(),
        indent: indent.or(named).map(|spaces| spaces.min(16)),
        depth: 0,
    };
    writer.write(value)?;
    Ok(Value::from(writer.out))
}

struct JsonWriter {
    out: String,
    indent: Option<usize>, // spaces a level; None: all on one line
    depth: usize,
}

impl JsonWriter {
    fn write(&mut self, value: &Value) -> Result<(), JinjaError> {
        if self.depth > MAX_JSON_DEPTH || self.out.len() > MAX_JSON_BYTES {
            return Err(JinjaError::new(
                ErrorKind::InvalidOperation,
                "tojson: the value is too large",
            ));
        }
        match value.kind() {
            ValueKind::Seq | ValueKind::Iterable => {
                let items = value.try_iter()?;
                self.container('[', ']', items, Self::write)
            }
            ValueKind::Map => {
                let keys = value.try_iter()?;
                self.container('{', '}', keys, |writer, key| {
                    writer.scalar(&key.to_string())?;
                    writer.out.push_str(": ");
                    writer.write(&value.get_item(key)?)
                })
            }
            ValueKind::Undefined | ValueKind::None => self.scalar(&()),
            ValueKind::Bool | ValueKind::Number | ValueKind::String => self.scalar(value),
            _ => self.scalar(&value.to_string()),
        }
    }

    fn scalar<T: Serialize + ?Sized>(&mut self, scalar: &T) -> Result<(), JinjaError> {
        let text = serde_json::to_string(scalar)
            .map_err(|error| JinjaError::new(ErrorKind::BadSerialization, error.to_string()))?;
        self.out.push_str(&text);
        Ok(())
    }

    fn container(
        &mut self,
        open: char,
        close: char,
        items: impl Iterator<Item = Value>,
        mut write: impl FnMut(&mut Self, &Value) -> Result<(), JinjaError>,
    ) -> Result<(), JinjaError> {
        self.out.push(open);
        self.depth += 1;
        let mut empty = true;
        for item in items {
            if !empty {
                self.out
                    .push_str(if self.indent.is_some() { "," } else { ", " });
            }
            empty = false;
            self.new_line();
            write(self, &item)?;
        }
        self.depth -= 1;
        if !empty {
            self.new_line();
        }
        self.out.push(close);
        Ok(())
    }

    fn new_line(&mut self) {
        if let Some(spaces) = self.indent {
            self.out.push('\n');
            self.out
                .extend(std::iter::repeat_n(' ', spaces * self.depth));
        }
    }
}

/// Takes out `{% generation %}` and `{% endgeneration %}`, which mark the assistant's words for training only.
fn without_generation_tags(source: &str) -> String {
    let mut out = String::with_capacity(source.len());
    let mut rest = source;
    while let Some(open) = rest.find("{%") {
        let Some(length) = rest[open..].find("%}").map(|end| end + 2) else {
            break;
        };
        let tag = &rest[open..open + length];
        let name = tag
            .trim_matches(|c: char| matches!(c, '{' | '%' | '}' | '-' | '+') || c.is_whitespace());
        out.push_str(&rest[..open]);
        if name == "generation" || name == "endgeneration" {
            // A comment keeps the tag's hold on the white space around it.
            out.push_str(&tag.replacen('%', "#", 1).replace("%}", "#}"));
        } else {
            out.push_str(tag);
        }
        rest = &rest[open + length..];
    }
    out.push_str(rest);
    out
}

fn render_error(error: &JinjaError, fuel: u64) -> ChatError {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(current) = cause {
        if let Some(Raised(message)) = current.downcast_ref() {
            return ChatError::Raised(message.clone());
        }
        if current
            .downcast_ref::<JinjaError>()
            .is_some_and(|error| error.kind() == ErrorKind::OutOfFuel)
        {
            return ChatError::OutOfFuel { fuel };
        }
        cause = current.source();
    }
    ChatError::Render {
        line: error.line().unwrap_or(0),
        message: describe(error),
    }
}

fn describe(error: &JinjaError) -> String {
    match error.detail() {
        Some(detail) => format!("{}: {detail}", error.kind()),
        None => error.kind().to_string(),
    }
}
