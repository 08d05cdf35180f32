//! What a process hands over to a call that sends or receives, `struct msghdr`.

use crate::identity::read;
use crate::maps::config;

/// Parts of a message that are looked at: some libraries hand over headers and bodies apart.
pub const PARTS: u64 = 4;
/// `ITER_IOVEC` before 5.14, when the lowest bit of the type said which way the data goes.
const ITER_IOVEC_WITH_DIRECTION: u32 = 4;

/// The memory of a process that a call sends from, or receives into.
#[derive(Clone, Copy)]
pub struct Parts {
    /// Address of the only part, or of the list of parts.
    at: u64,
    /// Bytes of the first part that are done with.
    skip: u64,
    /// Of the only part.
    length: u64,
    parts: u64,
    is_list: bool,
}

impl Parts {
    /// Of the `struct msghdr` at this address.
    #[inline(always)]
    pub fn of(message: u64) -> Self {
        let iter = message + u64::from(config!(offsets.msg_iter));
        let mut kind = u32::from(read::<u8>(iter, config!(offsets.iter_kind)).value);
        if config!(offsets.iter_iovec) == ITER_IOVEC_WITH_DIRECTION {
            kind &= !1;
        }
        let is_list = kind == config!(offsets.iter_iovec);
        let is_one = kind == config!(offsets.iter_ubuf);
        let parts =
            if is_list { read::<u64>(iter, config!(offsets.iter_segments)).value } else { u64::from(is_one) };
        Self {
            at: read::<u64>(iter, config!(offsets.iter_iov)).value,
            skip: read::<u64>(iter, config!(offsets.iter_offset)).value,
            length: read::<u64>(iter, config!(offsets.iter_count)).value,
            parts,
            is_list,
        }
    }

    /// Address and length of a part.
    #[inline(always)]
    pub fn get(&self, index: u64) -> Option<(u64, u64)> {
        if index >= self.parts {
            return None;
        }
        if !self.is_list {
            return Some((self.at + self.skip, self.length));
        }
        // struct iovec { void *base; size_t length; }
        let [base, length] = read::<[u64; 2]>(self.at + index * 16, 0).value;
        let skip = if index == 0 { self.skip } else { 0 };
        Some((base + skip, length.saturating_sub(skip)))
    }
}
