//! Every chart at every size: nothing is cut off, and no text lies on another or on a line.

use super::canvas::{Canvas, Point, Shape, Text};
use super::sheet::QUIET;
use super::*;
use reports::memory_log::{Mark, Sample, Share};

/// The least and the greatest size, those that are published, and some that nobody asks for.
const SIZES_PX: [(u32, u32); 9] = [
    LEAST_SIZE_PX,
    (400, 300),
    (500, 300),
    (640, 640),
    (1000, 600),
    (1600, 900),
    (LEAST_SIZE_PX.0, GREATEST_SIZE_PX.1),
    (GREATEST_SIZE_PX.0, LEAST_SIZE_PX.1),
    GREATEST_SIZE_PX,
];

/// The phases of a run in which messages were sent for `sending_s`.
fn phases(sending_s: f64) -> Vec<Phase> {
    let phase = |(at_s, text): (f64, &str)| Phase { at_s, text: text.to_owned() };
    let phases = [
        (0.0, "nobody connected"),
        (5.0, "connecting"),
        (15.0, "all connected"),
        (20.0, "sending"),
        (20.0 + sending_s, "sent"),
        (22.0 + sending_s, "disconnecting"),
    ];
    phases.into_iter().map(phase).collect()
}

/// A second of a run's memory log each.
fn history(sending_s: u64, rss_kb: u64, n_connections: u64) -> History {
    let mut history = History::new();
    for at in 0..sending_s + 25 {
        let begun = phases(sending_s as f64);
        let begun = begun.iter().filter(|it| (it.at_s - at as f64).abs() < 0.5);
        history.push(&Sample {
            unix_s: at,
            rss_kb: rss_kb + at,
            n_connections: n_connections.min(at * n_connections / 10),
            anon_kb: Some(rss_kb / 2),
            slab_kb: Some(9_000),
            marks: begun.map(|it| Mark::new(&it.text, None)).collect(),
            ..Sample::default()
        });
    }
    history
}

/// A log without phases.
fn unmarked() -> History {
    let mut history = History::new();
    for unix_s in 0..100 {
        history.push(&Sample {
            unix_s,
            rss_kb: 100_000,
            n_connections: 10_000,
            ..Sample::default()
        });
    }
    history
}

/// A log of several processes, whose PSS is read every minute.
fn forked(rss_kb: u64) -> History {
    let mut history = History::new();
    for unix_s in 0..600 {
        let share = |pid| Share { pid, rss_kb: rss_kb / 5, anon_kb: None };
        let mark = (unix_s == 300).then(|| Mark::of_processes(2, 2, 5));
        history.push(&Sample {
            unix_s,
            rss_kb: rss_kb + unix_s,
            n_connections: (unix_s * 50).min(10_000),
            anon_kb: Some(rss_kb / 5),
            pss_kb: (unix_s % 60 == 0).then_some(rss_kb / 2 + unix_s * 3),
            marks: mark.into_iter().collect(),
            shares: (1..=5).map(share).collect(),
            ..Sample::default()
        });
    }
    history
}

/// A second each, with a thousand times as much in the tenth.
fn seconds(n: i32, value: f64) -> Vec<Segment> {
    let value = |at: i32| if at == 10 { value * 1_000.0 } else { value };
    (0..n).map(|at| Segment::flat(f64::from(at), f64::from(at + 1), value(at))).collect()
}

/// A chart: what it shows, and how it is drawn.
type Case = (&'static str, Box<dyn Fn(&mut Canvas, &Options)>);

/// Charts of memory.
fn memory_cases() -> Vec<Case> {
    let case = |what, histories: Vec<History>, label: &'static str| -> Case {
        let draw = move |canvas: &mut Canvas, options: &Options| {
            let logs: Vec<Log<'_>> =
                histories.iter().map(|history| Log { label, history }).collect();
            memory::chart(canvas, &logs, options);
        };
        (what, Box::new(draw))
    };
    let (run, article) = (|| history(120, 4_000, 10_000), history(3_600, 90_000, 10_001));
    vec![
        case("an hour", vec![article], ""),
        case("large figures", vec![history(120, 9_000_000, 1_000_000)], ""),
        case("larger figures", vec![history(120, 90_000_000, 10_000_000)], ""),
        case("hundreds", vec![history(120, 4_000, 600)], ""),
        case("nobody", vec![history(120, 4_000, 0)], ""),
        case("several processes", vec![forked(49_000)], ""),
        case("several processes, twice", vec![forked(49_000), forked(49_000_000)], "nginx.log"),
        case("two runs", vec![run(), history(60, 9_000, 10_000)], "a.log"),
        case("many runs", (0..12).map(|_| run()).collect(), "2026-11-22T16-30 c10k.log"),
        case(
            "one very long name",
            vec![unmarked(), unmarked()],
            "so long that no chart of any size \
            that somebody might look at has room for all of the words that it is made of",
        ),
        case("no sample", vec![History::new()], ""),
        case("no log", vec![], ""),
    ]
}

/// Charts of traffic and of delays over time.
fn time_cases() -> Vec<Case> {
    let of_traffic = |what, n: i32, value: f64| -> Case {
        let traffic = Traffic {
            item_kind: reports::books::ItemKind::Chunks,
            connections: seconds(n, value * 10.0),
            items_per_s: seconds(n, value),
            messages_per_s: seconds(n / 2, value),
            phases: if n > 0 { phases(f64::from(n)) } else { Vec::new() },
        };
        (
            what,
            Box::new(move |canvas: &mut Canvas, options: &Options| {
                traffic::draw(canvas, &traffic, options);
            }),
        )
    };
    let of_delivery = |what, n: i32, us: u64, most_us: u64| -> Case {
        let delays = |at: i32| Delays {
            begin_s: f64::from(at),
            end_s: f64::from(at + 1),
            p50_us: us,
            p99_us: us,
            max_us: if at % 700 == 10 { most_us } else { us },
        };
        let intervals = (0..n).filter(|at| at % 100 < 90).map(delays).collect();
        let delivery = Delivery { intervals, phases: phases(f64::from(n)) };
        (
            what,
            Box::new(move |canvas: &mut Canvas, options: &Options| {
                delivery::draw(canvas, &delivery, options);
            }),
        )
    };
    vec![
        of_traffic("traffic of an hour", 3_600, 1_000.0),
        of_traffic("much traffic", 120, 999_999.0),
        of_traffic("little traffic", 120, 0.001),
        of_traffic("traffic that stands still", 120, 0.0),
        of_traffic("traffic of one interval", 2, 7.0),
        of_traffic("traffic of a day", 72_000, 1.0),
        of_traffic("no traffic", 0, 0.0),
        of_delivery("stalls of a second", 3_600, 150, 1_000_000),
        of_delivery("flat", 120, 1_000, 1_000),
        of_delivery("microseconds", 120, 7, 450),
        of_delivery("less than can be measured", 120, 0, 0),
        of_delivery("hours", 120, 1, 86_400_000_000),
        of_delivery("one interval", 1, 999, 1_000),
        of_delivery("no delays", 0, 0, 0),
    ]
}

/// Charts of how connections came back.
fn storm_cases() -> Vec<Case> {
    let of_open = |what, n: i32, value: f64, n_causes: i32| -> Case {
        let cause = |at: i32| Phase {
            at_s: f64::from(at * n / n_causes.max(1)),
            text: ["storm 50%", "server killed", "server back"]
                [at.rem_euclid(3).unsigned_abs() as usize]
                .to_owned(),
        };
        let open = Open {
            connections: seconds(n, value),
            connects_per_s: seconds(n, value / 10.0),
            causes: (0..n_causes).map(cause).collect(),
        };
        (
            what,
            Box::new(move |canvas: &mut Canvas, options: &Options| {
                open::draw(canvas, &open, options);
            }),
        )
    };
    let of_sweep = |what, n: u32, value: f64| -> Case {
        let point = |at: u32| SweepPoint {
            window: ["0", "1s", "5s", "1m 30s"][at as usize % 4].to_owned(),
            times_s: [Some(value), Some(value * 2.0), (at != 1).then_some(value * 3.0)],
            peak_per_s: Some(value * 1_000.0 / f64::from(at + 1)),
        };
        let chart =
            SweepChart { cause: "storm 50%".to_owned(), points: (0..n).map(point).collect() };
        (
            what,
            Box::new(move |canvas: &mut Canvas, options: &Options| {
                sweep::draw(canvas, &chart, options);
            }),
        )
    };
    vec![
        of_open("a storm and a kill", 120, 10_000.0, 3),
        of_open("a storm each minute", 3_600, 999_999.0, 60),
        of_open("no connections open", 0, 0.0, 0),
        of_sweep("four windows", 4, 1.5),
        of_sweep("one window", 1, 9_999.0),
        of_sweep("no window", 0, 0.0),
    ]
}

/// Charts of percentiles.
fn percentile_cases() -> Vec<Case> {
    let case = |what, n_curves: usize, count: u64, name: &str| -> Case {
        let curve = |at: usize| PercentileCurve {
            name: format!("{name}{at}"),
            color: at / 2,
            count,
            points: (0_i32..100).map(|it| (f64::from(it) / 10.0, f64::from(it.pow(3)))).collect(),
        };
        let curves: Vec<PercentileCurve> = (0..n_curves).map(curve).collect();
        (
            what,
            Box::new(move |canvas: &mut Canvas, options: &Options| {
                percentiles::draw(canvas, &curves, options);
            }),
        )
    };
    vec![
        case("percentiles", 2, 120_000, "from due time "),
        case("percentiles of one", 1, 1, "one"),
        case("percentiles of very many", 2, 1_000_000_000, "from due time "),
        case("many curves", 12, 1_000, "2026-11-22T16-30 c10k, two threads, from due time "),
        case("no curves", 0, 0, ""),
    ]
}

/// Where a text is seen: left, top, right and bottom, with room for accents and descenders.
fn box_of(text: &Text) -> [i32; 4] {
    let (above, below) = (text.size_px * 5 / 16, text.size_px / 2);
    let (x, y) = text.at;
    let before = text.before_px();
    if text.is_upwards {
        [x - above, y - before, x + below, y - before + text.width_px]
    } else {
        [x - before, y - above, x - before + text.width_px, y + below]
    }
}

/// The smallest box around points.
fn around(points: &[Point]) -> [i32; 4] {
    let (xs, ys) = (points.iter().map(|it| it.0), points.iter().map(|it| it.1));
    let of = |it: Option<i32>| it.expect("no line is without points");
    [of(xs.clone().min()), of(ys.clone().min()), of(xs.max()), of(ys.max())]
}

/// Whether two boxes have a pixel in common.
fn overlap(a: [i32; 4], b: [i32; 4]) -> bool {
    a[0] < b[2] && b[0] < a[2] && a[1] < b[3] && b[1] < a[3]
}

#[test]
fn nothing_is_cut_off_and_no_text_is_covered() {
    let cases = memory_cases()
        .into_iter()
        .chain(time_cases())
        .chain(percentile_cases())
        .chain(storm_cases());
    for (what, draw) in cases {
        for size_px in SIZES_PX {
            let mut canvas = Canvas::new(size_px);
            draw(&mut canvas, &Options { size_px, title: None });
            let mut texts: Vec<(&str, [i32; 4])> = Vec::new();
            let mut lines: Vec<[i32; 4]> = Vec::new();
            for shape in &canvas.shapes {
                match shape {
                    Shape::Text(text) => texts.push((&text.words, box_of(text))),
                    Shape::Line(points, _) => lines.extend(points.windows(2).map(around)),
                    Shape::Block(from, to, _) => lines.push(around(&[*from, *to])),
                    Shape::Outline(from, to, _) => {
                        let corners = [*from, (to.0, from.1), *to, (from.0, to.1), *from];
                        lines.extend(corners.windows(2).map(around));
                    }
                }
            }
            let (width, height) = canvas.size_px;
            for it in texts.iter().map(|it| it.1).chain(lines.iter().copied()) {
                let is_inside = it[0] >= 0 && it[1] >= 0 && it[2] <= width && it[3] <= height;
                assert!(is_inside, "{what} at {size_px:?}: {it:?} is cut off: {texts:?}");
            }
            for (at, (text, of_text)) in texts.iter().enumerate() {
                let next = texts[at + 1..].iter().find(|it| overlap(*of_text, it.1));
                assert_eq!(next, None, "{what} at {size_px:?} covers {text} {of_text:?}");
                // A line of one pixel has a box without breadth: it is widened to be one.
                let wide = |it: [i32; 4]| [it[0], it[1], it[2] + 1, it[3] + 1];
                let line = lines.iter().find(|it| overlap(*of_text, wide(**it)));
                assert_eq!(line, None, "{what} at {size_px:?} covers {text} {of_text:?}");
            }
        }
    }
}

/// The texts on a chart, with their colours.
fn texts(size_px: (u32, u32), draw: impl Fn(&mut Canvas, &Options)) -> Vec<(String, RGBColor)> {
    let mut canvas = Canvas::new(size_px);
    draw(&mut canvas, &Options { size_px, title: None });
    let text = |shape: Shape| match shape {
        Shape::Text(text) => Some((text.words, text.color)),
        _ => None,
    };
    canvas.shapes.into_iter().filter_map(text).collect()
}

#[test]
fn the_longest_phase_is_named_where_there_is_no_room_for_all() {
    let history = history(3_600, 4_000, 10_000);
    let logs = [Log { label: "", history: &history }];
    let texts = texts(LEAST_SIZE_PX, |canvas, options| memory::chart(canvas, &logs, options));
    assert!(texts.iter().any(|it| it.0 == "sending"), "{texts:?}");
    assert!(!texts.iter().any(|it| it.0 == "all connected"), "{texts:?}");
}

#[test]
fn phases_of_several_logs_are_drawn_once_or_in_their_colours() {
    let (short, long) = (history(60, 4_000, 10_000), history(120, 4_000, 10_000));
    let logs = [Log { label: "a", history: &short }, Log { label: "b", history: &long }];
    let texts = texts((1000, 600), |canvas, options| memory::chart(canvas, &logs, options));
    let colors =
        |word| -> Vec<RGBColor> { texts.iter().filter(|it| it.0 == word).map(|it| it.1).collect() };
    assert_eq!(colors("sending"), [QUIET], "both at the same time");
    let mut sent = colors("sent");
    sent.sort_by_key(|it| it.0);
    assert_eq!(sent, [RUNS[0].0, RUNS[1].0], "each at its own");
}

#[test]
fn what_is_not_there_is_said() {
    for (what, draw) in memory_cases()
        .into_iter()
        .chain(time_cases())
        .chain(percentile_cases())
        .chain(storm_cases())
    {
        let is_said = texts((500, 300), &*draw).iter().any(|it| it.0 == "no data");
        assert_eq!(is_said, what.starts_with("no "), "{what}");
    }
}

#[test]
fn the_rss_of_several_processes_is_called_a_sum_and_their_pss_is_drawn() {
    let has = |histories: &[History], word: &str| {
        let logs: Vec<Log<'_>> =
            histories.iter().map(|history| Log { label: "a.log", history }).collect();
        let texts = texts((1600, 900), |canvas, options| memory::chart(canvas, &logs, options));
        texts.iter().any(|it| it.0.contains(word))
    };
    let sum = "RSS, sum of 5 processes, shared pages counted in each";
    assert!(has(&[forked(49_000)], sum) && has(&[forked(49_000)], "(sum of RSS"));
    assert!(has(&[forked(49_000)], "PSS, shared pages counted once"));
    assert!(has(&[forked(49_000), unmarked()], &format!("a.log: {sum}")));
    assert!(!has(&[unmarked()], "sum of") && !has(&[unmarked()], "PSS"));
}

#[test]
fn connections_are_seen_beside_memory_that_is_as_high_on_its_own_axis() {
    // 10,000 of 12,000 are as high as 100,000 of 120,000.
    let history = unmarked();
    let mut canvas = Canvas::new((1000, 600));
    let options = Options { size_px: (1000, 600), title: None };
    memory::chart(&mut canvas, &[Log { label: "", history: &history }], &options);
    let is_long = |points: &[Point]| points[points.len() - 1].0 - points[0].0 > 500;
    let height = |color: RGBColor| {
        canvas.shapes.iter().find_map(|shape| match shape {
            Shape::Line(points, pen) if pen.color == color && is_long(points) => Some(points[0].1),
            _ => None,
        })
    };
    let (connections, rss) = (height(sheet::CONNECTIONS), height(RGBColor(0, 90, 180)));
    assert!(connections.unwrap().abs_diff(rss.unwrap()) > 3, "{connections:?} and {rss:?}");
}
