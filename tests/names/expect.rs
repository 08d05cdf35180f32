//! What the records must say about names: the only place here that knows their form.

use serde_json::Value;
use tracer_tests::record::{action, at, number, text};

use crate::stage::Stage;

const SOURCES: [&str; 8] =
    ["sni", "http_host", "http_proxy", "dns", "resolver", "resolver_next", "mdns", "other_dns"];

/// The records of one connection, to its end.
pub struct Flow {
    pub records: Vec<Value>,
}

impl Stage {
    /// Waits for the end of the connection that an app made from this port.
    pub fn tcp(&self, port: u16) -> Flow {
        self.flow("tcp", port)
    }

    pub fn udp(&self, port: u16) -> Flow {
        self.flow("udp", port)
    }

    fn flow(&self, transport: &str, port: u16) -> Flow {
        let inode = self.apps.inode();
        let end = self.tracer.expect(
            &format!("the end of the {transport} connection from port {port}"),
            |record| {
                action(record) == "close"
                    && number(record, "flow.netns") == Some(inode)
                    && text(record, "network.transport") == transport
                    && number(record, "source.port") == Some(port.into())
            },
        );
        self.flow_of(&end)
    }

    /// Waits for the end of a connection of this app to this port, and gives all of them so far.
    pub fn flows_to(&self, uid: u32, transport: &str, port: u16) -> Vec<Flow> {
        let matches = |record: &Value| {
            action(record) == "close"
                && number(record, "flow.netns") == Some(self.apps.inode())
                && text(record, "user.id") == uid.to_string()
                && text(record, "network.transport") == transport
                && number(record, "destination.port") == Some(port.into())
        };
        self.tracer.expect(&format!("the end of a {transport} connection of {uid} to port {port}"), matches);
        let mut ends = self.tracer.so_far();
        ends.retain(matches);
        ends.iter().map(|end| self.flow_of(end)).collect()
    }

    fn flow_of(&self, end: &Value) -> Flow {
        let mut records = self.tracer.so_far();
        records.retain(|record| {
            text(record, "flow.id") == text(end, "flow.id") && number(record, "seq") <= number(end, "seq")
        });
        Flow { records }
    }

    /// Waits for the answer to a question of this app.
    pub fn answer(&self, uid: u32, name: &str, kind: &str) -> Value {
        self.tracer.expect(&format!("the answer to {kind} {name} for {uid}"), |record| {
            action(record) == "dns"
                && text(record, "user.id") == uid.to_string()
                && text(record, "dns.question.name") == name
                && text(record, "dns.question.type") == kind
        })
    }
}

impl Flow {
    pub fn first(&self) -> &Value {
        self.records.first().unwrap()
    }

    pub fn last(&self) -> &Value {
        self.records.last().unwrap()
    }

    /// At its end it has this name, from this source; before, it had that one or none.
    pub fn is_named(&self, name: &str, source: &str) {
        self.has_no_other_name(&[name]);
        has_name(self.last(), name, source);
    }

    /// So it was known from the beginning.
    pub fn began_as(&self, name: &str, source: &str) {
        has_name(self.first(), name, source);
    }

    /// No record of it has a name other than these.
    pub fn has_no_other_name(&self, names: &[&str]) {
        for record in &self.records {
            let found = text(record, "destination.domain");
            assert!(found.is_empty() || names.contains(&found), "wrong name, wanted {names:?}: {record}");
        }
    }

    pub fn is_nameless(&self) {
        self.has_no_other_name(&[]);
    }

    /// What it says of the client's first message of TLS.
    pub fn greeted(&self, name: &str, protocol: &str) {
        let tls = at(self.last(), "tls.client");
        assert_eq!(text(tls, "server_name"), name, "{}", self.last());
        let first = at(tls, "alpn").get(0).and_then(Value::as_str);
        assert_eq!(first, Some(protocol), "{}", self.last());
        let ja4 = text(tls, "ja4");
        let is_tls = ja4.starts_with("t13d") || ja4.starts_with("q13d");
        assert!(is_tls && ja4.len() == 36, "{ja4:?}: {}", self.last());
    }

    pub fn protocol(&self) -> &str {
        text(self.last(), "network.protocol")
    }

    /// Other names that it may be meant by.
    pub fn candidates(&self) -> Vec<&str> {
        let list = at(self.last(), "destination.name.candidates").as_array();
        list.into_iter().flatten().map(|candidate| text(candidate, "domain")).collect()
    }

    pub fn is_ambiguous(&self) -> bool {
        at(self.last(), "destination.name.ambiguous") == &Value::Bool(true)
    }
}

fn has_name(record: &Value, name: &str, source: &str) {
    let found = text(record, "destination.domain");
    assert!(!found.is_empty(), "missing name, wanted {name} from {source}: {record}");
    assert_eq!(found, name, "wrong name: {record}");
    assert_eq!(text(record, "destination.name.source"), source, "source of {name}: {record}");
}

/// Checks what must hold for the name in every record: it has a source, and only what was learnt before has an age.
pub fn check_names(record: &Value) {
    let (domain, name) = (at(record, "destination.domain"), at(record, "destination.name"));
    if domain.is_null() {
        assert!(name.is_null(), "the source of no name: {record}");
        return;
    }
    let source = text(name, "source");
    assert!(SOURCES.contains(&source), "a name without a source: {record}");
    let said_by_app = matches!(source, "sni" | "http_host" | "http_proxy");
    assert_eq!(number(name, "age_ms").is_none(), said_by_app, "the age of a name: {record}");
    for candidate in at(name, "candidates").as_array().into_iter().flatten() {
        assert!(SOURCES.contains(&text(candidate, "source")), "a candidate without a source: {record}");
        assert_ne!(at(candidate, "domain"), domain, "the name is its own candidate: {record}");
    }
}

/// No record of the connections and questions of this machine has anything to do with names.
pub fn has_nothing_of_names(record: &Value) {
    assert_ne!(action(record), "dns", "{record}");
    for field in ["destination.domain", "destination.registered_domain", "destination.name", "dns", "tls"] {
        assert!(at(record, field).is_null(), "{field} in {record}");
    }
}
