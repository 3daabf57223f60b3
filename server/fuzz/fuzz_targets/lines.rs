//! The body of `POST /send`, cut in two.

#![no_main]

use comet_server::laws;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| laws::lines(bytes, laws::a_few_cuts(bytes)));
