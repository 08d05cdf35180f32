//! What must hold for every parser of foreign bytes, whatever the bytes are: it neither panics nor hangs nor keeps memory,
//! says the same of the same bytes, and what comes out has the form that the rest of the tracer relies on.
//!
//! libFuzzer looks for bytes for which it does not (`cargo xtask fuzz`, the programs in `targets/`); a test here tries the
//! seeds in `corpus/`.

pub mod apps;
pub mod beats;
pub mod dns;
pub mod event;
pub mod expectations;
mod files;
pub mod first_bytes;
pub mod geo;
pub mod http;
mod input;
pub mod memory;
pub mod quic;
pub mod replay;
pub mod resolver;
mod seal;
pub mod tls;

/// A name that a parser tells is one that [`tracer::names::host_name`] lets pass as it is.
fn assert_host_name(name: &str) {
    assert_eq!(
        tracer::names::host_name(name).as_deref(),
        Some(name),
        "no host name, or not in its final form"
    );
}

#[cfg(test)]
mod tests;
