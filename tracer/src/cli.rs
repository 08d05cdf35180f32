//! The command line as it is typed, before validation (see [`crate::config`]), and the commands behind it.

use std::ffi::OsString;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::judge::load::{Files, NamedFile};

/// Which app talks to which country, network and service: one JSON line per connection event.
#[derive(Debug, Parser)]
#[command(version, args_conflicts_with_subcommands = true, after_help = EXIT_CODES)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Option<Command>,
    #[command(flatten)]
    pub run: RunArgs,
}

/// A day in less than a tenth of a second.
const MOST_TIME_SCALE: i64 = 1_000_000;

const EXIT_CODES: &str = "Exit codes: 0 done; 1 failed at run time; 2 bad usage or bad input file; \
                          3 not permitted or not supported here (says what is missing and what to do).";

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Stream records until stopped (the default).
    Run(RunArgs),
    /// Print the connections and listening sockets that are open now, and end.
    Snapshot(SnapshotArgs),
    /// Say what this kernel allows, what it refuses, and what to do.
    Doctor(DoctorArgs),
    /// Print the table of apps (Android) or users (Linux) by uid.
    Apps(AppsArgs),
    /// Say where addresses are: scope, country, network.
    Geo(GeoArgs),
    /// Judge recorded streams again, by today's data, services and rules.
    Replay(ReplayArgs),
    /// Make a page of recorded streams for a person: what was noticed, in words, and who talked to whom, where and when.
    Report(ReportArgs),
    /// List the services that are known, explain one, or say which one a host or an address belongs to.
    Services(ServicesArgs),
    /// Ask the ledger: what each app has done with whom, since when, on how many days.
    Ledger(LedgerArgs),
    /// Say that a finding is known and all right: it is not told again until something about it changes.
    Ack(AckArgs),
    /// Print the JSON Schema of the records.
    Schema,
    /// Print completions for a shell.
    Completions { shell: clap_complete::Shell },
    /// Write a manual page of each command into a directory.
    #[command(hide = true)]
    Man { directory: PathBuf },
}

/// Where facts about apps and places come from.
#[derive(Clone, Debug, Args)]
pub struct DataArgs {
    /// Where Android's /data is to be found.
    #[arg(long, value_name = "DIR", help_heading = "Data")]
    pub android_root: Option<PathBuf>,
    /// A geo database (MMDB) beside the built-in one; repeatable. The more specific, then the newer answer wins.
    #[arg(long, value_name = "FILE", help_heading = "Data")]
    pub geo: Vec<PathBuf>,
}

/// What is expected and what is not.
#[derive(Clone, Debug, Args)]
pub struct JudgeArgs {
    /// Countries where connections are expected to go (ISO 3166-1 alpha-2).
    #[arg(long, value_name = "CC", value_delimiter = ',', help_heading = "Judging")]
    pub home: Vec<String>,
    /// More services, in the form of data/services.toml; repeatable.
    #[arg(long, value_name = "FILE", help_heading = "Judging")]
    pub services: Vec<PathBuf>,
    /// A list of hosts (hosts file, or a domain on each line); destinations on it get its name in `lists`. Repeatable.
    #[arg(long, value_name = "NAME=FILE", help_heading = "Judging")]
    pub list: Vec<NamedFile>,
    /// Rules beside the built-in ones (docs/rules.md); repeatable.
    #[arg(long, value_name = "FILE", help_heading = "Judging")]
    pub rules: Vec<PathBuf>,
}

impl JudgeArgs {
    /// The files among them.
    #[must_use]
    pub fn files(&self) -> Files {
        Files { services: self.services.clone(), lists: self.list.clone(), rules: self.rules.clone() }
    }
}

#[derive(Clone, Debug, Args)]
pub struct RunArgs {
    /// Only connections of this uid; repeatable.
    #[arg(long, value_name = "N")]
    pub uid: Vec<u32>,
    /// Only connections of packages that match (`*`, `?`); repeatable.
    #[arg(long, value_name = "GLOB")]
    pub app: Vec<String>,
    /// Only these actions; or, as +dns or +named, these beside the usual ones.
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    pub events: Vec<EventChoice>,
    /// Do not look for names, in the kernel neither: no payload at all is looked at.
    #[arg(long)]
    pub no_names: bool,
    /// Write names and addresses as hashes with a key of this run only, so that the records can be shared. Nothing is kept in the
    /// ledger then.
    #[arg(long)]
    pub redact: bool,
    /// Also connections to loopback addresses.
    #[arg(long)]
    pub include_loopback: bool,
    /// How records are written.
    #[arg(long, value_enum, default_value_t = FormatArg::Jsonl)]
    pub format: FormatArg,
    /// Write records to this file instead of standard output.
    #[arg(long, short, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Stop by itself after this time, e.g. `20s`, `5m`.
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    pub duration: Option<Duration>,
    /// Connections watched at the same time before the longest silent one is given up.
    #[arg(long, value_name = "N", default_value_t = crate::flow::table::DEFAULT_CAPACITY)]
    pub max_flows: usize,
    /// How often connections that are open are looked at, e.g. `60s`; what grew gives `sample` records. `0s`: never.
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = humantime::parse_duration)]
    pub sample: Duration,
    /// How often figures about the stream are written while something happens (`stats` records; SIGUSR1 asks for one).
    /// `0s`: never.
    #[arg(long, value_name = "TIME", default_value = "5m", value_parser = humantime::parse_duration)]
    pub stats: Duration,
    /// How long a UDP flow may be silent until it counts as ended; its socket may stay open.
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = humantime::parse_duration)]
    pub udp_idle: Duration,
    /// Kinds of hooks that may be used: cgroup, kprobe, tracepoint; or, as no-kprobe or no-sock_ops, that may not.
    /// no-btf: find the kernel's fields by calibration, as on kernels without type information. Each `start` record says
    /// what was used.
    #[arg(long, value_name = "LIST", value_delimiter = ',', help_heading = "Kernel")]
    pub hooks: Vec<crate::kernel::hooks::HookChoice>,
    /// Size of the kernel's ring buffer in KiB (rounded up to a power of two).
    #[arg(long, value_name = "KIB", default_value_t = crate::config::DEFAULT_RING_KIB)]
    pub ring_size: u32,
    /// How long a finding that goes on is not told again.
    #[arg(long, value_name = "TIME", default_value = "24h", value_parser = humantime::parse_duration, help_heading = "Judging")]
    pub quiet: Duration,
    /// Keep what is seen in this file (created if need be), and go on from what is in it. Without this: /data/local/tmp/tracer.db on
    /// Android, elsewhere tracer/tracer.db in the user's state directory.
    #[arg(long, value_name = "FILE", conflicts_with = "redact", help_heading = "Judging")]
    pub ledger: Option<PathBuf>,
    /// How long changes gather until they are written into the ledger: what a killed process loses at most.
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = humantime::parse_duration, help_heading = "Judging")]
    pub ledger_every: Duration,
    /// Keep nothing, and know nothing of earlier runs.
    #[arg(long, conflicts_with = "ledger", help_heading = "Judging")]
    pub no_ledger: bool,
    /// For tests: judging sees time pass so many times as fast.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=MOST_TIME_SCALE), hide = true)]
    pub time_scale: u32,
    #[command(flatten)]
    pub judge: JudgeArgs,
    #[command(flatten)]
    pub data: DataArgs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum FormatArg {
    /// One JSON object per line.
    Jsonl,
    /// One aligned line per connection.
    Pretty,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum EventArg {
    Connect,
    Established,
    Failed,
    Accept,
    Close,
    Existing,
    Sample,
    Named,
    Dns,
    Alert,
}

/// One word of `--events`: an action, with `+` beside the usual ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventChoice {
    pub event: EventArg,
    pub is_added: bool,
}

impl FromStr for EventChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, is_added) = text.strip_prefix('+').map_or((text, false), |name| (name, true));
        let event = EventArg::from_str(name, false).map_err(|_| {
            let names = EventArg::value_variants().iter().filter_map(ValueEnum::to_possible_value);
            let names: Vec<String> = names.map(|value| value.get_name().to_owned()).collect();
            format!("give one of {}, or + and one of these", names.join(", "))
        })?;
        Ok(Self { event, is_added })
    }
}

#[derive(Debug, Args)]
pub struct SnapshotArgs {
    /// As records, one JSON object per line.
    #[arg(long)]
    pub json: bool,
    /// Also connections to loopback addresses.
    #[arg(long)]
    pub include_loopback: bool,
    #[command(flatten)]
    pub judge: JudgeArgs,
    #[command(flatten)]
    pub data: DataArgs,
}

#[derive(Debug, Args)]
pub struct DoctorArgs {
    /// As one JSON object.
    #[arg(long)]
    pub json: bool,
    /// As for `run`: try with these kinds of hooks only.
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    pub hooks: Vec<crate::kernel::hooks::HookChoice>,
}

#[derive(Debug, Args)]
pub struct AppsArgs {
    /// As JSON lines.
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub data: DataArgs,
}

#[derive(Debug, Args)]
pub struct ReplayArgs {
    /// Recorded streams, in the order in which they were recorded; `-` is standard input.
    #[arg(required_unless_present = "diff", value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// Instead of records, say what is new, gone or changed from one capture to the other.
    #[arg(long, num_args = 2, value_names = ["BEFORE", "AFTER"], conflicts_with_all = ["files", "events"])]
    pub diff: Vec<PathBuf>,
    /// The differences as JSON lines.
    #[arg(long)]
    pub json: bool,
    /// Only records with these actions, e.g. `alert`.
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    pub events: Vec<EventArg>,
    /// Write to this file instead of standard output.
    #[arg(long, short, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// How long a finding that goes on is not told again; else what each stream says, else 24h.
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration, help_heading = "Judging")]
    pub quiet: Option<Duration>,
    /// For tests, as of `run`; else what each stream says.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=MOST_TIME_SCALE), hide = true)]
    pub time_scale: Option<u32>,
    /// Book what the streams say in this ledger (created if need be), and judge by what is in it. What it has booked of a stream
    /// before is not booked again.
    #[arg(long, value_name = "FILE", conflicts_with = "diff", help_heading = "Judging")]
    pub ledger: Option<PathBuf>,
    /// How long changes gather until they are written into the ledger.
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = humantime::parse_duration, help_heading = "Judging")]
    pub ledger_every: Duration,
    #[command(flatten)]
    pub judge: JudgeArgs,
    #[command(flatten)]
    pub data: DataArgs,
}

#[derive(Debug, Args)]
pub struct LedgerArgs {
    /// What each line is about.
    #[arg(value_enum, default_value_t = LedgerSubject::App)]
    pub by: LedgerSubject,
    /// Only apps with this in their name.
    #[arg(long, value_name = "PART")]
    pub app: Option<String>,
    /// Only this country (ISO 3166-1 alpha-2).
    #[arg(long, value_name = "CC")]
    pub country: Option<String>,
    /// Only this service, by its id.
    #[arg(long, value_name = "ID")]
    pub service: Option<String>,
    /// Only what was seen for the first time since then, the newest first: `7d`, or `2026-11-20`, or an RFC 3339 time.
    #[arg(long, value_name = "WHEN")]
    pub new_since: Option<String>,
    /// At most so many lines.
    #[arg(long, value_name = "N")]
    pub limit: Option<usize>,
    /// As JSON lines.
    #[arg(long)]
    pub json: bool,
    /// Another ledger than the usual one.
    #[arg(long, value_name = "FILE")]
    pub ledger: Option<PathBuf>,
}

/// What a line of `tracer ledger` is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LedgerSubject {
    App,
    Country,
    Service,
    /// One app and one of its destinations.
    Destination,
    /// What was noticed, with the keys that `tracer ack` takes.
    Finding,
    /// The ledger itself.
    File,
}

#[derive(Debug, Args)]
pub struct AckArgs {
    /// Keys of findings, as in `alert.key` and in `tracer ledger finding`.
    #[arg(value_name = "KEY", required = true)]
    pub keys: Vec<String>,
    /// Take it back: tell of it again.
    #[arg(long)]
    pub undo: bool,
    /// Another ledger than the usual one.
    #[arg(long, value_name = "FILE")]
    pub ledger: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub struct ReportArgs {
    /// Recorded streams, in the order in which they were recorded; `-` is standard input. Or one ledger.
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// Write the report to this file instead of standard output.
    #[arg(long, short, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// What the report is.
    #[arg(long, value_enum, default_value_t = ReportFormat::Html)]
    pub format: ReportFormat,
    /// What stands at its top.
    #[arg(long, value_name = "TEXT")]
    pub title: Option<String>,
    /// How long a finding that goes on is not told again; else what each stream says, else 24h.
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration, help_heading = "Judging")]
    pub quiet: Option<Duration>,
    #[command(flatten)]
    pub judge: JudgeArgs,
    #[command(flatten)]
    pub data: DataArgs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ReportFormat {
    /// One page that asks no server for anything.
    Html,
    /// Text for tickets and notes.
    Markdown,
}

#[derive(Debug, Args)]
pub struct ServicesArgs {
    #[command(subcommand)]
    pub command: Option<ServicesCommand>,
    /// Only services whose id, name or owner has this in it; one that is left is explained.
    #[arg(value_name = "WORD")]
    pub word: Option<String>,
    /// As JSON lines.
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub judge: JudgeArgs,
}

#[derive(Debug, Subcommand)]
pub enum ServicesCommand {
    /// Say which service hosts or addresses belong to.
    Check(CheckArgs),
}

#[derive(Debug, Args)]
pub struct CheckArgs {
    /// A host, an address, or either with a port: `mtalk.google.com:5228`, `[2001:db8::1]:443`.
    #[arg(required = true, value_name = "HOST|IP:PORT")]
    pub targets: Vec<String>,
    /// The app that connects.
    #[arg(long, value_name = "PACKAGE")]
    pub app: Option<String>,
    /// As JSON lines.
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub judge: JudgeArgs,
    #[command(flatten)]
    pub data: DataArgs,
}

#[derive(Debug, Args)]
pub struct GeoArgs {
    /// Addresses, IPv4 or IPv6.
    #[arg(required = true, value_name = "IP")]
    pub addresses: Vec<std::net::IpAddr>,
    #[command(flatten)]
    pub data: DataArgs,
}

/// Parses the command line; prints help, version or a usage error and exits by itself.
#[must_use]
pub fn parse(args: impl IntoIterator<Item = OsString>) -> Cli {
    Cli::parse_from(args)
}
