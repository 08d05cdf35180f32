//! How a connection ended, and what the kernel's counters mean at its end. Pure.

use tracer_ebpf::abi::tcp_state as state;

use crate::event::{Counters, Ending, Fin};
use crate::record::{Direction, End, Side};

/// How it ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Absent when the kernel gave no error field to tell by.
    pub end: Option<End>,
    pub by: Option<Side>,
    /// Name of the errno, when there was one.
    pub error: Option<&'static str>,
}

/// Judges the end by the state that was left and the error that the socket carries.
#[must_use]
pub fn verdict(ending: &Ending) -> Verdict {
    let Some(errno) = ending.error else { return Verdict::default() };
    if errno == 0 {
        return Verdict {
            end: Some(end_without_error(ending.old_state)),
            by: side(ending.old_state),
            error: None,
        };
    }
    let (name, end, by) = by_errno(errno);
    Verdict { end: Some(end), by, error: Some(name) }
}

fn end_without_error(old_state: u16) -> End {
    match old_state {
        state::SYN_SENT | state::SYN_RECV => End::Aborted,
        state::FIN_WAIT2 | state::CLOSING | state::LAST_ACK => End::Closed,
        // close() with unread data, SO_LINGER 0, or an orphan that was given up: the kernel sends a reset.
        _ => End::Reset,
    }
}

/// Who ended it: the side that sent the first FIN, or the reset.
fn side(old_state: u16) -> Option<Side> {
    match old_state {
        state::LAST_ACK => Some(Side::Remote),
        // Both sent their FIN before they saw the other's.
        state::CLOSING => None,
        _ => Some(Side::Local),
    }
}

/// Linux errno values (asm-generic/errno.h): the same on every architecture that Android and tracer run on.
fn by_errno(errno: u32) -> (&'static str, End, Option<Side>) {
    match errno {
        // Reset while the local side had already received the peer's FIN.
        32 => ("EPIPE", End::Reset, Some(Side::Remote)),
        104 => ("ECONNRESET", End::Reset, Some(Side::Remote)),
        111 => ("ECONNREFUSED", End::Refused, Some(Side::Remote)),
        110 => ("ETIMEDOUT", End::TimedOut, None),
        101 => ("ENETUNREACH", End::Unreachable, None),
        113 => ("EHOSTUNREACH", End::Unreachable, None),
        112 => ("EHOSTDOWN", End::Unreachable, None),
        92 => ("ENOPROTOOPT", End::Unreachable, None),
        100 => ("ENETDOWN", End::Unreachable, None),
        13 => ("EACCES", End::Unreachable, None),
        71 => ("EPROTO", End::Error, None),
        // `ss -K`, netd's socket destroyer, or a changed network.
        103 => ("ECONNABORTED", End::Error, Some(Side::Local)),
        1 => ("EPERM", End::Error, Some(Side::Local)),
        12 => ("ENOMEM", End::Error, Some(Side::Local)),
        105 => ("ENOBUFS", End::Error, Some(Side::Local)),
        _ => ("UNKNOWN", End::Error, None),
    }
}

/// Payload bytes and segments of both directions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Volume {
    /// Payload bytes that the peer acknowledged. Absent when it is unknown whether a SYN or FIN is in the count.
    pub bytes_sent: Option<u64>,
    /// Payload bytes received in order.
    pub bytes_received: Option<u64>,
    /// Segments sent. Absent when it is unknown whether the kernel's count is one short.
    pub packets_sent: Option<u64>,
    pub packets_received: Option<u64>,
}

/// Takes SYN and FIN, which count 1 each in sequence space, out of the kernel's byte counters, and adds the segments
/// that its segment counters lack.
///
/// `direction` is unknown when the beginning of the connection was not seen.
#[must_use]
pub fn volume(ending: &Ending, direction: Option<Direction>) -> Volume {
    let fin = |flag: fn(Fin) -> bool| ending.fin.map(|fin| u64::from(flag(fin)));
    // tcp_rcv_synsent_state_process() lets tcp_ack() count the SYN; a passive socket starts behind its SYN.
    let syn = direction.map(|direction| u64::from(direction == Direction::Egress));
    let sent_extra = syn.zip(fin(|fin| fin.acked)).map(|(syn, fin)| syn + fin);
    // __tcp_transmit_skb() counts into segs_out, but a SYN-ACK goes out through tcp_v4_send_synack() and
    // tcp_v6_send_synack(), before there is a full socket (sent again, it is still counted once).
    let syn_ack = direction.map(|direction| u64::from(direction == Direction::Ingress));
    let sent_uncounted =
        syn_ack.zip(reset_to_come(ending)).map(|(syn_ack, reset)| syn_ack + u64::from(reset));
    Volume {
        bytes_sent: sent_extra.map(|extra| ending.bytes_acked.saturating_sub(extra)),
        bytes_received: fin(|fin| fin.received).map(|fin| ending.bytes_received.saturating_sub(fin)),
        packets_sent: sent_uncounted.map(|uncounted| u64::from(ending.segs_out) + uncounted),
        packets_received: Some(ending.segs_in.into()),
    }
}

/// What a socket that is still open has moved.
#[must_use]
pub fn volume_so_far(counters: &Counters, direction: Option<Direction>) -> Volume {
    let syn = direction.map(|direction| u64::from(direction == Direction::Egress));
    let fin = counters.fin;
    Volume {
        bytes_sent: syn.map(|syn| counters.bytes_acked.saturating_sub(syn + u64::from(fin.acked))),
        bytes_received: Some(counters.bytes_received.saturating_sub(fin.received.into())),
        packets_sent: direction
            .map(|direction| u64::from(counters.segs_out) + u64::from(direction == Direction::Ingress)),
        packets_received: Some(counters.segs_in.into()),
    }
}

/// Who opened a connection whose beginning was not seen, where its counters prove it: the SYN of an active open counts as
/// an acknowledged byte that was never payload.
#[must_use]
pub fn direction_of(counters: &Counters) -> Option<Direction> {
    let payload = counters.bytes_sent?;
    let acked = counters.bytes_acked.checked_sub(counters.fin.acked.into())?;
    if acked > payload {
        return Some(Direction::Egress);
    }
    // Everything that was sent is acknowledged, and there was no SYN among it.
    (acked == payload && counters.unacked == 0).then_some(Direction::Ingress)
}

/// Whether a reset leaves only after the change to `TCP_CLOSE` that ended the watch: `__tcp_close()` and
/// `tcp_disconnect()` change the state first. `None` when the kernel gave no error field to tell by.
fn reset_to_come(ending: &Ending) -> Option<bool> {
    match end_without_error(ending.old_state) {
        End::Reset => ending.error.map(|errno| errno == 0),
        _ => Some(false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ended(old_state: u16, error: u32) -> (Option<End>, Option<Side>) {
        let verdict = verdict(&Ending { old_state, error: Some(error), ..Ending::default() });
        (verdict.end, verdict.by)
    }

    #[test]
    fn a_failed_connect_is_named_by_its_errno() {
        assert_eq!(ended(state::SYN_SENT, 111), (Some(End::Refused), Some(Side::Remote)));
        assert_eq!(ended(state::SYN_SENT, 110), (Some(End::TimedOut), None));
        assert_eq!(ended(state::SYN_SENT, 113), (Some(End::Unreachable), None));
        assert_eq!(ended(state::SYN_SENT, 104), (Some(End::Reset), Some(Side::Remote)));
        assert_eq!(ended(state::SYN_SENT, 0), (Some(End::Aborted), Some(Side::Local)));
        assert_eq!(ended(state::SYN_RECV, 0), (Some(End::Aborted), Some(Side::Local)));
    }

    #[test]
    fn an_orderly_end_names_the_side_that_closed_first() {
        assert_eq!(ended(state::FIN_WAIT2, 0), (Some(End::Closed), Some(Side::Local)));
        assert_eq!(ended(state::LAST_ACK, 0), (Some(End::Closed), Some(Side::Remote)));
        assert_eq!(ended(state::CLOSING, 0), (Some(End::Closed), None));
    }

    #[test]
    fn a_close_out_of_the_middle_is_a_reset() {
        assert_eq!(ended(1, 104), (Some(End::Reset), Some(Side::Remote)));
        assert_eq!(ended(1, 0), (Some(End::Reset), Some(Side::Local)));
        assert_eq!(ended(state::FIN_WAIT1, 0), (Some(End::Reset), Some(Side::Local)));
    }

    #[test]
    fn without_the_error_field_nothing_is_claimed() {
        assert_eq!(verdict(&Ending { old_state: state::SYN_SENT, ..Ending::default() }), Verdict::default());
    }

    #[test]
    fn syn_and_fin_are_not_payload() {
        let ending = Ending {
            bytes_acked: 102,
            bytes_received: 51,
            fin: Some(Fin { received: true, acked: true }),
            ..Ending::default()
        };
        let egress = volume(&ending, Some(Direction::Egress));
        assert_eq!((egress.bytes_sent, egress.bytes_received), (Some(100), Some(50)));
        let ingress = volume(&ending, Some(Direction::Ingress));
        assert_eq!((ingress.bytes_sent, ingress.bytes_received), (Some(101), Some(50)));
        let unseen = volume(&ending, None);
        assert_eq!((unseen.bytes_sent, unseen.bytes_received), (None, Some(50)));
    }

    #[test]
    fn the_syn_ack_and_a_reset_at_the_end_are_added_to_the_segments() {
        let sent = |direction, old_state, error| {
            let ending = Ending { segs_out: 3, old_state, error, ..Ending::default() };
            volume(&ending, direction).packets_sent
        };
        assert_eq!(sent(Some(Direction::Egress), state::LAST_ACK, Some(0)), Some(3));
        assert_eq!(sent(Some(Direction::Ingress), state::LAST_ACK, Some(0)), Some(4));
        assert_eq!(sent(Some(Direction::Egress), 1, Some(0)), Some(4), "close() sends the reset afterwards");
        assert_eq!(sent(Some(Direction::Egress), 1, Some(104)), Some(3), "the peer's reset");
        assert_eq!(sent(Some(Direction::Egress), state::SYN_SENT, Some(0)), Some(3), "nothing to reset");
        assert_eq!(sent(None, state::LAST_ACK, Some(0)), None);
        assert_eq!(sent(Some(Direction::Egress), 1, None), None);
        assert_eq!(sent(Some(Direction::Egress), state::LAST_ACK, None), Some(3));
    }

    #[test]
    fn the_syn_tells_who_opened_a_connection() {
        let counters = |bytes_acked, bytes_sent, unacked| Counters {
            bytes_acked,
            bytes_sent: Some(bytes_sent),
            unacked,
            ..Counters::default()
        };
        assert_eq!(direction_of(&counters(101, 100, 0)), Some(Direction::Egress));
        assert_eq!(direction_of(&counters(100, 100, 0)), Some(Direction::Ingress));
        assert_eq!(direction_of(&counters(0, 0, 0)), Some(Direction::Ingress));
        assert_eq!(direction_of(&counters(100, 100, 1)), None, "the SYN and 99 of 100 bytes, or 100 bytes");
        assert_eq!(direction_of(&counters(50, 100, 1)), None);
        let fin = Fin { acked: true, received: false };
        assert_eq!(direction_of(&Counters { fin, ..counters(101, 100, 0) }), Some(Direction::Ingress));
        assert_eq!(direction_of(&Counters { fin, ..counters(102, 100, 0) }), Some(Direction::Egress));
        assert_eq!(direction_of(&Counters { bytes_sent: None, ..counters(101, 0, 0) }), None, "before 4.19");
    }

    #[test]
    fn syn_and_fin_are_no_payload_of_an_open_connection_either() {
        let counters = Counters {
            bytes_acked: 102,
            bytes_received: 51,
            segs_in: 7,
            segs_out: 9,
            fin: Fin { received: true, acked: true },
            ..Counters::default()
        };
        let volume = volume_so_far(&counters, Some(Direction::Egress));
        assert_eq!((volume.bytes_sent, volume.bytes_received), (Some(100), Some(50)));
        assert_eq!((volume.packets_sent, volume.packets_received), (Some(9), Some(7)));
        let volume = volume_so_far(&counters, None);
        assert_eq!((volume.bytes_sent, volume.packets_sent), (None, None));
    }
}
