//! Datagrams: what counting them costs. Storms with the tracer and without it, in turns.
//!
//! Two loads: one flow per storm thread, so that every datagram only adds to its flow, and a new socket for every datagram,
//! so that every datagram begins and ends a flow. Each datagram crosses the hooks twice, out and in.

use std::path::Path;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use super::process::BpfStatistics;
use super::storm::{Gust, Load, Storm, Targets};
use super::summary::Summary;
use super::tools::{Running, Tool};

/// One load, with and without the tracer.
#[derive(Debug, Serialize, Deserialize)]
pub struct DatagramsResult {
    pub load: Load,
    pub datagrams: u64,
    /// Nanoseconds per datagram, sent and received.
    pub bare_ns: Summary,
    pub traced_ns: Summary,
    /// How much longer it takes with the tracer than in the turn before, percent.
    pub slowdown: Summary,
    /// Nanoseconds per datagram in the tracer's programs.
    pub program_ns: f64,
}

/// # Errors
/// When the storm or the tracer fails.
pub fn run(tracer: &Path, load: Load, datagrams: u64, rounds: usize) -> Result<DatagramsResult> {
    let mut storm = Storm::start(Targets::Global)?;
    storm.run_load(load, datagrams / 4, 1)?;
    let (mut bare, mut traced, mut slowdown) = (Vec::new(), Vec::new(), Vec::new());
    let mut program_ns = Vec::new();
    for _ in 0..rounds {
        let before = each(&storm.run_load(load, datagrams, 1)?);
        let running = Running::start(Tool::Tracer, tracer, &mut storm)?;
        let during = each(&storm.run_load(load, datagrams, 1)?);
        running.wait_until_it_rests()?;
        let statistics = BpfStatistics::on()?;
        let programs = running.process.bpf()?;
        let gust = storm.run_load(load, datagrams / 4, 1)?;
        let ns = running.process.bpf()?.ns - programs.ns;
        drop(statistics);
        program_ns.push(ns as f64 / gust.connections.max(1) as f64);
        running.wait_until_it_rests()?;
        running.stop()?;
        bare.push(before);
        traced.push(during);
        slowdown.push((during / before - 1.0) * 100.0);
    }
    let nothing = "nothing was measured";
    Ok(DatagramsResult {
        load,
        datagrams,
        bare_ns: Summary::of(bare).context(nothing)?,
        traced_ns: Summary::of(traced).context(nothing)?,
        slowdown: Summary::of(slowdown).context(nothing)?,
        program_ns: Summary::of(program_ns).context(nothing)?.median,
    })
}

fn each(gust: &Gust) -> f64 {
    gust.wall_ns as f64 / gust.connections.max(1) as f64
}
