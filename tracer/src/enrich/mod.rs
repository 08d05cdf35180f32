//! Adds what user space knows: app, process, place, and on whose behalf. Each part is bounded, and what is unknown stays absent.

pub mod app;
pub mod geo;
pub mod process;
pub mod tags;

use app::{App, AppTable};
use geo::Geo;
use process::{Process, ProcessTable};
use tags::TagMap;

/// All that is looked up for a record.
pub struct Enricher {
    pub apps: AppTable,
    pub processes: ProcessTable,
    pub geo: Geo,
    /// netd's, on Android.
    pub tags: Option<TagMap>,
}

impl Enricher {
    /// The app that owns a socket.
    #[must_use]
    pub fn app_of(&self, owner: Option<u32>, process: Option<&Process>) -> Option<App<'_>> {
        let app = self.apps.lookup(owner?)?;
        let command_line = process.and_then(|process| process.command_line.as_deref());
        Some(command_line.and_then(|name| self.apps.named_by_process(&app, name)).unwrap_or(app))
    }
}
