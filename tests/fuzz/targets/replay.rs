#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| tracer_fuzz::memory::bounded(|| tracer_fuzz::replay::check(
    bytes
)));
