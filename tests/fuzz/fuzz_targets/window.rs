//! What must hold of windows: see `window` in the library.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| qbo_raw_fuzz::window::range(input));
