//! Event layouts, configuration and counters shared by kernel and user side.
//!
//! Rules (docs/decisions/0002-abi.md): fixed-width integers and byte arrays only, explicit padding, little-endian
//! (every target is), one address form (16 bytes, IPv4 as v4-mapped), kinds are never reused, and user space reads
//! by length and kind with checked reads, never by transmuting.

mod calibrate;
mod config;
mod counters;
mod event;
mod names;
pub mod tcp_state;
mod udp;

pub use calibrate::*;
pub use config::*;
pub use counters::*;
pub use event::*;
pub use names::*;
pub use udp::*;

/// Version of these layouts. Changes whenever a layout changes; both sides are built together, so a mismatch means
/// that a foreign object was loaded.
pub const ABI_VERSION: u16 = 3;

/// Asserts the size of a struct and the offset of each named field at compile time.
macro_rules! pin_layout {
    ($type:ty, $size:expr, { $($field:ident : $offset:expr),* $(,)? }) => {
        const _: () = {
            assert!(core::mem::size_of::<$type>() == $size);
            assert!(core::mem::align_of::<$type>() <= 8);
            $(assert!(core::mem::offset_of!($type, $field) == $offset);)*
        };
    };
}
pub(crate) use pin_layout;
