//! Frames of WebSockets, case by case of RFC 6455: each is cut at every byte, and each is given to
//! tungstenite, which shares no code with floodtest and must say the same.

use std::io::{self, Read, Write};

use floodtest::decode::{
    Beginning, DecodeError, FrameFault, Framer, Head, Progress, Sink, UpgradeFault,
};
use tungstenite::protocol::{Role, WebSocket, WebSocketConfig};
use tungstenite::{Error, Message};

/// What came on a WebSocket.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Heard {
    /// A message.
    Message(Vec<u8>),
    /// A ping.
    Ping(Vec<u8>),
    /// A pong.
    Pong,
    /// The frame that closes it.
    Close(Option<u16>),
}

/// Hears what comes.
#[derive(Debug, Default)]
struct Ear {
    heard: Vec<Heard>,
    /// The message that has not come whole.
    message: Vec<u8>,
}

impl Sink for Ear {
    fn accepts(&self, status: u16) -> bool {
        status == 101
    }
    fn upgrade(&self, _: &Head) -> Option<Result<(), UpgradeFault>> {
        Some(Ok(()))
    }
    fn head(&mut self, _: &Head) {}
    fn data(&mut self, bytes: &[u8]) {
        assert!(!bytes.is_empty());
        self.message.extend_from_slice(bytes);
    }
    fn chunk_end(&mut self) {
        panic!("there are no chunks");
    }
    fn message_end(&mut self) {
        self.heard.push(Heard::Message(std::mem::take(&mut self.message)));
    }
    fn ping(&mut self, bytes: &[u8]) {
        self.heard.push(Heard::Ping(bytes.to_vec()));
    }
    fn pong(&mut self) {
        self.heard.push(Heard::Pong);
    }
    fn close(&mut self, code: Option<u16>) {
        self.heard.push(Heard::Close(code));
    }
}

/// The head before the first frame.
const HEAD: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\n\r\n";

/// What floodtest makes of frames that come in these pieces.
fn read<'a, P: IntoIterator<Item = &'a [u8]>>(pieces: P) -> (Vec<Heard>, Option<FrameFault>) {
    let (mut framer, mut beginning) = (Framer::default(), Beginning::default());
    let mut ear = Ear::default();
    framer.feed(&mut beginning, HEAD, &mut ear).unwrap();
    for piece in pieces {
        match framer.feed(&mut beginning, piece, &mut ear) {
            Ok(Progress::More) => {}
            Err(DecodeError::BadFrame(fault)) => return (ear.heard, Some(fault)),
            other => panic!("{other:?}"),
        }
        if !framer.is_in_control() {
            assert_eq!(beginning.control.capacity(), 0, "nothing is kept");
        }
        assert!(beginning.control.len() < 125);
    }
    let code = ear.heard.iter().find_map(|it| match it {
        Heard::Close(code) => Some(code.unwrap_or(1005)),
        _ => None,
    });
    assert_eq!(framer.close_code(), code);
    (ear.heard, None)
}

/// A frame of a server: its first byte, and what is in it.
fn frame(first: u8, payload: impl AsRef<[u8]>) -> Vec<u8> {
    let payload = payload.as_ref();
    let mut frame = vec![first];
    match payload.len() {
        length @ 0..=125 => frame.push(length.try_into().unwrap()),
        length @ 126..=65_535 => {
            frame.push(126);
            frame.extend_from_slice(&u16::try_from(length).unwrap().to_be_bytes());
        }
        length => {
            frame.push(127);
            frame.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
    frame.extend_from_slice(payload);
    frame
}

/// A close frame.
fn close(code: u16, reason: impl AsRef<[u8]>) -> Vec<u8> {
    frame(0x88, [&code.to_be_bytes(), reason.as_ref()].concat())
}

/// Text that `n` bytes have.
fn text(n: usize) -> Vec<u8> {
    (0..n).map(|at| b'a' + u8::try_from(at % 26).unwrap()).collect()
}

/// One case of the table.
struct Case {
    /// What the server sends.
    bytes: Vec<u8>,
    /// What is heard of it.
    heard: Vec<Heard>,
    /// What is wrong.
    fault: Option<FrameFault>,
}

/// Frames that are as they should be, and what is heard of them.
fn good(frames: &[Vec<u8>], heard: &[Heard]) -> Case {
    Case { bytes: frames.concat(), heard: heard.to_vec(), fault: None }
}

/// Frames of which one is wrong.
fn bad(frames: &[Vec<u8>], heard: &[Heard], fault: FrameFault) -> Case {
    Case { fault: Some(fault), ..good(frames, heard) }
}

/// A message that is heard.
fn message(bytes: impl AsRef<[u8]>) -> Heard {
    Heard::Message(bytes.as_ref().to_vec())
}

/// A ping that is heard.
fn ping(bytes: impl AsRef<[u8]>) -> Heard {
    Heard::Ping(bytes.as_ref().to_vec())
}

/// Lengths, and how they are written (5.2).
fn lengths() -> Vec<Case> {
    let mut cases = Vec::new();
    for n in [0, 1, 125, 126, 127, 65_535, 65_536] {
        for first in [0x81, 0x82] {
            cases.push(good(
                &[frame(first, text(n)), frame(0x81, "x")],
                &[message(text(n)), message("x")],
            ));
        }
        let cut = [&frame(0x82, text(n))[..], &[0x82]].concat();
        cases.push(good(&[cut], &[message(text(n))]));
    }
    let of_64_bits = |length: u64| [&[0x82, 127][..], &length.to_be_bytes()].concat();
    for length in [1 << 63, u64::MAX] {
        cases.push(bad(&[of_64_bits(length)], &[], FrameFault::Overflow));
    }
    // Nothing is kept of it, however long it may become.
    cases.push(good(&[of_64_bits((1 << 63) - 1), text(1_000)], &[]));
    for length in [0, 125, 126, 65_535] {
        cases.push(bad(&[of_64_bits(length)], &[], FrameFault::LongLength));
    }
    for length in [0, 125] {
        cases.push(bad(&[vec![0x82, 126, 0, length]], &[], FrameFault::LongLength));
    }
    cases
}

/// Reserved bits and opcodes, and masks (5.1, 5.2).
fn headers() -> Vec<Case> {
    let mut cases = Vec::new();
    for bit in [0x40, 0x20, 0x10, 0x70] {
        for opcode in [1, 2, 8, 9, 10] {
            let frames = [frame(0x81, "x"), frame(0x80 | bit | opcode, "")];
            cases.push(bad(&frames, &[message("x")], FrameFault::Reserved));
        }
    }
    for opcode in [3, 4, 5, 6, 7, 11, 12, 13, 14, 15] {
        for fin in [0, 0x80] {
            cases.push(bad(&[frame(fin | opcode, "")], &[], FrameFault::Opcode));
        }
    }
    for first in [0x81, 0x82, 0x88, 0x89, 0x8a] {
        let masked = vec![first, 0x82, 1, 2, 3, 4, b'x' ^ 1, b'y' ^ 2];
        cases.push(bad(&[masked], &[], FrameFault::Masked));
    }
    cases
}

/// Fragments, and control frames between them (5.4, 5.5).
fn fragments() -> Vec<Case> {
    let mut cases = vec![
        good(&[frame(0x01, "one "), frame(0x80, "two")], &[message("one two")]),
        good(&[frame(0x02, [0xff]), frame(0x80, [0xfe])], &[message([0xff, 0xfe])]),
        good(&[frame(0x01, ""), frame(0x00, ""), frame(0x80, "")], &[message("")]),
        good(
            &[frame(0x01, "a"), frame(0x00, "b"), frame(0x00, text(300)), frame(0x80, "c")],
            &[message([b"ab", &text(300)[..], b"c"].concat())],
        ),
        good(&[frame(0x01, "never"), frame(0x00, "whole")], &[]),
        good(
            &[
                frame(0x01, "a"),
                frame(0x89, "ping"),
                frame(0x00, ""),
                frame(0x8a, "pong"),
                frame(0x89, ""),
                frame(0x80, "b"),
                frame(0x82, "c"),
            ],
            &[ping("ping"), Heard::Pong, ping(""), message("ab"), message("c")],
        ),
        good(&[frame(0x01, "a"), close(1_000, "")], &[Heard::Close(Some(1_000))]),
    ];
    for (frames, fault) in [
        ([frame(0x80, "x"), vec![]], FrameFault::NothingToContinue),
        ([frame(0x00, "x"), vec![]], FrameFault::NothingToContinue),
        ([frame(0x01, "x"), frame(0x81, "y")], FrameFault::Interleaved),
        ([frame(0x02, "x"), frame(0x01, "y")], FrameFault::Interleaved),
        ([frame(0x01, "x"), frame(0x82, "y")], FrameFault::Interleaved),
        ([frame(0x09, "x"), vec![]], FrameFault::FragmentedControl),
        ([frame(0x0a, ""), vec![]], FrameFault::FragmentedControl),
        ([frame(0x08, ""), vec![]], FrameFault::FragmentedControl),
    ] {
        cases.push(bad(&frames, &[], fault));
    }
    let whole = [frame(0x01, "x"), frame(0x80, "y"), frame(0x80, "z")];
    cases.push(bad(&whole, &[message("xy")], FrameFault::NothingToContinue));
    cases
}

/// Control frames (5.5).
fn controls() -> Vec<Case> {
    let mut cases = Vec::new();
    for n in [0, 1, 124, 125] {
        let frames = [frame(0x89, text(n)), frame(0x8a, text(n)), frame(0x81, "x")];
        cases.push(good(&frames, &[ping(text(n)), Heard::Pong, message("x")]));
    }
    for first in [0x88, 0x89, 0x8a] {
        for n in [126, 127, 70_000] {
            cases.push(bad(&[frame(first, text(n))], &[], FrameFault::LongControl));
        }
    }
    cases
}

/// Close frames (5.5.1, 7.4).
fn closes() -> Vec<Case> {
    let mut cases = vec![
        good(&[frame(0x81, "x"), frame(0x88, "")], &[message("x"), Heard::Close(None)]),
        good(&[close(1_000, "dütdüt")], &[Heard::Close(Some(1_000))]),
        good(&[close(1_001, text(123))], &[Heard::Close(Some(1_001))]),
        bad(&[frame(0x88, [3])], &[], FrameFault::CloseCode),
        bad(&[close(1_000, b"\xff")], &[], FrameFault::CloseText),
        bad(&[close(1_000, b"cut \xc3")], &[], FrameFault::CloseText),
    ];
    for code in [
        1_000, 1_001, 1_002, 1_003, 1_007, 1_008, 1_009, 1_010, 1_011, 1_012, 1_013, 1_014, 3_000,
        3_999, 4_000, 4_999,
    ] {
        cases.push(good(&[close(code, "why")], &[Heard::Close(Some(code))]));
    }
    for code in [0, 1, 999, 1_004, 1_005, 1_006, 1_015, 1_016, 1_100, 2_000, 2_999, 5_000, 65_535] {
        cases.push(bad(&[close(code, "why")], &[], FrameFault::CloseCode));
    }
    cases
}

/// Text (5.6, 8.1), in one frame, and with a border and a ping at every byte.
fn texts() -> Vec<Case> {
    let mut cases = Vec::new();
    let in_two = |text: &[u8], at: usize| {
        [frame(0x01, &text[..at]), frame(0x89, "p"), frame(0x80, &text[at..])]
    };
    for text in ["κόσμε", "\u{7ff}\u{800}\u{d7ff}\u{e000}\u{ffff}\u{10000}\u{10ffff}", "\0a\u{80}"]
    {
        let text = text.as_bytes();
        cases.push(good(&[frame(0x81, text)], &[message(text)]));
        for at in 0..=text.len() {
            cases.push(good(&in_two(text, at), &[ping("p"), message(text)]));
        }
    }
    for text in [
        &b"\xff"[..],
        b"a\x80",
        b"\xc0\xaf",
        b"\xc1\xbf",
        b"\xe0\x80\xaf",
        b"\xe0\x9f\xbf",
        b"\xed\xa0\x80",
        b"\xed\xbf\xbf",
        b"\xf0\x80\x80\xaf",
        b"\xf0\x8f\xbf\xbf",
        b"\xf4\x90\x80\x80",
        b"\xf5\x80\x80\x80",
        b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xed\xa0\x80edited",
        b"x\xc3",
        b"x\xe2\x82",
        b"x\xf0\x9f\x98",
        b"\xe2\x82x",
    ] {
        cases.push(bad(&[frame(0x81, text)], &[], FrameFault::Text));
        // As bytes it is what it is.
        cases.push(good(&[frame(0x82, text)], &[message(text)]));
        // What is wrong is seen with the byte that makes it so, be it the end of the message; a
        // ping that comes before is heard.
        for at in 0..=text.len() {
            let is_wrong_before =
                str::from_utf8(&text[..at]).is_err_and(|error| error.error_len().is_some());
            let heard = if is_wrong_before { Vec::new() } else { vec![ping("p")] };
            cases.push(bad(&in_two(text, at), &heard, FrameFault::Text));
        }
    }
    cases
}

/// All cases.
fn cases() -> Vec<Case> {
    [lengths(), headers(), fragments(), controls(), closes(), texts()]
        .into_iter()
        .flatten()
        .collect()
}

#[test]
fn every_case_is_heard_as_the_rfc_says_wherever_it_is_cut() {
    let cases = cases();
    assert!(cases.len() > 290, "{}", cases.len());
    for Case { bytes, heard, fault } in cases {
        let shown = &bytes[..bytes.len().min(40)];
        let expected = (heard, fault);
        assert_eq!(read([bytes.as_slice()]), expected, "{shown:x?}");
        assert_eq!(read(bytes.chunks(1)), expected, "{shown:x?} byte by byte");
        // In a long payload one place is like another.
        let n = bytes.len();
        for cut in (0..=n).filter(|cut| *cut < 600 || n - *cut < 600 || cut % 997 == 0) {
            let (left, right) = bytes.split_at(cut);
            assert_eq!(read([left, right]), expected, "{shown:x?} cut at {cut}");
        }
    }
}

#[test]
fn nothing_may_follow_a_close_frame() {
    for (follows, fault) in [
        (frame(0x81, "x"), Some(FrameFault::AfterClose)),
        (close(1_000, ""), Some(FrameFault::AfterClose)),
        (vec![0], Some(FrameFault::AfterClose)),
        (vec![], None),
    ] {
        let bytes = [close(1_001, "bye"), follows].concat();
        let expected = (vec![Heard::Close(Some(1_001))], fault);
        for cut in 0..=bytes.len() {
            let (left, right) = bytes.split_at(cut);
            assert_eq!(read([left, right]), expected, "{bytes:x?} cut at {cut}");
        }
    }
    assert_eq!(FrameFault::AfterClose.close_code(), None);
    assert_eq!(FrameFault::Text.close_code(), Some(1_007));
    assert_eq!(FrameFault::Masked.close_code(), Some(1_002));
}

/// What a server has sent, as a socket that nothing more comes from. What is written to it is gone.
struct Sent<'a>(&'a [u8]);

impl Read for Sent<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.0.is_empty() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        self.0.read(into)
    }
}

impl Write for Sent<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What tungstenite makes of frames, and whether something is wrong.
fn read_by_tungstenite(bytes: &[u8]) -> (Vec<Heard>, bool) {
    let config = WebSocketConfig::default();
    let mut socket = WebSocket::from_raw_socket(Sent(bytes), Role::Client, Some(config));
    let mut heard = Vec::new();
    loop {
        match socket.read() {
            Ok(Message::Text(text)) => heard.push(message(text.as_bytes())),
            Ok(Message::Binary(bytes)) => heard.push(message(bytes)),
            Ok(Message::Ping(bytes)) => heard.push(ping(bytes)),
            Ok(Message::Pong(_)) => heard.push(Heard::Pong),
            Ok(Message::Close(close)) => {
                // It shows a code that is never sent as its own answer.
                if close.as_ref().is_some_and(|close| close.reason == "Protocol violation") {
                    return (heard, true);
                }
                heard.push(Heard::Close(close.map(|close| close.code.into())));
                return (heard, false);
            }
            Ok(Message::Frame(frame)) => panic!("{frame:?}"),
            Err(Error::Io(_)) => return (heard, false),
            Err(_) => return (heard, true),
        }
    }
}

#[test]
fn tungstenite_says_the_same() {
    let mut n_compared = 0;
    for Case { bytes, heard, fault } in cases() {
        // It takes lengths in any number of bytes, and does not know the code 1014, which IANA has
        // registered since. A message of nearly 2^63 bytes is too long for it.
        let is_its_own = fault == Some(FrameFault::LongLength)
            || heard == [Heard::Close(Some(1_014))]
            || bytes.get(2) == Some(&0x7f);
        if is_its_own {
            continue;
        }
        let shown = &bytes[..bytes.len().min(40)];
        let (its, is_bad) = read_by_tungstenite(&bytes);
        assert_eq!(is_bad, fault.is_some(), "{shown:x?}: {its:?}");
        if fault == Some(FrameFault::Text) {
            let is_ping = |it: &Heard| matches!(it, Heard::Ping(_));
            assert!(its.iter().all(is_ping), "{shown:x?}: {its:?}");
        } else {
            assert_eq!(its, heard, "{shown:x?}");
        }
        n_compared += 1;
    }
    assert!(n_compared > 270, "{n_compared}");
}
