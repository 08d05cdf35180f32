//! From a configuration to a running [`Session`]: look, open, load, attach, say so.

use std::io::{self, IsTerminal};

use super::census::Census;
use super::session::Session;
use crate::cli::FormatArg;
use crate::clock::Clock;
use crate::commands::{self, geo_or_usage};
use crate::config::{Config, LedgerChoice};
use crate::enrich::Enricher;
use crate::enrich::app::AppTable;
use crate::enrich::process::{self, ProcessTable};
use crate::enrich::tags::TagMap;
use crate::failure::Failure;
use crate::flow::FlowTable;
use crate::judge::{Expectations, Judge};
use crate::kernel::attach::{self, Attached, Settings};
use crate::kernel::features::Features;
use crate::kernel::plan::{self, AttachResult};
use crate::ledger::Keeper;
use crate::memory;
use crate::names::cache::Names;
use crate::pipeline::{Hearing, Lines, Pipeline, Stages};
use crate::record::{
    Action, CapabilityObject, ConfigObject, HostObject, Method, PlaceCache, StreamObject, WhoCache,
};
use crate::redact::Redactor;
use crate::sink::output::Output;
use crate::sink::{Format, Pretty};
use crate::tally::Tally;

/// Starts watching and writes the `start` record.
pub fn start(config: &Config) -> Result<Session, Failure> {
    let started = Clock::wall();
    let features = Features::detect();
    refuse_obstacles(&features)?;
    let (geo, mut warnings) = geo_or_usage(&config.geo)?;
    let (expectations, more) =
        Expectations::load(config.home.clone(), &config.judge_files).map_err(Failure::usage)?;
    warnings.extend(more);
    let file = commands::open_output(config.output.as_deref())?;
    let (apps, app_warnings) = AppTable::load(&config.android_root, config.android_root_given);
    warnings.extend(app_warnings);
    let output = Output::start(file)?;
    let look = config.sample.unwrap_or_default();
    let mut judge = Judge::new(expectations, look, config.quiet);
    judge.set_time_scale(config.time_scale);
    let (ledger, more) = open_ledger(&config.ledger, &mut judge)?;
    warnings.extend(more);
    // Last, so that the ring is read from the first event on.
    let (attached, mut capabilities) = attach(&features, config)?;

    let tags = TagMap::open(&config.android_root);
    capabilities.push(plan::on_behalf_of(tags.as_ref().err()));
    let enricher =
        Enricher { apps, processes: ProcessTable::new(process::DEFAULT_CAPACITY), geo, tags: tags.ok() };
    let stages = Stages {
        enricher,
        judge,
        filter: config.filter.clone(),
        boot: features.boot.clone(),
        lines: Lines::new(format(config)),
        who: WhoCache::default(),
        places: PlaceCache::default(),
        names: config.names.then(Names::default),
        redactor: config.redact.then(Redactor::new).transpose()?,
        not_shown: Tally::default(),
    };
    let has_udp = attached.udp.flows.is_some();
    let tcp = attached.tcp.method();
    let flows = FlowTable::new(config.max_flows).listing_udp(!has_udp).seeing_tcp_by(tcp);
    let pipeline = Pipeline { flows, hearing: Hearing::default(), stages };
    let databases = pipeline.stages.enricher.geo.databases().to_vec();
    let packages = pipeline.stages.enricher.apps.package_count();
    let mut session = Session::new(attached, pipeline, output, ledger, started, config);
    let ledger = session.ledger();
    let android_root = config.android_root.display().to_string();
    session.report(
        Action::Start,
        StreamObject {
            version: Some(env!("CARGO_PKG_VERSION")),
            host: Some(HostObject {
                kernel: &features.kernel,
                architecture: &features.architecture,
                boot: &features.boot,
            }),
            config: Some(ConfigObject {
                home: &config.home,
                include_loopback: config.include_loopback,
                android_root: &android_root,
                max_flows: config.max_flows,
                duration_ms: config.duration.and_then(|duration| u64::try_from(duration.as_millis()).ok()),
                sample_ms: config.sample.and_then(|sample| u64::try_from(sample.as_millis()).ok()),
                quiet_ms: u64::try_from(config.quiet.as_millis()).ok(),
                time_scale: (config.time_scale != 1).then_some(config.time_scale),
                redacted: config.redact,
            }),
            capabilities: &capabilities,
            geo: &databases,
            packages,
            ledger,
            message: Some(match (tcp, has_udp) {
                (Method::SockDiag, true) => "watching UDP flows, and the list of TCP sockets",
                (Method::SockDiag, false) => "watching the list of sockets",
                (_, true) => "watching TCP connections and UDP flows",
                (_, false) => "watching TCP connections, and the list of UDP sockets",
            }),
            ..StreamObject::default()
        },
    );
    session.warn(&warnings);
    session.compare(Census::take(), true);
    memory::give_back_files();
    Ok(session)
}

fn refuse_obstacles(features: &Features) -> Result<(), Failure> {
    let obstacles = plan::obstacles(features);
    if obstacles.is_empty() {
        return Ok(());
    }
    Err(Failure::Unsupported(
        obstacles.into_iter().map(|obstacle| (obstacle.what, obstacle.remedy)).collect(),
    ))
}

fn attach(features: &Features, config: &Config) -> Result<(Attached, Vec<CapabilityObject>), Failure> {
    let settings = Settings {
        include_loopback: config.include_loopback,
        ring_size: config.ring_size,
        hooks: config.hooks.clone(),
        names: config.names,
    };
    let root = features.cgroup_root.as_ref().map_err(|reason| Failure::usage(reason.clone()))?;
    let attached = attach::attach(features, root, &settings).map_err(|error| {
        Failure::Unsupported(vec![(attach::causes(&error), plan::refusal_remedy(&error, features))])
    })?;
    let capabilities = plan::capabilities(features, &AttachResult::of(&attached));
    Ok((attached, capabilities))
}

fn format(config: &Config) -> Format {
    match config.format {
        FormatArg::Jsonl => Format::Jsonl,
        FormatArg::Pretty => {
            let wants_colour = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
            let colour = wants_colour && config.output.is_none() && io::stdout().is_terminal();
            Format::Pretty(Pretty { colour })
        }
    }
}

/// Opens the ledger. The usual one is left out where it cannot be used: the records are worth more than it.
fn open_ledger(
    choice: &LedgerChoice,
    judge: &mut Judge,
) -> Result<(Option<Keeper>, Option<String>), Failure> {
    match choice {
        LedgerChoice::None => Ok((None, None)),
        LedgerChoice::Given(path) => {
            let (keeper, warning) = Keeper::open(path, judge)?;
            Ok((Some(keeper), warning))
        }
        LedgerChoice::Usual(path) => Ok(match Keeper::open(path, judge) {
            Ok((keeper, warning)) => (Some(keeper), warning),
            Err(error) => {
                (None, Some(format!("{error}; nothing is kept, and nothing is known of earlier runs")))
            }
        }),
    }
}
