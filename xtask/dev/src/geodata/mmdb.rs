//! Writes a MaxMind DB 2.0 file (<https://maxmind.github.io/MaxMind-DB/>) from sorted address ranges.
//!
//! Flows in: records and the ranges that have them. Flows out: the bytes of the file, the same for the same input.
//! Own code because the file must be small and its pages few: equal subtrees are stored once wherever they occur
//! (the crates that write this format keep a plain tree), and records stand in the order the caller gives, so that
//! often used ones share pages. It never writes aliases: the reader unwraps mapped addresses itself.

use std::collections::HashMap;

use anyhow::{Context, Result, ensure};

/// A value of the data section. Maps keep the order given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    Text(String),
    U16(u16),
    U32(u32),
    U64(u64),
    Map(Vec<(&'static str, Value)>),
    Array(Vec<Value>),
}

impl Value {
    pub fn text(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

/// Addresses `start..=end` have this value. IPv4 is `::a.b.c.d`, the place the format gives it in an IPv6 tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span<T> {
    pub start: u128,
    pub end: u128,
    pub value: T,
}

/// What the metadata section says.
#[derive(Clone, Copy, Debug)]
pub struct About<'a> {
    pub database_type: &'a str,
    pub description: &'a str,
    /// Seconds since 1970.
    pub build_epoch: u64,
    pub ip_version: IpVersion,
    /// Bits of a record at least; more are taken when the file needs them.
    pub record_size: u16,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IpVersion {
    V4,
    V6,
}

/// 16 zero bytes between tree and data, counted in every pointer of the tree.
const SEPARATOR: u32 = 16;
const METADATA_MARKER: &[u8] = b"\xab\xcd\xefMaxMind.com";

/// Makes the file. `spans` are sorted, do not overlap, and hold indexes into `records`.
///
/// # Errors
/// Unsorted or overlapping spans, an index without a record, more data than 32-bit records can address.
pub fn write(about: &About<'_>, records: &[Value], spans: &[Span<u32>]) -> Result<Vec<u8>> {
    ensure!(spans.iter().all(|span| span.start <= span.end), "a range ends before it starts");
    ensure!(spans.is_sorted_by(|a, b| a.end < b.start), "ranges are unsorted or overlap");
    let mut data = Data::default();
    let mut offsets = Vec::with_capacity(records.len());
    for record in records {
        offsets.push(u32::try_from(data.bytes.len()).context("data section above 4 GiB")?);
        data.value(record)?;
    }
    let (first_bit, spans_end) = match about.ip_version {
        IpVersion::V4 => (96, u128::from(u32::MAX)),
        IpVersion::V6 => (0, u128::MAX),
    };
    ensure!(spans.iter().all(|span| span.end <= spans_end), "an IPv6 range in an IPv4 file");
    let mut tree = Tree::default();
    let root = tree.build(0, first_bit, spans)?;
    let nodes = tree.number(root)?;
    let node_count = u32::try_from(nodes.len()).context("too many nodes")?;

    let highest = u64::from(node_count) + u64::from(SEPARATOR) + data.bytes.len() as u64;
    let bits = [24, 28, 32].into_iter().find(|bits| *bits >= about.record_size && highest < 1 << bits);
    let bits = bits.context("more data than 32-bit records can address")?;
    let mut file = Vec::with_capacity(nodes.len() * usize::from(bits) / 4 + data.bytes.len() + 1024);
    for [left, right] in nodes {
        let left = pointer(left, node_count, &offsets)?;
        let right = pointer(right, node_count, &offsets)?;
        push_node(&mut file, bits, left, right);
    }
    file.resize(file.len() + SEPARATOR as usize, 0);
    file.append(&mut data.bytes);
    file.extend_from_slice(METADATA_MARKER);
    let mut metadata = Data::default();
    metadata.value(&metadata_map(about, node_count, bits))?;
    file.append(&mut metadata.bytes);
    Ok(file)
}

fn metadata_map(about: &About<'_>, node_count: u32, record_size: u16) -> Value {
    let ip_version = match about.ip_version {
        IpVersion::V4 => 4,
        IpVersion::V6 => 6,
    };
    Value::Map(vec![
        ("binary_format_major_version", Value::U16(2)),
        ("binary_format_minor_version", Value::U16(0)),
        ("build_epoch", Value::U64(about.build_epoch)),
        ("database_type", Value::text(about.database_type)),
        ("description", Value::Map(vec![("en", Value::text(about.description))])),
        ("ip_version", Value::U16(ip_version)),
        ("languages", Value::Array(vec![Value::text("en")])),
        ("node_count", Value::U32(node_count)),
        ("record_size", Value::U16(record_size)),
    ])
}

/// What one half of a node leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Child {
    Nothing,
    Record(u32),
    Node(u32),
}

/// Search tree in which equal subtrees are one.
#[derive(Default)]
struct Tree {
    nodes: Vec<[Child; 2]>,
    known: HashMap<[Child; 2], u32>,
}

impl Tree {
    /// The subtree for the addresses that share their first `depth` bits with `start`. At most 128 calls deep.
    fn build(&mut self, start: u128, depth: u8, spans: &[Span<u32>]) -> Result<Child> {
        let Some(first) = spans.first() else { return Ok(Child::Nothing) };
        let last = start | u128::MAX.checked_shr(u32::from(depth)).unwrap_or(0);
        if spans.len() == 1 && first.start <= start && first.end >= last {
            return Ok(Child::Record(first.value));
        }
        let middle = start | 1_u128 << (127 - depth);
        let left = &spans[..spans.partition_point(|span| span.start < middle)];
        let right = &spans[spans.partition_point(|span| span.end < middle)..];
        let children = [self.build(start, depth + 1, left)?, self.build(middle, depth + 1, right)?];
        match children {
            [a, b] if a == b && !matches!(a, Child::Node(_)) => Ok(a),
            _ => self.node(children).map(Child::Node),
        }
    }

    fn node(&mut self, children: [Child; 2]) -> Result<u32> {
        if let Some(known) = self.known.get(&children) {
            return Ok(*known);
        }
        let number = u32::try_from(self.nodes.len()).context("too many nodes")?;
        self.nodes.push(children);
        self.known.insert(children, number);
        Ok(number)
    }

    /// Numbers the nodes anew, the root 0 and each subtree in one piece after its parent: a lookup stays near.
    fn number(mut self, root: Child) -> Result<Vec<[Child; 2]>> {
        let root = match root {
            Child::Node(root) => root,
            // The format wants at least one node.
            leaf => self.node([leaf, leaf])?,
        };
        let mut new = vec![u32::MAX; self.nodes.len()];
        let mut order = Vec::with_capacity(self.nodes.len());
        let mut stack = vec![root];
        while let Some(node) = stack.pop() {
            if new[node as usize] != u32::MAX {
                continue;
            }
            new[node as usize] = u32::try_from(order.len()).context("too many nodes")?;
            order.push(node);
            for child in self.nodes[node as usize].iter().rev() {
                if let Child::Node(child) = child {
                    stack.push(*child);
                }
            }
        }
        let renumber = |child| match child {
            Child::Node(old) => Child::Node(new[old as usize]),
            leaf => leaf,
        };
        Ok(order.into_iter().map(|node| self.nodes[node as usize].map(renumber)).collect())
    }
}

fn pointer(child: Child, node_count: u32, offsets: &[u32]) -> Result<u32> {
    match child {
        Child::Node(node) => Ok(node),
        Child::Nothing => Ok(node_count),
        Child::Record(record) => {
            let offset = *offsets.get(record as usize).context("a range names a record that is not there")?;
            node_count
                .checked_add(SEPARATOR)
                .and_then(|n| n.checked_add(offset))
                .context("data section too large")
        }
    }
}

fn push_node(file: &mut Vec<u8>, bits: u16, left: u32, right: u32) {
    let (l, r) = (left.to_be_bytes(), right.to_be_bytes());
    match bits {
        24 => file.extend([l[1], l[2], l[3], r[1], r[2], r[3]]),
        // The middle byte holds the highest four bits of both.
        28 => file.extend([l[1], l[2], l[3], l[0] << 4 | r[0], r[1], r[2], r[3]]),
        _ => file.extend([l[0], l[1], l[2], l[3], r[0], r[1], r[2], r[3]]),
    }
}

/// Data section in the making. A text that was written before becomes a pointer when that is shorter.
#[derive(Default)]
struct Data {
    bytes: Vec<u8>,
    texts: HashMap<String, u32>,
}

/// Type numbers of the format; those above 7 are "extended".
mod kind {
    pub const POINTER: u8 = 1;
    pub const TEXT: u8 = 2;
    pub const U16: u8 = 5;
    pub const U32: u8 = 6;
    pub const MAP: u8 = 7;
    pub const U64: u8 = 9;
    pub const ARRAY: u8 = 11;
}

impl Data {
    fn value(&mut self, value: &Value) -> Result<()> {
        match value {
            Value::Text(text) => self.text(text),
            Value::U16(n) => self.number(kind::U16, u64::from(*n)),
            Value::U32(n) => self.number(kind::U32, u64::from(*n)),
            Value::U64(n) => self.number(kind::U64, *n),
            Value::Map(pairs) => {
                self.head(kind::MAP, pairs.len())?;
                pairs.iter().try_for_each(|(key, value)| {
                    self.text(key)?;
                    self.value(value)
                })
            }
            Value::Array(values) => {
                self.head(kind::ARRAY, values.len())?;
                values.iter().try_for_each(|value| self.value(value))
            }
        }
    }

    fn text(&mut self, text: &str) -> Result<()> {
        let here = u32::try_from(self.bytes.len()).context("data section above 4 GiB")?;
        match self.texts.get(text) {
            Some(&at) if pointer_length(at) < text.len() + 1 => self.pointer(at),
            _ => {
                self.texts.entry(text.to_owned()).or_insert(here);
                self.head(kind::TEXT, text.len())?;
                self.bytes.extend_from_slice(text.as_bytes());
            }
        }
        Ok(())
    }

    /// Big-endian without leading zero bytes.
    fn number(&mut self, kind: u8, number: u64) -> Result<()> {
        let bytes = number.to_be_bytes();
        let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
        self.head(kind, bytes.len() - zeros)?;
        self.bytes.extend_from_slice(&bytes[zeros..]);
        Ok(())
    }

    fn pointer(&mut self, at: u32) {
        let length = pointer_length(at);
        // Each length counts from where the shorter one ends; three bits of the first byte belong to the value.
        let rest = at - [0, 0, 0, 2_048, 526_336, 0][length];
        let bytes = rest.to_be_bytes();
        let size = [0, 0, 0, 1, 2, 3][length] << 3;
        match length {
            2 => self.bytes.extend([kind::POINTER << 5 | size | bytes[2], bytes[3]]),
            3 => self.bytes.extend([kind::POINTER << 5 | size | bytes[1], bytes[2], bytes[3]]),
            4 => self.bytes.extend([kind::POINTER << 5 | size | bytes[0], bytes[1], bytes[2], bytes[3]]),
            _ => self.bytes.extend([kind::POINTER << 5 | size, bytes[0], bytes[1], bytes[2], bytes[3]]),
        }
    }

    /// Control byte: type and size.
    fn head(&mut self, kind: u8, size: usize) -> Result<()> {
        let size = u32::try_from(size)?;
        let (first, more) = match size {
            0..29 => (size, 0),
            29..285 => (29, 1),
            285..65_821 => (30, 2),
            65_821..16_843_037 => (31, 3),
            _ => anyhow::bail!("a value of {size} bytes: the format ends at 16 MiB"),
        };
        let rest = size - [0, 29, 285, 65_821][more];
        let first = u8::try_from(first)?;
        match kind {
            0..8 => self.bytes.push(kind << 5 | first),
            _ => self.bytes.extend([first, kind - 7]),
        }
        self.bytes.extend_from_slice(&rest.to_be_bytes()[4 - more..]);
        Ok(())
    }
}

/// Bytes of a pointer to this place of the data section.
fn pointer_length(at: u32) -> usize {
    match at {
        0..2_048 => 2,
        2_048..526_336 => 3,
        526_336..134_744_064 => 4,
        _ => 5,
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

    use maxminddb::Reader;

    use super::*;

    const ABOUT: About<'_> = About {
        database_type: "test",
        description: "made by a test",
        build_epoch: 1_781_722_740,
        ip_version: IpVersion::V6,
        record_size: 24,
    };

    fn span(start: u128, end: u128, value: u32) -> Span<u32> {
        Span { start, end, value }
    }

    fn texts(count: usize) -> Vec<Value> {
        (0..count).map(|n| Value::Text(format!("record {n}"))).collect()
    }

    fn address(bits: u128) -> IpAddr {
        match u32::try_from(bits) {
            Ok(v4) => Ipv4Addr::from(v4).into(),
            Err(_) => Ipv6Addr::from(bits).into(),
        }
    }

    fn read(file: &[u8], bits: u128) -> Option<String> {
        Reader::from_source(file).unwrap().lookup(address(bits)).unwrap().decode::<String>().unwrap()
    }

    #[test]
    fn ranges_that_are_no_prefixes_are_found_to_their_last_address() {
        let wide = 0x2001_0db8_u128 << 96;
        let spans = [span(5, 4_000_001, 0), span(4_000_002, 4_000_002, 1), span(wide + 7, wide + 99_999, 2)];
        for record_size in [24, 28, 32] {
            let file = write(&About { record_size, ..ABOUT }, &texts(3), &spans).unwrap();
            let reader = Reader::from_source(&file).unwrap();
            assert_eq!(reader.metadata().record_size, record_size);
            reader.verify().unwrap();
            for (at, expected) in [
                (4, None),
                (5, Some("record 0")),
                (4_000_001, Some("record 0")),
                (4_000_002, Some("record 1")),
                (4_000_003, None),
                (wide + 6, None),
                (wide + 7, Some("record 2")),
                (wide + 99_999, Some("record 2")),
                (wide + 100_000, None),
            ] {
                assert_eq!(read(&file, at).as_deref(), expected, "{record_size} bits, address {at:#x}");
            }
        }
    }

    #[test]
    fn equal_subtrees_are_stored_once() {
        let block = |at: u128| [span(at + 1, at + 1, 0), span(at + 3, at + 7, 1)];
        let one = write(&ABOUT, &texts(2), &block(0x2001 << 112)).unwrap();
        let two: Vec<_> = [block(0x2001 << 112), block(0x2001 << 112 | 1 << 64)].concat();
        let two = write(&ABOUT, &texts(2), &two).unwrap();
        // 64 more nodes on the way to the second block, none for the block itself.
        assert!(two.len() - one.len() <= 64 * 6, "{} against {}", two.len(), one.len());
        assert_eq!(read(&two, 0x2001 << 112 | 1 << 64 | 4).as_deref(), Some("record 1"));
    }

    #[test]
    fn values_of_every_type_and_size_come_back() {
        let long: Vec<String> = [28, 29, 284, 285, 65_820, 65_821].iter().map(|n| "x".repeat(*n)).collect();
        for text in &long {
            let file = write(&ABOUT, &[Value::Text(text.clone())], &[span(0, 9, 0)]).unwrap();
            assert_eq!(read(&file, 3).as_deref(), Some(text.as_str()));
        }
        let record = Value::Map(vec![
            ("a", Value::U16(0)),
            ("b", Value::U32(u32::MAX)),
            ("c", Value::U64(u64::MAX)),
            ("d", Value::Array(vec![Value::text("autonomous"), Value::text("autonomous")])),
        ]);
        let file = write(&ABOUT, &[record], &[span(0, 9, 0)]).unwrap();
        let reader = Reader::from_source(&file).unwrap();
        let back: serde_json::Value = reader.lookup(address(0)).unwrap().decode().unwrap().unwrap();
        assert_eq!(
            back,
            serde_json::json!({"a": 0, "b": u32::MAX, "c": u64::MAX, "d": ["autonomous", "autonomous"]})
        );
    }

    #[test]
    fn pointers_of_every_length_lead_back_to_their_text() {
        let mut records = vec![];
        for n in 0..8_000 {
            records.push(Value::Text(format!("{n:05}{}", "y".repeat(100))));
        }
        let count = u32::try_from(records.len()).unwrap();
        for n in [0, 10, 19, 20, 4_900, 5_100, 7_999] {
            records.push(Value::Map(vec![("n", records[n].clone())]));
        }
        let spans: Vec<_> = (0..7).map(|n| span(u128::from(n), u128::from(n), count + n)).collect();
        let file = write(&ABOUT, &records, &spans).unwrap();
        let reader = Reader::from_source(&file).unwrap();
        for (at, n) in [0, 10, 19, 20, 4_900, 5_100, 7_999].into_iter().enumerate() {
            let map: serde_json::Value =
                reader.lookup(address(at as u128)).unwrap().decode().unwrap().unwrap();
            assert!(map["n"].as_str().unwrap().starts_with(&format!("{n:05}y")));
        }
    }

    #[test]
    fn the_same_input_gives_the_same_bytes() {
        let spans: Vec<_> =
            (0..500).map(|n| span(n * 10, n * 10 + 6, u32::try_from(n % 7).unwrap())).collect();
        assert_eq!(write(&ABOUT, &texts(7), &spans).unwrap(), write(&ABOUT, &texts(7), &spans).unwrap());
    }

    #[test]
    fn an_empty_or_full_address_space_is_still_a_readable_file() {
        assert_eq!(read(&write(&ABOUT, &texts(1), &[]).unwrap(), 77), None);
        let full = write(&ABOUT, &texts(1), &[span(0, u128::MAX, 0)]).unwrap();
        assert_eq!(read(&full, 77).as_deref(), Some("record 0"));
        let v4 = About { ip_version: IpVersion::V4, ..ABOUT };
        let full = write(&v4, &texts(1), &[span(0, u128::from(u32::MAX), 0)]).unwrap();
        assert_eq!(read(&full, 77).as_deref(), Some("record 0"));
    }

    #[test]
    fn overlapping_ranges_and_missing_records_are_refused() {
        assert!(write(&ABOUT, &texts(2), &[span(0, 9, 0), span(9, 12, 1)]).is_err());
        assert!(write(&ABOUT, &texts(1), &[span(0, 9, 1)]).is_err());
        let v4 = About { ip_version: IpVersion::V4, ..ABOUT };
        assert!(write(&v4, &texts(1), &[span(1 << 40, 1 << 41, 0)]).is_err());
    }
}
