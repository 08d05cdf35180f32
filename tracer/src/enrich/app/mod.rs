//! Which app a uid is.
//!
//! Flows in: `data/system/packages.list` and `packages.xml` below a root directory, the built-in AID table, and on
//! plain Linux `/etc/passwd`. Flows out: an [`AppTable`], which answers "whose is this uid" by borrowing. The files
//! are foreign: a bad one gives one warning and what could be read of it, never a stop, a panic or unbounded memory.
//! Must never guess: packages of a shared uid are all kept, and an isolated process has the package that its name says, marked as such.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use strum::IntoStaticStr;

mod abx;
mod aid;
mod command;
mod file;
mod packages_list;
mod packages_xml;
mod passwd;
mod table;
#[cfg(test)]
pub(crate) mod tests;
pub mod uid;
mod xml_text;

pub use command::print;
pub use table::{App, AppTable, watch_paths};

/// What a uid stands for. The first rule that fits decides.
///
/// The number decides for `root`, `shell`, `sdk_sandbox` and `isolated`. An app id from 10000 to 19999 is `system`
/// when every package that shares it came with the system image, and else `app` (also when that is not known). A
/// fixed id (below 10000) is `system` when packages own it, and else `service`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema, IntoStaticStr)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Kind {
    /// An app that the owner of the device installed (or that is not known to be preinstalled).
    App,
    /// A part of the system image that consists of packages: the system server (uid 1000), telephony (1001),
    /// Bluetooth (1002), and every preinstalled app, updated since or not.
    System,
    /// Advertising and other SDKs running apart from the app that brought them; the packages are those of the app.
    SdkSandbox,
    /// A process without any rights of its own, such as a browser's renderer. Its uid does not tell whose it is.
    Isolated,
    /// `adb shell` and what is started from there.
    Shell,
    Root,
    /// A native daemon under a fixed id without packages, such as netd's resolver (uid 1051).
    Service,
}
