//! JSON of what records are made of, written without a second look at the names of members.
//!
//! The same text as `serde_json` makes, in about half the time for a record: names of members are known to need no escapes, texts
//! are looked through eight bytes at a time, and a member is one piece of work instead of four. docs/performance.md has the figures.
//! Whatever is rare (escapes, fractions, keys of maps) is left to `serde_json`.

use std::fmt::{self, Display};

use serde::Serialize;
use serde::ser::{self, Error as _, Serializer};
use serde_json::Error;

/// The struct by which `serde_json` tells its `RawValue` from others.
const RAW: &str = "$serde_json::private::RawValue";

/// Adds a value, as `serde_json::to_writer` does.
///
/// # Errors
/// When the value says that it has none; half of it may be written then.
pub fn write(value: &(impl Serialize + ?Sized), out: &mut Vec<u8>) -> Result<(), Error> {
    value.serialize(Writer { out, is_raw: false })
}

const fn each(byte: u8) -> u64 {
    u64::from_le_bytes([byte; 8])
}

/// Marks the highest bit of bytes that are zero. The lowest mark is right, further ones may not be.
const fn zeros(word: u64) -> u64 {
    word.wrapping_sub(each(1)) & !word & each(0x80)
}

/// Where the first quote, backslash or control character is, from `at` on. Eight bytes at a time: most texts are short, and
/// a loop over their bytes is left at another place each time, which processors cannot foresee.
#[inline]
#[must_use]
pub fn text_end(bytes: &[u8], mut at: usize) -> Option<usize> {
    while let Some(eight) = bytes.get(at..).and_then(|rest| rest.first_chunk::<8>()) {
        let word = u64::from_le_bytes(*eight);
        let is_control = word.wrapping_sub(each(0x20)) & !word & each(0x80);
        let ends = zeros(word ^ each(b'"')) | zeros(word ^ each(b'\\')) | is_control;
        if ends != 0 {
            return Some(at + ends.trailing_zeros() as usize / 8);
        }
        at += 8;
    }
    let rest = bytes.get(at..)?;
    rest.iter().position(|&byte| byte == b'"' || byte == b'\\' || byte < 0x20).map(|behind| at + behind)
}

/// Writes one value.
struct Writer<'o> {
    out: &'o mut Vec<u8>,
    /// A text is JSON already.
    is_raw: bool,
}

impl Writer<'_> {
    /// By `serde_json`.
    fn rare(self, value: &(impl Serialize + ?Sized)) -> Result<(), Error> {
        serde_json::to_writer(self.out, value)
    }

    fn number(self, number: impl itoa::Integer) {
        self.out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
    }
}

/// A text's part, escaped where it must be.
fn part(out: &mut Vec<u8>, text: &str) -> Result<(), Error> {
    if text_end(text.as_bytes(), 0).is_none() {
        out.extend_from_slice(text.as_bytes());
        return Ok(());
    }
    let quoted = serde_json::to_string(text)?;
    out.extend_from_slice(quoted.get(1..quoted.len() - 1).unwrap_or_default().as_bytes());
    Ok(())
}

/// Escapes what is displayed.
struct Displayed<'o>(&'o mut Vec<u8>);

impl fmt::Write for Displayed<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        part(self.0, text).map_err(|_| fmt::Error)
    }
}

/// Several values, and what comes behind them.
struct Several<'o> {
    out: &'o mut Vec<u8>,
    is_first: bool,
    is_raw: bool,
    end: &'static str,
}

impl<'o> Several<'o> {
    fn begin(out: &'o mut Vec<u8>, start: &str, end: &'static str) -> Self {
        out.extend_from_slice(start.as_bytes());
        Self { out, is_first: true, is_raw: false, end }
    }

    /// A variant with something in it.
    fn variant(out: &'o mut Vec<u8>, name: &str, start: &str, end: &'static str) -> Self {
        out.extend_from_slice(b"{\"");
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(b"\":");
        Self::begin(out, start, end)
    }

    fn value(&mut self, value: &(impl Serialize + ?Sized)) -> Result<(), Error> {
        value.serialize(Writer { out: self.out, is_raw: self.is_raw })
    }

    fn comma(&mut self) {
        if !std::mem::take(&mut self.is_first) {
            self.out.push(b',');
        }
    }

    fn item(&mut self, value: &(impl Serialize + ?Sized)) -> Result<(), Error> {
        self.comma();
        self.value(value)
    }

    /// Where it is called the name is known, and becomes a few moves instead of a call.
    #[inline(always)]
    fn member(&mut self, name: &'static str, value: &(impl Serialize + ?Sized)) -> Result<(), Error> {
        if !self.is_raw {
            if std::mem::take(&mut self.is_first) {
                self.out.push(b'"');
            } else {
                self.out.extend_from_slice(b",\"");
            }
            self.out.extend_from_slice(name.as_bytes());
            self.out.extend_from_slice(b"\":");
        }
        self.value(value)
    }

    fn finish(self) {
        self.out.extend_from_slice(self.end.as_bytes());
    }
}

macro_rules! numbers {
    ($($method:ident $type:ty;)*) => {
        $(#[inline]
        fn $method(self, number: $type) -> Result<(), Error> {
            self.number(number);
            Ok(())
        })*
    };
}

impl<'o> Serializer for Writer<'o> {
    type Ok = ();
    type Error = Error;
    type SerializeSeq = Several<'o>;
    type SerializeTuple = Several<'o>;
    type SerializeTupleStruct = Several<'o>;
    type SerializeTupleVariant = Several<'o>;
    type SerializeMap = Several<'o>;
    type SerializeStruct = Several<'o>;
    type SerializeStructVariant = Several<'o>;

    numbers! {
        serialize_i8 i8; serialize_i16 i16; serialize_i32 i32; serialize_i64 i64; serialize_i128 i128;
        serialize_u8 u8; serialize_u16 u16; serialize_u32 u32; serialize_u64 u64; serialize_u128 u128;
    }

    fn serialize_bool(self, flag: bool) -> Result<(), Error> {
        self.out.extend_from_slice(if flag { b"true" } else { b"false" });
        Ok(())
    }
    fn serialize_f32(self, number: f32) -> Result<(), Error> {
        self.rare(&number)
    }
    fn serialize_f64(self, number: f64) -> Result<(), Error> {
        self.rare(&number)
    }
    fn serialize_char(self, sign: char) -> Result<(), Error> {
        self.rare(&sign)
    }
    fn serialize_bytes(self, bytes: &[u8]) -> Result<(), Error> {
        self.rare(bytes)
    }

    #[inline]
    fn serialize_str(self, text: &str) -> Result<(), Error> {
        if self.is_raw {
            self.out.extend_from_slice(text.as_bytes());
            return Ok(());
        }
        self.out.push(b'"');
        part(self.out, text)?;
        self.out.push(b'"');
        Ok(())
    }

    fn collect_str<T: Display + ?Sized>(self, value: &T) -> Result<(), Error> {
        self.out.push(b'"');
        fmt::write(&mut Displayed(self.out), format_args!("{value}")).map_err(Error::custom)?;
        self.out.push(b'"');
        Ok(())
    }

    fn serialize_none(self) -> Result<(), Error> {
        self.serialize_unit()
    }
    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), Error> {
        value.serialize(self)
    }
    fn serialize_unit(self) -> Result<(), Error> {
        self.out.extend_from_slice(b"null");
        Ok(())
    }
    fn serialize_unit_struct(self, _: &'static str) -> Result<(), Error> {
        self.serialize_unit()
    }
    fn serialize_unit_variant(self, _: &'static str, _: u32, name: &'static str) -> Result<(), Error> {
        // As names of members, it needs no escapes.
        self.out.push(b'"');
        self.out.extend_from_slice(name.as_bytes());
        self.out.push(b'"');
        Ok(())
    }
    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        value: &T,
    ) -> Result<(), Error> {
        value.serialize(self)
    }
    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        name: &'static str,
        value: &T,
    ) -> Result<(), Error> {
        let mut variant = Several::variant(self.out, name, "", "}");
        variant.value(value)?;
        variant.finish();
        Ok(())
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<Several<'o>, Error> {
        Ok(Several::begin(self.out, "[", "]"))
    }
    fn serialize_tuple(self, _: usize) -> Result<Several<'o>, Error> {
        Ok(Several::begin(self.out, "[", "]"))
    }
    fn serialize_tuple_struct(self, _: &'static str, _: usize) -> Result<Several<'o>, Error> {
        Ok(Several::begin(self.out, "[", "]"))
    }
    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        name: &'static str,
        _: usize,
    ) -> Result<Several<'o>, Error> {
        Ok(Several::variant(self.out, name, "[", "]}"))
    }
    fn serialize_map(self, _: Option<usize>) -> Result<Several<'o>, Error> {
        Ok(Several::begin(self.out, "{", "}"))
    }
    #[inline]
    fn serialize_struct(self, name: &'static str, _: usize) -> Result<Several<'o>, Error> {
        if name == RAW {
            return Ok(Several { is_raw: true, ..Several::begin(self.out, "", "") });
        }
        Ok(Several::begin(self.out, "{", "}"))
    }
    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        name: &'static str,
        _: usize,
    ) -> Result<Several<'o>, Error> {
        Ok(Several::variant(self.out, name, "{", "}}"))
    }
}

macro_rules! items {
    ($($kind:ident $method:ident;)*) => {
        $(impl ser::$kind for Several<'_> {
            type Ok = ();
            type Error = Error;
            fn $method<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Error> {
                self.item(value)
            }
            fn end(self) -> Result<(), Error> {
                self.finish();
                Ok(())
            }
        })*
    };
}

macro_rules! members {
    ($($kind:ident;)*) => {
        $(impl ser::$kind for Several<'_> {
            type Ok = ();
            type Error = Error;
            #[inline(always)]
            fn serialize_field<T: Serialize + ?Sized>(&mut self, name: &'static str, value: &T) -> Result<(), Error> {
                self.member(name, value)
            }
            fn end(self) -> Result<(), Error> {
                self.finish();
                Ok(())
            }
        })*
    };
}

items! {
    SerializeSeq serialize_element;
    SerializeTuple serialize_element;
    SerializeTupleStruct serialize_field;
    SerializeTupleVariant serialize_field;
}

members! {
    SerializeStruct;
    SerializeStructVariant;
}

impl ser::SerializeMap for Several<'_> {
    type Ok = ();
    type Error = Error;
    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), Error> {
        self.comma();
        // With an object around it `serde_json` makes a text of every key that can be one.
        let object = serde_json::to_string(&Single(key))?;
        let key = object.get(1..object.len() - "null}".len()).unwrap_or_default();
        self.out.extend_from_slice(key.as_bytes());
        Ok(())
    }
    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Error> {
        self.value(value)
    }
    fn end(self) -> Result<(), Error> {
        self.finish();
        Ok(())
    }
}

/// A map with this key.
struct Single<'k, T: ?Sized>(&'k T);

impl<T: Serialize + ?Sized> Serialize for Single<'_, T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map([(self.0, ())])
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::value::to_raw_value;

    use super::*;

    #[derive(Serialize)]
    enum Kind {
        Unit,
        New(u8),
        Tuple(u8, &'static str),
        Struct { a: Option<i64>, b: () },
    }

    #[derive(Serialize)]
    struct Pair(u8, char);

    #[derive(Serialize)]
    struct All<'a> {
        text: &'a str,
        displayed: std::net::IpAddr,
        #[serde(rename = "@timestamp")]
        float: f64,
        small: f32,
        long: u128,
        negative: i8,
        flag: bool,
        kinds: [Kind; 4],
        pair: Pair,
        none: Option<u8>,
        raw: Box<serde_json::value::RawValue>,
        names: BTreeMap<&'static str, Vec<u16>>,
        numbers: BTreeMap<u32, bool>,
        nothing: BTreeMap<u32, bool>,
        bytes: &'a [u8],
    }

    #[test]
    fn it_is_what_serde_json_writes() {
        for text in [
            "",
            "a",
            "ä €\u{1f600}",
            "eight by",
            "a quote \" in it",
            "back\\slash",
            "\u{0}\n\u{1f}\u{7f}",
            "</script>",
        ] {
            for length in 0..20 {
                let text = format!("{}{text}", "x".repeat(length));
                let all = All {
                    text: &text,
                    displayed: [0x2001, 0xdb8, 0, 0, 0, 0, 0, 1].into(),
                    float: 1.5e300,
                    small: 0.1,
                    long: u128::MAX,
                    negative: -128,
                    flag: true,
                    kinds: [
                        Kind::Unit,
                        Kind::New(7),
                        Kind::Tuple(1, "\""),
                        Kind::Struct { a: Some(-1), b: () },
                    ],
                    pair: Pair(1, '"'),
                    none: None,
                    raw: to_raw_value(&[1, 2]).unwrap(),
                    names: [("a \" b", vec![1, 2]), ("c", vec![])].into(),
                    numbers: [(7, true), (8, false)].into(),
                    nothing: BTreeMap::new(),
                    bytes: b"\x00\xff",
                };
                let mut out = b"before".to_vec();
                write(&all, &mut out).unwrap();
                let wanted = format!("before{}", serde_json::to_string(&all).unwrap());
                assert_eq!(String::from_utf8(out).unwrap(), wanted);
            }
        }
    }

    #[test]
    fn what_has_no_json_is_refused() {
        let by_pair: BTreeMap<(u8, u8), u8> = [((1, 2), 3)].into();
        assert!(write(&by_pair, &mut Vec::new()).is_err());
    }
}
