//! Counting what ran: the result lines of libtest, and the lines with which a test says that it skipped itself.

use std::{fmt, ops::AddAssign};

/// Prefix with which a test that cannot run here says why, in its captured output. libtest knows no skip at run time:
/// such a test counts there as passed, here as skipped.
pub const SKIP_PREFIX: &str = "skipped: ";

/// How many checks ended how.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Counts {
    pub passed: u32,
    pub failed: u32,
    pub skipped: u32,
}

impl Counts {
    pub const PASSED: Self = Self { passed: 1, failed: 0, skipped: 0 };
    pub const FAILED: Self = Self { passed: 0, failed: 1, skipped: 0 };
    pub const SKIPPED: Self = Self { passed: 0, failed: 0, skipped: 1 };
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} passed, {} failed, {} skipped", self.passed, self.failed, self.skipped)
    }
}

/// Adds up the output of test binaries, line by line.
#[derive(Debug, Default)]
pub struct Counter {
    counts: Counts,
    /// Skip lines since the last result line; they belong to the result that follows or, where libtest prints captured
    /// output before its result line, to the one they stand in front of: both is the next one.
    said_skipped: u32,
    results: u32,
}

impl Counter {
    /// Takes one line of output, without its line end.
    pub fn line(&mut self, line: &str) {
        let line = line.trim_end();
        if line.starts_with(SKIP_PREFIX) {
            self.said_skipped += 1;
        } else if let Some(result) = parse_result(line) {
            let moved = self.said_skipped.min(result.passed);
            self.counts += Counts {
                passed: result.passed - moved,
                failed: result.failed,
                skipped: result.skipped + moved,
            };
            self.said_skipped = 0;
            self.results += 1;
        }
    }

    /// The sum. A run that did not succeed without saying which test failed (a crash, a panic of the guest) counts as
    /// one failure, and so does one that claims success without a single result line.
    pub fn finish(self, success: bool) -> Counts {
        let mut counts = self.counts;
        if (!success && counts.failed == 0) || (success && self.results == 0) {
            counts.failed += 1;
        }
        counts
    }
}

/// `test result: ok. 12 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.01s`
fn parse_result(line: &str) -> Option<Counts> {
    let (_, numbers) = line.strip_prefix("test result: ")?.split_once(". ")?;
    let mut counts = Counts::default();
    for part in numbers.split(';') {
        let mut words = part.split_whitespace();
        let (Some(number), Some(kind)) = (words.next(), words.next()) else { continue };
        let field = match kind {
            "passed" => &mut counts.passed,
            "failed" => &mut counts.failed,
            "ignored" => &mut counts.skipped,
            _ => continue,
        };
        *field = number.parse().ok()?;
    }
    Some(counts)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(output: &str, success: bool) -> Counts {
        let mut counter = Counter::default();
        output.lines().for_each(|line| counter.line(line));
        counter.finish(success)
    }

    #[test]
    fn results_of_several_binaries_add_up() {
        let output = "running 2 tests\n\
            test result: ok. 12 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.01s\n\
            noise\n\
            test result: FAILED. 3 passed; 2 failed; 0 ignored; 0 measured; 4 filtered out; finished in 1.00s\r\n";
        assert_eq!(count(output, false), Counts { passed: 15, failed: 2, skipped: 1 });
    }

    #[test]
    fn a_test_that_skipped_itself_is_not_counted_as_passed() {
        let output = "---- reset stdout ----\nskipped: no kprobes\n\
            test result: ok. 2 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.01s\n\
            test result: ok. 1 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.01s\n";
        assert_eq!(count(output, true), Counts { passed: 2, failed: 0, skipped: 1 });
    }

    #[test]
    fn a_crash_without_a_result_line_is_one_failure() {
        assert_eq!(count("running 3 tests\n", false), Counts::FAILED);
    }

    #[test]
    fn success_without_any_result_is_a_failure() {
        assert_eq!(count("", true), Counts::FAILED);
    }

    #[test]
    fn the_closing_line_has_the_agreed_form() {
        let counts = Counts { passed: 7, failed: 0, skipped: 2 };
        assert_eq!(counts.to_string(), "7 passed, 0 failed, 2 skipped");
    }
}
