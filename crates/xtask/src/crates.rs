//! Whose code the engine is: bytes of functions by crate. In: rustc's linked module, names still in. Out: crates, largest first.
//!
//! wasm-opt, which runs after, takes names away and halves everything; the shares stay about the same.

use anyhow::{Context, Result, ensure};
use std::collections::HashMap;
use wasmparser::{KnownCustom, Name, Parser, Payload, TypeRef};

/// What is no function: strings, tables, shaders.
const DATA: &str = "data (constants, texts, shaders)";
const STANDARD: [&str; 3] = ["core", "alloc", "std"];

/// Bytes of code by crate, and of data, largest first.
pub(crate) fn breakdown(module: &[u8]) -> Result<Vec<(String, usize)>> {
    let mut names: HashMap<u32, String> = HashMap::new();
    let mut bodies = Vec::new();
    let mut imported = 0;
    let mut sums: HashMap<String, usize> = HashMap::new();
    for payload in Parser::new(0).parse_all(module) {
        match payload.context("parsing the wasm from rustc")? {
            Payload::ImportSection(imports) => {
                for import in imports.into_imports() {
                    let function = matches!(import?.ty, TypeRef::Func(_));
                    imported += u32::from(function);
                }
            }
            Payload::CodeSectionEntry(body) => bodies.push(body.range().len()),
            Payload::DataSection(section) => {
                *sums.entry(DATA.to_owned()).or_default() += section.range().len();
            }
            Payload::CustomSection(section) => {
                let KnownCustom::Name(reader) = section.as_known() else {
                    continue;
                };
                for part in reader {
                    if let Name::Function(functions) = part.context("parsing the name section")? {
                        for naming in functions {
                            let naming = naming.context("parsing the name section")?;
                            names.insert(naming.index, naming.name.to_owned());
                        }
                    }
                }
            }
            _ => {}
        }
    }
    ensure!(
        !names.is_empty(),
        "the module has no function names; build it with `cargo xtask site`"
    );
    for (index, bytes) in (imported..).zip(bodies) {
        let owner = names.get(&index).map_or("?", |name| name);
        *sums.entry(owner_of(owner)).or_default() += bytes;
    }
    let mut sums: Vec<_> = sums.into_iter().collect();
    sums.sort_by(|(a, x), (b, y)| y.cmp(x).then_with(|| a.cmp(b)));
    Ok(sums)
}

/// The crate whose code a function is: the first that its path names, the standard library only where it names no other, so that
/// `<Vec<T> as Extend>::extend` counts for who made it necessary.
fn owner_of(mangled: &str) -> String {
    let path = format!("{:#}", rustc_demangle::demangle(mangled));
    let mut roots = roots(&path);
    let first = roots.next();
    match first {
        None => "others (C, glue)".to_owned(),
        Some(first) if STANDARD.contains(&first) => roots
            .find(|root| !STANDARD.contains(root))
            .unwrap_or("core, alloc, std")
            .to_owned(),
        Some(first) => first.to_owned(),
    }
}

/// The first segment of every path in a demangled name.
fn roots(path: &str) -> impl Iterator<Item = &str> {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    path.match_indices("::").filter_map(move |(at, _)| {
        let before = &path[..at];
        let word = before
            .rfind(|c| !is_word(c))
            .map_or(before, |end| &before[end + 1..]);
        let rest = &before[..before.len() - word.len()];
        (!word.is_empty() && !rest.ends_with("::")).then_some(word)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_belong_to_the_first_crate_that_is_not_std() {
        for (name, owner) in [
            (
                "_ZN9halfdepth6decode4lane4Lane7prefill17h0123456789abcdefE",
                "halfdepth",
            ),
            (
                "<alloc::vec::Vec<tokenizers::Token> as core::clone::Clone>::clone",
                "tokenizers",
            ),
            ("core::fmt::Formatter::pad", "core, alloc, std"),
            ("<&naga::Type as core::fmt::Debug>::fmt", "naga"),
            ("memcpy", "others (C, glue)"),
        ] {
            assert_eq!(owner_of(name), owner, "{name}");
        }
    }

    #[test]
    fn a_module_without_names_is_refused() {
        assert!(breakdown(b"\0asm\x01\0\0\0").is_err());
        assert!(breakdown(b"no wasm").is_err());
    }
}
