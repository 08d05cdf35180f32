//! Where the members of an object on one line begin and end.
//!
//! Most of a record's text is copied or compared as it stands, so that reading it byte by byte for what it says would be the larger
//! part of a replay. Here only quotes and brackets count; whether a value is JSON is seen when it is read.

use serde::de::Error as _;
use serde_json::Error;

/// Calls `take` with name (between its quotes) and text of each member.
///
/// # Errors
/// When the line is no object, or `take` says so.
pub fn members<'a>(
    line: &'a str,
    mut take: impl FnMut(&'a str, &'a str) -> Result<(), Error>,
) -> Result<(), Error> {
    let mut at = expect(line, 0, b'{')?;
    if byte(line, space(line, at)) == Some(b'}') {
        return end(line, space(line, at) + 1);
    }
    loop {
        let start = expect(line, at, b'"')?;
        let quote = string_end(line, start)?;
        let key = line.get(start..quote - 1).ok_or_else(cut)?;
        let value = space(line, expect(line, quote, b':')?);
        let behind = value_end(line, value)?;
        take(key, line.get(value..behind).ok_or_else(cut)?)?;
        at = space(line, behind);
        match byte(line, at) {
            Some(b',') => at += 1,
            Some(b'}') => return end(line, at + 1),
            _ => return Err(cut()),
        }
    }
}

fn cut() -> Error {
    Error::custom("no object on one line")
}

fn byte(line: &str, at: usize) -> Option<u8> {
    line.as_bytes().get(at).copied()
}

/// Behind white space.
fn space(line: &str, mut at: usize) -> usize {
    while matches!(byte(line, at), Some(b' ' | b'\t' | b'\r' | b'\n')) {
        at += 1;
    }
    at
}

/// Behind white space and this byte.
fn expect(line: &str, at: usize, wanted: u8) -> Result<usize, Error> {
    let at = space(line, at);
    if byte(line, at) == Some(wanted) { Ok(at + 1) } else { Err(cut()) }
}

fn end(line: &str, at: usize) -> Result<(), Error> {
    if space(line, at) == line.len() { Ok(()) } else { Err(cut()) }
}

/// What a byte is outside of strings.
const OTHER: u8 = 0;
const QUOTE: u8 = 1;
const OPEN: u8 = 2;
const CLOSE: u8 = 3;
/// Ends a value that is in no brackets.
const BREAK: u8 = 4;

/// One look instead of several comparisons: most bytes are [`OTHER`].
static CLASSES: [u8; 256] = classes();

const fn classes() -> [u8; 256] {
    let mut classes = [OTHER; 256];
    classes[b'"' as usize] = QUOTE;
    classes[b'{' as usize] = OPEN;
    classes[b'[' as usize] = OPEN;
    classes[b'}' as usize] = CLOSE;
    classes[b']' as usize] = CLOSE;
    classes[b',' as usize] = BREAK;
    classes[b' ' as usize] = BREAK;
    classes[b'\t' as usize] = BREAK;
    classes[b'\r' as usize] = BREAK;
    classes[b'\n' as usize] = BREAK;
    classes
}

/// Behind the quote that ends a string; `at` is in it.
fn string_end(line: &str, mut at: usize) -> Result<usize, Error> {
    let bytes = line.as_bytes();
    while at < bytes.len() {
        let byte = bytes[at];
        at += 1;
        if byte == b'"' {
            return Ok(at);
        }
        if byte == b'\\' {
            at += 1;
        }
    }
    Err(cut())
}

/// Behind a value.
fn value_end(line: &str, mut at: usize) -> Result<usize, Error> {
    let bytes = line.as_bytes();
    let start = at;
    let mut depth = 0_usize;
    while at < bytes.len() {
        let class = CLASSES[usize::from(bytes[at])];
        if class == OTHER || class == BREAK && depth > 0 {
            at += 1;
            continue;
        }
        match class {
            QUOTE => at = string_end(line, at + 1)?,
            OPEN => {
                depth += 1;
                at += 1;
            }
            CLOSE if depth > 0 => {
                depth -= 1;
                at += 1;
            }
            // The next member, or the end of the object.
            _ if at > start => return Ok(at),
            _ => return Err(cut()),
        }
        if depth == 0 {
            return Ok(at);
        }
    }
    Err(cut())
}
