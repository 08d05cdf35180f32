//! Beats that a ledger stored: what is damaged is refused, and what is not goes on without ever making no number.

use tracer::judge::cadence::{Beats, Growth, Growths};

/// Bytes as they are in a ledger; also with a checksum that is right for whatever they are.
pub fn check(bytes: &[u8]) {
    check_one(bytes);
    let (fields, _) = bytes.split_at(bytes.len().saturating_sub(4));
    let sum =
        fields.iter().fold(0x811c_9dc5u32, |sum, byte| (sum ^ u32::from(*byte)).wrapping_mul(0x0100_0193));
    check_one(&[fields, &sum.to_le_bytes()].concat());
}

fn check_one(bytes: &[u8]) {
    check_growths(bytes);
    let Some(mut beats) = Beats::from_bytes(bytes) else { return };
    assert_eq!(beats.to_bytes(), bytes, "not what was stored");
    assert!(bytes.len() <= 1024, "{}", bytes.len());
    assert_sane(&beats);
    let mut at_ms = 1_795_305_600_000;
    for interval_ms in [60_000, 60_000, 1, 59_000, 3_600_000, u64::MAX / 2, 60_000] {
        at_ms += interval_ms;
        beats.connected(at_ms);
        assert_sane(&beats);
        beats.grew(&Growth { at_ms: at_ms + 40_000, silent_ms: 10_000, bytes: 500, packets: 5 }, 60_000);
        beats.grew(&Growth { at_ms: at_ms + 99_000, silent_ms: 100, bytes: 50_000, packets: 50 }, 60_000);
        assert_sane(&beats);
        assert!(Beats::from_bytes(&beats.to_bytes()).is_some(), "what was made of it cannot be stored");
    }
    beats.connected(0);
    assert_sane(&beats);
}

/// Of an open flow: beats, or the few looks before them.
fn check_growths(bytes: &[u8]) {
    let mut growths = Growths::from_bytes(bytes);
    let stored = |growths: &Growths| {
        let mut bytes = Vec::new();
        growths.store(&mut bytes);
        bytes
    };
    if !matches!(growths, Growths::None) {
        assert_eq!(stored(&growths), bytes, "not what was stored");
    }
    for at_ms in [0, 1_795_305_600_000, 1_795_305_660_000, 1, u64::MAX, 1_795_305_720_000, u64::MAX - 1] {
        for (silent_ms, bytes) in [(10_000, 500), (u64::MAX, 50_000)] {
            growths.grew(&Growth { at_ms, silent_ms, bytes, packets: 5 }, 60_000);
            let restored = Growths::from_bytes(&stored(&growths));
            assert_eq!(stored(&restored), stored(&growths), "what was made of it cannot be stored");
        }
    }
}

fn assert_sane(beats: &Beats) {
    let Some(cadence) = beats.cadence() else { return };
    assert!((0.0..=1.0).contains(&cadence.score) && (0.0..=1.0).contains(&cadence.regularity), "{cadence:?}");
    assert!(!cadence.rhythm().is_empty());
}
