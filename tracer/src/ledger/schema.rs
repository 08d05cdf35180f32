//! The form of the file, and its upgrades. docs/ledger.md explains it to other tools.

use rusqlite::{Connection, Transaction, TransactionBehavior};

/// `TRCR`: tells a ledger from databases of other programs.
pub const APPLICATION: i64 = 0x5452_4352;

/// Each brings the form one number further; none is ever changed once it was released.
const STEPS: &[&str] = &[TABLES, VIEWS];

/// Of the form that this program writes.
#[allow(clippy::cast_possible_wrap, reason = "a handful")]
pub const VERSION: i64 = STEPS.len() as i64;

/// Times are nanoseconds since 1970 in UTC, days are counted from 1970-01-01, bytes and counts are whole numbers. NULL: not known.
const TABLES: &str = "
CREATE TABLE apps (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL,
    user INTEGER,
    is_package INTEGER NOT NULL,
    label TEXT NOT NULL,
    preinstalled INTEGER,
    first_seen INTEGER NOT NULL,
    last_seen INTEGER NOT NULL,
    named BLOB
);
CREATE TABLE destinations (
    id INTEGER PRIMARY KEY,
    app INTEGER NOT NULL,
    direction TEXT,
    service TEXT,
    name TEXT,
    country TEXT,
    asn INTEGER,
    transport TEXT NOT NULL,
    port INTEGER,
    first_seen INTEGER NOT NULL,
    last_seen INTEGER NOT NULL,
    connections INTEGER NOT NULL,
    failures INTEGER NOT NULL,
    sent INTEGER NOT NULL,
    received INTEGER NOT NULL,
    earlier_days INTEGER NOT NULL DEFAULT 0,
    cadence_score REAL,
    cadence_interval_ms INTEGER,
    beats BLOB
);
CREATE INDEX destinations_by_app ON destinations (app);
CREATE TABLE days (
    destination INTEGER NOT NULL,
    day INTEGER NOT NULL,
    connections INTEGER NOT NULL,
    failures INTEGER NOT NULL,
    sent INTEGER NOT NULL,
    received INTEGER NOT NULL,
    PRIMARY KEY (destination, day)
) WITHOUT ROWID;
CREATE TABLE calendar (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    day INTEGER NOT NULL UNIQUE
);
CREATE TABLE findings (
    key TEXT PRIMARY KEY,
    rule TEXT NOT NULL,
    severity TEXT NOT NULL,
    reason TEXT NOT NULL,
    expected_if TEXT,
    first INTEGER NOT NULL,
    last INTEGER NOT NULL,
    count INTEGER NOT NULL,
    flows TEXT NOT NULL,
    changing TEXT NOT NULL,
    app INTEGER,
    destination INTEGER,
    told INTEGER
) WITHOUT ROWID;
CREATE TABLE acknowledged (
    key TEXT PRIMARY KEY,
    changing TEXT NOT NULL,
    at INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE flows (
    boot INTEGER NOT NULL,
    cookie INTEGER NOT NULL,
    peer INTEGER NOT NULL,
    ends INTEGER NOT NULL,
    first INTEGER NOT NULL,
    connected INTEGER,
    before INTEGER,
    last_bytes INTEGER NOT NULL,
    last_packets INTEGER NOT NULL,
    beats BLOB,
    app INTEGER,
    destination INTEGER,
    connections INTEGER,
    failures INTEGER,
    sent INTEGER,
    received INTEGER,
    day INTEGER,
    new_destination INTEGER,
    new_country INTEGER,
    noticed TEXT NOT NULL,
    touched INTEGER NOT NULL,
    PRIMARY KEY (boot, cookie, peer)
) WITHOUT ROWID;
CREATE TABLE streams (
    boot INTEGER NOT NULL,
    began INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    PRIMARY KEY (boot, began)
) WITHOUT ROWID;
";

/// For a person and other tools: everything about a destination in one row, with times that can be read.
const VIEWS: &str = "
CREATE VIEW ledger AS
SELECT a.label AS app, a.name AS app_name, a.user AS app_user, a.preinstalled AS preinstalled,
    d.direction, d.service, d.name AS host, d.country, d.asn, d.transport, d.port,
    strftime('%Y-%m-%dT%H:%M:%SZ', d.first_seen / 1000000000, 'unixepoch') AS first_seen,
    strftime('%Y-%m-%dT%H:%M:%SZ', d.last_seen / 1000000000, 'unixepoch') AS last_seen,
    d.earlier_days + (SELECT count(*) FROM days WHERE days.destination = d.id) AS days,
    d.connections, d.failures, d.sent, d.received, d.cadence_score, d.cadence_interval_ms
FROM destinations d JOIN apps a ON a.id = d.app;
";

/// Brings the form to [`VERSION`], in one transaction.
///
/// # Errors
/// Of SQLite; the file is as it was then.
pub fn upgrade(connection: &mut Connection, from: i64) -> rusqlite::Result<()> {
    let transaction = Transaction::new(connection, TransactionBehavior::Immediate)?;
    for step in STEPS.iter().skip(usize::try_from(from).unwrap_or_default()) {
        transaction.execute_batch(step)?;
    }
    transaction.pragma_update(None, "application_id", APPLICATION)?;
    transaction.pragma_update(None, "user_version", VERSION)?;
    transaction.commit()
}

#[cfg(test)]
pub fn first_form(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute_batch(TABLES)?;
    connection.pragma_update(None, "application_id", APPLICATION)?;
    connection.pragma_update(None, "user_version", 1)
}
