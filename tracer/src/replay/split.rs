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

/// Behind the quote that ends a string; `at` is in it.
fn string_end(line: &str, mut at: usize) -> Result<usize, Error> {
    loop {
        match byte(line, at) {
            Some(b'"') => return Ok(at + 1),
            Some(b'\\') => at += 2,
            Some(_) => at += 1,
            None => return Err(cut()),
        }
    }
}

/// Behind a value.
fn value_end(line: &str, mut at: usize) -> Result<usize, Error> {
    let start = at;
    let mut depth = 0_usize;
    loop {
        match byte(line, at) {
            Some(b'"') => at = string_end(line, at + 1)?,
            Some(b'{' | b'[') => {
                depth += 1;
                at += 1;
            }
            Some(b'}' | b']') if depth > 0 => {
                depth -= 1;
                at += 1;
            }
            Some(b',' | b'}' | b']' | b' ' | b'\t' | b'\r' | b'\n') if depth == 0 => {
                return if at > start { Ok(at) } else { Err(cut()) };
            }
            Some(_) => {
                at += 1;
                continue;
            }
            None => return Err(cut()),
        }
        if depth == 0 {
            return Ok(at);
        }
    }
}
