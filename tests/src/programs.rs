//! Where the programs under test are.

use std::path::PathBuf;
use std::time::SystemTime;

/// The tracer: `TRACER_BIN`, else the newer one of `target/dist/tracer` and `target/debug/tracer`.
///
/// # Panics
/// When there is none: building it is not the tests' job.
#[must_use]
pub fn tracer() -> PathBuf {
    find("TRACER_BIN", "tracer", "cargo build -p tracer")
}

/// The actor: `TRACER_ACTOR`, else beside the tracer.
///
/// # Panics
/// When there is none.
#[must_use]
pub fn actor() -> PathBuf {
    find("TRACER_ACTOR", "actor", "cargo build -p tracer-tests")
}

/// HTTP/3 for the tests of names: `TRACER_QUIC`, else beside the tracer.
///
/// # Panics
/// When there is none.
#[must_use]
pub fn quic() -> PathBuf {
    find("TRACER_QUIC", "quic", "cargo build -p tracer-tests-quic")
}

/// Writes captures of a story (tests/scenarios): `TRACER_STORY`, else beside the tracer.
///
/// # Panics
/// When there is none.
#[must_use]
pub fn story() -> PathBuf {
    find("TRACER_STORY", "story", "cargo build -p tracer-tests-scenarios")
}

fn find(variable: &str, name: &str, remedy: &str) -> PathBuf {
    if let Some(path) = std::env::var_os(variable).map(PathBuf::from) {
        assert!(path.is_file(), "{variable}={}: no such file", path.display());
        return path;
    }
    // This program is target/PROFILE/deps/NAME-HASH.
    let here = std::env::current_exe().expect("this program has a path");
    let target = here.ancestors().nth(3).expect("this program is in a target directory");
    let candidates = ["dist", "release", "debug"].map(|profile| target.join(profile).join(name));
    let modified =
        |path: &PathBuf| path.metadata().and_then(|data| data.modified()).unwrap_or(SystemTime::UNIX_EPOCH);
    let newest = candidates.iter().filter(|path| path.is_file()).max_by_key(|path| modified(path));
    newest.cloned().unwrap_or_else(|| {
        panic!("no {name} in {}: run `{remedy}` first, or set {variable}", target.display());
    })
}
