//! How old and how large a ledger gets.
//!
//! Age is counted in days on which something was recorded, in the order in which they came: a device that was off for months loses
//! nothing, nor does one whose clock was set a year ahead for a minute.

use rusqlite::{Connection, Transaction, TransactionBehavior, params};

use super::values::{amount, number};
use crate::judge::book::RowId;

/// Days that are kept one by one; a destination that was silent on all of them is forgotten.
const MOST_DAYS: i64 = 180;
/// Days that stay even when the file is too large.
const LEAST_DAYS: i64 = 7;
/// Bytes.
pub const MOST_BYTES: i64 = 50_000_000;
/// Recorded days after which an open flow that nobody heard of again is taken for ended.
const FLOW_DAYS: i64 = 30;
const MOST_STREAMS: i64 = 1_000;

/// Removes what is too old, and more of it while the file is larger than `most_bytes`. Returns the destinations that are no more.
///
/// # Errors
/// Of SQLite.
pub fn keep(connection: &mut Connection, most_bytes: i64) -> rusqlite::Result<Vec<RowId>> {
    let recorded = recorded_days(connection)?;
    let mut forgotten = shorten(connection, recorded.min(MOST_DAYS))?;
    let mut days = recorded_days(connection)?;
    while used_bytes(connection)? > most_bytes && days > LEAST_DAYS {
        days = (days - 1 - days / 8).max(LEAST_DAYS);
        forgotten.extend(shorten(connection, days)?);
    }
    connection.execute_batch("PRAGMA incremental_vacuum")?;
    Ok(forgotten)
}

fn recorded_days(connection: &Connection) -> rusqlite::Result<i64> {
    connection.query_row("SELECT count(*) FROM calendar", [], |row| row.get(0))
}

/// Bytes of the file that are in use.
pub fn used_bytes(connection: &Connection) -> rusqlite::Result<i64> {
    let pragma = |name: &str| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    Ok((pragma("page_count")? - pragma("freelist_count")?).saturating_mul(pragma("page_size")?))
}

/// Keeps the latest days.
fn shorten(connection: &mut Connection, days: i64) -> rusqlite::Result<Vec<RowId>> {
    let transaction = Transaction::new(connection, TransactionBehavior::Immediate)?;
    // The calendar's numbers only ever grow, without gaps but for what was removed at their beginning.
    let first: i64 = transaction.query_row(
        "SELECT coalesce(min(number), 0) FROM (SELECT number FROM calendar ORDER BY number DESC LIMIT ?1)",
        [days],
        |row| row.get(0),
    )?;
    let old = "SELECT day FROM calendar WHERE number < ?1";
    transaction.execute(
        &format!(
            "UPDATE destinations SET earlier_days = earlier_days + old.days FROM
             (SELECT destination, count(*) AS days FROM days WHERE day IN ({old}) GROUP BY destination) AS old
             WHERE id = old.destination"
        ),
        [first],
    )?;
    let removed = transaction.execute(&format!("DELETE FROM days WHERE day IN ({old})"), [first])?;
    transaction.execute("DELETE FROM calendar WHERE number < ?1", [first])?;
    let mut forgotten: Vec<RowId> = Vec::new();
    if removed > 0 {
        let mut delete = transaction.prepare(
            "DELETE FROM destinations WHERE id NOT IN (SELECT destination FROM days) RETURNING id",
        )?;
        for id in delete.query_map([], |row| row.get(0))? {
            forgotten.push(amount(id?));
        }
        drop(delete);
        transaction.execute("DELETE FROM apps WHERE id NOT IN (SELECT app FROM destinations)", [])?;
    }
    transaction.execute(
        "DELETE FROM flows WHERE touched < (SELECT coalesce(max(number), 0) FROM calendar) - ?1",
        [FLOW_DAYS],
    )?;
    transaction.execute(
        "DELETE FROM streams WHERE (boot, began) NOT IN
         (SELECT boot, began FROM streams ORDER BY began DESC LIMIT ?1)",
        params![number(u64::try_from(MOST_STREAMS).unwrap_or_default())],
    )?;
    transaction.commit()?;
    Ok(forgotten)
}
