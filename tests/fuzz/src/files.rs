//! Inputs as files, for parsers that open them themselves.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// A directory that is removed with the value.
pub struct Directory(PathBuf);

impl Directory {
    /// In memory where that is possible: there are thousands a second. `None` if it cannot be made.
    pub fn new() -> Option<Self> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let shared_memory = Path::new("/dev/shm");
        let parent = if shared_memory.is_dir() { shared_memory.to_owned() } else { std::env::temp_dir() };
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = parent.join(format!("tracer-fuzz-{}-{number}", std::process::id()));
        fs::create_dir(&path).ok()?;
        Some(Self(path))
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Writes a file, with its directories.
    pub fn write(&self, name: &str, bytes: &[u8]) -> Option<PathBuf> {
        let path = self.0.join(name);
        fs::create_dir_all(path.parent()?).ok()?;
        fs::write(&path, bytes).ok()?;
        Some(path)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
