//! What can go wrong with a ledger.

use std::path::PathBuf;

use thiserror::Error;

/// Why a ledger cannot be used.
#[derive(Debug, Error)]
pub enum LedgerError {
    #[error("the ledger {} is written by another tracer now; end that one, or give this one another --ledger FILE or --no-ledger", .0.display())]
    InUse(PathBuf),
    #[error("{} is a database of another program, not a ledger; give another --ledger FILE", .0.display())]
    Foreign(PathBuf),
    #[error("the ledger {} is of a newer tracer (its form is {found}, this one knows {known}); use that one, or another --ledger FILE", path.display())]
    Newer { path: PathBuf, found: i64, known: i64 },
    #[error("the ledger {} could not be {what}: {source}", path.display())]
    Sqlite { path: PathBuf, what: &'static str, source: rusqlite::Error },
    #[error("the ledger {} could not be {what}: {source}", path.display())]
    Io { path: PathBuf, what: &'static str, source: std::io::Error },
}

impl LedgerError {
    pub(super) fn sqlite(path: &std::path::Path, what: &'static str) -> impl Fn(rusqlite::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Sqlite { path: path.clone(), what, source }
    }

    pub(super) fn io(path: &std::path::Path, what: &'static str) -> impl Fn(std::io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { path: path.clone(), what, source }
    }
}
