//! Stories, and what must be said of them.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a failed step is a failed test")]

mod ledger;
mod report;
mod report_of;
mod rhythms;
mod xperia;
