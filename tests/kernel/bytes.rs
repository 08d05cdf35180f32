//! How much went each way, byte for byte and segment for segment.

use serde_json::Value;
use tracer_tests::actor::Actor;
use tracer_tests::capture::{self, Capture, Frame};
use tracer_tests::netns::Netns;
use tracer_tests::record::{number, text};
use tracer_tests::{live, netlink};

use crate::scene::{Listener, Scene};

/// `(bytes, packets)` of source and destination.
type Volume = [(Option<u64>, Option<u64>); 2];

fn volume(record: &Value) -> Volume {
    ["source", "destination"]
        .map(|end| (number(record, &format!("{end}.bytes")), number(record, &format!("{end}.packets"))))
}

/// What crossed the wire, by the end that sent it.
fn truth(frames: &[Frame], client: u16, mss: u64) -> Volume {
    [true, false].map(|by_client| {
        let sent = frames.iter().filter(|frame| (frame.source.1 == client) == by_client);
        let segments = sent.clone().map(|frame| frame.segments(mss)).sum();
        (Some(capture::payload(sent)), Some(segments))
    })
}

/// As [`truth`], but only what the other end must have counted. Of the payload: what it acknowledged, because a reset does
/// not wait for that. Of the segments: not what was sent again, and of the bare acknowledgements while the connection
/// closes only the last one; they may reach the other processor after the segment that closes the socket.
fn certain(frames: &[Frame], client: u16, mss: u64) -> Volume {
    let acked = |by_client: bool, sent: u64| {
        let is_sender = |frame: &&Frame| (frame.source.1 == client) == by_client;
        // Behind its SYN.
        let start = frames.iter().find(is_sender)?.sequence.wrapping_add(1);
        let mut receiver = frames.iter().filter(|frame| !is_sender(frame) && frame.is_acknowledgement());
        let reached = |frame: &Frame| u64::from(frame.acknowledgement.wrapping_sub(start));
        let furthest = receiver.by_ref().map(reached).max()?;
        // A FIN is acknowledged like a byte.
        Some(sent.min(furthest))
    };
    [true, false].map(|by_client| {
        let sent: Vec<Frame> =
            needed(frames).filter(|frame| (frame.source.1 == client) == by_client).cloned().collect();
        let segments = sent.iter().map(|frame| frame.segments(mss)).sum();
        (acked(by_client, capture::payload(sent.iter())), Some(segments))
    })
}

/// The frames without which the connection would not have come to its end as it did.
fn needed(frames: &[Frame]) -> impl Iterator<Item = &Frame> {
    let closing = frames.iter().position(Frame::is_fin);
    let closing = closing.or_else(|| frames.iter().rposition(|frame| frame.payload > 0));
    frames.iter().enumerate().filter_map(move |(index, frame)| {
        let again = |earlier: &Frame| {
            earlier.source == frame.source
                && earlier.sequence == frame.sequence
                && earlier.takes_sequence_numbers()
        };
        let needed = if frame.takes_sequence_numbers() {
            !frames.iter().take(index).any(again)
        } else {
            closing.is_none_or(|closing| index < closing) || index + 1 == frames.len()
        };
        needed.then_some(frame)
    })
}

/// The frames until the connection is over: a reset, or the acknowledgement of the second FIN. What comes later may
/// meet a socket in TIME-WAIT, which counts nothing (docs/limits.md), or none at all.
fn until_over(frames: &[Frame]) -> &[Frame] {
    let mut fins: Vec<&Frame> = Vec::new();
    let mut acknowledged = 0;
    for (index, frame) in frames.iter().enumerate() {
        if frame.is_fin() && fins.iter().all(|fin| fin.source != frame.source) {
            fins.push(frame);
        }
        // The sender of the first FIN acknowledges the second one, and the other way round.
        for (bit, fin) in fins.iter().enumerate() {
            acknowledged |= usize::from(frame.acknowledges(fin)) << bit;
        }
        if frame.is_reset() || acknowledged == 0b11 {
            return &frames[..=index];
        }
    }
    frames
}

/// Whether a record tells neither less than `least` nor more than `most`. They differ only in what crossed the end.
fn between(volume: Volume, least: Volume, most: Volume) -> bool {
    volume.iter().zip(least).zip(most).all(|((told, least), most)| {
        (least.0..=most.0).contains(&told.0) && (least.1..=most.1).contains(&told.1)
    })
}

/// Runs one exchange over IPv4 and one over IPv6 and compares both ends' records with what crossed the wire.
fn check_exchange(client: &str, server: &str, end: &str) {
    let scene = Scene::new();
    // As on a real wire: the default of 64 KiB hides what segmentation offload does to the counters.
    scene.netns.enter(|| netlink::set_mtu("lo", 1500)).unwrap();
    for (family, at) in [(4, "203.0.113.7:5000"), (6, "[2001:db8::7]:5000")] {
        let capture = Capture::start(&scene.netns).unwrap();
        let mut listener = scene.listen(at, &format!("accept tell {server}"));
        let mut actor = scene.actor(&format!("socket={family} connect={at} tell {client}"));
        let (client, server) = (actor.report(), listener.actor.report());
        actor.done();
        listener.actor.done();
        let records = [scene.expect(&client, "close"), scene.expect(&server, "close")];
        let frames = capture.frames().unwrap();
        let least = certain(until_over(&frames), client.port(), client.get("mss"));
        let most = truth(&frames, client.port(), client.get("mss"));
        for record in &records {
            assert_eq!(text(record, "flow.end"), end, "{record}");
            assert!(between(volume(record), least, most), "{least:?}..={most:?} of {frames:?} in {record}");
        }
    }
    scene.stop();
}

#[test]
fn a_mebibyte_each_way_is_counted_exactly() {
    let _turn = live!();
    check_exchange("send=1048576 recv=1048576 close", "recv=1048576 send=1048576 eof close", "closed");
}

#[test]
fn a_mebibyte_is_counted_exactly_when_the_server_closes_first() {
    let _turn = live!();
    check_exchange("recv=1048576 send=1048576 eof close", "send=1048576 recv=1048576 close", "closed");
}

#[test]
fn nothing_and_one_byte_are_counted_exactly() {
    let _turn = live!();
    check_exchange("shut eof close", "eof close", "closed");
    check_exchange("send=1 shut eof close", "eof close", "closed");
    check_exchange("eof close", "send=1 shut eof close", "closed");
}

#[test]
fn both_directions_of_a_half_closed_connection_are_counted_exactly() {
    let _turn = live!();
    check_exchange("send=1048576 shut eof close", "eof send=300000 close", "closed");
    check_exchange("eof send=70001 close", "send=3 shut eof close", "closed");
}

#[test]
fn a_reset_connection_is_counted_to_its_last_segment() {
    let _turn = live!();
    check_exchange("send=5000 recv=1 linger0 close", "recv=5000 send=1 eof close", "reset");
    check_exchange("send=5000 recv=1 eof close", "recv=5000 send=1 linger0 close", "reset");
    check_exchange("send=5000 eof close", "recv=4999 readable close", "reset");
}

#[test]
fn bytes_that_the_peer_never_read_but_acknowledged_were_sent() {
    let _turn = live!();
    let scene = Scene::new();
    let mut listener = scene.listen("203.0.113.7:5000", "accept tell readable close");
    let client = scene.act("socket=4 connect=203.0.113.7:5000 tell send=777 eof close");
    let server = listener.actor.report();
    for report in [&client, &server] {
        let record = scene.expect(report, "close");
        assert_eq!(number(&record, "source.bytes"), Some(777), "{record}");
        assert_eq!(number(&record, "destination.bytes"), Some(0), "{record}");
    }
    scene.stop();
}

#[test]
fn a_close_before_the_peers_close_counts_what_was_exchanged_until_then() {
    let _turn = live!();
    let scene = Scene::new();
    let mut listener = scene.listen("203.0.113.7:5000", "accept tell eof wait close");
    let client = scene.act("socket=4 connect=203.0.113.7:5000 tell send=5 close");
    let server = listener.actor.report();
    let early = scene.expect(&client, "close");
    assert_eq!((text(&early, "flow.end"), text(&early, "flow.end_by")), ("closed", "local"));
    listener.actor.report();
    listener.actor.go();
    let late = scene.expect(&server, "close");
    assert_eq!((text(&late, "flow.end"), text(&late, "flow.end_by")), ("closed", "remote"));
    // The peer's FIN and its acknowledgement came after the first record.
    assert_eq!(volume(&early), [(Some(5), Some(4)), (Some(0), Some(3))]);
    assert_eq!(volume(&late), [(Some(5), Some(5)), (Some(0), Some(4))]);
    scene.stop();
}

#[test]
fn a_refused_connect_is_a_syn_and_a_reset() {
    let _turn = live!();
    let scene = Scene::new();
    let report = scene.act("socket=4 connect=203.0.113.7:5000 tell");
    let failed = scene.expect(&report, "failed");
    assert_eq!(volume(&failed), [(Some(0), Some(1)), (Some(0), Some(1))]);
    scene.stop();
}

#[test]
fn a_simultaneous_close_is_counted_exactly_and_ended_by_nobody_in_particular() {
    let _turn = live!();
    let scene = Scene::new();
    let (here, there) = (Netns::empty().unwrap(), Netns::empty().unwrap());
    here.wire_to(&there).unwrap();
    let steps = "accept tell recv=1000 send=2000 wait shut wait eof close";
    let mut listener = Listener::start(&there, "", "10.9.0.2:5000", 8, steps);
    let steps = "socket=4 connect=10.9.0.2:5000 tell send=1000 recv=2000 wait shut wait eof close";
    let mut actor = Actor::start(&here, steps.split_whitespace());
    let (client, server) = (actor.report(), listener.actor.report());
    actor.report();
    listener.actor.report();
    // Both send their FIN into a cut wire, and again when it is whole.
    there.enter(|| netlink::set_link("wire", false)).unwrap();
    for actor in [&mut actor, &mut listener.actor] {
        actor.go().report();
    }
    there.enter(|| netlink::set_link("wire", true)).unwrap();
    for mut actor in [actor, listener.actor] {
        actor.go();
        actor.done();
    }
    let mut crossed = 0;
    for report in [&client, &server] {
        let record = scene.expect(report, "close");
        assert_eq!(text(&record, "flow.end"), "closed", "{record}");
        assert_eq!(number(&record, "source.bytes"), Some(1000), "{record}");
        assert_eq!(number(&record, "destination.bytes"), Some(2000), "{record}");
        crossed += usize::from(text(&record, "flow.end_by").is_empty());
    }
    assert!(crossed > 0, "one side at least saw the FINs cross");
    scene.stop();
}
