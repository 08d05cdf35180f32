//! `tracer apps`: the uid table for a person or, one JSON object a line, for a program.

use std::io::{self, Write};

use super::{App, AppTable, Kind};
use crate::record::{AppMember, Decimal, UserObject};

const HEADER: [&str; 7] = ["UID", "KIND", "PACKAGE", "PREINSTALLED", "REMOVABLE", "VERSION", "INSTALLER"];
/// Columns of numbers, which line up at the right.
const RIGHT: [usize; 2] = [0, 5];
/// What is not known.
const UNKNOWN: &str = "-";

/// Writes the table to `out`, remarks for a person to `notes` (stderr). With `json` one object a line, as in
/// records. On a plain Linux these are the users of `etc/passwd`.
///
/// # Errors
/// When writing fails.
pub fn print(table: &AppTable, json: bool, out: &mut dyn Write, notes: &mut dyn Write) -> io::Result<()> {
    if !table.is_android() {
        let root = crate::text::printable(table.root().as_os_str().as_encoded_bytes()).into_owned();
        writeln!(
            notes,
            "no Android package list below {root} (data/system is not there): showing users of etc/passwd"
        )?;
        return print_users(table, json, out);
    }
    if json {
        for app in table.apps() {
            write_json(out, &app.object())?;
        }
        return Ok(());
    }
    print_rows(&HEADER, &table.apps().flat_map(rows).collect::<Vec<_>>(), out)?;
    if let [_, _, ..] = table.users() {
        let users: Vec<_> = table.users().iter().map(u32::to_string).collect();
        writeln!(
            notes,
            "Android users: {}; a uid of user N is N * 100000 + the uid above",
            users.join(", ")
        )?;
    }
    Ok(())
}

fn print_users(table: &AppTable, json: bool, out: &mut dyn Write) -> io::Result<()> {
    if json {
        for (uid, name) in table.listed_names() {
            write_json(out, &UserObject { id: Decimal(*uid), name: Some(name.as_str().into()) })?;
        }
        return Ok(());
    }
    let rows: Vec<_> =
        table.listed_names().iter().map(|(uid, name)| [uid.to_string(), name.clone()]).collect();
    print_rows(&["UID", "USER"], &rows, out)
}

/// One row per package.
fn rows(app: App<'_>) -> impl Iterator<Item = [String; HEADER.len()]> {
    app.members().iter().map(move |member| {
        [
            app.uid.to_string(),
            kind_name(app.kind),
            member.package.clone(),
            preinstalled(member),
            yes_or_no(member.removable).to_owned(),
            member.version.map_or(UNKNOWN.to_owned(), |version| version.to_string()),
            member.installer.clone().unwrap_or(UNKNOWN.to_owned()),
        ]
    })
}

/// The same word as in JSON, so that it has one home.
fn kind_name(kind: Kind) -> String {
    match serde_json::to_value(kind) {
        Ok(serde_json::Value::String(name)) => name,
        _ => UNKNOWN.to_owned(),
    }
}

fn preinstalled(member: &AppMember) -> String {
    let word = yes_or_no(member.preinstalled);
    if member.updated == Some(true) { format!("{word}, updated") } else { word.to_owned() }
}

fn yes_or_no(fact: Option<bool>) -> &'static str {
    match fact {
        Some(true) => "yes",
        Some(false) => "no",
        None => UNKNOWN,
    }
}

fn write_json(out: &mut dyn Write, object: &impl serde::Serialize) -> io::Result<()> {
    serde_json::to_writer(&mut *out, object)?;
    out.write_all(b"\n")
}

/// Writes columns as wide as their widest cell. Every cell is printable text already.
fn print_rows<const N: usize>(
    header: &[&str; N],
    rows: &[[String; N]],
    out: &mut dyn Write,
) -> io::Result<()> {
    let header = header.map(str::to_owned);
    let widths: [usize; N] = std::array::from_fn(|column| {
        let cells = rows.iter().chain([&header]).filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or_default()
    });
    for row in [&header].into_iter().chain(rows) {
        let mut line = String::new();
        for (column, (cell, width)) in row.iter().zip(widths).enumerate() {
            let cell =
                if RIGHT.contains(&column) { format!("{cell:>width$}") } else { format!("{cell:<width$}") };
            line.push_str(&cell);
            line.push_str("  ");
        }
        writeln!(out, "{}", line.trim_end())?;
    }
    Ok(())
}
