//! Requests to Android's resolver and to systemd's, and what they answer.

use tracer::names::resolver::{Answer, Form, answer, request};
use tracer::names::varlink;

use crate::assert_host_name;

pub fn check(bytes: &[u8]) {
    for form in [Form::AddrInfo, Form::HostEnt, Form::Message] {
        check_answer(&answer(form, bytes), bytes.len());
    }
    check_answer(&varlink::answer(bytes), bytes.len());
    varlink::request(bytes).iter().for_each(|name| assert_host_name(name));
    let found = request(bytes);
    assert_eq!(request(bytes), found);
    let Some(found) = found else { return };
    assert_host_name(&found.name);
    let end = bytes.iter().position(|byte| *byte == 0).map_or(0, |end| end + 1);
    assert_eq!(
        request(bytes.get(..end).unwrap_or_default()).as_ref(),
        Some(&found),
        "what follows the zero counts"
    );
}

fn check_answer(answer: &Answer, length: usize) {
    match answer {
        Answer::Addresses(all) => assert!(all.len() <= length, "{} addresses in {length} bytes", all.len()),
        Answer::Message(dns) => assert_host_name(&dns.question.name),
        Answer::Incomplete | Answer::None => {}
    }
}
