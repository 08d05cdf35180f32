//! Interfaces, addresses and routes through rtnetlink, in the network namespace of the calling thread.
//!
//! Only what the tests need, so that they run where there is no `ip` program. Message forms: rtnetlink(7).

use std::net::IpAddr;

use anyhow::{Context, Result, bail};
use rustix::net::{self, AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};

const HEADER: usize = 16;
/// `NLM_F_REQUEST | NLM_F_ACK` and `NLM_F_CREATE | NLM_F_EXCL`, include/uapi/linux/netlink.h.
const REQUEST_AND_ACK: u16 = 0x05;
const CREATE: u16 = 0x600;
/// `VETH_INFO_PEER`, include/uapi/linux/veth.h.
const VETH_INFO_PEER: u16 = 1;
/// `IFA_F_NODAD`: usable at once, without a search for duplicates.
const NO_DUPLICATE_SEARCH: u8 = 0x02;

/// One request under construction.
struct Message {
    bytes: Vec<u8>,
}

impl Message {
    fn new(kind: u16, flags: u16, body: &[u8]) -> Self {
        let mut bytes = Vec::with_capacity(128);
        bytes.extend_from_slice(&0u32.to_ne_bytes());
        bytes.extend_from_slice(&kind.to_ne_bytes());
        bytes.extend_from_slice(&(REQUEST_AND_ACK | flags).to_ne_bytes());
        bytes.extend_from_slice(&[0; 8]);
        bytes.extend_from_slice(body);
        Self { bytes }
    }

    fn attribute(mut self, kind: u16, value: &[u8]) -> Self {
        push_attribute(&mut self.bytes, kind, value);
        self
    }

    /// Sends it and waits for the kernel's answer.
    fn send(mut self, what: &str) -> Result<()> {
        let length = u32::try_from(self.bytes.len())?;
        self.bytes.splice(0..4, length.to_ne_bytes());
        let socket = net::socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, None)?;
        net::send(&socket, &self.bytes, SendFlags::empty()).with_context(|| what.to_owned())?;
        let mut answer = [0u8; 4096];
        let (length, _) = net::recv(&socket, &mut answer[..], RecvFlags::empty())?;
        let kind = answer.get(4..6).and_then(|bytes| bytes.try_into().ok()).map(u16::from_ne_bytes);
        let code =
            answer.get(HEADER..HEADER + 4).and_then(|bytes| bytes.try_into().ok()).map(i32::from_ne_bytes);
        match (kind.map(i32::from), code) {
            (Some(libc::NLMSG_ERROR), Some(0)) if length >= HEADER + 4 => Ok(()),
            (Some(libc::NLMSG_ERROR), Some(code)) => {
                bail!("{what}: {}", std::io::Error::from_raw_os_error(-code))
            }
            _ => bail!("{what}: the kernel answered with something else"),
        }
    }
}

fn push_attribute(bytes: &mut Vec<u8>, kind: u16, value: &[u8]) {
    let length = u16::try_from(4 + value.len()).unwrap_or(u16::MAX);
    bytes.extend_from_slice(&length.to_ne_bytes());
    bytes.extend_from_slice(&kind.to_ne_bytes());
    bytes.extend_from_slice(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
}

/// `struct ifinfomsg`.
fn link_body(index: u32, flags: u32, change: u32) -> Vec<u8> {
    let mut body = vec![0; 4];
    for word in [index, flags, change] {
        body.extend_from_slice(&word.to_ne_bytes());
    }
    body
}

fn octets(ip: IpAddr) -> Vec<u8> {
    match ip {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    }
}

fn family(ip: IpAddr) -> u8 {
    let family = if ip.is_ipv4() { libc::AF_INET } else { libc::AF_INET6 };
    u8::try_from(family).unwrap_or_default()
}

/// Index of an interface.
pub fn index(name: &str) -> Result<u32> {
    let socket = net::socket_with(AddressFamily::INET, SocketType::DGRAM, SocketFlags::CLOEXEC, None)?;
    net::netdevice::name_to_index(&socket, name).with_context(|| format!("interface {name}"))
}

/// Brings an interface up or down.
pub fn set_link(name: &str, up: bool) -> Result<()> {
    let bit = u32::try_from(libc::IFF_UP)?;
    let body = link_body(index(name)?, if up { bit } else { 0 }, bit);
    Message::new(libc::RTM_NEWLINK, 0, &body).send(&format!("set {name} up={up}"))
}

/// Sets the largest packet that an interface takes.
pub fn set_mtu(name: &str, mtu: u32) -> Result<()> {
    Message::new(libc::RTM_NEWLINK, 0, &link_body(index(name)?, 0, 0))
        .attribute(libc::IFLA_MTU, &mtu.to_ne_bytes())
        .send(&format!("set the MTU of {name}"))
}

/// Adds an address.
pub fn add_address(name: &str, ip: IpAddr, prefix: u8) -> Result<()> {
    let mut body = vec![family(ip), prefix, NO_DUPLICATE_SEARCH, 0];
    body.extend_from_slice(&index(name)?.to_ne_bytes());
    Message::new(libc::RTM_NEWADDR, CREATE, &body)
        .attribute(libc::IFA_LOCAL, &octets(ip))
        .attribute(libc::IFA_ADDRESS, &octets(ip))
        .send(&format!("add {ip}/{prefix} to {name}"))
}

/// Takes an address away. What is sent to it is dropped without a word from then on.
pub fn delete_address(name: &str, ip: IpAddr, prefix: u8) -> Result<()> {
    let mut body = vec![family(ip), prefix, 0, 0];
    body.extend_from_slice(&index(name)?.to_ne_bytes());
    Message::new(libc::RTM_DELADDR, 0, &body)
        .attribute(libc::IFA_LOCAL, &octets(ip))
        .send(&format!("take {ip}/{prefix} from {name}"))
}

/// Adds the default route through `gateway`.
pub fn add_default_route(gateway: IpAddr) -> Result<()> {
    // struct rtmsg: family, two prefix lengths, tos, table, protocol, scope, type, flags.
    let mut body = vec![family(gateway), 0, 0, 0];
    body.extend_from_slice(&[
        libc::RT_TABLE_MAIN,
        libc::RTPROT_STATIC,
        libc::RT_SCOPE_UNIVERSE,
        libc::RTN_UNICAST,
    ]);
    body.extend_from_slice(&[0; 4]);
    Message::new(libc::RTM_NEWROUTE, CREATE, &body)
        .attribute(libc::RTA_GATEWAY, &octets(gateway))
        .send(&format!("add a default route through {gateway}"))
}

/// Makes a pair of connected interfaces: `name` here, `peer` in the network namespace behind `peer_netns`.
pub fn add_veth(name: &str, peer: &str, peer_netns: &impl std::os::fd::AsRawFd) -> Result<()> {
    let mut there = link_body(0, 0, 0);
    push_attribute(&mut there, libc::IFLA_IFNAME, &with_nul(peer));
    push_attribute(&mut there, libc::IFLA_NET_NS_FD, &peer_netns.as_raw_fd().to_ne_bytes());
    let mut data = Vec::new();
    push_attribute(&mut data, VETH_INFO_PEER, &there);
    let mut info = Vec::new();
    push_attribute(&mut info, libc::IFLA_INFO_KIND, b"veth");
    push_attribute(&mut info, libc::IFLA_INFO_DATA, &data);
    Message::new(libc::RTM_NEWLINK, CREATE, &link_body(0, 0, 0))
        .attribute(libc::IFLA_IFNAME, &with_nul(name))
        .attribute(libc::IFLA_LINKINFO, &info)
        .send(&format!("add the veth pair {name}, {peer}"))
}

fn with_nul(name: &str) -> Vec<u8> {
    let mut bytes = name.as_bytes().to_vec();
    bytes.push(0);
    bytes
}
