//! Cuts one input of the fuzzer into several.

/// A place to cut at, from zero to the end. It follows from all bytes, so that seeds are plain messages and a change of any
/// byte tries another place.
pub fn cut_of(bytes: &[u8]) -> usize {
    let sum = bytes.iter().fold(0usize, |sum, byte| sum.wrapping_mul(31).wrapping_add(usize::from(*byte)));
    sum % (bytes.len() + 1)
}

/// Takes a number off the front; zero behind the end.
pub fn number(bytes: &mut &[u8]) -> u16 {
    let (number, rest) = bytes.split_first_chunk::<2>().unwrap_or((&[0; 2], &[]));
    *bytes = rest;
    u16::from_be_bytes(*number)
}

/// Takes a part off the front that stands behind two bytes with its length; the last one may be shorter.
pub fn part<'a>(bytes: &mut &'a [u8]) -> &'a [u8] {
    let length = usize::from(number(bytes));
    let (part, rest) = bytes.split_at_checked(length).unwrap_or((bytes, &[]));
    *bytes = rest;
    part
}
