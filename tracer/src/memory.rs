//! Keeps the process small after start, and tells how small.

use std::ops::Range;
use std::sync::OnceLock;

/// Blocks of at least this size go back to the system when they are freed.
#[cfg(target_env = "gnu")]
const LARGE_BLOCK: libc::c_int = 128 << 10;

/// Makes the allocator return large blocks to the system as soon as they are freed.
///
/// Reading the kernel's BTF (5–10 MiB) and a package list makes glibc raise its threshold for `mmap` to that size
/// (mallopt(3), "dynamic mmap threshold"), so that the heap keeps 14 MB for good. Measured: 24 MB resident without this
/// call, 10 MB with it. Other allocators have no such threshold.
pub fn return_large_blocks() {
    #[cfg(target_env = "gnu")]
    // SAFETY: mallopt only sets a number in the allocator; no other thread runs yet.
    let _ = unsafe { libc::mallopt(libc::M_MMAP_THRESHOLD, LARGE_BLOCK) };
}

/// Gives back what was freed and stands between blocks that are in use. It takes long where there is much of it, and the allocator
/// keeps other threads waiting meanwhile.
pub fn give_back_free() {
    #[cfg(target_env = "gnu")]
    // SAFETY: malloc_trim takes whatever it is given, from any thread, and no block that is in use changes.
    let _ = unsafe { libc::malloc_trim(0) };
}

/// Gives back the pages of files that were touched so far: code and constants of the program and its libraries. Most of them were
/// needed to start only, and the kernel maps at least 64 KiB around each. Those that are touched again are mapped again, from the
/// page cache.
pub fn give_back_files() {
    unwritten_files().iter().cloned().for_each(give_back_pages);
}

/// As [`give_back_files`], of one constant that is embedded in the program. Anything else stays as it is.
pub fn give_back(constant: &'static [u8]) {
    let Range { start, end } = constant.as_ptr_range();
    let (start, end) = (start.addr(), end.addr());
    if unwritten_files().iter().any(|file| file.start <= start && end <= file.end) {
        give_back_pages(start..end);
    }
}

/// Only of [`unwritten_files`].
fn give_back_pages(range: Range<usize>) {
    let page = rustix::param::page_size();
    let start = range.start.next_multiple_of(page);
    let end = range.end - range.end % page;
    if start < end {
        // SAFETY: these pages are a private mapping of a file that can be read only, and none of them was written to, else it would
        // be anonymous or swapped: what is read there next comes from the file, and is the same. That it fails is no matter, they
        // stay then.
        let _ = unsafe {
            libc::madvise(std::ptr::with_exposed_provenance_mut(start), end - start, libc::MADV_DONTNEED)
        };
    }
}

/// Where files are mapped that nobody has written to: not the dynamic linker, which puts addresses into constants, nor a debugger.
/// Looked at once, when the program has started: what is mapped then stays.
fn unwritten_files() -> &'static [Range<usize>] {
    static FOUND: OnceLock<Vec<Range<usize>>> = OnceLock::new();
    FOUND.get_or_init(|| unwritten(&std::fs::read_to_string("/proc/self/smaps").unwrap_or_default()))
}

/// From the text of `/proc/self/smaps` (proc_pid_smaps(5)).
fn unwritten(smaps: &str) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let mut is_last_found = false;
    for line in smaps.lines() {
        let mut words = line.split_ascii_whitespace();
        match (words.next(), words.next()) {
            (Some("Anonymous:" | "Swap:"), Some(kib)) if kib != "0" => {
                found.truncate(found.len() - usize::from(std::mem::take(&mut is_last_found)));
            }
            (Some(range), Some(rights)) if !range.ends_with(':') => {
                let is_file = words.nth(2).is_some_and(|inode| inode != "0");
                let range = addresses(range).filter(|_| is_file && matches!(rights, "r--p" | "r-xp"));
                is_last_found = range.is_some();
                found.extend(range);
            }
            _ => {}
        }
    }
    found
}

fn addresses(range: &str) -> Option<Range<usize>> {
    let (start, end) = range.split_once('-')?;
    Some(usize::from_str_radix(start, 16).ok()?..usize::from_str_radix(end, 16).ok()?)
}

/// Resident memory of this process, KiB: `VmRSS` of `/proc/self/status` (proc_pid_status(5)).
#[must_use]
pub fn resident_kib() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix("kB")?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Several pages of any granularity.
    static CONSTANT: [u8; 1 << 18] = [7; 1 << 18];

    #[test]
    fn what_was_given_back_is_read_as_it_was() {
        for _ in 0..3 {
            assert!(CONSTANT.iter().all(|byte| *byte == 7));
            give_back(&CONSTANT);
            give_back_files();
            give_back_free();
        }
    }

    #[test]
    fn what_was_written_to_stays() {
        static WORDS: [&str; 2] = ["a constant", "with addresses in it"];
        let heap: &'static [u8] = Box::leak(vec![7; 1 << 20].into_boxed_slice());
        give_back(heap);
        assert!(heap.iter().all(|byte| *byte == 7));
        let holds = |at: usize| unwritten_files().iter().any(|file| file.contains(&at));
        assert!(holds(CONSTANT.as_ptr().addr()));
        assert!(!holds(WORDS.as_ptr().addr()) && !holds(heap.as_ptr().addr()));
    }

    #[test]
    fn only_files_that_nobody_wrote_to_are_taken() {
        let map = |rights: &str, inode: u32, anonymous: u32, swap: u32| {
            let figures =
                format!("Rss: 64 kB\nAnonymous: {anonymous} kB\nSwap: {swap} kB\nVmFlags: rd ex mr");
            unwritten(&format!("1000-3000 {rights} 00001000 fe:00 {inode} /a b\n{figures}\n")).pop()
        };
        assert_eq!(map("r--p", 7, 0, 0), Some(0x1000..0x3000));
        assert_eq!(map("r-xp", 7, 0, 0), Some(0x1000..0x3000));
        assert_eq!(map("r--p", 7, 4, 0), None, "relocated");
        assert_eq!(map("r--p", 7, 0, 4), None, "relocated, and swapped out");
        assert_eq!(map("r-xp", 0, 0, 0), None, "no file");
        for rights in ["rw-p", "r--s", "---p"] {
            assert_eq!(map(rights, 7, 0, 0), None, "{rights}");
        }
        let two =
            "1000-3000 r--p 0 fe:00 7 /a\nAnonymous: 0 kB\n3000-4000 rw-p 0 fe:00 7 /a\nAnonymous: 8 kB\n";
        assert_eq!((unwritten(two).len(), unwritten(two).pop()), (1, Some(0x1000..0x3000)));
    }
}
