//! Shared pieces of the tests: run the tracer, make connections in network namespaces of the test's own, compare.
//!
//! Nothing here knows the tracer from inside: it is started as a program, and judged by what it prints.

// This package is test code from end to end: a step of a test that cannot be done is a failed test.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a failed step is a failed test")]

pub mod actor;
pub mod bpf;
pub mod capture;
pub mod hello;
pub mod live;
pub mod netd;
pub mod netlink;
pub mod netns;
pub mod programs;
pub mod raw;
pub mod record;
pub mod replay;
pub mod scenario;
pub mod schema;
pub mod stream;
pub mod temp;
pub mod tracer;

use std::time::Duration;

/// How long anything may take before the test fails. Generous: the same tests run in emulated guests.
pub const DEADLINE: Duration = Duration::from_secs(60);
