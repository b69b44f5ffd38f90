//! Serves one folder over HTTP to a page, ours or one on another origin.
//! In: a folder, an address, a path prefix. Out: a running server that ends when it is dropped.

mod path;
mod range;
mod respond;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// Answers that can be under way at once: a browser opens six connections to a host, and a paused
/// download holds one for as long as it pauses.
const WORKERS: usize = 16;

/// What a connection to this very machine may take.
const KNOCK: Duration = Duration::from_millis(200);

/// A folder being served; dropping it stops the server.
pub struct Serving {
    server: Arc<tiny_http::Server>,
    stopping: Arc<AtomicBool>,
    workers: Vec<JoinHandle<()>>,
    address: SocketAddr,
    prefix: String,
}

/// Why a folder cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// There is no such folder, or it cannot be read.
    #[error("cannot serve {}: {source}. Name a folder that exists and may be read.", dir.display())]
    Folder {
        /// The folder asked for.
        dir: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// It is a file.
    #[error("cannot serve {}: it is not a folder. Name the folder it lies in.", dir.display())]
    NotAFolder {
        /// The path asked for.
        dir: PathBuf,
    },
    /// The port is taken, or the address is not this machine's.
    #[error(
        "cannot listen on {address}: {reason}. Choose another port, or port 0 for any free one."
    )]
    Listen {
        /// The address asked for.
        address: String,
        /// What the system says.
        reason: String,
    },
}

/// Serves `dir` under `prefix` (`"/"`, or `"/some/path/"`) at `address`, such as `127.0.0.1:8080`; port 0 takes any free one.
///
/// Any origin may read every file in `dir`; nothing outside it is reachable, not even by a symbolic link.
pub fn serve(dir: &Path, address: &str, prefix: &str) -> Result<Serving, ServeError> {
    let root = dir.canonicalize().map_err(|source| ServeError::Folder {
        dir: dir.to_owned(),
        source,
    })?;
    if !root.is_dir() {
        return Err(ServeError::NotAFolder { dir: root });
    }
    let listen_error = |reason: String| ServeError::Listen {
        address: address.to_owned(),
        reason,
    };
    let server = tiny_http::Server::http(address).map_err(|e| listen_error(e.to_string()))?;
    let bound = server
        .server_addr()
        .to_ip()
        .ok_or_else(|| listen_error("not an internet address".to_owned()))?;

    let prefix = normal_prefix(prefix);
    let server = Arc::new(server);
    let stopping = Arc::new(AtomicBool::new(false));
    let workers = (0..WORKERS)
        .map(|_| {
            let (server, stopping) = (server.clone(), stopping.clone());
            let (root, prefix) = (root.clone(), prefix.clone());
            std::thread::spawn(move || {
                while !stopping.load(Ordering::Acquire) {
                    // An error is one connection's, and `unblock` wakes a waiting worker with one too.
                    let Ok(request) = server.recv() else { continue };
                    respond::answer(request, &root, &prefix);
                    knock(bound);
                }
            })
        })
        .collect();
    Ok(Serving {
        server,
        stopping,
        workers,
        address: bound,
        prefix,
    })
}

impl Serving {
    /// Where it listens, with the port that was really taken.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The address of the folder's root, ending in a slash.
    pub fn url(&self) -> String {
        format!("http://{}{}", self.address, self.prefix)
    }

    /// Serves until the process ends.
    pub fn wait(mut self) {
        for worker in self.workers.drain(..) {
            let _ = worker.join();
        }
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.stopping.store(true, Ordering::Release);
        for _ in &self.workers {
            self.server.unblock();
        }
        // Not joined: a worker may still be sending a large file to somebody who reads slowly.
    }
}

/// tiny_http hands connections that come at once to one thread that waits, though it takes a single one; the others lie in a queue until
/// a connection comes while no thread waits, or one ends, which a browser's may not do for minutes. So every answer is followed by such a
/// connection: it ends at once, and its thread takes up what lies there.
fn knock(bound: SocketAddr) {
    let address = match bound.ip() {
        ip if !ip.is_unspecified() => bound,
        IpAddr::V4(_) => (Ipv4Addr::LOCALHOST, bound.port()).into(),
        IpAddr::V6(_) => (Ipv6Addr::LOCALHOST, bound.port()).into(),
    };
    // Nobody waits for it: where it fails, the next answer tries again.
    let _ = TcpStream::connect_timeout(&address, KNOCK);
}

fn normal_prefix(prefix: &str) -> String {
    let inner = prefix.trim_matches('/');
    if inner.is_empty() {
        "/".to_owned()
    } else {
        format!("/{inner}/")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::sync::Barrier;

    const CONNECTIONS: usize = 32;
    const ROUNDS: usize = 60;

    /// A browser opens several connections at once and keeps them; none may wait for another to end.
    #[test]
    fn connections_that_come_at_once_and_stay_are_all_answered() {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("a.txt"), "a").expect("writes");
        let serving = serve(folder.path(), "127.0.0.1:0", "/").expect("serves");
        let address = serving.address();
        for round in 0..ROUNDS {
            let together = Arc::new(Barrier::new(CONNECTIONS));
            let asked: Vec<_> = (0..CONNECTIONS)
                .map(|_| {
                    let together = together.clone();
                    std::thread::spawn(move || {
                        together.wait();
                        let mut stream = TcpStream::connect(address).expect("connects");
                        let patience = Some(Duration::from_secs(5));
                        stream.set_read_timeout(patience).expect("a timeout");
                        let request = b"GET /a.txt HTTP/1.1\r\nHost: here\r\n\r\n";
                        stream.write_all(request).expect("writes");
                        let answered = stream.read(&mut [0; 512]).is_ok_and(|bytes| bytes > 0);
                        (stream, answered)
                    })
                })
                .collect();
            // Kept open until all of the round have their answers.
            let ended: Vec<_> = asked
                .into_iter()
                .map(|each| each.join().expect("ends"))
                .collect();
            let answered = ended.iter().filter(|(_, answered)| *answered).count();
            assert_eq!(answered, CONNECTIONS, "round {round}");
        }
    }
}
