//! A report that a person would rather look at than read: what was noticed, in words, and what it rests on.
//!
//! ```text
//!  captures ─▶ replay ─▶ Judge (book, findings) ─┐
//!                └─ looks on ─▶ collect, streams ─┼─▶ build, stories ─▶ Material ─▶ html or markdown
//!  ledger ──▶ book, findings, days ──────────────┘
//! ```
//! [`material`] is the seam: plain data, made by [`build`] from a capture or from a ledger, and written out by [`html`] and
//! [`markdown`]. Only [`command`] does I/O. Everything that is text comes from records, and is escaped by whoever writes it out.

pub mod build;
pub mod collect;
mod command;
pub mod facts;
pub mod html;
pub mod lanes;
pub mod markdown;
pub mod material;
mod overview;
pub mod stories;
pub mod streams;
pub mod words;
pub mod worldmap;

#[cfg(test)]
mod tests;

pub use command::report;
