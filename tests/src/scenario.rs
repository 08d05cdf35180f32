//! What is special about the machine that the tests run on (`cargo xtask vm --scenario`), from `TRACER_SCENARIO`.

/// A scenario.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scenario {
    /// Nothing is special.
    Plain,
    /// Every hook that Android 15's netd takes is held exclusively.
    AndroidLike,
    /// Kprobes are forbidden to the tracer, as if the kernel had none.
    NoKprobes,
    /// The kernel shows no type information.
    NoBtf,
    /// `sock_ops` programs are forbidden to the tracer, as if the kernel refused them.
    NoSockOps,
}

/// The scenario of this run.
///
/// # Panics
/// When `TRACER_SCENARIO` names none.
#[must_use]
pub fn current() -> Scenario {
    match std::env::var("TRACER_SCENARIO").as_deref() {
        Err(_) | Ok("plain") => Scenario::Plain,
        Ok("android-like") => Scenario::AndroidLike,
        Ok("no-kprobes") => Scenario::NoKprobes,
        Ok("no-btf") => Scenario::NoBtf,
        Ok("no-sock-ops") => Scenario::NoSockOps,
        Ok(other) => panic!("TRACER_SCENARIO={other}: there is no such scenario"),
    }
}

/// What every tracer is started with.
#[must_use]
pub fn arguments() -> &'static [&'static str] {
    match current() {
        Scenario::NoKprobes => &["--hooks", "no-kprobe"],
        Scenario::NoSockOps => &["--hooks", "no-sock_ops"],
        // The guest's first process hides it; elsewhere the tracer is told to do without.
        Scenario::NoBtf if has_btf() => &["--hooks", "no-btf"],
        Scenario::Plain | Scenario::AndroidLike | Scenario::NoBtf => &[],
    }
}

/// What records call the way in which TCP connections are seen.
#[must_use]
pub fn tcp_method() -> &'static str {
    if current() == Scenario::NoSockOps { "inet_sock_set_state" } else { "sock_ops" }
}

/// Whether the kernel offers kprobes.
#[must_use]
pub fn has_kprobes() -> bool {
    std::path::Path::new("/sys/bus/event_source/devices/kprobe/type").exists()
}

/// Whether the tracers of this run use kprobes.
#[must_use]
pub fn uses_kprobes() -> bool {
    current() != Scenario::NoKprobes && has_kprobes()
}

/// Whether the kernel shows its type information.
#[must_use]
pub fn has_btf() -> bool {
    std::path::Path::new("/sys/kernel/btf/vmlinux").exists()
}
