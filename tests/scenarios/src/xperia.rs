//! A preinstalled app keeps a push service alive that is meant for China, on a phone in Sweden (Sony Xperia, 2014).
//!
//! Times, hosts, ports and the ladder are those of the reports and of the service's library; addresses are documentation ones.

use std::net::Ipv4Addr;
use std::path::Path;

use tracer::event::Event;

use crate::stage::Place;
use crate::story::{App, Channel, HOUR, MINUTE, Ms, SECOND, Server, Story};

/// When the story ends.
pub const END: Ms = 8 * HOUR;
/// Wi-Fi is left, mobile is taken.
const HANDOVER: Ms = 2 * HOUR;

/// Intervals of the push service's heartbeats: three of each, then the last one for ever.
const LADDER: [Ms; 7] = [180, 300, 360, 420, 540, 720, 900];

const MY_XPERIA: App = App { uid: 10023, pid: 2817, comm: "com.sonymobile.mx" };
const PLAY_SERVICES: App = App { uid: 10011, pid: 1702, comm: "com.google.android.gms" };
const WEATHER: App = App { uid: 10077, pid: 4100, comm: "com.example.weather" };
const MAPS: App = App { uid: 10100, pid: 5210, comm: "com.baidu.BaiduMap" };
const READER: App = App { uid: 10101, pid: 5300, comm: "com.example.reader" };

const API: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 20);
const SOCKET: Server = Server { ip: Ipv4Addr::new(203, 0, 113, 7), port: 5287 };
const GCM: Server = Server { ip: Ipv4Addr::new(198, 51, 100, 5), port: 5228 };
const FORECAST: Server = Server { ip: Ipv4Addr::new(192, 0, 2, 80), port: 443 };

/// One telling of the story.
#[derive(Clone, Copy, Debug)]
pub struct Variant {
    pub home: &'static str,
    /// When the tracer starts.
    pub start: Ms,
    /// Names are asked for where the tracer sees it.
    pub has_names: bool,
    /// Who keeps the channel.
    pub keeper: Keeper,
    /// A second, user-installed app keeps a channel of its own.
    pub has_second_app: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keeper {
    /// Came with the system.
    MyXperia,
    /// Was installed by the user.
    Maps,
}

/// The story as it was reported.
pub const REPORTED: Variant =
    Variant { home: "SE", start: 0, has_names: true, keeper: Keeper::MyXperia, has_second_app: false };

impl Variant {
    /// The phone.
    #[must_use]
    pub fn place(&self) -> Place {
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        Place {
            android_root: here.join("xperia-2014"),
            geo: here.join("../golden/mmdb/made/xperia.mmdb"),
            home: self.home,
        }
    }

    /// What the tracer sees.
    #[must_use]
    pub fn events(&self) -> Vec<Event> {
        let mut story = Story::default();
        let keeper = match self.keeper {
            Keeper::MyXperia => MY_XPERIA,
            Keeper::Maps => MAPS,
        };
        self.push(&mut story, keeper, 18 * SECOND);
        if self.has_second_app {
            self.push(&mut story, READER, 11 * MINUTE);
        }
        self.google(&mut story);
        self.weather(&mut story);
        story.seen(self.start, END)
    }

    fn resolve(&self, story: &mut Story, at: Ms, app: App, name: &str, ip: Ipv4Addr) {
        if self.has_names {
            story.resolve(at, app, name, ip);
        }
    }

    /// The push service: asks where to go, goes there and stays.
    fn push(&self, story: &mut Story, app: App, at: Ms) {
        self.resolve(story, at, app, "api3.tuisong.baidu.com", API);
        story.exchange(at + 400, app, Server { ip: API, port: 443 }, 1_500, 800, 600);
        self.resolve(story, at + SECOND, app, "sa3.tuisong.baidu.com", SOCKET.ip);
        let channel = story.connect(at + 1_300, app, SOCKET);
        climb(story, channel, at + 1_300, HANDOVER);
        story.reset(channel, HANDOVER);
        story.fail(HANDOVER + 3 * SECOND, app, SOCKET);
        let again = HANDOVER + 33 * SECOND;
        self.resolve(story, again - 200, app, "sa3.tuisong.baidu.com", SOCKET.ip);
        let channel = story.connect(again, app, SOCKET);
        climb(story, channel, again, END);
    }

    fn google(&self, story: &mut Story) {
        let at = 21 * SECOND;
        self.resolve(story, at, PLAY_SERVICES, "mtalk.google.com", GCM.ip);
        let channel = story.connect(at + 300, PLAY_SERVICES, GCM);
        // Its own heartbeat, some half an hour.
        let mut beat = at + 28 * MINUTE;
        while beat < END {
            story.beat(channel, beat, 33, 30);
            beat += 28 * MINUTE;
        }
    }

    /// Somebody looks at the weather now and then.
    fn weather(&self, story: &mut Story) {
        for minutes in [7, 19, 64, 71, 133, 210, 222, 341, 398] {
            let at = minutes * MINUTE + 11 * SECOND;
            self.resolve(story, at, WEATHER, "forecast.weather.example", FORECAST.ip);
            story.exchange(at + 200, WEATHER, FORECAST, 900, 14_000, 4 * SECOND);
        }
    }
}

/// Heartbeats on the ladder, each a few bytes both ways.
fn climb(story: &mut Story, channel: Channel, from: Ms, until: Ms) {
    story.beat(channel, from + 200, 310, 90);
    let steps = LADDER.into_iter().flat_map(|seconds| [seconds; 3]).chain(std::iter::repeat(900));
    let mut at = from;
    for seconds in steps {
        at += seconds * SECOND;
        if at >= until {
            break;
        }
        story.beat(channel, at, 26, 18);
    }
}
