//! Which host an app asked for: parsers of what it sends first, and of what it asks resolvers. Pure; every parser takes
//! foreign bytes, keeps only names, and never panics.
//!
//! In: bounded copies of payload. Out: names with what is known about them.

pub mod cache;
pub mod conversations;
pub mod dns;
pub mod first_bytes;
pub mod flow_name;
pub mod http;
pub mod ja4;
pub mod pieces;
pub mod questions;
pub mod quic;
mod reader;
pub mod resolver;
pub mod tls;
pub mod varlink;

/// Longest host name, RFC 1035 section 2.3.4: 255 octets on the wire are 253 characters.
const LONGEST_NAME: usize = 253;

/// A host name as it is kept: lower case, without a final dot. `None` for what is no host name: an address, an empty or
/// overlong one, or one with other characters than letters, digits, `-`, `_` and `.`.
#[must_use]
pub fn host_name(text: &str) -> Option<String> {
    let text = text.strip_suffix('.').unwrap_or(text);
    let is_name = !text.is_empty()
        && text.len() <= LONGEST_NAME
        && text.split('.').all(|label| !label.is_empty() && label.len() <= 63)
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
        && text.parse::<std::net::IpAddr>().is_err();
    is_name.then(|| text.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_name_is_kept_in_lower_case_without_its_final_dot() {
        assert_eq!(host_name("WWW.Example.COM.").as_deref(), Some("www.example.com"));
        assert_eq!(host_name("_dns-sd._udp.local").as_deref(), Some("_dns-sd._udp.local"));
        assert_eq!(host_name("xn--mnchen-3ya.de").as_deref(), Some("xn--mnchen-3ya.de"));
    }

    #[test]
    fn what_is_no_host_name_is_none() {
        let long = format!("{}.example", "a".repeat(64));
        let endless = "a.".repeat(128);
        for text in
            ["", ".", "a..b", "192.0.2.1", "2001:db8::1", "a b", "a\nb", "münchen.de", &long, &endless]
        {
            assert_eq!(host_name(text), None, "{text:?}");
        }
    }
}
