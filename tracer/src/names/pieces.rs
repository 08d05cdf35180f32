//! The beginning of a byte stream that comes in pieces, in any order and some of them twice. Bounded.

use std::collections::BTreeMap;

/// Bytes that are kept at most: a ClientHello with a post-quantum key share has some 1,800.
pub const MOST_BYTES: usize = 4096;
/// Pieces that are kept at most; Chromium cuts a hello into some thirty.
const MOST_PIECES: usize = 64;

/// Pieces by their offset in the stream.
#[derive(Debug, Default)]
pub struct Pieces {
    by_offset: BTreeMap<usize, Vec<u8>>,
    bytes: usize,
}

impl Pieces {
    /// Keeps a piece, as much of it as there is room for.
    pub fn keep(&mut self, offset: usize, bytes: &[u8]) {
        let room = MOST_BYTES.saturating_sub(self.bytes.max(offset));
        let bytes = bytes.get(..room).unwrap_or(bytes);
        let is_known = self.by_offset.get(&offset).is_some_and(|known| known.len() >= bytes.len());
        if bytes.is_empty() || is_known || self.by_offset.len() >= MOST_PIECES {
            return;
        }
        let replaced = self.by_offset.insert(offset, bytes.to_vec());
        self.bytes += bytes.len() - replaced.map_or(0, |old| old.len());
    }

    /// Whether nothing more will be kept.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.bytes >= MOST_BYTES || self.by_offset.len() >= MOST_PIECES
    }

    /// The stream from its beginning to the first gap.
    #[must_use]
    pub fn beginning(&self) -> Vec<u8> {
        let mut whole = Vec::new();
        for (offset, piece) in &self.by_offset {
            let Some(known) = whole.len().checked_sub(*offset) else { break };
            whole.extend_from_slice(piece.get(known..).unwrap_or_default());
        }
        whole
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_come_together_in_any_order() {
        let mut pieces = Pieces::default();
        pieces.keep(4, b"efgh");
        assert_eq!(pieces.beginning(), b"");
        pieces.keep(2, b"cdef");
        pieces.keep(0, b"ab");
        pieces.keep(0, b"a");
        assert_eq!(pieces.beginning(), b"abcdefgh");
        pieces.keep(0, b"abcd");
        assert_eq!(pieces.beginning(), b"abcdefgh");
    }

    #[test]
    fn they_are_bounded() {
        let mut pieces = Pieces::default();
        pieces.keep(usize::MAX, b"far");
        pieces.keep(MOST_BYTES - 1, b"xy");
        pieces.keep(0, &[b'a'; 2 * MOST_BYTES]);
        assert!(pieces.bytes <= MOST_BYTES && pieces.is_full(), "{}", pieces.bytes);
        let mut many = Pieces::default();
        for offset in 0..10 * MOST_PIECES {
            many.keep(offset, b"z");
        }
        assert!(many.is_full());
        assert_eq!(many.beginning().len(), MOST_PIECES);
    }
}
