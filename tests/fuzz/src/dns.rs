//! DNS messages.

use tracer::names::dns::{Dns, announced, in_stream, parse};

use crate::assert_host_name;

pub fn check(bytes: &[u8]) {
    let dns = parse(bytes);
    assert_eq!(parse(bytes), dns);
    check_form(dns.as_ref(), bytes.len());
    if let Ok(length) = u16::try_from(bytes.len()) {
        let stream = [&length.to_be_bytes()[..], bytes, b"next"].concat();
        assert_eq!(in_stream(&stream).next(), Some(dns));
    }
    let messages: Vec<_> = in_stream(bytes).collect();
    assert!(messages.len() <= bytes.len() / 2, "each has a length of two bytes");
    messages.iter().flatten().for_each(|dns| check_form(Some(dns), bytes.len()));
    announced(bytes).iter().for_each(|(name, _, _)| assert_host_name(name));
}

fn check_form(dns: Option<&Dns>, length: usize) {
    let Some(dns) = dns else { return };
    assert_host_name(&dns.question.name);
    assert!(!dns.question.kind_name().is_empty());
    assert!(dns.is_answer || dns.addresses.is_empty(), "a question tells no addresses");
    assert!(dns.addresses.len() <= length / 4, "{} addresses in {length} bytes", dns.addresses.len());
    for (index, address) in dns.addresses.iter().enumerate() {
        assert!(
            dns.addresses.iter().skip(index + 1).all(|other| other.ip != address.ip),
            "{} twice",
            address.ip
        );
    }
}
