//! `passwd(5)` files: uid → user name. On plain Linux `etc/passwd`; on Android the partitions' own, for the ids that
//! the device maker hands out.

use super::file::{Missing, Trouble, read};
use super::packages_list::MAX_PACKAGES;
use std::path::Path;

/// `login_name_max` of Linux.
const MAX_NAME: usize = 256;

/// Uid and name of every usable line of the file at `path`, the first name of a uid first. Lines that are not of the
/// form (comments, NIS entries) are passed over, as libc does. A missing file has no names.
pub fn load(path: &Path, warnings: &mut Vec<String>) -> Vec<(u32, String)> {
    let mut trouble = Trouble::new(path);
    let names = read(path, Missing::Ignore, &mut trouble).map(|bytes| parse(&bytes)).unwrap_or_default();
    warnings.extend(trouble.into_warning("records carry only the user names that could be read"));
    names
}

fn parse(bytes: &[u8]) -> Vec<(u32, String)> {
    let mut names: Vec<_> = bytes.split(|&b| b == b'\n').filter_map(parse_line).take(MAX_PACKAGES).collect();
    // Stable: of several names of one uid the first one stays first, and getpwuid() takes that one.
    names.sort_by_key(|&(uid, _)| uid);
    names.dedup_by_key(|&mut (uid, _)| uid);
    names
}

fn parse_line(line: &[u8]) -> Option<(u32, String)> {
    let mut fields = line.split(|&b| b == b':');
    let name = fields.next()?;
    let uid = std::str::from_utf8(fields.nth(1)?).ok()?;
    let shown = |b: &u8| b.is_ascii_graphic() && *b != b'\\';
    let valid = !name.is_empty()
        && name.len() <= MAX_NAME
        && name.iter().all(shown)
        && !matches!(name.first(), Some(b'#' | b'+' | b'-'))
        && uid.bytes().all(|b| b.is_ascii_digit());
    valid.then(|| Some((uid.parse().ok()?, String::from_utf8(name.to_vec()).ok()?)))?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_name_of_a_uid_counts_and_odd_lines_are_passed_over() {
        let text = b"root:x:0:0:root:/root:/bin/bash\ntoor:x:0:0::/:/bin/sh\n# note\n+nis:x:7:\n\nalice:x:1000:1000::/:\n\
            bad:x:99999999999:\nctl\x1b:x:5:5::/:\nno:uid\nplus:x:+4:4::/:\n";
        assert_eq!(parse(text), [(0, "root".into()), (1000, "alice".into())]);
    }

    #[test]
    fn a_missing_file_has_no_names_and_no_warning() {
        let mut warnings = Vec::new();
        assert!(load(Path::new("/nonexistent/passwd"), &mut warnings).is_empty());
        assert!(warnings.is_empty());
    }

    #[test]
    fn an_unreadable_file_is_a_warning() {
        let mut warnings = Vec::new();
        assert!(load(Path::new("/"), &mut warnings).is_empty());
        assert!(warnings[0].contains("not a regular file"), "{warnings:?}");
    }
}
