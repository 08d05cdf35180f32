//! `docs/compatibility.md`: which way each capability is got, as the guests of one run said.

use std::{collections::BTreeMap, fmt::Write as _, fs, path::PathBuf};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::{shell, workspace};

/// Prefix of the lines in which a test tells of a capability (tests/kernel/tiers.rs).
const PREFIX: &str = "compatibility: ";
/// Prefix of the lines in which a test tells of a kind of connection (tests/kernel/kinds.rs): `kind: NAME: VERDICT`.
const KIND_PREFIX: &str = "kind: ";

/// Prefix of the lines in which a test tells of a missing right (tests/kernel/rights.rs): `right: NAME: VERDICT`.
const RIGHT_PREFIX: &str = "right: ";

/// What one guest said.
pub struct Cell {
    pub series: &'static str,
    pub arch: &'static str,
    pub scenario: &'static str,
    /// The `capabilities` of a `start` record.
    capabilities: Vec<Value>,
    /// Kinds of connections, each with `right` or what was wrong.
    kinds: Vec<(String, String)>,
    /// Capabilities of the process, each with what happens without it.
    rights: Vec<(String, String)>,
}

impl Cell {
    pub fn new(series: &'static str, arch: &'static str, scenario: &'static str, console: &[String]) -> Self {
        let capability = |line: &String| serde_json::from_str(line.strip_prefix(PREFIX)?).ok();
        let verdicts = |prefix: &str| {
            let verdict = |line: &String| {
                let (name, verdict) = line.strip_prefix(prefix)?.split_once(": ")?;
                Some((name.to_owned(), verdict.to_owned()))
            };
            console.iter().filter_map(verdict).collect()
        };
        Self {
            series,
            arch,
            scenario,
            capabilities: console.iter().filter_map(capability).collect(),
            kinds: verdicts(KIND_PREFIX),
            rights: verdicts(RIGHT_PREFIX),
        }
    }
}

/// Kinds of connections by kernel and architecture, all scenarios together; `None` when no guest was asked.
pub fn kinds_table(cells: &[Cell]) -> Option<String> {
    table("kind", cells, |cell| &cell.kinds)
}

/// Verdicts by kernel and architecture: one where all scenarios agree, else one for each.
fn table(what: &str, cells: &[Cell], verdicts: fn(&Cell) -> &Vec<(String, String)>) -> Option<String> {
    let names: Vec<_> = verdicts(cells.iter().find(|cell| !verdicts(cell).is_empty())?)
        .iter()
        .map(|(name, _)| name)
        .collect();
    let mut columns: Vec<_> = cells.iter().map(|cell| (cell.series, cell.arch)).collect();
    columns.dedup();
    let header =
        columns.iter().map(|(series, arch)| format!("{series} {arch}")).collect::<Vec<_>>().join(" | ");
    let mut out = format!("| {what} | {header} |\n|---|{}\n", "---|".repeat(columns.len()));
    for name in names {
        let verdict = |(series, arch): &(&str, &str)| {
            let asked = cells.iter().filter(|cell| (cell.series, cell.arch) == (*series, *arch));
            let of = |cell: &&Cell| {
                let found = verdicts(cell).iter().find(|verdict| &verdict.0 == name);
                (cell.scenario, found.map_or("not run".to_owned(), |verdict| verdict.1.clone()))
            };
            let all: Vec<_> = asked.map(|cell| of(&cell)).collect();
            match all.as_slice() {
                [(_, first), more @ ..] if more.iter().all(|(_, other)| other == first) => first.clone(),
                _ => all
                    .iter()
                    .map(|(name, verdict)| format!("{name}: {verdict}"))
                    .collect::<Vec<_>>()
                    .join("; "),
            }
        };
        let verdicts: Vec<_> = columns.iter().map(verdict).collect();
        let _ = writeln!(out, "| {name} | {} |", verdicts.join(" | "));
    }
    Some(out)
}

/// Writes the document.
pub fn write(cells: &[Cell]) -> Result<PathBuf> {
    if let Some(silent) = cells.iter().find(|cell| cell.capabilities.is_empty()) {
        bail!("guest {} {} {} said nothing of its capabilities", silent.series, silent.arch, silent.scenario);
    }
    let path = workspace::root().join("docs/compatibility.md");
    fs::write(&path, document(cells)).with_context(|| format!("could not write {}", path.display()))?;
    shell::say(format!("wrote {}", path.display()));
    Ok(path)
}

fn document(cells: &[Cell]) -> String {
    let mut names = Vec::new();
    for capability in cells.iter().flat_map(|cell| &cell.capabilities) {
        let name = text(capability, "capability");
        if !names.contains(&name) {
            names.push(name);
        }
    }
    let mut out = String::from(INTRODUCTION);
    let mut notes = Notes::default();
    let header = names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(" | ");
    let _ = writeln!(out, "| kernel | architecture | scenario | {header} |");
    let _ = writeln!(out, "|---|---|---|{}", "---|".repeat(names.len()));
    for cell in cells {
        let tiers = names.iter().map(|name| {
            let of = cell.capabilities.iter().find(|capability| text(capability, "capability") == *name);
            of.map_or_else(|| "–".to_owned(), |capability| notes.tier(capability))
        });
        let tiers: Vec<_> = tiers.collect();
        let _ =
            writeln!(out, "| {} | {} | {} | {} |", cell.series, cell.arch, cell.scenario, tiers.join(" | "));
    }
    out.push_str("\n## Why not a better way\n\n");
    for (number, note) in notes.in_order() {
        let _ = writeln!(out, "{number}. {note}");
    }
    if let Some(table) = kinds_table(cells) {
        out.push_str(KINDS);
        out.push_str(&table);
    }
    if let Some(table) = table("missing", cells, |cell| &cell.rights) {
        out.push_str(RIGHTS);
        out.push_str(&table);
    }
    out
}

const INTRODUCTION: &str = "\
# Compatibility

How each capability is got, on which kernel. Made by `cargo xtask vm --all --write-docs tiers kinds rights calibration`, from the `start` records \
of real runs on Debian's kernels in QEMU; `tests/kernel/expected.toml` says which way must be used, and another one fails \
the tests.

Scenarios: **plain**, the kernel as it is; **android-like**, every cgroup hook that netd of Android 15 takes is held \
exclusively by somebody else, and a map of tags is pinned as netd does; **no-kprobes**, kprobes are forbidden to the tracer (`--hooks no-kprobe`), as on kernels \
that have none; **no-btf**, the kernel's type information is hidden, as on android12-5.10, which has none: the offsets of fields \
are found in sockets, tasks and packets of the tracer's own (docs/decisions/0007-calibration.md); **no-sock-ops**, \
`sock_ops` programs are forbidden to the tracer (docs/decisions/0008-tcp-without-sock-ops.md).

`none` has its reason below. What a way cannot see is in the `limits` of the `start` record and in `tracer doctor`.

";

const KINDS: &str = "
## Kinds of connections

Each by a process with a uid of its own (`tests/kernel/kinds.rs`). `right`: seen once, in every scenario, with this owner and the \
right protocol, direction, end and exact bytes both ways.

";

const RIGHTS: &str = "
## Without one capability

What happens when root lacks one capability (`tests/kernel/rights.rs`). Locked memory (`ulimit -l`) is not limited here; where it is, \
kernels before 5.11 need CAP_SYS_RESOURCE, too.

";

/// Reasons, each once, with a number.
#[derive(Default)]
struct Notes(BTreeMap<String, usize>);

impl Notes {
    fn tier(&mut self, capability: &Value) -> String {
        let tier = match text(capability, "tier") {
            "" => "none".to_owned(),
            tier => format!("`{tier}`"),
        };
        let refused = capability.get("refused").and_then(Value::as_array).map(Vec::as_slice);
        let numbers: Vec<_> = refused
            .unwrap_or_default()
            .iter()
            .map(|refused| {
                let note = format!("`{}`: {}", text(refused, "tier"), without_ids(text(refused, "reason")));
                let next = self.0.len() + 1;
                self.0.entry(note).or_insert(next).to_string()
            })
            .collect();
        if numbers.is_empty() { tier } else { format!("{tier} ({})", numbers.join(", ")) }
    }

    fn in_order(&self) -> Vec<(usize, &str)> {
        let mut notes: Vec<_> = self.0.iter().map(|(note, number)| (*number, note.as_str())).collect();
        notes.sort_unstable();
        notes
    }
}

/// Program ids differ from boot to boot.
fn without_ids(reason: &str) -> String {
    let mut words = reason.split(' ').peekable();
    let mut kept = Vec::new();
    while let Some(word) = words.next() {
        kept.push(word);
        if word == "program" && words.peek().is_some_and(|next| next.parse::<u32>().is_ok()) {
            words.next();
            kept.push("N");
        }
    }
    kept.join(" ")
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value.get(name).and_then(Value::as_str).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_cell_has_a_tier_or_a_numbered_reason() {
        let console = [
            "noise".to_owned(),
            r#"compatibility: {"capability":"udp_flows","tier":"kprobe"}"#.to_owned(),
            "kind: TCP over IPv4: right".to_owned(),
            r#"compatibility: {"capability":"tags","refused":[{"tier":"map","reason":"held by program 7"}]}"#
                .to_owned(),
        ];
        let cell = |series| Cell::new(series, "amd64", "plain", &console);
        let text = document(&[cell("6.1"), cell("6.12")]);
        assert!(text.contains("| 6.1 | amd64 | plain | `kprobe` | none (1) |"), "{text}");
        assert!(text.contains("| 6.12 | amd64 | plain | `kprobe` | none (1) |"), "{text}");
        assert!(text.contains("1. `map`: held by program N\n"), "{text}");
        assert!(
            text.ends_with(
                "| kind | 6.1 amd64 | 6.12 amd64 |\n|---|---|---|\n| TCP over IPv4 | right | right |\n"
            ),
            "{text}"
        );
    }
}
