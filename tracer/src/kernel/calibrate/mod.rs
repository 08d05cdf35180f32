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
use super::offsets::{Found, Source, missing};

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
            if let Err(reason) = task::find(&mut peeker, &mut offsets) {
                reasons.push(format!("tasks: {reason}"));
            }
            if let Err(error) = socket::find(&mut peeker, &mut offsets) {
                reasons.push(format!("sockets: {error}"));
            }
            let result = packets
                .and_then(|()| packet::find(&mut peeker, &mut offsets).map_err(|error| error.to_string()));
            if let Err(reason) = result {
                reasons.push(format!("packets: {reason}"));
            }
            let result = peeker.meet_messages(hooks);
            let result = result
                .and_then(|()| message::find(&mut peeker, &mut offsets).map_err(|error| error.to_string()));
            if let Err(reason) = result {
                reasons.push(format!("messages: {reason}"));
            }
        }
        Err(reason) => reasons.push(reason),
    }
    Found { offsets, source: Source::Calibration, missing: missing(&offsets), reasons }
}
