//! Reading JSON text from left to right, where its form is known. Pure.
//!
//! What has another form is no error here but `None`: somebody who takes any JSON reads the line then.

use serde::de::IgnoredAny;

use crate::json::text_end;

/// A place in a line.
#[derive(Clone, Copy, Debug)]
pub struct Cursor<'a> {
    line: &'a str,
    at: usize,
}

impl<'a> Cursor<'a> {
    /// At the beginning of a line.
    #[must_use]
    pub fn new(line: &'a str) -> Self {
        Self { line, at: 0 }
    }

    /// How many bytes are behind.
    #[must_use]
    pub fn at(&self) -> usize {
        self.at
    }

    /// What lies before it, from `start` on.
    #[must_use]
    pub fn since(&self, start: usize) -> Option<&'a str> {
        self.line.get(start..self.at)
    }

    /// Everything from here on.
    #[must_use]
    pub fn rest(&self) -> &'a str {
        self.line.get(self.at..).unwrap_or_default()
    }

    fn bytes(&self) -> &'a [u8] {
        self.line.as_bytes().get(self.at..).unwrap_or_default()
    }

    /// Whether this text is next; goes behind it then.
    #[inline]
    pub fn has(&mut self, text: &str) -> bool {
        let is_next = self.bytes().starts_with(text.as_bytes());
        if is_next {
            self.at += text.len();
        }
        is_next
    }

    /// Goes behind this text.
    #[inline]
    pub fn expect(&mut self, text: &str) -> Option<()> {
        self.has(text).then_some(())
    }

    /// The text up to the quote that ends it; the cursor is behind the first one. None with escapes.
    #[inline]
    pub fn text(&mut self) -> Option<&'a str> {
        let (start, end) = (self.at, text_end(self.line.as_bytes(), self.at)?);
        if self.line.as_bytes().get(end) != Some(&b'"') {
            return None;
        }
        self.at = end + 1;
        self.line.get(start..end)
    }

    /// A text of a fixed set.
    pub fn word<T: serde::Deserialize<'a>>(&mut self) -> Option<T> {
        let text = self.text()?;
        T::deserialize(serde::de::value::BorrowedStrDeserializer::<serde::de::value::Error>::new(text)).ok()
    }

    /// A whole number as JSON has it, of at most 19 digits.
    #[inline]
    pub fn number(&mut self) -> Option<u64> {
        let bytes = self.bytes();
        let digits = bytes.iter().take(20).take_while(|byte| byte.is_ascii_digit()).count();
        let digits = bytes.get(..digits)?;
        if digits.is_empty() || digits.len() > 19 || digits.len() > 1 && digits.first() == Some(&b'0') {
            return None;
        }
        self.at += digits.len();
        Some(digits.iter().fold(0, |number, digit| number * 10 + u64::from(digit - b'0')))
    }

    /// `before`, and a number behind it, if it is next. `None`: another form; `Some(None)`: it is not there.
    #[inline]
    pub fn number_behind<T: TryFrom<u64>>(&mut self, before: &str) -> Option<Option<T>> {
        if !self.has(before) {
            return Some(None);
        }
        self.number().and_then(|number| T::try_from(number).ok()).map(Some)
    }

    /// `before`, and a text behind it, if it is next. As [`Cursor::number_behind`].
    #[inline]
    pub fn text_behind(&mut self, before: &str) -> Option<Option<&'a str>> {
        if !self.has(before) {
            return Some(None);
        }
        self.text().map(Some)
    }

    /// `before`, and a text of a fixed set behind it, if it is next. As [`Cursor::number_behind`].
    #[inline]
    pub fn word_behind<T: serde::Deserialize<'a>>(&mut self, before: &str) -> Option<Option<T>> {
        if !self.has(before) {
            return Some(None);
        }
        self.word().map(Some)
    }

    /// Goes behind a value, whatever it is; it is JSON.
    pub fn skip(&mut self) -> Option<()> {
        if self.rest().starts_with(char::is_whitespace) {
            return None;
        }
        let mut values = serde_json::Deserializer::from_str(self.rest()).into_iter::<IgnoredAny>();
        values.next()?.ok()?;
        self.at += values.byte_offset();
        Some(())
    }

    /// Goes behind an array without looking at what is in it.
    pub fn skip_array(&mut self) -> Option<()> {
        self.expect("[")?;
        let mut depth = 1_usize;
        while depth > 0 {
            let byte = *self.bytes().first()?;
            self.at += 1;
            match byte {
                b'"' => _ = self.text()?,
                b'[' | b'{' => depth += 1,
                b']' | b'}' => depth -= 1,
                _ => {}
            }
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_ends_at_its_quote_wherever_that_is() {
        for length in 0..40 {
            let text: String = "aä€\u{1f600}~ []{}".chars().cycle().take(length).collect();
            for rest in ["", "x", "\",\"later\":1,\"and\":\"more\""] {
                let line = format!("{text}\"{rest}");
                let mut cursor = Cursor::new(&line);
                assert_eq!((cursor.text(), cursor.rest()), (Some(&*text), rest), "{line}");
            }
            for wrong in ["", "\\\"", "\n\"", "\u{0}\"", "\u{1f}\""] {
                assert_eq!(Cursor::new(&format!("{text}{wrong}")).text(), None, "{text}{wrong:?}");
            }
        }
    }

    #[test]
    fn numbers_are_those_of_json() {
        let number = |text| {
            let mut cursor = Cursor::new(text);
            cursor.number().map(|number| (number, cursor.rest()))
        };
        assert_eq!(number("0,"), Some((0, ",")));
        assert_eq!(number("1234567890123456789"), Some((1_234_567_890_123_456_789, "")));
        for wrong in ["", "-1", "01", "x", "12345678901234567890"] {
            assert_eq!(number(wrong), None, "{wrong}");
        }
        assert_eq!(Cursor::new("\"a\":70000").number_behind::<u16>("\"a\":"), None);
        assert_eq!(Cursor::new("\"b\":7").number_behind::<u16>("\"a\":"), Some(None));
    }

    #[test]
    fn values_are_skipped_as_a_whole() {
        let mut cursor = Cursor::new(r#"{"a":["]",{}]},1"#);
        assert_eq!((cursor.skip(), cursor.rest()), (Some(()), ",1"));
        let mut cursor = Cursor::new(r#"[{"a":"]"},[]],1"#);
        assert_eq!((cursor.skip_array(), cursor.rest()), (Some(()), ",1"));
        assert_eq!(Cursor::new("{\"a\":x}").skip(), None);
        assert_eq!(Cursor::new("[\"").skip_array(), None);
    }
}
