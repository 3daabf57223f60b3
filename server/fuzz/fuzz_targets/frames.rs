//! What a WebSocket client sends, cut at a few places, one by one and all at once.

#![no_main]

use comet_server::fuzz_properties;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    fuzz_properties::frames(bytes, fuzz_properties::a_few_cuts(bytes));
});
