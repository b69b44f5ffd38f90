//! The page's engine. In: crates/wasm. Out: `www/wasm/halfdepth_wasm{.js,.d.ts,_bg.wasm}`, as small as the tools make it.

use crate::process::{command, find, run};
use crate::root::{at, scratch, target};
use crate::stamp::{Inputs, unless_fresh};
use crate::{npm, wrappers};
use anyhow::{Context, Result, anyhow, bail};
use std::path::{Path, PathBuf};

/// The one platform pages run.
pub(crate) const TARGET: &str = "wasm32-unknown-unknown";
const PACKAGE: &str = "halfdepth-wasm";
const OUT_NAME: &str = "halfdepth_wasm";
/// The version of wasm-bindgen-cli-support linked into this program; crates/xtask/Cargo.toml pins it.
const BINDGEN: &str = "0.2.130";

/// Builds the engine into www/wasm; `optimise` runs wasm-opt, which takes minutes and makes the module a third as large.
pub(crate) fn build(optimise: bool) -> Result<()> {
    assert_one_bindgen(&std::fs::read_to_string(at("Cargo.lock")).context("reading Cargo.lock")?)?;
    install_target()?;
    run(command("cargo").args([
        "build",
        "-p",
        PACKAGE,
        "--target",
        TARGET,
        "--profile",
        "web",
    ]))
    .context("building the page's engine")?;

    let linked = linked();
    let folder = at("www/wasm");
    let outputs: Vec<PathBuf> = [".js", ".d.ts", "_bg.wasm"]
        .iter()
        .map(|ending| folder.join(format!("{OUT_NAME}{ending}")))
        .collect();
    let inputs = Inputs::default()
        .text(BINDGEN)
        .text(if optimise { "-Oz" } else { "as linked" })
        .path(&at("node_modules/binaryen/package.json"))?
        .path(&linked)?;
    let made = unless_fresh(&scratch().join("stamps/wasm"), inputs, &outputs, || {
        let module =
            std::fs::read(&linked).with_context(|| format!("reading {}", linked.display()))?;
        wrappers::assert_none(&module).context("checking rustc's wasm")?;
        bind(&linked, &folder)?;
        if optimise {
            shrink(
                &folder.join(format!("{OUT_NAME}_bg.wasm")),
                &wrappers::features(&module)?,
            )
        } else {
            Ok(())
        }
    })?;
    eprintln!("engine: {}", if made { "built" } else { "unchanged" });
    Ok(())
}

/// What rustc makes of the engine, with the names of functions.
pub(crate) fn linked() -> PathBuf {
    target()
        .join(TARGET)
        .join("web")
        .join(format!("{OUT_NAME}.wasm"))
}

/// Makes sure that rustc can compile for the web.
pub(crate) fn install_target() -> Result<()> {
    // Asked of rustc, not of rustup, so that a distribution's Rust with the target passes too.
    let libraries = crate::process::capture(command("rustc").args([
        "--print",
        "target-libdir",
        "--target",
        TARGET,
    ]))
    .context("looking for rustc's web target")?;
    if Path::new(libraries.trim()).is_dir() {
        return Ok(());
    }
    if find(&["rustup"]).is_none() {
        bail!(
            "this Rust cannot compile for {TARGET} and there is no rustup to add it; install Rust from https://rustup.rs or your system's package for that target"
        );
    }
    run(command("rustup").args(["target", "add", TARGET])).context("adding the web target")
}

/// wasm-bindgen's library refuses a module made with another version, after minutes of building: say so before.
fn assert_one_bindgen(lock: &str) -> Result<()> {
    let version = lock
        .split("[[package]]")
        .find(|package| {
            package
                .lines()
                .any(|line| line == "name = \"wasm-bindgen\"")
        })
        .and_then(|package| {
            package
                .lines()
                .find_map(|line| line.strip_prefix("version = "))
        })
        .map(|quoted| quoted.trim_matches('"'))
        .ok_or_else(|| {
            anyhow!("Cargo.lock names no wasm-bindgen; run `cargo update -w` and look again")
        })?;
    if version != BINDGEN {
        bail!(
            "Cargo.lock has wasm-bindgen {version} and xtask {BINDGEN}; they must be equal: change crates/wasm/Cargo.toml, crates/xtask/Cargo.toml and BINDGEN in crates/xtask/src/wasm.rs together"
        );
    }
    Ok(())
}

fn bind(linked: &Path, folder: &Path) -> Result<()> {
    let mut bindgen = wasm_bindgen_cli_support::Bindgen::new();
    bindgen
        .input_path(linked)
        .web(true)
        .map(|bindgen| {
            bindgen
                .out_name(OUT_NAME)
                .typescript(true)
                // The script finds the module beside it, and the bundler sees it in the address there.
                .omit_default_module_path(false)
                .remove_name_section(true)
                .remove_producers_section(true)
        })
        .and_then(|bindgen| bindgen.generate(folder))
        .map_err(|error| anyhow!("{error:#}"))
        .context("wasm-bindgen")
}

fn shrink(module: &Path, features: &[String]) -> Result<()> {
    npm::install()?;
    let shrunk = module.with_extension("shrunk");
    let mut wasm_opt = command("node");
    wasm_opt
        .arg("node_modules/binaryen/bin/wasm-opt")
        .arg(module)
        .arg("-o")
        .arg(&shrunk);
    // Exactly what rustc uses: one feature more, and a browser that lacks it could not load the page.
    wasm_opt
        .args(["-Oz", "--mvp-features"])
        .args(flags(features))
        .args(["--strip-debug", "--strip-producers"]);
    run(&mut wasm_opt).context("shrinking the engine")?;
    std::fs::rename(&shrunk, module).with_context(|| format!("replacing {}", module.display()))
}

/// LLVM's feature names as wasm-opt spells them.
fn flags(features: &[String]) -> Vec<String> {
    let spelt = |feature: &str| match feature {
        "nontrapping-fptoint" => "nontrapping-float-to-int".to_owned(),
        "simd128" => "simd".to_owned(),
        "atomics" => "threads".to_owned(),
        same => same.to_owned(),
    };
    features
        .iter()
        .map(|feature| format!("--enable-{}", spelt(feature)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lock_file_and_this_program_have_one_wasm_bindgen() {
        assert_one_bindgen(&std::fs::read_to_string(at("Cargo.lock")).unwrap()).unwrap();
        let manifest = std::fs::read_to_string(at("crates/xtask/Cargo.toml")).unwrap();
        assert!(manifest.contains(&format!("wasm-bindgen-cli-support = \"={BINDGEN}\"")));
    }

    #[test]
    fn another_wasm_bindgen_is_refused_with_both_versions() {
        let lock = "[[package]]\nname = \"wasm-bindgen-macro\"\nversion = \"0.2.130\"\n\n[[package]]\nname = \"wasm-bindgen\"\nversion = \"0.2.99\"\n";
        let error = assert_one_bindgen(lock).unwrap_err().to_string();
        assert!(
            error.contains("0.2.99") && error.contains(BINDGEN),
            "{error}"
        );
        assert!(assert_one_bindgen("").is_err());
    }
}
