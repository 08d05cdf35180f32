//! Which app, which service, whose, where, since when, how often, how much: the answers that a story has, in words. Pure.

use hashbrown::HashSet;

use super::material::{Destination, Material, Point, ServiceFacts, Story};
use super::words;
use crate::text::visible;

/// Hosts and addresses that are named one by one.
const MOST_NAMED: usize = 4;

/// A question and its answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fact {
    pub term: &'static str,
    pub answer: String,
    /// In smaller letters.
    pub more: Vec<String>,
}

impl Fact {
    fn new(term: &'static str, answer: impl Into<String>, more: Vec<String>) -> Self {
        Self { term, answer: answer.into(), more: more.into_iter().filter(|text| !text.is_empty()).collect() }
    }
}

/// Since when, how often, how much.
#[must_use]
pub fn key_facts(material: &Material, story: &Story) -> Vec<Fact> {
    let destinations = of(material, story);
    let mut facts = vec![since(material, story)];
    let cadence = destinations
        .iter()
        .filter_map(|one| one.cadence)
        .max_by(|one, other| one.score.total_cmp(&other.score));
    let beats: u64 = destinations.iter().map(|one| one.beats).sum();
    let resets: u64 = destinations.iter().map(|one| one.resets).sum();
    let mut connections = vec![words::count(story.amounts.connections, "connection", "connections")];
    let ends = [(story.amounts.failures, "failed"), (resets, "reset")];
    connections.extend(
        ends.iter()
            .filter(|(many, _)| *many > 0)
            .map(|(many, word)| format!("{} {word}", words::number(*many))),
    );
    let connections = connections.join(", ");
    let beats = if beats > 0 { words::count(beats, "beat", "beats") } else { String::new() };
    facts.push(match cadence {
        Some(cadence) => Fact::new("How often", words::capital(&cadence.rhythm()), vec![beats, connections]),
        None => Fact::new("How often", connections, Vec::new()),
    });
    let whole = story.amounts.sent.saturating_add(story.amounts.received);
    let uncounted: u64 = destinations.iter().map(|one| one.uncounted).sum();
    let mut more = vec![words::amount(&story.amounts)];
    if uncounted > 0 {
        more.push(format!("{} without a count", words::count(uncounted, "connection", "connections")));
    }
    facts.push(match (whole, uncounted) {
        (0, _) => Fact::new("How much", "Nothing counted", more.into_iter().skip(1).collect()),
        (whole, 0) => Fact::new("How much", words::bytes(whole), more),
        (whole, _) => Fact::new("How much", format!("At least {}", words::bytes(whole)), more),
    });
    facts
}

fn since(material: &Material, story: &Story) -> Fact {
    let mut more = Vec::new();
    let days = (story.seen.to.0.saturating_sub(story.seen.from.0)) / 86_400_000_000_000;
    more.push(format!("last {}", words::moment(story.seen.to)));
    let first = destinations_start_before(material, story);
    if first {
        more.push("was going on before the watch began".to_owned());
    } else if days > 1 {
        more.push(format!("over {}", words::count(days, "day", "days")));
    }
    let answer = words::moment(story.seen.from);
    Fact::new("Since", if first { format!("Before {answer}") } else { answer }, more)
}

/// The earliest connection of the story was open before it was seen.
fn destinations_start_before(material: &Material, story: &Story) -> bool {
    use super::material::Lane;
    let bars = of(material, story).into_iter().filter_map(|destination| match &destination.lane {
        Lane::Each { bars, .. } | Lane::Sums { bars, .. } => bars.first(),
        Lane::Empty => None,
    });
    bars.min_by_key(|bar| bar.seen.from).is_some_and(|bar| !bar.has_start)
}

/// The other answers.
#[must_use]
pub fn facts(material: &Material, story: &Story) -> Vec<Fact> {
    let destinations = of(material, story);
    let mut facts = Vec::new();
    facts.extend(app(material, story));
    let mut told = HashSet::new();
    let targets = destinations.iter().map(|one| one.target());
    let whom: Vec<String> = targets.filter(|target| told.insert(target.clone())).collect();
    let service = destinations.first().and_then(|one| one.service.as_ref()).filter(|_| whom.len() == 1);
    match service {
        Some(service) => facts.extend(about_service(service)),
        None => {
            let mut fact = several("With whom", &whom);
            if destinations.iter().all(|one| one.service.is_none())
                && let Some(fact) = &mut fact
            {
                fact.more.push("no service that is known".to_owned());
            }
            facts.extend(fact);
        }
    }
    facts.extend(place(&destinations));
    let mut hosts: Vec<String> = Vec::new();
    for destination in &destinations {
        let Some(host) = &destination.host else { continue };
        let port = destination.port.map(|port| format!(":{port}")).unwrap_or_default();
        hosts.push(format!("{host}{port}"));
    }
    hosts.dedup();
    if whom.len() == 1 {
        facts.extend(several("Hosts", &hosts));
    }
    let mut addresses: Vec<String> =
        destinations.iter().flat_map(|one| one.addresses.iter().cloned()).collect();
    addresses.sort();
    addresses.dedup();
    let mut fact = several("Addresses", &addresses);
    if destinations.iter().any(|one| one.has_more_addresses)
        && let Some(fact) = &mut fact
    {
        fact.more = vec!["and others".to_owned()];
    }
    facts.extend(fact);
    if let Some(artefact) = service.map(|service| service.artefacts.clone()).filter(|all| !all.is_empty()) {
        facts.push(Fact::new(
            "On storage",
            artefact.join(", "),
            vec!["what its library leaves there".to_owned()],
        ));
    }
    facts
}

fn app(material: &Material, story: &Story) -> Option<Fact> {
    let app = material.apps.get(story.app?)?;
    let mut more = Vec::new();
    let origin = match (app.is_preinstalled, app.is_removable) {
        (Some(true), Some(false)) => "came with the system, cannot be removed",
        (Some(true), Some(true)) => "came with the system, can be removed",
        (Some(true), None) => "came with the system",
        (Some(false), _) => "was installed later",
        (None, _) => "",
    };
    more.push(origin.to_owned());
    more.extend(app.uid.map(|uid| format!("uid {uid}")));
    more.extend(app.program.clone());
    Some(Fact::new("App", app.label.clone(), more))
}

fn about_service(service: &ServiceFacts) -> Vec<Fact> {
    let mut more = Vec::new();
    let evidence: Vec<&str> = service.evidence.iter().map(|one| evidence_word(one)).collect();
    if !evidence.is_empty() {
        more.push(format!("recognised by its {}", words::list(&evidence)));
    }
    more.extend(service.about.clone());
    let name = match service.category {
        "" => service.name.clone(),
        // Its name says it.
        category if service.name.to_lowercase().contains(category) => service.name.clone(),
        category => format!("{} ({category})", service.name),
    };
    let mut facts = vec![Fact::new("Service", name, more)];
    let seat = service.country.map(|country| format!("seat in {}", country.name));
    if let Some(owner) = &service.owner {
        facts.push(Fact::new("Whose", owner.clone(), seat.into_iter().collect()));
    }
    if !service.expected.is_empty() {
        facts.push(Fact::new(
            "Meant for",
            format!("Devices in {}", words::list(&service.expected)),
            Vec::new(),
        ));
    }
    facts
}

fn evidence_word(evidence: &str) -> &str {
    match evidence {
        "as" => "network",
        other => other,
    }
}

fn place(destinations: &[&Destination]) -> Option<Fact> {
    let mut countries: Vec<String> = Vec::new();
    let mut networks: Vec<String> = Vec::new();
    for destination in destinations {
        let country = destination.country.map(|country| country.name.to_owned());
        let local = destination.is_local.then(|| "The local network".to_owned());
        countries.extend(country.or(local).filter(|name| !countries.contains(name)));
        let network = destination.asn.map(|asn| match &destination.as_name {
            Some(name) => format!("{name} (AS{asn})"),
            None => format!("AS{asn}"),
        });
        networks.extend(network.filter(|name| !networks.contains(name)));
    }
    networks.truncate(MOST_NAMED);
    if countries.is_empty() {
        return (!networks.is_empty()).then(|| Fact::new("Where", words::list(&networks), Vec::new()));
    }
    Some(Fact::new("Where", words::list(&countries), vec![words::list(&networks)]))
}

fn several(term: &'static str, all: &[String]) -> Option<Fact> {
    let first = all.iter().take(MOST_NAMED).cloned().collect::<Vec<_>>().join("\n");
    let more = all.len().saturating_sub(MOST_NAMED);
    (!all.is_empty())
        .then(|| Fact::new(term, first, if more > 0 { vec![format!("and {more} more")] } else { Vec::new() }))
}

/// The sentence of a finding; what the headline says already is "It".
#[must_use]
pub fn reason(material: &Material, story: &Story, point: &Point) -> String {
    let label = story.app.and_then(|number| material.apps.get(number)).map(|app| app.label.as_str());
    let rest = label.and_then(|label| point.reason.strip_prefix(label));
    let rest = rest.map(|rest| rest.strip_prefix(", which came with the system,").unwrap_or(rest));
    let text = match rest.filter(|rest| rest.starts_with(' ')) {
        Some(rest) => format!("It{rest}"),
        None => point.reason.clone(),
    };
    words::sentence(&visible(&text))
}

fn of<'a>(material: &'a Material, story: &Story) -> Vec<&'a Destination> {
    story.destinations.iter().filter_map(|&number| material.destinations.get(number)).collect()
}
