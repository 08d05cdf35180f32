//! One batch into the file, in one transaction: all of it, or nothing.

use rusqlite::{Connection, Transaction, TransactionBehavior, params};

use super::values::{number, packed, time};
use crate::judge::observation::FlowRef;
use crate::judge::saved::{Batch, DayChange, SavedApp, SavedFindings, SavedFlows, SavedRow, StreamId};

/// What follows from a batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// The ledger had seen one of its days never before.
    pub has_new_day: bool,
}

/// Writes a batch.
///
/// # Errors
/// Of SQLite: a full disk, above all. Nothing of the batch is in the file then.
pub fn write(connection: &mut Connection, batch: &Batch) -> rusqlite::Result<Written> {
    let transaction = Transaction::new(connection, TransactionBehavior::Immediate)?;
    let has_new_day = calendar(&transaction, &batch.days)?;
    let today = transaction
        .prepare_cached("SELECT coalesce(max(number), 0) FROM calendar")?
        .query_row([], |row| row.get(0))?;
    remove(&transaction, batch)?;
    apps(&transaction, &batch.apps)?;
    rows(&transaction, &batch.rows)?;
    days(&transaction, &batch.days)?;
    flows(&transaction, &batch.flows, today)?;
    ended(&transaction, &batch.ended)?;
    findings(&transaction, &batch.findings)?;
    if let Some((stream, seq)) = batch.stream {
        reach(&transaction, stream, seq)?;
    }
    transaction.commit()?;
    Ok(Written { has_new_day })
}

/// Days in the order in which they came: a clock that was set makes no day old.
fn calendar(transaction: &Transaction<'_>, days: &[DayChange]) -> rusqlite::Result<bool> {
    let mut insert = transaction.prepare_cached("INSERT OR IGNORE INTO calendar (day) VALUES (?1)")?;
    let mut has_new = false;
    let mut last = None;
    for &(_, day, _) in days {
        if last.replace(day) != Some(day) {
            has_new |= insert.execute([day])? > 0;
        }
    }
    Ok(has_new)
}

fn remove(transaction: &Transaction<'_>, batch: &Batch) -> rusqlite::Result<()> {
    for app in &batch.removed_apps {
        transaction.prepare_cached("DELETE FROM apps WHERE id = ?1")?.execute([number(*app)])?;
    }
    for row in &batch.removed_rows {
        transaction.prepare_cached("DELETE FROM destinations WHERE id = ?1")?.execute([number(*row)])?;
        transaction.prepare_cached("DELETE FROM days WHERE destination = ?1")?.execute([number(*row)])?;
    }
    for key in &batch.removed_findings {
        transaction.prepare_cached("DELETE FROM findings WHERE key = ?1")?.execute([key])?;
    }
    Ok(())
}

fn apps(transaction: &Transaction<'_>, apps: &[SavedApp]) -> rusqlite::Result<()> {
    let mut insert = transaction.prepare_cached(
        "INSERT INTO apps (id, name, user, is_package, label, preinstalled, first_seen, last_seen, named)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)
         ON CONFLICT (id) DO UPDATE SET label = excluded.label, preinstalled = excluded.preinstalled,
             first_seen = excluded.first_seen, last_seen = excluded.last_seen,
             named = coalesce(excluded.named, named)",
    )?;
    for app in apps {
        insert.execute(params![
            number(app.id),
            app.key.name,
            app.key.user,
            app.key.is_package,
            app.label,
            app.is_preinstalled,
            time(app.first_seen),
            time(app.last_seen),
            app.named.as_deref().map(packed),
        ])?;
    }
    Ok(())
}

fn rows(transaction: &Transaction<'_>, rows: &[SavedRow]) -> rusqlite::Result<()> {
    let mut insert = transaction.prepare_cached(
        "INSERT INTO destinations (id, app, direction, service, name, country, asn, transport, port,
             first_seen, last_seen, connections, failures, sent, received,
             cadence_score, cadence_interval_ms, beats)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18)
         ON CONFLICT (id) DO UPDATE SET first_seen = excluded.first_seen, last_seen = excluded.last_seen,
             connections = excluded.connections, failures = excluded.failures,
             sent = excluded.sent, received = excluded.received, cadence_score = excluded.cadence_score,
             cadence_interval_ms = excluded.cadence_interval_ms, beats = excluded.beats",
    )?;
    let mut beats = Vec::new();
    for row in rows {
        let key = &row.key;
        let cadence = row.connects.cadence();
        beats.clear();
        row.connects.store(&mut beats);
        insert.execute(params![
            number(row.id),
            number(key.app),
            key.direction.map(<&str>::from),
            key.service.as_deref(),
            key.name.as_deref(),
            key.country,
            key.asn,
            <&str>::from(key.transport),
            Some(key.port).filter(|&port| port != 0),
            time(row.first_seen),
            time(row.last_seen),
            number(row.total.connections),
            number(row.total.failures),
            number(row.total.sent),
            number(row.total.received),
            cadence.map(|cadence| cadence.score),
            cadence.map(|cadence| number(cadence.interval_ms)),
            Some(&beats).filter(|beats| !beats.is_empty()),
        ])?;
    }
    Ok(())
}

fn days(transaction: &Transaction<'_>, days: &[DayChange]) -> rusqlite::Result<()> {
    let mut add = transaction.prepare_cached(
        "INSERT INTO days (destination, day, connections, failures, sent, received)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6)
         ON CONFLICT (destination, day) DO UPDATE SET connections = connections + excluded.connections,
             failures = failures + excluded.failures, sent = sent + excluded.sent,
             received = received + excluded.received",
    )?;
    for &(row, day, [connections, failures, sent, received]) in days {
        add.execute(params![number(row), day, connections, failures, sent, received])?;
        if connections < 0 {
            // All of it was moved to another row.
            let mut remove = transaction.prepare_cached(
                "DELETE FROM days WHERE destination = ?1 AND day = ?2
                 AND connections = 0 AND failures = 0 AND sent = 0 AND received = 0",
            )?;
            remove.execute(params![number(row), day])?;
        }
    }
    Ok(())
}

fn flows(transaction: &Transaction<'_>, flows: &SavedFlows, today: i64) -> rusqlite::Result<()> {
    let mut insert = transaction.prepare_cached(
        "INSERT OR REPLACE INTO flows (boot, cookie, peer, ends, first, connected, before, last_bytes,
             last_packets, beats, app, destination, connections, failures, sent, received, day,
             new_destination, new_country, noticed, touched)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21)",
    )?;
    for flow in &flows.all {
        let (boot, cookie, peer) = key(&flow.flow);
        let booked = flow.booked.as_ref();
        let amounts = booked.map(|booked| booked.amounts);
        insert.execute(params![
            boot,
            cookie,
            peer,
            flow.ends.cast_signed(),
            time(flow.first),
            flow.connected.map(time),
            flow.before.map(number),
            number(flow.last_bytes),
            number(flow.last_packets),
            Some(flows.beats(flow)).filter(|beats| !beats.is_empty()),
            booked.map(|booked| number(booked.app)),
            booked.map(|booked| number(booked.row)),
            amounts.map(|amounts| number(amounts.connections)),
            amounts.map(|amounts| number(amounts.failures)),
            amounts.map(|amounts| number(amounts.sent)),
            amounts.map(|amounts| number(amounts.received)),
            booked.and_then(|booked| booked.day),
            booked.map(|booked| booked.is_new_destination),
            booked.map(|booked| booked.is_new_country),
            flows.noticed(flow),
            today,
        ])?;
    }
    Ok(())
}

fn ended(transaction: &Transaction<'_>, ended: &[FlowRef]) -> rusqlite::Result<()> {
    let mut delete =
        transaction.prepare_cached("DELETE FROM flows WHERE boot = ?1 AND cookie = ?2 AND peer = ?3")?;
    for flow in ended {
        delete.execute(key(flow))?;
    }
    Ok(())
}

/// Boot, cookie and peer; -1: no peer.
fn key(flow: &FlowRef) -> (u32, i64, i64) {
    (flow.boot, flow.cookie.cast_signed(), flow.peer.map_or(-1, i64::from))
}

fn findings(transaction: &Transaction<'_>, findings: &SavedFindings) -> rusqlite::Result<()> {
    let mut insert = transaction.prepare_cached(
        "INSERT OR REPLACE INTO findings (key, rule, severity, reason, expected_if, first, last, count,
             flows, changing, app, destination, told)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)",
    )?;
    for finding in &findings.all {
        let flows: Vec<String> = findings.flows(finding).iter().map(ToString::to_string).collect();
        let (app, row) = finding.booked.map(|(app, row)| (number(app), number(row))).unzip();
        insert.execute(params![
            findings.key(finding),
            finding.rule,
            <&str>::from(finding.severity),
            findings.reason(finding),
            findings.expected_if(finding),
            time(finding.first),
            time(finding.last),
            number(finding.count),
            flows.join(" "),
            findings.changing(finding),
            app,
            row,
            finding.told.map(time),
        ])?;
    }
    Ok(())
}

fn reach(transaction: &Transaction<'_>, stream: StreamId, seq: u64) -> rusqlite::Result<()> {
    let mut insert = transaction.prepare_cached(
        "INSERT INTO streams (boot, began, seq) VALUES (?1, ?2, ?3)
         ON CONFLICT (boot, began) DO UPDATE SET seq = max(seq, excluded.seq)",
    )?;
    insert.execute(params![stream.boot, time(stream.began), number(seq)])?;
    Ok(())
}
