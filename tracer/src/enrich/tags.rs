//! On whose behalf a socket works: Android's netd keeps a tag and a uid for tagged sockets, by cookie.
//!
//! Flows in: socket cookies, and the pinned map of netd where there is one. Flows out: [`Tag`]s. The map is opened for
//! reading only and never changed; entries vanish when their socket is closed, so it is asked at the first record of a
//! connection.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Where netd pins `cookie_tag_map`, below the file system's root: Android 13 and later, then 10 to 12L
/// (packages/modules/Connectivity, bpf/include/bpf/netd.h; system/netd before that).
const PATHS: [&str; 2] =
    ["sys/fs/bpf/netd_shared/map_netd_cookie_tag_map", "sys/fs/bpf/map_netd_cookie_tag_map"];

/// `enum bpf_cmd` and flags, include/uapi/linux/bpf.h.
const BPF_MAP_LOOKUP_ELEM: libc::c_long = 1;
const BPF_OBJ_GET: libc::c_long = 7;
const BPF_OBJ_GET_INFO_BY_FD: libc::c_long = 15;
const BPF_F_RDONLY: u32 = 1 << 3;

/// Tags of the system, android.net.TrafficStats and android.net.TrafficStatsConstants.
const NAMES: [(u32, &str); 6] = [
    (0xffff_ff01, "download"),
    (0xffff_ff02, "media"),
    (0xffff_ff03, "backup"),
    (0xffff_ff04, "restore"),
    (0xffff_ff42, "probe"),
    (0xffff_ff82, "dns"),
];

/// What netd knows of a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Tag {
    /// Who is charged for the traffic.
    pub uid: u32,
    pub tag: u32,
}

impl Tag {
    /// The name of a system tag; others are numbers that an app chose, in hexadecimal.
    #[must_use]
    pub fn name(&self) -> String {
        let named = NAMES.iter().find(|(tag, _)| *tag == self.tag);
        named.map_or_else(|| format!("{:#x}", self.tag), |(_, name)| (*name).to_owned())
    }
}

/// netd's map.
#[derive(Debug)]
pub struct TagMap {
    fd: OwnedFd,
}

impl TagMap {
    /// Opens the map below `root`.
    ///
    /// # Errors
    /// Says why there is none.
    pub fn open(root: &Path) -> Result<Self, String> {
        let paths = PATHS.map(|path| root.join(path));
        let Some(path) = paths.iter().find(|path| path.exists()) else {
            return Err("netd has pinned no map here: only Android has one".to_owned());
        };
        Self::open_at(path).map_err(|error| format!("{}: {error}", path.display()))
    }

    fn open_at(path: &Path) -> io::Result<Self> {
        let path = CString::new(path.as_os_str().as_bytes())?;
        let mut get = ObjGet { path: path.as_ptr() as u64, fd: 0, flags: BPF_F_RDONLY };
        let fd = i32::try_from(bpf(BPF_OBJ_GET, &mut get)?).map_err(io::Error::other)?;
        // SAFETY: the kernel has just made this descriptor for us.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        let mut map = MapInfo::default();
        let mut info = InfoByFd {
            fd: fd.as_raw_fd().unsigned_abs(),
            length: u32::try_from(size_of::<MapInfo>()).map_err(io::Error::other)?,
            info: (&raw mut map) as u64,
        };
        bpf(BPF_OBJ_GET_INFO_BY_FD, &mut info)?;
        // A lookup writes as many bytes as the map's values have.
        if (map.key_size, map.value_size) != (8, 8) {
            let (key, value) = (map.key_size, map.value_size);
            return Err(io::Error::other(format!(
                "keys of {key} and values of {value} bytes instead of 8 and 8"
            )));
        }
        Ok(Self { fd })
    }

    /// What netd knows of the socket with this cookie.
    #[must_use]
    pub fn of(&self, cookie: u64) -> Option<Tag> {
        let mut words = [0u32; 2];
        let mut lookup = Lookup {
            fd: self.fd.as_raw_fd().unsigned_abs(),
            pad: 0,
            key: (&raw const cookie) as u64,
            value: (&raw mut words) as u64,
            flags: 0,
        };
        bpf(BPF_MAP_LOOKUP_ELEM, &mut lookup).ok()?;
        let [uid, tag] = words;
        Some(Tag { uid, tag })
    }
}

/// Parts of `union bpf_attr`, include/uapi/linux/bpf.h.
#[repr(C)]
struct ObjGet {
    path: u64,
    fd: u32,
    flags: u32,
}

#[repr(C)]
struct InfoByFd {
    fd: u32,
    length: u32,
    info: u64,
}

#[repr(C)]
struct Lookup {
    fd: u32,
    pad: u32,
    key: u64,
    value: u64,
    flags: u64,
}

/// Beginning of `struct bpf_map_info`.
#[repr(C)]
#[derive(Default)]
struct MapInfo {
    kind: u32,
    id: u32,
    key_size: u32,
    value_size: u32,
}

fn bpf<T>(command: libc::c_long, attributes: &mut T) -> io::Result<libc::c_long> {
    // SAFETY: `attributes` is a prefix of `union bpf_attr` for this command, as long as we say; what it points to is alive
    // and has the size that the command writes (checked for map values when the map is opened).
    let result =
        unsafe { libc::syscall(libc::SYS_bpf, command, std::ptr::from_mut(attributes), size_of::<T>()) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn system_tags_have_names_and_others_are_numbers() {
        assert_eq!(Tag { uid: 1, tag: 0xffff_ff01 }.name(), "download");
        assert_eq!(Tag { uid: 1, tag: 0x2a }.name(), "0x2a");
    }

    #[test]
    fn without_a_pinned_map_the_reason_is_told() {
        let reason = TagMap::open(Path::new("/nonexistent")).unwrap_err();
        assert!(reason.contains("netd"), "{reason}");
    }
}
