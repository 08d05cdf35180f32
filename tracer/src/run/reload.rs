//! Reads data files again when they change, without holding up the stream.
//!
//! inotify tells of changes (no timer, no polling); files are read and checked on a thread of their own; the finished
//! tables are swapped in between two events. A file that became bad is refused with its reason, and what was known
//! stays.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::inotify::{self, CreateFlags, Reader, WatchFlags};
use tokio::io::unix::AsyncFd;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};

use crate::clock::Timestamp;
use crate::config::Config;
use crate::enrich::Enricher;
use crate::enrich::app::{self, AppTable};
use crate::enrich::geo::{Database, GeoError, load_file};

/// Changes come in swarms (write, rename, chown): wait until the swarm is over.
const SETTLE: Duration = Duration::from_millis(200);

/// Where the data files are.
#[derive(Clone, Debug)]
pub struct Paths {
    pub android_root: PathBuf,
    /// `--android-root` was given.
    pub explicit: bool,
    pub geo: Vec<PathBuf>,
}

impl Paths {
    /// The files of this configuration.
    #[must_use]
    pub fn of(config: &Config) -> Self {
        Self {
            android_root: config.android_root.clone(),
            explicit: config.android_root_given,
            geo: config.geo.clone(),
        }
    }
}

/// What is to be read again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Wanted {
    apps: bool,
    geo: bool,
}

/// What was read again.
pub struct Reloaded {
    apps: Option<(AppTable, Vec<String>)>,
    geo: Vec<Result<Database, GeoError>>,
}

impl Reloaded {
    /// Swaps the tables in; returns the warnings. What could not be read stays as it was.
    pub fn apply(self, enricher: &mut Enricher, now: Timestamp) -> Vec<String> {
        let mut warnings = Vec::new();
        let reads_geo = !self.geo.is_empty();
        for file in self.geo {
            match file {
                Ok(database) => {
                    enricher.geo.replace(database);
                }
                Err(error) => warnings.push(format!("{error}; the old data stays in use")),
            }
        }
        if reads_geo {
            warnings.extend(enricher.geo.age_warnings(now));
        }
        if let Some((apps, more)) = self.apps {
            enricher.apps = apps;
            warnings.extend(more);
        }
        warnings
    }
}

pub struct Reloader {
    paths: Paths,
    watcher: Option<Watcher>,
    wanted: Wanted,
    due: Option<Instant>,
    task: Option<JoinHandle<Reloaded>>,
}

impl Reloader {
    /// Starts watching. Where that is not possible (no inotify left), SIGHUP still works.
    pub fn new(paths: Paths) -> Self {
        let watcher = Watcher::new(&paths).ok();
        Self { paths, watcher, wanted: Wanted::default(), due: None, task: None }
    }

    /// Everything is to be read again now (SIGHUP).
    pub fn request_all(&mut self) {
        self.wanted = Wanted { apps: true, geo: true };
        self.due = Some(Instant::now());
    }

    /// Waits until something was read again. May be dropped at any time without losing anything.
    pub async fn next(&mut self) -> Reloaded {
        loop {
            let due = self.due.filter(|_| self.task.is_none());
            tokio::select! {
                done = finished(&mut self.task) => {
                    self.task = None;
                    if let Some(reloaded) = done {
                        return reloaded;
                    }
                }
                () = due_time(due) => self.begin(),
                changed = changes(&mut self.watcher, &self.paths) => {
                    self.wanted.apps |= changed.apps;
                    self.wanted.geo |= changed.geo;
                    if changed != Wanted::default() {
                        self.due = Some(Instant::now() + SETTLE);
                    }
                }
            }
        }
    }

    fn begin(&mut self) {
        let wanted = std::mem::take(&mut self.wanted);
        self.due = None;
        let paths = self.paths.clone();
        self.task = Some(tokio::task::spawn_blocking(move || read_again(&paths, wanted)));
    }
}

fn read_again(paths: &Paths, wanted: Wanted) -> Reloaded {
    let files = if wanted.geo { paths.geo.as_slice() } else { &[] };
    Reloaded {
        apps: wanted.apps.then(|| AppTable::load(&paths.android_root, paths.explicit)),
        geo: files.iter().map(|path| load_file(path)).collect(),
    }
}

async fn finished(task: &mut Option<JoinHandle<Reloaded>>) -> Option<Reloaded> {
    match task {
        Some(task) => task.await.ok(),
        None => std::future::pending().await,
    }
}

async fn due_time(due: Option<Instant>) {
    match due {
        Some(due) => sleep_until(due).await,
        None => std::future::pending().await,
    }
}

async fn changes(watcher: &mut Option<Watcher>, paths: &Paths) -> Wanted {
    match watcher {
        Some(watcher) => watcher.next(paths).await,
        None => std::future::pending().await,
    }
}

/// inotify on the directories of the files: most are replaced by rename, which a watch on the file would miss.
struct Watcher {
    fd: AsyncFd<OwnedFd>,
}

impl Watcher {
    fn new(paths: &Paths) -> io::Result<Self> {
        let fd = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
        let files = app::watch_paths(&paths.android_root).into_iter().chain(paths.geo.iter().cloned());
        let directories: BTreeSet<PathBuf> = files.map(|file| directory(&file)).collect();
        for directory in directories {
            let flags = WatchFlags::CLOSE_WRITE | WatchFlags::MOVED_TO | WatchFlags::DELETE;
            // A directory that does not exist has nothing to watch; it is looked at again on SIGHUP.
            let _ = inotify::add_watch(&fd, &directory, flags);
        }
        Ok(Self { fd: super::readable(fd)? })
    }

    /// Waits for changes; tells which of our files they concern (possibly none).
    async fn next(&mut self, paths: &Paths) -> Wanted {
        let Ok(mut guard) = self.fd.readable().await else { return std::future::pending().await };
        let mut wanted = Wanted::default();
        let mut buffer = [MaybeUninit::uninit(); 4096];
        let mut reader = Reader::new(guard.get_inner(), &mut buffer);
        loop {
            match reader.next() {
                Ok(event) => {
                    let name = event.file_name().map(|name| OsStr::from_bytes(name.to_bytes()));
                    let is = |path: &Path| path.file_name() == name;
                    wanted.apps |= app::watch_paths(&paths.android_root).iter().any(|path| is(path));
                    wanted.geo |= paths.geo.iter().any(|path| is(path));
                }
                Err(rustix::io::Errno::INTR) => {}
                Err(_) => break,
            }
        }
        guard.clear_ready();
        wanted
    }
}

fn directory(file: &Path) -> PathBuf {
    match file.parent() {
        Some(parent) if parent != Path::new("") => parent.to_owned(),
        _ => PathBuf::from("."),
    }
}
