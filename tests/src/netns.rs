//! Network namespaces of a test's own: connections to "global" addresses that never leave the machine, and a network
//! that nobody else uses. The namespace is gone when the value and every process in it are.

use std::fs::File;
use std::net::IpAddr;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;

use anyhow::{Context, Result, anyhow};
use rustix::thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space, unshare_unsafe};

use crate::netlink;

/// Addresses that every [`Netns::new`] answers on, without a wire: those of documentation.
pub const V4: &str = "203.0.113.7";
pub const V4_SWEDEN: &str = "198.51.100.9";
pub const V6: &str = "2001:db8::7";

/// One network namespace.
pub struct Netns {
    file: File,
    inode: u64,
}

impl Netns {
    /// A namespace with `lo` up and the addresses above on it.
    pub fn new() -> Result<Self> {
        let netns = Self::empty()?;
        netns.enter(|| -> Result<()> {
            for address in [V4, V4_SWEDEN, V6] {
                let ip: IpAddr = address.parse()?;
                netlink::add_address("lo", ip, if ip.is_ipv4() { 32 } else { 128 })?;
            }
            Ok(())
        })?;
        Ok(netns)
    }

    /// A namespace with nothing but `lo`, which is up.
    pub fn empty() -> Result<Self> {
        let file = std::thread::spawn(|| -> Result<File> {
            // SAFETY: only the network namespace of this thread changes, and the thread ends here.
            unsafe { unshare_unsafe(UnshareFlags::NEWNET) }.context("unshare(CLONE_NEWNET)")?;
            netlink::set_link("lo", true)?;
            Ok(File::open("/proc/thread-self/ns/net")?)
        })
        .join()
        .map_err(|_| anyhow!("the thread that makes a network namespace panicked"))??;
        let inode = file.metadata()?.ino();
        Ok(Self { file, inode })
    }

    /// As in `flow.netns`.
    #[must_use]
    pub fn inode(&self) -> u64 {
        self.inode
    }

    /// Runs `work` on a thread inside the namespace; processes that it starts are inside, too.
    pub fn enter<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let inside = || {
            move_into_link_name_space(self.file.as_fd(), Some(LinkNameSpaceType::Network))
                .expect("a network namespace of our own can be entered");
            work()
        };
        std::thread::scope(|scope| match scope.spawn(inside).join() {
            Ok(result) => result,
            Err(panic) => std::panic::resume_unwind(panic),
        })
    }

    /// Connects this namespace with `other` by a pair of interfaces called `wire`, 10.9.0.1/30 here and 10.9.0.2/30
    /// there, both up.
    pub fn wire_to(&self, other: &Self) -> Result<()> {
        self.enter(|| -> Result<()> {
            netlink::add_veth("wire", "wire", &other.file)?;
            netlink::add_address("wire", "10.9.0.1".parse()?, 30)?;
            netlink::set_link("wire", true)
        })?;
        other.enter(|| -> Result<()> {
            netlink::add_address("wire", "10.9.0.2".parse()?, 30)?;
            netlink::set_link("wire", true)
        })
    }
}
