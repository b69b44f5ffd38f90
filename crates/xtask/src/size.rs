//! How much code a page loads: raw, gzip -9 and brotli -11 bytes of every script, style sheet, page and module in `dist/`.

use crate::stamp::files;
use crate::{crates, wasm};
use anyhow::{Context, Result, ensure};
use serde_json::json;
use std::io::Write;
use std::path::Path;

/// What the code of a page may weigh, in brotli bytes.
pub(crate) const LIMIT: usize = 2_000_000;

/// Bytes of one file, or of all.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Sizes {
    pub(crate) raw: usize,
    pub(crate) gzip: usize,
    pub(crate) brotli: usize,
}

/// Crates shown by name; the rest together.
const CRATES: usize = 20;

/// Prints the sizes of the page in `dist`, and whose code its engine is.
pub(crate) fn run(dist: &Path, as_json: bool) -> Result<()> {
    let measured = measure(dist)?;
    let total = total(&measured);
    // A page may lie here that was built elsewhere.
    let by_crate = match std::fs::read(wasm::linked()) {
        Ok(module) => crates::breakdown(&module)?,
        Err(_) => Vec::new(),
    };
    if as_json {
        let by_crate: Vec<_> = by_crate
            .iter()
            .map(|(name, bytes)| json!({"crate": name, "linked_bytes": bytes}))
            .collect();
        let files: Vec<_> = measured
            .iter()
            .map(|(name, s)| json!({"file": name, "raw_bytes": s.raw, "gzip_bytes": s.gzip, "brotli_bytes": s.brotli}))
            .collect();
        println!(
            "{}",
            json!({"raw_bytes": total.raw, "gzip_bytes": total.gzip, "brotli_bytes": total.brotli, "limit_brotli_bytes": LIMIT, "files": files, "crates": by_crate})
        );
    } else {
        print!("{}{}", table(&measured), crate_table(&by_crate));
    }
    Ok(())
}

/// Fails if the page in `dist` is over its limit; shows the table in any case.
pub(crate) fn assert_within_limit(dist: &Path) -> Result<()> {
    let measured = measure(dist)?;
    eprint!("{}", table(&measured));
    let brotli = total(&measured).brotli;
    ensure!(
        brotli <= LIMIT,
        "the page's code is {brotli} bytes in brotli, {} over the limit of {LIMIT}",
        brotli - LIMIT
    );
    Ok(())
}

/// The code files below `dist`, models left out, largest first.
fn measure(dist: &Path) -> Result<Vec<(String, Sizes)>> {
    let mut measured = Vec::new();
    for file in files(dist)? {
        let name = file
            .strip_prefix(dist)
            .context("a file outside its folder")?
            .to_string_lossy()
            .replace('\\', "/");
        let is_code = file.extension().is_some_and(|ending| {
            ["html", "js", "mjs", "css", "wasm"]
                .iter()
                .any(|code| ending == *code)
        });
        if !is_code || name.starts_with("models/") {
            continue;
        }
        let bytes = std::fs::read(&file).with_context(|| format!("reading {}", file.display()))?;
        measured.push((
            name,
            sizes(&bytes).with_context(|| format!("compressing {}", file.display()))?,
        ));
    }
    ensure!(
        !measured.is_empty(),
        "there is no page in {}; build it first: cargo xtask site",
        dist.display()
    );
    measured.sort_by_key(|(_, sizes)| std::cmp::Reverse(sizes.brotli));
    Ok(measured)
}

fn sizes(bytes: &[u8]) -> Result<Sizes> {
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    gzip.write_all(bytes)?;
    // Quality 11 and a window of 2^22, brotli's own defaults and what hosts use for files compressed ahead.
    let mut brotli = brotli::CompressorWriter::new(Vec::new(), 1 << 16, 11, 22);
    brotli.write_all(bytes)?;
    Ok(Sizes {
        raw: bytes.len(),
        gzip: gzip.finish()?.len(),
        brotli: brotli.into_inner().len(),
    })
}

fn total(measured: &[(String, Sizes)]) -> Sizes {
    measured.iter().fold(Sizes::default(), |sum, (_, s)| Sizes {
        raw: sum.raw + s.raw,
        gzip: sum.gzip + s.gzip,
        brotli: sum.brotli + s.brotli,
    })
}

fn table(measured: &[(String, Sizes)]) -> String {
    let row =
        |name: &str, s: &Sizes| format!("{:>12}{:>12}{:>12}  {name}\n", s.raw, s.gzip, s.brotli);
    let mut text = format!(
        "{:>12}{:>12}{:>12}  file\n",
        "raw bytes", "gzip -9", "brotli -11"
    );
    text.extend(measured.iter().map(|(name, sizes)| row(name, sizes)));
    text + &row("all code (models apart)", &total(measured))
}

fn crate_table(by_crate: &[(String, usize)]) -> String {
    if by_crate.is_empty() {
        return "no breakdown by crate: the engine was not built in this folder\n".to_owned();
    }
    let all: usize = by_crate.iter().map(|(_, bytes)| bytes).sum();
    let row = |name: &str, bytes: usize| {
        let percent = 100.0 * bytes as f64 / all as f64;
        format!("{bytes:>12}{percent:>11.1}%  {name}\n")
    };
    let (named, rest) = by_crate.split_at(CRATES.min(by_crate.len()));
    let mut text = format!("\n{:>12}{:>12}  crate\n", "as linked", "share");
    text.extend(named.iter().map(|(name, bytes)| row(name, *bytes)));
    let rest_bytes = rest.iter().map(|(_, bytes)| bytes).sum();
    text + &row(&format!("{} others", rest.len()), rest_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_counts_and_models_do_not() {
        let dist = tempfile::tempdir().unwrap();
        let put = |name: &str, text: &str| {
            let path = dist.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        put("index.html", "<p>page</p>");
        put("assets/a.js", &"let repeated = 1;\n".repeat(1000));
        put("models/m/tool.js", "not loaded");
        put("models/m/manifest.json", "{}");
        put("picture.png", "not code");
        let measured = measure(dist.path()).unwrap();
        let names: Vec<&str> = measured.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["assets/a.js", "index.html"]);
        let total = total(&measured);
        assert_eq!(total.raw, 11 + 18_000);
        assert!(total.brotli < 200 && total.gzip < 300, "{total:?}");
        assert_within_limit(dist.path()).unwrap();
    }

    #[test]
    fn a_page_over_the_limit_fails() {
        let dist = tempfile::tempdir().unwrap();
        // Noise from a small generator, so that nothing compresses it.
        let mut state = 1_u64;
        let noise: Vec<u8> = std::iter::repeat_with(|| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (state >> 56) as u8
        })
        .take(LIMIT + 1)
        .collect();
        std::fs::write(dist.path().join("a.wasm"), noise).unwrap();
        let error = assert_within_limit(dist.path()).unwrap_err().to_string();
        assert!(error.contains("over the limit"), "{error}");
    }

    #[test]
    fn no_page_is_not_a_small_page() {
        assert!(measure(tempfile::tempdir().unwrap().path()).is_err());
    }
}
