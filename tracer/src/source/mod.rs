//! Where events come from: the kernel's ring buffer, decoded with checks.

pub mod decode;
