//! What must hold of the redaction: see `redact` in the library.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| qbo_raw_fuzz::redact(input));
