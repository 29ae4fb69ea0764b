//! What must hold of the spool: see `spool` in the library.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| qbo_raw_fuzz::spool::spool(input));
