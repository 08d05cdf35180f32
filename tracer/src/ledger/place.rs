//! Where the ledger is kept unless the user says so.

use std::env;
use std::path::{Path, PathBuf};

/// Android has no home directories; this one survives reboots, and root may write there.
const ANDROID: &str = "/data/local/tmp/tracer.db";
/// Of services, and of whoever has no home directory.
const SYSTEM: &str = "/var/lib/tracer/tracer.db";

/// On Android `/data/local/tmp/tracer.db`, elsewhere the user's state directory (XDG Base Directory Specification).
#[must_use]
pub fn default_place() -> PathBuf {
    let is_android = Path::new("/system/build.prop").exists() || env::var_os("ANDROID_ROOT").is_some();
    let directory = |name: &str| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    place(is_android, directory("XDG_STATE_HOME"), directory("HOME"))
}

fn place(is_android: bool, state: Option<PathBuf>, home: Option<PathBuf>) -> PathBuf {
    if is_android {
        return ANDROID.into();
    }
    // Some services run with the root of the file system as their home.
    let home = home.filter(|home| home != Path::new("/"));
    match state.or_else(|| Some(home?.join(".local/state"))) {
        Some(state) => state.join("tracer/tracer.db"),
        None => SYSTEM.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ledger_is_where_such_files_are_kept() {
        assert_eq!(place(true, Some("/s".into()), None), Path::new("/data/local/tmp/tracer.db"));
        assert_eq!(place(false, Some("/s".into()), Some("/home/a".into())), Path::new("/s/tracer/tracer.db"));
        assert_eq!(
            place(false, None, Some("/home/a".into())),
            Path::new("/home/a/.local/state/tracer/tracer.db")
        );
        assert_eq!(place(false, None, None), Path::new("/var/lib/tracer/tracer.db"));
        assert_eq!(place(false, None, Some("/".into())), Path::new("/var/lib/tracer/tracer.db"));
    }
}
