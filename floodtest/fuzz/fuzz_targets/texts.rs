//! Texts that people write: URLs, expectations, patterns. An error, or a value; never a panic.

#![no_main]

use floodtest::Rate;

use floodtest::generate::Pattern;
use floodtest::sources::SourceIps;
use floodtest::url::Url;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(url) = Url::parse(bytes) {
        // What goes into a request cannot end its line, and what is shown is no password.
        assert!(url.to_string().bytes().all(|byte| byte.is_ascii_graphic()));
        assert!(!url.authority.contains('@'));
    }
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let _ = floodtest::figures::parse(text);
    let _ = text.parse::<Rate>();
    let _ = text.parse::<Pattern>();
    // A range of millions is refused after 4,096 of them.
    let _ = text.parse::<SourceIps>();
});
