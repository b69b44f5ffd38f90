//! From a request's target to a file below the served folder, or to nothing.

use std::path::{Path, PathBuf};

/// What a request's target stands for.
#[derive(Debug, PartialEq)]
pub(crate) enum Target {
    /// A file below the root, links resolved.
    File(PathBuf),
    /// A folder named without its slash: relative links in its page would miss, so the browser is sent on.
    Redirect(String),
    /// Nothing there, or nothing that may be seen.
    Missing,
}

/// Resolves the raw `target` of a request line (`/a%20b?x=1`) served under `prefix` (begins and ends with a slash).
pub(crate) fn resolve(root: &Path, prefix: &str, target: &str) -> Target {
    let path = target.split(['?', '#']).next().unwrap_or_default();
    if path.len() + 1 == prefix.len() && prefix.starts_with(path) {
        return Target::Redirect(prefix.to_owned());
    }
    let Some(path) = path.strip_prefix(prefix) else {
        return Target::Missing;
    };
    let Some(segments) = segments(path) else {
        return Target::Missing;
    };

    let wanted = segments
        .iter()
        .fold(root.to_owned(), |at, segment| at.join(segment));
    // Resolved before it is compared: a link that leads out of the folder is not followed.
    let Ok(found) = wanted.canonicalize() else {
        return Target::Missing;
    };
    if !found.starts_with(root) {
        return Target::Missing;
    }
    if !found.is_dir() {
        return if path.ends_with('/') {
            Target::Missing
        } else {
            Target::File(found)
        };
    }
    if !path.is_empty() && !path.ends_with('/') {
        // Written anew from its names: `//host` echoed back would lead to another host.
        let names: Vec<&str> = path.split('/').filter(|raw| !raw.is_empty()).collect();
        return Target::Redirect(format!("{prefix}{}/", names.join("/")));
    }
    match found.join("index.html").canonicalize() {
        Ok(index) if index.starts_with(root) && index.is_file() => Target::File(index),
        _ => Target::Missing,
    }
}

/// The decoded names of a path, or `None` if one of them is not a plain name.
fn segments(path: &str) -> Option<Vec<String>> {
    path.split('/')
        .filter(|raw| !raw.is_empty())
        .map(|raw| decode(raw).filter(|name| is_plain(name)))
        .collect()
}

/// A name that can mean nothing but an entry of the folder it is looked up in, on any system.
fn is_plain(name: &str) -> bool {
    !matches!(name, "." | "..") && !name.contains(['/', '\\', ':', '\0'])
}

/// Percent-decodes one segment; `None` for a broken escape or for bytes that are not UTF-8.
fn decode(segment: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(segment.len());
    let mut rest = segment.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        if first != b'%' {
            bytes.push(first);
            rest = tail;
            continue;
        }
        let digits = tail.get(..2)?;
        bytes.push((hex(digits[0])? << 4) | hex(digits[1])?);
        rest = &tail[2..];
    }
    String::from_utf8(bytes).ok()
}

fn hex(digit: u8) -> Option<u8> {
    // `to_digit(16)` is below 16.
    char::from(digit).to_digit(16).map(|value| value as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_resolve_inside_the_folder_only() {
        let outer = tempfile::tempdir().unwrap();
        let root = outer.path().join("root");
        std::fs::create_dir_all(root.join("sub/empty")).unwrap();
        std::fs::write(outer.path().join("secret.txt"), "secret").unwrap();
        for file in ["index.html", "a b.txt", "sub/index.html", "sub/é.json"] {
            std::fs::write(root.join(file), file).unwrap();
        }
        #[cfg(unix)]
        {
            std::os::unix::fs::symlink(outer.path(), root.join("out")).unwrap();
            std::os::unix::fs::symlink(outer.path().join("secret.txt"), root.join("leak.txt"))
                .unwrap();
        }
        let root = root.canonicalize().unwrap();
        let file = |name: &str| Target::File(root.join(name));
        let redirect = |to: &str| Target::Redirect(to.to_owned());

        for (prefix, target, expected) in [
            ("/", "/", file("index.html")),
            ("/", "/index.html?v=1", file("index.html")),
            ("/", "/a%20b.txt", file("a b.txt")),
            ("/", "//a%20b.txt", file("a b.txt")),
            ("/", "/sub/", file("sub/index.html")),
            ("/", "/sub", redirect("/sub/")),
            ("/", "//sub", redirect("/sub/")),
            ("/", "/sub/%C3%A9.json#x", file("sub/é.json")),
            ("/", "/index.html/", Target::Missing),
            ("/", "/sub/empty/", Target::Missing),
            ("/", "/nothing", Target::Missing),
            ("/", "/../secret.txt", Target::Missing),
            ("/", "/%2e%2e/secret.txt", Target::Missing),
            ("/", "/sub/..%2f..%2fsecret.txt", Target::Missing),
            ("/", "/..%5csecret.txt", Target::Missing),
            ("/", "/%00", Target::Missing),
            ("/", "/%", Target::Missing),
            ("/", "/%g1", Target::Missing),
            ("/", "/%ff", Target::Missing),
            ("/", "/out/secret.txt", Target::Missing),
            ("/", "/leak.txt", Target::Missing),
            ("/", "http://elsewhere/index.html", Target::Missing),
            ("/", "", redirect("/")),
            ("/p/q/", "/p/q/a%20b.txt", file("a b.txt")),
            ("/p/q/", "/p/q/sub", redirect("/p/q/sub/")),
            ("/p/q/", "/p/q", redirect("/p/q/")),
            ("/p/q/", "/", Target::Missing),
            ("/p/q/", "/p/qa%20b.txt", Target::Missing),
        ] {
            assert_eq!(
                resolve(&root, prefix, target),
                expected,
                "{prefix} {target}"
            );
        }
    }
}
