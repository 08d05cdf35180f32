//! Lines in the very form in which tracer writes them: members in their order, no spaces, no escapes. Nearly all recorded lines are
//! so, and need not be taken apart for whatever JSON may have: each byte is looked at once, and the owner's members, which are the
//! last third of a line and the same in many, not even that.
//!
//! In: a line. Out: what judging needs of it, and what is copied as it stands. `None` for every other form, right or wrong:
//! [`super::line`] reads any JSON, comes to the same, and says what is wrong. docs/decisions/0011-reading-and-writing-records.md says why.

use std::fmt::Write;
use std::hash::BuildHasher;
use std::sync::Arc;

use hashbrown::{DefaultHashBuilder, HashTable};
use smallvec::SmallVec;

use super::cursor::Cursor;
use super::line::{As, Endpoint, Flow, Geo, Judged, Members, Name, Network, Organization};
use super::owners::{self, Owners};
use crate::clock::Timestamp;
use crate::judge::observation::Who;
use crate::record::{Action, SCHEMA};

/// Ends of lines that are remembered; when there are more, they are read anew.
const CAPACITY: usize = 4096;
/// Bytes of a time up to its minute, and of a whole one.
const MINUTE: usize = "2026-11-22T06:00:".len();
const WHOLE: usize = "2026-11-22T06:00:30.000000000Z".len();

/// A line in the form in which tracer writes it.
#[derive(Debug)]
pub struct Canonical<'a> {
    pub seq: u64,
    pub at: Timestamp,
    pub action: Action,
    pub what: What<'a>,
    /// From behind the number of the record to the first member that is written anew.
    pub before: &'a str,
    /// From behind the last member that is written anew to the end.
    pub behind: SmallVec<[&'a str; 2]>,
}

/// What a line is about.
#[derive(Debug)]
#[allow(clippy::large_enum_variant, reason = "one at a time, and most are of the large kind")]
pub enum What<'a> {
    Connection(Judged<'a>, Arc<Who>),
    /// A question to a resolver: nothing of it is judged.
    Question,
}

/// Reads lines, and remembers what many have in common.
#[derive(Default)]
pub struct Reader {
    ends: HashTable<End>,
    hasher: DefaultHashBuilder,
    /// A minute as it is written, and when it began.
    minute: Option<([u8; MINUTE], u64)>,
}

/// The end of a line: members of the owner.
struct End {
    text: Box<str>,
    who: Arc<Who>,
}

impl Reader {
    /// Reads a line that has this form.
    pub fn read<'a>(&mut self, line: &'a str, owners: &mut Owners) -> Option<Canonical<'a>> {
        let mut cursor = Cursor::new(line);
        cursor.expect(r#"{"schema":""#)?;
        if cursor.text()? != SCHEMA {
            return None;
        }
        cursor.expect(r#","seq":"#)?;
        let seq = cursor.number()?;
        let behind_seq = cursor.at();
        cursor.expect(r#","@timestamp":""#)?;
        let at = self.time(cursor.text()?)?;
        let action = event(&mut cursor)?;
        let (what, before, behind) = if action == Action::Dns {
            let before = cursor.since(behind_seq)?;
            let start = cursor.at();
            cursor.expect(r#","dns":"#)?;
            cursor.skip()?;
            let text = cursor.since(start)?;
            self.owner(cursor.rest(), owners)?;
            (What::Question, before, SmallVec::from_slice(&[text, cursor.rest()]))
        } else if super::is_judged(action) {
            let (flow, network) = (flow(&mut cursor)?, network(&mut cursor)?);
            let before = cursor.since(behind_seq)?;
            cursor.expect(r#","source":"#)?;
            let source = endpoint(&mut cursor)?;
            cursor.expect(r#","destination":"#)?;
            let destination = endpoint(&mut cursor)?;
            let behind = others(&mut cursor)?;
            let who = self.owner(cursor.rest(), owners)?;
            let judged = Judged { flow, network, source, destination };
            (What::Connection(judged, who), before, behind)
        } else {
            return None;
        };
        Some(Canonical { seq, at, action, what, before, behind })
    }

    /// A time with nanoseconds. Most lines are of the same minute as the line before.
    fn time(&mut self, text: &str) -> Option<Timestamp> {
        let bytes: &[u8; WHOLE] = text.as_bytes().try_into().ok()?;
        let (minute, rest) = bytes.split_first_chunk::<MINUTE>()?;
        let digits = |digits: &[u8]| {
            digits.iter().try_fold(0, |number, digit| {
                digit.is_ascii_digit().then(|| number * 10 + u64::from(digit - b'0'))
            })
        };
        let [s0, s1, b'.', fraction @ .., b'Z'] = rest else { return None };
        let (seconds, nanoseconds) = (digits(&[*s0, *s1])?, digits(fraction)?);
        if seconds > 59 {
            return None;
        }
        let began = match self.minute {
            Some((known, began)) if known == *minute => began,
            _ => {
                let began =
                    text.parse::<Timestamp>().ok()?.0.checked_sub(seconds * 1_000_000_000 + nanoseconds)?;
                self.minute = Some((*minute, began));
                began
            }
        };
        began.checked_add(seconds * 1_000_000_000 + nanoseconds).map(Timestamp)
    }

    /// The owner, of the end of a line; of one without an owner, too.
    fn owner(&mut self, text: &str, owners: &mut Owners) -> Option<Arc<Who>> {
        let hash = self.hasher.hash_one(text);
        if let Some(known) = self.ends.find(hash, |known| *known.text == *text) {
            return Some(Arc::clone(&known.who));
        }
        let who = read_owner(text, owners)?;
        if self.ends.len() >= CAPACITY {
            self.ends.clear();
        }
        let hasher = &self.hasher;
        let end = End { text: text.into(), who: Arc::clone(&who) };
        self.ends.insert_unique(hash, end, |known| hasher.hash_one(&*known.text));
        Some(who)
    }
}

/// Nothing but members of the owner, each once, in the form in which they are written.
fn read_owner(text: &str, owners: &mut Owners) -> Option<Arc<Who>> {
    let line = format!("{{{}", text.strip_prefix(',').unwrap_or(text));
    let members = Members::of(&line).ok()?;
    let mut written = String::with_capacity(text.len());
    for (name, value) in &members.all {
        let is_owners = owners::MEMBERS.iter().any(|member| member.name() == name);
        let is_new = members.all.iter().filter(|(other, _)| other == name).count() == 1;
        if !(is_owners && is_new) {
            return None;
        }
        // Writing to a String cannot fail.
        let _ = write!(written, ",\"{name}\":{value}");
    }
    written.push('}');
    if written == text { owners.of(&members).ok() } else { None }
}

fn event(cursor: &mut Cursor<'_>) -> Option<Action> {
    cursor.expect(r#","event":{"kind":"event","category":["network"],"type":["#)?;
    cursor.expect("\"")?;
    cursor.text()?;
    while cursor.has(",\"") {
        cursor.text()?;
    }
    cursor.expect(r#"],"action":""#)?;
    let action = cursor.word()?;
    cursor.text_behind(r#","outcome":""#)?;
    cursor.number_behind::<u64>(r#","duration":"#)?;
    cursor.expect("}")?;
    Some(action)
}

fn flow<'a>(cursor: &mut Cursor<'a>) -> Option<Flow<'a>> {
    cursor.expect(r#","flow":{"id":""#)?;
    let id = cursor.text()?.into();
    let age_ms = cursor.number_behind(r#","age_ms":"#)?;
    let silent_ms = cursor.number_behind(r#","silent_ms":"#)?;
    cursor.number_behind::<u64>(r#","netns":"#)?;
    let end = cursor.word_behind(r#","end":""#)?;
    cursor.text_behind(r#","end_by":""#)?;
    cursor.expect("}")?;
    Some(Flow { id, age_ms, silent_ms, end })
}

fn network(cursor: &mut Cursor<'_>) -> Option<Network> {
    cursor.expect(r#","network":{"transport":""#)?;
    let transport = cursor.word()?;
    let protocol = cursor.word_behind(r#","protocol":""#)?;
    cursor.has(r#","cleartext":true"#);
    cursor.text_behind(r#","type":""#)?;
    let direction = cursor.word_behind(r#","direction":""#)?;
    cursor.text_behind(r#","community_id":""#)?;
    cursor.number_behind::<u64>(r#","rtt_us":"#)?;
    cursor.number_behind::<u64>(r#","retransmits":"#)?;
    cursor.expect("}")?;
    Some(Network { transport, protocol, direction })
}

fn endpoint<'a>(cursor: &mut Cursor<'a>) -> Option<Endpoint<'a>> {
    cursor.expect(r#"{"ip":""#)?;
    let ip = cursor.text()?.parse().ok()?;
    let port = cursor.number_behind(r#","port":"#)?;
    let domain = cursor.text_behind(r#","domain":""#)?.map(Into::into);
    let registered_domain = cursor.text_behind(r#","registered_domain":""#)?.map(Into::into);
    let name = if cursor.has(r#","name":"#) { Some(name(cursor)?) } else { None };
    cursor.expect(r#","scope":""#)?;
    let scope = cursor.word()?;
    let nat64 = match cursor.text_behind(r#","nat64":""#)? {
        Some(address) => Some(address.parse().ok()?),
        None => None,
    };
    let anycast = cursor.has(r#","anycast":true"#);
    let geo = if cursor.has(r#","geo":"#) { Some(geo(cursor)?) } else { None };
    let network = if cursor.has(r#","as":"#) { Some(network_of_end(cursor)?) } else { None };
    for replaced in [r#","service":"#, r#","lists":"#] {
        if cursor.has(replaced) {
            cursor.skip()?;
        }
    }
    let bytes = cursor.number_behind(r#","bytes":"#)?;
    let packets = cursor.number_behind(r#","packets":"#)?;
    cursor.expect("}")?;
    Some(Endpoint {
        ip,
        port,
        domain,
        registered_domain,
        name,
        scope,
        nat64,
        anycast,
        geo,
        network,
        bytes,
        packets,
    })
}

/// One without other candidates.
fn name(cursor: &mut Cursor<'_>) -> Option<Name> {
    cursor.expect(r#"{"source":""#)?;
    let source = cursor.word()?;
    let age_ms = cursor.number_behind(r#","age_ms":"#)?;
    cursor.expect("}")?;
    Some(Name { source, age_ms, ambiguous: false, candidates: Vec::new() })
}

fn geo<'a>(cursor: &mut Cursor<'a>) -> Option<Geo<'a>> {
    cursor.expect(r#"{"country_iso_code":""#)?;
    let country_iso_code = cursor.text()?.into();
    cursor.text_behind(r#","country_name":""#)?;
    cursor.expect("}")?;
    Some(Geo { country_iso_code })
}

fn network_of_end<'a>(cursor: &mut Cursor<'a>) -> Option<As<'a>> {
    cursor.expect(r#"{"number":"#)?;
    let number = cursor.number().and_then(|number| number.try_into().ok())?;
    let name = cursor.text_behind(r#","organization":{"name":""#)?;
    let organization = match name {
        Some(name) => {
            cursor.expect("}")?;
            Some(Organization { name: name.into() })
        }
        None => None,
    };
    cursor.expect("}")?;
    Some(As { number, organization })
}

/// Members between the ends of the connection and its owner: their text, without those that an earlier judging left.
fn others<'a>(cursor: &mut Cursor<'a>) -> Option<SmallVec<[&'a str; 2]>> {
    let mut texts = SmallVec::new();
    if cursor.has(r#","flags":"#) {
        cursor.skip_array()?;
    }
    let start = cursor.at();
    for copied in [r#","tls":"#, r#","error":"#] {
        if cursor.has(copied) {
            cursor.skip()?;
        }
    }
    texts.push(cursor.since(start)?);
    texts.push(cursor.rest());
    Some(texts)
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;
    use std::time::Duration;

    use super::super::{Given, Replay, Wanted};
    use super::*;
    use crate::enrich::geo::Geo;
    use crate::judge::{Expectations, Judge};

    /// What tracer writes of connections with everything that a record may have.
    const LINES: &[&str] = &[
        concat!(
            r#"{"schema":"tracer/1.0","seq":2,"@timestamp":"2026-11-22T06:00:30.000000000Z","event":{"kind":"event","#,
            r#""category":["network"],"type":["connection","start"],"action":"connect","outcome":"unknown"},"#,
            r#""flow":{"id":"b6c1e0a4-1001","age_ms":0},"network":{"transport":"tcp","type":"ipv4","#,
            r#""direction":"egress","community_id":"1:TlJg6PPMUoNWCx48O440qCBlgIQ="},"#,
            r#""source":{"ip":"10.0.2.16","port":32769,"scope":"private"},"#,
            r#""destination":{"ip":"20.0.0.0","port":443,"scope":"global","geo":{"country_iso_code":"NO","#,
            r#""country_name":"Norway"},"as":{"number":64502,"organization":{"name":"Override"}}},"#,
            r#""flags":[{"id":"outside-home","severity":"low","reason":"connects to Norway (NO)"}],"#,
            r#""process":{"pid":2123,"name":"worker"},"user":{"id":"10123","name":"u0_a123"},"#,
            r#""app":{"package":["com.example.messenger"],"uid":10123,"kind":"app"},"#,
            r#""attribution":{"method":"sock_ops","owner":"sk_uid","confidence":"certain"}}"#
        ),
        concat!(
            r#"{"schema":"tracer/1.0","seq":3,"@timestamp":"2026-11-22T06:01:02.123456789Z","event":{"kind":"event","#,
            r#""category":["network"],"type":["connection","end"],"action":"close","outcome":"success","#,
            r#""duration":8000000000},"flow":{"id":"b6c1e0a4-1001-7","age_ms":8000,"silent_ms":5,"netns":4026531840,"#,
            r#""end":"closed","end_by":"remote"},"network":{"transport":"udp","protocol":"http","cleartext":true,"#,
            r#""type":"ipv6","direction":"egress","rtt_us":72000,"retransmits":0},"source":{"ip":"2001:db8::1","#,
            r#""port":59893,"scope":"global","bytes":3064,"packets":5},"destination":{"#,
            r#""ip":"64:ff9b::102:304","port":80,"domain":"push.example","registered_domain":"push.example","#,
            r#""name":{"source":"resolver","age_ms":20},"scope":"global","nat64":"1.2.3.4","anycast":true,"#,
            r#""service":{"id":"baidu-push","name":"Baidu"},"lists":["ads"],"bytes":91364,"packets":3},"#,
            r#""tls":{"server_name":"push.example","ja4":"t13d"},"error":{"code":"ECONNRESET"},"#,
            r#""user":{"id":"1010123"},"attribution":{"method":"kprobe"}}"#
        ),
        concat!(
            r#"{"schema":"tracer/1.0","seq":4,"@timestamp":"2026-11-22T06:01:03.000000001Z","event":{"kind":"event","#,
            r#""category":["network"],"type":["protocol"],"action":"dns","outcome":"success","duration":4},"#,
            r#""dns":{"type":"answer","question":{"name":"push.example"}},"process":{"pid":2,"name":"a"}}"#
        ),
    ];

    fn replay(line: &str, takes_any: bool) -> (bool, String) {
        static EXPECTATIONS: LazyLock<Expectations> =
            LazyLock::new(|| Expectations { home: vec!["SE".to_owned()], ..Expectations::built_in() });
        let judge = Judge::new(EXPECTATIONS.clone(), Duration::from_secs(60), Duration::from_secs(3600));
        let mut replay = Replay::new(judge, Geo::built_in().unwrap(), Given::default(), Wanted::default());
        if takes_any {
            replay.read_any_form();
        }
        let is_record = replay.take(line.as_bytes()).is_ok();
        replay.end_of_file();
        (is_record, String::from_utf8(replay.out).unwrap())
    }

    fn is_canonical(line: &str) -> bool {
        Reader::default().read(line, &mut Owners::default()).is_some()
    }

    #[test]
    fn lines_of_tracer_are_read_so_and_come_to_the_same() {
        for line in LINES {
            assert!(is_canonical(line), "{line}");
            assert_eq!(replay(line, false), replay(line, true));
            assert!(replay(line, false).0, "{line}");
        }
    }

    /// One thing at a time is cut out, doubled or replaced; whatever is still read so comes to the same as otherwise.
    #[test]
    fn changed_lines_come_to_the_same_or_are_read_otherwise() {
        let mut still = 0;
        for line in LINES {
            for at in (0..line.len()).step_by(3) {
                let (before, behind) = line.split_at(at);
                let next = behind.find([',', '"', '}']).map_or(behind.len(), |end| end + 1);
                let (this, after) = behind.split_at(next);
                for changed in [
                    format!("{before}{after}"),
                    format!("{before}{this}{this}{after}"),
                    format!("{before} {behind}"),
                    format!("{before}0{behind}"),
                    format!("{before}\\u0041{behind}"),
                    format!("{before}x{}", behind.get(1..).unwrap_or_default()),
                    before.to_owned(),
                ] {
                    if is_canonical(&changed) {
                        still += 1;
                        assert_eq!(replay(&changed, false), replay(&changed, true), "{changed}");
                    }
                }
            }
        }
        assert!(still > 300, "{still}");
    }

    #[test]
    fn an_owner_is_read_once_and_its_end_has_nothing_else() {
        let (mut reader, mut owners) = (Reader::default(), Owners::default());
        let end = r#","user":{"id":"7"},"process":{"pid":1,"name":"a"}}"#;
        let who = reader.owner(end, &mut owners).unwrap();
        assert_eq!((who.uid, who.process.as_deref()), (Some(7), Some("a")));
        assert!(Arc::ptr_eq(&who, &reader.owner(end, &mut owners).unwrap()));
        assert_eq!(reader.owner("}", &mut owners).as_deref(), Some(&Who::default()));
        for wrong in [
            "",
            ",}",
            r#","user":{"id":"7"}"#,
            r#","user":{"id":"7"}} "#,
            r#", "user":{"id":"7"}}"#,
            r#","user":{"id":"7"},"user":{"id":"7"}}"#,
            r#","user":{"id":"7"},"seq":1}"#,
            r#","us\u0065r":{"id":"7"}}"#,
            r#","user":{"id":7}}"#,
        ] {
            assert_eq!(reader.owner(wrong, &mut owners), None, "{wrong}");
        }
    }

    #[test]
    fn times_are_read_as_everywhere() {
        let mut reader = Reader::default();
        for text in [
            "2026-11-22T06:00:30.000000001Z",
            "2026-11-22T06:00:59.999999999Z",
            "2024-02-29T23:59:00.000000000Z",
        ] {
            assert_eq!(reader.time(text), text.parse().ok(), "{text}");
        }
        for wrong in [
            "2026-11-22T06:00:60.000000000Z",
            "2026-11-22T06:00:3x.000000000Z",
            "2026-13-22T06:00:30.000000000Z",
            "2026-11-22T06:00:30Z",
        ] {
            assert_eq!(reader.time(wrong), None, "{wrong}");
        }
    }
}
