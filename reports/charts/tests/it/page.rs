//! The page of a run: whole, self-contained, escaped, and right in a browser, whatever the run had.

use std::fs;
use std::path::Path;
use std::process::Command;

use charts::Peer;
use reports::latency::LatencySummary;
use reports::run::{self, Exits, Expected, PhaseStart, Phases, Plan, files};
use serde_json::Value;
use tempfile::TempDir;

use crate::fixture::{FIRST_UNIX_S, Fixture};
use crate::run_folder::{SMALL, edit_memory};
use crate::shapes::{stormy, streaming, swept};

/// What a page may take: a browser opens it at once, and a repository keeps many of them.
const MOST_BYTES: u64 = 400_000;

/// A folder with a run and everything that follows from it.
fn reported(fixture: Fixture) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    fixture.write(dir.path());
    charts::report(dir.path()).unwrap();
    dir
}

fn page_of(folder: &Path) -> String {
    fs::read_to_string(folder.join(files::REPORT)).unwrap()
}

#[test]
fn a_page_says_first_whether_the_run_held() {
    let dir = reported(SMALL);
    let page = page_of(dir.path());
    let at = |text: &str| page.find(text).unwrap_or_else(|| panic!("{text:?} is not in {page}"));
    let order = [
        "C10K: 2,000 connections, 100 messages a second, 60 s",
        "<strong>Held.</strong>",
        "<strong>What limited it:</strong> nothing that was looked at.",
        "connections open at the end, all that were asked for",
        "<h2>What limited it</h2>",
        "What it cost the server",
        "How long messages took",
        "The books balance",
        "Connections and messages",
        "The whole machine",
        "Beside the article",
        "cargo rig c10k --minutes 2",
        "The machine",
        "What was done when",
        "What is not claimed",
        "The raw figures",
    ];
    assert!(order.map(at).is_sorted(), "{:?}", order.map(at));
    at("(4,092 − 3,496) KB ÷ 2,000");
    // Every section with figures says which files they come from.
    let sections = page.split("<section>").skip(1).filter(|section| section.contains("<table"));
    let others = sections.filter(|section| !section.contains("<h2>Beside the article"));
    for section in others {
        let names = [files::FLOODTEST, files::MEMORY, files::HOST, files::FOOTPRINT];
        assert!(names.iter().any(|name| section.contains(name)), "{section}");
    }
    // Once more, for a run that is not as it should be.
    edit_memory(dir.path(), |sample| sample.marks.retain(|mark| mark.text != "sent"));
    let summary = charts::report(dir.path()).unwrap();
    assert!(!summary.held());
    let page = page_of(dir.path());
    assert!(page.contains("<strong>Fell short</strong>, in one respect:"), "{page}");
    assert!(page.contains("memory.tsv has no mark &quot;sent&quot;"), "{page}");
}

#[test]
fn a_page_needs_nothing_but_itself_and_stays_small() {
    let dir = reported(Fixture { connections: 10_000, per_second: 20, sending_s: 3_600 });
    let page = page_of(dir.path());
    for foreign in
        ["<script", "<link", "<img", "<iframe", " src=", "url(", "@import", "javascript:"]
    {
        assert!(!page.contains(foreign), "{foreign} is in the page");
    }
    // The only address is the name of SVG.
    let page = page.replace("xmlns=\"http://www.w3.org/2000/svg\"", "");
    let hrefs = page.split("href=\"").skip(1).map(|rest| rest.split('"').next().unwrap());
    assert!(
        hrefs.clone().all(|href| dir.path().join(href).exists()),
        "{:?}",
        hrefs.collect::<Vec<_>>()
    );
    let bytes = fs::metadata(dir.path().join(files::REPORT)).unwrap().len();
    assert!(bytes < MOST_BYTES, "the page of an hour has {bytes} bytes");
}

#[test]
fn whatever_stands_in_a_log_is_only_text_on_the_page() {
    const HOSTILE: &str = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>&";
    let dir = tempfile::tempdir().unwrap();
    SMALL.write(dir.path());
    let mut plan = Plan::read(dir.path()).unwrap();
    plan.commands[1].line = HOSTILE.to_owned();
    (plan.experiment, plan.commit) = (HOSTILE.to_owned(), Some(HOSTILE.to_owned()));
    plan.write(dir.path()).unwrap();
    edit_memory(dir.path(), |sample| {
        for mark in &mut sample.marks {
            if mark.text == "all connected" {
                mark.text = HOSTILE.to_owned();
            }
        }
    });
    charts::report(dir.path()).unwrap();
    let other = reported(SMALL);
    let compared = dir.path().join(files::COMPARE);
    crate::compare::compare_two(dir.path(), other.path());
    for page in [page_of(dir.path()), fs::read_to_string(compared).unwrap()] {
        assert!(page.to_lowercase().contains("&lt;script&gt;"), "{page}");
        assert!(!page.to_lowercase().contains("<script") && !page.contains("<img"), "{page}");
    }
}

#[test]
fn what_follows_is_the_same_however_often_it_is_computed() {
    let dir = reported(SMALL);
    let all = || {
        let entries = fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().path());
        let mut all: Vec<_> = entries.map(|path| (path.clone(), fs::read(path).unwrap())).collect();
        all.sort();
        all
    };
    let before = all();
    charts::report(dir.path()).unwrap();
    assert!(before == all(), "a file differs, or one more is there");
}

/// A script that measures the page in a frame, and tells the page around it.
const MEASURE: &str = r#"<script nonce="test">
    const errors = [];
    addEventListener("error", (it) => errors.push(String(it.message)));
    addEventListener("securitypolicyviolation", (it) => errors.push(it.violatedDirective));
    addEventListener("load", () => {
        const all = [...document.querySelectorAll("body *")];
        const box = (it) => it.getBoundingClientRect();
        const charts = all.filter((it) => it.localName === "svg" && box(it).width > 0);
        const texts = charts.flatMap((svg) => {
            const scale = box(svg).width / svg.viewBox.baseVal.width;
            const texts = [...svg.querySelectorAll("text")];
            return texts.map((it) => scale * parseFloat(it.getAttribute("font-size")));
        });
        parent.document.documentElement.dataset[`page${PAGE}at${innerWidth}`] = JSON.stringify({
            errors,
            scrolled_px: document.documentElement.scrollWidth,
            beyond: all.filter((it) => box(it).right > innerWidth + 0.5).map((it) => it.localName),
            n_scripts: document.scripts.length,
            n_requests: performance.getEntriesByType("resource").length,
            charts_px: charts.map((it) => [Math.round(box(it).width), Math.round(box(it).height)]),
            least_text_px: texts.length ? Math.min(...texts) : null,
        });
    });
    </script>"#;

/// The widths that pages are looked at in: a telephone, both sides of each change of the layout,
/// and a desk.
const WIDTHS_PX: [u64; 6] = [390, 768, 780, 1_140, 1_160, 1_400];

/// A page to be looked at.
pub(crate) struct Shown {
    /// Of what it is.
    pub(crate) of: &'static str,
    /// Its text.
    pub(crate) page: String,
    /// How many charts are to be seen on it.
    pub(crate) n_charts: usize,
}

/// The frames of all widths that show page number `at`, measured by a script in each of them.
fn frames(at: usize, page: &str) -> String {
    let policy = "style-src 'unsafe-inline'";
    let measure = MEASURE.replace("PAGE", &at.to_string());
    let page = page.replacen(policy, &format!("{policy}; script-src 'nonce-test'"), 1).replacen(
        "<meta charset",
        &format!("{measure}<meta charset"),
        1,
    );
    // A browser's window cannot be as narrow as a telephone. A frame can.
    let page = page.replace('&', "&amp;").replace('"', "&quot;");
    let frame = |px| format!("<iframe width={px} height=900 srcdoc=\"{page}\"></iframe>");
    WIDTHS_PX.into_iter().map(frame).collect()
}

/// What a browser says of a page that shows all `pages` in frames of all widths: one start of the
/// browser takes longer than all that it then does. `None` where there is no browser, which is
/// said, and fails where everything must be there.
fn shown(pages: &[Shown]) -> Option<String> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("frames.html");
    let frames: String = (0..).zip(pages).map(|(at, it)| frames(at, &it.page)).collect();
    fs::write(&path, format!("<!DOCTYPE html>{frames}")).unwrap();
    let browser = Command::new("chromium")
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"])
        .args(["--no-first-run", "--disable-background-networking", "--disable-component-update"])
        .args(["--host-resolver-rules=MAP * ~NOTFOUND", "--enable-logging=stderr"])
        .args(["--window-size=1600,1000", "--timeout=60000", "--dump-dom"])
        .arg(format!("--user-data-dir={}", dir.path().join("profile").display()))
        .arg(format!("file://{}", path.display()))
        .output();
    let Ok(browser) = browser else {
        testing::skip("chromium");
        return None;
    };
    let said = String::from_utf8_lossy(&browser.stderr);
    assert!(browser.status.success() && !said.contains("CONSOLE"), "{said}");
    Some(String::from_utf8(browser.stdout).unwrap())
}

/// Checks `pages` in a browser.
#[track_caller]
pub(crate) fn check_in_a_browser(pages: &[Shown]) {
    let Some(dom) = shown(pages) else { return };
    for (at, page) in pages.iter().enumerate() {
        for width_px in WIDTHS_PX {
            let what = format!("{} at {width_px} px", page.of);
            let measured = dom.split(&format!("data-page{at}at{width_px}=\"")).nth(1);
            let measured = measured.and_then(|rest| rest.split('"').next());
            let measured = measured.unwrap_or_else(|| panic!("{what}: nothing is measured"));
            let measured = measured.replace("&quot;", "\"").replace("&amp;", "&");
            check_measured(
                &what,
                width_px,
                page.n_charts,
                &serde_json::from_str(&measured).unwrap(),
            );
        }
    }
}

/// Checks what was measured of a page in a frame of this width.
#[track_caller]
fn check_measured(what: &str, width_px: u64, n_charts: usize, measured: &Value) {
    let what = format!("{what}: {measured}");
    assert_eq!(measured["errors"], serde_json::json!([]), "{what}");
    assert_eq!((&measured["n_scripts"], &measured["n_requests"]), (&1.into(), &0.into()));
    assert_eq!(measured["beyond"], serde_json::json!([]), "{what}");
    assert!(measured["scrolled_px"].as_u64().unwrap() <= width_px, "{what}");
    let charts = measured["charts_px"].as_array().unwrap();
    assert_eq!(charts.len(), n_charts, "one of each kind is seen: {what}");
    let is_large = |it: &Value| it[0].as_u64() > Some(300) && it[1].as_u64() > Some(200);
    assert!(charts.iter().all(is_large), "{what}");
    let least_text_px = measured["least_text_px"].as_f64();
    assert!(n_charts == 0 || least_text_px.unwrap() > 8.8, "{what}");
}

/// Changes every report in a file of `folder`.
fn edit_reports(folder: &Path, name: &str, change: impl Fn(&mut Value)) {
    let path = folder.join(name);
    let text = fs::read_to_string(&path).unwrap();
    let edited = text.lines().map(|line| {
        let mut report = serde_json::from_str(line).unwrap();
        change(&mut report);
        format!("{report}\n")
    });
    fs::write(path, edited.collect::<String>()).unwrap();
}

/// Takes files away from `folder`.
fn remove(folder: &Path, names: &[&str]) {
    for name in names {
        fs::remove_file(folder.join(name)).unwrap();
    }
}

/// The run in `folder` as one of a server that gives no counts and sends events.
fn make_foreign(folder: &Path) -> Plan {
    let mut plan = Plan::read(folder).unwrap();
    "nchan".clone_into(&mut plan.experiment);
    plan.title = Some("nchan, event streams".to_owned());
    "nginx + nchan".clone_into(&mut plan.server.name);
    plan.server.is_counted = false;
    plan.write(folder).unwrap();
    remove(folder, &[files::SERVER_STATS]);
    edit_reports(folder, files::FLOODTEST, |it| {
        it["item_kind"] = "events".into();
        it["chunks"] = 0.into();
    });
    let mut exits = Exits::read(folder).unwrap();
    for exit in exits.exits.iter_mut().filter(|exit| exit.program == "comet-server") {
        exit.program.clone_from(&plan.server.name);
    }
    exits.write(folder).unwrap();
    let messages = Some(SMALL.n_messages());
    Expected { messages, ..Expected::default() }.write(folder).unwrap();
    plan
}

/// A run of a server that is not ours, late and with connections that failed.
fn foreign() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    SMALL.write(dir.path());
    make_foreign(dir.path());
    edit_reports(dir.path(), files::MSGGEN, |it| {
        it["late"] = 4_000.into();
        it["achieved_per_s"] = 60.5.into();
    });
    edit_reports(dir.path(), files::FLOODTEST, |it| {
        it["failed"] = 12.into();
        it["failures"] = serde_json::json!({ "refused": 2, "timeout": 10 });
        it["notes"] = serde_json::json!(["3 redirects were followed"]);
    });
    charts::report(dir.path()).unwrap();
    dir
}

/// A run without messages.
fn quiet() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    SMALL.write(dir.path());
    let mut plan = make_foreign(dir.path());
    plan.messages_per_second = 0;
    plan.write(dir.path()).unwrap();
    edit_reports(dir.path(), files::FLOODTEST, |it| {
        for count in ["items", "messages"] {
            it[count] = 0.into();
        }
        it["judged_by"] = "nothing".into();
        for judged in ["lost", "duplicated", "reordered"] {
            it[judged] = Value::Null;
        }
        for delays in ["delivery_from_due", "delivery_from_send"] {
            it.as_object_mut().unwrap().remove(delays);
            it[delays] = serde_json::to_value(LatencySummary::default()).unwrap();
        }
    });
    remove(dir.path(), &DELAYS);
    remove(dir.path(), &[files::MSGGEN, files::EXPECTED]);
    charts::report(dir.path()).unwrap();
    dir
}

/// The latency logs.
const DELAYS: [&str; 5] = [
    files::DELIVERY_FROM_DUE,
    files::DELIVERY_FROM_SEND,
    files::SEND_FROM_DUE,
    files::SEND_FROM_SEND,
    files::LATENESS,
];

/// A run with a server on another machine.
fn elsewhere() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    SMALL.write(dir.path());
    let mut plan = make_foreign(dir.path());
    (plan.server.is_watched, plan.server.is_started) = (false, false);
    plan.write(dir.path()).unwrap();
    remove(dir.path(), &[files::MEMORY]);
    let phase = |(name, at): (&str, u64)| PhaseStart {
        name: name.to_owned(),
        unix_ms: (FIRST_UNIX_S + at) * 1_000,
    };
    let phases = [("nobody connected", 0), ("connecting", 3), ("all connected", 5), ("sending", 8)];
    let phases = phases.into_iter().chain([("sent", 68), ("disconnecting", 71)]);
    Phases { phases: phases.map(phase).collect() }.write(dir.path()).unwrap();
    charts::report(dir.path()).unwrap();
    dir
}

/// A run whose server died when messages had been sent for a while.
fn died() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    SMALL.write(dir.path());
    let plan = make_foreign(dir.path());
    let mut exits = Exits::read(dir.path()).unwrap();
    exits.exits.sort_by_key(|exit| exit.program != plan.server.name);
    exits.exits[0].code = None;
    exits.exits[0].signal = Some(9);
    exits.exits[0].is_early = true;
    exits.write(dir.path()).unwrap();
    let path = dir.path().join(files::MEMORY);
    let text = fs::read_to_string(&path).unwrap();
    let until = text.lines().take(40).map(|line| format!("{line}\n"));
    fs::write(path, until.collect::<String>()).unwrap();
    edit_reports(dir.path(), files::FLOODTEST, |it| {
        it["closed"] = it["connected"].take();
        it["connected"] = 0.into();
        it["closures"] = serde_json::json!({ "reset": it["closed"] });
    });
    charts::report(dir.path()).unwrap();
    dir
}

#[test]
fn a_run_of_another_server_says_what_limited_it_and_names_what_it_received() {
    let dir = foreign();
    let page = page_of(dir.path());
    for text in [
        "60.5 of 100 messages a second were sent, 4,000 (66.67\u{a0}%) more than 1 ms after",
        "of 2,000, 12 failed (timeout: 10, refused: 2)",
        "events received",
        "Messages sent and events received a second",
        "floodtest: 3 redirects were followed.",
        "<code>expected.toml</code>",
    ] {
        assert!(page.contains(text), "{text:?} is not in {page}");
    }
    // What was no chunk is called none, in the charts neither.
    assert!(!page.contains("chunks received") && !page.contains("chunks and"), "{page}");
    let traffic = fs::read_to_string(dir.path().join("traffic.svg")).unwrap();
    assert!(traffic.contains("events received") && !traffic.contains("chunks"), "{traffic}");
}

#[test]
fn what_comet_server_sent_over_websockets_is_frames_at_the_top_and_in_the_chart() {
    let dir = tempfile::tempdir().unwrap();
    SMALL.write(dir.path());
    edit_reports(dir.path(), files::FLOODTEST, |it| {
        it["item_kind"] = "frames".into();
        it["chunks"] = 0.into();
    });
    let summary = charts::report(dir.path()).unwrap();
    assert!(summary.held(), "{:?}", summary.shortfalls);
    assert_eq!(summary.rates.received_per_s, Some(100.0));
    let page = page_of(dir.path());
    let held = "6,000 messages were sent, and 6,000 frames received: none lost";
    assert!(page.contains(held) && page.contains("Messages, frames and connections"), "{page}");
}

#[test]
fn a_server_that_died_is_the_reason_and_what_came_of_it_stands_below() {
    let dir = died();
    let page = page_of(dir.path());
    let at = |text: &str| page.find(text).unwrap_or_else(|| panic!("{text:?} is not in {page}"));
    let order = [
        "<strong>Fell short</strong>: nginx + nchan ended in the middle of the run with signal 9",
        "What came of it:",
        "0 of 2,000 connections were open at the end",
        "What limited it:",
        "of 2,000, 2,000 closed before the end (reset: 2,000)",
    ];
    assert!(order.map(at).is_sorted(), "{page}");
}

#[test]
fn figures_that_a_run_could_not_have_are_left_out_at_the_top_and_it_says_why() {
    let (quiet, elsewhere) = (quiet(), elsewhere());
    let top = |dir: &TempDir| page_of(dir.path()).split("</header>").next().unwrap().to_owned();
    let page = top(&quiet);
    assert!(page.contains("No messages were sent, and none came."), "{page}");
    assert!(!page.contains("not measured") && !page.contains("from due to received"), "{page}");
    let page = top(&elsewhere);
    assert!(page.contains("runs on another machine or is not known as a process"), "{page}");
    assert!(!page.contains("not measured") && !page.contains("memory (RSS)"), "{page}");
}

#[test]
fn a_browser_shows_the_page_of_every_kind_of_run_whole_at_every_width() {
    let ours = reported(SMALL);
    let (foreign, quiet, elsewhere, died) = (foreign(), quiet(), elsewhere(), died());
    let page = |of, dir: &TempDir, n_charts| Shown { of, page: page_of(dir.path()), n_charts };
    let other = reported(Fixture { connections: 1_000, ..SMALL });
    let compared = ours.path().join(files::COMPARE);
    crate::compare::compare_two(ours.path(), other.path());
    let peers = ours.path().join("peers.html");
    let folders = [&ours, &foreign, &died].map(|dir| vec![dir.path().to_owned()]);
    let servers = folders.map(|folders| Peer { folders });
    charts::peers(&servers, run::Command::default(), &peers).unwrap();
    let read = |path| fs::read_to_string(path).unwrap();
    let sweep_place = tempfile::tempdir().unwrap();
    check_in_a_browser(&[
        page("a run of comet-server", &ours, 5),
        page("a run of another server", &foreign, 5),
        page("a run without messages", &quiet, 3),
        page("a run without memory", &elsewhere, 3),
        page("a run whose server died", &died, 5),
        page("a run with storms", &stormy(), 6),
        page("a run of streams that end", &streaming(), 6),
        Shown { of: "a comparison", page: read(compared), n_charts: 2 },
        Shown { of: "servers side by side", page: read(peers), n_charts: 0 },
        Shown { of: "back-off windows", page: swept(sweep_place.path()).1, n_charts: 2 },
    ]);
}
