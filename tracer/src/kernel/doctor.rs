//! `tracer doctor`: what this kernel and this process allow, what is refused, and what to do.
//!
//! Really loads and attaches the programs for a moment: only the result counts.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::Path;

use schemars::JsonSchema;
use serde::Serialize;
use tracer_ebpf::abi::OFFSET_UNKNOWN;

use super::attach::{self, Settings};
use super::features::{Features, NEEDED_CAPABILITIES, USEFUL_CAPABILITIES};
use super::hooks::Hooks;
use super::offsets::{self, Found, Source};
use super::plan::{self, AttachResult, Obstacle};
use crate::enrich::tags::TagMap;
use crate::record::CapabilityObject;

/// The whole answer; its JSON form is what `--json` prints.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Report {
    /// Whether `tracer run` works here.
    pub works: bool,
    pub checks: Vec<Check>,
    pub capabilities: Vec<CapabilityObject>,
    /// Where the programs find the kernel's fields, in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub offsets: Option<OffsetsObject>,
}

/// Offsets of kernel fields.
#[derive(Debug, Serialize, JsonSchema)]
pub struct OffsetsObject {
    pub source: &'static str,
    pub fields: BTreeMap<&'static str, u32>,
    /// Names of fields that were not found.
    pub missing: Vec<&'static str>,
    /// Why they were not found, where that is known.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub reasons: Vec<String>,
}

/// One thing that was looked at.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Check {
    pub name: &'static str,
    pub status: Status,
    /// What was found.
    pub found: String,
    /// What to do, where something is to be done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    Ok,
    /// Works, but with less than is possible.
    Limited,
    Missing,
}

/// Looks and tries.
#[must_use]
pub fn examine(features: &Features, hooks: Hooks) -> Report {
    let obstacles = plan::obstacles(features);
    let settings = Settings { include_loopback: false, ring_size: 1 << 16, hooks, names: true };
    let attempt = match &features.cgroup_root {
        Ok(root) if obstacles.is_empty() => Some(attach::attach(features, root, &settings)),
        _ => None,
    };
    let result = match &attempt {
        Some(Ok(attached)) => AttachResult::of(attached),
        Some(Err(error)) => AttachResult::Refused(error),
        None => AttachResult::NotTried(&obstacles),
    };
    let mut checks = basic_checks(features, &obstacles);
    checks.push(match &attempt {
        Some(Ok(_)) => {
            check("programs", Status::Ok, "loaded and attached for a moment, now gone again".to_owned())
        }
        Some(Err(error)) => Check {
            remedy: Some(plan::refusal_remedy(error, features)),
            ..check("programs", Status::Missing, attach::causes(error))
        },
        None => check("programs", Status::Missing, "not tried: see what is missing above".to_owned()),
    });
    let mut capabilities = plan::capabilities(features, &result);
    capabilities.push(plan::on_behalf_of(TagMap::open(Path::new("/")).as_ref().err()));
    let offsets = attempt.as_ref().and_then(|attempt| attempt.as_ref().ok()).map(|it| offsets_of(&it.found));
    Report { works: matches!(attempt, Some(Ok(_))), checks, capabilities, offsets }
}

fn offsets_of(found: &Found) -> OffsetsObject {
    OffsetsObject {
        source: match found.source {
            Source::Btf => "btf",
            Source::Calibration => "calibration",
        },
        fields: offsets::named(&found.offsets).filter(|(_, offset)| *offset != OFFSET_UNKNOWN).collect(),
        missing: found.missing.clone(),
        reasons: found.reasons.clone(),
    }
}

fn check(name: &'static str, status: Status, found: String) -> Check {
    Check { name, status, found, remedy: None }
}

fn basic_checks(features: &Features, obstacles: &[Obstacle]) -> Vec<Check> {
    let mut checks = vec![
        check("kernel", Status::Ok, format!("{} {}", features.kernel, features.architecture)),
        match &features.btf {
            Ok(found) if found.missing.is_empty() => {
                check("btf", Status::Ok, "every field was found".to_owned())
            }
            Ok(found) => check("btf", Status::Limited, format!("not found: {}", found.missing.join(", "))),
            Err(reason) => {
                check("btf", Status::Limited, format!("{reason}; fields are found by calibration"))
            }
        },
        match &features.cgroup_root {
            Ok(root) if root.is_whole => check("cgroup2", Status::Ok, root.path.display().to_string()),
            Ok(root) => {
                check("cgroup2", Status::Limited, format!("{} is only a part of it", root.path.display()))
            }
            Err(reason) => check("cgroup2", Status::Missing, reason.clone()),
        },
        capability_check(features),
        match features.memlock {
            None => check("memlock", Status::Ok, "unlimited".to_owned()),
            Some(bytes) if features.version >= Some((5, 11)) => check(
                "memlock",
                Status::Ok,
                format!("{bytes} bytes; this kernel does not count maps against it"),
            ),
            Some(bytes) => Check {
                remedy: Some("ulimit -l unlimited, or give CAP_SYS_RESOURCE".to_owned()),
                ..check("memlock", Status::Limited, format!("{bytes} bytes"))
            },
        },
        match &features.tracefs {
            Some(path) => check("tracefs", Status::Ok, path.display().to_string()),
            None => check("tracefs", Status::Limited, "not mounted; nothing here needs it".to_owned()),
        },
        match features.kprobes {
            true => check("kprobes", Status::Ok, "available".to_owned()),
            false => check("kprobes", Status::Limited, "not available".to_owned()),
        },
        match features.jit {
            Some(false) => Check {
                remedy: Some("sysctl net.core.bpf_jit_enable=1".to_owned()),
                ..check("jit", Status::Limited, "off: every hook costs several times more".to_owned())
            },
            Some(true) => check("jit", Status::Ok, "on".to_owned()),
            None => check("jit", Status::Ok, "the kernel does not say".to_owned()),
        },
    ];
    for check in &mut checks {
        if let Some(obstacle) = obstacles.iter().find(|obstacle| obstacle.check == check.name) {
            check.status = Status::Missing;
            check.remedy = Some(obstacle.remedy.clone());
        }
    }
    checks
}

fn capability_check(features: &Features) -> Check {
    let missing: Vec<_> = NEEDED_CAPABILITIES
        .iter()
        .chain(USEFUL_CAPABILITIES)
        .filter(|(capability, _, _)| !features.has(*capability))
        .map(|(_, name, purpose)| format!("{name} ({purpose})"))
        .collect();
    if missing.is_empty() {
        return check("capabilities", Status::Ok, "all that are needed".to_owned());
    }
    check("capabilities", Status::Limited, format!("missing: {}", missing.join(", ")))
}

/// Writes the report for a person.
///
/// # Errors
/// When the output does not take it.
pub fn print(report: &Report, out: &mut dyn Write) -> io::Result<()> {
    for check in &report.checks {
        let mark = match check.status {
            Status::Ok => "ok     ",
            Status::Limited => "limited",
            Status::Missing => "MISSING",
        };
        writeln!(out, "{mark}  {:<13} {}", check.name, check.found)?;
        if let Some(remedy) = &check.remedy {
            writeln!(out, "{:24}→ {remedy}", "")?;
        }
    }
    writeln!(out)?;
    for capability in &report.capabilities {
        writeln!(out, "{:<18} {}", capability.capability, capability.tier.unwrap_or("none"))?;
        for refused in &capability.refused {
            writeln!(out, "{:19}not {}: {}", "", refused.tier, refused.reason)?;
        }
        for limit in &capability.limits {
            writeln!(out, "{:19}does not see: {limit}", "")?;
        }
    }
    writeln!(out)?;
    let verdict =
        if report.works { "tracer works here." } else { "tracer does not work here: see MISSING above." };
    writeln!(out, "{verdict}")
}
