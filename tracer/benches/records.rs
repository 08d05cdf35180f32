//! From recorded ring-buffer bytes to JSON in memory: how long one event takes, stage by stage.
//!
//! `cargo xtask bench` runs this and reads the one line of JSON that it prints. No kernel takes part: the bytes are
//! made here, as the programs write them, of a phone's mix of apps, processes and addresses. Each stage is measured
//! together with those before it, on the processor's clock of this thread, so that other load matters little; what a
//! stage costs is the difference to the one before.

use std::hint::black_box;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use rustix::time::{ClockId, clock_gettime};
use serde_json::json;
use tracer::clock::Clock;
use tracer::enrich::Enricher;
use tracer::enrich::app::AppTable;
use tracer::enrich::geo::Geo;
use tracer::enrich::process::{DEFAULT_CAPACITY, ProcessTable};
use tracer::event::Event;
use tracer::flow::{self, FlowTable};
use tracer::judge::{Expectations, Judge, QUIET};
use tracer::ledger::Keeper;
use tracer::names::cache::Names;
use tracer::pipeline::{Filter, Hearing, Lines, Pipeline, Stages};
use tracer::record::connection::{News, Position, Said, with_record};
use tracer::record::{PlaceCache, WhoCache};
use tracer::sink::Format;
use tracer::sink::output::FLUSH_BYTES;
use tracer::source::decode::decode;
use tracer::tally::Tally;
use tracer_ebpf::abi::{
    ABI_VERSION, FIN_ACKED, FIN_RECEIVED, Header, Identity, KIND_TCP_CLOSE, KIND_TCP_CONNECT,
    KIND_TCP_ESTABLISHED, KNOWN_ERROR, KNOWN_EXEC, KNOWN_FIN, KNOWN_OWNER, KNOWN_START, KNOWN_TASK,
    KNOWN_TASK_UID, TcpEnd, TcpOpen, TcpReady, Tuple,
};

/// Connections in a recording: three events each.
const FLOWS: u32 = 8_192;
/// Connections that are open at the same time.
const OPEN: usize = 256;
/// Remote addresses.
const ADDRESSES: u32 = 1_024;
/// Processes that connect.
const PROCESSES: u32 = 40;
/// Passes for every figure; the median counts.
const PASSES: u32 = 31;
/// From one connection to the next, nanoseconds.
const APART: u64 = 1_234_567;
/// Kernel time of the first event, nanoseconds since boot.
const BEGIN: u64 = 1_000_000_000_000;

/// What is measured: each includes those before it.
const STAGES: [(&str, Upto); 5] = [
    ("decode", Upto::Decode),
    ("flow", Upto::Flow),
    ("process and app", Upto::Who),
    ("geo and record", Upto::Record),
    ("JSON", Upto::Json),
];

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Upto {
    Decode,
    Flow,
    Who,
    Record,
    Json,
}

fn main() -> anyhow::Result<()> {
    // As the program does.
    tracer::memory::return_large_blocks();
    let root = TempDir::new()?;
    write_procfs(root.path())?;
    let mut pipeline = pipeline(root.path())?;
    let mut everything = Everything::on(root.path())?;
    let mut bytes = 0;
    let mut passes = STAGES.map(|_| Vec::new());
    let mut all = Vec::new();
    // All stages in every round, so that what disturbs the machine for a while disturbs all of them.
    let mut events = 0;
    for round in 0..PASSES {
        // Each recording goes on where the one before ended, as a phone does: the same one again and again would be a rhythm.
        let recording = recording(round * FLOWS);
        events = recording.len();
        for ((_, upto), times) in STAGES.iter().zip(&mut passes) {
            let start = cpu_ns();
            bytes = pass(&mut pipeline, &recording, *upto);
            times.push((cpu_ns() - start) as f64 / recording.len() as f64);
        }
        let start = cpu_ns();
        everything.pass(&recording);
        all.push((cpu_ns() - start) as f64 / recording.len() as f64);
    }
    let mut before = Times::default();
    let mut stages = Vec::new();
    for ((name, _), times) in STAGES.iter().zip(&mut passes) {
        let now = Times::of(times);
        stages.push(json!({
            "stage": name,
            "ns": (now.median - before.median).max(0.0),
            "best_ns": (now.best - before.best).max(0.0),
        }));
        before = now;
    }
    let all = Times::of(&mut all);
    let result = json!({
        "everything_on": {"stage": "all, with a home, names and a ledger", "ns": all.median, "best_ns": all.best},
        "events": events,
        "ns_per_event": before.median,
        "best_ns_per_event": before.best,
        "records_per_second": 1e9 / before.median,
        "bytes_per_record": bytes as f64 / events as f64,
        "stages": stages,
    });
    println!("{result}");
    Ok(())
}

/// A pipeline with everything that can be switched on: a home, names, and a ledger that is handed what changed after each
/// pass. Its own thread writes it; what that costs another core is not on the path of a record.
struct Everything {
    pipeline: Pipeline,
    ledger: Keeper,
}

impl Everything {
    fn on(root: &Path) -> anyhow::Result<Self> {
        let mut pipeline = pipeline(root)?;
        pipeline.stages.names = Some(Names::default());
        let judge = &mut pipeline.stages.judge;
        judge.expectations.home = vec!["SE".to_owned()];
        let (ledger, _) = Keeper::open(&root.join("tracer.db"), judge)?;
        Ok(Self { pipeline, ledger })
    }

    fn pass(&mut self, recording: &[Vec<u8>]) {
        pass(&mut self.pipeline, recording, Upto::Json);
        let judge = &mut self.pipeline.stages.judge;
        if let Some(reply) = self.ledger.poll() {
            self.ledger.take(reply, judge);
        }
        self.ledger.offer(judge);
    }
}

/// Nanoseconds per event.
#[derive(Clone, Copy, Default)]
struct Times {
    median: f64,
    /// The fastest pass: what it costs when nobody shares the processor's core and caches.
    best: f64,
}

impl Times {
    fn of(times: &mut [f64]) -> Self {
        times.sort_by(f64::total_cmp);
        let at = |place: usize| times.get(place).copied().unwrap_or_default();
        Self { median: at(times.len() / 2), best: at(0) }
    }
}

/// Once over a recording; returns the bytes that were rendered.
fn pass(pipeline: &mut Pipeline, recording: &[Vec<u8>], upto: Upto) -> usize {
    let clock = Clock::fixed(1_795_000_000_000_000_000);
    let mut bytes = 0;
    for item in recording {
        let Ok(event) = decode(item) else { continue };
        match upto {
            Upto::Decode => {
                black_box(&event);
            }
            Upto::Json => {
                pipeline.handle(&event, clock);
                if pipeline.stages.lines.bytes().len() >= FLUSH_BYTES {
                    bytes += hand_over(pipeline);
                }
            }
            _ => part(pipeline, &event, clock, upto),
        }
    }
    bytes + hand_over(pipeline)
}

/// Empties the buffer of rendered lines; returns how many bytes were in it.
fn hand_over(pipeline: &mut Pipeline) -> usize {
    pipeline.stages.lines.hand_over(|lines| black_box(lines).len()).1
}

/// The pipeline, but not to its end.
fn part(pipeline: &mut Pipeline, event: &Event, clock: Clock, upto: Upto) {
    let Some(step) = pipeline.flows.track(event) else { return };
    let stages = &mut pipeline.stages;
    if upto >= Upto::Who && step.flow.who.is_none() {
        let identity = step.flow.identity;
        step.flow.process = identity.and_then(|identity| stages.enricher.processes.resolve(&identity));
        step.flow.who = Some(stages.who.of(step.flow, clock, &stages.enricher));
    }
    if upto >= Upto::Record && step.flow.places.is_none() {
        step.flow.places = Some(stages.places.of(&step.flow.tuple, &stages.enricher.geo));
    }
    if upto >= Upto::Record
        && let Some(news) = News::of(&event.what)
    {
        with_record(
            step.flow,
            &news,
            &Position { at: event.at, clock, boot: &stages.boot, seq: 1 },
            &Said::default(),
            |record| {
                black_box(record);
            },
        );
    }
    black_box(step.flow);
}

fn pipeline(root: &Path) -> anyhow::Result<Pipeline> {
    let android = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/golden/android/15");
    let (apps, warnings) = AppTable::load(&android, true);
    anyhow::ensure!(warnings.is_empty(), "{warnings:?}");
    let processes = ProcessTable::with_root(root, DEFAULT_CAPACITY);
    let stages = Stages {
        enricher: Enricher { apps, processes, geo: Geo::built_in()?, tags: None },
        judge: Judge::new(Expectations::built_in(), std::time::Duration::from_secs(60), QUIET),
        filter: Filter::default(),
        boot: "21ddcc29".to_owned(),
        lines: Lines::new(Format::Jsonl),
        who: WhoCache::default(),
        places: PlaceCache::default(),
        names: None,
        redactor: None,
        not_shown: Tally::default(),
    };
    Ok(Pipeline { flows: FlowTable::new(flow::table::DEFAULT_CAPACITY), hearing: Hearing::default(), stages })
}

/// Events of [`FLOWS`] connections from this number on, in the order in which a phone makes them: many are open at a time.
fn recording(first: u32) -> Vec<Vec<u8>> {
    let mut events = Vec::new();
    for number in first..first + FLOWS {
        events.push((u64::from(number) * 3, open(number)));
        events.push((u64::from(number) * 3 + 30, ready(number)));
        events.push((u64::from(number) * 3 + 3 * OPEN as u64, end(number)));
    }
    events.sort_by_key(|&(at, _)| at);
    events.into_iter().map(|(_, event)| event).collect()
}

fn header<T>(kind: u16, number: u32, age: u64) -> Header {
    let len = u32::try_from(size_of::<T>()).unwrap_or_default();
    Header { abi: ABI_VERSION, kind, len, boot_ns: BEGIN + u64::from(number) * APART + age }
}

fn cookie(number: u32) -> u64 {
    0x1000 + u64::from(number)
}

/// The apps of `tests/golden/android/15`, a shared uid, the system, and a second user among them.
fn owner(number: u32) -> u32 {
    const UIDS: [u32; 10] = [10123, 10023, 10031, 10151, 10140, 10007, 1000, 1010123, 1001, 0];
    UIDS.get(number as usize % UIDS.len()).copied().unwrap_or_default()
}

fn pid(number: u32) -> u32 {
    2_000 + number % PROCESSES * 17
}

fn start_ticks(pid: u32) -> u64 {
    5_000 + u64::from(pid)
}

/// Which address is next shows no rhythm: at regular times only apps that go by a clock come back (MurmurHash3's last step).
fn mixed(number: u32) -> u32 {
    let number = (number ^ number >> 16).wrapping_mul(0x85eb_ca6b);
    let number = (number ^ number >> 13).wrapping_mul(0xc2b2_ae35);
    number ^ number >> 16
}

/// Seven of ten to IPv4, two to IPv6, one to the local network.
fn tuple(number: u32) -> Tuple {
    // Knuth's multiplicative hash spreads addresses over the whole space.
    let which = mixed(number) % ADDRESSES;
    let spread = which.wrapping_mul(2_654_435_761).to_be_bytes();
    let [a, b, c, d] = spread;
    let v4 = |a, b, c, d| Ipv4Addr::new(a, b, c, d).to_ipv6_mapped();
    let prefixes = [0x2a00_1450_u32, 0x2a03_2880, 0x2606_4700, 0x2404_6800, 0x2600_9000];
    let prefix = u128::from(prefixes.get(which as usize / 10 % prefixes.len()).copied().unwrap_or_default());
    let (local, remote) = match which % 10 {
        0..7 => (v4(10, 0, 2, 16), v4(11 + a % 80, b, c, d)),
        7..9 => (
            Ipv6Addr::new(0x2001, 0x9e8, 0xab, 1, 0, 0, 0, 0x16),
            Ipv6Addr::from(prefix << 96 | u128::from(u32::from_be_bytes(spread))),
        ),
        _ => (v4(192, 168, 1, 16), v4(192, 168, 1, d)),
    };
    let local_port = 32_768 + u16::try_from(number % 28_000).unwrap_or_default();
    Tuple {
        local: local.octets(),
        remote: remote.octets(),
        local_port,
        remote_port: 443,
        netns: 4_026_531_833,
    }
}

fn open(number: u32) -> Vec<u8> {
    let (pid, uid) = (pid(number), owner(number));
    let mut comm = [0; 16];
    for (to, from) in comm.iter_mut().zip(format!("Thread-{}", number % 20).bytes()) {
        *to = from;
    }
    let identity = Identity {
        // As the kernel's, a little behind the tick that /proc shows.
        start_boot_ns: start_ticks(pid) * 10_000_000 + 1_234,
        exec_id: 7,
        pid,
        tid: pid + 5,
        owner_uid: uid,
        task_uid: uid,
        comm,
        known: KNOWN_OWNER | KNOWN_TASK | KNOWN_TASK_UID | KNOWN_START | KNOWN_EXEC,
        pad: 0,
    };
    let header = header::<TcpOpen>(KIND_TCP_CONNECT, number, 0);
    bytes_of(&TcpOpen { header, cookie: cookie(number), tuple: tuple(number), identity })
}

fn ready(number: u32) -> Vec<u8> {
    bytes_of(&TcpReady {
        header: header::<TcpReady>(KIND_TCP_ESTABLISHED, number, 23_456_789),
        cookie: cookie(number),
        tuple: tuple(number),
        owner_uid: owner(number),
        srtt_us: 23_456,
        known: KNOWN_OWNER,
        pad: 0,
    })
}

fn end(number: u32) -> Vec<u8> {
    bytes_of(&TcpEnd {
        header: header::<TcpEnd>(KIND_TCP_CLOSE, number, 3_456_789_012),
        cookie: cookie(number),
        tuple: tuple(number),
        bytes_received: 12_345,
        bytes_acked: 2_346,
        segs_in: 21,
        segs_out: 17,
        srtt_us: 22_222,
        retransmits: number % 3,
        owner_uid: owner(number),
        error: 0,
        known: KNOWN_OWNER | KNOWN_ERROR | KNOWN_FIN,
        old_state: 5,
        fin: FIN_RECEIVED | FIN_ACKED,
    })
}

/// The bytes of an ABI struct, as the kernel writes them.
fn bytes_of<T>(value: &T) -> Vec<u8> {
    // SAFETY: the ABI structs have no padding (pinned by const assertions), so every byte is initialised.
    unsafe { std::slice::from_raw_parts(std::ptr::from_ref(value).cast::<u8>(), size_of::<T>()).to_vec() }
}

/// What `/proc` shows of the processes: apps forked from a zygote.
fn write_procfs(root: &Path) -> io::Result<()> {
    let zygote = 700;
    write_process(root, zygote, 1, "zygote64", "zygote64")?;
    for number in 0..PROCESSES {
        let name = format!("com.example.messenger{number}:push");
        write_process(root, pid(number), zygote, name.get(..15).unwrap_or(&name), &name)?;
    }
    Ok(())
}

fn write_process(root: &Path, pid: u32, parent: u32, comm: &str, command_line: &str) -> io::Result<()> {
    let directory = root.join(pid.to_string());
    let start = start_ticks(pid);
    std::fs::create_dir(&directory)?;
    let stat = format!("{pid} ({comm}) S {parent} 1 1 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 {start} 0 0\n");
    std::fs::write(directory.join("stat"), stat)?;
    std::fs::write(directory.join("comm"), format!("{comm}\n"))?;
    std::fs::write(directory.join("cmdline"), format!("{command_line}\0"))?;
    symlink("/system/bin/app_process64", directory.join("exe"))
}

/// Processor time of this thread.
fn cpu_ns() -> u64 {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    let seconds = u64::try_from(now.tv_sec).unwrap_or_default();
    seconds * 1_000_000_000 + u64::try_from(now.tv_nsec).unwrap_or_default()
}

/// A directory that is removed in the end.
struct TempDir(PathBuf);

impl TempDir {
    fn new() -> io::Result<Self> {
        let path = std::env::temp_dir().join(format!("tracer-bench-{}", std::process::id()));
        std::fs::create_dir(&path)?;
        Ok(Self(path))
    }

    fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
