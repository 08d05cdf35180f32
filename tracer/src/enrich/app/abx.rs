//! Android binary XML (ABX): a bounded reader of its tokens.
//!
//! Format: AOSP `BinaryXmlSerializer.java`. `ABX\0`, then tokens: one byte, command in the low four bits, type of
//! the value in the high four, then the value, big-endian. Names are interned: index 0xffff announces a new string,
//! any other number repeats an earlier one. Strings are two bytes of length and that many bytes of (modified) UTF-8.
//!
//! Our own reader rather than the crate `android-abx`, because a warning must name the byte where a file is bad (the
//! crate does not tell), and because the crate keeps all attributes of an element: 64 MiB of them would take more
//! than a gigabyte. This one borrows from the file and keeps nothing but the interned names. The tests compare the
//! two.

/// First bytes of every such file.
pub const MAGIC: &[u8] = b"ABX\0";

/// The writer interns no more: index 0xffff is taken.
const MAX_POOL: usize = 0xffff;
const NEW_STRING: u16 = 0xffff;

/// One token. Text, comments and other matter that `packages.xml` gives no meaning to are `Other`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Token<'a> {
    Start(&'a [u8]),
    /// Belongs to the last `Start`.
    Attribute(&'a [u8], Value<'a>),
    End(&'a [u8]),
    EndDocument,
    Other,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value<'a> {
    /// UTF-8, unless the file is bad or has characters beyond the basic plane: check before use.
    Text(&'a [u8]),
    /// Int and long, also in hexadecimal.
    Integer(i64),
    /// Null, bytes, floating point, boolean.
    Other,
}

/// Why a file cannot be read further. The place is [`Reader::offset`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Bad {
    #[error("ends in the middle of an entry")]
    Truncated,
    #[error("unknown entry type 0x{0:02x}")]
    Command(u8),
    #[error("unknown value type 0x{0:02x}")]
    Type(u8),
    #[error("refers to name {0}, which was not given before")]
    Index(u16),
}

pub struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    /// Where the token being read began.
    token: usize,
    pool: Vec<&'a [u8]>,
}

impl<'a> Reader<'a> {
    /// A reader at the first token, or nothing if `bytes` is not ABX.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Option<Self> {
        bytes.starts_with(MAGIC).then(|| Self {
            bytes,
            at: MAGIC.len(),
            token: MAGIC.len(),
            pool: Vec::new(),
        })
    }

    /// Where the last token began, in bytes from the start of the file.
    #[must_use]
    pub fn offset(&self) -> usize {
        self.token
    }

    /// The next token; nothing at the end of the file.
    ///
    /// # Errors
    /// When the file is damaged at [`Self::offset`]. Reading on makes no sense then.
    pub fn next(&mut self) -> Result<Option<Token<'a>>, Bad> {
        self.token = self.at;
        if self.at == self.bytes.len() {
            return Ok(None);
        }
        let byte = self.u8()?;
        let (command, kind) = (byte & 0x0f, byte & 0xf0);
        Ok(Some(match command {
            0 => Token::Other,
            1 => Token::EndDocument,
            2 => Token::Start(self.interned()?),
            3 => Token::End(self.interned()?),
            15 => Token::Attribute(self.interned()?, self.value(kind)?),
            // Text, CDATA, entity, white space, processing instruction, comment, document type.
            4..=10 => {
                if kind == 0x20 {
                    self.string()?;
                }
                Token::Other
            }
            _ => return Err(Bad::Command(byte)),
        }))
    }

    fn value(&mut self, kind: u8) -> Result<Value<'a>, Bad> {
        Ok(match kind {
            0x10 | 0xc0 | 0xd0 => Value::Other,
            0x20 => Value::Text(self.string()?),
            0x30 => Value::Text(self.interned()?),
            0x40 | 0x50 => {
                self.string()?;
                Value::Other
            }
            0x60 | 0x70 => Value::Integer(i64::from(i32::from_be_bytes(self.array()?))),
            0x80 | 0x90 => Value::Integer(i64::from_be_bytes(self.array()?)),
            0xa0 => {
                self.array::<4>()?;
                Value::Other
            }
            0xb0 => {
                self.array::<8>()?;
                Value::Other
            }
            _ => return Err(Bad::Type(kind)),
        })
    }

    fn interned(&mut self) -> Result<&'a [u8], Bad> {
        let index = u16::from_be_bytes(self.array()?);
        if index != NEW_STRING {
            return self.pool.get(usize::from(index)).copied().ok_or(Bad::Index(index));
        }
        let name = self.string()?;
        if self.pool.len() < MAX_POOL {
            self.pool.push(name);
        }
        Ok(name)
    }

    fn string(&mut self) -> Result<&'a [u8], Bad> {
        let len = u16::from_be_bytes(self.array()?);
        self.take(usize::from(len))
    }

    fn u8(&mut self) -> Result<u8, Bad> {
        self.array().map(|[byte]| byte)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Bad> {
        self.take(N)?.try_into().map_err(|_| Bad::Truncated)
    }

    fn take(&mut self, len: usize) -> Result<&'a [u8], Bad> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let taken = rest.get(..len).ok_or(Bad::Truncated)?;
        self.at += len;
        Ok(taken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use android_abx::{AbxParser, AbxWriter, Attribute, AttributeValue, Event};

    fn tokens(bytes: &[u8]) -> (Vec<Token<'_>>, Option<(usize, Bad)>) {
        let mut reader = Reader::new(bytes).unwrap();
        let mut tokens = Vec::new();
        loop {
            match reader.next() {
                Ok(Some(token)) => tokens.push(token),
                Ok(None) => return (tokens, None),
                Err(bad) => return (tokens, Some((reader.offset(), bad))),
            }
        }
    }

    /// One element with a value of every type of the format.
    fn every_type() -> Vec<u8> {
        let values = [
            AttributeValue::Null,
            AttributeValue::String("text".into()),
            AttributeValue::BytesHex(vec![1, 2]),
            AttributeValue::BytesBase64(vec![3]),
            AttributeValue::Int(-5),
            AttributeValue::IntHex(0x7f),
            AttributeValue::Long(1 << 40),
            AttributeValue::LongHex(7),
            AttributeValue::Float(1.5),
            AttributeValue::Double(2.5),
            AttributeValue::Boolean(true),
            AttributeValue::Boolean(false),
        ];
        let attributes: Vec<_> = values
            .into_iter()
            .enumerate()
            .map(|(n, value)| Attribute { name: format!("a{n}").into(), value })
            .collect();
        let mut writer = AbxWriter::new(Vec::new()).unwrap();
        for event in [
            Event::StartDocument,
            Event::StartTag { name: "e".into(), attributes },
            Event::Text("words".into()),
            Event::Comment("note".into()),
            Event::EndTag { name: "e".into() },
            Event::EndDocument,
        ] {
            writer.write_event(&event).unwrap();
        }
        writer.into_inner()
    }

    /// What the crate reads, in our terms.
    fn by_the_crate(bytes: &[u8]) -> Vec<String> {
        let mut parser = AbxParser::new(bytes).unwrap();
        let mut out = Vec::new();
        while let Ok(Some(event)) = parser.next_event() {
            match event {
                Event::StartTag { name, attributes } => {
                    out.push(format!("start {name}"));
                    out.extend(attributes.iter().map(|a| match &a.value {
                        AttributeValue::String(s) => format!("{} text {s}", a.name),
                        AttributeValue::Int(n) => format!("{} integer {n}", a.name),
                        AttributeValue::IntHex(n) => format!("{} integer {n}", a.name),
                        AttributeValue::Long(n) => format!("{} integer {n}", a.name),
                        AttributeValue::LongHex(n) => format!("{} integer {n}", a.name),
                        _ => format!("{} other", a.name),
                    }));
                }
                Event::EndTag { name } => out.push(format!("end {name}")),
                _ => {}
            }
        }
        out
    }

    fn by_us(bytes: &[u8]) -> Vec<String> {
        let text = |b: &[u8]| String::from_utf8(b.to_vec()).unwrap();
        let (tokens, bad) = tokens(bytes);
        assert_eq!(bad, None);
        tokens
            .into_iter()
            .filter_map(|token| match token {
                Token::Start(name) => Some(format!("start {}", text(name))),
                Token::End(name) => Some(format!("end {}", text(name))),
                Token::Attribute(name, Value::Text(s)) => Some(format!("{} text {}", text(name), text(s))),
                Token::Attribute(name, Value::Integer(n)) => Some(format!("{} integer {n}", text(name))),
                Token::Attribute(name, Value::Other) => Some(format!("{} other", text(name))),
                Token::EndDocument | Token::Other => None,
            })
            .collect()
    }

    #[test]
    fn our_reader_reads_what_the_crate_reads() {
        let mut files = vec![every_type()];
        for release in ["12", "15"] {
            files.push(
                std::fs::read(crate::enrich::app::tests::golden(release).join("data/system/packages.xml"))
                    .unwrap(),
            );
        }
        for file in files {
            let ours = by_us(&file);
            assert!(ours.len() > 10);
            assert_eq!(ours, by_the_crate(&file));
        }
    }

    #[test]
    fn a_cut_file_is_truncated_wherever_a_token_is_cut() {
        let whole = every_type();
        let complete = tokens(&whole).0.len();
        for len in MAGIC.len()..whole.len() {
            let (read, bad) = tokens(&whole[..len]);
            assert!(read.len() < complete);
            if let Some((offset, bad)) = bad {
                assert_eq!(bad, Bad::Truncated, "{len}");
                assert!(offset < len);
            }
        }
    }

    #[test]
    fn a_bad_file_names_the_byte_where_it_is_bad() {
        let with = |tail: &[u8]| [MAGIC, tail].concat();
        assert_eq!(tokens(&with(b"\x10\x0b")).1, Some((5, Bad::Command(0x0b))));
        assert_eq!(tokens(&with(b"\x32\x00\x07")).1, Some((4, Bad::Index(7))));
        assert_eq!(
            tokens(&with(b"\x32\xff\xff\x00\x01e\xef\xff\xff\x00\x01a")).1,
            Some((10, Bad::Type(0xe0)))
        );
        assert!(Reader::new(b"ABX").is_none());
        assert!(Reader::new(b"<?xml").is_none());
    }

    #[test]
    fn the_pool_of_names_does_not_grow_beyond_what_can_be_referred_to() {
        let mut bytes = MAGIC.to_vec();
        for _ in 0..70_000 {
            bytes.extend_from_slice(b"\x32\xff\xff\x00\x00");
        }
        let mut reader = Reader::new(&bytes).unwrap();
        while reader.next().unwrap().is_some() {}
        assert_eq!(reader.pool.len(), MAX_POOL);
    }
}
