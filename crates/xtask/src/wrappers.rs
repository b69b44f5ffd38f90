//! Guards against a slow module: wasm-ld wraps every export of a module with static constructors that nobody calls
//! (`X.command_export`), and each wrapper runs all of them again. Everything works, some 250 times slower.

use anyhow::{Context, Result, bail};
use wasmparser::{KnownCustom, Name, Parser, Payload};

/// What linked modules call the wrapper of the export `X`.
const SUFFIX: &str = ".command_export";

/// Fails if rustc's module (names still in) holds such wrappers.
pub(crate) fn assert_none(module: &[u8]) -> Result<()> {
    let names = function_names(module)?;
    if names.is_empty() {
        bail!(
            "the wasm from rustc has no function names, so it cannot be checked for constructor wrappers; the profile that built it must say `strip = false`"
        );
    }
    let wrapped: Vec<&str> = names
        .iter()
        .filter_map(|name| name.strip_suffix(SUFFIX))
        .collect();
    if let Some(first) = wrapped.first() {
        bail!(
            "{} exports are wrapped to run every static constructor at each call (the first is `{first}`): the page would be hundreds of times slower. \
             Call `__wasm_call_ctors` once from the wasm crate's start function; a reference to it makes the linker leave the wrappers out",
            wrapped.len()
        );
    }
    Ok(())
}

/// The features the module uses (`bulk-memory`, ...), from its `target_features` section.
pub(crate) fn features(module: &[u8]) -> Result<Vec<String>> {
    for payload in Parser::new(0).parse_all(module) {
        let Payload::CustomSection(section) = payload.context("parsing the wasm")? else {
            continue;
        };
        if section.name() != "target_features" {
            continue;
        }
        let mut reader = wasmparser::BinaryReader::new(section.data(), section.data_offset());
        let count = reader.read_var_u32().context("parsing target_features")?;
        let mut used = Vec::new();
        for _ in 0..count {
            let prefix = reader.read_u8().context("parsing target_features")?;
            let name = reader.read_string().context("parsing target_features")?;
            if prefix == b'+' {
                used.push(name.to_owned());
            }
        }
        return Ok(used);
    }
    Ok(Vec::new())
}

fn function_names(module: &[u8]) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for payload in Parser::new(0).parse_all(module) {
        match payload.context("parsing the wasm from rustc")? {
            Payload::CustomSection(section) => {
                let KnownCustom::Name(reader) = section.as_known() else {
                    continue;
                };
                for part in reader {
                    if let Name::Function(functions) = part.context("parsing the name section")? {
                        for naming in functions {
                            names.push(naming.context("parsing the name section")?.name.to_owned());
                        }
                    }
                }
            }
            // An export under that name would be a wrapper whose own name was stripped.
            Payload::ExportSection(exports) => {
                for export in exports {
                    let name = export.context("parsing the exports")?.name;
                    names.extend(name.ends_with(SUFFIX).then(|| name.to_owned()));
                }
            }
            _ => {}
        }
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A module that is nothing but custom sections: (name, contents).
    fn module(sections: &[(&str, Vec<u8>)]) -> Vec<u8> {
        let mut bytes = b"\0asm\x01\0\0\0".to_vec();
        for (name, contents) in sections {
            let body = [&[name.len() as u8], name.as_bytes(), contents].concat();
            bytes.extend([0, body.len() as u8]);
            bytes.extend(body);
        }
        bytes
    }

    /// A `name` section with function names.
    fn names(functions: &[&str]) -> (&'static str, Vec<u8>) {
        let mut map = vec![functions.len() as u8];
        for (index, name) in functions.iter().enumerate() {
            map.extend([index as u8, name.len() as u8]);
            map.extend(name.as_bytes());
        }
        ("name", [vec![1, map.len() as u8], map].concat())
    }

    #[test]
    fn wrappers_are_found_by_name() {
        for (functions, complaint) in [
            (vec!["start", "__wasm_call_ctors"], None),
            (vec!["start", "step", "step.command_export"], Some("`step`")),
            (vec![], Some("strip = false")),
        ] {
            let checked =
                assert_none(&module(&[names(&functions)])).map_err(|error| error.to_string());
            match complaint {
                None => assert_eq!(checked, Ok(())),
                Some(part) => assert!(
                    checked.as_ref().is_err_and(|e| e.contains(part)),
                    "{functions:?}: {checked:?}"
                ),
            }
        }
        assert!(
            assert_none(&module(&[])).is_err(),
            "a stripped module cannot be vouched for"
        );
        assert!(assert_none(b"<html>").is_err());
    }

    #[test]
    fn features_in_use_are_listed() {
        let section = b"\x03+\x0bbulk-memory+\x08sign-ext-\x07atomics".to_vec();
        assert_eq!(
            features(&module(&[("target_features", section)])).unwrap(),
            ["bulk-memory", "sign-ext"]
        );
        assert!(features(&module(&[("target_features", vec![9])])).is_err());
        assert!(features(&module(&[])).unwrap().is_empty());
    }
}
