//! Questions to the ledger.

use rusqlite::{Connection, Row, ToSql, params_from_iter};
use serde::Serialize;

use super::values::{amount, time, timestamp};
use crate::clock::Timestamp;

/// What one row of the answer is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// An app.
    App,
    /// A country that apps talk to.
    Country,
    /// A known service.
    Service,
    /// One app and one of its destinations.
    Destination,
}

/// Which rows are asked for.
#[derive(Clone, Debug, Default)]
pub struct Question {
    /// Part of the app's name.
    pub app: Option<String>,
    /// ISO 3166-1 alpha-2, upper case.
    pub country: Option<String>,
    /// Id of a service.
    pub service: Option<String>,
    /// Seen for the first time since then.
    pub new_since: Option<Timestamp>,
    pub limit: Option<usize>,
}

/// One row of an answer. What does not belong to what was asked by is absent, as is what is not known.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Line {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub app: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub country: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub asn: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub transport: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub direction: Option<String>,
    /// Different ones behind this row.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub apps: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub countries: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub destinations: Option<u64>,
    pub first_seen: Timestamp,
    pub last_seen: Timestamp,
    /// On which something was recorded, UTC.
    pub days: u64,
    pub connections: u64,
    pub failures: u64,
    /// Bytes.
    pub sent: u64,
    pub received: u64,
    /// Between two connects, as a rule, where these go by a clock; milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub every_ms: Option<u64>,
}

/// From which score on connects go by a clock, as of the rule `regular-cadence`.
const REGULAR: f64 = 0.8;

/// Answers a question: where news are asked for the newest first, else those with the most connections.
///
/// # Errors
/// Of SQLite.
pub fn ask(connection: &Connection, by: By, question: &Question) -> rusqlite::Result<Vec<Line>> {
    let (sql, values) = statement(by, question);
    let mut statement = connection.prepare(&sql)?;
    let values = params_from_iter(values.iter().map(AsRef::<dyn ToSql>::as_ref));
    statement.query_map(values, |row| line(row, by))?.collect()
}

fn statement(by: By, question: &Question) -> (String, Vec<Box<dyn ToSql>>) {
    let group = match by {
        By::App => "d.app",
        By::Country => "d.country",
        By::Service => "d.service",
        By::Destination => "d.id",
    };
    let mut wanted = vec!["1".to_owned()];
    let mut values: Vec<Box<dyn ToSql>> = Vec::new();
    let mut want = |condition: &str, value: Box<dyn ToSql>| {
        values.push(value);
        wanted.push(condition.replace('?', &format!("?{}", values.len())));
    };
    if let Some(app) = &question.app {
        want("(instr(lower(a.name), ?) > 0 OR instr(lower(a.label), ?) > 0)", Box::new(app.to_lowercase()));
    }
    if let Some(country) = &question.country {
        want("d.country = ?", Box::new(country.clone()));
    }
    if let Some(service) = &question.service {
        want("d.service = ?", Box::new(service.clone()));
    }
    match by {
        By::Country => wanted.push("d.country IS NOT NULL".to_owned()),
        By::Service => wanted.push("d.service IS NOT NULL".to_owned()),
        By::App | By::Destination => {}
    }
    let (having, order) = match question.new_since {
        Some(since) => (format!("HAVING first_at >= {}", time(since)), "first_at DESC, grouped"),
        None => (String::new(), "all_connections DESC, all_sent + all_received DESC, grouped"),
    };
    let wanted = wanted.join(" AND ");
    let limit = question.limit.map(|limit| format!("LIMIT {limit}")).unwrap_or_default();
    let sql = format!(
        "WITH chosen AS (
             SELECT d.*, a.label, {group} AS grouped FROM destinations d JOIN apps a ON a.id = d.app WHERE {wanted}
         ), active AS (
             SELECT grouped, count(DISTINCT day) AS days FROM chosen JOIN days ON days.destination = chosen.id
             GROUP BY grouped
         )
         SELECT label, service, name, country, asn, transport, port, direction, cadence_score, cadence_interval_ms,
             min(first_seen) AS first_at, max(last_seen) AS last_at,
             count(DISTINCT app) AS apps, count(DISTINCT country) AS countries, count(*) AS destinations,
             max(earlier_days) + coalesce(active.days, 0) AS active_days,
             sum(connections) AS all_connections, sum(failures) AS all_failures,
             sum(sent) AS all_sent, sum(received) AS all_received
         FROM chosen LEFT JOIN active USING (grouped) GROUP BY grouped {having} ORDER BY {order} {limit}"
    );
    (sql, values)
}

fn line(row: &Row<'_>, by: By) -> rusqlite::Result<Line> {
    let is_one = by == By::Destination;
    let count = |name: &str| row.get::<_, i64>(name).map(amount);
    let text = |name: &str, is_wanted: bool| {
        if is_wanted { row.get::<_, Option<String>>(name) } else { Ok(None) }
    };
    let several = |name: &str, is_wanted: bool| is_wanted.then(|| count(name)).transpose();
    let score: Option<f64> = row.get("cadence_score")?;
    let is_regular = is_one && score.is_some_and(|score| score >= REGULAR);
    Ok(Line {
        app: text("label", is_one || by == By::App)?,
        service: text("service", is_one || by == By::Service)?,
        host: text("name", is_one)?,
        country: text("country", is_one || by == By::Country)?,
        asn: if is_one { row.get("asn")? } else { None },
        transport: text("transport", is_one)?,
        port: if is_one { row.get("port")? } else { None },
        direction: text("direction", is_one)?,
        apps: several("apps", matches!(by, By::Country | By::Service))?,
        countries: several("countries", matches!(by, By::App | By::Service))?,
        destinations: several("destinations", !is_one)?,
        first_seen: timestamp(row.get("first_at")?),
        last_seen: timestamp(row.get("last_at")?),
        days: count("active_days")?,
        connections: count("all_connections")?,
        failures: count("all_failures")?,
        sent: count("all_sent")?,
        received: count("all_received")?,
        every_ms: row.get::<_, Option<i64>>("cadence_interval_ms")?.filter(|_| is_regular).map(amount),
    })
}

/// What a ledger is.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct About {
    pub path: String,
    /// Number of its form.
    pub form: i64,
    pub apps: u64,
    pub destinations: u64,
    pub findings: u64,
    pub acknowledged: u64,
    /// Days on which something was recorded, that are kept one by one.
    pub days: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_seen: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_seen: Option<Timestamp>,
    /// Bytes in use.
    pub bytes: u64,
    /// Streams that are booked, each up to a record.
    pub streams: Vec<AboutStream>,
}

/// A stream that is booked.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct AboutStream {
    /// First 32 bits of the kernel's boot id.
    pub boot: String,
    pub began: Timestamp,
    /// Number of the last record that is booked.
    pub seq: u64,
}

/// Says what a ledger is.
///
/// # Errors
/// Of SQLite.
pub fn about(connection: &Connection, path: String) -> rusqlite::Result<About> {
    let count = |sql: &str| connection.query_row(sql, [], |row| row.get::<_, i64>(0)).map(amount);
    let time = |sql: &str| {
        connection.query_row(sql, [], |row| row.get::<_, Option<i64>>(0)).map(|time| time.map(timestamp))
    };
    let mut streams = connection.prepare("SELECT boot, began, seq FROM streams ORDER BY began")?;
    let stream = |row: &Row<'_>| {
        Ok(AboutStream {
            boot: format!("{:08x}", row.get::<_, u32>(0)?),
            began: timestamp(row.get(1)?),
            seq: amount(row.get(2)?),
        })
    };
    let streams = streams.query_map([], stream)?.collect::<rusqlite::Result<_>>()?;
    Ok(About {
        path,
        form: connection.pragma_query_value(None, "user_version", |row| row.get(0))?,
        apps: count("SELECT count(*) FROM apps")?,
        destinations: count("SELECT count(*) FROM destinations")?,
        findings: count("SELECT count(*) FROM findings")?,
        acknowledged: count("SELECT count(*) FROM acknowledged")?,
        days: count("SELECT count(*) FROM calendar")?,
        first_seen: time("SELECT min(first_seen) FROM apps")?,
        last_seen: time("SELECT max(last_seen) FROM apps")?,
        bytes: u64::try_from(super::bounds::used_bytes(connection)?).unwrap_or_default(),
        streams,
    })
}
