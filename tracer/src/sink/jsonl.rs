//! One JSON object per line: the native form, for other tools.

use crate::json;
use crate::record::Record;

/// Appends one line. JSON escapes every control character, so a record never breaks its line.
pub fn render(record: &Record<'_>, line: &mut Vec<u8>) {
    let start = line.len();
    if json::write(record, line).is_err() {
        // Writing to a Vec cannot fail, and no record type has a failing serialisation; never leave half a line.
        line.truncate(start);
        return;
    }
    if let Some(who) = record.who {
        // Both are objects: the rendered members go before the closing brace.
        line.pop();
        line.push(b',');
        line.extend_from_slice(who.json.as_bytes());
        line.push(b'}');
    }
    line.push(b'\n');
}
