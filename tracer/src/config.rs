//! Validated configuration, made from the raw flags.

use std::path::PathBuf;
use std::time::Duration;

use clap::ValueEnum as _;
use wildmatch::WildMatch;

use crate::cli::{EventArg, EventChoice, FormatArg, JudgeArgs, RunArgs};
use crate::enrich::geo;
use crate::failure::Failure;
use crate::judge::load::Files;
use crate::kernel::hooks::Hooks;
use crate::pipeline::Filter;
use crate::record::Action;

/// 2 MiB: some 17,000 events, and 4 MiB of resident memory, since it is mapped twice in a row.
pub const DEFAULT_RING_KIB: u32 = 2048;
/// The kernel takes up to 2 GiB; nobody needs more than this.
const MAX_RING_KIB: u32 = 1 << 20;

/// Every half of this time, the flows are looked at.
const SHORTEST_UDP_IDLE: Duration = Duration::from_secs(1);

/// Everything `run` needs to know.
#[derive(Clone, Debug)]
pub struct Config {
    /// Upper-case ISO 3166-1 alpha-2.
    pub home: Vec<String>,
    /// Services, lists and rules of the user.
    pub judge_files: Files,
    /// How long a finding that goes on is not told again.
    pub quiet: Duration,
    /// How many times faster time passes for judging.
    pub time_scale: u32,
    pub filter: Filter,
    pub include_loopback: bool,
    /// Look for names.
    pub names: bool,
    /// Write names and addresses as hashes.
    pub redact: bool,
    pub format: FormatArg,
    pub output: Option<PathBuf>,
    pub duration: Option<Duration>,
    pub max_flows: usize,
    /// How often open connections are looked at; `None`: never.
    pub sample: Option<Duration>,
    /// How often `stats` records are written; `None`: only on SIGUSR1.
    pub stats: Option<Duration>,
    /// How long a UDP flow is silent until it is over.
    pub udp_idle: Duration,
    /// Which kinds of hooks may be used.
    pub hooks: Hooks,
    /// Bytes, a power of two.
    pub ring_size: u32,
    pub android_root: PathBuf,
    /// `--android-root` was given, so a missing package list is worth a warning.
    pub android_root_given: bool,
    pub geo: Vec<PathBuf>,
    pub ledger: LedgerChoice,
    /// How long changes gather until they are written into it.
    pub ledger_every: Duration,
}

/// Where what is seen is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LedgerChoice {
    /// Nowhere.
    None,
    /// In this file, or not at all: then it is no use to start.
    Given(PathBuf),
    /// In the usual file, if it can be used.
    Usual(PathBuf),
}

impl TryFrom<RunArgs> for Config {
    type Error = Failure;

    fn try_from(args: RunArgs) -> Result<Self, Failure> {
        if args.max_flows == 0 {
            return Err(Failure::usage("--max-flows 0: at least one flow must fit"));
        }
        if !(4..=MAX_RING_KIB).contains(&args.ring_size) {
            let size = args.ring_size;
            return Err(Failure::usage(format!(
                "--ring-size {size}: give a size from 4 to {MAX_RING_KIB} KiB"
            )));
        }
        if args.udp_idle < SHORTEST_UDP_IDLE {
            return Err(Failure::usage(format!(
                "--udp-idle {}: give at least {SHORTEST_UDP_IDLE:?}",
                humantime::format_duration(args.udp_idle)
            )));
        }
        Ok(Self {
            home: home(&args.judge)?,
            judge_files: args.judge.files(),
            quiet: args.quiet,
            time_scale: args.time_scale,
            filter: Filter {
                uids: args.uid,
                apps: args.app.iter().map(|pattern| WildMatch::new(pattern)).collect(),
                actions: Some(actions(&args.events, args.format)),
            },
            include_loopback: args.include_loopback,
            names: !args.no_names,
            redact: args.redact,
            format: args.format,
            output: args.output,
            duration: args.duration,
            max_flows: args.max_flows,
            stats: (!args.stats.is_zero()).then_some(args.stats),
            sample: (!args.sample.is_zero()).then_some(args.sample),
            udp_idle: args.udp_idle,
            hooks: Hooks::new(args.hooks),
            ring_size: args.ring_size.next_power_of_two() << 10,
            android_root_given: args.data.android_root.is_some(),
            android_root: args.data.android_root.unwrap_or_else(|| PathBuf::from("/")),
            geo: args.data.geo,
            ledger_every: args.ledger_every,
            ledger: match args.ledger {
                Some(path) => LedgerChoice::Given(path),
                // Hashes of one run mean nothing to the next one, nor do times that were made to pass faster.
                None if args.no_ledger || args.redact || args.time_scale > 1 => LedgerChoice::None,
                None => LedgerChoice::Usual(crate::ledger::default_place()),
            },
        })
    }
}

/// Which records are wanted: those that were named, or the usual ones, and those that were added.
fn actions(choices: &[EventChoice], format: FormatArg) -> Vec<Action> {
    let named: Vec<_> = choices.iter().filter(|choice| !choice.is_added).map(|choice| choice.event).collect();
    let added = choices.iter().filter(|choice| choice.is_added).map(|choice| choice.event);
    let is_usual = |event: &EventArg| match event {
        EventArg::Dns => false,
        // A person waits for it.
        EventArg::Named => format == FormatArg::Pretty,
        _ => true,
    };
    let usual = EventArg::value_variants().iter().copied().filter(is_usual);
    let chosen: Vec<_> = if named.is_empty() { usual.collect() } else { named };
    chosen.into_iter().chain(added).map(Action::from).collect()
}

/// Checks the codes given with `--home`.
///
/// # Errors
/// Names the code that is none.
pub fn home(args: &JudgeArgs) -> Result<Vec<String>, Failure> {
    args.home.iter().map(|code| country("--home", code)).collect()
}

/// Checks the code of a country.
///
/// # Errors
/// Names the option, and the code that is none.
pub fn country(option: &str, code: &str) -> Result<String, Failure> {
    geo::country(code.trim()).map(|country| country.code.to_owned()).ok_or_else(|| {
        Failure::usage(format!(
            "{option} {code}: not a country code; give ISO 3166-1 alpha-2 codes such as SE or SE,NO"
        ))
    })
}

/// Which records of a replayed stream are wanted; `None`: all, those about the stream included.
#[must_use]
pub fn replayed_actions(named: &[EventArg]) -> Option<Vec<Action>> {
    (!named.is_empty()).then(|| named.iter().copied().map(Action::from).collect())
}

impl From<EventArg> for Action {
    fn from(event: EventArg) -> Self {
        match event {
            EventArg::Connect => Self::Connect,
            EventArg::Established => Self::Established,
            EventArg::Failed => Self::Failed,
            EventArg::Accept => Self::Accept,
            EventArg::Close => Self::Close,
            EventArg::Existing => Self::Existing,
            EventArg::Sample => Self::Sample,
            EventArg::Named => Self::Named,
            EventArg::Dns => Self::Dns,
            EventArg::Alert => Self::Alert,
        }
    }
}
