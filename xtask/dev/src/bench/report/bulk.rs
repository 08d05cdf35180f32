//! What watching costs one large transfer: goals and table.

use super::super::compare::{Comparison, Row};
use super::super::summary::Summary;
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
    if let Some(cost) = Summary::of(comparison.pairs.iter().copied()) {
        let (low, high) = cost.interval();
        let pairs = cost.count;
        let measured = format!(
            "{} %, the median of {pairs} pairs is in {low:.1} to {high:.1} with 95 % confidence{proviso}",
            cost.show(1)
        );
        let met = missing == 0 && cost.median < 3.0;
        lines.push(goal("bulk TLS slowed against `--no-names`", "less than 3 %", measured, met));
    }
    if let (Some(with), Some(without), Some(bare)) = (
        busy(&tracer),
        comparison.row(Tool::TracerNoNames).as_ref().and_then(busy),
        comparison.row(Tool::Bare),
    ) {
        let share = (with - without) * bare.rate.median / 10_000.0;
        let measured =
            format!("{with:.1} against {without:.1} µs a MiB, {share:.2} % of the transfer{proviso}");
        let what = "names: time in programs and tool, bulk TLS";
        lines.push(goal(what, "less than 3 % of the transfer", measured, missing == 0 && share < 3.0));
    }
    for peer in [Tool::Tshark, Tool::BpftraceSends] {
        let theirs = comparison.row(peer).as_ref().and_then(busy);
        if let (Some(ours), Some(theirs)) = (busy(&tracer), theirs) {
            let measured = format!("{ours:.1} against {theirs:.1} µs a MiB{proviso}");
            let met = missing == 0 && ours < theirs;
            lines.push(goal(
                "time in programs and tool, bulk TLS",
                &format!("less than {peer}'s"),
                measured,
                met,
            ));
        }
        let slowdown = comparison.row(peer).and_then(|row| row.slowdown);
        if let (Some(ours), Some(theirs)) = (tracer.slowdown, slowdown) {
            let measured = format!("{:.1} % against {:.1} %{proviso}", ours.median, theirs.median);
            let met = missing == 0 && ours.median < theirs.median;
            lines.push(goal("bulk TLS slowed", &format!("less than by {peer}"), measured, met));
        }
    }
}

/// Microseconds a MiB that a tool takes: in its programs, where the kernel counts them, and itself.
fn busy(row: &Row) -> Option<f64> {
    let tool = row.tool_us?.median;
    Some(row.program_ns.map_or(0.0, |programs| programs.median / 1000.0) + tool)
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
        Comparison {
            load,
            workers: 1,
            targets,
            connections: 1024,
            series: series.collect(),
            pairs: vec![5.0; 3],
        }
    }

    #[test]
    fn names_are_compared_with_the_same_tool_without_them() {
        let measured = comparison(&[(Tool::Tracer, 1_050, 1), (Tool::TracerNoNames, 1_000, 0)]);
        let mut lines = Vec::new();
        goals(&measured, &mut lines);
        assert!(lines[0].contains("3 of 3 | yes"), "{lines:?}");
        assert!(lines[1].contains("5.0 (5.0–5.0) %, the median of 3 pairs is in 5.0 to 5.0"), "{lines:?}");
    }

    #[test]
    fn time_of_the_tools_is_compared_beside_the_time_of_the_transfers() {
        let mut measured = comparison(&[
            (Tool::Bare, 1_000, 0),
            (Tool::Tracer, 1_300, 1),
            (Tool::TracerNoNames, 1_000, 0),
            (Tool::BpftraceSends, 1_000, 0),
        ]);
        // Of a transfer that takes 977 µs a MiB: 30, 10, and 40 of each.
        for (series, milliseconds) in measured.series.iter_mut().zip([0, 30, 10, 40]) {
            series.turns.iter_mut().for_each(|turn| turn.tool_cpu_ns = milliseconds * 1_024_000);
        }
        let mut lines = Vec::new();
        goals(&measured, &mut lines);
        assert!(lines[1].contains("5.0 (5.0–5.0) %") && lines[1].contains("| **no**"), "{lines:?}");
        assert!(lines[2].contains("30.0 against 10.0 µs a MiB, 2.05 % of the transfer | yes"), "{lines:?}");
        assert!(lines[3].contains("30.0 against 40.0 µs a MiB | yes"), "{lines:?}");
        assert!(lines[4].contains("**no**"), "{lines:?}");
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
        assert_eq!(lines.len(), 4, "{lines:?}");
        assert!(lines[0].contains("0 of 3 | **no**"), "{lines:?}");
        assert!(lines.iter().skip(1).all(|line| line.contains("without all names | **no**")), "{lines:?}");
    }

    #[test]
    fn a_peer_that_did_not_run_is_no_goal_but_a_line() {
        let mut measured = comparison(&[(Tool::Tracer, 1_010, 1), (Tool::Tshark, 2_000, 1)]);
        measured.pairs.clear();
        measured.series.push(Series {
            tool: Tool::BpftraceSends,
            skipped: Some("too old\nmore".to_owned()),
            turns: Vec::new(),
        });
        let mut lines = Vec::new();
        goals(&measured, &mut lines);
        assert_eq!(lines.len(), 3, "{lines:?}");
        assert!(lines[2].contains("1.0 % against 100.0 % | yes"), "{lines:?}");
        assert!(table(&measured).contains("| bpftrace | skipped: too old |\n"));
    }
}
