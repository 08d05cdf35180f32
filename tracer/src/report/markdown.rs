//! The report as Markdown: the same answers, for tickets and notes. Every text of a record is escaped.

use std::fmt::Write as _;

use super::facts::{self, Fact};
use super::html::cards::{MOST_STORIES, severity_word};
use super::html::timeline::ending;
use super::html::{geo, tables};
use super::material::{Bar, Material, Story};
use super::{overview, words};

/// Rows of the table of destinations.
const MOST_ROWS: usize = 300;

/// The text of a report.
#[must_use]
pub fn render(material: &Material) -> String {
    let mut out = String::new();
    line(&mut out, format_args!("# {}\n", text(&material.title)));
    let subtitle: Vec<String> = overview::subtitle(material).iter().map(|part| text(part)).collect();
    line(&mut out, format_args!("{}\n", subtitle.join(" · ")));
    line(&mut out, format_args!("**{}**\n", text(&overview::lead(material))));
    missing(&mut out, material);
    line(&mut out, format_args!("## Findings\n"));
    if material.stories.is_empty() {
        line(
            &mut out,
            format_args!(
                "No rule noticed anything in these records. It is no proof that there is nothing.\n"
            ),
        );
    }
    for (story, number) in material.stories.iter().take(MOST_STORIES).zip(1_u32..) {
        self::story(&mut out, material, story, number);
    }
    let more = material.stories.len().saturating_sub(MOST_STORIES);
    if more > 0 {
        line(
            &mut out,
            format_args!("{more} more findings, none of them more severe than these, are left out.\n"),
        );
    }
    line(&mut out, format_args!("## Overview\n"));
    for figure in overview::figures(material) {
        let more = if figure.more.is_empty() { String::new() } else { format!(" ({})", text(&figure.more)) };
        line(&mut out, format_args!("- {} {}{more}", text(&figure.number), figure.word));
    }
    countries(&mut out, material);
    destinations(&mut out, material);
    data(&mut out, material);
    out
}

// Writing to a String cannot fail.
fn line(out: &mut String, text: std::fmt::Arguments<'_>) {
    let _ = writeln!(out, "{text}");
}

fn missing(out: &mut String, material: &Material) {
    let losses = overview::losses(material);
    if !losses.is_empty() {
        line(
            out,
            format_args!("> **Something is missing here.** Counts and amounts are at least those given.\n>"),
        );
    }
    let gaps = overview::gaps(material).into_iter().map(|gap| format!("gap (UTC): {gap}"));
    let all = losses.into_iter().chain(gaps).chain(overview::notices(material));
    let lines: Vec<String> = all.map(|told| format!("> - {}", text(&told))).collect();
    if !lines.is_empty() {
        line(out, format_args!("{}\n", lines.join("\n")));
    }
}

fn story(out: &mut String, material: &Material, story: &Story, number: u32) {
    let known = if story.is_acknowledged { ", acknowledged" } else { "" };
    line(
        out,
        format_args!("### {number}. {} ({}{known})\n", text(&story.headline), severity_word(story.severity)),
    );
    for Fact { term, answer, more } in
        facts::key_facts(material, story).into_iter().chain(facts::facts(material, story))
    {
        let answer: Vec<String> = answer.lines().map(text).collect();
        let more: Vec<String> = more.iter().map(|more| text(more)).collect();
        let more = if more.is_empty() { String::new() } else { format!(" ({})", more.join("; ")) };
        line(out, format_args!("- **{term}:** {}{more}", answer.join(", ")));
    }
    line(out, format_args!("\nWhy it is mentioned:\n"));
    for point in &story.points {
        let reason = text(&facts::reason(material, story, point));
        line(out, format_args!("- {reason} ({}, {})", severity_word(point.severity), code(&point.rule)));
    }
    line(out, format_args!("\nIt would be expected if:\n"));
    let mut told: Vec<&str> = Vec::new();
    for expected in story.points.iter().filter_map(|point| point.expected_if.as_deref()) {
        if !told.contains(&expected) {
            told.push(expected);
            line(out, format_args!("- {}", text(&words::sentence(expected))));
        }
    }
    if !story.evidence.is_empty() {
        line(
            out,
            format_args!(
                "\n| Connection | From (UTC) | Last seen | How it ended | Moved |\n|---|---|---|---|---|"
            ),
        );
        story.evidence.iter().for_each(|bar| evidence(out, bar));
    }
    let acks: Vec<String> = story
        .points
        .iter()
        .filter(|point| !point.is_acknowledged)
        .map(|point| code(&format!("tracer ack {}", point.key)))
        .collect();
    if !acks.is_empty() {
        line(out, format_args!("\nTo say that you know: {}", acks.join(", ")));
    }
    line(out, format_args!(""));
}

fn evidence(out: &mut String, bar: &Bar) {
    let moved = match (bar.sent, bar.received) {
        (Some(sent), Some(received)) => {
            format!("{} sent, {} received", words::bytes(sent), words::bytes(received))
        }
        (Some(sent), None) => format!("{} sent", words::bytes(sent)),
        (None, Some(received)) => format!("{} received", words::bytes(received)),
        (None, None) => String::new(),
    };
    let before = if bar.has_start { "" } else { "before " };
    line(
        out,
        format_args!(
            "| `{}` | {before}{} | {} | {} | {moved} |",
            bar.flow,
            words::moment(bar.seen.from),
            words::moment(bar.seen.to),
            ending(bar)
        ),
    );
}

fn countries(out: &mut String, material: &Material) {
    if material.countries.is_empty() {
        return;
    }
    line(
        out,
        format_args!("\n## Where to\n\n| Country | Moved | Connections | Apps |\n|---|---:|---:|---:|"),
    );
    for row in tables::country_rows(material) {
        let home = if row.is_home { " (home)" } else { "" };
        line(
            out,
            format_args!(
                "| {}{home} | {} | {} | {} |",
                text(row.name),
                row.bytes,
                words::number(row.connections),
                row.apps
            ),
        );
    }
}

fn destinations(out: &mut String, material: &Material) {
    line(
        out,
        format_args!(
            "\n## Destinations\n\n| App | Service or host | Country | Network | Port | Connections | Sent | Received | First seen | Last seen |\n|---|---|---|---|---|---:|---:|---:|---|---|"
        ),
    );
    let rows = tables::rows(material);
    for row in rows.iter().take(MOST_ROWS) {
        let host = if row.host.is_empty() { String::new() } else { format!(", {}", text(&row.host)) };
        let failures = if row.failures.is_empty() { String::new() } else { format!(" ({})", row.failures) };
        line(
            out,
            format_args!(
                "| {} | {}{host} | {} | {} | {} | {}{failures} | {} | {} | {} | {} |",
                text(&row.app),
                text(&row.target),
                text(&row.country),
                text(&row.network),
                text(&row.port),
                row.connections_text,
                row.sent_text,
                row.received_text,
                row.first,
                row.last
            ),
        );
    }
    let more = material.destinations.len().saturating_sub(rows.len().min(MOST_ROWS));
    if more > 0 {
        line(
            out,
            format_args!("\n{more} more destinations, without findings or with less traffic, are left out."),
        );
    }
}

fn data(out: &mut String, material: &Material) {
    line(out, format_args!("\n## What this rests on\n"));
    for file in &material.sources.files {
        let period =
            file.period.as_ref().map(|period| format!(", {}", words::period(period))).unwrap_or_default();
        let then: Vec<String> = file.geo.iter().map(geo).collect();
        let then = if then.is_empty() {
            String::new()
        } else {
            format!("; geo databases then: {}", then.join(", "))
        };
        line(out, format_args!("- {}", text(&format!("{}{period}{then}", file.name))));
    }
    for told in overview::data(material) {
        line(out, format_args!("- {}", text(&told)));
    }
    for database in &material.sources.geo {
        line(out, format_args!("- geo database: {}", text(&geo(database))));
    }
    if material.losses.is_empty() {
        line(out, format_args!("- no loss was told or seen"));
    }
    for left_out in &material.left_out {
        line(out, format_args!("- {}", text(&words::sentence(left_out))));
    }
    line(
        out,
        format_args!(
            "- [IP Geolocation by DB-IP](https://db-ip.com); country and network of addresses by \
             [ip-location-db](https://github.com/sapics/ip-location-db) (NRO, RouteViews, DB-IP), \
             [CC BY 4.0](https://creativecommons.org/licenses/by/4.0/), merged and repacked\n\n\
             Made on {} UTC by tracer {}. A finding is evidence with a reason, not an accusation. This report names hosts, \
             addresses and apps: mind whom you give it to.",
            words::moment(material.made),
            material.sources.version
        ),
    );
}

/// Text that stays text, whatever is in it: also in a table, and where bare addresses become links.
#[must_use]
pub fn text(foreign: &str) -> String {
    let mut out = String::with_capacity(foreign.len() + 8);
    let mut rest = foreign;
    while let Some(letter) = rest.chars().next() {
        if let Some(after) = rest.strip_prefix("://") {
            out.push_str("&#58;//");
            rest = after;
            continue;
        }
        if rest.get(..4).is_some_and(|start| start.eq_ignore_ascii_case("www.")) {
            out.push_str(&rest[..3]);
            out.push_str("&#46;");
            rest = &rest[4..];
            continue;
        }
        match letter {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '@' => out.push_str("&#64;"),
            '\\' | '`' | '*' | '_' | '[' | ']' | '#' | '|' | '~' | '!' | '$' => {
                out.push('\\');
                out.push(letter);
            }
            letter if letter.is_control() => out.push(' '),
            letter => out.push(letter),
        }
        rest = &rest[letter.len_utf8()..];
    }
    out
}

/// Text in letters of one width.
fn code(foreign: &str) -> String {
    if foreign.bytes().all(|byte| byte.is_ascii_alphanumeric() || b" -_./:,".contains(&byte)) {
        format!("`{foreign}`")
    } else {
        text(foreign)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_text_stays_text() {
        assert_eq!(text("a|b <script> *x* [l](u) `c` \\"), r"a\|b &lt;script&gt; \*x\* \[l\](u) \`c\` \\");
        assert_eq!(
            text("https://evil.example WWW.evil.example a@b"),
            "https&#58;//evil.example WWW&#46;evil.example a&#64;b"
        );
        assert_eq!(text("a\nb# "), "a b\\# ");
        assert_eq!(text("größe 東京"), "größe 東京");
        assert_eq!((code("a-b/1"), code("a`|b")), ("`a-b/1`".to_owned(), r"a\`\|b".to_owned()));
    }
}
