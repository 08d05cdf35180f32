//! What of the book is not stored yet, and taking back what was. Pure.

use std::collections::{BTreeMap, BTreeSet};

use hashbrown::HashSet;
use lru::LruCache;
use smallvec::SmallVec;

use super::{App, AppId, Book, LOOK_BACK, Row, RowId, target};
use crate::judge::saved::{Batch, DayChange, Restored, SavedApp, SavedRow};
use crate::names::flow_name::registered_domain;
use crate::record::Direction;

/// What is not stored yet of an app or a row.
#[derive(Clone, Debug, Default)]
pub struct Unsaved {
    /// It is on the list of those that changed.
    is_listed: bool,
    /// It may stand in the ledger.
    is_stored: bool,
    /// What was added by day; of rows.
    days: SmallVec<[(u32, [i64; 4]); 1]>,
    /// Addresses with names; of apps.
    pub(super) has_named: bool,
}

/// Which apps and rows changed since they were stored.
#[derive(Debug, Default)]
pub struct Pending {
    apps: Vec<AppId>,
    rows: Vec<RowId>,
    removed_apps: Vec<AppId>,
    removed_rows: Vec<RowId>,
}

impl Pending {
    pub(super) fn touch_app(&mut self, id: AppId, app: &mut App) {
        if !std::mem::replace(&mut app.unsaved.is_listed, true) {
            self.apps.push(id);
        }
    }

    pub(super) fn touch_row(&mut self, id: RowId, row: &mut Row, added: Option<(u32, [i64; 4])>) {
        if !std::mem::replace(&mut row.unsaved.is_listed, true) {
            self.rows.push(id);
        }
        if let Some((day, added)) = added {
            row.unsaved.add(day, added);
        }
    }
}

impl Unsaved {
    pub(super) fn is_listed(&self) -> bool {
        self.is_listed
    }

    fn add(&mut self, day: u32, added: [i64; 4]) {
        match self.days.iter_mut().find(|(known, _)| *known == day) {
            Some((_, sums)) => {
                for (sum, amount) in sums.iter_mut().zip(added) {
                    *sum = sum.saturating_add(amount);
                }
            }
            None => self.days.push((day, added)),
        }
    }
}

impl Book {
    /// Somebody stores it from now on: what changes is remembered until it is taken.
    pub fn remember_changes(&mut self) {
        self.pending.get_or_insert_default();
    }

    /// Whether anything waits to be stored.
    #[must_use]
    pub fn has_changes(&self) -> bool {
        self.pending.as_ref().is_some_and(|pending| {
            let Pending { apps, rows, removed_apps, removed_rows } = pending;
            !(apps.is_empty() && rows.is_empty() && removed_apps.is_empty() && removed_rows.is_empty())
        })
    }

    /// An app or a row is another one than what was stored of it.
    pub(super) fn touch(&mut self, id: u64) {
        if self.pending.is_none() {
            return;
        }
        if self.rows.contains_key(&id) {
            self.touch_row(id, None);
        } else {
            self.touch_app(id);
        }
    }

    fn touch_app(&mut self, id: AppId) {
        if let (Some(pending), Some(app)) = (&mut self.pending, self.apps.get_mut(&id)) {
            pending.touch_app(id, app);
        }
    }

    /// A row changed; `added`: what was added to it, on which day.
    pub(super) fn touch_row(&mut self, id: RowId, added: Option<(u32, [i64; 4])>) {
        if let (Some(pending), Some(row)) = (&mut self.pending, self.rows.get_mut(&id)) {
            pending.touch_row(id, row, added);
        }
    }

    pub(super) fn note_removed_row(&mut self, id: RowId, row: &Row) {
        if let Some(pending) = &mut self.pending
            && row.unsaved.is_stored
        {
            pending.removed_rows.push(id);
        }
    }

    pub(super) fn note_removed_app(&mut self, id: AppId, app: &App) {
        if let Some(pending) = &mut self.pending
            && app.unsaved.is_stored
        {
            pending.removed_apps.push(id);
        }
    }

    /// Puts what changed into a batch.
    pub(in crate::judge) fn take_changes(&mut self, batch: &mut Batch) {
        let Some(pending) = self.pending.as_mut().map(std::mem::take) else { return };
        for id in pending.apps {
            if let Some(app) = self.apps.get_mut(&id) {
                batch.apps.push(saved_app(id, app));
            }
        }
        batch.rows.reserve(pending.rows.len());
        batch.days.reserve(pending.rows.len());
        for id in pending.rows {
            if let Some(row) = self.rows.get_mut(&id) {
                let days = std::mem::take(&mut row.unsaved.days);
                batch.days.extend(days.into_iter().map(|(day, added)| (id, day, added)));
                batch.rows.push(saved_row(id, row));
            }
        }
        batch.removed_apps = pending.removed_apps;
        batch.removed_rows = pending.removed_rows;
    }

    /// A batch could not be stored: its changes wait again.
    pub(in crate::judge) fn put_back(&mut self, batch: &Batch) {
        if let Some(pending) = &mut self.pending {
            pending.removed_apps.extend(&batch.removed_apps);
            pending.removed_rows.extend(&batch.removed_rows);
        }
        for app in &batch.apps {
            if let Some(known) = self.apps.get_mut(&app.id) {
                known.unsaved.has_named |= app.named.is_some();
            }
            self.touch_app(app.id);
        }
        batch.rows.iter().for_each(|row| self.touch_row(row.id, None));
        batch.days.iter().for_each(|&(row, day, added): &DayChange| self.touch_row(row, Some((day, added))));
    }

    /// Takes back what an earlier run left.
    pub(in crate::judge) fn restore(&mut self, restored: Restored) {
        self.remember_changes();
        self.next_id = restored.next_id.max(self.next_id);
        for app in restored.apps {
            self.app_ids.insert(app.key.clone(), app.id);
            self.apps.insert(app.id, app_of(app));
        }
        for (id, day, sent) in restored.sent {
            if let Some(app) = self.apps.get_mut(&id) {
                app.sent.insert(day, sent);
                while app.sent.len() > LOOK_BACK {
                    app.sent.pop_first();
                }
            }
        }
        for row in restored.rows {
            self.restore_row(row);
        }
    }

    fn restore_row(&mut self, row: SavedRow) {
        let key = row.key;
        let Some(app) = self.apps.get_mut(&key.app) else { return };
        if key.direction != Some(Direction::Ingress) {
            app.countries.extend(key.country);
            let name = key.name.as_deref();
            let registered = name.map(|name| registered_domain(name).unwrap_or(name));
            app.targets.extend(target(key.service.as_deref(), registered, key.asn));
        }
        self.row_ids.insert(key.clone(), row.id);
        let restored = Row {
            key,
            first_seen: row.first_seen,
            last_seen: row.last_seen,
            total: row.total,
            connects: row.connects,
            unsaved: Unsaved { is_stored: true, ..Unsaved::default() },
        };
        self.rows.insert(row.id, restored);
    }
}

fn saved_app(id: AppId, app: &mut App) -> SavedApp {
    app.unsaved.is_listed = false;
    app.unsaved.is_stored = true;
    let has_named = std::mem::take(&mut app.unsaved.has_named);
    SavedApp {
        id,
        key: app.key.clone(),
        label: app.label.clone(),
        is_preinstalled: app.is_preinstalled,
        first_seen: app.first_seen,
        last_seen: app.last_seen,
        named: has_named.then(|| app.named.iter().map(|(&address, ())| address).collect()),
    }
}

fn saved_row(id: RowId, row: &mut Row) -> SavedRow {
    row.unsaved.is_listed = false;
    row.unsaved.is_stored = true;
    SavedRow {
        id,
        key: row.key.clone(),
        first_seen: row.first_seen,
        last_seen: row.last_seen,
        total: row.total,
        connects: row.connects.clone(),
    }
}

fn app_of(saved: SavedApp) -> App {
    let mut named = LruCache::unbounded();
    // The latest last, so that it leaves last.
    saved.named.iter().flatten().rev().for_each(|&address| {
        named.put(address, ());
    });
    App {
        key: saved.key,
        label: saved.label,
        is_preinstalled: saved.is_preinstalled,
        first_seen: saved.first_seen,
        last_seen: saved.last_seen,
        countries: BTreeSet::new(),
        targets: HashSet::new(),
        named,
        sent: BTreeMap::new(),
        unsaved: Unsaved { is_stored: true, ..Unsaved::default() },
    }
}
