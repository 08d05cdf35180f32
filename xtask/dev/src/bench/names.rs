//! Whether a tool told the name of the server that a TLS connection went to.

use std::collections::BTreeSet;

use super::tls;
use super::tools::Tool;

/// Connections that it told the name of. The tracer has several records of each.
pub fn told(tool: Tool, output: &str) -> u64 {
    let count = match tool {
        Tool::Tracer | Tool::TracerTcp | Tool::TracerNoNames | Tool::TracerAll => {
            output.lines().filter_map(named_connection).collect::<BTreeSet<_>>().len()
        }
        Tool::Tshark => output.lines().filter(|line| *line == tls::NAME).count(),
        Tool::Bare | Tool::Tcplife | Tool::Bpftrace | Tool::BpftraceSends => 0,
    };
    count as u64
}

/// The connection of a record that has the name: both of its ends, which are both here, have the same Community ID.
fn named_connection(record: &str) -> Option<String> {
    // Most records are of something else; not each is worth reading.
    record.contains(tls::NAME).then_some(())?;
    let record: serde_json::Value = serde_json::from_str(record).ok()?;
    let text = |pointer| record.pointer(pointer).and_then(serde_json::Value::as_str);
    (text("/destination/domain")? == tls::NAME).then_some(())?;
    text("/network/community_id").map(str::to_owned)
}

/// Packets that came too fast for tshark: `12 packets dropped from lo`.
pub fn dropped(stderr: &str) -> u64 {
    let count = |line: &str| {
        let (before, _) = line.split_once(" packet")?;
        line.contains(" dropped from ").then(|| before.trim().parse::<u64>().ok()).flatten()
    };
    stderr.lines().filter_map(count).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_whose_name_is_in_records_of_both_ends_counts_once() {
        let record = |domain: &str, id: &str| {
            format!(r#"{{"destination":{{"domain":"{domain}"}},"network":{{"community_id":"{id}"}}}}"#)
        };
        let output = [
            record(tls::NAME, "1:a"),
            record(tls::NAME, "1:a"),
            record(tls::PROBE_NAME, "1:b"),
            record(tls::NAME, "1:c"),
            format!("{{ cut {}", tls::NAME),
        ];
        assert_eq!(told(Tool::Tracer, &output.join("\n")), 2);
    }

    #[test]
    fn a_line_of_tshark_is_a_name() {
        let output = format!("{}\n{}\n{}\n", tls::PROBE_NAME, tls::NAME, tls::NAME);
        assert_eq!(told(Tool::Tshark, &output), 2);
    }

    #[test]
    fn packets_that_tshark_dropped_are_read_from_what_it_says_at_its_end() {
        assert_eq!(dropped("Capturing on 'Loopback: lo'\n3 packets captured\n"), 0);
        assert_eq!(dropped("12 packets dropped from lo\n3 packets captured\n"), 12);
        assert_eq!(dropped("1 packet dropped from lo\n"), 1);
    }
}
