//! Records about the stream itself: what it was made with, what it lost, how it ended.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;

use crate::clock::Timestamp;
use crate::enrich::geo::DatabaseInfo;

/// Payload of `start`, `reload`, `stats`, `loss`, `warning` and `stop` records, under `tracer`.
#[derive(Debug, Default, Serialize, JsonSchema)]
pub struct StreamObject<'a> {
    /// Version of the program: `start`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<&'static str>,
    /// Kernel and architecture it runs on: `start`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<HostObject<'a>>,
    /// What was asked for: `start`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub config: Option<ConfigObject<'a>>,
    /// How each capability is got on this kernel: `start`.
    #[serde(skip_serializing_if = "<[CapabilityObject]>::is_empty")]
    pub capabilities: &'a [CapabilityObject],
    /// Geo databases in use, most important first: `start` and `reload`.
    #[serde(skip_serializing_if = "<[DatabaseInfo]>::is_empty")]
    pub geo: &'a [DatabaseInfo],
    /// Number of packages known by uid: `start` and `reload`, on Android.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub packages: Option<usize>,
    /// A sentence for a person: `warning`, `stop`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<&'a str>,
    /// What was lost since the last `loss` record, by place: `loss`; over the whole stream: `stats` and `stop`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lost: Option<LostObject>,
    /// Counts over the whole stream: `stats` and `stop`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub totals: Option<TotalsObject>,
    /// How full the flow table is: `stats`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub flows: Option<FlowsObject>,
    /// What was noticed, each thing with its latest figures: `stop`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub findings: Vec<FindingObject<'a>>,
    /// Where what is seen is kept: `start`; and how far: `stats` and `stop`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ledger: Option<LedgerObject>,
    /// Findings for which there was no room; their flags stand in the records all the same: `stop`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub findings_left_out: Option<u64>,
    /// Resident memory of this process, KiB: `stats`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_kib: Option<u64>,
    /// What each program in the kernel cost, where the kernel keeps statistics (`kernel.bpf_stats_enabled`): `stats`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub hooks: Vec<HookObject>,
}

/// The file in which what is seen is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct LedgerObject {
    pub path: String,
    /// Apps and destinations that are known.
    pub apps: usize,
    pub destinations: usize,
    /// `seq` of the last record of this stream of which everything is in the file, and stays there however the program ends.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub booked_seq: Option<u64>,
}

/// A finding at the end of a stream: the members that its `alert` record had, with the latest figures.
#[derive(Clone, Copy, Debug, Serialize, JsonSchema)]
pub struct FindingObject<'a> {
    pub rule: super::RuleObject<'a>,
    pub alert: super::AlertObject<'a>,
}

/// The flow table.
#[derive(Clone, Copy, Debug, Serialize, JsonSchema)]
pub struct FlowsObject {
    /// Connections in the table.
    pub open: usize,
    /// Connections that fit.
    pub most: usize,
    /// Connections that had to make room so far.
    pub evicted: u64,
}

/// One program in the kernel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct HookObject {
    pub name: &'static str,
    /// How often it ran.
    pub runs: u64,
    /// How long all that took, nanoseconds.
    pub run_ns: u64,
}

#[derive(Debug, Serialize, JsonSchema)]
pub struct HostObject<'a> {
    /// `uname -r`.
    pub kernel: &'a str,
    /// `uname -m`.
    pub architecture: &'a str,
    /// First 32 bits of the kernel's boot id: the first half of every `flow.id`.
    pub boot: &'a str,
}

#[derive(Debug, Default, Serialize, JsonSchema)]
pub struct ConfigObject<'a> {
    /// Home countries, from `--home`.
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    pub home: &'a [String],
    pub include_loopback: bool,
    pub android_root: &'a str,
    /// Flows watched at the same time before the oldest is given up.
    pub max_flows: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub duration_ms: Option<u64>,
    /// How often open connections are looked at. Absent: never.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sample_ms: Option<u64>,
    /// How long a finding that goes on is not told again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quiet_ms: Option<u64>,
    /// How many times faster than it did time passed for judging. Absent: it passed as it did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time_scale: Option<u32>,
    /// Names and addresses are hashes.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub redacted: bool,
}

/// How one capability is got.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct CapabilityObject {
    pub capability: &'static str,
    /// The way in use. Absent when there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tier: Option<&'static str>,
    /// Better ways that this kernel or device refused, each with its reason.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub refused: Vec<RefusedTier>,
    /// What the chosen way cannot see.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub limits: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct RefusedTier {
    pub tier: &'static str,
    pub reason: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
}

/// Exact counts of what did not reach the stream.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct LostObject {
    /// Events that found the kernel's ring buffer full, by kind.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub kernel: BTreeMap<&'static str, u64>,
    /// Runs of a program that the kernel left out, because another one ran on the same processor, by program.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub missed: BTreeMap<&'static str, u64>,
    /// Events that could not be read, by reason.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub decode: BTreeMap<&'static str, u64>,
    /// Records that a slow reader of the output left no room for, by kind.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub output: BTreeMap<&'static str, u64>,
    /// Of a recorded stream that is replayed: records that are missing in it, as gaps in `seq` show, and lines that are none.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub capture: BTreeMap<&'static str, u64>,
}

impl LostObject {
    #[must_use]
    pub fn is_empty(&self) -> bool {
        [&self.kernel, &self.missed, &self.decode, &self.output, &self.capture]
            .iter()
            .all(|lost| lost.is_empty())
    }
}

/// Counts over the whole stream, by kind. For every kind
/// `kernel_events = records + not_shown + lost.kernel + lost.output`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct TotalsObject {
    /// Records of connections that were handed to the output; `evicted`, `existing`, `sample` and `unseen` ones have no kernel event behind them.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub records: BTreeMap<&'static str, u64>,
    /// Events that the programs reported, lost ones included. `listen` events give no record.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub kernel_events: BTreeMap<&'static str, u64>,
    /// Events left out by `--uid`, `--app` or `--events`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub not_shown: BTreeMap<&'static str, u64>,
    /// Connections from and to loopback addresses, left out without `--include-loopback`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub loopback: BTreeMap<&'static str, u64>,
    /// CPU time this process used, milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_ms: Option<u64>,
    /// Time since the first record.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
}
