//! `data/system/packages.list`: which package has which uid. One package a line, fields between single spaces.
//!
//! Fields, by release (AOSP `Settings.java`, `writePackageListLPrInternal`):
//! `name uid debuggable dataDir seinfo gids`, from Android 10 also `profileableByShell versionCode`, from Android 12
//! also `profileable` and `@system`, `@product`, the installer's package name or `@null`. So at least six fields are
//! there always: a line with fewer was cut and its uid must not be trusted.

use super::file::{Trouble, excerpt};
use super::uid;

/// A line holds the package's group ids for all users; that stays far below this.
const MAX_LINE: usize = 64 << 10;
/// More packages than any device has; bounds the memory that a hostile file can take.
pub const MAX_PACKAGES: usize = 50_000;
/// Longest name that is taken. Android itself stops at 223.
const MAX_NAME: usize = 255;
const MIN_FIELDS: usize = 6;

/// What one line says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line<'a> {
    pub name: &'a str,
    pub uid: u32,
    pub version: Option<u64>,
    pub installer: Option<&'a str>,
    /// Came with the system image, as far as the line tells.
    pub preinstalled: Option<bool>,
}

/// All usable lines, in file order. What is wrong with the others goes to `trouble`.
pub fn parse<'a>(bytes: &'a [u8], trouble: &mut Trouble) -> Vec<Line<'a>> {
    let mut lines = Vec::new();
    for (index, raw) in bytes.split(|&b| b == b'\n').enumerate() {
        let raw = raw.strip_suffix(b"\r").unwrap_or(raw);
        if raw.is_empty() {
            continue;
        }
        let place = format_args!("line {}", index + 1).to_string();
        match parse_line(raw) {
            Ok(line) if line.uid == uid::INVALID => {}
            Ok(_) if lines.len() == MAX_PACKAGES => {
                trouble.add(place, format_args!("more than {MAX_PACKAGES} packages"));
                break;
            }
            Ok(line) => lines.push(line),
            Err(reason) => trouble.add(place, reason),
        }
    }
    lines
}

fn parse_line(raw: &[u8]) -> Result<Line<'_>, String> {
    if raw.len() > MAX_LINE {
        return Err(format!("longer than {} KiB", MAX_LINE >> 10));
    }
    let mut fields = raw.split(|&b| b == b' ').filter(|field| !field.is_empty());
    let mut next = || fields.next().unwrap_or_default();
    let (name, raw_uid, _debuggable, _data_dir, seinfo, gids) =
        (next(), next(), next(), next(), next(), next());
    let (_by_shell, version, _profileable, origin) = (next(), next(), next(), next());
    let name = package_name(name).ok_or_else(|| format!("\"{}\" is not a package name", excerpt(name)))?;
    if gids.is_empty() {
        return Err(format!("fewer than {MIN_FIELDS} fields for {name}"));
    }
    // The writer's integers are signed: a package without a uid has -1 there.
    let signed = (raw_uid == b"-1").then_some(uid::INVALID);
    let uid = signed
        .or_else(|| u32::try_from(number(raw_uid)?).ok())
        .ok_or_else(|| format!("\"{}\" is not a uid", excerpt(raw_uid)))?;
    let preinstalled = match origin {
        b"@system" | b"@product" => Some(true),
        // Only packages of the system image can be privileged.
        _ if seinfo.windows(9).any(|part| part == b":privapp:") || seinfo.ends_with(b":privapp") => {
            Some(true)
        }
        b"" => None,
        _ => Some(false),
    };
    Ok(Line { name, uid, version: number(version), installer: package_name(origin), preinstalled })
}

fn number(field: &[u8]) -> Option<u64> {
    // parse() alone would take a leading plus.
    field.iter().all(u8::is_ascii_digit).then(|| std::str::from_utf8(field).ok()?.parse().ok())?
}

/// `bytes` if they can be the name of a package: a name is shown on terminals and is a key in files of others.
#[must_use]
pub fn package_name(bytes: &[u8]) -> Option<&str> {
    let allowed = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
    let fits = !bytes.is_empty() && bytes.len() <= MAX_NAME && bytes.iter().all(allowed);
    fits.then(|| std::str::from_utf8(bytes).ok())?
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn parsed(text: &[u8]) -> (Vec<Line<'_>>, Option<String>) {
        let mut trouble = Trouble::new(Path::new("packages.list"));
        let lines = parse(text, &mut trouble);
        (lines, trouble.into_warning("left out"))
    }

    #[test]
    fn lines_of_android_9_have_six_fields() {
        let (lines, warning) = parsed(b"com.a 10123 0 /data/user/0/com.a default:targetSdkVersion=28 3003\n");
        assert_eq!(warning, None);
        let expected =
            Line { name: "com.a", uid: 10_123, version: None, installer: None, preinstalled: None };
        assert_eq!(lines, [expected]);
    }

    #[test]
    fn lines_of_android_12_have_ten_fields_and_tell_where_the_package_came_from() {
        let text = b"com.a 10123 0 /data/user/0/com.a default:targetSdkVersion=31 3003 0 2000475 1 com.android.vending\n\
            com.b 10124 0 /data/user/0/com.b default:targetSdkVersion=31 none 0 7 1 @null\n\
            com.c 1001 0 /data/user_de/0/com.c platform:privapp:targetSdkVersion=31 3003 0 31 1 @system\n\
            com.d 10009 0 /data/user/0/com.d default:targetSdkVersion=31 3003 0 31 0 @product\n";
        let (lines, warning) = parsed(text);
        assert_eq!(warning, None);
        let facts: Vec<_> = lines.iter().map(|l| (l.version, l.installer, l.preinstalled)).collect();
        assert_eq!(
            facts,
            [
                (Some(2_000_475), Some("com.android.vending"), Some(false)),
                (Some(7), None, Some(false)),
                (Some(31), None, Some(true)),
                (Some(31), None, Some(true)),
            ]
        );
    }

    #[test]
    fn a_privileged_package_is_preinstalled_even_where_the_line_does_not_say_so() {
        let (lines, _) =
            parsed(b"com.a 10001 0 /data/user/0/com.a platform:privapp:targetSdkVersion=28 3003");
        assert_eq!(lines[0].preinstalled, Some(true));
        let (lines, _) =
            parsed(b"com.a 10001 0 /data/user/0/com.a platform:privapplet:targetSdkVersion=28 3003");
        assert_eq!(lines[0].preinstalled, None);
    }

    #[test]
    fn a_package_without_a_uid_is_skipped_silently() {
        let text = b"com.apex 4294967295 0 /data/a default none\ncom.apex -1 0 /data/a default none\n";
        assert_eq!(parsed(text), (vec![], None));
    }

    #[test]
    fn a_cut_line_is_left_out_because_its_uid_may_be_cut_too() {
        let (lines, warning) = parsed(b"com.a 10001 0 /d default none\ncom.b 101");
        assert_eq!(lines.len(), 1);
        let text = warning.unwrap();
        assert!(text.contains("line 2: fewer than 6 fields for com.b"), "{text}");
    }

    #[test]
    fn bad_lines_are_left_out_each_with_its_reason_and_good_ones_stay() {
        let good = "com.ok 10001 0 /d default none";
        for (bad, reason) in [
            (&b"com.a 4294967296 0 /d default none"[..], "\"4294967296\" is not a uid"),
            (b"com.a 99999999999999999999999 0 /d default none", "is not a uid"),
            (b"com.a -2 0 /d default none", "\"-2\" is not a uid"),
            (b"com.a +1 0 /d default none", "\"+1\" is not a uid"),
            (b"com.\0a 10001 0 /d default none", r#""com.\x00a" is not a package name"#),
            (b"com.\xff 10001 0 /d default none", r#""com.\xff" is not a package name"#),
            (b"com.a\x1b[31m 10001 0 /d default none", r"com.a\x1b[31m"),
            (b" ", "is not a package name"),
        ] {
            let text = [good.as_bytes(), bad, good.as_bytes()].join(&b'\n');
            let (lines, warning) = parsed(&text);
            assert_eq!(lines.len(), 2, "{bad:?}");
            let warning = warning.unwrap();
            assert!(warning.contains("line 2: ") && warning.contains(reason), "{warning}");
        }
    }

    #[test]
    fn a_line_of_ten_megabytes_is_left_out_and_the_next_one_is_read() {
        let mut text = vec![b'x'; 10 << 20];
        text.extend_from_slice(b"\ncom.ok 10001 0 /d default none\n");
        let (lines, warning) = parsed(&text);
        assert_eq!(lines.len(), 1);
        assert!(warning.unwrap().contains("line 1: longer than 64 KiB"));
    }

    #[test]
    fn packages_beyond_the_limit_are_left_out() {
        let text = "com.a 10001 0 /d default none\n".repeat(MAX_PACKAGES + 5);
        let (lines, warning) = parsed(text.as_bytes());
        assert_eq!(lines.len(), MAX_PACKAGES);
        assert!(warning.unwrap().contains("line 50001: more than 50000 packages"));
    }
}
