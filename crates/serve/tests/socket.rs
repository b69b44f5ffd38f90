//! The server over a real socket: what a browser, and somebody who means harm, get to see.

use halfdepth_serve::{ServeError, Serving, serve};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

struct Answer {
    status: u16,
    head: String, // header names in lower case
    body: Vec<u8>,
}

impl Answer {
    fn field(&self, name: &str) -> Option<&str> {
        self.head
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
            .map(str::trim)
    }
}

fn ask(serving: &Serving, request: &str) -> Answer {
    let mut socket = TcpStream::connect(serving.address()).unwrap();
    socket
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    write!(socket, "{request}\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    let mut raw = Vec::new();
    socket.read_to_end(&mut raw).unwrap();
    let end = raw
        .windows(4)
        .position(|w| w == b"\r\n\r\n")
        .expect("a head");
    let (first, fields) = std::str::from_utf8(&raw[..end])
        .unwrap()
        .split_once("\r\n")
        .unwrap();
    let head = fields
        .lines()
        .map(|l| {
            l.split_once(':')
                .map_or(l.to_owned(), |(n, v)| format!("{}:{v}\n", n.to_lowercase()))
        })
        .collect();
    Answer {
        status: first.split(' ').nth(1).unwrap().parse().unwrap(),
        head,
        body: raw[end + 4..].to_vec(),
    }
}

/// A folder with a page, wasm and 100 kB of numbers, served under `prefix`.
fn fixture(prefix: &str) -> (tempfile::TempDir, Serving) {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("models")).unwrap();
    std::fs::write(dir.path().join("index.html"), "<title>page</title>").unwrap();
    std::fs::write(dir.path().join("a b.wasm"), b"\0asm").unwrap();
    std::fs::write(dir.path().join("models/x.bin"), numbers()).unwrap();
    let serving = serve(dir.path(), "127.0.0.1:0", prefix).unwrap();
    (dir, serving)
}

fn numbers() -> Vec<u8> {
    (0..100_000u32).map(|i| (i * 7 % 251) as u8).collect()
}

#[test]
fn files_come_whole_with_their_type_and_length() {
    let (_dir, serving) = fixture("/");
    for (target, media_type, length) in [
        ("/", "text/html; charset=utf-8", 19),
        ("/a%20b.wasm?v=2", "application/wasm", 4),
        ("/models/x.bin", "application/octet-stream", 100_000),
    ] {
        let got = ask(&serving, &format!("GET {target} HTTP/1.1"));
        let head = ask(&serving, &format!("HEAD {target} HTTP/1.1"));
        for answer in [&got, &head] {
            assert_eq!(answer.status, 200, "{target}");
            assert_eq!(answer.field("content-type"), Some(media_type));
            assert_eq!(
                answer.field("content-length"),
                Some(length.to_string().as_str())
            );
            assert_eq!(answer.field("access-control-allow-origin"), Some("*"));
            assert_eq!(answer.field("accept-ranges"), Some("bytes"));
        }
        assert_eq!((got.body.len(), head.body.len()), (length, 0), "{target}");
    }
    assert_eq!(ask(&serving, "GET /models/x.bin HTTP/1.1").body, numbers());
}

#[test]
fn ranges_give_their_part_or_say_how_long_the_file_is() {
    let (_dir, serving) = fixture("/");
    for (range, status, content_range, part) in [
        ("bytes=0-9", 206, Some("bytes 0-9/100000"), 0..10),
        (
            "bytes=99990-",
            206,
            Some("bytes 99990-99999/100000"),
            99_990..100_000,
        ),
        (
            "bytes=-5",
            206,
            Some("bytes 99995-99999/100000"),
            99_995..100_000,
        ),
        ("bytes=100000-", 416, Some("bytes */100000"), 0..0),
        ("bytes=5-1", 200, None, 0..100_000),
    ] {
        let answer = ask(
            &serving,
            &format!("GET /models/x.bin HTTP/1.1\r\nRange: {range}"),
        );
        assert_eq!(
            (answer.status, answer.field("content-range")),
            (status, content_range),
            "{range}"
        );
        assert_eq!(answer.body, numbers()[part], "{range}");
    }
}

#[test]
fn a_changed_file_is_sent_whole_and_an_unchanged_one_not_again() {
    let (dir, serving) = fixture("/");
    let tag = ask(&serving, "HEAD /models/x.bin HTTP/1.1")
        .field("etag")
        .unwrap()
        .to_owned();

    let known = ask(
        &serving,
        &format!("GET /models/x.bin HTTP/1.1\r\nIf-None-Match: \"other\", {tag}"),
    );
    assert_eq!((known.status, known.body.len()), (304, 0));
    let resumed = ask(
        &serving,
        &format!("GET /models/x.bin HTTP/1.1\r\nRange: bytes=10-\r\nIf-Range: {tag}"),
    );
    assert_eq!((resumed.status, resumed.body.len()), (206, 99_990));

    std::fs::write(dir.path().join("models/x.bin"), b"new").unwrap();
    let changed = ask(
        &serving,
        &format!("GET /models/x.bin HTTP/1.1\r\nRange: bytes=1-\r\nIf-Range: {tag}"),
    );
    assert_eq!(
        (changed.status, changed.body.as_slice()),
        (200, b"new".as_slice())
    );
}

#[test]
fn nothing_outside_the_folder_is_reachable() {
    let (dir, serving) = fixture("/");
    let secret = dir.path().parent().unwrap().join("halfdepth-serve-secret");
    std::fs::write(&secret, "secret").unwrap();
    for target in [
        "/../halfdepth-serve-secret",
        "/models/../../halfdepth-serve-secret",
        "/%2e%2e/halfdepth-serve-secret",
        "/..%2fhalfdepth-serve-secret",
        "//etc/passwd",
        "/%2fetc%2fpasswd",
        "/models/",
    ] {
        assert_eq!(
            ask(&serving, &format!("GET {target} HTTP/1.1")).status,
            404,
            "{target}"
        );
    }
    std::fs::remove_file(secret).unwrap();
}

#[test]
fn another_origin_may_ask_first_and_nobody_may_write() {
    let (_dir, serving) = fixture("/");
    let preflight = ask(
        &serving,
        "OPTIONS /models/x.bin HTTP/1.1\r\nOrigin: https://a.example\r\nAccess-Control-Request-Headers: range",
    );
    assert_eq!(preflight.status, 204);
    assert!(
        preflight
            .field("access-control-allow-headers")
            .unwrap()
            .contains("Range")
    );
    assert_eq!(
        ask(&serving, "PUT /index.html HTTP/1.1\r\nContent-Length: 0").status,
        405
    );
}

#[test]
fn a_prefix_moves_the_whole_folder() {
    let (_dir, serving) = fixture("some/path");
    assert!(serving.url().ends_with("/some/path/"));
    assert_eq!(
        ask(&serving, "GET /some/path/a%20b.wasm HTTP/1.1").body,
        b"\0asm"
    );
    assert_eq!(
        ask(&serving, "GET /some/path HTTP/1.1").field("location"),
        Some("/some/path/")
    );
    assert_eq!(ask(&serving, "GET /a%20b.wasm HTTP/1.1").status, 404);
}

#[test]
fn one_connection_takes_many_requests_and_broken_ones_do_no_harm() {
    let (_dir, serving) = fixture("/");
    for garbage in [
        "\r\n\r\n",
        "GET\r\n\r\n",
        "GET / HTTP/9.9\r\n\r\n",
        "GET / HTTP/1.1\r\nRange\r\n\r\n",
        "\u{fe}\u{ff}\r\n\r\n",
    ] {
        let mut socket = TcpStream::connect(serving.address()).unwrap();
        socket.write_all(garbage.as_bytes()).unwrap();
    }
    let mut socket = TcpStream::connect(serving.address()).unwrap();
    socket
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    for _ in 0..3 {
        write!(socket, "HEAD / HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            socket.read_exact(&mut byte).unwrap();
            head.push(byte[0]);
        }
        assert!(head.starts_with(b"HTTP/1.1 200"));
    }
}

#[test]
fn dropping_it_frees_the_port() {
    let (dir, serving) = fixture("/");
    let address = serving.address().to_string();
    assert!(matches!(
        serve(dir.path(), &address, "/"),
        Err(ServeError::Listen { .. })
    ));
    drop(serving);
    let deadline = Instant::now() + Duration::from_secs(10);
    while serve(dir.path(), &address, "/").is_err() {
        assert!(Instant::now() < deadline, "the port is still taken");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn what_cannot_be_served_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    std::fs::write(&file, "").unwrap();
    assert!(matches!(
        serve(&file, "127.0.0.1:0", "/"),
        Err(ServeError::NotAFolder { .. })
    ));
    assert!(matches!(
        serve(&dir.path().join("none"), "127.0.0.1:0", "/"),
        Err(ServeError::Folder { .. })
    ));
    assert!(matches!(
        serve(dir.path(), "256.0.0.1:80", "/"),
        Err(ServeError::Listen { .. })
    ));
}
