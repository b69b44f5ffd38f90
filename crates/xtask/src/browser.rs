//! The Chromium that headless checks run in.

use crate::graphics;
use crate::process::find;
use anyhow::{Context, Result};
use std::path::PathBuf;

/// Names on the PATH, the open one first.
const NAMES: &[&str] = &[
    "chromium",
    "chromium-browser",
    "google-chrome-stable",
    "google-chrome",
];
/// Where macOS and Windows keep it.
const PLACES: &[&str] = &[
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
    r"C:\Program Files\Google\Chrome\Application\chrome.exe",
];

/// The browser: `CHROMIUM` from the environment, the system's, or, for root on Debian, one that is installed now.
pub(crate) fn chromium() -> Result<PathBuf> {
    if let Some(chosen) = std::env::var_os("CHROMIUM").map(PathBuf::from) {
        anyhow::ensure!(
            chosen.is_file(),
            "CHROMIUM names {}, which is not there",
            chosen.display()
        );
        return Ok(chosen);
    }
    if let Some(found) = installed() {
        return Ok(found);
    }
    graphics::install_packages(&["chromium"])
        .context("headless checks need Chromium or Chrome (or set CHROMIUM to the path of one)")?;
    installed().context("the package `chromium` was installed, but no browser is on the PATH; set CHROMIUM to its path")
}

fn installed() -> Option<PathBuf> {
    find(NAMES).or_else(|| PLACES.iter().map(PathBuf::from).find(|path| path.is_file()))
}
