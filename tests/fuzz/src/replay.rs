//! Recorded lines: whoever sends a capture chooses every byte of it.

use std::path::Path;
use std::sync::OnceLock;
use std::time::Duration;

use tracer::clock::Timestamp;
use tracer::enrich::geo::Geo;
use tracer::judge::{Expectations, Judge};
use tracer::replay::{Given, Replay, Wanted};

/// Lines go through the judge; what comes out are lines of JSON, the same ones each time, and the same ones whether lines in
/// tracer's own form are read as such or as any JSON.
pub fn check(bytes: &[u8]) {
    let Some(once) = replayed(bytes, false) else { return };
    for line in once.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        let text = std::str::from_utf8(line);
        assert!(text.is_ok(), "{line:?}");
        let is_object = line.starts_with(b"{") && line.ends_with(b"}");
        assert!(is_object, "{text:?}");
    }
    assert_eq!(replayed(bytes, true).as_ref(), Some(&once));
}

fn replayed(bytes: &[u8], takes_any: bool) -> Option<Vec<u8>> {
    static EXPECTATIONS: OnceLock<Expectations> = OnceLock::new();
    let expectations =
        EXPECTATIONS.get_or_init(|| Expectations { home: vec!["SE".to_owned()], ..Expectations::built_in() });
    let geo = Path::new(env!("CARGO_MANIFEST_DIR")).join("../golden/mmdb/made/xperia.mmdb");
    let geo = Geo::load(&[geo], Timestamp(1_795_327_200_000_000_000)).ok()?.0;
    let judge = Judge::new(expectations.clone(), Duration::from_secs(60), Duration::from_secs(3600));
    let mut replay = Replay::new(judge, geo, Given { home: true, ..Given::default() }, Wanted::default());
    if takes_any {
        replay.read_any_form();
    }
    let mut broken = 0_u64;
    for line in bytes.split(|byte| *byte == b'\n') {
        broken += u64::from(replay.take(line).is_err());
    }
    replay.end_of_file();
    assert!(broken == 0 || !replay.out.is_empty(), "what is no record is told of");
    Some(replay.out)
}
