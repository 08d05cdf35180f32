//! What a record says about names: of the destination, of what TLS shows in the clear, and of questions to resolvers.

use std::net::IpAddr;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize, Serializer};
use strum::IntoStaticStr;

/// Where the name of a destination comes from, best first.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema, IntoStaticStr,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum NameSource {
    /// The connection itself: the server name in its TLS or QUIC ClientHello.
    Sni,
    /// The connection itself: the `Host` of its first HTTP request.
    HttpHost,
    /// The connection itself: what its first HTTP request asks a proxy for. The destination is the proxy.
    HttpProxy,
    /// The same app asked for it by DNS before, and the answer had this address.
    Dns,
    /// The same app asked its system's resolver for it before, and the answer had this address.
    Resolver,
    /// The same app asked its system's resolver for it just before, and the answer was not seen: a guess.
    ResolverNext,
    /// A machine nearby announced it by multicast DNS.
    Mdns,
    /// Another app asked for it, and the answer had this address.
    OtherDns,
}

/// How the name of a destination was found.
#[derive(Clone, Copy, Debug, Serialize, JsonSchema)]
pub struct NameObject<'a> {
    pub source: NameSource,
    /// Milliseconds from the answer (or the request) to the connection: names from resolvers only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub age_ms: Option<u64>,
    /// `true` when another name, among `candidates`, may be the right one as well.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub ambiguous: bool,
    /// Other names that were found.
    #[serde(skip_serializing_if = "<[NameCandidate]>::is_empty")]
    pub candidates: &'a [NameCandidate],
}

/// A name that was not taken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct NameCandidate {
    #[serde(serialize_with = "shared_text")]
    #[schemars(with = "String")]
    pub domain: Arc<str>,
    pub source: NameSource,
}

// By reference, as serde hands it over.
pub(super) fn shared_text<S: Serializer>(domain: &Arc<str>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(domain)
}

/// ECS `tls`.
#[derive(Debug, Serialize, JsonSchema)]
pub struct TlsObject<'a> {
    pub client: TlsClient<'a>,
}

/// What the client said before anything was encrypted.
#[derive(Debug, Serialize, JsonSchema)]
pub struct TlsClient<'a> {
    /// The server name that it asked for (SNI).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server_name: Option<&'a str>,
    /// Fingerprint of the client, JA4.
    pub ja4: &'a str,
    /// Protocols that it offered (ALPN).
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    pub alpn: &'a [String],
    /// `true` when it brought an Encrypted ClientHello: a real one hides the name proper, and `server_name` is that of the
    /// front. Browsers also send meaningless ones; the two cannot be told apart.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub ech: bool,
}

/// ECS `dns`: a question to a resolver: `dns` records only.
#[derive(Debug, Serialize, JsonSchema)]
pub struct DnsObject<'a> {
    /// `query` when no answer was seen.
    #[serde(rename = "type")]
    pub kind: DnsKind,
    pub question: DnsQuestion<'a>,
    /// E.g. `NOERROR`, `NXDOMAIN`. Absent where the system's resolver was asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub response_code: Option<&'a str>,
    /// Addresses in the answer, hints in HTTPS records included.
    #[serde(skip_serializing_if = "<[IpAddr]>::is_empty")]
    pub resolved_ip: &'a [IpAddr],
    /// `true` when the answer did not fit, so that the app asks again over TCP.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub truncated: bool,
    /// Who was asked, where it is not a DNS server.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resolver: Option<Resolver>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DnsKind {
    Query,
    Answer,
}

/// A resolver of the system, asked over a Unix socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Resolver {
    /// Android's, `/dev/socket/dnsproxyd`.
    Dnsproxyd,
    /// systemd's, `/run/systemd/resolve/io.systemd.Resolve`.
    SystemdResolved,
}

#[derive(Debug, Serialize, JsonSchema)]
pub struct DnsQuestion<'a> {
    pub name: &'a str,
    /// E.g. `AAAA`. Absent where a resolver was asked for addresses of any kind.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<&'a str>,
    /// What somebody registered: the public suffix and one label more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub registered_domain: Option<&'a str>,
}
