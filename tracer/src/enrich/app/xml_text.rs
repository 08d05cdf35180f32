//! Textual `packages.xml`, as Android up to 11 writes it: quick-xml's events turned into [`Sink`] calls.
//!
//! No entity but the five of XML itself is ever expanded, so a document type cannot blow anything up.

use quick_xml::XmlVersion;
use quick_xml::events::{BytesStart, Event};
use quick_xml::reader::Reader;

use super::abx::Value;
use super::packages_xml::{MAX_DEPTH, Sink};

/// Elements of interest have about 30 attributes.
const MAX_ATTRIBUTES: usize = 256;

/// Reads the document into `sink`. Stops at the first place that is not well-formed.
///
/// # Errors
/// Byte offset and reason of that place.
pub fn read(bytes: &[u8], sink: &mut Sink<'_>) -> Result<(), (usize, String)> {
    let (text, utf8) = match std::str::from_utf8(bytes) {
        Ok(text) => (text, Ok(())),
        Err(error) => {
            let valid = error.valid_up_to();
            let text = std::str::from_utf8(bytes.get(..valid).unwrap_or_default()).unwrap_or_default();
            (text, Err((valid, "not valid UTF-8".to_owned())))
        }
    };
    let read = read_text(text, sink);
    // Where the text was cut because of a bad byte, the parser's complaint about its end is only a consequence.
    utf8.and(read)
}

fn read_text(text: &str, sink: &mut Sink<'_>) -> Result<(), (usize, String)> {
    let mut reader = Reader::from_str(text);
    let mut depth = 0;
    loop {
        let at = position(reader.buffer_position());
        match reader.read_event() {
            Ok(Event::Start(tag)) => {
                if depth == MAX_DEPTH {
                    return Err((at, format!("elements are nested more than {MAX_DEPTH} deep")));
                }
                element(&tag, depth, at, sink);
                depth += 1;
            }
            Ok(Event::Empty(tag)) => element(&tag, depth, at, sink),
            Ok(Event::End(_)) => depth = depth.saturating_sub(1),
            Ok(Event::Eof) if depth > 0 => return Err((at, "ends before its last element does".to_owned())),
            Ok(Event::Eof) => return Ok(()),
            Ok(_) => {}
            Err(error) => return Err((position(reader.error_position()), error.to_string())),
        }
    }
}

fn element(tag: &BytesStart<'_>, depth: usize, at: usize, sink: &mut Sink<'_>) {
    if !sink.start(depth, tag.name().as_ref().as_bytes(), at) {
        return;
    }
    let mut attributes = tag.attributes();
    // The check for duplicates takes time that grows with the square of their number.
    attributes.with_checks(false);
    for (index, attribute) in attributes.enumerate() {
        let value = attribute.map_err(|error| error.to_string()).and_then(|attribute| {
            let value =
                attribute.normalized_value(XmlVersion::Implicit1_0).map_err(|error| error.to_string())?;
            sink.attribute(attribute.key.as_ref().as_bytes(), Value::Text(value.as_bytes()));
            Ok(())
        });
        if let Err(reason) = value {
            return sink.spoil(&reason);
        }
        if index == MAX_ATTRIBUTES {
            return sink.spoil(&format!("an element has more than {MAX_ATTRIBUTES} attributes"));
        }
    }
    sink.finish();
}

fn position(offset: u64) -> usize {
    usize::try_from(offset).unwrap_or(usize::MAX)
}
