//! Boots a guest in QEMU and watches its serial console.
//!
//! In: kernel, initramfs. Out: the counts of the result lines the guest printed. The guest's lines go to stdout as they
//! come. A guest that hangs, panics or stalls is ended. One that never came up is started once more, because emulated
//! kernels sometimes hang in early boot; so is one that died of the emulator.

use std::{
    io::{BufRead as _, BufReader, Read},
    path::PathBuf,
    process::{Child, Command, ExitStatus, Stdio},
    sync::mpsc::{self, Receiver, RecvTimeoutError},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

use crate::{
    arch::Arch,
    counts::{Counter, Counts},
    shell,
};

/// Prefix of the lines that the guest's init prints about itself (tests/src/bin/init.rs): first `up`, last `exit CODE`.
const INIT_PREFIX: &str = "tracer-guest: ";
/// Longest time from start to init's first line. A boot takes 3 to 15 s under emulation; the rest is for a busy machine.
const BOOT: Duration = Duration::from_secs(120);
/// How long a guest may take to power off after its last line.
const POWER_OFF: Duration = Duration::from_secs(20);
/// What a kernel prints when nothing more will come of it.
const FATAL: [&str; 5] = [
    "Kernel panic - not syncing",
    "rcu: INFO: rcu_",
    "detected stalls on CPUs",
    "watchdog: BUG: soft lockup",
    "Internal error: Oops",
];

/// What a kernel prints that ran into a breakpoint it did not know of. While a kernel rewrites its own code (a
/// tracepoint is switched on), a breakpoint stands there for other processors; an emulated one may still run the code
/// with the breakpoint when the kernel has long taken it out and forgotten it. No hardware does that, and no program that
/// the verifier let pass can bring it about.
const STALE_BREAKPOINT: &str = "int3: 0000 [";

/// A guest to be booted.
pub struct Guest {
    /// Stands before each of its lines: guests may run beside each other.
    pub name: String,
    pub arch: Arch,
    pub kernel: PathBuf,
    pub initramfs: PathBuf,
    /// Longest time from start to power-off.
    pub overall: Duration,
}

/// How a boot ended.
#[derive(Debug)]
enum End {
    /// Init printed its last line.
    Exit(i32),
    /// Nothing of init was seen; the reason.
    NeverUp(String),
    /// It came up and then went wrong; the reason.
    Broken(String),
    /// The emulator did what no processor does; the line that shows it.
    Emulator(String),
}

impl Guest {
    /// Boots the guest and counts what it ran; its lines are added to `console`. With `results` its output has libtest's result lines, otherwise the
    /// exit code alone counts as one check.
    ///
    /// # Errors
    /// When QEMU cannot be started or the guest does not come up twice.
    pub fn run(&self, results: bool, console: &mut Vec<String>) -> Result<Counts> {
        for attempt in 1..=2 {
            let mut counter = Counter::default();
            match self.boot(&mut counter, console)? {
                End::Exit(0) if results => return Ok(counter.finish(true)),
                End::Exit(0) => return Ok(Counts::PASSED),
                End::Exit(code) => {
                    shell::say(format!("the guest's command ended with {code}"));
                    return Ok(counter.finish(false));
                }
                End::Broken(why) => {
                    shell::say(format!("the guest broke: {why}"));
                    return Ok(counter.finish(false));
                }
                End::NeverUp(why) => {
                    shell::say(format!("the guest did not come up (attempt {attempt}): {why}"))
                }
                End::Emulator(why) => shell::say(format!(
                    "the emulator ran code that the kernel had replaced (attempt {attempt}): {why}"
                )),
            }
        }
        bail!(
            "the guest did not come up, or died of the emulator, twice; boot it by hand with: {}",
            self.command_line()
        )
    }

    /// The command that boots it, for a person.
    pub fn command_line(&self) -> String {
        shell::show(&self.command())
    }

    fn command(&self) -> Command {
        let mut command = Command::new(match self.arch {
            Arch::X86_64 => "qemu-system-x86_64",
            Arch::Aarch64 => "qemu-system-aarch64",
        });
        let console = match self.arch {
            Arch::X86_64 => {
                // With the default clock source 6.12 hangs in three of ten boots. QEMU 7.2 emulates cmpxchg16b on two
                // cores so that 6.12 dies of a double fault in every second boot (eight tried); without it, in none of
                // ten.
                command.args(["-cpu", "qemu64,-cx16"]);
                "console=ttyS0 clocksource=hpet"
            }
            Arch::Aarch64 => {
                command.args(["-machine", "virt", "-cpu", "neoverse-n1"]);
                "console=ttyAMA0"
            }
        };
        command
            .args(["-accel", "tcg,thread=multi", "-smp", "2", "-m", "1024"])
            .args(["-display", "none", "-no-reboot", "-nodefaults", "-serial", "stdio"])
            .arg("-kernel")
            .arg(&self.kernel)
            .arg("-initrd")
            .arg(&self.initramfs)
            // Warnings and worse stay visible; a panic ends the guest at once.
            .args(["-append", &format!("{console} panic=-1 loglevel=4")]);
        command
    }

    fn boot(&self, counter: &mut Counter, console: &mut Vec<String>) -> Result<End> {
        let mut command = self.command();
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        let shown = shell::show(&command);
        let child = command.spawn().with_context(|| format!("could not start {shown}"))?;
        let mut qemu = Qemu(child);
        let stdout = qemu.0.stdout.take().context("QEMU has no stdout")?;
        let lines = read_lines(stdout);
        let end = watch(&lines, counter, BOOT, self.overall, |line| {
            println!("[{}] {line}", self.name);
            console.push(line.to_owned());
        });
        if let End::Exit(_) = end
            && qemu.wait(POWER_OFF)?.is_none()
        {
            shell::say("the guest did not power off; QEMU was ended");
        }
        Ok(end)
    }
}

/// Reads a console in a thread of its own, line by line; bytes that are no UTF-8 are replaced, and what firmware and
/// kernel send to clear a screen is taken out, so that it reaches neither this terminal nor the comparison of lines.
fn read_lines(console: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let mut reader = BufReader::new(console);
        let mut bytes = Vec::new();
        while reader.read_until(b'\n', &mut bytes).is_ok_and(|read| read > 0) {
            let line = without_escapes(&String::from_utf8_lossy(&bytes));
            bytes.clear();
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    receiver
}

/// The text of a line without control characters and ANSI escape sequences (ECMA-48: ESC, `[`, parameters, a letter).
fn without_escapes(line: &str) -> String {
    let mut text = String::with_capacity(line.len());
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        if c == '\u{1b}' {
            if chars.next() == Some('[') {
                // The letter that ends the sequence goes with it.
                let _ = chars.by_ref().find(|c| ('@'..='~').contains(c));
            }
        } else if c == '\t' || !c.is_control() {
            text.push(c);
        }
    }
    text
}

/// Follows the console until the guest is done or given up.
fn watch(
    lines: &Receiver<String>,
    counter: &mut Counter,
    boot: Duration,
    overall: Duration,
    mut show: impl FnMut(&str),
) -> End {
    let begin = Instant::now();
    let mut up = false;
    let mut emulator = None;
    loop {
        let limit = if up { overall } else { boot };
        let why = match lines.recv_timeout(limit.saturating_sub(begin.elapsed())) {
            Ok(line) => {
                show(&line);
                if let Some(said) = line.strip_prefix(INIT_PREFIX) {
                    up = true;
                    if let Some(code) = said.strip_prefix("exit ").and_then(|code| code.parse().ok()) {
                        return End::Exit(code);
                    }
                }
                counter.line(&line);
                if line.contains(STALE_BREAKPOINT) {
                    emulator.get_or_insert(line.clone());
                }
                if !FATAL.iter().any(|sign| line.contains(sign)) {
                    continue;
                }
                // The lines that follow say where.
                while let Ok(line) = lines.recv_timeout(Duration::from_secs(2)) {
                    show(&line);
                }
                line
            }
            Err(RecvTimeoutError::Timeout) => format!("nothing after {}", shell::took(limit)),
            Err(RecvTimeoutError::Disconnected) => "QEMU ended".to_owned(),
        };
        return match emulator {
            Some(line) => End::Emulator(line),
            None if up => End::Broken(why),
            None => End::NeverUp(why),
        };
    }
}

/// The QEMU process; never outlives its watcher.
struct Qemu(Child);

impl Qemu {
    fn wait(&mut self, limit: Duration) -> Result<Option<ExitStatus>> {
        let begin = Instant::now();
        while begin.elapsed() < limit {
            if let Some(status) = self.0.try_wait().context("could not wait for QEMU")? {
                return Ok(Some(status));
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok(None)
    }
}

impl Drop for Qemu {
    fn drop(&mut self) {
        // Both fail only if it has ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    fn watched(console: &str) -> (End, Counts, Vec<String>) {
        let lines = read_lines(std::io::Cursor::new(console.to_owned().into_bytes()));
        let mut counter = Counter::default();
        let mut shown = Vec::new();
        let end = watch(&lines, &mut counter, LONG, LONG, |line| shown.push(line.to_owned()));
        let counts = counter.finish(matches!(end, End::Exit(0)));
        (end, counts, shown)
    }

    #[test]
    fn a_good_run_ends_with_its_code_and_counts() {
        let (end, counts, shown) = watched(
            "[    0.1] noise\r\ntracer-guest: up 6.1\r\n\
             test result: ok. 3 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 1s\r\n\
             tracer-guest: exit 0\r\nafterwards\r\n",
        );
        assert!(matches!(end, End::Exit(0)), "{end:?}");
        assert_eq!(counts, Counts { passed: 3, failed: 0, skipped: 0 });
        assert_eq!(shown[0], "[    0.1] noise");
    }

    #[test]
    fn firmware_that_clears_the_screen_does_not_hide_the_first_line() {
        let (end, _, shown) = watched("\u{1b}c\u{1b}[?7l\u{1b}[2J\u{1b}[0mtracer-guest: up\r\n");
        assert!(matches!(end, End::Broken(_)), "{end:?}");
        assert_eq!(shown, ["tracer-guest: up"]);
    }

    #[test]
    fn an_exit_without_results_is_not_taken_for_success() {
        let (_, counts, _) = watched("tracer-guest: up\ntracer-guest: exit 0\n");
        assert_eq!(counts, Counts::FAILED);
    }

    #[test]
    fn a_panic_before_init_is_worth_another_attempt() {
        let (end, _, shown) = watched("Kernel panic - not syncing: VFS\nwhere it was\n");
        assert!(matches!(end, End::NeverUp(ref why) if why.contains("VFS")), "{end:?}");
        assert!(shown.contains(&"where it was".to_owned()));
    }

    #[test]
    fn a_stall_after_init_is_a_failure() {
        let (end, counts, _) = watched("tracer-guest: up\nrcu: INFO: rcu_sched self-detected stall on CPU\n");
        assert!(matches!(end, End::Broken(_)), "{end:?}");
        assert_eq!(counts, Counts::FAILED);
    }

    #[test]
    fn a_breakpoint_that_the_kernel_does_not_know_is_the_emulators() {
        let (end, ..) = watched(
            "tracer-guest: up\ntest a ... [    7.5] Oops: int3: 0000 [#1] PREEMPT SMP NOPTI\n\
             [    7.6] Kernel panic - not syncing: Fatal exception in interrupt\n",
        );
        assert!(matches!(end, End::Emulator(ref why) if why.contains("int3")), "{end:?}");
    }

    #[test]
    fn a_guest_that_vanishes_is_a_failure() {
        let (end, _, _) = watched("tracer-guest: up\n");
        assert!(matches!(end, End::Broken(ref why) if why == "QEMU ended"), "{end:?}");
    }

    #[test]
    fn a_silent_guest_is_given_up_at_its_deadline() {
        let (_sender, lines) = mpsc::channel();
        let end = watch(&lines, &mut Counter::default(), Duration::from_millis(10), LONG, |_| ());
        assert!(matches!(end, End::NeverUp(_)), "{end:?}");
    }
}
