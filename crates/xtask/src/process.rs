//! Runs other programs: says which, passes on what they print, stops them when we are stopped.

use anyhow::{Context, Result, bail};
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// How long children may take to end by themselves after Ctrl-C.
const GRACE: Duration = Duration::from_secs(3);

static STOPPING: AtomicBool = AtomicBool::new(false);
static RUNNING: Mutex<Vec<u32>> = Mutex::new(Vec::new()); // process ids; each leads its own group

/// A program to run in the repository's root.
pub(crate) fn command(program: impl AsRef<Path>) -> Command {
    let mut command = Command::new(program.as_ref());
    // Nothing here may wait for a keyboard.
    command
        .current_dir(crate::root::root())
        .stdin(Stdio::null());
    command
}

/// Runs `command`; everything it prints goes to stderr, so that stdout stays ours.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    announce(command);
    let (child, _running) = spawn(command.stdout(Stdio::from(std::io::stderr())))?;
    wait(child, command)
}

/// Runs `command`, shows every line it prints, and gives each to `line` too.
pub(crate) fn run_watched(
    command: &mut Command,
    line: &mut (dyn FnMut(&str) + Send),
) -> Result<()> {
    announce(command);
    let (mut child, _running) = spawn(command.stdout(Stdio::piped()).stderr(Stdio::piped()))?;
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let line = Mutex::new(line);
    std::thread::scope(|scope| {
        scope.spawn(|| stdout.map(|pipe| pass_on(pipe, &line)));
        scope.spawn(|| stderr.map(|pipe| pass_on(pipe, &line)));
    });
    wait(child, command)
}

/// Runs `command` and returns what it wrote to stdout; its stderr is shown.
pub(crate) fn capture(command: &mut Command) -> Result<String> {
    announce(command);
    let (mut child, _running) = spawn(command.stdout(Stdio::piped()))?;
    let mut text = String::new();
    if let Some(mut pipe) = child.stdout.take() {
        pipe.read_to_string(&mut text)
            .context("reading what it printed")?;
    }
    wait(child, command).map(|()| text)
}

/// The first of `names` on the PATH.
pub(crate) fn find(names: &[&str]) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    names
        .iter()
        .flat_map(|name| {
            folders
                .iter()
                .map(move |folder| folder.join(format!("{name}{}", std::env::consts::EXE_SUFFIX)))
        })
        .find(|candidate| candidate.is_file())
}

/// The command line as one would type it.
pub(crate) fn by_hand(command: &Command) -> String {
    let mut words: Vec<String> = command
        .get_envs()
        .filter_map(|(name, value)| {
            Some(format!(
                "{}={}",
                name.to_string_lossy(),
                quote(&value?.to_string_lossy())
            ))
        })
        .collect();
    words.push(quote(&command.get_program().to_string_lossy()));
    words.extend(
        command
            .get_args()
            .map(|word| quote(&word.to_string_lossy())),
    );
    words.join(" ")
}

/// The exit code of a program that was stopped: 128 + SIGINT, as shells count.
pub(crate) const STOPPED: u8 = 130;

/// Whether Ctrl-C or SIGTERM came: what fails from then on fails because of it.
pub(crate) fn is_stopping() -> bool {
    STOPPING.load(Ordering::Acquire)
}

/// From now on Ctrl-C and SIGTERM end the children first, then this program.
pub(crate) fn stop_children_on_signals() -> Result<()> {
    ctrlc::set_handler(|| {
        STOPPING.store(true, Ordering::Release);
        signal_children(Signal::End);
        let deadline = Instant::now() + GRACE;
        // Their waiters take them off the list.
        while !running().is_empty() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(20));
        }
        signal_children(Signal::Kill);
        std::process::exit(STOPPED.into());
    })
    .context("setting the Ctrl-C handler")
}

#[derive(Clone, Copy)]
enum Signal {
    End,
    Kill,
}

#[cfg(unix)]
fn signal_children(signal: Signal) {
    use nix::sys::signal::{Signal as Unix, killpg};
    let signal = match signal {
        Signal::End => Unix::SIGTERM,
        Signal::Kill => Unix::SIGKILL,
    };
    for id in running().iter().filter_map(|id| i32::try_from(*id).ok()) {
        // The whole group: npm starts node, node starts Chromium. A group that has just ended is no error.
        let _ = killpg(nix::unistd::Pid::from_raw(id), signal);
    }
}

#[cfg(not(unix))]
fn signal_children(signal: Signal) {
    // The console has already sent Ctrl-C to all of them; what is left is ended with its children.
    if matches!(signal, Signal::Kill) {
        for id in running().iter() {
            let _ = Command::new("taskkill")
                .args(["/F", "/T", "/PID", &id.to_string()])
                .status();
        }
    }
}

fn running() -> std::sync::MutexGuard<'static, Vec<u32>> {
    RUNNING
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// A child's place on the list of those to stop.
struct Running(u32);

impl Drop for Running {
    fn drop(&mut self) {
        running().retain(|id| *id != self.0);
    }
}

fn spawn(command: &mut Command) -> Result<(Child, Running)> {
    // A group of its own, to be stopped as one.
    #[cfg(unix)]
    std::os::unix::process::CommandExt::process_group(command, 0);
    // Locked first: a signal that comes meanwhile must find the child on the list.
    let mut running = running();
    if is_stopping() {
        bail!("stopped before {}", by_hand(command));
    }
    let child = command.spawn().with_context(|| cannot_start(command))?;
    running.push(child.id());
    let place = Running(child.id());
    Ok((child, place))
}

fn wait(mut child: Child, command: &Command) -> Result<()> {
    let status = child
        .wait()
        .with_context(|| format!("waiting for {}", by_hand(command)))?;
    if !status.success() {
        bail!(
            "this failed ({status}); to see it alone, run it by hand:\n  {}",
            by_hand(command)
        );
    }
    Ok(())
}

fn pass_on(pipe: impl Read, line: &Mutex<&mut (dyn FnMut(&str) + Send)>) {
    let mut reader = BufReader::new(pipe);
    let mut bytes = Vec::new();
    // Bytes, because one line that is not UTF-8 must not end the passing on.
    while matches!(reader.read_until(b'\n', &mut bytes), Ok(1..)) {
        let text = String::from_utf8_lossy(&bytes);
        let mut line = line
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        let _ = std::io::stderr().write_all(text.as_bytes());
        line(text.trim_end());
        drop(line);
        bytes.clear();
    }
}

fn announce(command: &Command) {
    eprintln!("$ {}", by_hand(command));
}

fn cannot_start(command: &Command) -> String {
    format!(
        "cannot start {:?}; is it installed and on the PATH?",
        command.get_program()
    )
}

fn quote(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,+@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_says_what_to_run_by_hand() {
        let error = run(command("sh").args(["-c", "exit 3"]).env("NAME", "a value"))
            .unwrap_err()
            .to_string();
        assert!(error.contains("exit status: 3"), "{error}");
        assert!(error.contains("NAME='a value' sh -c 'exit 3'"), "{error}");
    }

    #[test]
    fn a_program_that_is_not_there_is_named() {
        let error = run(&mut command("no-such-program-here"))
            .unwrap_err()
            .to_string();
        assert!(error.contains("no-such-program-here"), "{error}");
    }

    #[test]
    fn watched_lines_come_from_both_streams_also_when_not_utf8() {
        let mut lines = Vec::new();
        run_watched(
            command("sh").args(["-c", r"printf 'out\n\377\nlast'; echo err >&2"]),
            &mut |line| lines.push(line.to_owned()),
        )
        .unwrap();
        lines.sort();
        assert_eq!(lines, ["err", "last", "out", "\u{fffd}"]);
    }

    #[test]
    fn captured_text_is_stdout_alone() {
        assert_eq!(
            capture(command("sh").args(["-c", "echo out; echo err >&2"])).unwrap(),
            "out\n"
        );
    }
}
