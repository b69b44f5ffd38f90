//! Four bits: the same packs give the same greedy ids on the CPU twin and the GPU, at full and at half depth, and what
//! four bits cost is printed. Leaves packs and ids in `target/browser-goldens` for the browser to be held to.

#[path = "common/mod.rs"]
mod common;
#[path = "common/healing.rs"]
mod healing;
#[path = "common/model.rs"]
mod model;

use std::path::{Path, PathBuf};

use common::shared;
use halfdepth::chat::{ChatTemplate, Message, Role};
use halfdepth::checkpoint::Checkpoint;
use halfdepth::decode::Lane;
use halfdepth::eval::cross_entropy;
use halfdepth::pack::{MANIFEST, Manifest, PackOptions, Role as PackRole, Source};
use halfdepth::plan::{LayerPlan, PlanEntry};
use halfdepth::quant::Format;
use halfdepth::tokenizer::Tokenizer;
use halfdepth::weights::FormatChoice;
use pollster::block_on;
use serde_json::json;

/// Where the best two logits lie closer than this, sums in another order may pick the other one.
const NEAR_TIE: f32 = 1e-3;
/// Tokens to decode.
const TOKENS: usize = 64;

const PROMPTS: [&str; 5] = [
    "Once upon a time",
    "Tell me a story about Lily and a dog.",
    "One day, a little boy named Tim",
    "The cat was very happy because",
    "What do you like to do?",
];

fn options(name: &str, layers: usize) -> PackOptions {
    let entry = |name: &str, plan: LayerPlan| PlanEntry::new(name, name, plan.layers);
    PackOptions {
        name: name.to_string(),
        source: Source {
            name: name.to_string(),
            kind: "safetensors".to_string(),
            sha256: "0".repeat(64),
            licence: None,
        },
        layers: Format::Q4,
        embedding: Format::Q8,
        plans: vec![
            entry("full", LayerPlan::full(layers).expect("plan")),
            entry("half", LayerPlan::simple(layers, layers / 2).expect("plan")),
        ],
    }
}

/// One step of greedy decoding, and how far the runner-up was behind.
struct Pick {
    token: u32,
    margin: f32,
}

fn margin(logits: &[f32]) -> f32 {
    let mut best = [f32::MIN; 2];
    for &logit in logits {
        if logit > best[0] {
            best = [logit, best[0]];
        } else if logit > best[1] {
            best[1] = logit;
        }
    }
    best[0] - best[1]
}

/// Decodes greedily; where `reference` is given, its token is forced wherever a near-tie fell the other way.
fn decode(
    lane: &mut Lane,
    prompt: &[u32],
    reference: Option<&[Pick]>,
    label: &str,
    near_ties: &mut usize,
) -> Vec<Pick> {
    lane.truncate(0);
    block_on(lane.prefill(prompt)).expect("prefill");
    let mut picks = Vec::new();
    while picks.len() < TOKENS {
        let token = if picks.is_empty() {
            block_on(lane.picked()).expect("pick")
        } else {
            block_on(lane.decode(1)).expect("decode")[0]
        };
        let mut pick = Pick {
            token,
            margin: margin(&block_on(lane.logits()).expect("logits")),
        };
        if let Some(expected) = reference.map(|picks_| &picks_[picks.len()])
            && expected.token != token
        {
            assert!(
                expected.margin < NEAR_TIE,
                "{label} step {}: {token} for {}",
                picks.len(),
                expected.token
            );
            *near_ties += 1;
            lane.force(expected.token);
            pick.token = expected.token;
        }
        picks.push(pick);
    }
    picks
}

/// Holds one pack to itself on every device and leaves what the CPU twin picked for the browser, in `folder`.
fn check(
    name: &str,
    manifest: &Manifest,
    read: &dyn Fn(&str) -> Vec<u8>,
    tokenizer: &Tokenizer,
    folder: &Path,
) {
    let template = manifest.chat_template().map(|source| {
        let special = manifest.special();
        ChatTemplate::new(source, special.bos.as_deref(), special.eos.as_deref()).expect("template")
    });
    // As the page asks: through the chat template where there is one.
    let ids = |prompt: &str| match &template {
        Some(template) => {
            let messages = [Message::new(Role::User, prompt)];
            let text = template.render(&messages, true).expect("rendered");
            tokenizer.encode(&text, false).expect("ids")
        }
        None => tokenizer.encode(prompt, true).expect("ids"),
    };
    let mut cases = Vec::new();
    for plan in manifest.plans().iter().map(|plan| plan.name.as_str()) {
        let mut references: Vec<Vec<Pick>> = Vec::new();
        for (device_name, device) in model::devices() {
            let model = model::unpack(manifest, read, &device);
            let mut lane =
                block_on(Lane::new(&model, manifest.plan(plan).expect("plan"), 512)).expect("lane");
            let mut near_ties = 0;
            for (i, prompt) in PROMPTS.iter().enumerate() {
                let label = format!("{name} on {device_name}, {plan}, {prompt:?}");
                let prompt = ids(prompt);
                let reference = references.get(i).map(Vec::as_slice);
                let picks = decode(&mut lane, &prompt, reference, &label, &mut near_ties);
                if reference.is_none() {
                    references.push(picks);
                }
            }
            model::say(&format!(
                "{name} in 4 bits on {device_name}, {plan}: {} steps, {near_ties} near-ties forced",
                PROMPTS.len() * TOKENS
            ));
            assert!(
                near_ties * 100 <= PROMPTS.len() * TOKENS,
                "more than 1 % near-ties"
            );
        }
        for (prompt, picks) in PROMPTS.iter().zip(&references) {
            cases.push(json!({
                "plan": plan,
                "prompt": prompt,
                "ids": picks.iter().map(|pick| pick.token).collect::<Vec<_>>(),
                "margins": picks.iter().map(|pick| pick.margin).collect::<Vec<_>>(),
            }));
        }
    }
    let golden =
        json!({ "nearTie": NEAR_TIE, "endTokens": manifest.config().eos_tokens, "cases": cases });
    std::fs::write(folder.join("golden.json"), golden.to_string()).expect("written");
}

fn fixtures(name: &str) -> PathBuf {
    // Beside the build's own folders, wherever those are.
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"))
        .join("browser-goldens")
        .join(name);
    std::fs::create_dir_all(&folder).expect("a folder");
    folder
}

fn packs_agree(name: &str) {
    // Prompts go to the model as they are, in the browser too: no chat template in these packs.
    let checkpoint = model::open(name);
    let json = std::fs::read(shared(&format!("models/{name}/tokenizer.json"))).expect("tokenizer");
    let tokenizer = Tokenizer::from_json(&json).expect("tokenizer");
    let (manifest, files) = model::pack(
        &checkpoint,
        &json,
        &options(name, checkpoint.config().layers),
    );
    let folder = fixtures(name);
    for (file, bytes) in &files {
        std::fs::write(folder.join(file), bytes).expect("written");
    }
    check(
        name,
        &manifest,
        &|file| files[file].clone(),
        &tokenizer,
        &folder,
    );
    print_cost(name, &checkpoint, &manifest, &files, &tokenizer);
}

/// What four bits cost in cross-entropy.
fn print_cost(
    name: &str,
    checkpoint: &Checkpoint,
    manifest: &Manifest,
    files: &std::collections::BTreeMap<String, Vec<u8>>,
    tokenizer: &Tokenizer,
) {
    let device = halfdepth::decode::cpu();
    let text = std::fs::read_to_string(shared("text/tinystories_val_0.8MB.txt")).expect("text");
    let mut ids = tokenizer.encode(&text, false).expect("ids");
    ids.truncate(2048);
    let bos = checkpoint.config().bos_token.expect("bos");
    let dense = model::build(checkpoint, FormatChoice::Dense, &device);
    let packed = model::unpack(manifest, |file| files[file].clone(), &device);
    for plan in ["full", "half"] {
        let loss = |model| {
            let mut lane =
                block_on(Lane::new(model, manifest.plan(plan).expect("plan"), 128)).expect("lane");
            block_on(cross_entropy(&mut lane, &ids, 128, bos)).expect("cross-entropy")
        };
        let (whole, four_bits) = (loss(&dense), loss(&packed));
        model::say(&format!(
            "{name}, {plan}: {whole:.4} nats in f32, {four_bits:.4} in 4 bits, cost {:+.4}",
            four_bits - whole
        ));
        // Far above what any of the three loses; what it guards against is a broken layout.
        assert!(
            four_bits - whole < 0.35,
            "{name}, {plan}: four bits cost too much"
        );
    }
}

#[test]
fn stories260k_packs_agree() {
    packs_agree("stories260K");
}

#[test]
fn tinystories_656k_packs_agree() {
    packs_agree("TinyStories-656K");
}

#[test]
fn halfdepth_stories_12l_packs_agree() {
    packs_agree("halfdepth-stories-12L");
}

#[test]
fn a_pack_with_a_healed_plan_agrees() {
    let name = "halfdepth-stories-12L";
    let checkpoint = model::open(name);
    let json = std::fs::read(shared(&format!("models/{name}/tokenizer.json"))).expect("tokenizer");
    let tokenizer = Tokenizer::from_json(&json).expect("tokenizer");
    let (mut manifest, mut files) = model::pack(&checkpoint, &json, &options(name, 12));
    let half = LayerPlan::simple(12, 6).expect("plan");
    let entry = PlanEntry::new("healed", "Healed", half.layers);
    let changed = healing::of_twelve(&checkpoint);
    healing::add(&mut manifest, &mut files, checkpoint, entry, &changed);
    files.insert(MANIFEST.into(), manifest.to_json().into_bytes());
    let folder = fixtures("healed");
    for (file, bytes) in &files {
        std::fs::write(folder.join(file), bytes).expect("written");
    }
    let read = |file: &str| files[file].clone();
    check("a healed pack", &manifest, &read, &tokenizer, &folder);
}

#[test]
fn the_pack_that_ships_agrees() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/halfdepth-stories-12L");
    let read = |file: &str| std::fs::read(folder.join(file)).expect("a file of the pack");
    let manifest = Manifest::parse(&read("manifest.json")).expect("a manifest");
    let tokenizer_file = manifest
        .files()
        .into_iter()
        .find(|info| info.role == PackRole::Tokenizer)
        .expect("tokenizer");
    let tokenizer = Tokenizer::from_json(&read(&tokenizer_file.file)).expect("tokenizer");
    check(
        "the pack that ships",
        &manifest,
        &read,
        &tokenizer,
        &fixtures("shipped"),
    );
}

/// The model card's recipe, without the measuring.
#[test]
fn the_recipe_rebuilds_the_pack_that_ships() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/halfdepth-stories-12L");
    let shipped = Manifest::parse(&std::fs::read(folder.join("manifest.json")).expect("manifest"))
        .expect("a manifest");
    let checkpoint = model::open("halfdepth-stories-12L");
    let json =
        std::fs::read(shared("models/halfdepth-stories-12L/tokenizer.json")).expect("tokenizer");
    let (rebuilt, _) = model::pack(
        &checkpoint,
        &json,
        &options("rebuilt", checkpoint.config().layers),
    );
    let names = |manifest: &Manifest| {
        // What healing changed comes from other recipes.
        let own = |role| !matches!(role, PackRole::Replacement(_) | PackRole::ReplacedHead(_));
        let files = manifest.files().into_iter();
        let mut names: Vec<String> = files
            .filter(|info| own(info.role))
            .map(|info| info.file)
            .collect();
        names.sort();
        names
    };
    // Files are named by their hash, so equal names are equal bytes.
    assert_eq!(names(&rebuilt), names(&shipped));
    assert_eq!(shipped.source().sha256, checkpoint.sha256());
}

#[test]
fn gguf_files_run_as_their_dequantised_weights_do() {
    for kind in ["f32", "q8_0", "q4_0"] {
        let path = shared(&format!("models/stories260K/stories260K-{kind}.gguf"));
        let checkpoint =
            Checkpoint::from_gguf(model::leak(&path).expect("file")).expect("a good file");
        let prompt = [1, 403, 407, 261, 378];
        let logits = |choice, device: &_| {
            let model = model::build(&checkpoint, choice, device);
            let mut lane =
                block_on(Lane::new(&model, LayerPlan::full(5).expect("plan"), 64)).expect("lane");
            block_on(lane.prefill(&prompt)).expect("prefill");
            block_on(lane.logits()).expect("logits")
        };
        let reference = logits(FormatChoice::Dense, &halfdepth::decode::cpu());
        for (name, device) in model::devices() {
            let native = logits(FormatChoice::Native, &device);
            let worst = native
                .iter()
                .zip(&reference)
                .map(|(a, b)| (a - b).abs())
                .fold(0.0, f32::max);
            model::say(&format!(
                "stories260K {kind} on {name}: logits within {worst:.1e} of the dequantised weights'"
            ));
            // The weights are the same numbers; only sums of f32 in another order differ, over five layers.
            assert!(worst < 1e-4, "{kind} on {name}: {worst}");
        }
    }
}
