//! `heal` on a checkpoint of a size that people have: random weights in the shape of SmolLM2-135M, to see that it goes through and what it takes.
#![cfg(target_os = "linux")]

#[path = "common/checkpoint.rs"]
mod checkpoint;
#[path = "common/memory.rs"]
mod memory;
#[path = "common/process.rs"]
mod process;

use std::path::Path;
use std::process::Stdio;
use std::time::Instant;

use checkpoint::{Shape, write_random};
use memory::peak_anonymous_bytes;
use process::{halfdepth, read_json, run, shared, text};

const SMOLLM2_135M: Shape = Shape {
    hidden: 576,
    intermediate: 1536,
    layers: 30,
    heads: 9,
    kv_heads: 3,
    vocabulary: 49_152,
};

/// What both devices must do with.
const MOST_BYTES: u64 = 12_000_000_000;

/// Heals half of it on a device by five steps of LoRA, and says what that took.
fn heal(device: &str) {
    let folder = tempfile::tempdir().expect("a folder");
    let model = folder.path().join("model");
    write_random(&model, &SMOLLM2_135M);
    let whole = std::fs::read_to_string(shared("text/tinystories_val_0.8MB.txt")).expect("a text");
    let texts = ["learn.txt", "held-out.txt"].map(|name| folder.path().join(name));
    std::fs::write(&texts[0], &whole[20_000..60_000]).expect("writes");
    std::fs::write(&texts[1], &whole[..2_000]).expect("writes");
    let [output, report] = ["healed", "report.json"].map(|name| folder.path().join(name));

    let begun = Instant::now();
    let mut child = halfdepth()
        .args(["heal", text(&model), "--plan", "half", "--device", device])
        .args(["--method", "lora", "--steps", "5", "--batch", "2"])
        .args(["--tokens", "64", "--window", "64", "--valid-windows", "2"])
        .args(["--text", text(&texts[0]), "--valid", text(&texts[1])])
        .args(["--json", "--output", text(&output)])
        .stdout(std::fs::File::create(&report).expect("a file"))
        .stderr(Stdio::null())
        .spawn()
        .expect("runs");
    let peak = peak_anonymous_bytes(&mut child);
    assert!(child.wait().expect("ends").success());
    eprintln!(
        "five steps of LoRA at 135 M parameters, {device}: {:.2} GB anonymous at the peak, {:.0} s",
        peak as f64 / 1e9,
        begun.elapsed().as_secs_f64()
    );
    let report = read_json(&report);
    assert_eq!(report["steps"], 5);
    assert!(report["loss_after"].as_f64().expect("a loss").is_finite());
    assert!(
        Path::new(&output)
            .join("adapter/adapter_model.safetensors")
            .exists()
    );
    assert!(peak < MOST_BYTES, "{peak}");
}

#[test]
fn smollm2_135m_is_healed_on_the_cpu_in_less_than_12_gb() {
    heal("cpu");
}

#[test]
fn smollm2_135m_is_healed_on_the_gpu_in_less_than_12_gb() {
    let pack = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/halfdepth-stories-12L");
    let tried = [
        "generate",
        text(&pack),
        "--prompt",
        "Once",
        "--max-tokens",
        "1",
    ];
    let tried = run(&[&tried[..], &["--device", "gpu"]].concat());
    let message = String::from_utf8_lossy(&tried.stderr);
    if message.contains("no usable GPU") {
        let is_ci = std::env::var_os("CI").is_some();
        assert!(!is_ci, "no GPU adapter; install mesa-vulkan-drivers");
        eprintln!("halfdepth-skip: heal_memory: no adapter");
        return;
    }
    assert!(tried.status.success(), "{message}");
    heal("gpu");
}
