//! Where records go: a form ([`Format`]) and an output that never blocks the pipeline ([`output`]).

mod jsonl;
pub mod output;
mod pretty;
pub mod table;

pub use pretty::Pretty;

use crate::record::Record;

/// How records are written.
pub enum Format {
    /// One JSON object per line.
    Jsonl,
    /// One aligned line per connection, for people.
    Pretty(Pretty),
    /// One aligned row per open socket, for people.
    Table,
}

impl Format {
    /// Appends the record to `line`, newline included; appends nothing when this form leaves the record out.
    pub fn render(&self, record: &Record<'_>, line: &mut Vec<u8>) {
        match self {
            Self::Jsonl => jsonl::render(record, line),
            Self::Pretty(pretty) => pretty.render(record, line),
            Self::Table => table::render(record, line),
        }
    }
}
