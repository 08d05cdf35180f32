use super::*;

#[test]
fn there_are_enough_kinds_and_all_have_streams() {
    for is_beacon in [true, false] {
        assert!(kinds().filter(|kind| kind.is_beacon == is_beacon).count() >= 12);
    }
    for kind in kinds() {
        for path in kind.paths {
            let events = figures::events(&kind.stream(*path, TUNING, 0));
            assert!(events.is_sorted_by_key(|event| event.0), "{}", kind.name);
            assert!(!kind.is_beacon || events.len() >= 15, "{} {path:?}: {}", kind.name, events.len());
        }
    }
}

#[test]
fn a_seed_gives_the_same_streams_again_and_another_one_others() {
    for kind in kinds() {
        let path = kind.paths[0];
        let stream = |seed, number| figures::events(&kind.stream(path, seed, number));
        assert_eq!(stream(TUNING, 3), stream(TUNING, 3), "{}", kind.name);
        assert_ne!(stream(TUNING, 3), stream(TUNING, 4), "{}", kind.name);
        assert_ne!(stream(TUNING, 3), stream(HELD_OUT, 3), "{}", kind.name);
    }
}
