//! What must hold of the query text: see `query` in the library.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| qbo_raw_fuzz::query(input));
