//! What the owner of the device knows of.

use rusqlite::{Connection, OptionalExtension, params};

use super::values::time;
use crate::clock::Timestamp;

/// Notes that the owner knows of a finding as it is now; returns its sentence. `None`: there is none with this key.
///
/// # Errors
/// Of SQLite.
pub fn acknowledge(connection: &Connection, key: &str, at: Timestamp) -> rusqlite::Result<Option<String>> {
    let reason = connection
        .query_row("SELECT reason FROM findings WHERE key = ?1", [key], |row| row.get(0))
        .optional()?;
    if reason.is_some() {
        // It must be there after a loss of power, too: somebody was told that it is.
        connection.pragma_update(None, "synchronous", "FULL")?;
        connection.execute(
            "INSERT OR REPLACE INTO acknowledged (key, changing, at)
             SELECT key, changing, ?2 FROM findings WHERE key = ?1",
            params![key, time(at)],
        )?;
    }
    Ok(reason)
}

/// Takes it back. `false`: it was not acknowledged.
///
/// # Errors
/// Of SQLite.
pub fn withdraw(connection: &Connection, key: &str) -> rusqlite::Result<bool> {
    Ok(connection.execute("DELETE FROM acknowledged WHERE key = ?1", [key])? > 0)
}

/// Keys, each with what may not change.
///
/// # Errors
/// Of SQLite.
pub fn acknowledged(connection: &Connection) -> rusqlite::Result<Vec<(String, String)>> {
    let mut statement = connection.prepare_cached("SELECT key, changing FROM acknowledged")?;
    statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
}
