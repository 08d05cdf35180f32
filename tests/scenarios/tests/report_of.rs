//! Reports of the story, made by the program itself.

use std::io::Write as _;
use std::process::{Command, Stdio};

use tracer_tests::programs;
use tracer_tests_scenarios::xperia::{REPORTED, Variant};

/// The report of a capture, given on standard input.
pub fn report_of(capture: &str, arguments: &[&str]) -> String {
    let geo = REPORTED.place().geo;
    let mut command = Command::new(programs::tracer());
    command.arg("report").arg("-").arg("--geo").arg(geo).args(arguments);
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let capture = capture.to_owned();
    let writer = std::thread::spawn(move || stdin.write_all(capture.as_bytes()));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// The records of a story, as a live tracer writes them.
pub fn capture(variant: Variant) -> String {
    variant.place().live(&variant.events()).unwrap()
}
