//! Where an address is: scope, country and network. See `Geo`.

use schemars::JsonSchema;
use serde::Serialize;

/// What kind of address this is, by the IANA special-purpose registries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    Global,
    Loopback,
}

/// A database in use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct DatabaseInfo {
    /// Path, or `built-in`.
    pub name: String,
}
