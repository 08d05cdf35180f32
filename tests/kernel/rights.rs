//! What it does with fewer capabilities (capabilities(7)): it works with less, or says what is missing.

use std::process::{Command, Stdio};

use rustix::process::{Resource, Rlimit, setrlimit};
use serde_json::Value;
use tracer_tests::record::{at, text};
use tracer_tests::{live, programs};

/// Kernels before 5.11 count maps against this limit, and only with CAP_SYS_RESOURCE the tracer raises it itself. Later
/// kernels do not care, and may refuse.
fn lift_memory_limit() {
    let _ = setrlimit(Resource::Memlock, Rlimit { current: None, maximum: None });
}

/// Runs the tracer through an actor that gives rights away first; exit code, standard output and error.
fn run_with_less(steps: &str) -> (Option<i32>, String, String) {
    lift_memory_limit();
    let tracer = programs::tracer();
    let open = format!("open={}", tracer.display());
    let output = Command::new(programs::actor())
        .arg(open)
        .args(steps.split_whitespace())
        .args(["exec", "--duration", "100ms"])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[test]
fn without_rights_it_says_what_is_missing_and_what_to_do() {
    let _turn = live!();
    // CAP_NET_ADMIN 12, CAP_SYS_ADMIN 21, CAP_PERFMON 38, CAP_BPF 39.
    for (steps, missing) in [
        ("uid=65534", "CAP_BPF"),
        ("capdrop=39 capdrop=21", "CAP_BPF"),
        ("capdrop=38 capdrop=21", "CAP_PERFMON"),
        ("capdrop=12", "CAP_NET_ADMIN"),
    ] {
        let (code, stdout, stderr) = run_with_less(steps);
        assert_eq!(code, Some(3), "{steps}: {stderr}");
        assert_eq!(stdout, "", "{steps}");
        assert!(stderr.contains(missing) && stderr.contains("root"), "{steps}: {stderr}");
        assert_eq!(stderr.matches("tracer:").count(), 1, "one message: {stderr}");
    }
}

#[test]
fn the_capabilities_that_it_names_are_all_that_it_needs() {
    let _turn = live!();
    let keep = [12, 38, 39];
    let drop: Vec<String> =
        (0..=40).filter(|number| !keep.contains(number)).map(|number| format!("capdrop={number}")).collect();
    let (code, stdout, stderr) = run_with_less(&drop.join(" "));
    assert_eq!(code, Some(0), "{stderr}");
    assert!(stdout.contains("\"stop\""), "{stdout}");
}

/// Capabilities that root usually has and that the work has to do with, by number.
const CAPABILITIES: [(u32, &str); 10] = [
    (1, "CAP_DAC_OVERRIDE"),
    (2, "CAP_DAC_READ_SEARCH"),
    (7, "CAP_SETUID"),
    (12, "CAP_NET_ADMIN"),
    (13, "CAP_NET_RAW"),
    (19, "CAP_SYS_PTRACE"),
    (21, "CAP_SYS_ADMIN"),
    (24, "CAP_SYS_RESOURCE"),
    (38, "CAP_PERFMON"),
    (39, "CAP_BPF"),
];

/// Capability of the tracer → its tier, limits and reasons.
fn ways(stdout: &str) -> Option<Vec<(String, Value)>> {
    let start: Value = serde_json::from_str(stdout.lines().next()?).ok()?;
    let each = at(&start, "tracer.capabilities").as_array()?.iter();
    Some(each.map(|one| (text(one, "capability").to_owned(), one.clone())).collect())
}

/// What is different from how it works with everything.
fn difference(all: &[(String, Value)], less: &[(String, Value)]) -> String {
    let differs = |((name, all), (_, less)): (&(String, Value), &(String, Value))| {
        let tier = |value: &Value| value.get("tier").and_then(Value::as_str).unwrap_or("none").to_owned();
        if tier(all) != tier(less) {
            return Some(format!("{name} by {} instead of {}", tier(less), tier(all)));
        }
        let limits = at(less, "limits").as_array().into_iter().flatten().filter_map(Value::as_str);
        let new: Vec<_> = limits
            .filter(|limit| {
                !at(all, "limits").as_array().is_some_and(|known| known.contains(&(*limit).into()))
            })
            .collect();
        (!new.is_empty()).then(|| format!("{name} does not see {}", new.join(", ")))
    };
    all.iter().zip(less).filter_map(differs).collect::<Vec<_>>().join("; ")
}

#[test]
fn without_one_capability_it_works_or_names_what_is_missing() {
    let _turn = live!();
    let (_, stdout, stderr) = run_with_less("");
    let all = ways(&stdout).unwrap_or_else(|| panic!("{stderr}"));
    for (number, name) in CAPABILITIES {
        let (code, stdout, stderr) = run_with_less(&format!("capdrop={number}"));
        let verdict = match code {
            Some(0) => match difference(&all, &ways(&stdout).unwrap()).as_str() {
                "" => "works".to_owned(),
                difference => format!("works, but {difference}"),
            },
            Some(3) if stderr.contains(name) => "refuses to start and names it".to_owned(),
            other => panic!("without {name}: {other:?}, {stderr}"),
        };
        // For docs/compatibility.md.
        println!("right: {name}: {verdict}");
        // CAP_SYS_ADMIN stands in for CAP_BPF and CAP_PERFMON.
        assert_eq!(code == Some(3), name == "CAP_NET_ADMIN", "{name}: {verdict}");
    }
}
