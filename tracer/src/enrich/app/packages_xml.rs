//! `data/system/packages.xml`: where each package came from, its version and installer.
//!
//! Two forms of one document: binary XML since Android 12, text before; the first bytes tell. Of AOSP `Settings.java`
//! (`writePackageLPr`, `writeDisabledSysPackageLPr`) these are read, as children of the root only:
//! `<package name codePath publicFlags version userId|sharedUserId installer …>`, and `<updated-package name …>`: the
//! preinstalled version of a package that was updated since.

use std::collections::{HashMap, HashSet};

use super::abx::{Reader, Token, Value};
use super::file::{Trouble, excerpt};
use super::packages_list::{MAX_PACKAGES, package_name};
use super::{uid, xml_text};

/// Real files nest less than ten deep.
pub const MAX_DEPTH: usize = 64;

/// `ApplicationInfo.FLAG_SYSTEM`: on the system image.
const FLAG_SYSTEM: i64 = 1 << 0;
/// `ApplicationInfo.FLAG_UPDATED_SYSTEM_APP`.
const FLAG_UPDATED_SYSTEM_APP: i64 = 1 << 7;

/// First directory of paths that belong to the system image. The last four are those of device makers (Samsung,
/// Xiaomi).
const SYSTEM_DIRECTORIES: [&str; 11] =
    ["system", "system_ext", "product", "vendor", "odm", "oem", "apex", "prism", "optics", "preload", "cust"];

/// What the file says about one package.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Package {
    pub app_id: Option<u32>,
    pub version: Option<u64>,
    pub installer: Option<String>,
    /// Came with the system image.
    pub preinstalled: Option<bool>,
    /// Came with the system image and was replaced since.
    pub updated: bool,
}

/// Everything read from the file, by package name.
pub type Packages = HashMap<String, Package>;

/// Reads either form. What is wrong goes to `trouble`; what was read before the bad place is kept.
pub fn parse(bytes: &[u8], trouble: &mut Trouble) -> Packages {
    let mut sink = Sink::new(trouble);
    let result = match Reader::new(bytes) {
        Some(reader) => read_binary(reader, &mut sink),
        None => xml_text::read(bytes, &mut sink),
    };
    if let Err((offset, reason)) = result {
        // What a parser says may repeat what stands there.
        sink.trouble.add(format_args!("byte {offset}"), excerpt(reason.as_bytes()));
    } else if !sink.root_seen {
        sink.trouble.add("byte 0", "no <packages> element");
    }
    sink.into_packages()
}

fn read_binary(mut reader: Reader<'_>, sink: &mut Sink<'_>) -> Result<(), (usize, String)> {
    let mut depth = 0_usize;
    // Whether the attributes that come now are wanted.
    let mut open = false;
    loop {
        let token = reader.next().map_err(|bad| (reader.offset(), bad.to_string()))?;
        if open && !matches!(token, Some(Token::Attribute(..)) | None) {
            sink.finish();
            open = false;
        }
        match token {
            Some(Token::Start(name)) => {
                if depth == MAX_DEPTH {
                    return Err((reader.offset(), format!("elements are nested more than {MAX_DEPTH} deep")));
                }
                open = sink.start(depth, name, reader.offset());
                depth += 1;
            }
            Some(Token::Attribute(name, value)) if open => sink.attribute(name, value),
            Some(Token::End(_)) => depth = depth.saturating_sub(1),
            Some(Token::EndDocument) | None if depth > 0 => {
                return Err((reader.offset(), "ends before its last element does".to_owned()));
            }
            Some(Token::EndDocument) | None => return Ok(()),
            Some(Token::Attribute(..) | Token::Other) => {}
        }
    }
}

/// Takes elements and attributes of either form and keeps what is of use.
pub struct Sink<'t> {
    trouble: &'t mut Trouble,
    packages: Packages,
    /// Names of `<updated-package>` elements, which stand behind the packages.
    updated: HashSet<String>,
    root_seen: bool,
    draft: Draft,
}

/// The element being read.
#[derive(Default)]
struct Draft {
    /// Where it begins, in bytes from the start of the file.
    offset: usize,
    is_update: bool,
    name: Option<String>,
    code_path: Option<bool>,
    flags: Option<i64>,
    package: Package,
}

impl<'t> Sink<'t> {
    fn new(trouble: &'t mut Trouble) -> Self {
        let (packages, updated) = (Packages::new(), HashSet::new());
        Self { trouble, packages, updated, root_seen: false, draft: Draft::default() }
    }

    /// An element begins at byte `offset`; `depth` counts the elements around it. Answers whether its attributes are
    /// wanted; then [`Self::finish`] or [`Self::spoil`] must follow them.
    pub fn start(&mut self, depth: usize, name: &[u8], offset: usize) -> bool {
        if depth == 0 {
            self.root_seen |= name == b"packages";
        }
        let is_update = name == b"updated-package";
        let wanted = depth == 1 && self.root_seen && (is_update || name == b"package");
        if wanted {
            self.draft = Draft { offset, is_update, ..Draft::default() };
        }
        wanted
    }

    pub fn attribute(&mut self, name: &[u8], value: Value<'_>) {
        let draft = &mut self.draft;
        match (name, value) {
            (b"name", Value::Text(text)) => match package_name(text) {
                Some(name) => draft.name = Some(name.to_owned()),
                None => {
                    let reason = format!("\"{}\" is not a package name", excerpt(text));
                    self.trouble.add(format_args!("byte {}", draft.offset), reason);
                }
            },
            (b"codePath", Value::Text(path)) => draft.code_path = Some(is_system_path(path)),
            // Called `flags` before Android 6.
            (b"publicFlags" | b"flags", value) => draft.flags = integer(value),
            (b"version", value) => {
                draft.package.version = integer(value).and_then(|n| u64::try_from(n).ok());
            }
            (b"userId" | b"sharedUserId", value) => {
                let id = integer(value).and_then(|n| u32::try_from(n).ok());
                draft.package.app_id = id.filter(|&id| id < uid::USER_OFFSET);
            }
            (b"installer", Value::Text(text)) => {
                draft.package.installer = package_name(text).map(str::to_owned);
            }
            _ => {}
        }
    }

    /// The element's attributes are complete.
    pub fn finish(&mut self) {
        let Draft { offset, is_update, name, code_path, flags, mut package } =
            std::mem::take(&mut self.draft);
        let Some(name) = name else { return };
        if self.packages.len() >= MAX_PACKAGES || self.updated.len() >= MAX_PACKAGES {
            self.trouble
                .add(format_args!("byte {offset}"), format_args!("more than {MAX_PACKAGES} packages"));
            return;
        }
        if is_update {
            self.updated.insert(name);
            return;
        }
        let has = |flag: i64| flags.map(|flags| flags & flag != 0);
        package.updated = has(FLAG_UPDATED_SYSTEM_APP) == Some(true);
        // An updated app lies under /data/app, but the flags still know where it came from.
        let signs = [code_path, has(FLAG_SYSTEM | FLAG_UPDATED_SYSTEM_APP)];
        package.preinstalled = signs.into_iter().flatten().reduce(|a, b| a || b);
        self.packages.insert(name, package);
    }

    /// The element cannot be used.
    pub fn spoil(&mut self, reason: &str) {
        let offset = std::mem::take(&mut self.draft).offset;
        self.trouble.add(format_args!("byte {offset}"), excerpt(reason.as_bytes()));
    }

    fn into_packages(mut self) -> Packages {
        for name in self.updated {
            if let Some(package) = self.packages.get_mut(&name) {
                package.preinstalled = Some(true);
                package.updated = true;
            }
        }
        self.packages
    }
}

fn integer(value: Value<'_>) -> Option<i64> {
    match value {
        Value::Integer(number) => Some(number),
        Value::Text(text) => std::str::from_utf8(text).ok()?.parse().ok(),
        Value::Other => None,
    }
}

fn is_system_path(path: &[u8]) -> bool {
    let mut parts = path.split(|&b| b == b'/');
    parts.next() == Some(b"")
        && parts.next().is_some_and(|first| SYSTEM_DIRECTORIES.iter().any(|dir| dir.as_bytes() == first))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::enrich::app::tests::abx_of;
    use std::path::Path;

    fn parsed(bytes: &[u8]) -> (Packages, Option<String>) {
        let mut trouble = Trouble::new(Path::new("packages.xml"));
        let packages = parse(bytes, &mut trouble);
        (packages, trouble.into_warning("used as far as read"))
    }

    /// Both forms of a document must say the same.
    fn both(text: &str) -> Packages {
        let (from_text, warning) = parsed(text.as_bytes());
        assert_eq!(warning, None);
        let (from_binary, warning) = parsed(&abx_of(text));
        assert_eq!(warning, None);
        assert_eq!(from_text, from_binary);
        from_text
    }

    const HEAD: &str = "<?xml version='1.0' encoding='utf-8' standalone='yes' ?>\n";

    fn one(attributes: &str) -> Package {
        both(&format!("{HEAD}<packages><package name=\"com.a\" {attributes} /></packages>"))["com.a"].clone()
    }

    #[test]
    fn the_code_path_tells_what_came_with_the_device() {
        for (path, expected) in [
            ("/system/priv-app/A", true),
            ("/system_ext/app/A", true),
            ("/product/app/A", true),
            ("/vendor/app/A", true),
            ("/odm/app/A", true),
            ("/apex/com.android.wifi/app/A", true),
            ("/data/app/~~x==/com.a-y==", false),
            ("/mnt/expand/57f8f4bc/app/com.a", false),
            ("/systematic/app/A", false),
            ("system/app/A", false),
        ] {
            let package = one(&format!("codePath=\"{path}\" publicFlags=\"0\""));
            assert_eq!(package.preinstalled, Some(expected), "{path}");
        }
        assert_eq!(one("version=\"1\"").preinstalled, None);
    }

    #[test]
    fn flags_tell_a_system_app_and_its_update() {
        let system = one("codePath=\"/hw_product/app/A\" publicFlags=\"541605445\"");
        assert_eq!((system.preinstalled, system.updated), (Some(true), false));
        let updated = one("codePath=\"/data/app/A\" publicFlags=\"940064453\"");
        assert_eq!((updated.preinstalled, updated.updated), (Some(true), true));
        let user = one("codePath=\"/data/app/A\" publicFlags=\"-2147483580\"");
        assert_eq!((user.preinstalled, user.updated), (Some(false), false));
    }

    #[test]
    fn an_updated_package_element_marks_the_package_of_that_name() {
        let packages = both(&format!(
            "{HEAD}<packages><package name=\"com.a\" codePath=\"/data/app/a\" userId=\"10123\" version=\"9\" />\
             <package name=\"com.b\" codePath=\"/data/app/b\" />\
             <updated-package name=\"com.a\" codePath=\"/system/app/A\" version=\"2\" />\
             <updated-package name=\"com.gone\" codePath=\"/system/app/G\" /></packages>"
        ));
        assert_eq!(packages.len(), 2);
        let a = &packages["com.a"];
        assert_eq!(
            (a.preinstalled, a.updated, a.version, a.app_id),
            (Some(true), true, Some(9), Some(10_123))
        );
        assert_eq!(packages["com.b"].preinstalled, Some(false));
    }

    #[test]
    fn version_installer_and_ids_are_read_and_nonsense_is_unknown() {
        let package = one("userId=\"10123\" version=\"5000000000\" installer=\"com.android.vending\"");
        assert_eq!(package.version, Some(5_000_000_000));
        assert_eq!(package.installer.as_deref(), Some("com.android.vending"));
        assert_eq!(one("sharedUserId=\"1001\"").app_id, Some(1001));
        let odd = one("userId=\"4294967296\" version=\"-1\" installer=\"a b\"");
        assert_eq!(odd, Package::default());
    }

    #[test]
    fn only_children_of_the_root_are_packages() {
        let packages = both(&format!(
            "{HEAD}<packages><permissions><package name=\"com.no\" codePath=\"/system/x\" /></permissions>\
             <package name=\"com.yes\"><package name=\"com.inner\" /></package></packages>"
        ));
        assert_eq!(packages.keys().collect::<Vec<_>>(), ["com.yes"]);
    }

    #[test]
    fn a_file_of_something_else_is_named_as_such() {
        for text in ["", "<users><package name=\"com.a\" /></users>", "PNG"] {
            let (packages, warning) = parsed(text.as_bytes());
            assert!(packages.is_empty());
            assert!(warning.unwrap().contains("no <packages> element"), "{text}");
        }
    }

    #[test]
    fn deep_nesting_stops_the_reading_and_keeps_what_was_read() {
        let text = format!("{HEAD}<packages><package name=\"com.a\" />{}", "<x>".repeat(100_000));
        let (packages, warning) = parsed(text.as_bytes());
        assert_eq!(packages.len(), 1);
        assert!(warning.unwrap().contains("nested more than 64 deep"));
        let mut bytes = abx_of(&format!("{HEAD}<packages><package name=\"com.a\" /></packages>"));
        bytes.truncate(bytes.len() - 4);
        bytes.extend_from_slice(&b"\x32\x00\x00".repeat(100_000));
        let (packages, warning) = parsed(&bytes);
        assert_eq!(packages.len(), 1);
        assert!(warning.unwrap().contains("nested more than 64 deep"));
    }

    #[test]
    fn entities_are_never_expanded() {
        let mut text = String::from("<!DOCTYPE packages [<!ENTITY a \"ha\">");
        for (outer, inner) in ('b'..='j').zip('a'..='i') {
            text.push_str(&format!("<!ENTITY {outer} \"{}\">", format!("&{inner};").repeat(10)));
        }
        text.push_str(
            "]><packages><package name=\"com.a\" installer=\"&j;\" /><package name=\"com.b\" /></packages>",
        );
        let (packages, warning) = parsed(text.as_bytes());
        assert_eq!(packages.keys().collect::<Vec<_>>(), ["com.b"]);
        assert!(warning.unwrap().contains("byte "));
    }

    #[test]
    fn a_bad_byte_is_named_and_what_stands_before_it_is_used() {
        let mut text = format!("{HEAD}<packages><package name=\"com.a\" />").into_bytes();
        let place = text.len();
        text.extend_from_slice(b"\xff<package name=\"com.b\" /></packages>");
        let (packages, warning) = parsed(&text);
        assert_eq!(packages.keys().collect::<Vec<_>>(), ["com.a"]);
        assert!(warning.unwrap().contains(&format!("byte {place}: not valid UTF-8")));
    }

    #[test]
    fn a_name_with_control_characters_is_refused_and_shown_escaped() {
        let text =
            format!("{HEAD}<packages><package name=\"com.\u{9b}a\" /><package name=\"com.b\" /></packages>");
        for bytes in [text.clone().into_bytes(), abx_of(&text)] {
            let (packages, warning) = parsed(&bytes);
            assert_eq!(packages.keys().collect::<Vec<_>>(), ["com.b"]);
            assert!(warning.unwrap().contains(r"com.\u{9b}a"));
        }
    }

    /// Found by fuzzing.
    #[test]
    fn an_end_that_fits_no_element_is_shown_escaped_and_cut() {
        let text = format!("<packages></\u{1b}[2J\n{}>", "x".repeat(1000));
        let (_, warning) = parsed(text.as_bytes());
        let warning = warning.unwrap();
        assert!(!warning.contains(char::is_control) && warning.len() < 300, "{warning:?}");
    }

    #[test]
    fn an_element_with_a_million_attributes_costs_no_memory_and_little_time() {
        let many: String = (0..1_000_000).map(|_| " x=\"1\"").collect();
        let text = format!("<packages><package name=\"com.a\"{many} /><package name=\"com.b\" /></packages>");
        let (packages, warning) = parsed(text.as_bytes());
        assert_eq!(packages.keys().collect::<Vec<_>>(), ["com.b"]);
        assert!(warning.unwrap().contains("more than 256 attributes"));
    }
}
