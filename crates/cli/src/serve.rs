//! `halfdepth serve`: serves a pack to a page, with ranges and CORS.

use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::Args as ClapArgs;

use crate::open::{self, Source};

/// Serves a pack.
#[derive(ClapArgs)]
pub(crate) struct Args {
    /// The pack's folder
    pack: PathBuf,
    /// Where to listen
    #[arg(long, default_value = "127.0.0.1:8737")]
    listen: String,
}

/// Runs the verb.
pub(crate) fn run(args: &Args) -> Result<()> {
    let Source::Pack(folder, manifest) = open::open(&args.pack)? else {
        bail!(
            "{} is a checkpoint; make a pack of it first: halfdepth pack {0} -o PACK",
            args.pack.display()
        );
    };
    let serving = halfdepth_serve::serve(&folder, &args.listen, "/")?;
    println!(
        "{}: open the page with ?model={}",
        manifest.name(),
        serving.url()
    );
    serving.wait();
    Ok(())
}
