//! Offsets of kernel fields without the kernel's type information: found by calibration, and the same as with it.

use std::process::Command;

use serde_json::Value;
use tracer_tests::record::at;
use tracer_tests::{live, programs, scenario};

/// `tracer doctor --json`.
fn doctor(arguments: &[&str]) -> Value {
    let output =
        Command::new(programs::tracer()).args(["doctor", "--json"]).args(arguments).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// What calibration does not find: which program a task executes, as a number: it cannot be told from other small numbers.
const NEVER_FOUND: &str = "task_struct.self_exec_id";
/// What it finds by kprobes only, and only they need.
const FOUND_BY_KPROBES: [&str; 10] = [
    "msghdr.msg_iter",
    "iov_iter.iter_type",
    "iov_iter.iov_offset",
    "iov_iter.count",
    "iov_iter.iov",
    "iov_iter.nr_segs",
    "socket.sk",
    "unix_sock.peer",
    "unix_sock.addr",
    "unix_address.name",
];

/// Where the kernel puts our sockets in memory differs from time to time.
const TIMES: usize = 12;

#[test]
fn calibration_finds_every_field_where_the_kernels_type_information_says_it_is() {
    let _turn = live!();
    let calibrated = doctor(&["--hooks", "no-btf"]);
    assert_eq!(at(&calibrated, "offsets.source"), "calibration");
    let mut not_found = vec![NEVER_FOUND];
    if !scenario::has_kprobes() {
        not_found.extend(FOUND_BY_KPROBES);
    }
    assert_eq!(at(&calibrated, "offsets.missing"), &serde_json::json!(not_found), "{calibrated}");
    if !scenario::has_btf() {
        return;
    }
    let mut by_btf = doctor(&[]);
    assert_eq!(at(&by_btf, "offsets.source"), "btf");
    let by_btf = by_btf["offsets"]["fields"].as_object_mut().unwrap();
    for name in not_found {
        by_btf.remove(name);
    }
    assert_eq!(at(&calibrated, "offsets.fields").as_object().unwrap(), by_btf);
}

#[test]
fn calibration_finds_the_same_every_time() {
    let _turn = live!();
    let first = doctor(&["--hooks", "no-btf"]);
    for _ in 1..TIMES {
        let again = doctor(&["--hooks", "no-btf"]);
        assert_eq!(at(&again, "offsets"), at(&first, "offsets"));
    }
}
