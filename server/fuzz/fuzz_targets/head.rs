//! A request head, cut in two.

#![no_main]

use comet_server::fuzz_properties;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    fuzz_properties::head(bytes, fuzz_properties::a_few_cuts(bytes));
});
