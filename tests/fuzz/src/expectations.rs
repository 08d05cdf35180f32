//! Files that say what is expected: services, rules, lists of hosts.

use tracer::judge::rules::Rules;
use tracer::judge::services::{Lists, Services, Subject};
use tracer::judge::toml_input::{Complaint, Source};
use tracer::record::Transport;

/// The same bytes as each of the files.
pub fn check(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let source = Source::new("file.toml", &text);
    let mut rules = Rules::default();
    if let Err(complaints) = rules.load(&source) {
        assert!(!complaints.is_empty() && rules.all().is_empty(), "nothing of it is used");
        all_printable(&complaints);
    }
    let mut services = Services::default();
    all_printable(&services.load(&source));
    let mut lists = Lists::default();
    if let Ok(loaded) = lists.load("list", bytes) {
        assert!(loaded.first_wrong.len() <= loaded.wrong);
    }
    for domain in ["", "a.example", "b.a.example", "com", "xn--e1afmkfd.example"] {
        assert!(lists.of(domain).all(|list| lists.name(list) == Some("list")));
        let subject = Subject {
            domain: Some(domain).filter(|domain| !domain.is_empty()),
            transport: Transport::Tcp,
            port: 5228,
            asn: Some(15169),
            packages: "com.example.a,com.example.b",
        };
        assert!(services.find(&subject).is_none_or(|found| services.get(found.service).is_some()));
    }
}

fn all_printable(complaints: &[Complaint]) {
    for complaint in complaints {
        let text = complaint.to_string();
        // The line that is meant stands below, as compilers show it.
        assert!(text.lines().all(|line| !line.chars().any(char::is_control)), "{text:?}");
    }
}
