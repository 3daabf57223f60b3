//! What RFC 6455 says of a client's frames, case by case, each cut at every byte, and with
//! tungstenite as an oracle.

use std::io::{self, ErrorKind};

use proptest::prelude::*;
use tungstenite::protocol::{Role, WebSocketConfig};
use tungstenite::{Error, Message, WebSocket};

use super::frames::{End, Frames, MAX_FRAME_BYTES, Said};
use crate::router::Allowance;

/// What comes of a client's bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Verdict {
    /// The pings, which are to be answered.
    pings: Vec<Vec<u8>>,
    n_pongs: usize,
    /// How it ends, if it does.
    end: Option<Ended>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ended {
    Closed(Option<u16>),
    Broken,
    NotText,
    TooLarge,
}

/// What comes of bytes that are read in pieces which end at these places.
fn decoded(bytes: &[u8], cuts: impl IntoIterator<Item = usize>) -> Verdict {
    let (mut verdict, mut frames) = (Verdict::default(), Frames::default());
    let mut allowance = Allowance { n_bytes: usize::MAX, n_answers: 0 };
    let mut begin = 0;
    for end in cuts.into_iter().chain([bytes.len()]) {
        // As from a socket: the decoder changes what it reads.
        let mut piece = bytes[begin..end].to_vec();
        begin = end;
        let read = frames.read(&mut piece, &mut allowance, |said| match said {
            Said::Ping(payload) => verdict.pings.push(payload.to_vec()),
            Said::Pong => verdict.n_pongs += 1,
        });
        if let Err(end) = read {
            verdict.end = Some(match end {
                End::Closed(code) => Ended::Closed(code),
                End::Broken(_) => Ended::Broken,
                End::NotText => Ended::NotText,
                End::TooLarge => Ended::TooLarge,
                End::TooMuch => unreachable!("everything is allowed"),
            });
            break;
        }
    }
    verdict
}

/// How bytes break the RFC, if they do.
fn broken_by(bytes: &[u8]) -> &'static str {
    let mut allowance = Allowance { n_bytes: usize::MAX, n_answers: 0 };
    match Frames::default().read(&mut bytes.to_vec(), &mut allowance, |_| {}) {
        Err(End::Broken(how)) => how,
        _ => "",
    }
}

/// A socket that has received these bytes and takes everything.
struct Received<'bytes>(&'bytes [u8]);

impl io::Read for Received<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.0.is_empty() { Err(ErrorKind::WouldBlock.into()) } else { self.0.read(buffer) }
    }
}

impl io::Write for Received<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What tungstenite makes of the same bytes.
fn oracle(bytes: &[u8]) -> Verdict {
    let config = WebSocketConfig::default()
        .max_message_size(None)
        .max_frame_size(Some(usize::try_from(MAX_FRAME_BYTES).unwrap()));
    let mut socket = WebSocket::from_raw_socket(Received(bytes), Role::Server, Some(config));
    let mut verdict = Verdict::default();
    while verdict.end.is_none() {
        match socket.read() {
            Ok(Message::Ping(payload)) => verdict.pings.push(payload.to_vec()),
            Ok(Message::Pong(_)) => verdict.n_pongs += 1,
            // How it tells of a code that nobody may send.
            Ok(Message::Close(Some(frame))) if frame.reason.as_str() == "Protocol violation" => {
                verdict.end = Some(Ended::Broken);
            }
            Ok(Message::Close(frame)) => {
                verdict.end = Some(Ended::Closed(frame.map(|frame| frame.code.into())));
            }
            Ok(_) => {}
            Err(Error::Io(error)) if error.kind() == ErrorKind::WouldBlock => break,
            Err(Error::Utf8(_)) => verdict.end = Some(Ended::NotText),
            Err(Error::Capacity(_)) => verdict.end = Some(Ended::TooLarge),
            Err(Error::Protocol(_)) => verdict.end = Some(Ended::Broken),
            Err(error) => panic!("{error}: {bytes:x?}"),
        }
    }
    verdict
}

const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// A masked frame: its first byte, what stands for the length, and the payload.
fn raw(first: u8, length: &[u8], payload: &[u8]) -> Vec<u8> {
    let masked = payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask);
    let header = [&[first, 0x80 | length[0]], &length[1..], &MASK].concat();
    header.into_iter().chain(masked).collect()
}

/// The same, with the length of the payload in the shortest form.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let n_bytes = payload.len();
    let length = match n_bytes {
        0..=125 => vec![u8::try_from(n_bytes).unwrap()],
        126..=65_535 => [&[126][..], &u16::try_from(n_bytes).unwrap().to_be_bytes()].concat(),
        _ => [&[127][..], &(n_bytes as u64).to_be_bytes()].concat(),
    };
    raw(first, &length, payload)
}

fn close(code: u16, reason: &[u8]) -> Vec<u8> {
    frame(0x88, &[&code.to_be_bytes(), reason].concat())
}

const TEXT: u8 = 0x81;
const TEXT_BEGINS: u8 = 0x01;
const BINARY: u8 = 0x82;
const GOES_ON: u8 = 0x00;
const ENDS: u8 = 0x80;
const PING: u8 = 0x89;
const PONG: u8 = 0x8a;

/// A case: what it is about, the frames, and what comes of them.
struct Case {
    name: String,
    bytes: Vec<u8>,
    verdict: Verdict,
    /// Whether tungstenite sees it as we do; why not stands beside the case.
    is_agreed: bool,
}

/// The table of them.
#[derive(Default)]
struct Table(Vec<Case>);

const BROKEN: Option<Ended> = Some(Ended::Broken);
const NOT_TEXT: Option<Ended> = Some(Ended::NotText);

impl Table {
    /// A case: its frames, the pings and pongs among them, and the end.
    fn add(
        &mut self,
        name: &str,
        frames: &[Vec<u8>],
        pings: &[&[u8]],
        n_pongs: usize,
        end: Option<Ended>,
    ) {
        let pings = pings.iter().map(|ping| ping.to_vec()).collect();
        let verdict = Verdict { pings, n_pongs, end };
        let bytes = frames.concat();
        self.0.push(Case { name: name.to_owned(), bytes, verdict, is_agreed: true });
    }

    /// One that tungstenite decides otherwise.
    fn add_ours(&mut self, name: &str, frame: Vec<u8>, end: Option<Ended>) {
        let verdict = Verdict { end, ..Verdict::default() };
        self.0.push(Case { name: name.to_owned(), bytes: frame, verdict, is_agreed: false });
    }

    /// 5.2: lengths, on both sides of the borders of their forms.
    fn lengths(&mut self) {
        for n_bytes in [0, 1, 125, 126, 127, 65_535, 65_536] {
            let payload = vec![b'x'; n_bytes];
            self.add(&format!("text of {n_bytes}"), &[frame(TEXT, &payload)], &[], 0, None);
            self.add(&format!("binary of {n_bytes}"), &[frame(BINARY, &payload)], &[], 0, None);
        }
        for n_bytes in [65_537, 1 << 31, 1 << 32, (1 << 63) - 1] {
            let frames = [raw(TEXT, &of_8(n_bytes), b"x")];
            self.add(&format!("a frame of {n_bytes}"), &frames, &[], 0, Some(Ended::TooLarge));
        }
    }

    /// 5.2: reserved bits and opcodes; 5.1: every frame of a client is masked.
    fn first_bytes(&mut self) {
        for first in 0..=255_u8 {
            let (rsv, opcode) = (first & 0x70, first & 0x0f);
            let is_known = matches!(opcode, 0..=2 | 8..=10);
            if rsv != 0 || !is_known {
                self.add(&format!("first byte {first:#x}"), &[frame(first, b"")], &[], 0, BROKEN);
            }
        }
        // 5.1: every frame of a client is masked.
        for first in [TEXT, BINARY, PING, PONG, 0x88] {
            self.add(&format!("{first:#x} unmasked"), &[vec![first, 0]], &[], 0, BROKEN);
            self.add(
                &format!("{first:#x} unmasked, 5"),
                &[vec![first, 5, 1, 2, 3, 4, 5]],
                &[],
                0,
                BROKEN,
            );
        }
    }

    /// 5.4: fragments.
    fn fragments(&mut self) {
        let (begin, middle, end) =
            (frame(TEXT_BEGINS, b"a"), frame(GOES_ON, b"b"), frame(ENDS, b"c"));
        let text = [begin.clone(), middle.clone(), end.clone()];
        self.add("three fragments", &text, &[], 0, None);
        self.add("and again", &[text.concat(), text.concat()], &[], 0, None);
        self.add("no end", &text[..2], &[], 0, None);
        self.add(
            "empty fragments",
            &[frame(TEXT_BEGINS, b""), frame(GOES_ON, b""), frame(ENDS, b"")],
            &[],
            0,
            None,
        );
        self.add(
            "binary in fragments",
            &[frame(0x02, b"\xff"), frame(ENDS, b"\xff")],
            &[],
            0,
            None,
        );
        self.add("a continuation of nothing", std::slice::from_ref(&end), &[], 0, BROKEN);
        self.add("a fragment of nothing", std::slice::from_ref(&middle), &[], 0, BROKEN);
        self.add("behind a whole message", &[frame(TEXT, b"a"), end.clone()], &[], 0, BROKEN);
        self.add(
            "behind the last fragment",
            &[begin.clone(), end.clone(), end.clone()],
            &[],
            0,
            BROKEN,
        );
        for first in [TEXT, TEXT_BEGINS, BINARY, 0x02] {
            let frames = [begin.clone(), frame(first, b"x")];
            self.add(&format!("{first:#x} within a message"), &frames, &[], 0, BROKEN);
        }
    }

    /// 5.5: control frames, and those between fragments.
    fn control_frames(&mut self) {
        let longest = [b'p'; 125];
        self.add("a ping", &[frame(PING, b"")], &[b""], 0, None);
        self.add("a ping with bytes", &[frame(PING, b"\x00\xff")], &[b"\x00\xff"], 0, None);
        self.add("the longest ping", &[frame(PING, &longest)], &[&longest], 0, None);
        self.add("ten pings", &vec![frame(PING, b"x"); 10], &[&b"x"[..]; 10], 0, None);
        self.add("pongs", &[frame(PONG, b""), frame(PONG, &longest)], &[], 2, None);
        for first in [PING, PONG, 0x88] {
            let too_long = raw(first, &[126, 0, 126], &[b'x'; 126]);
            self.add(&format!("{first:#x} of 126"), &[too_long], &[], 0, BROKEN);
            let in_parts = [frame(first & 0x0f, b""), frame(ENDS, b"")];
            self.add(&format!("{first:#x} in fragments"), &in_parts, &[], 0, BROKEN);
        }
        let (begin, middle, end) =
            (frame(TEXT_BEGINS, b"a"), frame(GOES_ON, b"b"), frame(ENDS, b"c"));
        let between = [begin.clone(), frame(PING, b"1"), middle, frame(PONG, b""), end];
        self.add("control frames between fragments", &between, &[b"1"], 1, None);
        let farewell = [begin, close(1000, b""), frame(TEXT, b"not read")];
        self.add("a close between fragments", &farewell, &[], 0, Some(Ended::Closed(Some(1000))));
    }

    /// 5.5.1 and 7.4: close frames.
    fn closes(&mut self) {
        self.add("a close without a code", &[frame(0x88, b"")], &[], 0, Some(Ended::Closed(None)));
        self.add("half a code", &[frame(0x88, b"\x03")], &[], 0, BROKEN);
        let good = [
            1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 3000, 3999, 4000,
            4999,
        ];
        for code in good {
            for reason in [&b""[..], "über".as_bytes(), &[b'x'; 123]] {
                let end = Some(Ended::Closed(Some(code)));
                self.add(
                    &format!("close {code}, {}", reason.len()),
                    &[close(code, reason)],
                    &[],
                    0,
                    end,
                );
            }
        }
        for code in [0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65_535] {
            self.add(&format!("close {code}"), &[close(code, b"")], &[], 0, BROKEN);
        }
        let cut_reason = [close(1000, b"\xe2\x82")];
        self.add("a reason that is no text", &cut_reason, &[], 0, Some(Ended::NotText));
        self.add(
            "frames behind a close",
            &[close(1000, b""), frame(PING, b"x"), vec![0xff; 20]],
            &[],
            0,
            Some(Ended::Closed(Some(1000))),
        );
    }

    /// 5.6 and 8.1: text.
    fn text(&mut self) {
        let every = "κόσμε \u{7f}\u{80}\u{7ff}\u{800}\u{d7ff}\u{e000}\u{ffff}\u{10000}\u{10ffff}";
        self.add("text of all lengths", &[frame(TEXT, every.as_bytes())], &[], 0, None);
        for cut in 0..=every.len() {
            let (before, after) = every.as_bytes().split_at(cut);
            let frames = [frame(TEXT_BEGINS, before), frame(PING, b"!"), frame(ENDS, after)];
            self.add(&format!("text cut at {cut}"), &frames, &[b"!"], 0, None);
            let is_whole = every.is_char_boundary(cut);
            let end = if is_whole { None } else { NOT_TEXT };
            self.add(&format!("text that ends at {cut}"), &[frame(TEXT, before)], &[], 0, end);
        }
        for wrong in [
            &b"\x80"[..],
            b"\xbf",
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
            b"\xf8\x88\x80\x80\x80",
            b"\xfe",
            b"\xff",
            b"\xe2\x82x",
            b"\xf0\x90x",
        ] {
            let name = format!("text {wrong:x?}");
            self.add(&name, &[frame(TEXT, wrong)], &[], 0, NOT_TEXT);
            let text = [b"good \xce\xba ", wrong, b" good"].concat();
            self.add(&format!("{name} within"), &[frame(TEXT, &text)], &[], 0, NOT_TEXT);
            self.add(&format!("{name} as binary"), &[frame(BINARY, &text)], &[], 0, None);
        }
        let at_once = [frame(TEXT_BEGINS, b"\xff")];
        self.add("a wrong byte in a first fragment", &at_once, &[], 0, NOT_TEXT);
        let next = [frame(0x02, b"\xce"), frame(ENDS, b""), frame(TEXT, b"\xba")];
        self.add("text does not go on from binary", &next, &[], 0, NOT_TEXT);
    }

    /// What tungstenite has otherwise.
    fn otherwise(&mut self) {
        // "The minimal number of bytes MUST be used to encode the length" (5.2); it takes any.
        for (length, n_bytes) in [
            (vec![126, 0, 0], 0),
            (vec![126, 0, 125], 125),
            (of_8(125), 125),
            (of_8(65_535), 65_535),
        ] {
            let frame = raw(BINARY, &length, &vec![b'x'; n_bytes]);
            self.add_ours(&format!("{n_bytes} in {} bytes", length.len() - 1), frame, BROKEN);
        }
        for first in [PING, PONG, 0x88] {
            self.add_ours(
                &format!("{first:#x} of 64 bits"),
                raw(first, &of_8(2), &[3, 0xe8]),
                BROKEN,
            );
        }
        // "The most significant bit MUST be 0" (5.2); for it such a frame is only too large.
        self.add_ours("a frame of 2^63", raw(TEXT, &of_8(1 << 63), b"x"), BROKEN);
        self.add_ours("a frame of 2^64-1", raw(TEXT, &of_8(u64::MAX), b"x"), BROKEN);
        // In the registry since the RFC.
        self.add_ours("close 1014", close(1014, b""), Some(Ended::Closed(Some(1014))));
    }
}

/// All cases.
fn cases() -> Vec<Case> {
    let mut table = Table::default();
    table.lengths();
    table.first_bytes();
    table.fragments();
    table.control_frames();
    table.closes();
    table.text();
    table.otherwise();
    table.0
}

/// Lengths in eight bytes.
fn of_8(n_bytes: u64) -> Vec<u8> {
    [&[127][..], &n_bytes.to_be_bytes()].concat()
}

/// Cases up to this long are cut at every byte, longer ones at some.
const CUT_EVERYWHERE_BYTES: usize = 1_000;

#[test]
fn every_case_is_decided_as_the_rfc_says_wherever_it_is_cut() {
    let cases = cases();
    for Case { name, bytes, verdict, .. } in &cases {
        assert_eq!(&decoded(bytes, []), verdict, "{name}");
        let step = if bytes.len() <= CUT_EVERYWHERE_BYTES { 1 } else { bytes.len() / 50 };
        for cut in (0..=bytes.len()).step_by(step).chain(0..bytes.len().min(20)) {
            assert_eq!(&decoded(bytes, [cut]), verdict, "{name}, cut at {cut}");
        }
        assert_eq!(&decoded(bytes, 0..bytes.len()), verdict, "{name}, byte by byte");
    }
    assert!(cases.len() > 300, "{}", cases.len());
}

#[test]
fn tungstenite_decides_alike_but_where_it_is_said() {
    let mut surprises = Vec::new();
    for Case { name, bytes, verdict, is_agreed } in &cases() {
        let its = oracle(bytes);
        if (its == *verdict) != *is_agreed {
            surprises.push(format!("{name}: {its:?}, not {verdict:?}"));
        }
    }
    assert!(surprises.is_empty(), "{surprises:#?}");
}

#[test]
fn what_is_allowed_is_counted_to_the_byte_wherever_it_is_cut() {
    let bytes = [frame(TEXT, b"abc"), frame(PING, b"x"), frame(PONG, b""), frame(PONG, b"")];
    let bytes = bytes.concat();
    let ends = |n_bytes: usize, n_answers: u8, cuts: &[usize]| {
        let (mut frames, mut n_pongs) = (Frames::default(), 0);
        let mut allowance = Allowance { n_bytes, n_answers };
        let mut begin = 0;
        for &end in cuts.iter().chain([&bytes.len()]) {
            let mut piece = bytes[begin..end].to_vec();
            let count = |said: Said<'_>| n_pongs += usize::from(said == Said::Pong);
            if let Err(end) = frames.read(&mut piece, &mut allowance, count) {
                return Err((end, n_pongs));
            }
            begin = end;
        }
        Ok((allowance, n_pongs))
    };
    // The first pong costs nothing where a ping was sent.
    let n_all = bytes.len();
    for cut in 0..=n_all {
        let left = |n_bytes| Allowance { n_bytes, n_answers: 0 };
        assert_eq!(ends(n_all, 0, &[cut]), Ok((left(0), 2)), "{cut}");
        assert_eq!(ends(n_all - 1, 0, &[cut]), Err((End::TooMuch, 1)), "{cut}");
        assert_eq!(ends(n_all, 1, &[cut]), Ok((left(6), 2)), "{cut}");
        assert_eq!(ends(n_all - 6, 2, &[cut]), Ok((left(0), 2)), "{cut}");
        assert_eq!(ends(n_all - 7, 2, &[cut]), Err((End::TooMuch, 1)), "{cut}");
        assert_eq!(ends(8, 2, &[cut]), Err((End::TooMuch, 0)), "{cut}");
    }
}

#[test]
fn little_is_kept_of_what_is_cut() {
    let mut allowance = Allowance { n_bytes: usize::MAX, n_answers: 0 };
    let mut after = |bytes: &[u8]| {
        let mut frames = Frames::default();
        frames.read(&mut bytes.to_vec(), &mut allowance, |_| {}).unwrap();
        frames
    };
    for whole in
        [frame(TEXT, b"x"), frame(PING, b"x"), [0x01, 0x80].map(|f| frame(f, b"")).concat()]
    {
        assert!(after(&whole).is_between_messages());
        for cut in 1..whole.len() {
            assert!(!after(&whole[..cut]).is_between_messages(), "{cut} of {whole:x?}");
        }
    }
}

fn some_frames() -> impl Strategy<Value = Vec<u8>> {
    let payload = prop_oneof![
        "[a-zä-ü€😀]{0,6}".prop_map(String::into_bytes),
        prop::collection::vec(any::<u8>(), 0..6),
        Just(vec![3, 0xe8]),
    ];
    let first = prop_oneof![
        8 => prop::sample::select(vec![TEXT, TEXT_BEGINS, GOES_ON, ENDS, BINARY, PING, PONG]),
        1 => Just(0x88),
        1 => any::<u8>(),
    ];
    let one = (first, payload).prop_map(|(first, payload)| frame(first, &payload));
    // And a byte that is not what it was.
    let flip = prop::option::weighted(0.2, (any::<prop::sample::Index>(), 0..8_u32));
    (prop::collection::vec(one, 1..8), flip).prop_map(|(frames, flip)| {
        let mut bytes = frames.concat();
        if let Some((at, bit)) = flip {
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
        }
        bytes
    })
}

/// Whether the verdicts are the same, or differ as they may.
fn is_agreed(ours: &Verdict, its: &Verdict) -> bool {
    let is_registered = |end: Option<Ended>| matches!(end, Some(Ended::Closed(Some(1012..=1014))));
    ours == its || is_registered(ours.end)
}

proptest! {
    #[test]
    fn any_frames_are_decided_as_by_tungstenite(
        bytes in some_frames(),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
    ) {
        let ours = decoded(&bytes, []);
        let mut its = oracle(&bytes);
        if ours.end.is_some() && its.end.is_none() {
            // It looks at a frame when that is whole.
            its = oracle(&[&bytes[..], &vec![0; 70_000]].concat());
        }
        // A length in too many bytes, or with its highest bit, is refused here alone. Of a close
        // frame that is wrong twice it looks at the reason first.
        let how = broken_by(&bytes);
        let is_wrong_twice = how.contains("code") && its.end == Some(Ended::NotText);
        let is_agreed = is_agreed(&ours, &its) || how.contains("a length") || is_wrong_twice;
        prop_assert!(is_agreed, "{:?}, not {:?}", ours, its);
        let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
        cuts.sort_unstable();
        prop_assert_eq!(decoded(&bytes, cuts), ours);
    }
}
