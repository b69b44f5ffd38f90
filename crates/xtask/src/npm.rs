//! Node and the npm packages the page is built with.

use crate::process::{command, find, run};
use crate::root::at;
use crate::stamp::{Inputs, unless_fresh};
use anyhow::{Context, Result, bail};
use std::process::Command;

/// Installs exactly what package-lock.json says, unless that is what lies there.
pub(crate) fn install() -> Result<()> {
    if find(&["node"]).is_none() || find(NPM).is_none() {
        bail!(
            "Node and npm are needed to build the page; install Node 20 or newer: https://nodejs.org"
        );
    }
    let inputs = Inputs::default()
        .path(&at("package.json"))?
        .path(&at("package-lock.json"))?;
    // The stamp lies inside, so that it goes when the folder goes.
    unless_fresh(&at("node_modules/.xtask-stamp"), inputs, &[], || {
        run(npm().args(["ci", "--no-audit", "--no-fund"])).context("installing the npm packages")
    })?;
    Ok(())
}

/// A script of package.json, to which arguments may be added after `--`.
pub(crate) fn script(name: &str) -> Command {
    let mut npm = npm();
    npm.args(["run", name]);
    npm
}

/// A tool of an installed package.
pub(crate) fn tool(name: &str) -> Command {
    let mut npm = npm();
    // Never from the network: what is not in package-lock.json is not run.
    npm.args(["exec", "--no", "--", name]);
    npm
}

const NPM: &[&str] = if cfg!(windows) {
    &["npm.cmd"]
} else {
    &["npm"]
};

fn npm() -> Command {
    command(NPM[0])
}
