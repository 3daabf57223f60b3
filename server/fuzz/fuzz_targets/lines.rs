//! The body of `POST /send`, cut at a few places, one by one and all at once.

#![no_main]

use comet_server::laws;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| laws::lines(bytes, laws::a_few_cuts(bytes)));
