//! The file as plain values again. A row that cannot be understood is left out and counted.

use std::path::Path;
use std::sync::Arc;

use rusqlite::{Connection, Row};

use super::error::LedgerError;
use super::values::{amount, timestamp, unpacked, word};
use crate::enrich::geo;
use crate::judge::book::{Amounts, AppKey, Connects, RowKey};
use crate::judge::findings::Finding;
use crate::judge::observation::FlowRef;
use crate::judge::saved::{
    DayChange, Restored, SavedApp, SavedBooking, SavedFlow, SavedFlows, SavedRow, StreamId,
};

/// Everything that a judge goes on from, and how many rows could not be understood.
///
/// # Errors
/// When the file is damaged, or cannot be read.
pub fn load(connection: &Connection, path: &Path) -> Result<(Restored, usize), LedgerError> {
    all(connection).map_err(LedgerError::sqlite(path, "read"))
}

/// What was booked of each destination on each day.
///
/// # Errors
/// As of [`load`].
pub fn days(connection: &Connection, path: &Path) -> Result<Vec<DayChange>, LedgerError> {
    let sql =
        "SELECT destination, day, connections, failures, sent, received FROM days ORDER BY destination, day";
    let read = |row: &Row<'_>| {
        let amounts = [row.get(2)?, row.get(3)?, row.get(4)?, row.get(5)?];
        Ok(Some((amount(row.get(0)?), row.get(1)?, amounts)))
    };
    let mut wrong = 0;
    rows(connection, sql, &mut wrong, read).map_err(LedgerError::sqlite(path, "read"))
}

fn all(connection: &Connection) -> rusqlite::Result<(Restored, usize)> {
    let mut wrong = 0;
    let restored = Restored {
        apps: rows(connection, "SELECT * FROM apps", &mut wrong, app)?,
        rows: rows(connection, "SELECT * FROM destinations", &mut wrong, destination)?,
        sent: rows(
            connection,
            "SELECT app, day, sum(days.sent) AS sent FROM days JOIN destinations ON destinations.id = destination
             GROUP BY app, day HAVING sum(days.sent) > 0 ORDER BY app, day",
            &mut wrong,
            |row| Ok(Some((amount(row.get("app")?), row.get("day")?, amount(row.get("sent")?)))),
        )?,
        flows: flows(connection, &mut wrong)?,
        findings: rows(
            connection,
            "SELECT findings.*, acknowledged.changing AS known FROM findings LEFT JOIN acknowledged USING (key)
             ORDER BY last DESC",
            &mut wrong,
            finding,
        )?,
        streams: rows(connection, "SELECT * FROM streams", &mut wrong, |row| {
            let stream = StreamId { boot: row.get("boot")?, began: timestamp(row.get("began")?) };
            Ok(Some((stream, amount(row.get("seq")?))))
        })?,
        next_id: 1 + amount(connection.query_row(
            "SELECT max(coalesce((SELECT max(id) FROM apps), 0), coalesce((SELECT max(id) FROM destinations), 0))",
            [],
            |row| row.get(0),
        )?),
    };
    Ok((restored, wrong))
}

fn rows<T>(
    connection: &Connection,
    sql: &str,
    wrong: &mut usize,
    mut read: impl FnMut(&Row<'_>) -> rusqlite::Result<Option<T>>,
) -> rusqlite::Result<Vec<T>> {
    let mut statement = connection.prepare(sql)?;
    let mut found = statement.query([])?;
    let mut all = Vec::new();
    while let Some(row) = found.next()? {
        // A value of another type is one that somebody else wrote.
        match read(row) {
            Ok(Some(value)) => all.push(value),
            Ok(None) | Err(_) => *wrong += 1,
        }
    }
    Ok(all)
}

fn app(row: &Row<'_>) -> rusqlite::Result<Option<SavedApp>> {
    let name: String = row.get("name")?;
    let named: Option<Vec<u8>> = row.get("named")?;
    Ok(Some(SavedApp {
        id: amount(row.get("id")?),
        key: AppKey { name: name.into(), user: row.get("user")?, is_package: row.get("is_package")? },
        label: row.get("label")?,
        is_preinstalled: row.get("preinstalled")?,
        first_seen: timestamp(row.get("first_seen")?),
        last_seen: timestamp(row.get("last_seen")?),
        named: named.map(|named| unpacked(&named)),
    }))
}

fn destination(row: &Row<'_>) -> rusqlite::Result<Option<SavedRow>> {
    let text = |name: &str| row.get::<_, Option<String>>(name);
    let Some(transport) = text("transport")?.as_deref().and_then(word) else { return Ok(None) };
    let beats: Option<Vec<u8>> = row.get("beats")?;
    Ok(Some(SavedRow {
        id: amount(row.get("id")?),
        key: RowKey {
            app: amount(row.get("app")?),
            direction: text("direction")?.as_deref().and_then(word),
            service: text("service")?.map(Arc::from),
            name: text("name")?.map(Arc::from),
            country: text("country")?.and_then(|code| geo::country(&code)).map(|country| country.code),
            asn: row.get("asn")?,
            transport,
            port: row.get::<_, Option<u16>>("port")?.unwrap_or_default(),
        },
        first_seen: timestamp(row.get("first_seen")?),
        last_seen: timestamp(row.get("last_seen")?),
        total: amounts(row)?,
        connects: beats.as_deref().map(Connects::from_bytes).unwrap_or_default(),
    }))
}

fn amounts(row: &Row<'_>) -> rusqlite::Result<Amounts> {
    Ok(Amounts {
        connections: amount(row.get("connections")?),
        failures: amount(row.get("failures")?),
        sent: amount(row.get("sent")?),
        received: amount(row.get("received")?),
    })
}

fn flows(connection: &Connection, wrong: &mut usize) -> rusqlite::Result<SavedFlows> {
    let mut flows = SavedFlows::default();
    flows.all = rows(connection, "SELECT * FROM flows", wrong, |row| flow(row, &mut flows))?;
    Ok(flows)
}

fn flow(row: &Row<'_>, flows: &mut SavedFlows) -> rusqlite::Result<Option<SavedFlow>> {
    let app: Option<i64> = row.get("app")?;
    let destination: Option<i64> = row.get("destination")?;
    let booked = match app.zip(destination) {
        None => None,
        Some((app, destination)) => Some(SavedBooking {
            app: amount(app),
            row: amount(destination),
            amounts: amounts(row)?,
            day: row.get("day")?,
            is_new_destination: row.get("new_destination")?,
            is_new_country: row.get("new_country")?,
        }),
    };
    let beats: Option<Vec<u8>> = row.get("beats")?;
    let beats = flows.packed.part(|bytes| bytes.extend(beats.unwrap_or_default()));
    let noticed: String = row.get("noticed")?;
    let noticed = flows.packed.part(|bytes| bytes.extend(noticed.into_bytes()));
    let cookie: i64 = row.get("cookie")?;
    let ends: i64 = row.get("ends")?;
    Ok(Some(SavedFlow {
        flow: FlowRef {
            boot: row.get("boot")?,
            cookie: cookie.cast_unsigned(),
            peer: u32::try_from(row.get::<_, i64>("peer")?).ok(),
        },
        ends: ends.cast_unsigned(),
        first: timestamp(row.get("first")?),
        connected: row.get::<_, Option<i64>>("connected")?.map(timestamp),
        before: row.get::<_, Option<i64>>("before")?.map(amount),
        last_bytes: amount(row.get("last_bytes")?),
        last_packets: amount(row.get("last_packets")?),
        beats,
        booked,
        noticed,
    }))
}

fn finding(row: &Row<'_>) -> rusqlite::Result<Option<Finding>> {
    let severity: String = row.get("severity")?;
    let Some(severity) = word(&severity) else { return Ok(None) };
    let flows: String = row.get("flows")?;
    let app: Option<i64> = row.get("app")?;
    let destination: Option<i64> = row.get("destination")?;
    let rule: String = row.get("rule")?;
    Ok(Some(Finding {
        key: row.get("key")?,
        rule: rule.into(),
        severity,
        reason: row.get("reason")?,
        expected_if: row.get("expected_if")?,
        first: timestamp(row.get("first")?),
        last: timestamp(row.get("last")?),
        count: amount(row.get("count")?),
        flows: flows.split_ascii_whitespace().filter_map(FlowRef::parse).collect(),
        changing: row.get("changing")?,
        booked: app.zip(destination).map(|(app, row)| (amount(app), amount(row))),
        told: row.get::<_, Option<i64>>("told")?.map(timestamp),
        acknowledged: row.get("known")?,
        is_listed: false,
    }))
}
