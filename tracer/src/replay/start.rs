//! What a stream says of itself at its beginning, and what of it counts in replay.

use std::time::Duration;

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::judge::{Judge, QUIET};

/// How often open connections are looked at in streams that do not say so.
pub const USUAL_LOOK: Duration = Duration::from_secs(60);

/// What the user said, which counts more than what a stream says of itself.
#[derive(Clone, Copy, Debug, Default)]
pub struct Given {
    pub home: bool,
    pub quiet: bool,
    pub time_scale: bool,
}

/// `tracer.config` of a `start` record.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Recorded {
    home: Vec<String>,
    sample_ms: Option<u64>,
    quiet_ms: Option<u64>,
    time_scale: Option<u32>,
    redacted: bool,
}

impl Recorded {
    /// Of a `tracer` object; `None`: it says nothing of itself.
    #[must_use]
    pub fn of(tracer: &Value) -> Option<Self> {
        serde_json::from_value(tracer.get("config")?.clone()).ok()
    }

    /// Names and addresses are hashes.
    #[must_use]
    pub fn is_redacted(&self) -> bool {
        self.redacted
    }
}

impl Given {
    /// Judges a stream as it was judged when it was recorded, but for what the user said.
    pub fn apply(self, recorded: Option<&Recorded>, judge: &mut Judge) {
        judge.set_look(recorded.map_or(USUAL_LOOK, |recorded| {
            // One that does not say how often never looked.
            Duration::from_millis(recorded.sample_ms.unwrap_or_default())
        }));
        if !self.home {
            judge.expectations.home = recorded.map(|recorded| recorded.home.clone()).unwrap_or_default();
        }
        if !self.quiet {
            let quiet = recorded.and_then(|recorded| recorded.quiet_ms);
            judge.set_quiet(quiet.map_or(QUIET, Duration::from_millis));
        }
        if !self.time_scale {
            judge.set_time_scale(recorded.and_then(|recorded| recorded.time_scale).unwrap_or(1));
        }
    }
}

/// What the stream is judged by now takes the place of what it was judged by then.
pub fn rewrite(config: &mut Map<String, Value>, judge: &Judge) {
    config.remove("home");
    if !judge.expectations.home.is_empty() {
        config.insert("home".to_owned(), judge.expectations.home.clone().into());
    }
    config.remove("time_scale");
    if judge.time_scale() != 1 {
        config.insert("time_scale".to_owned(), judge.time_scale().into());
    }
    let quiet = u64::try_from(judge.quiet().as_millis()).unwrap_or(u64::MAX);
    config.insert("quiet_ms".to_owned(), quiet.into());
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::judge::Expectations;

    fn judge() -> Judge {
        Judge::new(Expectations::built_in(), USUAL_LOOK, QUIET)
    }

    #[test]
    fn a_stream_is_judged_as_it_says_unless_the_user_says_otherwise() {
        let config = json!({"config": {"home": ["SE"], "quiet_ms": 5000, "time_scale": 7, "other": 1}});
        let recorded = Recorded::of(&config);
        let mut judge = judge();
        Given::default().apply(recorded.as_ref(), &mut judge);
        assert_eq!(judge.expectations.home, ["SE"]);
        assert_eq!((judge.time_scale(), judge.quiet()), (7, Duration::from_secs(5)));
        let mut config = Map::new();
        rewrite(&mut config, &judge);
        assert_eq!(Value::from(config), json!({"home": ["SE"], "quiet_ms": 5000, "time_scale": 7}));
        let mut own = self::judge();
        own.set_time_scale(3);
        Given { home: true, quiet: true, time_scale: true }.apply(recorded.as_ref(), &mut own);
        assert_eq!((own.expectations.home.len(), own.time_scale(), own.quiet()), (0, 3, QUIET));
    }

    #[test]
    fn what_one_stream_said_is_not_kept_for_the_next_one() {
        let mut judge = judge();
        let recorded = Recorded::of(&json!({"config": {"home": ["SE"], "quiet_ms": 5000, "time_scale": 7}}));
        Given::default().apply(recorded.as_ref(), &mut judge);
        Given::default().apply(Recorded::of(&json!({})).as_ref(), &mut judge);
        assert_eq!((judge.expectations.home.len(), judge.time_scale(), judge.quiet()), (0, 1, QUIET));
    }
}
