//! Directories and files of a test's own, and the fixtures, which are part of the test binary: in a guest there is no
//! source tree.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// A directory that is removed with the value.
pub struct TempDir {
    path: PathBuf,
}

impl TempDir {
    #[must_use]
    pub fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("tracer-test-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&path).expect("a temporary directory can be made");
        Self { path }
    }

    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes a file, with its directories, in one go: nobody sees half of it.
    pub fn write(&self, name: &str, content: &[u8]) -> PathBuf {
        let path = self.path.join(name);
        let directory = path.parent().expect("a file has a directory");
        std::fs::create_dir_all(directory).expect("a directory can be made");
        let draft = path.with_extension("draft");
        std::fs::write(&draft, content).expect("a file can be written");
        std::fs::rename(&draft, &path).expect("a file can be renamed");
        path
    }
}

impl Default for TempDir {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.path);
    }
}

/// Files that the tests hand to the tracer.
pub mod fixture {
    /// Package lists as Android 9 and 15 write them (tests/golden/android).
    pub const PACKAGES_LIST_9: &[u8] = include_bytes!("../golden/android/9/data/system/packages.list");
    pub const PACKAGES_XML_9: &[u8] = include_bytes!("../golden/android/9/data/system/packages.xml");
    pub const PACKAGES_LIST_15: &[u8] = include_bytes!("../golden/android/15/data/system/packages.list");
    pub const PACKAGES_XML_15: &[u8] = include_bytes!("../golden/android/15/data/system/packages.xml");
    /// 192.0.2.0/24 US AS64496, 198.51.100.0/24 SE AS64500, 203.0.113.0/24 and 2001:db8::/33 CN AS38365.
    pub const GEO: &[u8] = include_bytes!("../golden/mmdb/made/documentation.mmdb");
    /// Other answers for some of these.
    pub const OTHER_GEO: &[u8] = include_bytes!("../golden/mmdb/made/nested-country.mmdb");
    /// A file that no reader can use.
    pub const BAD_GEO: &[u8] = include_bytes!("../golden/mmdb/bad/libmaxminddb-metadata-marker-only.mmdb");

    /// The phone of tests/scenarios/xperia-2014, and what its addresses are: 203.0.113.0/24 CN AS38365 of Baidu,
    /// 198.51.100.0/24 US AS15169, 192.0.2.0/24 SE.
    pub const XPERIA_GEO: &[u8] = include_bytes!("../golden/mmdb/made/xperia.mmdb");
    const XPERIA_LIST: &[u8] = include_bytes!("../scenarios/xperia-2014/data/system/packages.list");
    const XPERIA_XML: &[u8] = include_bytes!("../scenarios/xperia-2014/data/system/packages.xml");

    /// Writes the package files of the phone of tests/scenarios/xperia-2014 below `directory`.
    pub fn xperia(directory: &super::TempDir) {
        directory.write("data/system/packages.list", XPERIA_LIST);
        directory.write("data/system/packages.xml", XPERIA_XML);
        for user in ["data/user/0", "data/user_de/0"] {
            std::fs::create_dir_all(directory.path().join(user)).expect("a directory can be made");
        }
    }

    /// Writes Android 15's package files below `directory`, as `--android-root` wants them.
    pub fn android_15(directory: &super::TempDir) {
        directory.write("data/system/packages.list", PACKAGES_LIST_15);
        directory.write("data/system/packages.xml", PACKAGES_XML_15);
        for user in ["data/user/0", "data/user/10", "data/user_de/0", "data/user_de/10"] {
            std::fs::create_dir_all(directory.path().join(user)).expect("a directory can be made");
        }
    }
}
