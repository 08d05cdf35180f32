//! Keeps the process small after start, and tells how small.

use std::ops::Range;

use libc::{c_int, c_void, dl_phdr_info, size_t};

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

/// Gives back the pages of the program's file that were touched so far: its code and its constants. Most of them were needed to
/// start only, and the kernel maps 64 KiB around each. Those that are touched again are mapped again, from the page cache.
pub fn give_back_program() {
    read_only_segments().into_iter().for_each(give_back_pages);
}

/// As [`give_back_program`], of one constant that is embedded in the program. Anything else stays as it is.
pub fn give_back(constant: &'static [u8]) {
    let Range { start, end } = constant.as_ptr_range();
    let (start, end) = (start.addr(), end.addr());
    if read_only_segments().iter().any(|segment| segment.start <= start && end <= segment.end) {
        give_back_pages(start..end);
    }
}

/// Only of [`read_only_segments`].
fn give_back_pages(range: Range<usize>) {
    let page = rustix::param::page_size();
    let start = range.start.next_multiple_of(page);
    let end = range.end - range.end % page;
    if start < end {
        // SAFETY: these pages are a private mapping of this program's file that nobody can have written to: what is read there
        // next comes from the file, and is the same. That it fails is no matter, they stay then.
        let _ = unsafe {
            libc::madvise(std::ptr::with_exposed_provenance_mut(start), end - start, libc::MADV_DONTNEED)
        };
    }
}

/// Where the parts of this program are that are mapped from its file and cannot be written to: not even by the dynamic linker, as
/// the constants with addresses in them are.
fn read_only_segments() -> Vec<Range<usize>> {
    let mut found: Vec<Range<usize>> = Vec::new();
    // SAFETY: `note_segments` takes the pointer for what it is, and is done with it when this call returns.
    unsafe { libc::dl_iterate_phdr(Some(note_segments), (&raw mut found).cast()) };
    found
}

/// Called with the program itself first (dl_iterate_phdr(3)), and, because of what it returns, with nothing else.
extern "C" fn note_segments(info: *mut dl_phdr_info, _: size_t, found: *mut c_void) -> c_int {
    // SAFETY: the C library hands over a header that is valid during this call, and what `read_only_segments` gave it.
    let (info, found) = unsafe { (&*info, &mut *found.cast::<Vec<Range<usize>>>()) };
    if !info.dlpi_phdr.is_null() {
        // SAFETY: there are so many, and they stay where they are as long as the program runs.
        let headers = unsafe { std::slice::from_raw_parts(info.dlpi_phdr, info.dlpi_phnum.into()) };
        for header in headers {
            let is_read_only = header.p_type == libc::PT_LOAD && header.p_flags & libc::PF_W == 0;
            let start = usize::try_from(info.dlpi_addr.wrapping_add(header.p_vaddr)).ok();
            // Beyond the bytes of the file there is nothing to read again.
            let bytes = usize::try_from(header.p_filesz).ok();
            if let (true, Some((start, bytes))) = (is_read_only, start.zip(bytes)) {
                found.push(start..start.saturating_add(bytes));
            }
        }
    }
    1
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
    static CONSTANT: [u8; 1 << 18] = {
        let mut bytes = [0; 1 << 18];
        let mut at = 0;
        while at < bytes.len() {
            bytes[at] = (at % 251) as u8;
            at += 1;
        }
        bytes
    };

    #[test]
    fn what_was_given_back_is_read_as_it_was() {
        for _ in 0..3 {
            assert!(CONSTANT.iter().enumerate().all(|(at, byte)| usize::from(*byte) == at % 251));
            give_back(&CONSTANT);
            give_back_program();
        }
    }

    #[test]
    fn what_can_be_written_to_stays() {
        static WORDS: [&str; 2] = ["a constant", "with addresses in it"];
        let heap: &'static [u8] = Box::leak(vec![7; 1 << 20].into_boxed_slice());
        give_back(heap);
        assert!(heap.iter().all(|byte| *byte == 7));
        let segments = read_only_segments();
        let holds = |at: usize| segments.iter().any(|segment| segment.contains(&at));
        assert!(holds(CONSTANT.as_ptr().addr()) && holds(what_can_be_written_to_stays as fn() as usize));
        assert!(!holds(WORDS.as_ptr().addr()) && !holds(heap.as_ptr().addr()));
    }
}
