//! What watching costs one large transfer: goals and table.

use super::super::compare::{Comparison, Row};
use super::super::tools::Tool;
use super::{goal, rows, show};

/// Whether names are free for bulk traffic, and cheaper than with the peers. A tracer that told no names, because a kernel
/// refused its programs, was spared their cost: it meets none of these goals.
pub fn goals(comparison: &Comparison, lines: &mut Vec<String>) {
    let Some(tracer) = comparison.row(Tool::Tracer) else { return };
    let missing = tracer.delivered.connections.saturating_sub(tracer.delivered.names);
    let measured = format!("{} of {}", tracer.delivered.names, tracer.delivered.connections);
    lines.push(goal("names of the bulk TLS connections", "all", measured, missing == 0));
    let proviso = if missing == 0 { "" } else { ", without all names" };
    if let Some(cost) = comparison.against(Tool::Tracer, Tool::TracerNoNames) {
        let measured = format!("{} %{proviso}", cost.show(1));
        let met = missing == 0 && cost.median < 3.0;
        lines.push(goal("bulk TLS slowed against `--no-names`", "less than 3 %", measured, met));
    }
    for peer in [Tool::Tshark, Tool::BpftraceSends] {
        let slowdown = comparison.row(peer).and_then(|row| row.slowdown);
        if let (Some(ours), Some(theirs)) = (tracer.slowdown, slowdown) {
            let measured = format!("{:.1} % against {:.1} %{proviso}", ours.median, theirs.median);
            let met = missing == 0 && ours.median < theirs.median;
            lines.push(goal("bulk TLS slowed", &format!("less than by {peer}"), measured, met));
        }
    }
}

/// One row for each tool. Connections of the comparison are MiB here.
pub fn table(comparison: &Comparison) -> String {
    let text = format!(
        "\n### 1 GiB over TLS ({} MiB a turn; times for each MiB)\n\n\
         | | MiB/s | slowdown, % | against no names, % | in the tool's programs, ns | runs | \
         both ends' processor time, µs | added to it, µs | the tool's own time, µs | names | lost | others |\n\
         |---|---|---|---|---|---|---|---|---|---|---|---|\n",
        comparison.connections
    );
    text + &rows(comparison, |tool, row| line(comparison, tool, row))
}

fn line(comparison: &Comparison, tool: Tool, row: &Row) -> String {
    let against = match tool {
        Tool::Bare | Tool::TracerNoNames => None,
        _ => comparison.against(tool, Tool::TracerNoNames),
    };
    let seen = &row.delivered;
    let (names, lost) = match tool {
        Tool::Bare => (String::new(), String::new()),
        Tool::BpftraceSends => ("cannot".to_owned(), seen.lost.to_string()),
        _ => (format!("{} of {}", seen.names, seen.connections), seen.lost.to_string()),
    };
    format!(
        "| {tool} | {} | {} | {} | {} | {} | {} | {} | {} | {names} | {lost} | {} |\n",
        row.rate.show(0),
        show(row.slowdown, 1),
        show(against, 1),
        show(row.program_ns, 0),
        row.runs.map_or(String::new(), |runs| format!("{:.1}", runs.median)),
        row.storm_us.show(0),
        show(row.added_us, 1),
        show(row.tool_us, 1),
        row.others.show(2),
    )
}

#[cfg(test)]
mod tests {
    use super::super::super::compare::{Beside, Delivered, Series, Turn};
    use super::super::super::storm::{Gust, Load, Targets};
    use super::*;

    /// A GiB that took so many milliseconds beside one that took a second.
    fn turn(milliseconds: u64, names: u64) -> Turn {
        Turn {
            storm: Gust { connections: 1024, failed: 0, wall_ns: milliseconds * 1_000_000, cpu_ns: 0 },
            tool_cpu_ns: 0,
            others: 0.0,
            beside: Some(Beside { rate: 1024.0, storm_us: 0.0 }),
            kernel: None,
            delivered: Some(Delivered { connections: 1, names, ..Delivered::default() }),
        }
    }

    fn comparison(series: &[(Tool, u64, u64)]) -> Comparison {
        let series = series.iter().map(|&(tool, milliseconds, names)| Series {
            tool,
            skipped: None,
            turns: vec![turn(milliseconds, names); 3],
        });
        let (load, targets) = (Load::Bulk, Targets::Global);
        Comparison { load, workers: 1, targets, connections: 1024, series: series.collect() }
    }

    #[test]
    fn names_are_compared_with_the_same_tool_without_them() {
        let measured = comparison(&[(Tool::Tracer, 1_050, 1), (Tool::TracerNoNames, 1_000, 0)]);
        let mut lines = Vec::new();
        goals(&measured, &mut lines);
        assert!(lines[0].contains("3 of 3 | yes"), "{lines:?}");
        assert!(lines[1].contains("5.0 (5.0–5.0) % | **no**"), "{lines:?}");
    }

    #[test]
    fn a_tracer_that_told_no_names_is_not_praised_for_its_speed() {
        let measured = comparison(&[
            (Tool::Tracer, 1_010, 0),
            (Tool::TracerNoNames, 1_010, 0),
            (Tool::Tshark, 2_000, 1),
        ]);
        let mut lines = Vec::new();
        goals(&measured, &mut lines);
        assert_eq!(lines.len(), 3, "{lines:?}");
        assert!(lines[0].contains("0 of 3 | **no**"), "{lines:?}");
        assert!(lines.iter().skip(1).all(|line| line.contains("without all names | **no**")), "{lines:?}");
    }

    #[test]
    fn a_peer_that_did_not_run_is_no_goal_but_a_line() {
        let mut measured = comparison(&[(Tool::Tracer, 1_010, 1), (Tool::Tshark, 2_000, 1)]);
        measured.series.push(Series {
            tool: Tool::BpftraceSends,
            skipped: Some("too old\nmore".to_owned()),
            turns: Vec::new(),
        });
        let mut lines = Vec::new();
        goals(&measured, &mut lines);
        assert_eq!(lines.len(), 2, "{lines:?}");
        assert!(lines[1].contains("1.0 % against 100.0 % | yes"), "{lines:?}");
        assert!(table(&measured).contains("| bpftrace | skipped: too old |\n"));
    }
}
