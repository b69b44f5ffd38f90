//! The tables of docs/results.md. In: the JSON of a run. Out: Markdown. What was not measured is said so.

use serde_json::Value;
use std::fmt::Write;

/// Everything in `reports`, as tables.
pub(super) fn markdown(reports: &[Value]) -> String {
    let mut text = format!(
        "# Results\n\nWritten by the bench; do not edit. `cargo xtask bench --help` says what each figure is.\n\n\
         Nothing was measured on: {}Firefox, Safari, phones. A software GPU shows how much work is done, and \
         how much of it waits; it does not show how fast a GPU is.\n\n\
         Weights are random where the source says so: speed and memory do not depend on them. Figures are medians; \
         the compared took turns.\n",
        if reports.iter().any(on_a_gpu) {
            ""
        } else {
            "real GPUs, "
        },
    );
    for report in reports {
        let _ = write!(
            text,
            "\nCommand: `{}`\nMachine: {}; {}\n",
            words(&report["command"]),
            words(&report["machine"]),
            words(&report["date"]),
        );
        for run in list(&report["native"]) {
            native(&mut text, run);
        }
        for run in list(&report["browser"]) {
            browser(&mut text, run);
            if !run["peers"].is_null() {
                peers(&mut text, run);
            }
        }
    }
    text
}

fn on_a_gpu(report: &Value) -> bool {
    list(&report["native"]).any(|run| run["software"] == false)
        || list(&report["browser"]).any(|run| run["gpu"]["fallback"] == false)
}

fn native(text: &mut String, run: &Value) {
    let _ = write!(
        text,
        "\n## {}, native\n\n{} {}, kernels `{}`; {}. Loaded in {} ms; peak memory {} MB (pages of the mapped pack included). Reads {} \
         GB/s from a buffer of {} MB.\n\n",
        words(&run["pack"]),
        words(&run["device"]),
        words(&run["driver"]),
        words(&run["variant"]),
        words(&run["source"]),
        number(&run["load_ms"], 1.0, 0),
        number(&run["peak_rss_bytes"], 1e-6, 0),
        number(&run["read_bandwidth_bytes_per_second"], 1e-9, 1),
        number(&run["read_buffer_bytes"], 1e-6, 0),
    );
    let plans = || list(&run["plans"]);
    let rows = plans().flat_map(|plan| {
        list(&plan["decode"]).map(move |row| {
            let bytes = sum(
                &plan["weight_bytes_per_token"],
                &row["cache_bytes_per_token"],
            );
            vec![
                words(&plan["plan"]),
                number(&row["context"], 1.0, 0),
                number(&row["tokens_per_second"], 1.0, 2),
                bytes,
                percent(&row["share_of_bandwidth"]),
                times(&row["speed_up"]),
                percent(&row["share_of_predicted_speed_up"]),
            ]
        })
    });
    table(text, &DECODE, rows);
    let rows = plans().flat_map(|plan| {
        list(&plan["prefill"]).map(move |row| {
            vec![
                words(&plan["plan"]),
                number(&row["prompt"], 1.0, 0),
                number(&row["tokens_per_second"], 1.0, 1),
                number(&row["time_to_first_token_ms"], 1.0, 0),
            ]
        })
    });
    table(text, &PREFILL, rows);
}

const DECODE: [&str; 7] = [
    "plan",
    "context",
    "decode, tokens/s",
    "MB/token",
    "of the bandwidth",
    "over full",
    "of what bytes predict",
];
const PREFILL: [&str; 4] = ["plan", "prompt", "prefill, tokens/s", "first token, ms"];

fn browser(text: &mut String, run: &Value) {
    let bandwidth = &run["bandwidth"];
    let memory = &run["memory"];
    let _ = write!(
        text,
        "\n## {}, Chromium {}, {}\n\n{}; adapter {} {}, kernels `{}`. Loaded in {} ms; first token {} ms after the last byte. Peak memory: \
         renderer {} MB, of it wasm {} MB; GPU process {} MB. Reads {} GB/s from a buffer of {} MB.\n\n",
        words(&run["pack"]),
        words(&run["browser"]),
        adapter(run),
        words(&run["source"]),
        words(&run["gpu"]["vendor"]),
        words(&run["gpu"]["architecture"]),
        words(&run["kernels"]),
        number(&run["loadMs"], 1.0, 0),
        number(&run["lastByteToFirstTokenMs"], 1.0, 0),
        number(&memory["rendererBytes"], 1e-6, 0),
        number(&run["wasmBytes"], 1e-6, 0),
        number(&memory["gpuProcessBytes"], 1e-6, 0),
        number(&bandwidth["bytesPerSecond"], 1e-9, 1),
        number(&bandwidth["bufferBytes"], 1e-6, 0),
    );
    let rows = list(&run["decode"]).map(|row| {
        vec![
            words(&row["plan"]),
            number(&row["context"], 1.0, 0),
            number(&row["tokensPerSecond"], 1.0, 2),
            number(&row["bytesPerToken"], 1e-6, 1),
            percent(&row["shareOfBandwidth"]),
            times(&row["speedUp"]),
            percent(&row["shareOfPredictedSpeedUp"]),
        ]
    });
    table(text, &DECODE, rows);
    let rows = list(&run["decode"]).map(|row| {
        vec![
            words(&row["plan"]),
            number(&row["context"], 1.0, 0),
            number(&row["cpuMsPerToken"], 1.0, 2),
            number(&row["launchesPerToken"], 1.0, 1),
            number(&row["submitsPerToken"], 1.0, 2),
            number(&row["readbacksPerToken"], 1.0, 3),
        ]
    });
    let header = [
        "plan",
        "context",
        "worker's CPU, ms/token",
        "launches/token",
        "submits/token",
        "readbacks/token",
    ];
    table(text, &header, rows);
    let rows = list(&run["prefill"]).map(|row| {
        vec![
            words(&row["plan"]),
            number(&row["prompt"], 1.0, 0),
            number(&row["tokensPerSecond"], 1.0, 1),
            number(&row["firstTokenMs"], 1.0, 0),
        ]
    });
    table(text, &PREFILL, rows);
}

fn peers(text: &mut String, run: &Value) {
    let rows = || list(&run["peers"]["rows"]);
    let _ = write!(
        text,
        "\n### Beside other engines, {}\n\nThe same browser, shape and bits (4, in blocks of 32, embedding and head too), \
         each engine's own random weights and default settings; in brackets, how many times as fast the first row is. wllama's times are its own; its batch on WebGPU is 64, \
         because it gives up after 30 s of waiting. Each engine had a browser of its own and all were open.\n\n",
        adapter(run),
    );
    let prompts: Vec<String> = rows()
        .next()
        .map(|row| {
            list(&row["prefill"])
                .map(|of| number(&of["prompt"], 1.0, 0))
                .collect()
        })
        .unwrap_or_default();
    let mut header = vec![
        "engine".to_owned(),
        "version".to_owned(),
        "decode, tokens/s".to_owned(),
    ];
    header.extend(
        prompts
            .iter()
            .map(|prompt| format!("prefill of {prompt}, tokens/s")),
    );
    header.extend(
        [
            "launches/token",
            "load, ms",
            "renderer, MB",
            "GPU process, MB",
        ]
        .map(str::to_owned),
    );
    let header: Vec<&str> = header.iter().map(String::as_str).collect();
    let first = rows().next().unwrap_or(&Value::Null);
    let body =
        rows().map(|row| {
            let mut cells = vec![
                words(&row["name"]),
                words(&row["version"]),
                beside(
                    &first["decodeTokensPerSecond"],
                    &row["decodeTokensPerSecond"],
                    2,
                ),
            ];
            let ours = list(&first["prefill"]);
            cells.extend(ours.zip(list(&row["prefill"])).map(|(ours, theirs)| {
                beside(&ours["tokensPerSecond"], &theirs["tokensPerSecond"], 1)
            }));
            cells.extend([
                number(&row["launchesPerToken"], 1.0, 0),
                number(&row["loadMs"], 1.0, 0),
                number(&row["memory"]["rendererBytes"], 1e-6, 0),
                number(&row["memory"]["gpuProcessBytes"], 1e-6, 0),
            ]);
            cells
        });
    table(text, &header, body);
    let _ = writeln!(
        text,
        "\nLaunches include those of the {}-token prompt, spread over {} tokens.",
        prompts.first().map_or("", String::as_str),
        number(&run["peers"]["tokens"], 1.0, 0),
    );
}

fn adapter(run: &Value) -> &'static str {
    match run["adapter"].as_str() {
        Some("lavapipe") => "on Mesa lavapipe (it calls itself SwiftShader)",
        _ => "as it is",
    }
}

fn table(text: &mut String, header: &[&str], rows: impl Iterator<Item = Vec<String>>) {
    let mut line = |cells: &[String]| {
        let _ = writeln!(text, "| {} |", cells.join(" | "));
    };
    line(
        &header
            .iter()
            .map(|cell| (*cell).to_owned())
            .collect::<Vec<_>>(),
    );
    line(&vec!["---".to_owned(); header.len()]);
    for row in rows {
        line(&row);
    }
    text.push('\n');
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn words(value: &Value) -> String {
    value.as_str().unwrap_or("-").trim().to_owned()
}

/// `value * scale` with so many decimals, or a dash where there is none.
fn number(value: &Value, scale: f64, decimals: usize) -> String {
    match value.as_f64() {
        Some(value) => format!("{:.decimals$}", value * scale),
        None => "-".to_owned(),
    }
}

/// A speed, and how many times as fast ours is.
fn beside(ours: &Value, theirs: &Value, decimals: usize) -> String {
    let ratio = ours.as_f64().zip(theirs.as_f64()).filter(|(a, b)| a != b);
    match ratio {
        Some((ours, theirs)) => format!("{theirs:.decimals$} ({:.1} x)", ours / theirs),
        None => number(theirs, 1.0, decimals),
    }
}

fn sum(a: &Value, b: &Value) -> String {
    let sum = a.as_f64().zip(b.as_f64()).map(|(a, b)| a + b);
    number(&sum.into(), 1e-6, 1)
}

fn percent(value: &Value) -> String {
    match value.as_f64() {
        Some(share) => format!("{:.0} %", 100.0 * share),
        None => "-".to_owned(),
    }
}

fn times(value: &Value) -> String {
    match value.as_f64() {
        Some(ratio) => format!("{ratio:.2} x"),
        None => "-".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn every_row_of_a_table_has_the_header_s_cells() {
        let decode = json!({ "plan": "full", "context": 16, "tokensPerSecond": 2.5 });
        let peer = json!({ "name": "other", "prefill": [{ "prompt": 64, "tokensPerSecond": 9 }] });
        let report = json!({
            "command": "c", "machine": "m", "date": "d",
            "native": [{ "plans": [{ "plan": "full", "decode": [{ "context": 16 }], "prefill": [{}] }] }],
            "browser": [{ "decode": [decode], "prefill": [{}], "peers": { "rows": [peer] } }],
        });
        let text = markdown(&[report]);
        let mut cells = None;
        for line in text.lines() {
            let count = line.starts_with('|').then(|| line.matches('|').count());
            assert!(
                cells.is_none() || count.is_none() || cells == count,
                "{line}"
            );
            cells = count;
        }
        assert!(text.contains("| full | 16 | 2.50 |"), "{text}");
    }

    #[test]
    fn a_peer_s_speed_stands_beside_ours() {
        assert_eq!(beside(&json!(21.0), &json!(1.75), 2), "1.75 (12.0 x)");
        assert_eq!(beside(&json!(21.0), &json!(21.0), 2), "21.00");
        assert_eq!(beside(&json!(21.0), &Value::Null, 2), "-");
    }

    #[test]
    fn what_was_not_measured_is_a_dash() {
        assert_eq!(number(&Value::Null, 1.0, 2), "-");
        assert_eq!(percent(&json!(0.456)), "46 %");
        assert_eq!(times(&json!(1.5)), "1.50 x");
    }
}
