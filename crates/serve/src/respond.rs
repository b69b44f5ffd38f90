//! One request in, one response out.

use crate::path::{Target, resolve};
use crate::range::{Wanted, wanted};
use std::fs::File;
use std::io::{Cursor, Read, Seek, SeekFrom};
use std::path::Path;
use std::time::UNIX_EPOCH;
use tiny_http::{Header, Method, Request, Response, StatusCode};

type Body = Box<dyn Read + Send>;

/// Answers `request` from the folder `root`, served under `prefix`.
pub(crate) fn answer(request: Request, root: &Path, prefix: &str) {
    let response = match request.method() {
        Method::Get => resource(&request, root, prefix, true),
        Method::Head => resource(&request, root, prefix, false),
        // A page elsewhere asks first, before it sends a Range or a conditional request.
        Method::Options => plain(204, ""),
        _ => with(
            plain(405, "This server only reads: use GET or HEAD.\n"),
            "Allow",
            "GET, HEAD, OPTIONS",
        ),
    };
    // A failure here is a client that went away.
    let _ = request.respond(SHARED.iter().fold(response, |response, (name, value)| {
        with(response, name, value)
    }));
}

/// Sent with every response: any page may read what is served here.
const SHARED: [(&str, &str); 7] = [
    ("Access-Control-Allow-Origin", "*"),
    ("Access-Control-Allow-Methods", "GET, HEAD, OPTIONS"),
    (
        "Access-Control-Allow-Headers",
        "Range, If-Range, If-None-Match",
    ),
    (
        "Access-Control-Expose-Headers",
        "Accept-Ranges, Content-Length, Content-Range, ETag",
    ),
    // Chromium asks for this when a public page reads from this machine.
    ("Access-Control-Allow-Private-Network", "true"),
    ("Cross-Origin-Resource-Policy", "cross-origin"),
    // Always asked again, answered with 304 while unchanged: a rebuilt page is seen at once.
    ("Cache-Control", "no-cache"),
];

fn resource(request: &Request, root: &Path, prefix: &str, with_body: bool) -> Response<Body> {
    let path = match resolve(root, prefix, request.url()) {
        Target::File(path) => path,
        Target::Redirect(to) => return with(plain(301, ""), "Location", &to),
        Target::Missing => return plain(404, "There is no such file here.\n"),
    };
    match file(request, &path, with_body) {
        Ok(response) => response,
        Err(_) => plain(500, "The file cannot be read.\n"),
    }
}

fn file(request: &Request, path: &Path, with_body: bool) -> std::io::Result<Response<Body>> {
    let mut file = File::open(path)?;
    let metadata = file.metadata()?;
    let size = metadata.len();
    let modified = metadata
        .modified()
        .ok()
        .and_then(|at| at.duration_since(UNIX_EPOCH).ok())
        .unwrap_or_default();
    let tag = format!("\"{size:x}-{:x}\"", modified.as_nanos());

    let about_file = |status: u16, length: u64, body: Body| {
        [
            ("Content-Type", media_type(path)),
            ("Accept-Ranges", "bytes"),
            ("ETag", &tag),
        ]
        .iter()
        .fold(sized(status, length, body), |response, (name, value)| {
            with(response, name, value)
        })
    };
    if field(request, "If-None-Match").is_some_and(|tags| names(tags, &tag)) {
        return Ok(about_file(304, size, empty()));
    }
    // A part of a file that has changed since must not be glued to the old one.
    let same_file = field(request, "If-Range").is_none_or(|known| known.trim() == tag);
    let range = field(request, "Range")
        .filter(|_| same_file)
        .map_or(Wanted::Whole, |range| wanted(range, size));

    let (status, start, length) = match range {
        Wanted::Whole => (200, 0, size),
        Wanted::Part { start, length } => (206, start, length),
        Wanted::Unsatisfiable => {
            return Ok(with(
                about_file(416, 0, empty()),
                "Content-Range",
                &format!("bytes */{size}"),
            ));
        }
    };
    let body: Body = if with_body {
        file.seek(SeekFrom::Start(start))?;
        Box::new(file.take(length))
    } else {
        empty()
    };
    let response = about_file(status, length, body);
    Ok(if status == 206 {
        let last = start + length - 1;
        with(
            response,
            "Content-Range",
            &format!("bytes {start}-{last}/{size}"),
        )
    } else {
        response
    })
}

/// Whether an `If-None-Match` list names `tag`.
fn names(tags: &str, tag: &str) -> bool {
    tags.split(',')
        .map(str::trim)
        .any(|known| known == "*" || known.strip_prefix("W/").unwrap_or(known) == tag)
}

/// The media type by the file's ending; browsers refuse modules and streaming wasm under a wrong one.
fn media_type(path: &Path) -> &'static str {
    match path
        .extension()
        .and_then(|ending| ending.to_str())
        .unwrap_or_default()
    {
        "html" => "text/html; charset=utf-8",
        "js" | "mjs" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "wasm" => "application/wasm",
        "json" | "map" => "application/json",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "ico" => "image/x-icon",
        "woff2" => "font/woff2",
        "txt" | "md" => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}

fn plain(status: u16, text: &'static str) -> Response<Body> {
    let response = sized(status, text.len() as u64, Box::new(Cursor::new(text)));
    with(response, "Content-Type", "text/plain; charset=utf-8")
}

fn empty() -> Body {
    Box::new(std::io::empty())
}

fn sized(status: u16, length: u64, body: Body) -> Response<Body> {
    // Without a length (chunked, tiny_http's choice above 32 KiB) a page could not show how far a download is.
    Response::new(
        StatusCode(status),
        Vec::new(),
        body,
        usize::try_from(length).ok(),
        None,
    )
    .with_chunked_threshold(usize::MAX)
}

fn field<'a>(request: &'a Request, name: &'static str) -> Option<&'a str> {
    request
        .headers()
        .iter()
        .find(|header| header.field.equiv(name))
        .map(|header| header.value.as_str())
}

/// `response` with one more header; a value that HTTP cannot carry is left out.
fn with(response: Response<Body>, name: &str, value: &str) -> Response<Body> {
    match Header::from_bytes(name, value) {
        Ok(header) => response.with_header(header),
        Err(()) => response,
    }
}
