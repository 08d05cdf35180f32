//! Takes fields off the front of untrusted bytes, as TLS and QUIC write them: big-endian, vectors behind their length.

/// What is left to read. Each method returns `None`, and takes nothing that matters, when too little is left.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a>(pub &'a [u8]);

impl<'a> Reader<'a> {
    pub fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    pub fn u8(&mut self) -> Option<u8> {
        self.take(1)?.first().copied()
    }

    pub fn u16(&mut self) -> Option<u16> {
        let (bytes, rest) = self.0.split_first_chunk::<2>()?;
        self.0 = rest;
        Some(u16::from_be_bytes(*bytes))
    }

    /// A vector behind one byte with its length.
    pub fn vector8(&mut self) -> Option<&'a [u8]> {
        let length = self.u8()?;
        self.take(usize::from(length))
    }

    /// A vector behind two bytes with its length.
    pub fn vector16(&mut self) -> Option<&'a [u8]> {
        let length = self.u16()?;
        self.take(usize::from(length))
    }
}

/// The whole 16-bit numbers in a vector; an odd byte at the end is none.
pub fn numbers(vector: &[u8]) -> impl Iterator<Item = u16> {
    vector.as_chunks::<2>().0.iter().map(|bytes| u16::from_be_bytes(*bytes))
}
