//! `halfdepth prune` as a user runs it: what it writes runs as the source does, and nothing half-written is left.

#[path = "common/process.rs"]
mod process;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use process::{json, read_json, run};
use serde_json::{Value, json};

fn shared(path: &str) -> String {
    process::shared(path).display().to_string()
}

fn message(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn greedy_ids(model: &str, more: &[&str]) -> Value {
    let fixed = [
        "generate",
        model,
        "--prompt",
        "Once upon a time",
        "--greedy",
        "--ignore-eos",
        "--max-tokens",
        "48",
        "--dense",
        "--device",
        "cpu",
        "--json",
    ];
    json(&[&fixed, more].concat())["generated_ids"].clone()
}

fn folder() -> (tempfile::TempDir, impl Fn(&str) -> String) {
    let folder = tempfile::tempdir().expect("a folder");
    let root = folder.path().to_path_buf();
    (folder, move |name: &str| {
        root.join(name).display().to_string()
    })
}

/// What there is under a folder.
fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(folder)
        .expect("lists")
        .map(|entry| entry.expect("an entry").file_name().display().to_string())
        .collect();
    names.sort();
    names
}

#[test]
fn a_cut_model_generates_what_the_source_does_without_those_layers() {
    // (model, layers to leave out, files to write)
    let rows = [
        ("models/stories260K", "0", vec!["hf", "gguf"]),
        ("models/stories260K", "2,3", vec!["hf", "gguf"]),
        ("models/stories260K", "4", vec!["hf"]),
        ("models/TinyStories-656K", "1", vec!["hf", "gguf"]),
        (
            "models/halfdepth-stories-12L",
            "5,6,7,8,9,10",
            vec!["hf", "gguf"],
        ),
        (
            "models/stories260K/stories260K-f32.gguf",
            "1,3",
            vec!["hf", "gguf"],
        ),
        (
            "models/stories260K/stories260K-q8_0.gguf",
            "2",
            vec!["gguf"],
        ),
        (
            "models/stories260K/stories260K-q4_0.gguf",
            "2",
            vec!["gguf"],
        ),
    ];
    for (model, dropped, targets) in rows {
        let model = shared(model);
        let expected = greedy_ids(&model, &["--drop", dropped]);
        for target in targets {
            let (_folder, path) = folder();
            let output = path(if target == "gguf" { "cut.gguf" } else { "cut" });
            let report = json(&[
                "prune", &model, "--drop", dropped, "--to", target, "-o", &output, "--json",
            ]);
            assert_eq!(
                report["verified"]["largest_difference"], 0.0,
                "{model} {dropped} {target}"
            );
            assert!(
                report["verified"]["largest_logit"]
                    .as_f64()
                    .expect("a logit")
                    > 1.0
            );
            assert_eq!(
                greedy_ids(&output, &[]),
                expected,
                "{model} {dropped} {target}"
            );
            assert_eq!(
                names(_folder.path()).len(),
                1,
                "{:?}",
                names(_folder.path())
            );
        }
    }
}

#[test]
fn transformers_and_llama_cpp_generate_from_what_was_cut_what_we_do() {
    // Made by tests/prune/reference.py, which let both run the files.
    let reference: Value =
        serde_json::from_str(include_str!("../../../tests/prune/reference.json")).expect("JSON");
    for case in reference["cases"].as_array().expect("cases") {
        let text = |field: &str| case[field].as_str().expect("text");
        let (model, kind) = (shared(&format!("models/{}", text("model"))), text("type"));
        let dropped = case["dropped"].as_array().expect("layers").iter();
        let dropped = dropped.map(Value::to_string).collect::<Vec<_>>().join(",");
        let (_folder, path) = folder();
        for (target, engine) in [("gguf", "llama_cpp"), ("hf", "transformers")] {
            if case[engine].is_null() {
                continue;
            }
            let output = path(if target == "gguf" { "cut.gguf" } else { "cut" });
            let mut prune = vec![
                "prune", &model, "--drop", &dropped, "--to", target, "-o", &output,
            ];
            if target == "gguf" {
                prune.extend(["--type", kind]);
            }
            let done = run(&prune);
            assert!(done.status.success(), "{}", message(&done));
            let (ours, theirs) = (greedy_ids(&output, &[]), &case[engine]);
            let [ours, theirs] = [&ours, theirs].map(|ids| ids.as_array().expect("ids"));
            // Beside quantised weights llama.cpp rounds what they are multiplied with to 8 bits, and near ties fall otherwise.
            let is_quantised = kind.starts_with('q') || model.contains("-q");
            let compared = if is_quantised {
                QUANTISED_PREFIX
            } else {
                ours.len()
            };
            assert_eq!(
                ours[..compared],
                theirs[..compared],
                "{model} {dropped} {engine}"
            );
        }
    }
}

/// Tokens that llama.cpp and we agree on whatever the rounding; in these cases it is 10 at the least.
const QUANTISED_PREFIX: usize = 8;

#[test]
fn a_folder_keeps_bytes_unknown_keys_and_tokenizer_and_numbers_its_layers_anew() {
    let (_folder, path) = folder();
    let (whole, cut, again) = (path("whole"), path("cut"), path("again"));
    fs::create_dir(&whole).expect("makes");
    let source = shared("models/halfdepth-stories-12L");
    for name in [
        "model.safetensors",
        "generation_config.json",
        "tokenizer.json",
        "tokenizer_config.json",
    ] {
        fs::copy(Path::new(&source).join(name), Path::new(&whole).join(name)).expect("copies");
    }
    let config = fs::read(Path::new(&source).join("config.json")).expect("reads");
    let mut config: Value = serde_json::from_slice(&config).expect("JSON");
    config["layer_types"] = json!(vec!["full_attention"; 12]);
    config["no_rope_layers"] = (0..12).collect::<Vec<_>>().into();
    config["max_window_layers"] = 9.into();
    config["nobody_knows"] = json!({ "layers": 12 });
    fs::write(Path::new(&whole).join("config.json"), config.to_string()).expect("writes");

    json(&[
        "prune",
        &whole,
        "--layers",
        "0,1,4,8,10,11",
        "--to",
        "hf",
        "-o",
        &cut,
        "--json",
    ]);
    let files: BTreeMap<String, Vec<u8>> = names(Path::new(&cut))
        .into_iter()
        .map(|name| {
            (
                name.clone(),
                fs::read(Path::new(&cut).join(name)).expect("reads"),
            )
        })
        .collect();
    let found: Value = serde_json::from_slice(&files["config.json"]).expect("JSON");
    config["num_hidden_layers"] = 6.into();
    config["layer_types"] = json!(vec!["full_attention"; 6]);
    config["no_rope_layers"] = json!([0, 1, 4, 8, 10, 11]);
    config["max_window_layers"] = 4.into();
    assert_eq!(found, config);
    for name in [
        "generation_config.json",
        "tokenizer.json",
        "tokenizer_config.json",
    ] {
        let before = fs::read(Path::new(&source).join(name)).expect("reads");
        assert_eq!(files[name], before, "{name}");
    }
    let before = fs::read(Path::new(&source).join("model.safetensors")).expect("reads");
    let before = safetensors::SafeTensors::deserialize(&before).expect("parses");
    let after = safetensors::SafeTensors::deserialize(&files["model.safetensors"]).expect("parses");
    assert_eq!(after.len(), 2 + 6 * 9);
    for (name, tensor) in after.tensors() {
        let old = match name
            .strip_prefix("model.layers.")
            .and_then(|rest| rest.split_once('.'))
        {
            Some((layer, rest)) => {
                let layer = [0, 1, 4, 8, 10, 11][layer.parse::<usize>().expect("a number")];
                format!("model.layers.{layer}.{rest}")
            }
            None => name.clone(),
        };
        let old = before.tensor(&old).expect("was there");
        assert_eq!(
            (old.dtype(), old.shape()),
            (tensor.dtype(), tensor.shape()),
            "{name}"
        );
        assert_eq!(old.data(), tensor.data(), "{name}");
    }
    // Cut again: the record keeps the first model's numbers. In files of 300 kB at most: with an index.
    json(&[
        "prune",
        &cut,
        "--drop",
        "1,3",
        "--to",
        "hf",
        "-o",
        &again,
        "--shard-gb",
        "0.0003",
        "--json",
    ]);
    let record = fs::read(Path::new(&again).join("halfdepth.json")).expect("reads");
    let record: Value = serde_json::from_slice(&record).expect("JSON");
    assert_eq!(record["original_layers"], json!([0, 4, 10, 11]));
    assert_eq!(record["dropped"], json!([1, 3]));
    let files = names(Path::new(&again));
    let shards = files
        .iter()
        .filter(|name| name.starts_with("model-"))
        .count();
    assert!(
        shards > 2 && files.contains(&"model.safetensors.index.json".to_string()),
        "{files:?}"
    );
    assert_eq!(
        greedy_ids(&again, &[]),
        greedy_ids(&source, &["--drop", "1,2,3,5,6,7,8,9"])
    );
}

#[test]
fn a_gguf_file_can_be_quantised_and_does_what_its_weights_say() {
    let (_folder, path) = folder();
    for model in ["stories260K", "halfdepth-stories-12L"] {
        let source = shared(&format!("models/{model}"));
        let mut sizes = Vec::new();
        for kind in ["f32", "f16", "bf16", "q8_0", "q4_0"] {
            let output = path(&format!("{model}-{kind}.gguf"));
            let report = json(&[
                "prune", &source, "--drop", "2", "--to", "gguf", "--type", kind, "-o", &output,
                "--json",
            ]);
            assert_eq!(
                report["verified"]["largest_difference"], 0.0,
                "{model} {kind}"
            );
            assert_eq!(report["tokenizer"]["differing"], json!([]), "{model}");
            sizes.push(report["bytes"].as_u64().expect("bytes"));
            assert_eq!(
                json(&["inspect", &output, "--json"])["config"]["layers"],
                if model == "stories260K" { 4 } else { 11 }
            );
        }
        assert!(
            sizes[0] > sizes[1]
                && sizes[1] == sizes[2]
                && sizes[2] > sizes[3]
                && sizes[3] > sizes[4],
            "{sizes:?}"
        );
    }
}

#[test]
fn a_plan_beside_a_pack_changes_nothing_else() {
    let (_folder, path) = folder();
    let (pack, model) = (path("pack"), shared("models/stories260K"));
    assert!(run(&["pack", &model, "-o", &pack]).status.success());
    let manifest = Path::new(&pack).join("manifest.json");
    let read =
        || serde_json::from_slice::<Value>(&fs::read(&manifest).expect("reads")).expect("JSON");
    let (before, files) = (read(), names(Path::new(&pack)));
    let add = ["prune", &pack, "--to", "plan", "--name", "mine", "--json"];
    assert_eq!(
        json(&[&add[..], &["--drop", "1,2", "--dry-run"]].concat())["layers"],
        json!([0, 3, 4])
    );
    assert_eq!(read(), before);
    for (dropped, layers) in [("1,2", json!([0, 3, 4])), ("3", json!([0, 1, 2, 4]))] {
        json(&[&add[..], &["--drop", dropped]].concat());
        let mut after = read();
        let plans = after["plans"].as_array_mut().expect("plans");
        assert_eq!(plans.pop().expect("a plan")["layers"], layers);
        assert_eq!(after, before);
        assert_eq!(names(Path::new(&pack)), files);
    }
    let report = json(&[
        "generate", &pack, "--plan", "mine", "--prompt", "x", "--device", "cpu", "--json",
    ]);
    assert_eq!(report["layers"], json!([0, 1, 2, 4]));
}

#[test]
fn mistakes_are_named_and_leave_nothing() {
    let (folder, path) = folder();
    let model = shared("models/stories260K");
    let q8 = shared("models/stories260K/stories260K-q8_0.gguf");
    let pack = format!(
        "{}/../../models/halfdepth-stories-12L",
        env!("CARGO_MANIFEST_DIR")
    );
    let (taken, out, gguf) = (path("taken"), path("out"), path("out.gguf"));
    fs::create_dir(&taken).expect("makes");
    fs::write(path("no.json"), "{}").expect("writes");
    let (scan, sublayers) = (path("scan.json"), path("sub.json"));
    let text = shared("text/tinystories_val_0.8MB.txt");
    for arguments in [
        &[
            "scan",
            &model,
            "--text",
            &text,
            "--samples",
            "4",
            "--tokens",
            "32",
            "--device",
            "cpu",
            "-o",
            &scan,
        ][..],
        &[
            "plan",
            &scan,
            "--strategy",
            "sublayer",
            "--drop",
            "1",
            "-o",
            &sublayers,
        ],
    ] {
        let output = run(arguments);
        assert!(output.status.success(), "{}", message(&output));
    }
    let before = names(folder.path());
    let (no_plan, no_folder) = (path("no.json"), path("none/out"));
    let rows: Vec<(Vec<&str>, &str)> = vec![
        (
            vec![&model, "--drop", "5", "--to", "hf", "-o", &out],
            "there is no layer 5",
        ),
        (
            vec![&model, "--drop", "0,1,2,3,4", "--to", "hf", "-o", &out],
            "no layer is left",
        ),
        (
            vec![&model, "--drop", "1,1", "--to", "hf", "-o", &out],
            "layer 1 twice",
        ),
        (
            vec![&model, "--layers", "1,1", "--to", "hf", "-o", &out],
            "does not follow",
        ),
        (
            vec![&model, "--plan", "quarter", "--to", "hf", "-o", &out],
            "no plan `quarter`",
        ),
        (
            vec![&model, "--plan", &no_plan, "--to", "hf", "-o", &out],
            "no.json",
        ),
        (
            vec![&model, "--plan", &sublayers, "--to", "hf", "-o", &out],
            "hold whole layers",
        ),
        (
            vec![&model, "--plan", "half", "--to", "hf", "-o", &taken],
            "exists already",
        ),
        (
            vec![&model, "--plan", "half", "--to", "gguf", "-o", &out],
            ".gguf",
        ),
        (
            vec![&model, "--plan", "half", "--to", "hf", "-o", &no_folder],
            "cannot make",
        ),
        (
            vec![&model, "--plan", "half", "--to", "plan"],
            "is a checkpoint",
        ),
        (
            vec![&pack, "--plan", "half", "--to", "hf", "-o", &out],
            "is a pack",
        ),
        (
            vec![&q8, "--plan", "half", "--to", "hf", "-o", &out],
            "--to gguf",
        ),
        (
            vec![
                &q8, "--plan", "half", "--to", "gguf", "--type", "f16", "-o", &gguf,
            ],
            "--type",
        ),
    ];
    for (arguments, part) in rows {
        let output = run(&[&["prune"], &arguments[..]].concat());
        let text = message(&output);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {text}");
        assert!(text.contains(part), "{arguments:?}: {text}");
        assert!(!text.contains("panicked"), "{text}");
        assert_eq!(names(folder.path()), before, "{arguments:?}");
    }
}

#[test]
fn a_checkpoint_that_changed_since_it_was_planned_is_refused() {
    let (folder, path) = folder();
    let (model, scan, plan, out) = (
        path("model"),
        path("scan.json"),
        path("plan.json"),
        path("out"),
    );
    fs::create_dir(&model).expect("makes");
    for name in names(Path::new(&shared("models/stories260K"))) {
        let source = PathBuf::from(shared("models/stories260K")).join(&name);
        fs::write(
            Path::new(&model).join(&name),
            fs::read(source).expect("reads"),
        )
        .expect("writes");
    }
    let text = shared("text/tinystories_val_0.8MB.txt");
    let scanned = run(&[
        "scan",
        &model,
        "--text",
        &text,
        "--samples",
        "4",
        "--tokens",
        "16",
        "-o",
        &scan,
        "--device",
        "cpu",
    ]);
    assert!(scanned.status.success(), "{}", message(&scanned));
    let planned = run(&["plan", &scan, "--drop", "2", "-o", &plan]);
    assert!(planned.status.success(), "{}", message(&planned));
    let prune = [
        "prune", &model, "--plan", &plan, "--to", "hf", "-o", &out, "--json",
    ];

    let weights = Path::new(&model).join("model.safetensors");
    let whole = fs::read(&weights).expect("reads");
    let mut changed = whole.clone();
    // The last weight's lowest bit.
    let at = changed.len() - 4;
    changed[at] ^= 1;
    fs::write(&weights, changed).expect("writes");
    let refused = run(&prune);
    assert_eq!(refused.status.code(), Some(1));
    assert!(
        message(&refused).contains("made for other weights"),
        "{}",
        message(&refused)
    );
    assert!(!Path::new(&out).exists());
    json(&[&prune[..], &["--force"]].concat());
    fs::remove_dir_all(&out).expect("removes");
    fs::write(&weights, whole).expect("writes");
    let report = json(&prune);
    let planned = read_json(Path::new(&plan));
    assert_eq!(report["layers"], planned["layers"]);
    assert!(names(folder.path()).contains(&"out".to_string()));
}

#[test]
fn what_a_killed_run_left_is_removed_and_a_strangers_folder_is_not() {
    let (folder, path) = folder();
    let model = shared("models/stories260K");
    let prune = ["prune", &model, "--plan", "half", "--to", "hf", "-o"];
    fs::create_dir(path("a.part")).expect("makes");
    fs::write(path("a.part/.halfdepth-unfinished"), "").expect("writes");
    fs::write(path("a.part/model.safetensors"), "half").expect("writes");
    assert!(run(&[&prune[..], &[&path("a")]].concat()).status.success());
    fs::create_dir(path("b.part")).expect("makes");
    fs::write(path("b.part/mine"), "mine").expect("writes");
    let refused = run(&[&prune[..], &[&path("b")]].concat());
    assert_eq!(refused.status.code(), Some(1), "{}", message(&refused));
    assert_eq!(names(folder.path()), ["a", "b.part"]);
    assert_eq!(names(&folder.path().join("b.part")), ["mine"]);
}

#[test]
fn a_disk_that_fills_up_is_named_and_nothing_is_left() {
    let (folder, path) = folder();
    let model = shared("models/halfdepth-stories-12L");
    for (target, name) in [("hf", "out"), ("gguf", "out.gguf")] {
        let output = path(name);
        // Files over a limit fail as on a full disk does a write, with another message: 2 MB, in blocks of 1024 bytes.
        let script = "ulimit -f 2048; trap '' XFSZ; exec \"$0\" prune \"$1\" --plan half --to \"$2\" -o \"$3\"";
        let limited = Command::new("bash")
            .args([
                "-c",
                script,
                env!("CARGO_BIN_EXE_halfdepth"),
                &model,
                target,
                &output,
            ])
            .output()
            .expect("runs");
        assert_eq!(limited.status.code(), Some(1), "{}", message(&limited));
        assert!(
            message(&limited).contains("cannot write"),
            "{}",
            message(&limited)
        );
        assert!(
            names(folder.path()).is_empty(),
            "{:?}",
            names(folder.path())
        );
    }
}
