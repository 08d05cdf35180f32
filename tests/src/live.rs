//! Which tests can run here: live tests need root, cgroup2 and BPF.

use std::io::Write;
use std::process::Command;
use std::sync::{OnceLock, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// Storms fill the ring buffers of tracers in other tests: they run alone.
static QUIET: RwLock<()> = RwLock::new(());

/// Held by a live test while it runs.
pub enum Turn {
    Beside(#[allow(dead_code, reason = "held, not read")] RwLockReadGuard<'static, ()>),
    Alone(#[allow(dead_code, reason = "held, not read")] RwLockWriteGuard<'static, ()>),
}

/// Begins a live test; `None` when it cannot run here, which was said then.
///
/// # Panics
/// When it cannot run although `TRACER_REQUIRE_KERNEL=1` or `CI=true` demands it.
#[must_use]
pub fn begin(name: &str, alone: bool) -> Option<Turn> {
    static REASON: OnceLock<Option<String>> = OnceLock::new();
    if let Some(reason) = REASON.get_or_init(obstacle) {
        let is_set = |name: &str, value: &str| std::env::var(name).is_ok_and(|found| found == value);
        assert!(
            !is_set("TRACER_REQUIRE_KERNEL", "1") && !is_set("CI", "true"),
            "this live test must run here, but cannot: {reason}"
        );
        skip(name, reason);
        return None;
    }
    // A failed test poisons the lock, but leaves nothing behind that others depend on.
    Some(if alone {
        Turn::Alone(QUIET.write().unwrap_or_else(PoisonError::into_inner))
    } else {
        Turn::Beside(QUIET.read().unwrap_or_else(PoisonError::into_inner))
    })
}

/// Says that a test cannot run here.
pub fn skip(name: &str, reason: &str) {
    // Not eprintln!, which libtest would swallow: the line is counted.
    let _ = writeln!(std::io::stderr(), "skipped: {name}: {reason}");
}

/// What stands in the way of live tests.
fn obstacle() -> Option<String> {
    if !rustix::process::geteuid().is_root() {
        return Some("not root".to_owned());
    }
    let output = match Command::new(crate::programs::tracer()).args(["doctor"]).output() {
        Ok(output) => output,
        Err(error) => return Some(format!("tracer doctor could not be started: {error}")),
    };
    let first =
        || String::from_utf8_lossy(&output.stderr).lines().map(str::trim).collect::<Vec<_>>().join(" ");
    (!output.status.success()).then(first)
}

/// Begins a live test: `let _turn = live!();`, or `live!(alone)` for a test that needs the machine for itself.
#[macro_export]
macro_rules! live {
    () => {
        $crate::live!(@ false)
    };
    (alone) => {
        $crate::live!(@ true)
    };
    (@ $alone:literal) => {{
        fn here() {}
        let name = std::any::type_name_of_val(&here);
        let name = name.strip_suffix("::here").unwrap_or(name);
        let name = name.split_once("::").map_or(name, |(_, name)| name);
        let Some(turn) = $crate::live::begin(name, $alone) else { return };
        turn
    }};
}
