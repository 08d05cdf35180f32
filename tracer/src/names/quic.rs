//! The ClientHello in QUIC's first packets, versions 1 (RFC 9000, 9001) and 2 (RFC 9369). These packets are encrypted with
//! keys that follow from a public number and the connection id in the packet: anybody on the way can read them.
//!
//! A hello may be spread over frames, packets and datagrams that come in any order.

use aes::Aes128;
use aes::cipher::BlockCipherEncrypt as _;
use aes_gcm::aead::{Aead as _, Payload};
use aes_gcm::{Aes128Gcm, KeyInit as _};
use hkdf::Hkdf;
use sha2::Sha256;

use super::pieces::Pieces;
use super::reader::Reader;
use super::tls::{self, ClientHello, Stream};

/// Frames of one packet that are looked at; every byte of padding is one.
const MOST_FRAMES: usize = 1500;
/// Packets in one datagram that are looked at.
const MOST_PACKETS: usize = 4;

struct Version {
    number: u32,
    /// Bits of the first byte that mark an Initial packet.
    initial: u8,
    salt: [u8; 20],
    key: &'static str,
    iv: &'static str,
    header: &'static str,
}

/// RFC 9001 section 5.2, RFC 9369 section 3.
const VERSIONS: [Version; 2] = [
    Version {
        number: 1,
        initial: 0x00,
        salt: [
            0x38, 0x76, 0x2c, 0xf7, 0xf5, 0x59, 0x34, 0xb3, 0x4d, 0x17, 0x9a, 0xe6, 0xa4, 0xc8, 0x0c, 0xad,
            0xcc, 0xbb, 0x7f, 0x0a,
        ],
        key: "quic key",
        iv: "quic iv",
        header: "quic hp",
    },
    Version {
        number: 0x6b33_43cf,
        initial: 0x10,
        salt: [
            0x0d, 0xed, 0xe3, 0xde, 0xf7, 0x00, 0xa6, 0xdb, 0x81, 0x93, 0x81, 0xbe, 0x6e, 0x26, 0x9d, 0xcb,
            0xf9, 0xbd, 0x2e, 0xd9,
        ],
        key: "quicv2 key",
        iv: "quicv2 iv",
        header: "quicv2 hp",
    },
];

/// What a flow's first datagrams tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Look {
    Hello(ClientHello),
    /// It is QUIC; more is to come.
    Incomplete,
    Other,
}

/// The beginning of one QUIC connection, from the client's side.
#[derive(Default)]
pub struct Beginning {
    keys: Option<Keys>,
    handshake: Pieces,
}

struct Keys {
    version: &'static Version,
    packet: Aes128Gcm,
    iv: [u8; 12],
    header: Aes128,
}

impl Beginning {
    /// Takes a datagram that the client sent.
    pub fn take(&mut self, datagram: &[u8]) -> Look {
        let mut rest = datagram;
        let mut is_quic = self.keys.is_some();
        for _ in 0..MOST_PACKETS {
            let Some((packet, behind)) = initial_packet(rest) else { break };
            rest = behind;
            let Some(payload) = self.open(&packet) else { continue };
            is_quic = true;
            self.gather(&payload);
        }
        match tls::in_message(&self.handshake.beginning(), true) {
            Stream::Hello(hello) => Look::Hello(hello),
            Stream::Incomplete if is_quic && !self.handshake.is_full() => Look::Incomplete,
            _ => Look::Other,
        }
    }

    /// Decrypts a packet; the keys of the first one are those of all that follow.
    fn open(&mut self, packet: &Packet<'_>) -> Option<Vec<u8>> {
        if let Some(keys) = &self.keys {
            return keys.open(packet);
        }
        let keys = Keys::of(packet)?;
        let payload = keys.open(packet)?;
        self.keys = Some(keys);
        Some(payload)
    }

    /// Keeps what the packet carries of the handshake.
    fn gather(&mut self, payload: &[u8]) {
        let mut reader = Reader(payload);
        for _ in 0..MOST_FRAMES {
            let Some(kind) = reader.number() else { return };
            let done = match kind {
                // PADDING and PING.
                0 | 1 => Some(()),
                2 | 3 => reader.skip_acknowledgement(kind == 3),
                6 => reader.crypto().map(|(offset, bytes)| self.handshake.keep(offset, bytes)),
                // None other stands in an Initial packet but CONNECTION_CLOSE.
                _ => None,
            };
            if done.is_none() {
                return;
            }
        }
    }
}

/// An Initial packet, still encrypted.
struct Packet<'a> {
    version: &'static Version,
    destination: &'a [u8],
    /// Header and payload.
    bytes: &'a [u8],
    /// Where the packet number begins.
    number_at: usize,
}

/// The first packet of a datagram, if it is an Initial one, and what follows it.
fn initial_packet(datagram: &[u8]) -> Option<(Packet<'_>, &[u8])> {
    let mut reader = Reader(datagram);
    let first = *reader.take(1)?.first()?;
    let number = u32::from_be_bytes(reader.take(4)?.try_into().ok()?);
    let version = VERSIONS.iter().find(|version| version.number == number)?;
    // Long header, fixed bit, type.
    if first & 0xf0 != 0xc0 | version.initial {
        return None;
    }
    let destination = reader.with_short_length(20)?;
    reader.with_short_length(20)?;
    let token = usize::try_from(reader.number()?).ok()?;
    reader.take(token)?;
    let length = usize::try_from(reader.number()?).ok()?;
    let number_at = datagram.len() - reader.0.len();
    let end = number_at.checked_add(length)?;
    let (bytes, behind) = datagram.split_at_checked(end)?;
    Some((Packet { version, destination, bytes, number_at }, behind))
}

impl Keys {
    /// RFC 9001 section 5.2.
    fn of(packet: &Packet<'_>) -> Option<Self> {
        let version = packet.version;
        let initial = Hkdf::<Sha256>::new(Some(&version.salt), packet.destination);
        let secret: [u8; 32] = expand(&initial, "client in")?;
        let secret = Hkdf::<Sha256>::from_prk(&secret).ok()?;
        Some(Self {
            version,
            packet: Aes128Gcm::new(&expand::<16>(&secret, version.key)?.into()),
            iv: expand(&secret, version.iv)?,
            header: Aes128::new(&expand::<16>(&secret, version.header)?.into()),
        })
    }

    /// Takes off the protection of the header (RFC 9001 section 5.4), then decrypts the payload (section 5.3).
    fn open(&self, packet: &Packet<'_>) -> Option<Vec<u8>> {
        if packet.version.number != self.version.number {
            return None;
        }
        let at = packet.number_at;
        let sample: [u8; 16] = packet.bytes.get(at + 4..at + 20)?.try_into().ok()?;
        let mut mask = sample.into();
        self.header.encrypt_block(&mut mask);
        let mut header = packet.bytes.get(..at + 4)?.to_vec();
        let first = header.first_mut()?;
        *first ^= mask.first()? & 0x0f;
        let length = usize::from(*first & 0x03) + 1;
        let mut number = 0u64;
        for (byte, mask) in header.iter_mut().skip(at).zip(mask.iter().skip(1)).take(length) {
            *byte ^= mask;
            number = number << 8 | u64::from(*byte);
        }
        header.truncate(at + length);
        let mut nonce = self.iv;
        for (byte, number) in nonce.iter_mut().skip(4).zip(number.to_be_bytes()) {
            *byte ^= number;
        }
        let message = packet.bytes.get(at + length..)?;
        self.packet.decrypt(&nonce.into(), Payload { msg: message, aad: &header }).ok()
    }
}

/// `HKDF-Expand-Label` of RFC 8446 section 7.1, without context.
fn expand<const N: usize>(secret: &Hkdf<Sha256>, label: &str) -> Option<[u8; N]> {
    let label = format!("tls13 {label}");
    let mut info = u16::try_from(N).ok()?.to_be_bytes().to_vec();
    info.push(u8::try_from(label.len()).ok()?);
    info.extend(label.bytes());
    info.push(0);
    let mut key = [0; N];
    secret.expand(&info, &mut key).ok()?;
    Some(key)
}

impl<'a> Reader<'a> {
    /// Bytes behind one byte with their number.
    fn with_short_length(&mut self, most: usize) -> Option<&'a [u8]> {
        let length = usize::from(self.u8()?);
        if length > most { None } else { self.take(length) }
    }

    /// A number of variable length, RFC 9000 section 16.
    fn number(&mut self) -> Option<u64> {
        let first = *self.0.first()?;
        let bytes = self.take(1 << (first >> 6))?;
        let (first, rest) = bytes.split_first()?;
        Some(rest.iter().fold(u64::from(first & 0x3f), |number, byte| number << 8 | u64::from(*byte)))
    }

    /// RFC 9000 section 19.6.
    fn crypto(&mut self) -> Option<(usize, &'a [u8])> {
        let offset = usize::try_from(self.number()?).ok()?;
        let length = usize::try_from(self.number()?).ok()?;
        Some((offset, self.take(length)?))
    }

    /// RFC 9000 section 19.3.
    fn skip_acknowledgement(&mut self, has_counts: bool) -> Option<()> {
        self.number()?;
        self.number()?;
        let ranges = self.number()?;
        self.number()?;
        for _ in 0..ranges.min(MOST_FRAMES as u64) {
            self.number()?;
            self.number()?;
        }
        if has_counts {
            for _ in 0..3 {
                self.number()?;
            }
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::tls::tests::{alpn, message, server_name};
    use super::*;

    fn number(value: usize) -> Vec<u8> {
        (u16::try_from(value).unwrap() | 0x4000).to_be_bytes().to_vec()
    }

    /// CRYPTO frames of these parts of the handshake.
    fn frames(handshake: &[u8], parts: &[std::ops::Range<usize>]) -> Vec<u8> {
        let frame = |part: &std::ops::Range<usize>| {
            [&[6], &number(part.start)[..], &number(part.len()), &handshake[part.clone()]].concat()
        };
        parts.iter().flat_map(frame).collect()
    }

    /// Encrypts a payload as a client does.
    fn packet(version: &'static Version, packet_number: u8, mut payload: Vec<u8>) -> Vec<u8> {
        let destination = [0x83, 0x94, 0xc8, 0xf0, 0x3e, 0x51, 0x57, 0x08];
        payload.resize(payload.len().max(64), 0);
        let mut header = vec![0xc0 | version.initial];
        header.extend(version.number.to_be_bytes());
        header.push(8);
        header.extend(destination);
        header.extend([0, 0]);
        header.extend(number(1 + payload.len() + 16));
        let number_at = header.len();
        header.push(packet_number);
        let blank = Packet { version, destination: &destination, bytes: &[], number_at };
        let keys = Keys::of(&blank).unwrap();
        let mut nonce = keys.iv;
        nonce[11] ^= packet_number;
        let sealed = keys.packet.encrypt(&nonce.into(), Payload { msg: &payload, aad: &header }).unwrap();
        let mut bytes = [header, sealed].concat();
        let sample: [u8; 16] = bytes[number_at + 4..number_at + 20].try_into().unwrap();
        let mut mask = sample.into();
        keys.header.encrypt_block(&mut mask);
        bytes[0] ^= mask[0] & 0x0f;
        bytes[number_at] ^= mask[1];
        bytes
    }

    fn hello_of(look: Look) -> ClientHello {
        match look {
            Look::Hello(hello) => hello,
            other => panic!("{other:?}"),
        }
    }

    /// RFC 9001 appendix A.1, RFC 9369 appendix A.1.
    #[test]
    fn keys_are_those_of_the_specifications() {
        let destination = [0x83, 0x94, 0xc8, 0xf0, 0x3e, 0x51, 0x57, 0x08];
        let expected = [
            [0xfa, 0x04, 0x4b, 0x2f, 0x42, 0xa3, 0xfd, 0x3b, 0x46, 0xfb, 0x25, 0x5c],
            [0x91, 0xf7, 0x3e, 0x23, 0x51, 0xd8, 0xfa, 0x91, 0x66, 0x0e, 0x90, 0x9f],
        ];
        for (version, iv) in VERSIONS.iter().zip(expected) {
            let packet = Packet { version, destination: &destination, bytes: &[], number_at: 0 };
            assert_eq!(Keys::of(&packet).unwrap().iv, iv, "{}", version.number);
        }
    }

    #[test]
    fn a_hello_in_one_packet_is_read_in_both_versions() {
        let handshake = message(&[server_name("quic.example"), alpn(&["h3"])]);
        for version in &VERSIONS {
            let datagram =
                packet(version, 0, frames(&handshake, std::slice::from_ref(&(0..handshake.len()))));
            let hello = hello_of(Beginning::default().take(&datagram));
            assert_eq!(
                (hello.server_name.as_deref(), &hello.alpn[..]),
                (Some("quic.example"), &["h3".to_owned()][..])
            );
            assert!(hello.ja4.starts_with('q'), "{}", hello.ja4);
        }
    }

    #[test]
    fn a_hello_in_pieces_is_put_together_in_any_order() {
        let handshake = message(&[(51, vec![0; 1700]), server_name("pq.example")]);
        let all = handshake.len();
        let first = packet(&VERSIONS[0], 0, frames(&handshake, &[900..1200, 0..300, 250..600]));
        let second = packet(&VERSIONS[0], 1, frames(&handshake, &[1200..all, 600..900]));
        let mut beginning = Beginning::default();
        assert_eq!(beginning.take(&second), Look::Incomplete);
        assert_eq!(hello_of(beginning.take(&first)).server_name.as_deref(), Some("pq.example"));
        // Both in one datagram.
        let both = [&first[..], &second].concat();
        assert_eq!(hello_of(Beginning::default().take(&both)).server_name.as_deref(), Some("pq.example"));
    }

    #[test]
    fn what_is_not_quic_is_left_alone() {
        assert_eq!(Beginning::default().take(b""), Look::Other);
        assert_eq!(Beginning::default().take(&[0xc0; 1200]), Look::Other);
        let mut forged = packet(&VERSIONS[0], 0, frames(&message(&[]), std::slice::from_ref(&(0..10))));
        let last = forged.len() - 1;
        forged[last] ^= 1;
        assert_eq!(Beginning::default().take(&forged), Look::Other);
    }
}
