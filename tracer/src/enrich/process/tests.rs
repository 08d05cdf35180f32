//! On made-up procfs trees, and on real processes.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::symlink;
use std::process::{Child, Command, Stdio};

use super::*;
use crate::enrich::app::tests::TempDir;

const TICK: u64 = 10_000_000;

fn capacity(n: usize) -> NonZeroUsize {
    NonZeroUsize::new(n).unwrap()
}

/// An event of the main thread of `pid`, with start and exec id.
fn event(pid: u32, start_ticks: u64, exec_id: u64, name: &str) -> Identity {
    let mut comm = [0; 16];
    comm[..name.len()].copy_from_slice(name.as_bytes());
    Identity {
        start_boot_ns: start_ticks * TICK + 1234,
        exec_id,
        pid,
        tid: pid,
        comm,
        known: KNOWN_TASK | KNOWN_START | KNOWN_EXEC,
        ..Identity::default()
    }
}

/// A made-up procfs.
struct Proc(TempDir);

impl Proc {
    fn new() -> Self {
        Self(TempDir::new())
    }

    fn put(&self, pid: u32, start_ticks: u64, name: &str, parent: u32, exe: &str, cmdline: &[u8]) {
        let _ = std::fs::remove_dir_all(self.0.path().join(pid.to_string()));
        let stat =
            format!("{pid} ({name}) S {parent} 1 1 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 {start_ticks} 0 0\n");
        self.0.write(&format!("{pid}/stat"), stat.as_bytes());
        self.0.write(&format!("{pid}/comm"), format!("{name}\n").as_bytes());
        self.0.write(&format!("{pid}/cmdline"), cmdline);
        if !exe.is_empty() {
            symlink(exe, self.0.path().join(format!("{pid}/exe"))).unwrap();
        }
    }

    fn remove(&self, pid: u32) {
        std::fs::remove_dir_all(self.0.path().join(pid.to_string())).unwrap();
    }

    fn table(&self) -> ProcessTable {
        ProcessTable { tick_ns: TICK, ..ProcessTable::with_root(self.0.path(), capacity(8)) }
    }
}

#[test]
fn a_process_has_executable_arguments_parent_and_start() {
    let proc = Proc::new();
    proc.put(1, 1, "init", 0, "/sbin/init", b"/sbin/init\0");
    proc.put(100, 50, "curl", 1, "/usr/bin/curl", b"curl\0-s\0https://example.org/\0");
    let process = proc.table().resolve(&event(100, 50, 3, "curl")).unwrap();
    assert_eq!(
        *process,
        Process {
            pid: 100,
            executable: Some("/usr/bin/curl".into()),
            command_line: Some("curl -s https://example.org/".into()),
            parent: Some(Parent { pid: 1, name: Some("init".into()) }),
            cgroup: Cgroup::default(),
            start: Some(BootTime(50 * TICK + 1234)),
        }
    );
    let init = proc.table().resolve(&event(1, 1, 0, "init")).unwrap();
    assert_eq!(init.parent, None);
}

#[test]
fn a_second_event_is_answered_without_a_look_at_proc() {
    let proc = Proc::new();
    proc.put(100, 50, "curl", 1, "/usr/bin/curl", b"curl\0");
    let mut table = proc.table();
    let first = table.resolve(&event(100, 50, 3, "curl")).unwrap();
    proc.remove(100);
    let second = table.resolve(&event(100, 50, 3, "worker-thread")).unwrap();
    assert!(Arc::ptr_eq(&first, &second));
}

#[test]
fn a_reused_pid_is_another_process() {
    let proc = Proc::new();
    proc.put(100, 50, "curl", 1, "/usr/bin/curl", b"curl\0");
    let mut table = proc.table();
    table.resolve(&event(100, 50, 3, "curl"));
    proc.put(100, 900, "wget", 1, "/usr/bin/wget", b"wget\0");
    let new = table.resolve(&event(100, 900, 3, "wget")).unwrap();
    assert_eq!(new.executable.as_deref(), Some("/usr/bin/wget"));
    // A late event of the first one still gets the first one's answer.
    let old = table.resolve(&event(100, 50, 3, "curl")).unwrap();
    assert_eq!(old.executable.as_deref(), Some("/usr/bin/curl"));
}

#[test]
fn nothing_of_proc_is_used_when_the_pid_belongs_to_another_process_by_now() {
    let proc = Proc::new();
    proc.put(100, 900, "wget", 1, "/usr/bin/wget", b"wget\0");
    let process = proc.table().resolve(&event(100, 50, 3, "curl")).unwrap();
    assert_eq!(*process, bare(100, Some(50 * TICK + 1234)));
}

#[test]
fn a_start_that_differs_by_one_tick_is_the_same_start() {
    let proc = Proc::new();
    for (ticks, same) in [(48, false), (49, true), (50, true), (51, true), (52, false)] {
        proc.put(100, ticks, "curl", 1, "/usr/bin/curl", b"curl\0");
        let process = proc.table().resolve(&event(100, 50, 3, "curl")).unwrap();
        assert_eq!(process.executable.is_some(), same, "{ticks}");
    }
}

#[test]
fn an_exec_is_another_program() {
    let proc = Proc::new();
    proc.put(100, 50, "sh", 1, "/bin/sh", b"sh\0-c\0exec curl\0");
    let mut table = proc.table();
    table.resolve(&event(100, 50, 3, "sh"));
    proc.put(100, 50, "curl", 1, "/usr/bin/curl", b"curl\0");
    let process = table.resolve(&event(100, 50, 4, "curl")).unwrap();
    assert_eq!(process.command_line.as_deref(), Some("curl"));
}

#[test]
fn a_program_that_was_executed_after_the_event_is_not_taken_for_the_one_that_connected() {
    let proc = Proc::new();
    for (name, exe, cmdline) in [
        ("curl", "/usr/bin/curl", &b"curl\0"[..]),
        ("a-name-longer-t", "/opt/a-name-longer-than-comm", b"x\0"),
        ("script.sh", "/bin/bash", b"/bin/bash\0/home/me/script.sh\0"),
    ] {
        proc.put(100, 50, name, 1, exe, cmdline);
        let process = proc.table().resolve(&event(100, 50, 3, "sh")).unwrap();
        assert_eq!((&process.executable, &process.command_line), (&None, &None), "{name}");
        assert_eq!(process.parent.as_ref().map(|parent| parent.pid), Some(1));
    }
    // A thread that only renamed itself, and another thread than the main one, prove nothing.
    proc.put(100, 50, "main-loop", 1, "/usr/bin/curl", b"curl\0");
    assert!(proc.table().resolve(&event(100, 50, 3, "curl")).unwrap().executable.is_some());
    proc.put(100, 50, "curl", 1, "/usr/bin/curl", b"curl\0");
    let thread = Identity { tid: 101, ..event(100, 50, 3, "resolver") };
    assert!(proc.table().resolve(&thread).unwrap().executable.is_some());
}

#[test]
fn a_process_that_is_gone_keeps_what_the_event_carried() {
    let proc = Proc::new();
    let mut table = proc.table();
    let identity = event(100, 50, 3, "short");
    assert_eq!(*table.resolve(&identity).unwrap(), bare(100, Some(50 * TICK + 1234)));
    assert_eq!(thread_name(&identity).as_deref(), Some("short"));
    // Remembered as gone: a newcomer with its pid is not looked at.
    proc.put(100, 50, "other", 1, "/bin/other", b"other\0");
    assert_eq!(table.resolve(&identity).unwrap().executable, None);
}

#[test]
fn an_event_without_a_task_has_no_process_and_no_thread_name() {
    let identity = Identity { known: 0, ..event(100, 50, 3, "ghost") };
    assert!(Proc::new().table().resolve(&identity).is_none());
    assert_eq!(thread_name(&identity), None);
}

#[test]
fn without_a_start_in_the_event_proc_is_compared_every_time() {
    let proc = Proc::new();
    proc.put(100, 50, "curl", 1, "/usr/bin/curl", b"curl\0");
    let mut table = proc.table();
    let identity = Identity { known: KNOWN_TASK | KNOWN_EXEC, ..event(100, 0, 3, "curl") };
    let first = table.resolve(&identity).unwrap();
    assert_eq!(first.start, Some(BootTime(50 * TICK)));
    assert!(Arc::ptr_eq(&first, &table.resolve(&identity).unwrap()));
    proc.put(100, 900, "curl", 1, "/opt/other/curl", b"curl\0");
    assert_eq!(table.resolve(&identity).unwrap().executable.as_deref(), Some("/opt/other/curl"));
    proc.remove(100);
    assert_eq!(*table.resolve(&identity).unwrap(), bare(100, None));
    proc.put(100, 950, "curl", 1, "/usr/bin/curl", b"curl\0");
    assert!(table.resolve(&identity).unwrap().executable.is_some());
}

#[test]
fn without_an_exec_id_nothing_is_cached() {
    let proc = Proc::new();
    proc.put(100, 50, "sh", 1, "/bin/sh", b"sh\0");
    let mut table = proc.table();
    let identity = Identity { known: KNOWN_TASK | KNOWN_START, ..event(100, 50, 0, "sh") };
    assert!(table.resolve(&identity).is_some());
    assert!(table.is_empty());
}

#[test]
fn a_kernel_thread_has_neither_executable_nor_arguments() {
    let proc = Proc::new();
    proc.put(2, 1, "kthreadd", 0, "", b"");
    let process = proc.table().resolve(&event(2, 1, 0, "kthreadd")).unwrap();
    assert_eq!(*process, bare(2, Some(TICK + 1234)));
}

#[test]
fn an_app_fresh_from_the_zygote_is_read_again_until_it_has_its_name() {
    for placeholder in
        ["zygote64", "zygote", "usap64", "<pre-initialized>", "webview_zygote", "com.example_zygote"]
    {
        let proc = Proc::new();
        proc.put(100, 50, "main", 7, "/system/bin/app_process64", format!("{placeholder}\0\0\0").as_bytes());
        let mut table = proc.table();
        let first = table.resolve(&event(100, 50, 3, "main")).unwrap();
        assert_eq!(first.command_line.as_deref(), Some(placeholder));
        proc.put(100, 50, "main", 7, "/system/bin/app_process64", b"com.example.messenger\0\0\0");
        let second = table.resolve(&event(100, 50, 3, "main")).unwrap();
        assert_eq!(second.command_line.as_deref(), Some("com.example.messenger"), "{placeholder}");
        assert!(Arc::ptr_eq(&second, &table.resolve(&event(100, 50, 3, "main")).unwrap()));
    }
}

#[test]
fn a_real_zygote_is_not_read_again_for_ever() {
    let proc = Proc::new();
    proc.put(100, 50, "main", 1, "/system/bin/app_process64", b"zygote64\0");
    let mut table = proc.table();
    for _ in 0..=MAX_REREADS {
        table.resolve(&event(100, 50, 3, "main"));
    }
    let last = table.resolve(&event(100, 50, 3, "main")).unwrap();
    assert!(Arc::ptr_eq(&last, &table.resolve(&event(100, 50, 3, "main")).unwrap()));
}

#[test]
fn a_long_command_line_is_cut_and_marked() {
    let proc = Proc::new();
    proc.put(100, 50, "x", 1, "/bin/x", "ä\0".repeat(5000).as_bytes());
    let line = proc.table().resolve(&event(100, 50, 3, "x")).unwrap().command_line.clone().unwrap();
    assert!(line.len() <= MAX_COMMAND_LINE && line.len() > MAX_COMMAND_LINE - 8, "{}", line.len());
    assert!(line.starts_with("ä ä ") && line.ends_with('…'), "{line}");
    proc.put(100, 50, "x", 1, "/bin/x", &[b'y'; MAX_COMMAND_LINE]);
    let line = proc.table().resolve(&event(100, 50, 3, "x")).unwrap().command_line.clone().unwrap();
    assert_eq!(line, "y".repeat(MAX_COMMAND_LINE));
}

#[test]
fn hostile_names_come_out_printable() {
    let proc = Proc::new();
    proc.put(7, 1, "\u{1b}[2J", 0, "/bin/p", b"p\0");
    proc.put(100, 50, "x", 7, "/tmp/a\nb (deleted)", b"x\0\x1b]0;owned\x07\0\xff\0");
    let process = proc.table().resolve(&event(100, 50, 3, "x")).unwrap();
    assert_eq!(process.executable.as_deref(), Some(r"/tmp/a\x0ab (deleted)"));
    assert_eq!(process.command_line.as_deref(), Some(r"x \x1b]0;owned\x07 \xff"));
    assert_eq!(process.parent.as_ref().and_then(|parent| parent.name.as_deref()), Some(r"\x1b[2J"));
}

#[test]
fn a_thread_name_ends_at_its_nul() {
    let mut identity = event(100, 50, 3, "abc");
    identity.comm[4..8].copy_from_slice(b"ghij");
    assert_eq!(thread_name(&identity).as_deref(), Some("abc"));
    identity.comm = *b"sixteen-bytes-xx";
    assert_eq!(thread_name(&identity).as_deref(), Some("sixteen-bytes-xx"));
    identity.comm = *b"a\x1b\n\0aaaaaaaaaaaa";
    assert_eq!(thread_name(&identity).as_deref(), Some(r"a\x1b\x0a"));
}

#[test]
fn the_cache_is_bounded() {
    let proc = Proc::new();
    let mut table = proc.table();
    for pid in 1..100 {
        table.resolve(&event(pid, 50, 3, "x"));
    }
    assert_eq!(table.len(), 8);
}

#[test]
fn a_root_that_is_no_procfs_gives_bare_processes() {
    let mut table = ProcessTable::with_root(Path::new("/nonexistent"), capacity(4));
    assert_eq!(*table.resolve(&event(100, 50, 3, "x")).unwrap(), bare(100, Some(50 * TICK + 1234)));
}

/// A real child that waits for a line on its standard input.
fn child() -> Child {
    let mut child = Command::new("/bin/sh")
        .args(["-c", "echo ready; read line; exec sleep 1000", "name with space", "new\nline"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    child
}

/// What the kernel side would report of a running process, start rounded down to a tick.
fn event_of(pid: u32, exec_id: u64, name: &str) -> Identity {
    let ticks = Directory::open(Path::new("/proc"), pid).unwrap().unwrap().stat().unwrap().start_ticks;
    let tick = 1_000_000_000 / rustix::param::clock_ticks_per_second();
    Identity { start_boot_ns: ticks * tick, ..event(pid, 0, exec_id, name) }
}

#[test]
fn a_real_process_is_read_and_after_its_end_nothing_is_made_up() {
    let mut child = child();
    let identity = event_of(child.id(), 1, "sh");
    let mut table = ProcessTable::new(DEFAULT_CAPACITY);
    let process = table.resolve(&identity).unwrap();
    let line = process.command_line.as_deref().unwrap();
    assert!(
        line.starts_with("/bin/sh -c echo ready; ") && line.ends_with(r"name with space new\x0aline"),
        "{line}"
    );
    assert!(process.executable.as_deref().unwrap().starts_with('/'));
    assert_eq!(process.parent.as_ref().map(|parent| parent.pid), Some(std::process::id()));
    assert!(process.parent.as_ref().unwrap().name.is_some());

    child.kill().unwrap();
    child.wait().unwrap();
    assert!(Arc::ptr_eq(&process, &table.resolve(&identity).unwrap()), "the cache keeps it");
    let fresh = ProcessTable::new(DEFAULT_CAPACITY).resolve(&identity).unwrap();
    assert_eq!(*fresh, bare(identity.pid, Some(identity.start_boot_ns)));
}

#[test]
fn a_real_exec_after_the_event_is_noticed() {
    let mut child = child();
    let identity = event_of(child.id(), 1, "sh");
    child.stdin.as_mut().unwrap().write_all(b"go\n").unwrap();
    let directory = Directory::open(Path::new("/proc"), child.id()).unwrap().unwrap();
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while directory.comm().unwrap() != b"sleep" || directory.arguments().is_none() {
        assert!(std::time::Instant::now() < deadline, "the child did not exec");
        std::thread::yield_now();
    }
    let mut table = ProcessTable::new(DEFAULT_CAPACITY);
    assert_eq!(table.resolve(&identity).unwrap().command_line, None);
    let after = table.resolve(&Identity { exec_id: 2, ..event_of(child.id(), 2, "sleep") }).unwrap();
    assert_eq!(after.command_line.as_deref(), Some("sleep 1000"));
    child.kill().unwrap();
    child.wait().unwrap();
}
