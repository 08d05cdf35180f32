//! A busy afternoon: many apps, many short connections, and some that stay open.

use std::net::Ipv4Addr;

use tracer::event::Event;

use crate::stage::Place;
use crate::story::{App, MINUTE, Ms, SECOND, Server, Story};
use crate::xperia::REPORTED;

/// Three apps of the Xperia story's phone, a system user, and the user's own.
const UIDS: [u32; 5] = [10023, 10011, 10077, 10100, 1000];
/// Of each app: for the whole time.
const CHANNELS: u64 = 3;

/// Where it happens.
#[must_use]
pub fn place() -> Place {
    REPORTED.place()
}

/// What a tracer sees of so many connections in so many milliseconds.
#[must_use]
pub fn afternoon(connections: u64, lasts: Ms) -> Vec<Event> {
    let mut story = Story::default();
    for number in 0..CHANNELS * 5 {
        let app = app(number);
        let server = Server { ip: Ipv4Addr::new(203, 0, 113, 40 + low(number)), port: 5228 };
        let channel = story.connect(20 * SECOND + number * 300, app, server);
        let mut beat = 3 * MINUTE;
        while beat < lasts {
            story.beat(channel, beat + number, 40, 60);
            beat += (3 + number % 7) * MINUTE;
        }
    }
    let every = (lasts - MINUTE) / connections.max(1);
    for number in 0..connections {
        // Spread as chance would, and the same each time.
        let chance = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
        let at = MINUTE + number * every + chance % every.max(1);
        let app = app(chance);
        let server = Server { ip: Ipv4Addr::new(198, 51, 100, low(chance / 5)), port: 443 };
        if chance.is_multiple_of(3) {
            story.resolve(at - 60, app, &format!("host{}.example{}.com", chance % 40, chance % 9), server.ip);
        }
        if chance.is_multiple_of(17) {
            story.fail(at, app, server);
        } else {
            story.exchange(at, app, server, 300 + chance % 4_000, 900 + chance % 70_000, 2 * SECOND);
        }
    }
    story.seen(0, lasts)
}

fn app(number: u64) -> App {
    let uid = UIDS[usize::try_from(number % 5).unwrap_or_default()];
    App { uid, pid: 2_000 + uid % 1_000, comm: "worker" }
}

fn low(number: u64) -> u8 {
    u8::try_from(number % 200).unwrap_or_default()
}
