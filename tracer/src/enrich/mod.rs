//! Adds what user space knows: app, process, place. Each part is bounded, and what is unknown stays absent.

pub mod app;
pub mod geo;
pub mod process;

use app::AppTable;
use geo::Geo;
use process::ProcessTable;

/// All that is looked up for a record.
pub struct Enricher {
    pub apps: AppTable,
    pub processes: ProcessTable,
    pub geo: Geo,
}
