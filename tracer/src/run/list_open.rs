//! `tracer snapshot`: the sockets that are open now, once, without any program in the kernel.

use std::io::{self, Write};
use std::path::PathBuf;
use std::time::Duration;

use crate::cli::SnapshotArgs;
use crate::clock::Clock;
use crate::commands;
use crate::enrich::Enricher;
use crate::enrich::app::AppTable;
use crate::enrich::process::{self, ProcessTable};
use crate::enrich::tags::TagMap;
use crate::failure::Failure;
use crate::flow::FlowTable;
use crate::judge::{self, Judge};
use crate::kernel::features;
use crate::pipeline::{Filter, Hearing, Lines, Pipeline, Stages};
use crate::record::{PlaceCache, WhoCache};
use crate::sink::{Format, table};
use crate::source::snapshot;
use crate::tally::Tally;

/// Prints the connections that are open, then the sockets that listen.
///
/// # Errors
/// When an input file is bad, or the output does not take it.
pub fn list_open(args: SnapshotArgs) -> Result<(), Failure> {
    let (expectations, more) = commands::expectations(&args.judge)?;
    let (geo, mut warnings) = commands::geo_or_usage(&args.data.geo)?;
    warnings.extend(more);
    let given = args.data.android_root.is_some();
    let root = args.data.android_root.unwrap_or_else(|| PathBuf::from("/"));
    let (apps, more) = AppTable::load(&root, given);
    let tags = TagMap::open(&root).ok();
    warnings.extend(more);
    let stages = Stages {
        enricher: Enricher { apps, processes: ProcessTable::new(process::DEFAULT_CAPACITY), geo, tags },
        judge: Judge::new(expectations, Duration::ZERO, judge::QUIET),
        filter: Filter::default(),
        boot: features::boot(),
        lines: Lines::new(if args.json { Format::Jsonl } else { Format::Table }),
        who: WhoCache::default(),
        places: PlaceCache::default(),
        names: None,
        redactor: None,
        not_shown: Tally::default(),
    };
    let mut pipeline = Pipeline { flows: FlowTable::new(1), hearing: Hearing::default(), stages };

    let clock = Clock::read();
    let taken = Clock::boot();
    let snapshot = snapshot::take();
    warnings.extend(snapshot.failure);
    commands::warn(&warnings);
    let shown = |socket: &&snapshot::Socket| args.include_loopback || !socket.is_loopback();
    let sockets: Vec<_> = snapshot.sockets.iter().filter(shown).collect();
    let mut events = snapshot::events(&sockets, taken);
    // Connections are what most people look for.
    events.reverse();
    let mut out = io::stdout().lock();
    if !args.json {
        out.write_all(table::heading().as_bytes())?;
    }
    for event in &events {
        pipeline.list(event, clock);
    }
    out.write_all(pipeline.stages.lines.bytes())?;
    Ok(())
}
