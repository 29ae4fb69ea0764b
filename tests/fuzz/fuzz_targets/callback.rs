//! What must hold of the callback address: see `callback` in the library.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| qbo_raw_fuzz::callback(input));
