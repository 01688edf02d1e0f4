//! Feeds `selvedge_suite::fuzz::row_of_features` from libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| selvedge_suite::fuzz::row_of_features(bytes));
