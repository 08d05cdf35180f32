use super::*;

/// 2026-11-22.
const BEGIN: u64 = 1_795_305_600_000;

/// Beats with these intervals in between, in seconds.
fn times(intervals: impl IntoIterator<Item = u64>) -> Vec<u64> {
    let later = intervals.into_iter().scan(BEGIN, |at, interval| {
        *at += interval * 1000;
        Some(*at)
    });
    std::iter::once(BEGIN).chain(later).collect()
}

fn heard(times: &[u64]) -> Beats {
    let mut beats = Beats::default();
    times.iter().for_each(|at| beats.connected(*at));
    beats
}

fn ladder() -> Vec<u64> {
    let steps = [180, 300, 360, 420, 540, 720].into_iter().flat_map(|step| [step; 3]);
    times(steps.chain([900; 20]))
}

#[test]
fn what_was_stored_goes_on_as_if_nothing_had_been() {
    let scattered = times((0..40u64).map(|at| 20 + at * 7919 % 4000));
    for times in [ladder(), times([60; 40]), scattered] {
        let whole = heard(&times);
        for cut in 0..times.len() {
            let mut beats = Beats::from_bytes(&heard(&times[..cut]).to_bytes()).unwrap();
            times[cut..].iter().for_each(|at| beats.connected(*at));
            assert_eq!(beats.cadence(), whole.cadence(), "{cut}");
            assert_eq!(beats.to_bytes(), whole.to_bytes(), "{cut}");
        }
    }
}

#[test]
fn damaged_bytes_are_refused() {
    let bytes = heard(&ladder()).to_bytes();
    assert!(bytes.len() <= 1024, "{}", bytes.len());
    for end in 0..bytes.len() {
        assert!(Beats::from_bytes(&bytes[..end]).is_none(), "{end}");
    }
    for at in 0..bytes.len() {
        for bit in 0..8 {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1 << bit;
            assert!(Beats::from_bytes(&damaged).is_none(), "{at}");
        }
    }
    assert!(Beats::from_bytes(&[bytes.as_slice(), &[0]].concat()).is_none());
}
