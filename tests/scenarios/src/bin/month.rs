//! Writes a capture of a month of many apps, for measuring how large a ledger gets: `month DAYS APPS > capture.jsonl`.

use std::fmt::Write as _;
use std::io::{self, Write};
use std::net::Ipv4Addr;
use std::path::Path;

use anyhow::{Context, Result};
use tracer_tests_scenarios::stage::Place;
use tracer_tests_scenarios::story::{App, HOUR, MINUTE, SECOND, Server, Story};

/// Hosts of each app.
const HOSTS: u64 = 20;
/// Of these, how many it talks to on a day, and how often to each.
const A_DAY: u64 = 12;
const TIMES: u64 = 4;

fn main() -> Result<()> {
    let mut numbers = std::env::args().skip(1).map(|text| text.parse::<u64>().context("give days and apps"));
    let mut number = || numbers.next().context("give days and apps")?;
    let (days, apps) = (number()?, number()?);
    let root = std::env::temp_dir().join(format!("tracer-month-{}", std::process::id()));
    let list = root.join("data/system/packages.list");
    std::fs::create_dir_all(list.parent().context("a list has a directory")?)?;
    std::fs::write(&list, packages(apps)?)?;
    std::fs::write(root.join("data/system/packages.xml"), "<packages></packages>\n")?;
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let place =
        Place { android_root: root.clone(), geo: tests.join("golden/mmdb/made/override.mmdb"), home: "SE" };
    let mut live = place.begin()?;
    let mut out = io::stdout().lock();
    let mut story = Story::default();
    for day in 0..days {
        for app in 0..apps {
            a_day(&mut story, day, app);
        }
        for event in story.take() {
            live.handle(&event);
        }
        out.write_all(&live.take())?;
    }
    out.write_all(&live.end())?;
    std::fs::remove_dir_all(root)?;
    Ok(())
}

fn packages(apps: u64) -> Result<String> {
    let mut list = String::new();
    for app in 0..apps {
        writeln!(
            list,
            "com.example.app{app} {} 0 /data/user/0/com.example.app{app} default:targetSdkVersion=34 3003 0 1 1 com.android.vending",
            10_100 + app
        )?;
    }
    Ok(list)
}

fn a_day(story: &mut Story, day: u64, number: u64) {
    let uid = u32::try_from(10_100 + number).unwrap_or(u32::MAX);
    let app = App { uid, pid: 2_000 + uid % 1_000, comm: "worker" };
    for host in (0..A_DAY).map(|turn| (turn * 7 + day * 5 + number) % HOSTS) {
        let spread = (number * HOSTS + host).wrapping_mul(2_654_435_761);
        let [_, _, _, _, a, b, c, d] = spread.to_be_bytes();
        let server = Server { ip: Ipv4Addr::new(20 + a % 60, b, c, d), port: 443 };
        for time in 0..TIMES {
            let at = day * 24 * HOUR
                + (6 + 4 * time) * HOUR
                + (number * 7 + host * 3) % 60 * MINUTE
                + (spread + time * 17) % 60 * SECOND;
            if host % 4 != 3 {
                story.resolve(at, app, &format!("host{host}.app{number}.example.com"), server.ip);
            }
            story.exchange(at + 100, app, server, 700 + spread % 3_000, 5_000 + spread % 90_000, 9 * SECOND);
        }
    }
}
