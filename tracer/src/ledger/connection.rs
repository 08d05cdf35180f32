//! Opening the file.

use std::fs::{self, File, OpenOptions};
use std::io::Read;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

use super::error::LedgerError;
use super::schema;

/// How long others may hold the file: a reader's checkpoint, an acknowledgement.
const BUSY: Duration = Duration::from_secs(5);
/// Pages of the write-ahead log after which it goes into the file: 1 MiB, a quarter of the usual, for small devices.
const CHECKPOINT_PAGES: i64 = 256;
/// KiB that SQLite may keep in memory of the file.
const CACHE_KIB: i64 = 512;
/// The first bytes of every database of SQLite.
const MAGIC: &[u8; 16] = b"SQLite format 3\0";

/// Whether a file is a database of SQLite, as ledgers are.
#[must_use]
pub fn is_ledger(path: &Path) -> bool {
    let mut start = [0; MAGIC.len()];
    path != Path::new("-")
        && path.is_file()
        && File::open(path).and_then(|mut file| file.read_exact(&mut start)).is_ok()
        && start == *MAGIC
}

/// Opens a ledger for writing; creates it, and brings an older one to today's form.
///
/// # Errors
/// A file that is no ledger, is of a newer form, or cannot be used.
pub fn open(path: &Path) -> Result<Connection, LedgerError> {
    create(path)?;
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection =
        Connection::open_with_flags(path, flags).map_err(LedgerError::sqlite(path, "opened"))?;
    let version = checked_version(&connection, path)?;
    let refused = LedgerError::sqlite(path, "set up");
    prepare(&connection).map_err(&refused)?;
    if version < schema::VERSION {
        schema::upgrade(&mut connection, version).map_err(LedgerError::sqlite(path, "upgraded"))?;
    }
    Ok(connection)
}

/// Opens a ledger for reading only, while a tracer may be writing it.
///
/// # Errors
/// As of [`open`].
pub fn read_only(path: &Path) -> Result<Connection, LedgerError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let refused = LedgerError::sqlite(path, "opened");
    fs::metadata(path).map_err(LedgerError::io(path, "opened"))?;
    let connection = Connection::open_with_flags(path, flags).map_err(&refused)?;
    connection.busy_timeout(BUSY).map_err(&refused)?;
    let version = checked_version(&connection, path)?;
    if version == 0 {
        return Err(LedgerError::Foreign(path.to_owned()));
    }
    Ok(connection)
}

/// Makes the directory of a ledger, if need be.
///
/// # Errors
/// When it cannot be made.
pub fn make_directory(path: &Path) -> Result<(), LedgerError> {
    match path.parent().filter(|directory| !directory.as_os_str().is_empty()) {
        Some(directory) => fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(directory)
            .map_err(LedgerError::io(path, "created")),
        None => Ok(()),
    }
}

/// With the rights of its owner only: it says who talked to whom.
fn create(path: &Path) -> Result<(), LedgerError> {
    let refused = LedgerError::io(path, "created");
    make_directory(path)?;
    match OpenOptions::new().create_new(true).write(true).mode(0o600).open(path) {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => Err(refused(error)),
        _ => Ok(()),
    }
}

/// Number of the form; 0: nothing is in it yet.
fn checked_version(connection: &Connection, path: &Path) -> Result<i64, LedgerError> {
    let refused = LedgerError::sqlite(path, "read");
    connection.busy_timeout(BUSY).map_err(&refused)?;
    let pragma = |name: &str| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    let (application, version) =
        (pragma("application_id").map_err(&refused)?, pragma("user_version").map_err(&refused)?);
    let tables: i64 =
        connection.query_row("SELECT count(*) FROM sqlite_master", [], |row| row.get(0)).map_err(&refused)?;
    if tables == 0 {
        return Ok(0);
    }
    if application != schema::APPLICATION {
        return Err(LedgerError::Foreign(path.to_owned()));
    }
    if version > schema::VERSION {
        return Err(LedgerError::Newer { path: path.to_owned(), found: version, known: schema::VERSION });
    }
    Ok(version)
}

fn prepare(connection: &Connection) -> rusqlite::Result<()> {
    // Before anything is written: it cannot be changed later.
    connection.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
    // Answers with the mode that it got; where the file system has no shared memory, the older one does, too.
    connection.query_row("PRAGMA journal_mode = WAL", [], |_| Ok(()))?;
    // A transaction survives the end of the process; losing power may cost the last ones, and damages nothing.
    connection.pragma_update(None, "synchronous", "NORMAL")?;
    connection.pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES)?;
    connection.pragma_update(None, "journal_size_limit", CHECKPOINT_PAGES * 4096)?;
    connection.pragma_update(None, "cache_size", -CACHE_KIB)?;
    connection.pragma_update(None, "temp_store", "MEMORY")
}
