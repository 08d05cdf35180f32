//! Whose connection it is, rendered once for all records that say the same.

use std::borrow::Cow;

use tracer_ebpf::abi::{KNOWN_TASK, KNOWN_TASK_UID};

use super::*;
use crate::clock::Clock;
use crate::enrich::Enricher;
use crate::enrich::app::App;
use crate::enrich::process::{name_of, thread_name};
use crate::flow::Flow;
use crate::judge::observation as judge;

/// Packages of a shared uid that are described one by one in every record; of more (uid 1000 has some sixty) a record
/// names all, and `tracer apps --json` describes them.
const MEMBERS_IN_RECORD: usize = 8;

/// The rendered members of [`Who`].
#[derive(Debug, Default, PartialEq, Eq)]
pub struct WhoText {
    /// Members of a JSON object, without the braces.
    pub json: String,
    /// For a person: package, or process and user.
    pub label: String,
    /// What judging needs of them.
    pub facts: judge::Who,
}

impl WhoText {
    /// Renders what is known about the owner of `flow`.
    #[must_use]
    pub fn of(flow: &Flow, clock: Clock, enricher: &Enricher) -> Self {
        let comm = flow.identity.as_ref().and_then(thread_name);
        let app = enricher.app_of(flow.owner, flow.process.as_deref());
        let who = Who {
            process: process(flow, comm.as_deref(), clock, enricher),
            user: flow.owner.map(|uid| user(uid, enricher)),
            app: app.as_ref().map(app_object),
            container: flow.process.as_deref().and_then(|process| process.cgroup.container.as_ref()).map(
                |container| ContainerObject { id: &container.id, runtime: container.runtime.as_deref() },
            ),
            attribution: attribution(flow, app.is_some_and(|app| app.is_by_name), enricher),
        };
        // No record type has a failing serialisation; if one had, the record would lack these members.
        let json = serde_json::to_string(&who).unwrap_or_default();
        let members = json.strip_prefix('{').and_then(|json| json.strip_suffix('}')).unwrap_or_default();
        Self { label: label(&who), json: members.to_owned(), facts: facts(&who) }
    }
}

fn facts(who: &Who<'_>) -> judge::Who {
    let process = who.process.as_ref();
    let app = who.app.as_ref();
    judge::Who {
        derived: judge::Derived::default(),
        uid: who.user.as_ref().map(|user| user.id.0),
        user: who.user.as_ref().and_then(|user| user.name.as_deref()).map(Into::into),
        packages: app.map(|app| app.package.join(",")).unwrap_or_default().into(),
        app_kind: app.map(|app| app.kind),
        android_user: app.map(|app| app.android_user),
        is_preinstalled: app.and_then(|app| app.preinstalled),
        is_removable: app.and_then(|app| app.removable),
        process: process.map(|process| process.name.into()),
        executable: process.and_then(|process| process.executable).map(Into::into),
        on_behalf_of: who.attribution.on_behalf_of.as_ref().map(|other| judge::Behalf {
            uid: other.uid,
            packages: other.package.join(",").into(),
            tag: other.tag.as_str().into(),
        }),
    }
}

/// How a person calls the owner: package, or process and user.
fn label(who: &Who<'_>) -> String {
    if let Some([first, more @ ..]) = who.app.as_ref().map(|app| app.package) {
        return if more.is_empty() { first.clone() } else { format!("{first} +{}", more.len()) };
    }
    let user = who.user.as_ref().map(|user| match &user.name {
        Some(name) => name.clone(),
        None => Cow::Owned(format!("uid {}", user.id.0)),
    });
    match (&who.process, user) {
        (Some(process), Some(user)) => format!("{}/{} ({user})", process.name, process.pid),
        (Some(process), None) => format!("{}/{}", process.name, process.pid),
        (None, Some(user)) => format!("({user})"),
        (None, None) => "unknown".to_owned(),
    }
}

fn process<'a>(
    flow: &'a Flow,
    comm: Option<&'a str>,
    clock: Clock,
    enricher: &'a Enricher,
) -> Option<ProcessObject<'a>> {
    let identity = flow.identity.as_ref().filter(|identity| identity.known & KNOWN_TASK != 0)?;
    let process = flow.process.as_deref();
    Some(ProcessObject {
        pid: identity.pid,
        name: comm?,
        // A process that holds the socket stands there as a whole.
        thread: (identity.tid != 0).then_some(ThreadObject { id: identity.tid }),
        executable: process.and_then(|process| process.executable.as_deref()),
        command_line: process.and_then(|process| process.command_line.as_deref()),
        parent: process
            .and_then(|process| process.parent.as_ref())
            .map(|parent| ParentObject { pid: parent.pid, name: parent.name.as_deref() }),
        cgroup: process.and_then(|process| process.cgroup.path.as_deref()),
        start: process.and_then(|process| process.start).map(|start| clock.at(start)),
        user: (identity.known & KNOWN_TASK_UID != 0).then(|| user(identity.task_uid, enricher)),
    })
}

fn user(uid: u32, enricher: &Enricher) -> UserObject<'_> {
    UserObject { id: Decimal(uid), name: enricher.apps.user_name(uid) }
}

fn app_object<'a>(app: &App<'a>) -> AppObject<'a> {
    if app.members().len() <= MEMBERS_IN_RECORD { app.object() } else { app.brief() }
}

fn attribution<'a>(flow: &'a Flow, is_app_by_name: bool, enricher: &'a Enricher) -> Attribution<'a> {
    let task = flow.identity.is_some_and(|identity| identity.known & KNOWN_TASK != 0);
    let confidence = flow.owner_source.map(|source| match source {
        _ if is_app_by_name => Confidence::Likely,
        _ if flow.candidates.is_some() => Confidence::Candidates,
        OwnerSource::SkUid | OwnerSource::SockDiag => Confidence::Certain,
        OwnerSource::TaskUid => Confidence::Likely,
    });
    Attribution {
        method: flow.method,
        owner: flow.owner_source,
        app: is_app_by_name.then_some(AppSource::ProcessName),
        process: flow.process_source.filter(|_| task),
        confidence,
        candidates: candidates(flow),
        on_behalf_of: flow.tag.map(|tag| OnBehalfOf {
            uid: tag.uid,
            package: enricher.apps.lookup(tag.uid).map_or(&[], |app| app.packages()),
            tag: tag.name(),
        }),
    }
}

fn candidates(flow: &Flow) -> Vec<CandidateObject<'_>> {
    let all = flow.candidates.iter().flat_map(|candidates| candidates.iter());
    all.map(|one| CandidateObject { pid: one.pid, name: name_of(&one.comm) }).collect()
}
