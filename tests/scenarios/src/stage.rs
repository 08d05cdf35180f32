//! The stages of a tracer, without a kernel below them: events in, the lines of a capture out.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Result, ensure};
use tracer::clock::{BootTime, Clock, Timestamp};
use tracer::enrich::Enricher;
use tracer::enrich::app::AppTable;
use tracer::enrich::geo::Geo;
use tracer::enrich::process::{DEFAULT_CAPACITY, ProcessTable};
use tracer::event::Event;
use tracer::flow::{self, FlowTable};
use tracer::judge::{Expectations, Judge, QUIET};
use tracer::names::cache::Names;
use tracer::pipeline::{Filter, Hearing, Lines, Pipeline, Stages};
use tracer::record::{Action, ConfigObject, HostObject, PlaceCache, StreamObject, WhoCache};
use tracer::replay::{Given, Replay, Wanted};
use tracer::sink::Format;
use tracer::tally::Tally;

/// When the device of all stories was switched on: 2026-11-22T06:00:00Z.
const SWITCHED_ON: u64 = 1_795_327_200_000_000_000;
/// First 32 bits of its boot id.
const BOOT: &str = "b6c1e0a4";

/// Where a story happens.
#[derive(Clone, Debug)]
pub struct Place {
    /// Where its package list is.
    pub android_root: PathBuf,
    /// What its addresses are.
    pub geo: PathBuf,
    pub home: &'static str,
}

impl Place {
    fn geo(&self) -> Result<Geo> {
        Ok(Geo::load(std::slice::from_ref(&self.geo), Timestamp(SWITCHED_ON))?.0)
    }

    fn judge(&self) -> Judge {
        Judge::new(
            Expectations { home: self.homes(), ..Expectations::built_in() },
            Duration::from_secs(60),
            QUIET,
        )
    }

    /// What a tracer writes that sees these events.
    ///
    /// # Errors
    /// When the files of the place cannot be read.
    pub fn live(&self, events: &[Event]) -> Result<String> {
        let mut live = self.begin()?;
        events.iter().for_each(|event| live.handle(event));
        Ok(String::from_utf8_lossy(&live.end()).into_owned())
    }

    /// A tracer that waits for events.
    ///
    /// # Errors
    /// When the files of the place cannot be read.
    pub fn begin(&self) -> Result<Live> {
        Ok(Live { pipeline: self.pipeline()?, home: self.homes(), last: None })
    }

    fn homes(&self) -> Vec<String> {
        self.home.split(',').map(str::to_owned).collect()
    }

    /// What comes of a capture in replay.
    ///
    /// # Errors
    /// When the files of the place cannot be read, or a line is no record.
    pub fn replay(&self, capture: &str) -> Result<String> {
        let given = Given { home: true, ..Given::default() };
        let mut replay = Replay::new(self.judge(), self.geo()?, given, Wanted::default());
        for line in capture.lines() {
            replay.take(line.as_bytes())?;
        }
        replay.end_of_file();
        Ok(String::from_utf8_lossy(&replay.out).into_owned())
    }

    fn pipeline(&self) -> Result<Pipeline> {
        let (apps, warnings) = AppTable::load(&self.android_root, true);
        ensure!(warnings.is_empty(), "{warnings:?}");
        let processes = ProcessTable::with_root(Path::new("/nonexistent"), DEFAULT_CAPACITY);
        let stages = Stages {
            enricher: Enricher { apps, processes, geo: self.geo()?, tags: None },
            judge: self.judge(),
            filter: Filter::default(),
            boot: BOOT.to_owned(),
            lines: Lines::new(Format::Jsonl),
            who: WhoCache::default(),
            places: PlaceCache::default(),
            names: Some(Names::default()),
            redactor: None,
            not_shown: Tally::default(),
        };
        let flows = FlowTable::new(flow::table::DEFAULT_CAPACITY);
        Ok(Pipeline { flows, hearing: Hearing::default(), stages })
    }
}

/// A tracer at work.
pub struct Live {
    pipeline: Pipeline,
    home: Vec<String>,
    last: Option<BootTime>,
}

impl Live {
    /// Takes an event; writes the `start` record before the first one.
    pub fn handle(&mut self, event: &Event) {
        let clock = Clock::fixed(SWITCHED_ON);
        if self.last.is_none() {
            self.start(clock.at(event.at));
        }
        self.last = Some(event.at);
        self.pipeline.handle(event, clock);
    }

    fn start(&mut self, at: Timestamp) {
        let config = ConfigObject {
            home: &self.home,
            android_root: "/",
            max_flows: flow::table::DEFAULT_CAPACITY,
            sample_ms: Some(60_000),
            ..ConfigObject::default()
        };
        let geo = self.pipeline.stages.enricher.geo.databases().to_vec();
        let host = HostObject { kernel: "5.10.0", architecture: "aarch64", boot: BOOT };
        let host = Some(host);
        let start = StreamObject { host, config: Some(config), geo: &geo, ..StreamObject::default() };
        self.pipeline.stages.report(Action::Start, at, start);
    }

    /// The lines so far.
    pub fn take(&mut self) -> Vec<u8> {
        self.pipeline.stages.lines.hand_over(std::mem::take).1
    }

    /// The last lines, with the `stop` record.
    #[must_use]
    pub fn end(mut self) -> Vec<u8> {
        let at = Clock::fixed(SWITCHED_ON).at(self.last.unwrap_or_default());
        self.pipeline.stages.report(Action::Stop, at, StreamObject::default());
        self.take()
    }
}
