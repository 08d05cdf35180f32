//! Foreign bytes made safe to print.
//!
//! Process names, command lines and paths are chosen by whoever runs the process. Flows in: their bytes. Flows out:
//! text that is one line, moves no cursor, hides nothing and reorders nothing, on a terminal as in a log. Nothing is
//! lost: the form can be turned back into the bytes. Must never pass on a control character or drop one silently.
//!
//! The form: printable characters stand for themselves. A backslash is `\\`. A byte below 0x20, 0x7f, or a byte that
//! is not part of valid UTF-8 is `\xNN`. A character above that which does not show by itself (C1 controls,
//! bidirectional and zero-width controls, line separators, tags) is `\u{N}` with its code point. So every backslash
//! begins an escape, and `\x85` (a stray byte) differs from `\u{85}` (the control character NEL, validly encoded).

use std::borrow::Cow;
use std::fmt::Write;

/// What a cut text ends with.
const ELLIPSIS: char = '…';

/// `bytes` in the printable form that this module describes. Borrows when nothing needs an escape.
#[must_use]
pub fn printable(bytes: &[u8]) -> Cow<'_, str> {
    match plain(bytes) {
        Some(text) => Cow::Borrowed(text),
        None => Cow::Owned(escape(bytes, usize::MAX)),
    }
}

/// As [`printable`], but at most `max` bytes of output; what is longer is cut between two characters (never inside an
/// escape) and ends with `…`. `max` below 3 leaves no room for that mark: the text is then empty when it does not
/// fit.
#[must_use]
pub fn printable_within(bytes: &[u8], max: usize) -> Cow<'_, str> {
    match plain(bytes) {
        Some(text) if text.len() <= max => Cow::Borrowed(text),
        _ => Cow::Owned(escape(bytes, max)),
    }
}

/// Text that a record carries, in which backslashes are escapes already: what acts on a terminal or deceives the eye, as only a
/// record of somebody else's making has it, is written as an escape, everything else stays.
#[must_use]
pub fn visible(text: &str) -> Cow<'_, str> {
    if !text.chars().any(hidden) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    text.chars().for_each(|c| if hidden(c) { write_char(&mut out, c) } else { out.push(c) });
    Cow::Owned(out)
}

/// `bytes` as text when no escape is needed.
fn plain(bytes: &[u8]) -> Option<&str> {
    if bytes.iter().all(|&b| matches!(b, b' '..=b'~') && b != b'\\') {
        return std::str::from_utf8(bytes).ok();
    }
    let text = std::str::from_utf8(bytes).ok()?;
    text.chars().all(|c| c != '\\' && !hidden(c)).then_some(text)
}

fn escape(bytes: &[u8], max: usize) -> String {
    let mut out = Cut { text: String::new(), fits: 0, max, full: false };
    let mut piece = String::new();
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            piece.clear();
            write_char(&mut piece, c);
            out.push(&piece);
        }
        for byte in chunk.invalid() {
            piece.clear();
            write_byte(&mut piece, *byte);
            out.push(&piece);
        }
        if out.full {
            break;
        }
    }
    out.finish()
}

/// Collects pieces that must not be torn apart, up to `max` bytes.
struct Cut {
    text: String,
    /// Length up to which the text still has room for the mark behind it.
    fits: usize,
    max: usize,
    full: bool,
}

impl Cut {
    fn push(&mut self, piece: &str) {
        if self.full || self.text.len() + piece.len() > self.max {
            self.full = true;
            return;
        }
        self.text.push_str(piece);
        if self.text.len() + ELLIPSIS.len_utf8() <= self.max {
            self.fits = self.text.len();
        }
    }

    fn finish(mut self) -> String {
        if self.full {
            self.text.truncate(self.fits);
            if self.max >= ELLIPSIS.len_utf8() {
                self.text.push(ELLIPSIS);
            }
        }
        self.text
    }
}

fn write_char(out: &mut String, c: char) {
    // Writing to a String cannot fail.
    let _ = match c {
        '\\' => out.write_str("\\\\"),
        c if c.is_ascii_control() => write!(out, "\\x{:02x}", u32::from(c)),
        c if hidden(c) => write!(out, "\\u{{{:x}}}", u32::from(c)),
        c => out.write_char(c),
    };
}

fn write_byte(out: &mut String, byte: u8) {
    let _ = write!(out, "\\x{byte:02x}");
}

/// Characters that act on a terminal or deceive the eye instead of showing something: Unicode's control (Cc) and
/// format (Cf) characters and the two line separators, as of Unicode 16.
fn hidden(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}'
            | '\u{600}'..='\u{605}' | '\u{61c}' | '\u{6dd}' | '\u{70f}' | '\u{890}' | '\u{891}' | '\u{8e2}'
            | '\u{180e}'
            | '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{feff}' | '\u{fff9}'..='\u{fffb}'
            | '\u{110bd}' | '\u{110cd}' | '\u{13430}'..='\u{1343f}' | '\u{1bca0}'..='\u{1bca3}'
            | '\u{1d173}'..='\u{1d17a}'
            | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_text_is_passed_on_without_a_copy() {
        for text in ["", "curl https://example.org/?q=1", "Größe 東京 🙂"] {
            assert!(matches!(printable(text.as_bytes()), Cow::Borrowed(t) if t == text));
        }
    }

    #[test]
    fn text_of_a_record_is_not_escaped_twice() {
        assert_eq!(visible(r"a\\x1bb<c>"), r"a\\x1bb<c>");
        assert_eq!(visible("a\u{202e}b\nc"), r"a\u{202e}b\x0ac");
    }

    #[test]
    fn nothing_that_moves_a_cursor_or_breaks_a_line_gets_through() {
        assert_eq!(printable(b"a\x1b[2Jb\nc\0d\x7f"), r"a\x1b[2Jb\x0ac\x00d\x7f");
        assert_eq!(printable("a\u{9b}31mb\u{85}".as_bytes()), r"a\u{9b}31mb\u{85}");
        assert_eq!(printable("x\u{2028}y".as_bytes()), r"x\u{2028}y");
        for code in (0..=0x10_ffff).filter_map(char::from_u32).filter(|c| c.is_control()) {
            assert!(!printable(code.to_string().as_bytes()).contains(code), "{code:?}");
        }
    }

    #[test]
    fn what_is_in_the_form_already_is_not_escaped_again() {
        assert_eq!(visible(r"a\x1b\\b"), r"a\x1b\\b");
        assert_eq!(visible("a\\x\x1b[2J\u{202e}b\n"), r"a\x\x1b[2J\u{202e}b\x0a");
    }

    #[test]
    fn nothing_that_reorders_or_hides_text_gets_through() {
        assert_eq!(printable("exe\u{202e}fdp.txt".as_bytes()), r"exe\u{202e}fdp.txt");
        assert_eq!(printable("goo\u{200b}gle\u{feff}".as_bytes()), r"goo\u{200b}gle\u{feff}");
        assert_eq!(printable("\u{2066}\u{e0041}".as_bytes()), r"\u{2066}\u{e0041}");
    }

    #[test]
    fn a_stray_byte_a_control_character_and_a_written_escape_stay_distinct() {
        assert_eq!(printable(b"\x85"), r"\x85");
        assert_eq!(printable("\u{85}".as_bytes()), r"\u{85}");
        assert_eq!(printable(br"\x85"), r"\\x85");
        assert_eq!(printable(b"ok\xff\xfe\xe2\x82"), r"ok\xff\xfe\xe2\x82");
    }

    #[test]
    fn a_text_that_fits_is_whole_and_a_longer_one_is_cut_and_marked() {
        assert_eq!(printable_within(b"12345678", 8), "12345678");
        assert_eq!(printable_within(b"123456789", 8), "12345…");
        assert_eq!(printable_within(b"1234\x01", 8), r"1234\x01");
        assert_eq!(printable_within(b"123456789", 2), "");
    }

    #[test]
    fn a_cut_never_falls_into_a_character_or_an_escape() {
        let bytes = "aä\u{202e}漢\n\\é".as_bytes().repeat(3);
        let whole = printable(&bytes).into_owned();
        for max in 0..=whole.len() + 1 {
            let cut = printable_within(&bytes, max);
            assert!(cut.len() <= max, "{max}: {cut}");
            if let Some(kept) = cut.strip_suffix('…') {
                assert!(whole.starts_with(kept), "{max}: {cut}");
                // What is kept ends where a piece ends: escaping it again piece by piece gives the same text.
                let open = kept.matches('\\').count();
                assert!(!kept.ends_with('\\') || open >= 2, "{max}: {cut}");
                for escape in kept.split('\\').skip(1) {
                    assert!(!escape.starts_with('u') || escape.contains('}'), "{max}: {cut}");
                    assert!(!escape.starts_with('x') || escape.len() >= 3, "{max}: {cut}");
                }
            }
        }
    }
}
