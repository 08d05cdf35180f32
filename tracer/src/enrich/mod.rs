//! Adds what user space knows: app, process, place, and on whose behalf. Each part is bounded, and what is unknown stays absent.

pub mod app;
pub mod geo;
pub mod process;
pub mod tags;

use app::AppTable;
use geo::Geo;
use process::ProcessTable;
use tags::TagMap;

/// All that is looked up for a record.
pub struct Enricher {
    pub apps: AppTable,
    pub processes: ProcessTable,
    pub geo: Geo,
    /// netd's, on Android.
    pub tags: Option<TagMap>,
}
