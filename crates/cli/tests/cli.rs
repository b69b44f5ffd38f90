//! The commands as a user runs them: a real process, real models, what it prints.

#[path = "common/process.rs"]
mod process;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::Stdio;

use process::{halfdepth, json, read_json, run, shared};
use serde_json::Value;

fn golden(model: &str, plan: &str) -> Value {
    read_json(&shared(&format!("goldens/{model}.json")))["plans"][plan].clone()
}

#[test]
fn generate_prints_the_reference_ids() {
    let model = shared("models/stories260K");
    let model = model.to_str().expect("UTF-8");
    for (plan, drop) in [
        ("full", None),
        ("simple-2", Some("2,3")),
        ("first", Some("0")),
    ] {
        let golden = &golden("stories260K", plan)["cases"][0];
        let prompt = golden["prompt"].as_str().expect("a prompt");
        let mut arguments = vec![
            "generate", model, "--prompt", prompt, "--dense", "--device", "cpu",
        ];
        arguments.extend(["--greedy", "--ignore-eos", "--max-tokens", "96", "--json"]);
        if let Some(drop) = drop {
            arguments.extend(["--drop", drop]);
        }
        let report = json(&arguments);
        assert_eq!(report["prompt_ids"], golden["prompt_ids"], "{plan}");
        assert_eq!(report["generated_ids"], golden["greedy_ids"], "{plan}");
        assert!(
            report["timings"]["decode_tokens_per_second"]
                .as_f64()
                .expect("a speed")
                > 0.0
        );
        assert!(report["text"].is_string());
    }
}

#[test]
fn drafts_of_another_plan_change_nothing_of_the_text() {
    let model = shared("models/stories260K");
    let arguments = |more: &[&'static str]| {
        let model = model.to_str().expect("UTF-8");
        let arguments = ["generate", model, "--prompt", "Once upon a time"];
        let rest = [
            "--device",
            "cpu",
            "--greedy",
            "--max-tokens",
            "40",
            "--json",
        ];
        json(&[&arguments[..], &rest, more].concat())
    };
    let plain = arguments(&[]);
    assert!(plain["speculation"].is_null());
    let drafted = arguments(&["--draft", "half", "--always-draft"]);
    assert_eq!(drafted["generated_ids"], plain["generated_ids"]);
    let count = |field: &str| drafted["speculation"][field].as_u64().expect("a count");
    assert!(count("accepted") <= count("drafted") && count("drafted") > 0);
    assert_eq!(1 + count("accepted") + count("rounds"), 40);
}

#[test]
fn the_same_seed_gives_the_same_text_and_another_seed_another() {
    let model = shared("models/halfdepth-stories-12L");
    let model = model.to_str().expect("UTF-8");
    let text = |seed: &str| {
        let arguments = [
            "generate",
            model,
            "--prompt",
            "Once upon a time",
            "--temperature",
            "1",
            "--top-k",
            "40",
        ];
        let report = json(
            &[
                &arguments[..],
                &[
                    "--seed",
                    seed,
                    "--device",
                    "cpu",
                    "--max-tokens",
                    "40",
                    "--json",
                ],
            ]
            .concat(),
        );
        report["text"].as_str().expect("text").to_string()
    };
    assert_eq!(text("1"), text("1"));
    assert_ne!(text("1"), text("2"));
}

#[test]
fn a_stop_string_ends_the_text_and_does_not_appear_in_it() {
    let model = shared("models/halfdepth-stories-12L");
    let arguments = [
        "--prompt",
        "Once upon a time",
        "--stop",
        " named",
        "--device",
        "cpu",
        "--json",
    ];
    let report = json(
        &[
            &["generate", model.to_str().expect("UTF-8")],
            &arguments[..],
        ]
        .concat(),
    );
    assert_eq!(report["finish"], "stop-string");
    let text = report["text"].as_str().expect("text");
    assert!(
        !text.contains("named") && text.contains("little girl"),
        "{text}"
    );
}

#[test]
fn a_gguf_file_becomes_a_pack_that_runs_at_half_depth_and_is_served_in_ranges() {
    let folder = tempfile::tempdir().expect("a folder");
    let pack = folder.path().join("pack");
    let pack = pack.to_str().expect("UTF-8");
    let model = shared("models/stories260K/stories260K-q4_0.gguf");
    let output = run(&["pack", model.to_str().expect("UTF-8"), "-o", pack]);
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let report = json(&["inspect", pack, "--json"]);
    assert_eq!(report["kind"], "pack");
    assert_eq!(report["plans"][1]["layers"], serde_json::json!([0, 1, 4]));
    let generate = [
        "generate", pack, "--plan", "half", "--prompt", "Once", "--device", "cpu", "--json",
    ];
    assert_eq!(json(&generate)["layers"], serde_json::json!([0, 1, 4]));

    let mut serving = halfdepth()
        .args(["serve", pack, "--listen", "127.0.0.1:0"])
        .stdout(Stdio::piped())
        .spawn()
        .expect("runs");
    let mut line = String::new();
    BufReader::new(serving.stdout.take().expect("stdout"))
        .read_line(&mut line)
        .expect("a line");
    let host = line
        .trim()
        .rsplit("http://")
        .next()
        .expect("an address")
        .trim_end_matches('/')
        .to_string();
    let mut socket = TcpStream::connect(&host).expect("connects");
    let request = format!(
        "GET /manifest.json HTTP/1.1\r\nHost: {host}\r\nRange: bytes=0-9\r\nConnection: close\r\n\r\n"
    );
    socket.write_all(request.as_bytes()).expect("asks");
    let mut answer = String::new();
    socket.read_to_string(&mut answer).expect("answers");
    serving.kill().expect("ends");
    serving.wait().expect("ended");
    assert!(answer.starts_with("HTTP/1.1 206"), "{answer}");
    assert!(
        answer
            .to_lowercase()
            .contains("access-control-allow-origin: *"),
        "{answer}"
    );
}

#[test]
fn chat_answers_each_line_and_remembers() {
    let model = shared("models/halfdepth-stories-12L");
    let mut chat = halfdepth()
        .args([
            "chat",
            model.to_str().expect("UTF-8"),
            "--plan",
            "half",
            "--device",
            "cpu",
        ])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("runs");
    let mut stdin = chat.stdin.take().expect("stdin");
    stdin.write_all(b"Hello\nTell me a story.\n").expect("asks");
    drop(stdin);
    let output = chat.wait_with_output().expect("ends");
    let notes = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{notes}");
    assert_eq!(notes.matches("tokens/s").count(), 2, "{notes}");
    assert!(notes.contains("6 of 12 layers"), "{notes}");
}

fn generate<'a>(model: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    [
        &["generate", model, "--prompt", "x", "--device", "cpu"],
        more,
    ]
    .concat()
}

#[test]
fn mistakes_are_named_and_advised_on() {
    let model = shared("models/stories260K");
    let model = model.to_str().expect("UTF-8");
    let text = shared("text/tinyshakespeare.txt");
    let text = text.to_str().expect("UTF-8");
    let pack = embedded();
    // (arguments, a part of the message)
    let cases: Vec<(Vec<&str>, &str)> = vec![
        (vec!["inspect", "/no/such/place"], "does not exist"),
        (vec!["inspect", text], "is no model"),
        (vec!["pack", model, "-o", "/proc/no"], "cannot make"),
        (vec!["serve", model], "is a checkpoint"),
        (vec!["bench", model], "is no pack"),
        (
            vec!["bench", &pack, "--contexts", "512", "--prefill", "512"],
            "holds 512 positions",
        ),
        (vec!["bench", &pack, "--prefill", "0"], "at least 1"),
        (
            vec!["bench", &pack, "--plan", "quarter", "--device", "cpu"],
            "quarter",
        ),
        (
            vec!["chat", model, "--device", "cpu", "--plan", "quarter"],
            "--drop",
        ),
        (generate(model, &["--drop", "7"]), "there is no layer 7"),
        (
            generate(model, &["--drop", "0,1,2,3,4"]),
            "no layer is left",
        ),
        (generate(model, &["--temperature", "-1"]), "temperature"),
        (generate(model, &["--top-p", "7"]), "top"),
        (generate(model, &["--max-tokens", "0"]), "at least one"),
        (generate(model, &["--chat"]), "no chat template"),
        (
            vec![
                "generate",
                model,
                "--prompt",
                "",
                "--context",
                "0",
                "--device",
                "cpu",
            ],
            "context",
        ),
    ];
    for (arguments, part) in cases {
        let output = run(&arguments);
        let message = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {message}");
        assert!(message.contains(part), "{arguments:?}: {message}");
        assert!(!message.contains("panicked"), "{arguments:?}: {message}");
    }
}

/// The page's own pack.
fn embedded() -> String {
    format!(
        "{}/../../models/halfdepth-stories-12L",
        env!("CARGO_MANIFEST_DIR")
    )
}

#[test]
fn bench_reports_every_figure_it_was_asked_for() {
    let pack = embedded();
    let report = json(&[
        "bench",
        &pack,
        "--contexts",
        "4,9",
        "--prefill",
        "5",
        "--tokens",
        "16",
        "--device",
        "cpu",
        "--json",
    ]);
    assert_eq!(report["source"], "halfdepth-stories-12L");
    assert!(
        report["read_bandwidth_bytes_per_second"]
            .as_f64()
            .expect("a speed")
            > 0.0
    );
    let plans = report["plans"].as_array().expect("plans");
    let weights: Vec<u64> = plans
        .iter()
        .map(|plan| plan["weight_bytes_per_token"].as_u64().expect("bytes"))
        .collect();
    assert!(weights[0] > weights[1], "{weights:?}: half reads fewer");
    for (at, plan) in plans.iter().enumerate() {
        assert_eq!(plan["plan"], ["full", "half"][at]);
        let decode = plan["decode"].as_array().expect("decode");
        assert_eq!(decode.len(), 2);
        for row in decode {
            assert!(row["tokens_per_second"].as_f64().expect("a speed") > 0.0);
            assert!(row["share_of_bandwidth"].as_f64().expect("a share") > 0.0);
            assert_eq!(row["speed_up"].is_null(), at == 0);
        }
        assert!(
            plan["prefill"][0]["time_to_first_token_ms"]
                .as_f64()
                .expect("a time")
                > 0.0
        );
    }
}

#[test]
fn random_writes_a_pack_that_says_so() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().to_str().expect("UTF-8");
    let output = run(&["random", "smollm2-135m", "-o", path]);
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let manifest = std::fs::read(folder.path().join("manifest.json")).expect("a manifest");
    let manifest: Value = serde_json::from_slice(&manifest).expect("JSON");
    assert_eq!(manifest["source"]["kind"], "random");
    assert!(
        manifest["name"]
            .as_str()
            .expect("a name")
            .contains("random weights")
    );
    let bytes: u64 = std::fs::read_dir(folder.path())
        .expect("files")
        .map(|file| file.expect("a file").metadata().expect("its length").len())
        .sum();
    // 134.5 million weights in 4 bits and a 16-bit scale for each 32, and little else.
    assert!((75_000_000..80_000_000).contains(&bytes), "{bytes}");
    // A token reads all of it at full depth.
    assert_eq!(
        json(&["inspect", path, "--json"])["plans"]
            .as_array()
            .expect("plans")
            .len(),
        2
    );
}
