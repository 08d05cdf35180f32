//! The files that say whose a uid is: packages.list, packages.xml (text and binary) and passwd.

use tracer::enrich::app::AppTable;

use crate::files::Directory;

/// The same bytes as each of the files; each reader takes what is of its form.
pub fn check(bytes: &[u8]) {
    let Some(directory) = Directory::new() else { return };
    let names = ["data/system/packages.list", "data/system/packages.xml", "vendor/etc/passwd"];
    if names.iter().any(|name| directory.write(name, bytes).is_none()) {
        return;
    }
    let (table, warnings) = AppTable::load(directory.path(), true);
    assert!(warnings.len() <= names.len(), "{warnings:?}");
    assert!(warnings.iter().all(|warning| is_printable(warning)), "{warnings:?}");
    for app in table.apps() {
        assert_eq!(app.packages().len(), app.members().len());
        assert!(app.packages().is_sorted() && !app.packages().is_empty(), "{app:?}");
        assert!(app.packages().iter().all(|name| is_printable(name)), "{app:?}");
    }
    for uid in [0, 1000, 2901, 5000, 10_123, 1_010_123, 99_000] {
        assert!(table.user_name(uid).is_none_or(|name| is_printable(&name)), "{uid}");
    }
    let directory = Directory::new();
    if let Some(directory) = directory
        && directory.write("etc/passwd", bytes).is_some()
    {
        let (table, warnings) = AppTable::load(directory.path(), false);
        assert!(table.apps().next().is_none() && warnings.len() <= 1, "{warnings:?}");
    }
}

fn is_printable(text: &str) -> bool {
    !text.chars().any(char::is_control)
}
