//! Beats as bytes, for the ledger: a version, the fields in little-endian order, and a checksum. Whatever is not exactly that is
//! refused: beats that are forgotten are found again, wrong ones would accuse somebody.

/// Of the form below, and of what the sums mean. Beats of another version are learned anew.
pub const BEATS: u8 = 1;
/// Of the few looks that are kept until there are beats; no version of these.
pub const LOOKS: u8 = 129;
/// No sum, mean or count comes near this. What is beyond could only have been made up, and would make later sums infinite.
const MOST: f32 = 1e9;

/// Appends fields to what somebody else has written.
pub struct Writer<'a> {
    to: &'a mut Vec<u8>,
    from: usize,
}

impl<'a> Writer<'a> {
    pub fn new(to: &'a mut Vec<u8>, form: u8) -> Self {
        let from = to.len();
        to.push(form);
        Self { to, from }
    }

    pub fn bytes<const N: usize>(&mut self, bytes: [u8; N]) {
        self.to.extend_from_slice(&bytes);
    }

    pub fn floats(&mut self, floats: &[f32]) {
        floats.iter().for_each(|float| self.bytes(float.to_le_bytes()));
    }

    pub fn finish(mut self) {
        let sum = checksum(self.to.get(self.from..).unwrap_or_default());
        self.bytes(sum.to_le_bytes());
    }
}

/// Takes fields off the front.
pub struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// `None`: of another form, or damaged.
    pub fn new(bytes: &'a [u8], form: u8) -> Option<Self> {
        let (rest, sum) = bytes.split_last_chunk::<4>()?;
        let fields = rest.strip_prefix(&[form])?;
        (checksum(rest).to_le_bytes() == *sum).then_some(Self(fields))
    }

    pub fn bytes<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (bytes, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*bytes)
    }

    pub fn u8(&mut self) -> Option<u8> {
        self.bytes().map(u8::from_le_bytes)
    }

    pub fn u16(&mut self) -> Option<u16> {
        self.bytes().map(u16::from_le_bytes)
    }

    pub fn u32(&mut self) -> Option<u32> {
        self.bytes().map(u32::from_le_bytes)
    }

    pub fn u64(&mut self) -> Option<u64> {
        self.bytes().map(u64::from_le_bytes)
    }

    /// An interval: none that is known is too long for its place in memory.
    pub fn milliseconds(&mut self) -> Option<u32> {
        self.u64()?.try_into().ok()
    }

    pub fn flag(&mut self) -> Option<bool> {
        match self.u8()? {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        }
    }

    pub fn float(&mut self) -> Option<f32> {
        // NaN is not below anything.
        self.bytes().map(f32::from_le_bytes).filter(|float| float.abs() < MOST)
    }

    pub fn floats<const N: usize>(&mut self) -> Option<[f32; N]> {
        let mut floats = [0.0; N];
        for float in &mut floats {
            *float = self.float()?;
        }
        Some(floats)
    }

    /// `None`: there is more than there should be.
    pub fn finish(self) -> Option<()> {
        self.0.is_empty().then_some(())
    }
}

/// FNV-1a: not one byte can be another one without its being noticed.
fn checksum(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0x811c_9dc5, |sum, byte| (sum ^ u32::from(*byte)).wrapping_mul(0x0100_0193))
}
