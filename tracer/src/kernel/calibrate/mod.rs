//! Offsets of kernel fields on kernels without BTF: found in the memory of our own tasks, sockets, packets and messages, whose
//! values are known, and confirmed in a second one. What is not found for certain stays unknown.
//!
//! In: the cgroup2 root, for the hooks that meet these sockets and packets. Out: [`Found`], as BTF would give it. Takes
//! about a tenth of a second, leaves nothing behind, and sends nothing but a few packets over loopback and messages to itself.

mod message;
mod packet;
mod pair;
mod peek;
mod search;
mod socket;
mod task;

use std::fs::File;

use tracer_ebpf::abi::Offsets;

use self::peek::Peeker;
use super::attach::causes;
use super::features::CgroupRoot;
use super::hooks::Hooks;
use super::offsets::{Found, Source, add, missing};

/// How often something is looked for at most.
const TIMES: usize = 3;
/// Fields that are not found here: see docs/decisions/0007-calibration.md.
const NEVER_FOUND: &str = "task_struct.self_exec_id";
/// What the names begin with of the fields that each part finds.
const TASKS: &[&str] = &["task_struct.", "cred."];
const SOCKETS: &[&str] = &["sock.", "socket.file", "inet_sock.", "tcp_sock.", "net."];
const PACKETS: &[&str] = &["sk_buff.", "skb_shared_info."];
const MESSAGES: &[&str] = &["msghdr.", "iov_iter.", "socket.sk", "unix_"];

/// Finds as much as can be found. Nothing is unknown without a reason.
#[must_use]
pub fn calibrate(root: &CgroupRoot, hooks: &Hooks) -> Found {
    let mut offsets = Offsets::UNKNOWN;
    let mut reasons = Vec::new();
    let started = File::open(&root.path)
        .map_err(|error| format!("{}: {error}", root.path.display()))
        .and_then(|cgroup| Peeker::start(&cgroup, hooks).map_err(|error| causes(&error)));
    match started {
        Ok((mut peeker, packets)) => {
            let tasks = search(&mut offsets, TASKS, |offsets| task::find(&mut peeker, offsets));
            let sockets = search(&mut offsets, SOCKETS, |offsets| {
                socket::find(&mut peeker, offsets).map_err(|error| error.to_string())
            });
            let packets = packets.and_then(|()| {
                search(&mut offsets, PACKETS, |offsets| {
                    packet::find(&mut peeker, offsets).map_err(|error| error.to_string())
                })
            });
            let messages = peeker.meet_messages(hooks).and_then(|()| {
                search(&mut offsets, MESSAGES, |offsets| {
                    message::find(&mut peeker, offsets).map_err(|error| error.to_string())
                })
            });
            let parts =
                [("tasks", tasks), ("sockets", sockets), ("packets", packets), ("messages", messages)];
            for (part, result) in parts {
                reasons.extend(result.err().map(|reason| format!("{part}: {reason}")));
            }
        }
        Err(reason) => reasons.push(reason),
    }
    Found { offsets, source: Source::Calibration, missing: missing(&offsets), reasons }
}

/// Looks for the fields whose names begin so, and once more for what was not certain as long as that finds something: the same
/// value may lie in memory twice by chance, and by chance only once the next time.
fn search(
    offsets: &mut Offsets,
    names: &[&str],
    mut find: impl FnMut(&mut Offsets) -> Result<(), String>,
) -> Result<(), String> {
    let left = |offsets: &Offsets| {
        let is_wanted =
            |name: &&str| *name != NEVER_FOUND && names.iter().any(|start| name.starts_with(start));
        missing(offsets).into_iter().filter(is_wanted).count()
    };
    let mut result = Ok(());
    for _ in 0..TIMES {
        let before = left(offsets);
        let mut found = *offsets;
        result = find(&mut found);
        add(offsets, &found);
        if left(offsets) == 0 {
            return Ok(());
        }
        if left(offsets) == before {
            break;
        }
    }
    result
}

#[cfg(test)]
mod tests {
    use tracer_ebpf::abi::OFFSET_UNKNOWN;

    use super::*;

    #[test]
    fn what_was_not_certain_is_looked_for_again_and_what_was_found_stays() {
        let mut times = 0;
        let mut offsets = Offsets::UNKNOWN;
        let result = search(&mut offsets, PACKETS, |offsets| {
            times += 1;
            let found = [OFFSET_UNKNOWN, 188, 999][times - 1];
            *offsets = Offsets { skb_sk: 24, skb_end: found, ..Offsets::UNKNOWN };
            Ok(())
        });
        assert_eq!((result, times), (Ok(()), 3), "until nothing new is found");
        assert_eq!((offsets.skb_sk, offsets.skb_end), (24, 188));
    }

    #[test]
    fn what_cannot_be_found_is_looked_for_once_and_its_reason_told() {
        let mut times = 0;
        let mut offsets = Offsets::UNKNOWN;
        let result = search(&mut offsets, TASKS, |_| {
            times += 1;
            Err("no".to_owned())
        });
        assert_eq!((result, times), (Err("no".to_owned()), 1));
        assert_eq!(offsets, Offsets::UNKNOWN);
    }
}
