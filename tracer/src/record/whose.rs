//! Members of the record that say whose connection it is: process, user, app, container, and how that was found out.

use std::borrow::Cow;

use schemars::JsonSchema;
use serde::Serialize;

use crate::clock::Timestamp;

/// Whose connection it is: members of the record, beside those of [`Record`].
///
/// It is the same in all records of a connection and in most connections of a process, and half of the text: it is
/// rendered once and shared ([`WhoText`]).
#[derive(Debug, Serialize, JsonSchema)]
pub struct Who<'a> {
    /// The process that opened the connection, or, for `accept`, that listens.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub process: Option<ProcessObject<'a>>,
    /// The owner of the socket.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<UserObject<'a>>,
    /// The app that owns the socket, on Android.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub app: Option<AppObject<'a>>,
    /// The container that the process runs in, where the name of its control group shows it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub container: Option<ContainerObject<'a>>,
    /// How owner and process were found out, and how sure that is.
    pub attribution: Attribution<'a>,
}

/// ECS `process`: as the kernel saw it at the call, and `/proc` right after it.
#[derive(Debug, Serialize, JsonSchema)]
pub struct ProcessObject<'a> {
    /// Process id in the initial pid namespace.
    pub pid: u32,
    /// Name of the calling thread (`comm`), at most 15 bytes; control characters are escaped.
    pub name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub thread: Option<ThreadObject>,
    /// Path of the executable.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub executable: Option<&'a str>,
    /// Arguments joined with spaces, at most 1,024 bytes; control characters are escaped.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub command_line: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parent: Option<ParentObject<'a>>,
    /// Control group in the cgroup2 hierarchy. Absent for the root.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cgroup: Option<&'a str>,
    /// When the process started.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start: Option<Timestamp>,
    /// Uid that the calling task ran as; differs from `user.id` when the socket was made for somebody else.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<UserObject<'a>>,
}

#[derive(Debug, Serialize, JsonSchema)]
pub struct ThreadObject {
    pub id: u32,
}

#[derive(Debug, Serialize, JsonSchema)]
pub struct ParentObject<'a> {
    pub pid: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<&'a str>,
}

/// ECS `container`.
#[derive(Debug, Serialize, JsonSchema)]
pub struct ContainerObject<'a> {
    pub id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub runtime: Option<&'a str>,
}

/// ECS `user`.
#[derive(Debug, Serialize, JsonSchema)]
pub struct UserObject<'a> {
    /// Uid in decimal.
    pub id: Decimal,
    /// Name of the uid: Android's AID name, or the one in `/etc/passwd`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<Cow<'a, str>>,
}

/// A number that ECS wants as a string.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decimal(pub u32);

impl Serialize for Decimal {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

impl JsonSchema for Decimal {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Decimal".into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({"type": "string", "pattern": "^[0-9]+$"})
    }
}

/// The app of an Android uid.
#[derive(Debug, Serialize, JsonSchema)]
pub struct AppObject<'a> {
    /// Every package that shares the uid, sorted. Absent when the uid is not in the package list.
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    pub package: &'a [String],
    /// The uid as the kernel knows it, Android user included.
    pub uid: u32,
    /// Android user (profile): uid / 100000.
    pub android_user: u32,
    /// App id: uid % 100000; of the app itself for an SDK sandbox.
    pub app_id: u32,
    pub kind: crate::enrich::app::Kind,
    /// Came with the system image. For a shared uid: all its packages did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub preinstalled: Option<bool>,
    /// The owner of the device can uninstall it. For a shared uid: every package can be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub removable: Option<bool>,
    /// A preinstalled app that was updated after the system image was made. For a shared uid: at least one was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub updated: Option<bool>,
    /// Version code; only where the uid has one package, else see `members`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<u64>,
    /// Package that installed it; only where the uid has one package, else see `members`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub installer: Option<&'a str>,
    /// Each package of a uid that is shared by up to eight; `tracer apps --json` describes more.
    #[serde(skip_serializing_if = "<[AppMember]>::is_empty")]
    pub members: &'a [AppMember],
}

/// One package of a shared uid.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct AppMember {
    pub package: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub preinstalled: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub removable: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub updated: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub installer: Option<String>,
}

/// How owner and process of this connection were found out.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Attribution<'a> {
    /// Which hook told about the connection.
    pub method: Method,
    /// Where `user` comes from. Absent when the owner is unknown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owner: Option<OwnerSource>,
    /// Where `app` comes from, when not from the uid.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub app: Option<AppSource>,
    /// Where `process` comes from. Absent when the process is unknown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub process: Option<ProcessSource>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub confidence: Option<Confidence>,
    /// The processes that hold the socket, at most eight, where these are several.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub candidates: Vec<CandidateObject<'a>>,
    /// For whom the owner works, as Android's netd was told: for example the app that a download belongs to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on_behalf_of: Option<OnBehalfOf<'a>>,
}

/// One of several processes that hold a socket.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct CandidateObject<'a> {
    /// Process id in the initial pid namespace.
    pub pid: u32,
    /// Name of its main thread (`comm`), at most 15 bytes; control characters are escaped.
    pub name: Cow<'a, str>,
}

/// Who is charged for the traffic of a socket.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct OnBehalfOf<'a> {
    pub uid: u32,
    /// Every package that shares the uid.
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    pub package: &'a [String],
    /// What for: the name of a system tag (`download`, `media`, `backup`, `restore`, `probe`, `dns`), else the number that
    /// the owner chose, in hexadecimal.
    pub tag: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// A `sock_ops` program saw it happen.
    SockOps,
    /// A program at the tracepoint for changes of a socket's state saw it happen.
    InetSockSetState,
    /// The kernel's list of open sockets.
    SockDiag,
    /// Programs for packets and sockets on the cgroup2 root saw its datagrams.
    Cgroup,
    /// Kprobes saw its datagrams.
    Kprobe,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OwnerSource {
    /// The socket's own uid, `sk->sk_uid`.
    SkUid,
    /// The uid of the task that called connect; the socket's own was not readable.
    TaskUid,
    /// The socket's own uid in the kernel's list of open sockets.
    SockDiag,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AppSource {
    /// Android names an isolated process after its package; its uid tells nothing.
    ProcessName,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ProcessSource {
    /// The task that called connect.
    Connect,
    /// The task that called listen on the port that was connected to.
    Listen,
    /// The task that sent the first datagram, or took it from the socket.
    Datagram,
    /// The task that bound the UDP socket which received the first datagram.
    Bind,
    /// The task that asked the resolver: `dns` records only.
    Request,
    /// The only process that held the socket, or the one that listens, when the stream began (`/proc/PID/fd`).
    Holder,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Confidence {
    /// The kernel said so for this very socket.
    Certain,
    /// Very probably, but another answer is possible.
    Likely,
    /// The owner is certain; the process is one of `candidates`, and nothing tells which.
    Candidates,
}
