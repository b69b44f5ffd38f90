//! `heal` as a user runs it: what it writes, what is left when it is killed, what it prints, and what it refuses.

#[path = "common/process.rs"]
mod process;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use process::{error, halfdepth, json, read_json, run, shared, text};

const MODEL: &str = "models/stories260K";
const TEXT: &str = "text/tinystories_val_0.8MB.txt";

/// A folder with two texts, one to learn from and one that is held out.
struct Texts {
    folder: tempfile::TempDir,
    learn: PathBuf,
    held_out: PathBuf,
}

fn texts() -> Texts {
    let folder = tempfile::tempdir().expect("a folder");
    let whole = std::fs::read_to_string(shared(TEXT)).expect("a text");
    let (learn, held_out) = (
        folder.path().join("learn.txt"),
        folder.path().join("held-out.txt"),
    );
    std::fs::write(&learn, &whole[20_000..120_000]).expect("writes");
    std::fs::write(&held_out, &whole[..10_000]).expect("writes");
    Texts {
        folder,
        learn,
        held_out,
    }
}

impl Texts {
    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// `heal` of the model's simple half, a few small steps.
    fn heal(&self, output: &Path, more: &[&str]) -> Vec<String> {
        self.heal_plan("half", output, more)
    }

    fn heal_plan(&self, plan: &str, output: &Path, more: &[&str]) -> Vec<String> {
        let model = shared(MODEL);
        let known = [
            "heal",
            text(&model),
            "--plan",
            plan,
            "--device",
            "cpu",
            "--text",
            text(&self.learn),
            "--valid",
            text(&self.held_out),
            "--valid-windows",
            "8",
            "--window",
            "64",
            "--batch",
            "4",
            "--tokens",
            "64",
            "--output",
            text(output),
        ];
        known.iter().chain(more).map(ToString::to_string).collect()
    }
}

fn slices(arguments: &[String]) -> Vec<&str> {
    arguments.iter().map(String::as_str).collect()
}

#[test]
fn what_is_written_is_measured_by_eval_as_heal_measured_it() {
    let texts = texts();
    for (method, more) in [
        ("distill", vec!["--tune", "all", "--learning-rate", "2e-3"]),
        (
            "last-layers",
            vec!["--tune", "last:1", "--learning-rate", "2e-3"],
        ),
        (
            "lora",
            vec![
                "--rank",
                "4",
                "--learning-rate",
                "1e-2",
                "--ce-weight",
                "0",
                "--kl-weight",
                "1",
            ],
        ),
    ] {
        let output = texts.path(method);
        let mut arguments = vec![
            "--method",
            method,
            "--steps",
            "20",
            "--evaluate-every",
            "5",
            "--json",
        ];
        arguments.extend(more);
        let report = json(&slices(&texts.heal(&output, &arguments)));
        let (before, after) = (
            report["loss_before"].as_f64(),
            report["loss_after"].as_f64(),
        );
        let (before, after) = (before.expect("a loss"), after.expect("a loss"));
        assert!(after < before - 0.05, "{method}: {before} {after}");
        assert_eq!(
            (&report["steps"], &report["tokens"]),
            (&20.into(), &(20 * 4 * 64).into())
        );
        let has_adapter = output.join("adapter/adapter_model.safetensors").exists();
        assert_eq!(has_adapter, method == "lora");
        let mut names: Vec<String> = std::fs::read_dir(&output)
            .expect("lists")
            .map(|file| {
                file.expect("a file")
                    .file_name()
                    .to_string_lossy()
                    .into_owned()
            })
            .collect();
        names.retain(|name| name != "adapter");
        names.sort();
        assert_eq!(
            names,
            [
                "healing.json",
                "healing.safetensors",
                "log.jsonl",
                "loss.png",
                "loss.svg"
            ]
        );
        let log = std::fs::read_to_string(output.join("log.jsonl")).expect("a log");
        assert_eq!(
            log.lines().count(),
            20 + 5,
            "each step, and the held-out loss before and after every fifth"
        );

        let measured = json(&[
            "eval",
            text(&shared(MODEL)),
            "--healed",
            text(&output),
            "--tasks",
            "loss",
            "--text",
            text(&texts.held_out),
            "--window",
            "64",
            "--limit",
            "8",
            "--device",
            "cpu",
            "--json",
            "--state",
            text(&texts.path("state")),
        ]);
        let figures = &measured["tasks"][0]["figures"];
        let found = figures["cross_entropy"].as_f64();
        let found = found.or_else(|| figures["cross_entropy"]["value"].as_f64());
        let found = found.unwrap_or_else(|| panic!("no loss in {measured}"));
        // The same weights on the same windows; batches may be put together otherwise.
        assert!((found - after).abs() < 1e-6, "{method}: {found} {after}");
    }
}

#[test]
fn a_killed_run_goes_on_to_the_same_bytes() {
    let texts = texts();
    let heal = |output: &Path| -> Command {
        let mut command = halfdepth();
        let more = [
            "--tune",
            "all",
            "--steps",
            "24",
            "--evaluate-every",
            "7",
            "--checkpoint-every",
            "2",
        ];
        command
            .args(texts.heal(output, &more))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    };
    let (whole, killed) = (texts.path("whole"), texts.path("killed"));
    assert!(heal(&whole).output().expect("runs").status.success());
    let lines = |folder: &Path| {
        let log = std::fs::read_to_string(folder.join("log.jsonl")).unwrap_or_default();
        log.lines().count()
    };
    for target in [4, 13] {
        let mut child = heal(&killed).spawn().expect("runs");
        let begun = Instant::now();
        while lines(&killed) < target {
            assert!(
                begun.elapsed() < Duration::from_secs(120),
                "it does not come to line {target}"
            );
            std::thread::sleep(Duration::from_millis(1));
        }
        child.kill().expect("kills");
        child.wait().expect("ends");
        assert!(killed.join("heal.state").exists() && !killed.join("healing.json").exists());
    }
    // Another run must not go on from it.
    let other = texts.heal(&killed, &["--tune", "all", "--steps", "25"]);
    let message = error(&slices(&other));
    assert!(
        message.contains("heal.state") && message.contains("other settings"),
        "{message}"
    );

    let output = heal(&killed).output().expect("runs");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success() && said.contains("going on after"),
        "{said}"
    );
    for file in [
        "healing.safetensors",
        "healing.json",
        "log.jsonl",
        "loss.svg",
        "loss.png",
    ] {
        let [whole, killed] =
            [&whole, &killed].map(|folder| std::fs::read(folder.join(file)).expect("reads"));
        assert!(whole == killed, "{file}");
    }
    assert!(!killed.join("heal.state").exists());
    let again = heal(&killed).output().expect("runs");
    let said = String::from_utf8_lossy(&again.stdout).into_owned();
    assert!(said.contains("already"), "{said}");
}

#[test]
fn minutes_that_are_over_end_a_run_that_the_same_command_goes_on_with() {
    let texts = texts();
    let output = texts.path("minutes");
    let steps = ["--tune", "last:1", "--steps", "6", "--json"];
    let stopped = json(&slices(
        &texts.heal(&output, &[&steps[..], &["--minutes", "0"]].concat()),
    ));
    assert_eq!(
        (&stopped["steps"], &stopped["ended_by"]),
        (&0.into(), &"time".into())
    );
    assert!(output.join("heal.state").exists());
    let ended = json(&slices(&texts.heal(&output, &steps)));
    assert_eq!(
        (&ended["steps"], &ended["ended_by"]),
        (&6.into(), &"all steps".into())
    );
}

#[test]
fn a_run_without_a_lower_loss_ends_early_and_one_that_diverges_keeps_its_best() {
    let texts = texts();
    let output = texts.path("patience");
    let more = [
        "--tune",
        "all",
        "--learning-rate",
        "1e-9",
        "--steps",
        "40",
        "--evaluate-every",
        "1",
        "--patience",
        "2",
        "--json",
    ];
    let report = json(&slices(&texts.heal(&output, &more)));
    assert_eq!(report["ended_by"], "no lower held-out loss");
    assert!(report["steps"].as_u64().expect("a number") < 40);

    let output = texts.path("diverged");
    let more = [
        "--tune",
        "all",
        "--learning-rate",
        "0.1",
        "--warmup",
        "300",
        "--steps",
        "400",
        "--evaluate-every",
        "1",
    ];
    let mut rising = texts.heal(&output, &more);
    // A small cut, so that the loss has room to rise.
    let plan = rising
        .iter()
        .position(|part| part == "--plan")
        .expect("a plan");
    rising[plan] = "--drop".into();
    rising[plan + 1] = "2".into();
    let message = error(&slices(&rising));
    assert!(
        message.contains("diverged at step") && message.contains("lower --learning-rate"),
        "{message}"
    );
    assert!(
        message.contains("holds the weights after step"),
        "{message}"
    );
    assert!(!output.join("heal.state").exists());
    let kept = read_json(&output.join("healing.json"));
    assert!(kept["loss_after"].as_f64() < kept["loss_before"].as_f64());
}

#[test]
fn presets_are_the_papers() {
    // arXiv 2403.17887, appendix A.1: tokens a sequence, rate, rank, modules.
    let rows = [
        ("llama-2-7b", 2048, 3e-4, 2, 3),
        ("llama-2-13b", 4096, 3e-4, 64, 3),
        ("llama-2-70b", 4096, 3e-5, 8, 3),
        ("qwen-7b", 2048, 3e-4, 64, 3),
        ("qwen-14b", 4096, 3e-4, 64, 3),
        ("mistral-7b", 2048, 3e-6, 4, 3),
        ("phi-2", 2048, 2e-4, 64, 2),
    ];
    for (name, tokens, rate, rank, modules) in rows {
        let preset = json(&["heal", "--method", "lora", "--preset", name, "--json"]);
        assert_eq!(preset["tokens_per_sequence"], tokens, "{name}");
        assert_eq!(preset["learning_rate"], rate, "{name}");
        assert_eq!(
            (&preset["rank"], &preset["alpha"]),
            (&rank.into(), &rank.into()),
            "{name}"
        );
        assert_eq!(
            preset["modules"].as_array().expect("a list").len(),
            modules,
            "{name}"
        );
        assert_eq!(preset["tokens"], 16 * 5000 * tokens, "{name}");
        for (field, value) in [
            ("steps", 5000),
            ("batch", 16),
            ("warmup_steps", 100),
            ("base_bits", 4),
        ] {
            assert_eq!(preset[field], value, "{name} {field}");
        }
        assert_eq!(
            (&preset["dropout"], &preset["schedule"]),
            (&0.05.into(), &"cosine".into())
        );
    }
    let said = run(&["heal", "--method", "lora", "--preset", "llama-2-7b"]);
    let said = String::from_utf8_lossy(&said.stdout).into_owned();
    for line in [
        "gate_proj, up_proj, down_proj",
        "rank                 2",
        "learning rate        0.0003",
        "steps                5000",
    ] {
        assert!(said.contains(line), "{said}");
    }
    // Over a model, a preset is what is not said otherwise.
    let texts = texts();
    let more = [
        "--method",
        "lora",
        "--preset",
        "llama-2-7b",
        "--json",
        "--dry-run",
    ];
    let planned = json(&slices(&texts.heal(&texts.path("none"), &more)));
    let settings = &planned["settings"];
    assert_eq!(
        settings["low_rank"]["targets"],
        serde_json::json!(["gate_proj", "up_proj", "down_proj"])
    );
    assert_eq!(
        (&settings["low_rank"]["rank"], &settings["base"]),
        (&2.into(), &"q4".into())
    );
    assert_eq!(
        (&settings["schedule"]["steps"], &settings["batch"]),
        (&5000.into(), &4.into())
    );
    assert!(!texts.path("none").exists(), "nothing is written");
}

#[test]
fn a_patch_is_healed_further() {
    let texts = texts();
    let patched = texts.path("patched");
    let patch = texts.heal(&patched, &["--method", "patch", "--patch-tokens", "4096"]);
    assert!(run(&slices(&patch)).status.success());
    let output = texts.path("further");
    let more = [
        "--init",
        text(&patched),
        "--tune",
        "around:1",
        "--steps",
        "10",
        "--learning-rate",
        "1e-3",
        "--json",
    ];
    let further = json(&slices(&texts.heal(&output, &more)));
    let plain = json(&slices(
        &texts.heal(&texts.path("plain"), &["--method", "none", "--json"]),
    ));
    assert!(
        further["loss_before"].as_f64() < plain["loss_before"].as_f64(),
        "it begins with the patch"
    );
    assert!(further["loss_after"].as_f64() < further["loss_before"].as_f64());
    assert_eq!(
        read_json(&output.join("healing.json"))["settings"]["init"]["method"],
        "patch"
    );
}

/// The control of a comparison: what learns from a text goes on learning where nothing was cut.
#[test]
fn the_whole_model_learns_from_a_text_and_the_pruned_folder_of_it_is_whole() {
    let texts = texts();
    let (model, output, folder) = (shared(MODEL), texts.path("whole"), texts.path("hf"));
    let more = [
        "--method",
        "lora",
        "--rank",
        "4",
        "--learning-rate",
        "3e-3",
        "--steps",
        "10",
        "--json",
    ];
    let report = json(&slices(&texts.heal_plan("full", &output, &more)));
    assert!(report["loss_after"].as_f64() < report["loss_before"].as_f64());
    json(&[
        "prune",
        text(&model),
        "--healed",
        text(&output),
        "--to",
        "hf",
        "--json",
        "-o",
        text(&folder),
    ]);
    let (whole, pruned) = (
        read_json(&model.join("config.json")),
        read_json(&folder.join("config.json")),
    );
    assert_eq!(pruned["num_hidden_layers"], whole["num_hidden_layers"]);
}

#[test]
fn what_cannot_be_healed_is_refused_before_the_work_begins() {
    let texts = texts();
    let write = |name: &str, bytes: &[u8]| {
        let path = texts.path(name);
        std::fs::write(&path, bytes).expect("writes");
        path
    };
    let (empty, short) = (
        write("empty.txt", b" \n"),
        write("short.txt", b"Once upon a time"),
    );
    let (binary, zeros) = (
        write("binary", &[0xff, 0xfe, 0x00, 0xd8]),
        write("zeros", b"a\0b"),
    );
    let output = texts.path("refused");
    let model = shared(MODEL);
    let with = |changes: &[&str]| -> String {
        let known = [
            "heal",
            text(&model),
            "--device",
            "cpu",
            "--output",
            text(&output),
        ];
        error(&[&known[..], changes].concat())
    };
    let learn = text(&texts.learn);
    let rows: [(&[&str], &str); 14] = [
        (&[], "nothing to learn from"),
        (&["--text", text(&empty)], "is empty"),
        (&["--text", text(&short)], "not one sequence"),
        (&["--text", text(&binary)], "binary"),
        (&["--text", text(&zeros)], "binary"),
        (&["--text", text(texts.folder.path())], "is a folder"),
        (&["--text", learn, "--valid", learn], "cannot be both"),
        (&["--text", learn, "--plan", "full"], "nothing to heal"),
        (
            &[
                "--text",
                learn,
                "--plan",
                "full",
                "--method",
                "lora",
                "--kl-weight",
                "1",
            ],
            "nothing to heal",
        ),
        (
            &["--text", learn, "--plan", "full", "--method", "patch"],
            "nothing for `--method patch`",
        ),
        (
            &["--text", learn, "--method", "lora", "--rank", "65"],
            "--rank 65 is above",
        ),
        (
            &["--text", learn, "--method", "lora", "--targets", "mlp"],
            "names no matrix",
        ),
        (&["--text", learn, "--rank", "4"], "--method lora"),
        (&["--text", learn, "--tune", "middle"], "neither `all`"),
    ];
    for (changes, message) in rows {
        let said = with(changes);
        assert!(said.contains(message), "{said}");
        assert!(!output.exists(), "{message}: something was written");
    }
}
