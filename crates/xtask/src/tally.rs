//! Counts tests from what their runners say, never from hope.

use anyhow::{Context, Result};
use serde_json::Value;
use std::ops::AddAssign;
use std::path::Path;

/// A native test that finds no GPU adapter writes this to stderr and returns; libtest counts it as passed, we do not.
/// Written with `writeln!(std::io::stderr(), ...)`, because libtest swallows `eprintln!` of tests that pass.
pub(crate) const SKIP_MARK: &str = "halfdepth-skip:";

/// How tests ended.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Tally {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
    pub(crate) skipped: u64,
}

impl Tally {
    /// One check that passed.
    pub(crate) const PASS: Self = Self {
        passed: 1,
        failed: 0,
        skipped: 0,
    };
    /// One check that failed.
    pub(crate) const FAIL: Self = Self {
        passed: 0,
        failed: 1,
        skipped: 0,
    };

    /// Reads the file that Vitest's JSON reporter wrote.
    pub(crate) fn of_vitest(report: &Path) -> Result<Self> {
        let report = json(report)?;
        Ok(Self {
            passed: count(&report["numPassedTests"])?,
            failed: count(&report["numFailedTests"])?,
            skipped: count(&report["numPendingTests"])? + count(&report["numTodoTests"])?,
        })
    }

    /// Reads the file that Playwright's JSON reporter wrote.
    pub(crate) fn of_playwright(report: &Path) -> Result<Self> {
        let stats = &json(report)?["stats"];
        Ok(Self {
            passed: count(&stats["expected"])?,
            // A test that passed only when tried again has failed once.
            failed: count(&stats["unexpected"])? + count(&stats["flaky"])?,
            skipped: count(&stats["skipped"])?,
        })
    }

    /// The summary in the words of the last line.
    pub(crate) fn words(&self) -> String {
        format!(
            "{} passed, {} failed, {} skipped",
            self.passed, self.failed, self.skipped
        )
    }
}

/// Counts while `cargo test` prints.
#[derive(Default)]
pub(crate) struct Libtest {
    results: Tally,
    marked: u64, // tests that found no adapter; libtest has them among the passed
}

impl Libtest {
    /// Takes in one line of its output.
    pub(crate) fn read(&mut self, line: &str) {
        // `test result: ok. 12 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.10s`
        if let Some(result) = line.strip_prefix("test result: ") {
            for part in result.split([';', '.']) {
                let Some((count, what)) = part.trim().split_once(' ') else {
                    continue;
                };
                let Ok(count) = count.parse::<u64>() else {
                    continue;
                };
                match what {
                    "passed" => self.results.passed += count,
                    "failed" => self.results.failed += count,
                    "ignored" => self.results.skipped += count,
                    _ => {}
                }
            }
        // Anywhere in the line: tests run side by side, and libtest may have begun a line of its own.
        } else if line.contains(SKIP_MARK) {
            self.marked += 1;
        }
    }

    /// Tests that were left out because no GPU adapter was found.
    pub(crate) fn without_adapter(&self) -> u64 {
        self.marked
    }

    /// What has been counted.
    pub(crate) fn tally(&self) -> Tally {
        let Tally {
            passed,
            failed,
            skipped,
        } = self.results;
        Tally {
            passed: passed.saturating_sub(self.marked),
            failed,
            skipped: skipped + self.marked,
        }
    }
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
    }
}

fn json(report: &Path) -> Result<Value> {
    let text = std::fs::read_to_string(report)
        .with_context(|| format!("the runner left no report in {}", report.display()))?;
    serde_json::from_str(&text).with_context(|| format!("reading {}", report.display()))
}

fn count(value: &Value) -> Result<u64> {
    value
        .as_u64()
        .context("the runner's report lacks a count; its version may have changed its form")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libtest_lines_add_up_and_marked_tests_are_not_passes() {
        let mut counts = Libtest::default();
        for line in [
            "running 3 tests",
            // A test's mark comes before the result it is in.
            "halfdepth-skip: q4_matvec: no adapter",
            "test result: ok. 12 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.10s",
            "test result: FAILED. 3 passed; 2 failed; 0 ignored; 0 measured; 7 filtered out; finished in 1.10s",
            "test result of something else: 5 passed",
            "test b ... halfdepth-skip: goldens: no adapter",
        ] {
            counts.read(line);
        }
        assert_eq!(
            counts.tally(),
            Tally {
                passed: 13,
                failed: 2,
                skipped: 3
            }
        );
        assert_eq!(counts.without_adapter(), 2);
    }

    #[test]
    fn reports_of_the_page_s_runners_are_read_or_refused() {
        let dir = tempfile::tempdir().unwrap();
        let file = |text: &str| {
            let path = dir.path().join("report.json");
            std::fs::write(&path, text).unwrap();
            path
        };
        let vitest = file(
            r#"{"numPassedTests": 4, "numFailedTests": 1, "numPendingTests": 2, "numTodoTests": 3}"#,
        );
        assert_eq!(
            Tally::of_vitest(&vitest).unwrap(),
            Tally {
                passed: 4,
                failed: 1,
                skipped: 5
            }
        );
        let playwright =
            file(r#"{"stats": {"expected": 5, "unexpected": 1, "flaky": 1, "skipped": 2}}"#);
        assert_eq!(
            Tally::of_playwright(&playwright).unwrap(),
            Tally {
                passed: 5,
                failed: 2,
                skipped: 2
            }
        );
        for text in ["", "{}", "[]"] {
            assert!(
                Tally::of_vitest(&file(text)).is_err()
                    && Tally::of_playwright(&file(text)).is_err(),
                "{text}"
            );
        }
    }
}
