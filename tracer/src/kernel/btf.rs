//! A bounded reader of the kernel's BTF (Documentation/bpf/btf.rst): struct name + member path → byte offset.
//!
//! In: the bytes of `/sys/kernel/btf/vmlinux`. Out: offsets. Everything is read with checks: a foreign or damaged
//! blob gives an error or "not found", never a panic and never more than one pass over its types.

use thiserror::Error;

const MAGIC: u16 = 0xeb9f;
const KIND_INT: u32 = 1;
const KIND_ARRAY: u32 = 3;
const KIND_STRUCT: u32 = 4;
const KIND_UNION: u32 = 5;
const KIND_ENUM: u32 = 6;
const KIND_FUNC_PROTO: u32 = 13;
const KIND_VAR: u32 = 14;
const KIND_DATASEC: u32 = 15;
const KIND_DECL_TAG: u32 = 17;
const KIND_ENUM64: u32 = 19;
/// Depth of anonymous structs and typedefs that is followed; the kernel nests fewer than ten.
const MAX_DEPTH: u32 = 16;

#[derive(Debug, Error, PartialEq, Eq)]
pub enum BtfError {
    #[error("it is shorter than its header says")]
    Truncated,
    #[error("it does not start with the BTF magic number (big-endian kernels are not supported)")]
    Magic,
    #[error("type {id} has the unknown kind {kind}")]
    Kind { id: usize, kind: u32 },
}

/// The types of one BTF blob.
pub struct Btf {
    data: Vec<u8>,
    /// Start of each type in `data`; index 0 is `void` and unused.
    types: Vec<u32>,
    /// Start and length of the string section.
    strings: (usize, usize),
}

/// A member of a struct, found by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member {
    /// Bytes from the start of the outermost struct.
    pub offset: u32,
    type_id: u32,
}

impl Btf {
    /// # Errors
    /// When the blob is not a well-formed little-endian BTF blob.
    pub fn parse(data: Vec<u8>) -> Result<Self, BtfError> {
        if word(&data, 0).ok_or(BtfError::Truncated)? & 0xffff != u32::from(MAGIC) {
            return Err(BtfError::Magic);
        }
        let header = |at: usize| word(&data, at).map(|n| n as usize).ok_or(BtfError::Truncated);
        let base = header(4)?;
        let section = |offset: usize, length: usize| {
            let start = base.checked_add(offset)?;
            let end = start.checked_add(length)?;
            (end <= data.len()).then_some((start, end))
        };
        let (mut at, end) = section(header(8)?, header(12)?).ok_or(BtfError::Truncated)?;
        let (start, string_end) = section(header(16)?, header(20)?).ok_or(BtfError::Truncated)?;
        let mut types = vec![0];
        while at < end {
            types.push(u32::try_from(at).map_err(|_| BtfError::Truncated)?);
            let info = word(&data, at + 4).ok_or(BtfError::Truncated)?;
            at += 12 + tail_length(info).ok_or(BtfError::Kind { id: types.len() - 1, kind: kind(info) })?;
        }
        Ok(Self { types, strings: (start, string_end - start), data })
    }

    /// Finds `path` in the struct called `name`, through anonymous structs and unions, e.g.
    /// `member("sock", &["__sk_common", "skc_flags"])`.
    #[must_use]
    pub fn member(&self, name: &str, path: &[&str]) -> Option<Member> {
        let mut found = Member { offset: 0, type_id: self.find_struct(name)? };
        for part in path {
            let inner = self.member_of(found.type_id, part, 0)?;
            found = Member { offset: found.offset.checked_add(inner.offset)?, type_id: inner.type_id };
        }
        Some(found)
    }

    /// Size in bytes of a member whose type is an integer, enum, struct or a typedef of these.
    #[must_use]
    pub fn size(&self, member: Member) -> Option<u32> {
        let at = self.resolve(member.type_id)?;
        let info = word(&self.data, at + 4)?;
        matches!(kind(info), KIND_INT | KIND_ENUM | KIND_ENUM64 | KIND_STRUCT | KIND_UNION)
            .then(|| word(&self.data, at + 8))
            .flatten()
    }

    /// Value of an enumerator, by its name.
    #[must_use]
    pub fn enumerator(&self, name: &str) -> Option<u32> {
        self.types.iter().skip(1).find_map(|&at| {
            let at = at as usize;
            let info = word(&self.data, at + 4).filter(|info| kind(*info) == KIND_ENUM)?;
            (0..count(info) as usize).find_map(|n| {
                let entry = at + 12 + n * 8;
                let is_meant = self.is_named(word(&self.data, entry)?, name);
                if is_meant { word(&self.data, entry + 4) } else { None }
            })
        })
    }

    fn find_struct(&self, name: &str) -> Option<u32> {
        let found = (1..self.types.len()).find(|&id| {
            self.types.get(id).is_some_and(|&at| {
                let at = at as usize;
                word(&self.data, at + 4).is_some_and(|info| kind(info) == KIND_STRUCT && count(info) > 0)
                    && word(&self.data, at).is_some_and(|offset| self.is_named(offset, name))
            })
        })?;
        u32::try_from(found).ok()
    }

    fn member_of(&self, type_id: u32, name: &str, depth: u32) -> Option<Member> {
        if depth > MAX_DEPTH {
            return None;
        }
        let at = self.resolve(type_id)?;
        let info = word(&self.data, at + 4)?;
        if !matches!(kind(info), KIND_STRUCT | KIND_UNION) {
            return None;
        }
        let has_bit_fields = info >> 31 == 1;
        (0..count(info) as usize).find_map(|n| {
            let entry = at + 12 + n * 12;
            let (name_offset, inner) = (word(&self.data, entry)?, word(&self.data, entry + 4)?);
            let bits = word(&self.data, entry + 8)?;
            let offset = if has_bit_fields { bits & 0x00ff_ffff } else { bits } / 8;
            if self.is_named(name_offset, name) {
                return Some(Member { offset, type_id: inner });
            }
            if !self.is_named(name_offset, "") {
                return None;
            }
            let deeper = self.member_of(inner, name, depth + 1)?;
            Some(Member { offset: offset.checked_add(deeper.offset)?, type_id: deeper.type_id })
        })
    }

    /// Start of the type behind typedefs and qualifiers.
    fn resolve(&self, mut type_id: u32) -> Option<usize> {
        for _ in 0..MAX_DEPTH {
            let at = *self.types.get(type_id as usize).filter(|_| type_id != 0)? as usize;
            let info = word(&self.data, at + 4)?;
            // typedef, volatile, const, restrict, type tag: the type follows in the size field.
            if !matches!(kind(info), 8..=11 | 18) {
                return Some(at);
            }
            type_id = word(&self.data, at + 8)?;
        }
        None
    }

    fn is_named(&self, offset: u32, name: &str) -> bool {
        let (start, length) = self.strings;
        let offset = offset as usize;
        offset < length
            && self.data.get(start + offset..start + length).is_some_and(|rest| {
                rest.get(..name.len()) == Some(name.as_bytes()) && rest.get(name.len()) == Some(&0)
            })
    }
}

fn word(data: &[u8], at: usize) -> Option<u32> {
    let bytes = data.get(at..at.checked_add(4)?)?;
    Some(u32::from_le_bytes(bytes.try_into().ok()?))
}

fn kind(info: u32) -> u32 {
    (info >> 24) & 0x1f
}

fn count(info: u32) -> u32 {
    info & 0xffff
}

/// Bytes that follow the twelve common ones, by kind; `None` for a kind we do not know.
fn tail_length(info: u32) -> Option<usize> {
    let n = count(info) as usize;
    Some(match kind(info) {
        KIND_INT | KIND_VAR | KIND_DECL_TAG => 4,
        KIND_ARRAY => 12,
        KIND_STRUCT | KIND_UNION | KIND_DATASEC | KIND_ENUM64 => n * 12,
        KIND_ENUM | KIND_FUNC_PROTO => n * 8,
        // pointer, forward, typedef, volatile, const, restrict, function, float, type tag
        2 | 7..=12 | 16 | 18 => 0,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `struct outer { int a; struct { int b; struct inner c; }; }; struct inner { int x; int y; }`
    fn sample() -> Vec<u8> {
        let strings = b"\0int\0outer\0a\0b\0inner\0c\0x\0y\0";
        let name = |s: &str| {
            let mut needle = vec![0];
            needle.extend(s.as_bytes());
            needle.push(0);
            let at = strings.windows(needle.len()).position(|w| w == needle).unwrap();
            u32::try_from(at).unwrap() + 1
        };
        let types: Vec<u32> = [
            vec![name("int"), KIND_INT << 24, 4, 32],
            vec![name("outer"), KIND_STRUCT << 24 | 2, 16, name("a"), 1, 0, 0, 3, 32],
            vec![0, KIND_STRUCT << 24 | 2, 12, name("b"), 1, 0, name("c"), 4, 32],
            vec![name("inner"), KIND_STRUCT << 24 | 2, 8, name("x"), 1, 0, name("y"), 1, 32],
        ]
        .concat();
        let mut blob = Vec::new();
        let type_length = u32::try_from(types.len() * 4).unwrap();
        let header = [0x0001_eb9f, 24, 0, type_length, type_length, u32::try_from(strings.len()).unwrap()];
        for n in header.into_iter().chain(types) {
            blob.extend(n.to_le_bytes());
        }
        blob.extend(strings);
        blob
    }

    #[test]
    fn members_are_found_through_anonymous_structs_and_paths() {
        let btf = Btf::parse(sample()).unwrap();
        assert_eq!(btf.member("outer", &["a"]).unwrap().offset, 0);
        assert_eq!(btf.member("outer", &["b"]).unwrap().offset, 4);
        let y = btf.member("outer", &["c", "y"]).unwrap();
        assert_eq!((y.offset, btf.size(y)), (12, Some(4)));
        assert_eq!(btf.member("outer", &["nothing"]), None);
        assert_eq!(btf.member("nobody", &["a"]), None);
    }

    #[test]
    fn every_truncation_and_every_flipped_byte_is_survived() {
        let blob = sample();
        for length in 0..blob.len() {
            assert!(Btf::parse(blob[..length].to_vec()).is_err(), "{length} bytes were accepted");
        }
        for at in 0..blob.len() {
            let mut damaged = blob.clone();
            damaged[at] ^= 0xff;
            if let Ok(btf) = Btf::parse(damaged) {
                let _ = btf.member("outer", &["c", "y"]).and_then(|member| btf.size(member));
            }
        }
    }
}
