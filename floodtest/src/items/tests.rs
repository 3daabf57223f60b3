//! Bodies of every kind, cut at every byte.

use proptest::prelude::*;

use super::*;

/// What came of a body.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Heard {
    Stamp(u64),
    Old,
    Number(u64),
    Item(bool),
    Comment,
    TooLong,
    Encoded(u64),
    Answer(String),
}

/// Takes what comes, and wants numbers, and so many bytes of messages to answer them.
#[derive(Debug, Default)]
struct Ear(Vec<Heard>, usize);

impl ItemSink for Ear {
    fn stamp(&mut self, stamp: Stamp) {
        self.0.push(stamp.mark.map_or(Heard::Old, |mark| Heard::Stamp(mark.n)));
    }
    fn number(&mut self, number: u64) {
        self.0.push(Heard::Number(number));
    }
    fn wants_numbers(&self) -> bool {
        true
    }
    fn item(&mut self, is_marked: bool) {
        self.0.push(Heard::Item(is_marked));
    }
    fn comment(&mut self) {
        self.0.push(Heard::Comment);
    }
    fn too_long(&mut self) {
        self.0.push(Heard::TooLong);
    }
    fn encoded(&mut self, n: u64) {
        self.0.push(Heard::Encoded(n));
    }
    fn n_to_answer(&self) -> usize {
        self.1
    }
    fn answer(&mut self, start: &[u8]) {
        self.0.push(Heard::Answer(String::from_utf8_lossy(start).into_owned()));
    }
}

/// A response of some kind.
fn head(framing: Framing, content: Content) -> Head {
    Head {
        status: 200,
        framing,
        is_ours: false,
        content,
        is_encoded: false,
        media_type: None,
        is_lenient: false,
        location: None,
        retry_after_s: None,
        authenticate: None,
        upgrade: None,
    }
}

/// What comes of a body in these pieces, which has come to its end.
fn read<'a, P>(head: &Head, sequence: Option<&str>, pieces: P) -> Vec<Heard>
where
    P: IntoIterator<Item = &'a [u8]>,
{
    let sequence: Option<Sequence> = sequence.map(|text| text.parse().unwrap());
    let mut items = Items::new(head, Stream::Auto);
    let (mut scratch, mut ear) = (Scratch::default(), Ear::default());
    for piece in pieces {
        items.data(piece, &mut scratch, sequence.as_ref(), &mut ear);
        // What is not put away is as good as lost.
        if !items.settle(&mut scratch) {
            assert_eq!(scratch, Scratch::default());
        }
    }
    items.end(&mut scratch, sequence.as_ref(), true, &mut ear);
    ear.0
}

/// A WebSocket of this server or of another one.
fn websocket(is_ours: bool) -> Head {
    let upgrade = Some(Box::default());
    Head { status: 101, is_ours, upgrade, ..head(Framing::UntilClose, Content::Other) }
}

/// Asserts what comes of messages of a WebSocket, wherever each of them is cut.
fn assert_messages(
    head: &Head,
    sequence: Option<&str>,
    messages: &[&str],
    n_to_answer: usize,
    expected: &[Heard],
) {
    let sequence: Option<Sequence> = sequence.map(|text| text.parse().unwrap());
    let sequence = sequence.as_ref();
    let longest = messages.iter().map(|message| message.len()).max().unwrap_or(0);
    for piece_len in (1..=longest + 1).rev() {
        let mut items = Items::new(head, Stream::Auto);
        let (mut scratch, mut ear) = (Scratch::default(), Ear(Vec::new(), n_to_answer));
        for message in messages {
            if message.len() < piece_len {
                items.message(message.as_bytes(), &mut scratch, sequence, &mut ear);
            } else {
                // As with the last fragment, the end may come without any bytes.
                for piece in message.as_bytes().chunks(piece_len) {
                    items.data(piece, &mut scratch, sequence, &mut ear);
                    if !items.settle(&mut scratch) {
                        assert_eq!(scratch, Scratch::default());
                    }
                }
                items.message_end(&mut scratch, sequence, &mut ear);
            }
            assert!(!items.settle(&mut scratch), "nothing is kept between messages");
            assert_eq!(scratch, Scratch::default());
        }
        items.end(&mut scratch, sequence, true, &mut ear);
        assert_eq!(ear.0, expected, "in pieces of {piece_len}");
    }
}

#[test]
fn messages_of_a_websocket_are_items_whose_marks_end_with_them() {
    use Heard::{Item, Old, Stamp};
    let (one, two) = (stamp(1), stamp(2));
    let html = format!("{{\"x\":\"{two}\",\"html\":\"{two}\"}}");
    let (cut, rest) = one.split_at(20);
    assert_messages(
        &websocket(false),
        None,
        &["", "a", &one, &html, cut, rest, "x @5+6", "7"],
        0,
        &[
            Item(false),
            Item(false),
            Stamp(1),
            Item(true),
            Stamp(2),
            Item(true),
            Item(false),
            Item(false),
            Old,
            Item(true),
            Item(false),
        ],
    );
}

#[test]
fn a_number_of_comet_server_stands_at_the_beginning_of_a_message_alone() {
    use Heard::{Item, Number, Stamp};
    let stamped = format!("Recvd msg #2: {}", stamp(5));
    let messages = [
        "Recvd msg #1: <br/>Recvd msg #7: 'x",
        &stamped,
        " Recvd msg #8: ",
        "<br/>Recvd msg #9: 'x",
        "Recvd msg #3",
        ": ",
        "Recvd msg #10: ",
    ];
    let expected = [
        Number(1),
        Item(true),
        Stamp(5),
        Number(2),
        Item(true),
        Item(false),
        Item(false),
        Item(false),
        Item(false),
        Number(10),
        Item(true),
    ];
    assert_messages(&websocket(true), None, &messages, 0, &expected);
    assert_messages(&websocket(false), Some("comet"), &messages, 0, &expected);
}

#[test]
fn a_pattern_is_applied_to_each_message() {
    use Heard::{Item, Number};
    let messages = ["{\"seq\":1,\"seq\":2}", "seq", "\"seq\":3", "4", "{\"seq\":55"];
    let expected = [
        Number(1),
        Item(true),
        Item(false),
        Number(3),
        Item(true),
        Item(false),
        Number(55),
        Item(true),
    ];
    let pattern = Some("\"seq\":([0-9]+)");
    assert_messages(&websocket(false), pattern, &messages, 0, &expected);
    let first = Some("^n=([0-9]+)");
    let expected = [Number(1), Item(true), Item(false)];
    assert_messages(&websocket(false), first, &["n=1", "xn=2"], 0, &expected);
}

#[test]
fn the_beginning_of_a_message_says_whether_it_is_answered() {
    let answer = |text: &str| Heard::Answer(text.to_owned());
    let item = Heard::Item(false);
    assert_messages(
        &websocket(false),
        None,
        &["2", "", "pings and more", "pin"],
        4,
        &[
            answer("2"),
            item.clone(),
            answer(""),
            item.clone(),
            answer("ping"),
            item.clone(),
            answer("pin"),
            item,
        ],
    );
}

/// A stamp with this number.
fn stamp(n: u64) -> String {
    format!(" @1764022500123456~45#7:{n}.0badcafe;")
}

/// Asserts what comes of a body, wherever it is cut.
fn assert_read(head: &Head, sequence: Option<&str>, body: &str, expected: &[Heard]) {
    let bytes = body.as_bytes();
    assert_eq!(read(head, sequence, [bytes]), expected, "{body:?}");
    for cut in 0..=bytes.len() {
        let (left, right) = bytes.split_at(cut);
        assert_eq!(read(head, sequence, [left, right]), expected, "{body:?} cut at {cut}");
    }
    assert_eq!(read(head, sequence, bytes.chunks(1)), expected, "{body:?} byte by byte");
}

#[test]
fn events_are_those_of_the_standard() {
    use Heard::{Comment, Item};
    let events = head(Framing::UntilClose, Content::Events);
    for (body, expected) in [
        ("data: a\n\n", &[Item(false)][..]),
        ("data: a\r\n\r\ndata: b\r\n\r\n", &[Item(false), Item(false)]),
        ("data: a\r\rdata: b\r\r", &[Item(false), Item(false)]),
        ("\u{feff}data: a\n\n\u{feff}data: no field\n\n", &[Item(false)]),
        (": ping\n\n:\n\ndata: a\n: in it\n\n", &[Comment, Comment, Comment, Item(false)]),
        ("data\n\nid: 7\n\nevent: x\nretry: 5\n\n\n\n", &[Item(false)]),
        ("data: a\ndata: b\ndata\n\n", &[Item(false)]),
        ("data: not complete\n", &[]),
    ] {
        assert_read(&events, None, body, expected);
    }
}

#[test]
fn an_event_has_its_own_id_or_none() {
    use Heard::{Item, Number};
    let events = head(Framing::Chunked, Content::Events);
    let body = "id: 17\ndata: id: 5\n\ndata: b\n\ndata: c\nid:18\n\nid: x\ndata: d\n\n";
    let expected = [Number(17), Item(true), Item(false), Number(18), Item(true), Item(false)];
    assert_read(&events, Some("event-id"), body, &expected);
    let far = format!("data: {}\nid: 4\n\n", "x".repeat(600));
    assert_read(&events, Some("event-id"), &far, &[Number(4), Item(true)]);
}

#[test]
fn stamps_are_found_in_bodies_of_every_kind() {
    use Heard::{Item, Stamp};
    let (one, two) = (stamp(1), stamp(2));
    let events = format!("data: a{one}\n\ndata: {{\"x\":\"{two}\",\"html\":\"{two}\"}}\n\n");
    let expected = [Stamp(1), Item(true), Stamp(2), Item(true)];
    assert_read(&head(Framing::Chunked, Content::Events), None, &events, &expected);
    let lines = format!("{{\"x\":\"{one}\",\"y\":\"{one}\"}}\n\n\u{1e}{{\"x\":\"{two}\"}}\r\n{{}}");
    let expected = [Stamp(1), Item(true), Stamp(2), Item(true), Item(false)];
    assert_read(&head(Framing::Length(9), Content::Lines), None, &lines, &expected);
    let text = format!("a{one}b@c{two}{two} @");
    assert_read(
        &head(Framing::UntilClose, Content::Other),
        None,
        &text,
        &[Stamp(1), Stamp(2), Stamp(2)],
    );
    let old = "x @5+6' @7+8<br/>";
    assert_read(&head(Framing::UntilClose, Content::Other), None, old, &[Heard::Old, Heard::Old]);
}

#[test]
fn the_numbers_of_comet_server_are_known_by_its_head_or_when_it_is_said() {
    use Heard::{Number, Stamp};
    let body = format!("Recvd msg #1: 'ticket #9{}'<br/>Recvd msg #2: 'b'<br/>", stamp(5));
    let other = head(Framing::Chunked, Content::Other);
    let ours = Head { is_ours: true, ..other.clone() };
    let expected = [Number(1), Stamp(5), Number(2)];
    assert_read(&ours, None, &body, &expected);
    assert_read(&other, Some("comet"), &body, &expected);
    assert_read(&other, None, &body, &[Stamp(5)]);
    let events = "id: 1\ndata: Recvd msg #1: 'a'\n\n";
    let ours = Head { content: Content::Events, ..ours };
    assert_read(&ours, None, events, &[Number(1), Heard::Item(true)]);
}

#[test]
fn a_pattern_is_applied_to_each_item_or_to_all_there_is() {
    use Heard::{Item, Number};
    let pattern = Some("\"seq\":([0-9]+)");
    let lines = "{\"seq\":1,\"before\":{\"seq\":9}}\n{\"text\":\"#4\"}\n{\"seq\":3";
    let expected = [Number(1), Item(true), Item(false), Number(3), Item(true)];
    assert_read(&head(Framing::Chunked, Content::Lines), pattern, lines, &expected);
    let events = "data: {\ndata: \"seq\":1}\n\ndata: {\"seq\":22}\n\n";
    let expected = [Number(1), Item(true), Number(22), Item(true)];
    assert_read(&head(Framing::Chunked, Content::Events), pattern, events, &expected);
    let text = "{\"seq\":1,\"x\":{\"seq\":9}}{\"seq\":10}";
    let expected = [Number(1), Number(9), Number(10)];
    assert_read(&head(Framing::Chunked, Content::Other), pattern, text, &expected);
    let behind = Some("(?:^|,)n=([0-9]+)");
    let expected = [Number(1), Number(3)];
    assert_read(&head(Framing::Chunked, Content::Other), behind, "n=1;n=2,n=3", &expected);
}

#[test]
fn an_encoded_body_is_counted_and_not_looked_into() {
    let encoded = Head { is_encoded: true, ..head(Framing::Chunked, Content::Events) };
    let body = format!("data: {}\n\n", stamp(1));
    let heard = read(&encoded, Some("event-id"), [body.as_bytes()]);
    assert_eq!(heard, [Heard::Encoded(body.len() as u64)]);
}

#[test]
fn a_number_that_is_longer_than_can_be_kept_is_none_wherever_it_is_cut() {
    use Heard::{Item, Number};
    let long = format!("{}7", "0".repeat(MAX_TAIL_BYTES));
    // The second number of the line may be taken for digits of the first one, and is neither.
    let body = format!("n={long} n=8\nn=9\n");
    let expected = [Item(false), Number(9), Item(true)];
    let lines = head(Framing::UntilClose, Content::Lines);
    assert_read(&lines, Some("n=([0-9]+)"), &body, &expected);
}

#[test]
fn what_connections_keep_always_is_two_bytes() {
    assert_eq!(size_of::<Items>(), 2);
}

proptest! {
    #[test]
    fn cutting_a_body_changes_nothing(
        body in "(data: |id: 1|:|\n|\r|\r\n|x| @1~2#3:4\\.0badcafe;|\
                 seq=[0-9]{1,3}|<br/>Recvd msg #7: '|\\{){0,40}",
        cuts in proptest::collection::vec(0_usize..120, 0..8),
        content in prop_oneof![Just(Content::Events), Just(Content::Lines), Just(Content::Other)],
        sequence in prop_oneof![
            Just(None), Just(Some("comet")), Just(Some("event-id")), Just(Some("seq=([0-9]+)")),
            Just(Some(r"\bseq=([0-9]+)[^0-9]")),
        ],
    ) {
        let bytes = body.as_bytes();
        let mut cuts: Vec<_> = cuts.into_iter().map(|cut| cut.min(bytes.len())).collect();
        cuts.extend([0, bytes.len()]);
        cuts.sort_unstable();
        let pieces = cuts.windows(2).map(|pair| &bytes[pair[0]..pair[1]]);
        let head = head(Framing::UntilClose, content);
        // Where there are no borders, stamps and numbers of a pattern are not in one order.
        let sorted = |mut heard: Vec<Heard>| {
            heard.sort_by_key(|it| matches!(it, Heard::Number(_)));
            heard
        };
        let whole = sorted(read(&head, sequence, [bytes]));
        prop_assert_eq!(sorted(read(&head, sequence, pieces)), whole);
    }
}

/// Keeps the texts of items, and nothing else.
#[derive(Debug, Default)]
struct Texts(Vec<Option<String>>);

impl ItemSink for Texts {
    fn stamp(&mut self, _: Stamp) {}
    fn number(&mut self, _: u64) {}
    fn wants_numbers(&self) -> bool {
        false
    }
    fn item(&mut self, _: bool) {}
    fn comment(&mut self) {}
    fn too_long(&mut self) {}
    fn encoded(&mut self, _: u64) {}
    fn wants_text(&self) -> bool {
        true
    }
    fn text(&mut self, text: Option<&[u8]>) {
        self.0.push(text.map(|text| String::from_utf8(text.to_vec()).unwrap()));
    }
}

#[test]
fn the_text_of_an_item_is_the_same_wherever_it_is_cut() {
    let long = "x".repeat(70_000);
    let events =
        ": ping\r\n\r\nid: 7\ndata: a\ndata: b\n\nevent: e\n\ndata\r\rdata:{}\n\ndata: cut";
    let lines = "{\"a\":1}\r\n\n\x1e\n  end  \nlast";
    let some = |texts: &[&str]| texts.iter().map(|it| Some((*it).to_owned())).collect::<Vec<_>>();
    for (content, body, expected) in [
        (Content::Events, events, some(&["a\nb\n", "\n", "{}\n"])),
        (Content::Lines, lines, some(&["{\"a\":1}\r\n", "end  \n", "last"])),
        (
            Content::Lines,
            &format!("a\n{long}\nb\n"),
            vec![Some("a\n".to_owned()), None, Some("b\n".to_owned())],
        ),
        (
            Content::Events,
            &format!("data: a\n\ndata: {long}\n\ndata: b\n\n"),
            vec![Some("a\n".to_owned()), None, Some("b\n".to_owned())],
        ),
    ] {
        for piece_len in [1, 2, 3, 7, 1_000, body.len()] {
            let mut items = Items::new(&head(Framing::UntilClose, content), Stream::Auto);
            let (mut scratch, mut texts) = (Scratch::default(), Texts::default());
            for piece in body.as_bytes().chunks(piece_len) {
                items.data(piece, &mut scratch, None, &mut texts);
                // What is not put away is as good as lost.
                if !items.settle(&mut scratch) {
                    assert_eq!(scratch, Scratch::default());
                }
            }
            items.end(&mut scratch, None, true, &mut texts);
            assert_eq!(texts.0, expected, "in pieces of {piece_len}");
        }
    }
}

#[test]
fn the_text_of_a_message_or_a_chunk_is_all_of_it() {
    let mut items = Items::new(&websocket(false), Stream::Auto);
    let (mut scratch, mut texts) = (Scratch::default(), Texts::default());
    items.message(b"one", &mut scratch, None, &mut texts);
    items.data(b"t", &mut scratch, None, &mut texts);
    assert!(items.settle(&mut scratch), "it is kept until the message is whole");
    items.data(b"wo", &mut scratch, None, &mut texts);
    items.message_end(&mut scratch, None, &mut texts);
    items.message(b"", &mut scratch, None, &mut texts);
    let mut chunks = Items::new(&head(Framing::Chunked, Content::Other), Stream::Auto);
    for piece in ["th", "ree"] {
        chunks.data(piece.as_bytes(), &mut scratch, None, &mut texts);
    }
    chunks.chunk_end(&mut scratch, &mut texts);
    let expected = ["one", "two", "", "three"].map(|text| Some(text.to_owned()));
    assert_eq!(texts.0, expected);
}
