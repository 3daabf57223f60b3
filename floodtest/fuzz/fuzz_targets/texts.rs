//! Texts that people write: URLs, expectations, patterns. An error, or a value; never a panic.

#![no_main]

use floodtest::Rate;

use floodtest::generate::Pattern;
use floodtest::sources::SourceIps;
use floodtest::url::Url;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(url) = Url::parse(bytes) {
        let mut request = Vec::new();
        url.write_request(false, &mut request);
        let lines = request.split(|byte| *byte == b'\n').count();
        assert_eq!(lines, 6, "a URL cannot add a line to its request");
    }
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let _ = floodtest::figures::parse(text);
    let _ = text.parse::<Rate>();
    let _ = text.parse::<Pattern>();
    // A range of millions is refused after 4,096 of them.
    let _ = text.parse::<SourceIps>();
});
