//! Recorded stories: kernel events of some hours, taken through the same stages as live ones.

pub mod busy;
pub mod rhythms;
pub mod stage;
pub mod story;
pub mod xperia;
