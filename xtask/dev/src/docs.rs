//! Measured tables in docs/, between marks: what people wrote around them stays.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

/// `<!-- NAME: begin -->` and `<!-- NAME: end -->`, a line each.
pub fn marks(name: &str) -> String {
    format!("{}\n{}\n", begin(name), end(name))
}

/// Puts tables between the marks of a file.
///
/// # Errors
/// When the file cannot be read or written, or has no such marks.
pub fn replace_marked(path: &Path, name: &str, markdown: &str) -> Result<()> {
    let before = fs::read_to_string(path).with_context(|| format!("could not read {}", path.display()))?;
    let after = replace(&before, name, markdown).with_context(|| {
        format!("{} has no lines {} and {} to put the tables between", path.display(), begin(name), end(name))
    })?;
    fs::write(path, after).with_context(|| format!("could not write {}", path.display()))
}

fn begin(name: &str) -> String {
    format!("<!-- {name}: begin -->")
}

fn end(name: &str) -> String {
    format!("<!-- {name}: end -->")
}

fn replace(text: &str, name: &str, markdown: &str) -> Option<String> {
    let (begin, end) = (begin(name), end(name));
    let (before, rest) = text.split_once(&begin)?;
    let (_, after) = rest.split_once(&end)?;
    Some(format!("{before}{begin}\n{}\n{end}{after}", markdown.trim_end()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn new_tables_take_the_place_of_old_ones_and_nothing_else() {
        let text = |between: &str| format!("above\n<!-- a: begin -->\n{between}\n<!-- a: end -->\nbelow\n");
        assert_eq!(replace(&text("old"), "a", "| new |\n").unwrap(), text("| new |"));
        assert_eq!(replace(&text("old"), "b", "x"), None);
        assert_eq!(replace("no marks", "a", "x"), None);
    }
}
