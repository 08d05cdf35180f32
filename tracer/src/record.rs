//! The output record and its JSON form: the only place that knows field names.
//!
//! Flows in: finished facts from `flow`, `enrich` and `judge`. Flows out: one JSON object per line, named as the
//! Elastic Common Schema (ECS) names things, plus our own objects where ECS has none. What is unknown is absent:
//! never `null`, `""`, `"?"` or a made-up `0`. Within a major version of [`SCHEMA`] fields are only added.
//! `docs/schema.md` explains every field; `tracer schema` prints the JSON Schema made from these types.

use std::net::IpAddr;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use smallvec::SmallVec;
use strum::IntoStaticStr;

use crate::clock::Timestamp;

mod alert;
pub mod connection;
mod name;
mod place;
mod schema;
mod stream;
mod who;
mod who_cache;
mod whose;
pub use alert::*;
pub use connection::service_object;
pub use name::*;
pub use place::{PlaceCache, PlaceText, Places, Rendered};
pub use schema::{member_paths, schema};
pub use stream::*;
pub use who::WhoText;
pub use who_cache::WhoCache;
pub use whose::*;

/// Name and version of the record form, in every record.
pub const SCHEMA: &str = "tracer/1.0";

/// One line of output.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(title = "tracer record")]
pub struct Record<'a> {
    /// Form of this record, `tracer/MAJOR.MINOR`.
    pub schema: &'static str,
    /// Number of this record in its stream, from 1, without gaps: a gap is a line that was lost on the way.
    pub seq: u64,
    /// When it happened, RFC 3339 UTC with nanoseconds.
    #[serde(rename = "@timestamp")]
    pub timestamp: Timestamp,
    pub event: EventObject<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub flow: Option<FlowObject<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub network: Option<NetworkObject<'a>>,
    /// The end that opened the connection.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<Endpoint<'a>>,
    /// The end that was connected to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub destination: Option<Endpoint<'a>>,
    /// What was noticed about this connection, each with its reason.
    #[serde(skip_serializing_if = "<[Flag]>::is_empty")]
    pub flags: &'a [Flag],
    /// The rule behind a finding (ECS `rule`): `alert` records only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule: Option<RuleObject<'a>>,
    /// A finding: `alert` records only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub alert: Option<AlertObject<'a>>,
    /// What a TLS or QUIC client said in the clear.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<TlsObject<'a>>,
    /// A question to a resolver: `dns` records only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dns: Option<DnsObject<'a>>,
    /// Why an `error` happened (ECS `error`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<ErrorObject>,
    /// About the stream itself: `start`, `reload`, `stats`, `loss`, `warning` and `stop` records only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tracer: Option<StreamObject<'a>>,
    /// Whose connection it is: the members of [`Who`], rendered before.
    #[serde(skip)]
    pub who: Option<&'a WhoText>,
}

/// What kind of record this is (ECS `event`).
#[derive(Clone, Copy, Debug, Serialize, JsonSchema)]
pub struct EventObject<'a> {
    pub kind: EventKind,
    /// ECS category, `["network"]` for connections.
    #[serde(skip_serializing_if = "<[&str]>::is_empty")]
    pub category: &'a [&'static str],
    /// ECS type, e.g. `["connection","start"]`.
    #[serde(skip_serializing_if = "<[&str]>::is_empty")]
    #[serde(rename = "type")]
    pub types: &'a [&'static str],
    pub action: Action,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outcome: Option<Outcome>,
    /// Age of the connection when it ended, nanoseconds: `close` and `failed` only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub duration: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum EventKind {
    /// Something happened to a connection.
    Event,
    /// Something was noticed.
    Alert,
    /// The stream started or stopped.
    State,
    /// Figures about the stream.
    Metric,
    /// Something was lost or went wrong on our side.
    PipelineError,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema, IntoStaticStr)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Action {
    /// A process asked for a connection; nothing is known yet about its success.
    Connect,
    /// The connection that was asked for is there.
    Established,
    /// The connection that was asked for never came to be.
    Failed,
    /// Somebody connected to a listening socket of this machine.
    Accept,
    /// An established connection ended.
    Close,
    /// The connection was open before the stream began, or its beginning was lost.
    Existing,
    /// A connection that is still open moved more data.
    Sample,
    /// The name of a connection's destination was learnt after the last record.
    Named,
    /// A resolver was asked for a name.
    Dns,
    /// Something was noticed: a finding, told once.
    Alert,
    /// A socket that waits for others: `tracer snapshot` only.
    Listening,
    /// First record of a stream.
    Start,
    /// Events or records were lost; exact counts.
    Loss,
    /// Data files were read again.
    Reload,
    /// Figures about the stream, now and then and on SIGUSR1.
    Stats,
    /// Something is wrong that the stream can go on with.
    Warning,
    /// Last record of a stream.
    Stop,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    Success,
    Failure,
    Unknown,
}

/// One connection over its life.
#[derive(Clone, Copy, Debug, Serialize, JsonSchema)]
pub struct FlowObject<'a> {
    /// The same in every record of one connection; unique across reboots.
    pub id: FlowId<'a>,
    /// Time since the connection was asked for (or accepted), milliseconds. Absent when its beginning was not seen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub age_ms: Option<u64>,
    /// For how long the socket had neither sent nor received any data: `sample` and `existing` only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub silent_ms: Option<u64>,
    /// Inode of the network namespace that the socket lives in, as in `/proc/PID/ns/net`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub netns: Option<u32>,
    /// How it ended: `close` and `failed` only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub end: Option<End>,
    /// Which side ended it, where that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub end_by: Option<Side>,
}

/// `BOOT-COOKIE` in hexadecimal: the first 32 bits of the kernel's boot id, and the socket cookie. Of UDP,
/// `BOOT-COOKIE-PEER`, because a socket has a flow for each peer: a hash of the remote address and port; a UDP socket that has
/// no cookie is given a number.
#[derive(Clone, Copy, Debug)]
pub struct FlowId<'a> {
    pub boot: &'a str,
    pub cookie: u64,
    pub peer: Option<u32>,
}

impl Serialize for FlowId<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut text = SmallVec::<[u8; 64]>::from_slice(self.boot.as_bytes());
        push_hex(&mut text, self.cookie);
        if let Some(peer) = self.peer {
            push_hex(&mut text, peer.into());
        }
        serializer.serialize_str(std::str::from_utf8(&text).map_err(serde::ser::Error::custom)?)
    }
}

/// Appends `-` and the number in hexadecimal. By hand: an id takes 23 ns so, and 54 with
/// `format_args!`, for every record.
fn push_hex(text: &mut SmallVec<[u8; 64]>, number: u64) {
    text.push(b'-');
    let digits = (64 - number.leading_zeros()).div_ceil(4).max(1);
    text.extend((0..digits).rev().map(|digit| b"0123456789abcdef"[(number >> (4 * digit) & 0xf) as usize]));
}

impl JsonSchema for FlowId<'_> {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "FlowId".into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({"type": "string", "pattern": "^[0-9a-f]{8}-[0-9a-f]+(-[0-9a-f]+)?$"})
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema, IntoStaticStr)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum End {
    /// In order, with FIN.
    Closed,
    /// A reset ended it.
    Reset,
    /// The peer said that nobody listens there.
    Refused,
    /// Nobody answered in time.
    TimedOut,
    /// A router or this machine said that there is no way to the peer.
    Unreachable,
    /// The process gave up or went away before the connection was there.
    Aborted,
    /// Ended by this machine's network stack or administrator, see `error.code`.
    Error,
    /// The flow table was full: we stopped watching, the connection itself may go on.
    Evicted,
    /// Nothing was sent or received for the time of `--udp-idle`: UDP only. The socket may still be open.
    Idle,
    /// It is not open any more, and how it ended was not seen.
    Unseen,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    Local,
    Remote,
}

/// ECS `network`.
#[derive(Clone, Copy, Debug, Serialize, JsonSchema)]
pub struct NetworkObject<'a> {
    pub transport: Transport,
    /// What the connection carries, where it shows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub protocol: Option<Protocol>,
    /// `true` when what it carries is not encrypted: HTTP.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub cleartext: bool,
    #[serde(rename = "type")]
    pub family: Family,
    /// Absent when the beginning of the connection was not seen; `source` is the local end then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub direction: Option<Direction>,
    /// Community ID v1, seed 0: joins these records with those of Zeek, Suricata and others.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub community_id: Option<&'a str>,
    /// Smoothed round-trip time, microseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rtt_us: Option<u32>,
    /// Segments sent again over the life of the connection.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retransmits: Option<u32>,
}

#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    JsonSchema,
    IntoStaticStr,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Transport {
    Tcp,
    Udp,
}

/// What a connection carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema, IntoStaticStr)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Protocol {
    /// By its first packet (RFC 9000), or by port 443 and the form of a later one.
    Quic,
    /// By its ClientHello.
    Tls,
    /// By its first request: HTTP/1.
    Http,
    /// By its port and a message.
    Dns,
}

impl Transport {
    /// IANA protocol number.
    #[must_use]
    pub fn protocol(self) -> u8 {
        match self {
            Self::Tcp => 6,
            Self::Udp => 17,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Family {
    Ipv4,
    Ipv6,
}

#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    JsonSchema,
    IntoStaticStr,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Direction {
    /// Opened by this machine.
    Egress,
    /// Opened by somebody else.
    Ingress,
}

/// One end of a connection (ECS `source`, `destination`).
#[derive(Clone, Copy, Debug, Serialize, JsonSchema)]
pub struct Endpoint<'a> {
    /// IPv4 or IPv6; v4-mapped addresses are written as IPv4.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ip: Option<&'a Rendered<IpAddr>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// The host that the app asked for; how it was found stands in `name`. `destination` only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub domain: Option<&'a str>,
    /// What somebody registered of it, by the Public Suffix List.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub registered_domain: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<NameObject<'a>>,
    /// What kind of address this is.
    pub scope: crate::enrich::geo::Scope,
    /// The IPv4 address inside a NAT64 address (64:ff9b::/96).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nat64: Option<IpAddr>,
    /// `true` when this address is announced from many places, so that a country would mean nothing.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub anycast: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub geo: Option<&'a Rendered<GeoObject<'static>>>,
    #[serde(rename = "as", skip_serializing_if = "Option::is_none")]
    pub asn: Option<&'a Rendered<AsObject<'static>>>,
    /// The known service that is talked to: `destination` only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service: Option<ServiceObject<'a>>,
    /// Lists of the user (`--list`) that its name stands on.
    #[serde(skip_serializing_if = "<[&str]>::is_empty")]
    pub lists: &'a [&'a str],
    /// Payload bytes that this end sent and the other acknowledged: `close` and `failed` only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// TCP segments that this end sent, as this machine saw them, SYN, FIN, RST and pure acknowledgements included:
    /// `close` and `failed` only. Of a handshake with retransmissions, an accepted connection counts one SYN and one
    /// SYN-ACK. When this machine closes first, `close` comes once its FIN is acknowledged: a FIN that the peer sends
    /// later, and its acknowledgement, are not in here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub packets: Option<u64>,
    /// Where the rendered members come from.
    #[serde(skip)]
    pub place: &'a PlaceText,
}

/// ECS `geo`: from the databases that the `start` record names.
#[derive(Debug, Serialize, JsonSchema)]
pub struct GeoObject<'a> {
    /// ISO 3166-1 alpha-2 (and `XK` for Kosovo).
    pub country_iso_code: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub country_name: Option<&'a str>,
}

/// ECS `as`: the network that announces the address.
#[derive(Debug, Serialize, JsonSchema)]
pub struct AsObject<'a> {
    pub number: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub organization: Option<OrganizationObject<'a>>,
}

#[derive(Debug, Serialize, JsonSchema)]
pub struct OrganizationObject<'a> {
    pub name: &'a str,
}

/// Something noticed about a connection. Evidence, not accusation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Flag {
    /// Stable name of the rule that noticed it, for filters.
    #[serde(serialize_with = "shared_text")]
    #[schemars(with = "String")]
    pub id: Arc<str>,
    pub severity: Severity,
    /// For a person: what was seen and why it is mentioned.
    pub reason: String,
}

#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema, IntoStaticStr,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Severity {
    Info,
    Low,
    Medium,
    High,
}

/// ECS `error`.
#[derive(Clone, Copy, Debug, Serialize, JsonSchema)]
pub struct ErrorObject {
    /// Name of the errno that the socket ended with, e.g. `ECONNREFUSED`.
    pub code: &'static str,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flow_id_is_boot_cookie_and_peer_in_hexadecimal() {
        let id = |cookie, peer| serde_json::to_value(FlowId { boot: "00c0ffee", cookie, peer }).unwrap();
        assert_eq!(id(0x2f31, None), "00c0ffee-2f31");
        assert_eq!(id(0, Some(0)), "00c0ffee-0-0");
        assert_eq!(id(u64::MAX, Some(0x00ab_cdef)), "00c0ffee-ffffffffffffffff-abcdef");
    }
}
