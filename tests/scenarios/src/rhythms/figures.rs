//! Counts: of how many streams of each kind each test says that they go by a clock.

use tracer::judge::cadence::{Beats, Cadence};

use super::rita::Given;
use super::{Heard, Kind, LOOK_MS, Path, kinds, rita, variation};

/// From which score on `regular-cadence` holds (data/rules.toml).
pub const HOLDS: f64 = 0.8;
/// RITA's configuration: from 50 % on a beacon is of low severity, from 70 % on of medium, from 90 % on of high.
pub const RITA: [f64; 3] = [0.5, 0.7, 0.9];
/// Beats closer together than this are one for the plain test, too: it is not to fail because of what is easily mended.
const BURST_MS: u64 = 3_000;

/// Who said so of one stream, or of how many streams.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Found {
    pub streams: u32,
    pub tracer: u32,
    /// With [`variation::BEST`] and [`variation::STRICT`].
    pub variation: [u32; 2],
    /// At each of [`RITA`], given the capture so far, and given a day.
    pub rita: [u32; 3],
    pub rita_of_day: [u32; 3],
}

/// One kind, heard one way.
pub struct Row {
    pub kind: &'static Kind,
    pub path: Path,
    pub found: Found,
    /// After how many beats the tracer said so, as a rule: the median of the streams that it found.
    pub after: Option<u32>,
}

impl Found {
    fn plus(self, other: Self) -> Self {
        let sum = |one: &[u32], other: &[u32], at: usize| one[at] + other[at];
        Self {
            streams: self.streams + other.streams,
            tracer: self.tracer + other.tracer,
            variation: std::array::from_fn(|at| sum(&self.variation, &other.variation, at)),
            rita: std::array::from_fn(|at| sum(&self.rita, &other.rita, at)),
            rita_of_day: std::array::from_fn(|at| sum(&self.rita_of_day, &other.rita_of_day, at)),
        }
    }

    /// Of some rows.
    #[must_use]
    pub fn sum<'a>(rows: impl Iterator<Item = &'a Row>) -> Self {
        rows.fold(Self::default(), |sum, row| sum.plus(row.found))
    }
}

/// All kinds, `streams` of each and of each path, shared among `threads`.
#[must_use]
pub fn rows(seed: u64, streams: u32, threads: usize) -> Vec<Row> {
    let mut rows: Vec<Row> = kinds()
        .flat_map(|kind| {
            kind.paths.iter().map(move |path| Row { kind, path: *path, found: Found::default(), after: None })
        })
        .collect();
    let share = rows.len().div_ceil(threads.max(1));
    // Neighbours take about the same time: each thread gets some of everywhere.
    let mut order: Vec<&mut Row> = rows.iter_mut().collect();
    let mut shares: Vec<Vec<&mut Row>> = (0..threads.max(1)).map(|_| Vec::with_capacity(share)).collect();
    for (at, row) in order.drain(..).enumerate() {
        shares[at % threads.max(1)].push(row);
    }
    std::thread::scope(|scope| {
        for share in shares {
            scope.spawn(move || {
                for row in share {
                    row.count(seed, streams);
                }
            });
        }
    });
    rows
}

impl Row {
    fn count(&mut self, seed: u64, streams: u32) {
        let mut after = Vec::new();
        for number in 0..streams {
            let heard = self.kind.stream(self.path, seed, number);
            let noticed = noticed_after(&heard);
            after.extend(noticed);
            self.found = self.found.plus(judged(&heard, noticed.is_some()));
        }
        after.sort_unstable();
        self.after = after.get(after.len() / 2).copied();
    }
}

/// What the tracer knows after each thing that was heard.
pub fn cadences(heard: &Heard) -> impl Iterator<Item = Option<Cadence>> {
    let mut beats = Beats::default();
    let count = match heard {
        Heard::Connects(events) => events.len(),
        Heard::Growth(looks) => looks.len(),
    };
    (0..count).map(move |at| {
        match heard {
            Heard::Connects(events) => beats.connected(events[at].at_ms),
            Heard::Growth(looks) => beats.grew(&looks[at], LOOK_MS),
        }
        beats.cadence()
    })
}

/// After how many beats `regular-cadence` holds for the first time, if it ever does.
#[must_use]
pub fn noticed_after(heard: &Heard) -> Option<u32> {
    cadences(heard).flatten().find(|cadence| cadence.score >= HOLDS).map(|cadence| cadence.beats)
}

/// When something happened, and how large it was: what the tracer takes as beats, so that the others need not tell a download from one.
#[must_use]
pub fn events(heard: &Heard) -> Vec<(u64, u64)> {
    match heard {
        Heard::Connects(events) => events.iter().map(|event| (event.at_ms, event.bytes)).collect(),
        Heard::Growth(looks) => {
            let before = std::iter::once(0).chain(looks.iter().map(|look| look.at_ms));
            let beats = looks
                .iter()
                .zip(before)
                .filter(|(look, before)| !(look.is_much() && look.is_on(*before, LOOK_MS)));
            beats.map(|(look, _)| (look.at_ms - look.silent_ms, look.bytes)).collect()
        }
    }
}

fn judged(heard: &Heard, is_noticed: bool) -> Found {
    let events = events(heard);
    let times = apart(&events);
    let seconds: Vec<_> = events.iter().map(|(at_ms, bytes)| (at_ms / 1000, *bytes)).collect();
    let rita = |given| {
        let highest = rita::highest(&seconds, given);
        RITA.map(|least| u32::from(highest >= least))
    };
    Found {
        streams: 1,
        tracer: u32::from(is_noticed),
        variation: [variation::BEST, variation::STRICT]
            .map(|limits| variation::is_regular(&times, limits).into()),
        rita: rita(Given::Capture),
        rita_of_day: rita(Given::Day),
    }
}

/// The first of each burst.
#[must_use]
pub fn apart(events: &[(u64, u64)]) -> Vec<u64> {
    let mut times: Vec<u64> = Vec::with_capacity(events.len());
    let mut latest = None;
    for (at_ms, _) in events {
        if latest.is_none_or(|latest| at_ms - latest > BURST_MS) {
            times.push(*at_ms);
        }
        latest = Some(*at_ms);
    }
    times
}
