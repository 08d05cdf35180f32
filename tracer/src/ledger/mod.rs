//! The ledger: what each app has done with each of its destinations, over days, restarts and updates; in a file of SQLite.
//!
//! ```text
//!  judge ──Batch──▶ keeper ──▶ writer (own thread) ──▶ file ◀── tracer ledger, ack, report, other tools
//!        ◀─Restored── load ◀───────────────────────────┘
//! ```
//! The judge's book is what counts while a tracer runs; the file follows it in batches, each one transaction. A process that is
//! killed loses what was not in a batch yet and nothing else; what cannot be written waits in the book and is written later. One
//! tracer writes at a time; others may read meanwhile, and acknowledge findings (WAL).

mod ack;
mod bounds;
mod command;
mod connection;
mod error;
mod keeper;
mod load;
mod lock;
mod place;
mod query;
mod schema;
#[cfg(test)]
mod tests;
mod values;
mod write;
mod writer;

pub use ack::acknowledge;
pub use command::{ack, ledger};
pub use connection::{is_ledger, read_only};
pub use error::LedgerError;
pub use keeper::{Keeper, News};
pub use load::{days, load};
pub use place::default_place;
pub use schema::VERSION;
pub use writer::Reply;
