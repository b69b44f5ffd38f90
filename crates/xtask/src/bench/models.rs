//! What the bench runs on: a pack of every shape, and, from it, the peers' models. Made once, under target/.

use super::{Shape, folder, value_name};
use crate::process::{command, find, run};
use crate::root::{at, target};
use crate::stamp::{Inputs, unless_fresh};
use anyhow::{Context, Result};
use std::path::{Path, PathBuf};

/// The page's own model.
const EMBEDDED: &str = "models/halfdepth-stories-12L";
const PEERS: &str = "benches/peers";

/// Builds the command line and gives its path.
pub(super) fn build_command(dev: bool) -> Result<PathBuf> {
    // The selection that plain `cargo build` makes: another would build Burn again.
    let mut build = command("cargo");
    build.arg("build");
    if !dev {
        build.arg("--release");
    }
    run(&mut build).context("building `halfdepth`")?;
    let profile = if dev { "debug" } else { "release" };
    let name = format!("halfdepth{}", std::env::consts::EXE_SUFFIX);
    Ok(target().join(profile).join(name))
}

/// The folder of a pack in this shape, written by `halfdepth random` unless it is there.
pub(super) fn pack(halfdepth: &Path, shape: Shape) -> Result<PathBuf> {
    if shape == Shape::Embedded {
        return Ok(at(EMBEDDED));
    }
    let name = value_name(shape);
    let pack = folder().join("packs").join(&name);
    // Another program may write another format, or other weights.
    let inputs = Inputs::default().path(halfdepth)?;
    let manifest = pack.join("manifest.json");
    unless_fresh(&pack.join(".xtask-stamp"), inputs, &[manifest], || {
        if pack.exists() {
            std::fs::remove_dir_all(&pack)
                .with_context(|| format!("removing {}", pack.display()))?;
        }
        run(command(halfdepth)
            .args(["random", &name, "--output"])
            .arg(&pack))
        .with_context(|| format!("writing random weights in the shape of {name}"))
    })?;
    Ok(pack)
}

/// Installs the peers from npm and gives the folder they lie in.
pub(super) fn install_peers() -> Result<PathBuf> {
    let home = at(PEERS);
    let modules = home.join("node_modules");
    let inputs = Inputs::default()
        .path(&home.join("package.json"))?
        .path(&home.join("package-lock.json"))?;
    unless_fresh(&modules.join(".xtask-stamp"), inputs, &[], || {
        let mut npm = command(if cfg!(windows) { "npm.cmd" } else { "npm" });
        // Their install scripts fetch native libraries, which a browser has no use for.
        npm.args([
            "ci",
            "--ignore-scripts",
            "--omit=optional",
            "--no-audit",
            "--no-fund",
        ])
        .current_dir(&home);
        run(&mut npm).context("installing the peers from npm")
    })?;
    Ok(modules)
}

/// A folder with the peers' models in the pack's shape: `model.gguf`, and `onnx/` in the Hugging Face layout.
pub(super) fn of_peers(pack: &Path, name: &str) -> Result<PathBuf> {
    let python = python()?;
    let models = folder().join("peers").join(name);
    let home = at(PEERS);
    let inputs = Inputs::default()
        .path(&pack.join("manifest.json"))?
        .path(&home.join("requirements.txt"))?
        .path(&home.join("shape.py"))?
        .path(&home.join("make_gguf.py"))?
        .path(&home.join("make_onnx.py"))?;
    let outputs = [models.join("model.gguf"), models.join("onnx/config.json")];
    unless_fresh(&models.join(".xtask-stamp"), inputs, &outputs, || {
        std::fs::create_dir_all(&models)
            .with_context(|| format!("creating {}", models.display()))?;
        for (script, out) in [("make_gguf.py", "model.gguf"), ("make_onnx.py", "onnx")] {
            let mut make = command(&python);
            make.arg(home.join(script)).arg(pack).arg(models.join(out));
            run(&mut make).with_context(|| format!("making the peers' models of {name}"))?;
        }
        Ok(())
    })?;
    Ok(models)
}

/// A Python of our own with what makes the peers' models.
fn python() -> Result<PathBuf> {
    let venv = folder().join("venv");
    let python = venv.join(if cfg!(windows) {
        "Scripts/python.exe"
    } else {
        "bin/python"
    });
    let requirements = at(PEERS).join("requirements.txt");
    let inputs = Inputs::default().path(&requirements)?;
    unless_fresh(
        &venv.join(".xtask-stamp"),
        inputs,
        std::slice::from_ref(&python),
        || {
            let system = find(&["python3", "python"]).context(
                "--peers needs Python 3.11 or newer to make the peers' models; install it",
            )?;
            run(command(system).args(["-m", "venv"]).arg(&venv))
                .context("making a Python environment")?;
            run(command(&python)
                .args(["-m", "pip", "install", "--no-cache-dir", "--requirement"])
                .arg(&requirements))
            .context("installing what makes the peers' models")
        },
    )?;
    Ok(python)
}
