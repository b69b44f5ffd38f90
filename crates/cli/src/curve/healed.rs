//! In: healings. Out: the series they are drawn as: those of one method, by how much their plans drop.

use std::path::PathBuf;

use anyhow::Result;
use halfdepth::heal::Healing;

use crate::dense::Model;
use crate::healing;

/// Healings that are drawn as one line.
pub(super) struct Group {
    pub(super) name: String,
    pub(super) method: String,
    /// (layers dropped, the healing), rising.
    pub(super) healings: Vec<(usize, Healing)>,
}

/// Opens healings of this model.
pub(super) fn groups(folders: &[PathBuf], model: &Model) -> Result<Vec<Group>> {
    let config = model.source().config();
    let hashes = match folders.is_empty() {
        true => Vec::new(),
        false => model.hashes(),
    };
    let mut groups: Vec<Group> = Vec::new();
    for folder in folders {
        let healing = healing::open(folder, config, &hashes)?;
        let dropped = config.layers - healing.record.plan()?.layers.len();
        let method = healing.record.method.clone();
        let fits = |group: &&mut Group| {
            let has_depth = group.healings.iter().any(|(other, _)| *other == dropped);
            group.method == method && !has_depth
        };
        match groups.iter_mut().find(fits) {
            Some(group) => group.healings.push((dropped, healing)),
            None => {
                let before = groups.iter().filter(|group| group.method == method);
                let name = match before.count() {
                    0 => format!("healed by {method}"),
                    more => format!("healed by {method} ({})", more + 1),
                };
                groups.push(Group {
                    name,
                    method,
                    healings: vec![(dropped, healing)],
                });
            }
        }
    }
    for group in &mut groups {
        group.healings.sort_by_key(|(dropped, _)| *dropped);
    }
    Ok(groups)
}
