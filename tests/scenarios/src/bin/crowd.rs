//! Writes a capture of many connections of many apps, for measuring: `crowd CONNECTIONS > capture.jsonl`.

use std::io::{self, Write};
use std::net::Ipv4Addr;
use std::path::Path;

use anyhow::{Context, Result};
use tracer_tests_scenarios::stage::Place;
use tracer_tests_scenarios::story::{App, Server, Story};

/// Of tests/golden/android/15: two apps, a shared uid, the system, and a second user among them.
const UIDS: [u32; 9] = [10123, 10023, 10031, 10151, 10140, 10007, 1000, 1_010_123, 1001];
/// Connections that are open at the same time, about.
const AT_ONCE: u64 = 200;
/// Written at a time.
const PIECE: u64 = 10_000;

fn main() -> Result<()> {
    let connections: u64 = std::env::args().nth(1).context("give a number of connections")?.parse()?;
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let place = Place {
        android_root: tests.join("golden/android/15"),
        geo: tests.join("golden/mmdb/made/override.mmdb"),
        home: "SE",
    };
    let mut live = place.begin()?;
    let mut out = io::stdout().lock();
    let mut story = Story::default();
    for number in 0..connections {
        connection(&mut story, number);
        if (number + 1) % PIECE == 0 || number + 1 == connections {
            for event in story.take() {
                live.handle(&event);
            }
            out.write_all(&live.take())?;
        }
    }
    out.write_all(&live.end())?;
    Ok(())
}

fn connection(story: &mut Story, number: u64) {
    let spread = (number % 5_000).wrapping_mul(2_654_435_761);
    let at = 30_000 + number * 40;
    let uid = UIDS[usize::try_from(number).unwrap_or_default() % UIDS.len()];
    let app = App { uid, pid: 2_000 + uid % 1_000, comm: "worker" };
    let [_, _, _, _, a, b, c, d] = spread.to_be_bytes();
    let server = Server { ip: Ipv4Addr::new(20 + a % 60, b, c, d), port: 443 };
    if !number.is_multiple_of(3) {
        let name = format!("host{}.service{}.example", number % 5_000, number % 300);
        story.resolve(at - 60, app, &name, server.ip);
    }
    story.exchange(at, app, server, 700 + spread % 3_000, 5_000 + spread % 90_000, 40 * AT_ONCE);
}
