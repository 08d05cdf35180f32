//! Encrypts QUIC's Initial packets as a client does (RFC 9001 sections 5.2 to 5.4, RFC 9369 section 3).

use aes::Aes128;
use aes::cipher::BlockCipherEncrypt as _;
use aes_gcm::aead::{Aead as _, Payload};
use aes_gcm::{Aes128Gcm, KeyInit as _};
use hkdf::Hkdf;
use sha2::Sha256;

/// What a client may choose.
pub struct Form {
    is_version_2: bool,
    destination: &'static [u8],
    token: &'static [u8],
    number_length: u8,
}

impl Form {
    pub fn from_bits(bits: u8) -> Self {
        let is_set = |bit: u8| bits & bit != 0;
        Self {
            is_version_2: is_set(1),
            // That of RFC 9001 appendix A, or another one.
            destination: if is_set(2) { &[1; 20] } else { &[0x83, 0x94, 0xc8, 0xf0, 0x3e, 0x51, 0x57, 0x08] },
            token: if is_set(4) { b"token" } else { b"" },
            number_length: 1 + (bits >> 3 & 3),
        }
    }

    /// The header as far as the packet number, which is not in it yet.
    fn header(&self, payload: usize) -> Option<Vec<u8>> {
        let (first, version) = if self.is_version_2 { (0xd0, 0x6b33_43cf) } else { (0xc0, 1u32) };
        let mut header = vec![first | (self.number_length - 1)];
        header.extend(version.to_be_bytes());
        header.push(u8::try_from(self.destination.len()).ok()?);
        header.extend(self.destination);
        // No connection id of the client's own.
        header.push(0);
        header.push(u8::try_from(self.token.len()).ok()?);
        header.extend(self.token);
        let length = u16::try_from(usize::from(self.number_length) + payload + 16).ok()?;
        header.extend((length | 0x4000).to_be_bytes());
        Some(header)
    }
}

/// One packet. `None` if its payload is too long for one.
pub fn seal(form: &Form, number: u8, payload: &[u8]) -> Option<Vec<u8>> {
    let mut payload = payload.to_vec();
    // Enough to take a sample of.
    payload.resize(payload.len().max(4), 0);
    let keys = Keys::of(form)?;
    let mut header = form.header(payload.len())?;
    let number_at = header.len();
    let number = u32::from(number).to_be_bytes();
    header.extend(number.get(4 - usize::from(form.number_length)..)?);
    let mut nonce = keys.iv;
    nonce[11] ^= number[3];
    let sealed = keys.packet.encrypt(&nonce.into(), Payload { msg: &payload, aad: &header }).ok()?;
    header.extend(sealed);
    let mut packet = header;
    let sample: [u8; 16] = packet.get(number_at + 4..number_at + 20)?.try_into().ok()?;
    let mut mask = sample.into();
    keys.header.encrypt_block(&mut mask);
    *packet.first_mut()? ^= mask.first()? & 0x0f;
    let masked = packet.iter_mut().skip(number_at).take(form.number_length.into());
    masked.zip(mask.iter().skip(1)).for_each(|(byte, mask)| *byte ^= mask);
    Some(packet)
}

struct Keys {
    packet: Aes128Gcm,
    iv: [u8; 12],
    header: Aes128,
}

impl Keys {
    fn of(form: &Form) -> Option<Self> {
        const SALT_1: [u8; 20] = [
            0x38, 0x76, 0x2c, 0xf7, 0xf5, 0x59, 0x34, 0xb3, 0x4d, 0x17, 0x9a, 0xe6, 0xa4, 0xc8, 0x0c, 0xad,
            0xcc, 0xbb, 0x7f, 0x0a,
        ];
        const SALT_2: [u8; 20] = [
            0x0d, 0xed, 0xe3, 0xde, 0xf7, 0x00, 0xa6, 0xdb, 0x81, 0x93, 0x81, 0xbe, 0x6e, 0x26, 0x9d, 0xcb,
            0xf9, 0xbd, 0x2e, 0xd9,
        ];
        let (salt, prefix) = if form.is_version_2 { (SALT_2, "quicv2") } else { (SALT_1, "quic") };
        let initial = Hkdf::<Sha256>::new(Some(&salt), form.destination);
        let secret = Hkdf::<Sha256>::from_prk(&expand::<32>(&initial, "client in")?).ok()?;
        Some(Self {
            packet: Aes128Gcm::new(&expand::<16>(&secret, &format!("{prefix} key"))?.into()),
            iv: expand(&secret, &format!("{prefix} iv"))?,
            header: Aes128::new(&expand::<16>(&secret, &format!("{prefix} hp"))?.into()),
        })
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
