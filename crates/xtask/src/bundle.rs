//! Vite's part and the embedded model. In: index.html, budget.html, embed.html, www/, models/. Out: the folder a host serves.

use crate::npm;
use crate::process::run;
use crate::root::{at, scratch};
use crate::stamp::{Inputs, files, unless_fresh};
use anyhow::{Context, Result, ensure};
use std::path::Path;

/// The model that answers when the address names none.
const MODEL: &str = "models/halfdepth-stories-12L";
/// What Vite reads, besides what package-lock.json brings.
const SOURCES: [&str; 8] = [
    "index.html",
    "budget.html",
    "embed.html",
    "www",
    "vite.config.ts",
    "tsconfig.json",
    "package.json",
    "package-lock.json",
];

/// Bundles the page into `out` and puts the embedded model beside it.
pub(crate) fn build(out: &Path) -> Result<()> {
    let mut inputs = Inputs::default().text(&out.to_string_lossy());
    for source in SOURCES {
        inputs = inputs.path(&at(source))?;
    }
    let made = unless_fresh(
        &scratch().join("stamps/page"),
        inputs,
        // The widget's facade is made last.
        &[out.join("index.html"), out.join("sri.json")],
        || {
            run(npm::script("build")
                .args(["--", "--emptyOutDir", "--outDir"])
                .arg(out))
            .context("bundling the page")
        },
    )?;
    // A bundler that misses the module's address leaves it out without a word.
    ensure!(
        files(out)?
            .iter()
            .any(|file| file.extension().is_some_and(|ending| ending == "wasm")),
        "the bundle in {} has no .wasm: the page does not import www/wasm/halfdepth_wasm.js, or Vite missed its module",
        out.display()
    );
    eprintln!("bundle: {}", if made { "built" } else { "unchanged" });

    let model = at(MODEL);
    ensure!(
        model.join("manifest.json").is_file(),
        "there is no pack in {}; `halfdepth pack` makes one (the recipe is in the model card)",
        model.display()
    );
    copy(&model, &out.join(MODEL))
}

/// Copies what is not already there; a pack's files are named by their contents, all but a few small ones.
fn copy(from: &Path, to: &Path) -> Result<()> {
    for file in files(from)? {
        let target = to.join(
            file.strip_prefix(from)
                .context("a file outside its folder")?,
        );
        let named_by_contents = file.extension().is_some_and(|ending| ending == "bin");
        let length = |path: &Path| path.metadata().map(|metadata| metadata.len()).ok();
        if named_by_contents && length(&file) == length(&target) {
            continue;
        }
        let folder = target.parent().unwrap_or(to);
        std::fs::create_dir_all(folder)
            .with_context(|| format!("creating {}", folder.display()))?;
        std::fs::copy(&file, &target)
            .with_context(|| format!("copying {} to {}", file.display(), target.display()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pack_is_copied_once_and_its_manifest_always() {
        let dir = tempfile::tempdir().unwrap();
        let (from, to) = (dir.path().join("from"), dir.path().join("to"));
        std::fs::create_dir_all(&from).unwrap();
        std::fs::write(from.join("manifest.json"), "old").unwrap();
        std::fs::write(from.join("aa.bin"), "shard").unwrap();
        copy(&from, &to).unwrap();
        let first = to.join("aa.bin").metadata().unwrap().modified().unwrap();
        std::fs::write(from.join("manifest.json"), "new").unwrap();
        copy(&from, &to).unwrap();
        assert_eq!(
            std::fs::read_to_string(to.join("manifest.json")).unwrap(),
            "new"
        );
        assert_eq!(
            to.join("aa.bin").metadata().unwrap().modified().unwrap(),
            first
        );
    }
}
