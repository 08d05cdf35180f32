//! Rows of the book: adding to them, moving between them, and making room. Pure.

use super::{Amounts, Book, RowId, earliest};
use crate::clock::Timestamp;

impl Book {
    pub(super) fn add(&mut self, row: RowId, day: u32, added: Amounts, at: Timestamp) {
        let is_set_back = self.is_set_back();
        let Some(known) = self.rows.get_mut(&row) else { return };
        known.total.add(&added);
        known.last_seen = known.last_seen.max(at);
        known.first_seen = earliest(known.first_seen, at, is_set_back);
        if let Some(pending) = &mut self.pending {
            pending.touch_row(row, known, Some((day, added.signed())));
        }
    }

    pub(super) fn subtract(&mut self, row: RowId, day: u32, moved: Amounts) {
        let Some(known) = self.rows.get_mut(&row) else { return };
        known.total = known.total.since(&moved);
        let is_empty = known.total == Amounts::default();
        if self.pending.is_some() {
            self.touch_row(row, Some((day, moved.signed().map(|amount| -amount))));
        }
        if is_empty {
            // It only waited for a name.
            self.remove_row(row);
        }
    }

    fn remove_row(&mut self, id: RowId) {
        let Some(row) = self.rows.remove(&id) else { return };
        self.row_ids.remove(&row.key);
        self.note_removed_row(id, &row);
    }

    /// Forgets rows that the ledger holds no more, unless something was added to them since.
    pub(in crate::judge) fn forget(&mut self, rows: &[RowId]) {
        for id in rows {
            if self.rows.get(id).is_some_and(|row| !row.unsaved.is_listed())
                && let Some(row) = self.rows.remove(id)
            {
                self.row_ids.remove(&row.key);
            }
        }
    }

    /// Removes a twentieth of the rows: those that were silent longest.
    pub(super) fn make_room_for_rows(&mut self) {
        let mut oldest: Vec<(Timestamp, RowId)> =
            self.rows.iter().map(|(&id, row)| (row.last_seen, id)).collect();
        let many = (oldest.len() / 20).clamp(1, oldest.len().max(1));
        if oldest.len() > many {
            oldest.select_nth_unstable(many);
        }
        for (_, id) in oldest.into_iter().take(many) {
            self.remove_row(id);
        }
    }

    pub(super) fn make_room_for_apps(&mut self) {
        // Of two that were silent equally long the older one, in every run.
        let oldest = self.apps.iter().min_by_key(|&(&id, app)| (app.last_seen, id)).map(|(&id, _)| id);
        let Some(id) = oldest else { return };
        let rows: Vec<RowId> =
            self.rows.iter().filter(|(_, row)| row.key.app == id).map(|(&id, _)| id).collect();
        rows.into_iter().for_each(|row| self.remove_row(row));
        if let Some(app) = self.apps.remove(&id) {
            self.app_ids.remove(&app.key);
            self.note_removed_app(id, &app);
        }
    }
}
