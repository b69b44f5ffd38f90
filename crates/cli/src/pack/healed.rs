//! In: a pack as it was written, and healings of its checkpoint. Out: a plan for each, and shards for what healing changed.

use std::convert::Infallible;
use std::path::PathBuf;
use std::str::FromStr;

use anyhow::{Result, bail};
use halfdepth::pack::{Manifest, add_healed};
use halfdepth::plan::PlanEntry;

use super::{Args, put};
use crate::healing;
use crate::open::{self, Source};

/// `FOLDER[:NAME[:TITLE]]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HealedArg {
    folder: PathBuf,
    name: Option<String>,
    title: Option<String>,
}

impl FromStr for HealedArg {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        let mut parts = text.splitn(3, ':');
        let folder = parts.next().unwrap_or_default().into();
        let mut rest = parts.map(|part| Some(part.to_string()).filter(|part| !part.is_empty()));
        Ok(Self {
            folder,
            name: rest.next().flatten(),
            title: rest.next().flatten(),
        })
    }
}

/// Adds the healings' plans; what is new is written to the pack's folder.
pub(super) fn add(args: &Args, manifest: &mut Manifest) -> Result<()> {
    for healed in &args.healed {
        let name = healed.name.as_deref().unwrap_or("healed");
        if manifest.plans().iter().any(|plan| plan.name == name) {
            bail!(
                "the pack has a plan `{name}` already; give this one another name: --healed {}:NAME",
                healed.folder.display()
            );
        }
        let Source::Checkpoint(checkpoint) = open::open(&args.model)? else {
            bail!("{} is a pack already", args.model.display());
        };
        let hashes = [manifest.source().sha256.clone()];
        let healing = healing::open(&healed.folder, checkpoint.config(), &hashes)?;
        let layers = healing.record.plan()?.layers;
        let title = healed.title.clone().unwrap_or_else(|| {
            let of = checkpoint.config().layers;
            let method = &healing.record.method;
            format!("{} of {of} layers, healed ({method})", layers.len())
        });
        let entry = PlanEntry::new(name, title, layers);
        let healed = checkpoint.replacing(&healing.tensors)?;
        let mut put = |file: &str, bytes: &[u8]| put(&args.output, file, bytes);
        add_healed(manifest, &healed, entry, &mut put)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_title_may_hold_colons_and_what_is_left_out_is_none() {
        let rows = [
            ("a/b", ("a/b", None, None)),
            ("a:best", ("a", Some("best"), None)),
            (
                "a:best:Half: healed",
                ("a", Some("best"), Some("Half: healed")),
            ),
            ("a::Title", ("a", None, Some("Title"))),
        ];
        for (text, (folder, name, title)) in rows {
            let expected = HealedArg {
                folder: folder.into(),
                name: name.map(str::to_string),
                title: title.map(str::to_string),
            };
            assert_eq!(text.parse(), Ok(expected), "{text}");
        }
    }
}
