//! What the steps of a run came to: counts, and a table of steps and times.

use std::{
    process::ExitCode,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use anyhow::Result;

use crate::{counts::Counts, shell};

/// What ran so far. Steps may run beside each other.
#[derive(Default)]
pub struct Report {
    steps: Mutex<Vec<Step>>,
}

struct Step {
    name: String,
    counts: Counts,
    took: Duration,
    is_beside: bool,
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

    /// As [`Self::step`], in a thread of its own beside other steps.
    pub fn beside(&self, name: &str, work: impl FnOnce() -> Result<Counts>) {
        self.run(name, true, work);
    }

    fn run(&self, name: &str, is_beside: bool, work: impl FnOnce() -> Result<Counts>) {
        shell::say(format!("── {name}"));
        let begin = Instant::now();
        let counts = work().unwrap_or_else(|why| {
            shell::say(format!("{name}: {why:#}"));
            Counts::FAILED
        });
        let step = Step { name: name.to_owned(), counts, took: begin.elapsed(), is_beside };
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

    /// Prints the table and the closing line.
    pub fn close(&self, begin: Instant) -> Result<ExitCode> {
        eprintln!("\n{}", self.table(begin.elapsed()));
        let counts = self.counts();
        println!("{counts}");
        Ok(if counts.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }

    /// One line per step, in the order in which they ended. `+`: ran beside others.
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
            let mark = if step.is_beside { "+ " } else { "" };
            row(&format!("{mark}{}", step.name), step.counts, step.took);
        }
        row("all steps; + beside others", self.counts(), all);
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
        assert_eq!(names, ["first", "second", "third", "others"]);
    }

    #[test]
    fn steps_beside_others_are_marked() {
        let report = Report::default();
        report.beside("a", || Ok(Counts::PASSED));
        assert!(report.table(Duration::ZERO).contains("  + a\n"), "{}", report.table(Duration::ZERO));
    }
}
