//! The bpf(2) calls that the tests need to look at the kernel's side from outside the tracer: which programs are
//! attached, and a foreign program that must survive.

use std::ffi::CString;
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Once;

use anyhow::{Context, Result};
use rustix::process::{Resource, Rlimit, setrlimit};

/// `enum bpf_cmd`, `enum bpf_prog_type` and `enum bpf_attach_type` of include/uapi/linux/bpf.h.
const MAP_CREATE: i32 = 0;
const MAP_UPDATE_ELEM: i32 = 2;
const PROG_LOAD: i32 = 5;
const OBJ_PIN: i32 = 6;
const PROG_QUERY: i32 = 16;
const LINK_CREATE: i32 = 28;
const PROG_GET_FD_BY_ID: i32 = 13;
const OBJ_GET_INFO_BY_FD: i32 = 15;
const MAP_TYPE_HASH: u32 = 1;
const PROG_TYPE_SOCK_OPS: u32 = 13;
pub const CGROUP_SOCK_OPS: u32 = 3;

/// `union bpf_attr`, as words; unused ones are zero.
pub(crate) type Attributes = [u32; 32];

pub(crate) fn bpf(command: i32, attributes: &mut Attributes) -> io::Result<i64> {
    lock_any_memory();
    // SAFETY: the kernel reads and writes at most size_of_val(attributes) bytes there; pointers inside were made by the
    // callers from memory that outlives the call.
    let result =
        unsafe { libc::syscall(libc::SYS_bpf, command, attributes.as_mut_ptr(), size_of::<Attributes>()) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// Before 5.11 maps and programs count as locked memory of their user, and those of a tracer that has just ended may still be
/// there.
fn lock_any_memory() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let unlimited = Rlimit { current: None, maximum: None };
        // Without the right to it there is what there was.
        let _ = setrlimit(Resource::Memlock, unlimited);
    });
}

pub(crate) fn set_pointer(attributes: &mut Attributes, word: usize, address: usize) {
    let address = address as u64;
    for (slot, half) in attributes.iter_mut().skip(word).zip([address & 0xffff_ffff, address >> 32]) {
        *slot = u32::try_from(half).unwrap_or_default();
    }
}

pub(crate) fn owned(fd: i64) -> Result<OwnedFd> {
    let fd = i32::try_from(fd)?;
    // SAFETY: the kernel has just given us this descriptor, and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Where the cgroup2 hierarchy is mounted.
pub fn cgroup_mount() -> Result<PathBuf> {
    let mounts = std::fs::read_to_string("/proc/self/mounts")?;
    let mut points = mounts.lines().filter_map(|line| {
        let mut fields = line.split(' ');
        let point = fields.nth(1)?;
        (fields.next()? == "cgroup2").then_some(point)
    });
    Ok(points.next().context("no cgroup2 file system is mounted")?.into())
}

pub(crate) fn cgroup_root() -> Result<File> {
    Ok(File::open(cgroup_mount()?)?)
}

/// Ids of the programs on a hook of the cgroup2 root (`enum bpf_attach_type`).
pub fn attached(hook: u32) -> Result<Vec<u32>> {
    let root = cgroup_root()?;
    let mut ids = vec![0u32; 64];
    let mut attributes = [0; 32];
    attributes[0] = u32::try_from(root.as_raw_fd())?;
    attributes[1] = hook;
    set_pointer(&mut attributes, 4, ids.as_mut_ptr() as usize);
    attributes[6] = u32::try_from(ids.len())?;
    bpf(PROG_QUERY, &mut attributes).context("BPF_PROG_QUERY")?;
    ids.truncate(usize::try_from(attributes[6])?);
    Ok(ids)
}

/// Name of a loaded program, as the kernel keeps it (15 bytes); `None` when it is gone.
#[must_use]
pub fn name(id: u32) -> Option<String> {
    let mut attributes = [0; 32];
    attributes[0] = id;
    let program = bpf(PROG_GET_FD_BY_ID, &mut attributes).ok().and_then(|fd| owned(fd).ok())?;
    let mut info = [0u8; 128];
    let mut attributes = [0; 32];
    attributes[0] = u32::try_from(program.as_raw_fd()).ok()?;
    attributes[1] = u32::try_from(info.len()).ok()?;
    set_pointer(&mut attributes, 2, info.as_mut_ptr() as usize);
    bpf(OBJ_GET_INFO_BY_FD, &mut attributes).ok()?;
    // struct bpf_prog_info: type, id, tag[8], two lengths, two pointers, load_time, uid, nr_map_ids, map_ids, name.
    let name = info.get(64..80)?;
    let end = name.iter().position(|byte| *byte == 0).unwrap_or(name.len());
    Some(String::from_utf8_lossy(name.get(..end)?).into_owned())
}

/// A `sock_ops` program of somebody else: it does nothing, and is attached as long as the value lives.
pub struct Foreign {
    _program: OwnedFd,
    _link: OwnedFd,
    pub id: u32,
}

impl Foreign {
    /// Loads and attaches it to the cgroup2 root, beside others.
    pub fn attach() -> Result<Self> {
        let program = load_idle(PROG_TYPE_SOCK_OPS, 0)?;
        let before = attached(CGROUP_SOCK_OPS)?;
        let root = cgroup_root()?;
        let mut attributes = [0; 32];
        attributes[0] = u32::try_from(program.as_raw_fd())?;
        attributes[1] = u32::try_from(root.as_raw_fd())?;
        attributes[2] = CGROUP_SOCK_OPS;
        let link = owned(bpf(LINK_CREATE, &mut attributes).context("BPF_LINK_CREATE")?)?;
        let id = id_of(&program)?;
        anyhow::ensure!(!before.contains(&id), "the program is new");
        Ok(Self { _program: program, _link: link, id })
    }
}

/// Loads a program that does nothing but say "go on".
pub(crate) fn load_idle(program_type: u32, expected_attach_type: u32) -> Result<OwnedFd> {
    // r0 = 1; exit
    let code: [u64; 2] = [0x0000_0001_0000_00b7, 0x0000_0000_0000_0095];
    let licence = *b"GPL\0";
    let mut attributes = [0; 32];
    attributes[0] = program_type;
    attributes[1] = 2;
    set_pointer(&mut attributes, 2, code.as_ptr() as usize);
    set_pointer(&mut attributes, 4, licence.as_ptr() as usize);
    attributes[17] = expected_attach_type;
    owned(bpf(PROG_LOAD, &mut attributes).context("BPF_PROG_LOAD")?)
}

/// Id of a loaded program.
pub(crate) fn id_of(program: &OwnedFd) -> Result<u32> {
    let info = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", program.as_raw_fd()))?;
    let id = info.lines().find_map(|line| line.strip_prefix("prog_id:")).context("prog_id")?;
    Ok(id.trim().parse()?)
}

/// A map as Android's netd pins it: what it knows of tagged sockets, by cookie. Gone with the value.
pub struct TagMap {
    map: OwnedFd,
    mount: PathBuf,
}

impl TagMap {
    /// Mounts a bpf file system below `root` and pins the map where Android 13 and later have it.
    pub fn pin(root: &Path) -> Result<Self> {
        let mut attributes = [0; 32];
        // Type, key size, value size, entries.
        attributes[..4].copy_from_slice(&[MAP_TYPE_HASH, 8, 8, 64]);
        let map = owned(bpf(MAP_CREATE, &mut attributes).context("BPF_MAP_CREATE")?)?;
        let mount = root.join("sys/fs/bpf");
        std::fs::create_dir_all(&mount)?;
        let no_options = None::<&std::ffi::CStr>;
        rustix::mount::mount("bpf", &mount, "bpf", rustix::mount::MountFlags::empty(), no_options)
            .context("mount a bpf file system")?;
        let this = Self { map, mount };
        let directory = this.mount.join("netd_shared");
        std::fs::create_dir(&directory)?;
        let path = directory.join("map_netd_cookie_tag_map");
        let path = CString::new(path.as_os_str().as_bytes())?;
        let mut attributes = [0; 32];
        set_pointer(&mut attributes, 0, path.as_ptr() as usize);
        attributes[2] = u32::try_from(this.map.as_raw_fd())?;
        bpf(OBJ_PIN, &mut attributes).context("BPF_OBJ_PIN")?;
        Ok(this)
    }

    /// Charges the socket with this cookie to `uid`.
    pub fn set(&self, cookie: u64, uid: u32, tag: u32) -> Result<()> {
        let value = [uid, tag];
        let mut attributes = [0; 32];
        attributes[0] = u32::try_from(self.map.as_raw_fd())?;
        set_pointer(&mut attributes, 2, (&raw const cookie) as usize);
        set_pointer(&mut attributes, 4, value.as_ptr() as usize);
        bpf(MAP_UPDATE_ELEM, &mut attributes).context("BPF_MAP_UPDATE_ELEM")?;
        Ok(())
    }
}

impl Drop for TagMap {
    fn drop(&mut self) {
        let _ = rustix::mount::unmount(&self.mount, rustix::mount::UnmountFlags::DETACH);
    }
}
