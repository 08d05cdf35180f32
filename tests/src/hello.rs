//! First messages of clients, made here byte by byte.

/// A TLS ClientHello in one record that asks for this host; `padding` bytes longer, as one with a post-quantum key is.
#[must_use]
pub fn tls(host: &str, padding: usize) -> Vec<u8> {
    let name = host.as_bytes();
    let mut server_name = Vec::new();
    server_name.extend(length(name.len() + 3));
    server_name.push(0);
    server_name.extend(length(name.len()));
    server_name.extend(name);
    let mut extensions = extension(0x33, &vec![0; padding]);
    extensions.extend(extension(0, &server_name));
    extensions.extend(extension(16, b"\x00\x03\x02h2"));
    extensions.extend(extension(43, b"\x02\x03\x04"));
    let mut body = vec![3, 3];
    body.extend([7; 32]);
    body.push(0);
    body.extend([0, 2, 0x13, 0x01, 1, 0]);
    body.extend(length(extensions.len()));
    body.extend(extensions);
    let mut message = vec![1, 0];
    message.extend(length(body.len()));
    message.extend(body);
    let mut record = vec![22, 3, 1];
    record.extend(length(message.len()));
    record.extend(message);
    record
}

/// The first datagram of a QUIC client (aioquic 1.7.2) that asks for `quic.example`.
#[must_use]
pub fn quic() -> Vec<u8> {
    hex(include_str!("hello/quic.hex"))
}

/// A question for the IPv4 addresses of this host.
#[must_use]
pub fn dns(host: &str) -> Vec<u8> {
    let mut message = b"\x13\x37\x01\0\0\x01\0\0\0\0\0\0".to_vec();
    message.extend(name(host));
    message.extend([0, 1, 0, 1]);
    message
}

/// What a machine announces by multicast DNS: its name and IPv4 address, for two minutes.
#[must_use]
pub fn mdns(host: &str, address: [u8; 4]) -> Vec<u8> {
    let mut message = b"\0\0\x84\0\0\0\0\x01\0\0\0\0".to_vec();
    message.extend(name(host));
    // Class IN with the bit that older answers are outdated.
    message.extend([0, 1, 0x80, 1, 0, 0, 0, 120, 0, 4]);
    message.extend(address);
    message
}

fn name(host: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    for label in host.split('.') {
        bytes.push(u8::try_from(label.len()).expect("a label"));
        bytes.extend(label.as_bytes());
    }
    bytes.push(0);
    bytes
}

/// Bytes that the actor's step `dns-answer` adds to a question.
pub const ADDRESS_RECORD: usize = 16;

/// As the actor's step `bytes` takes it.
#[must_use]
pub fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.chars().filter_map(|c| u8::try_from(c.to_digit(16)?).ok()).collect();
    digits.as_chunks::<2>().0.iter().map(|[high, low]| high << 4 | low).collect()
}

fn extension(kind: u16, data: &[u8]) -> Vec<u8> {
    let mut bytes = kind.to_be_bytes().to_vec();
    bytes.extend(length(data.len()));
    bytes.extend(data);
    bytes
}

fn length(length: usize) -> [u8; 2] {
    u16::try_from(length).expect("it fits").to_be_bytes()
}
