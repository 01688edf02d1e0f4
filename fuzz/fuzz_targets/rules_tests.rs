//! Feeds `selvedge_suite::fuzz::rules_tests` from libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| selvedge_suite::fuzz::rules_tests(bytes));
