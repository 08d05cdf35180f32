//! Which app a uid is.

use schemars::JsonSchema;
use serde::Serialize;

/// What a uid stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    App,
}
