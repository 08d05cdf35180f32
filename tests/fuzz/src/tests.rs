//! The seeds, without libFuzzer.

use std::fs;
use std::path::{Path, PathBuf};

use crate::{
    apps, beats, dns, event, expectations, first_bytes, geo, http, memory, quic, replay, resolver, tls,
};

type Check = fn(&[u8]);

const CHECKS: [(&str, Check); 13] = [
    ("apps", apps::check),
    ("beats", beats::check),
    ("dns", dns::check),
    ("event", event::check),
    ("expectations", expectations::check),
    ("first_bytes", first_bytes::check),
    ("geo", geo::check),
    ("http", http::check),
    ("quic", quic::check),
    ("quic_sealed", quic::check_sealed),
    ("replay", replay::check),
    ("resolver", resolver::check),
    ("tls", tls::check),
];

fn seeds(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { seeds(&path, found) } else { found.push(path) }
    }
}

#[test]
fn every_check_holds_for_its_seeds_and_for_their_beginnings() {
    for (name, check) in CHECKS {
        let mut files = Vec::new();
        seeds(&Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(name), &mut files);
        assert!(files.len() >= 5, "{name}: {files:?}");
        for file in files {
            let bytes = fs::read(&file).unwrap();
            for end in [bytes.len(), bytes.len() / 2, bytes.len() / 3, 0] {
                memory::bounded(|| check(&bytes[..end]));
            }
        }
    }
}

#[test]
#[should_panic(expected = "bytes were not freed")]
fn what_a_check_keeps_is_noticed() {
    memory::bounded(|| std::mem::forget(vec![0u8; 10]));
}
