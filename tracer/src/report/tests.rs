//! Reports from plain values.
