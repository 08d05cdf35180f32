//! Results of a test run: counts, and a table of steps and times.

use std::{
    process::ExitCode,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use anyhow::{Result, bail};

use crate::{counts::Counts, shell};

/// Results so far. Steps may run in parallel.
#[derive(Default)]
pub struct Report {
    steps: Mutex<Vec<Step>>,
}

struct Step {
    name: String,
    counts: Counts,
    took: Duration,
    is_parallel: bool,
}

impl Report {
    /// Runs a step that counts tests; an error counts as one failure.
    pub fn step(&self, name: &str, work: impl FnOnce() -> Result<Counts>) {
        self.run(name, false, work);
    }

    /// Runs a step that is one check.
    pub fn check(&self, name: &str, work: impl FnOnce() -> Result<()>) {
        self.step(name, || work().map(|()| Counts::PASSED));
    }

    /// Runs a step that checks nothing itself: it counts only when it fails.
    pub fn prepare(&self, name: &str, work: impl FnOnce() -> Result<()>) {
        self.step(name, || work().map(|()| Counts::default()));
    }

    /// As [`Self::step`], in parallel to other steps.
    pub fn parallel(&self, name: &str, work: impl FnOnce() -> Result<Counts>) {
        self.run(name, true, work);
    }

    fn run(&self, name: &str, is_parallel: bool, work: impl FnOnce() -> Result<Counts>) {
        shell::say(format!("── {name}"));
        let begin = Instant::now();
        let counts = work().unwrap_or_else(|why| {
            shell::say(format!("{name}: {why:#}"));
            Counts::FAILED
        });
        let step = Step { name: name.to_owned(), counts, took: begin.elapsed(), is_parallel };
        shell::say(step.line());
        self.steps().push(step);
    }

    fn steps(&self) -> MutexGuard<'_, Vec<Step>> {
        self.steps.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The sum of all steps.
    pub fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        self.steps().iter().for_each(|step| counts += step.counts);
        counts
    }

    /// Prints the table and the closing line. A filter that matched no test is a failure: it was mistyped.
    pub fn close(&self, begin: Instant, filter: Option<&str>) -> Result<ExitCode> {
        eprintln!("\n{}", self.table(begin.elapsed()));
        let counts = self.counts();
        println!("{counts}");
        if let Some(filter) = filter
            && counts == Counts::default()
        {
            bail!("no test has `{filter}` in its name");
        }
        Ok(if counts.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }

    /// One line per step, in the order in which they ended. `+`: ran in parallel.
    fn table(&self, all: Duration) -> String {
        let mut table =
            format!("{:>8}  {:>6}  {:>6}  {:>7}  step\n", "seconds", "passed", "failed", "skipped");
        let mut row = |name: &str, counts: Counts, took: Duration| {
            let number = |n: u32| if n == 0 { String::new() } else { n.to_string() };
            let (passed, failed, skipped) =
                (number(counts.passed), number(counts.failed), number(counts.skipped));
            table +=
                &format!("{:>8.1}  {passed:>6}  {failed:>6}  {skipped:>7}  {name}\n", took.as_secs_f64());
        };
        for step in self.steps().iter() {
            let mark = if step.is_parallel { "+ " } else { "" };
            row(&format!("{mark}{}", step.name), step.counts, step.took);
        }
        row("total (+ ran in parallel)", self.counts(), all);
        table
    }
}

impl Step {
    fn line(&self) -> String {
        let took = shell::took(self.took);
        if self.counts == Counts::default() {
            format!("{}: {took}", self.name)
        } else {
            format!("{}: {}, {took}", self.name, self.counts)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_of_a_step_is_one_failure_and_the_next_step_still_runs() {
        let report = Report::default();
        report.step("first", || anyhow::bail!("broken"));
        report.prepare("second", || Ok(()));
        report.check("third", || Ok(()));
        assert_eq!(report.counts(), Counts { passed: 1, failed: 1, skipped: 0 });
        let table = report.table(Duration::from_secs(1));
        let names: Vec<_> =
            table.lines().skip(1).map(|line| line.split_whitespace().last().unwrap()).collect();
        assert_eq!(names, ["first", "second", "third", "parallel)"]);
    }

    #[test]
    fn filter_that_matches_nothing_is_an_error() {
        let report = Report::default();
        report.step("tests", || Ok(Counts::default()));
        let why = report.close(Instant::now(), Some("tpyo")).unwrap_err().to_string();
        assert!(why.contains("tpyo"), "{why}");
    }

    #[test]
    fn parallel_steps_are_marked() {
        let report = Report::default();
        report.parallel("a", || Ok(Counts::PASSED));
        assert!(report.table(Duration::ZERO).contains("  + a\n"), "{}", report.table(Duration::ZERO));
    }
}
