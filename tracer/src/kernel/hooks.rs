//! Kinds of hooks, and which of them may be used (`--hooks`).

use std::str::FromStr;

/// A kind of hook that has others beside it for the same capability.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HookKind {
    /// Programs that the kernel calls at the stations of a TCP connection.
    SockOps,
    /// Programs for packets and sockets on the cgroup2 root.
    Cgroup,
    /// Kprobes.
    Kprobe,
    /// Tracepoints.
    Tracepoint,
    /// No hook, but what all of them need: the kernel's own description of its types. Without it, offsets are found by
    /// calibration.
    Btf,
}

const NAMES: [(&str, HookKind); 5] = [
    ("sock_ops", HookKind::SockOps),
    ("cgroup", HookKind::Cgroup),
    ("kprobe", HookKind::Kprobe),
    ("tracepoint", HookKind::Tracepoint),
    ("btf", HookKind::Btf),
];

/// One word of `--hooks`: a kind that may be used, or, with `no-`, one that may not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HookChoice {
    kind: HookKind,
    is_wanted: bool,
}

impl FromStr for HookChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, is_wanted) = text.strip_prefix("no-").map_or((text, true), |name| (name, false));
        let found = NAMES.iter().find(|(known, _)| *known == name);
        let (_, kind) =
            found.ok_or("give sock_ops, cgroup, kprobe, tracepoint or btf, or no- and one of these")?;
        Ok(Self { kind: *kind, is_wanted })
    }
}

/// Which kinds of hooks may be used.
#[derive(Clone, Debug, Default)]
pub struct Hooks(Vec<HookChoice>);

impl Hooks {
    #[must_use]
    pub fn new(choices: Vec<HookChoice>) -> Self {
        Self(choices)
    }

    /// Whether this kind may be used: it was named, or nothing was named and it was not excluded. Naming others does not
    /// forbid `sock_ops`, without which TCP is half blind, nor BTF, which is no hook.
    #[must_use]
    pub fn allow(&self, kind: HookKind) -> bool {
        let names_some = self.0.iter().any(|choice| choice.is_wanted && choice.kind != HookKind::Btf);
        let of_kind = self.0.iter().filter(|choice| choice.kind == kind);
        let (mut is_named, mut is_excluded) = (false, false);
        for choice in of_kind {
            is_named |= choice.is_wanted;
            is_excluded |= !choice.is_wanted;
        }
        let is_for_all = matches!(kind, HookKind::SockOps | HookKind::Btf);
        !is_excluded && (is_named || !names_some || is_for_all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hooks(words: &[&str]) -> Hooks {
        Hooks::new(words.iter().map(|word| word.parse().unwrap()).collect())
    }

    #[test]
    fn named_kinds_exclude_the_others_and_no_excludes_one() {
        assert!(hooks(&[]).allow(HookKind::Kprobe));
        assert!(!hooks(&["no-kprobe"]).allow(HookKind::Kprobe));
        assert!(hooks(&["no-kprobe"]).allow(HookKind::Cgroup));
        assert!(!hooks(&["cgroup"]).allow(HookKind::Kprobe));
        assert!(hooks(&["cgroup", "kprobe"]).allow(HookKind::Kprobe));
        assert!(hooks(&["cgroup"]).allow(HookKind::Btf), "it is no hook");
        assert!(!hooks(&["no-btf"]).allow(HookKind::Btf));
        assert!(hooks(&["cgroup"]).allow(HookKind::SockOps), "naming ways of UDP does not blind it for TCP");
        assert!(!hooks(&["no-sock_ops"]).allow(HookKind::SockOps));
        assert!(hooks(&["no-btf"]).allow(HookKind::Kprobe));
    }

    #[test]
    fn an_unknown_word_is_refused() {
        assert!("fentry".parse::<HookChoice>().is_err());
        assert!("no-".parse::<HookChoice>().is_err());
    }
}
