//! The page on this machine: served until Ctrl-C, or asked one question in headless Chromium.

use crate::process::{capture, command};
use crate::root::at;
use crate::{browser, npm, site};
use anyhow::{Context, Result};
use serde_json::Value;

/// How to show the page.
#[derive(clap::Args)]
pub(crate) struct DemoOptions {
    /// The port to serve at; 0 takes any free one
    #[arg(long, default_value_t = 8080)]
    port: u16,
    /// Ask the page this in headless Chromium, print what both lanes answered as one JSON object, and end
    #[arg(long, value_name = "PROMPT")]
    check: Option<String>,
    /// Tokens each lane may answer with
    #[arg(long, default_value_t = 128, value_name = "N", requires = "check")]
    max_tokens: u32,
    #[command(flatten)]
    site: site::SiteOptions,
}

/// Builds the page, then shows or asks it.
pub(crate) fn run(options: &DemoOptions) -> Result<()> {
    npm::install()?;
    let dist = at("dist");
    site::build(&dist, &options.site)?;
    let Some(prompt) = &options.check else {
        let serving = halfdepth_serve::serve(&dist, &format!("127.0.0.1:{}", options.port), "/")?;
        println!("Halfdepth is at {} (Ctrl-C ends it)", serving.url());
        serving.wait();
        return Ok(());
    };
    // Any free port: a check may run beside a demo.
    let serving = halfdepth_serve::serve(&dist, "127.0.0.1:0", "/")?;
    println!("{}", ask(&serving.url(), prompt, options.max_tokens)?);
    Ok(())
}

/// The answer of the page at `url`, as one JSON object on one line.
fn ask(url: &str, prompt: &str, max_tokens: u32) -> Result<String> {
    let chromium = browser::chromium()?;
    let mut check = command("node");
    check.args([
        "tests/browser/demo-check.mjs",
        "--url",
        url,
        "--prompt",
        prompt,
    ]);
    check
        .args(["--max-tokens", &max_tokens.to_string()])
        .arg("--chromium")
        .arg(chromium);
    let printed = capture(&mut check).context("asking the page in Chromium")?;
    one_object(&printed)
}

fn one_object(printed: &str) -> Result<String> {
    let report: Value = serde_json::from_str(printed)
        .with_context(|| format!("the check printed no JSON: {printed:?}"))?;
    anyhow::ensure!(
        report.is_object(),
        "the check printed something other than an object: {printed}"
    );
    Ok(report.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_check_prints_one_object_or_fails() {
        assert_eq!(
            one_object("{\"b\": 1,\n \"a\": [2]}\n").unwrap(),
            r#"{"b":1,"a":[2]}"#
        );
        for printed in ["", "progress\n{}", "{} {}", "[1]", "null"] {
            assert!(one_object(printed).is_err(), "{printed}");
        }
    }
}
