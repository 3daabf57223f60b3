//! The page of a run: whole, self-contained, escaped, and right in a browser.

use std::fs;
use std::path::Path;
use std::process::Command;

use reports::run::{Plan, files};
use serde_json::Value;
use tempfile::TempDir;

use crate::fixture::Fixture;
use crate::run_folder::{SMALL, edit_memory};

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
        "The books balance",
        "What it cost the server",
        "The whole machine",
        "Connections and messages",
        "How long messages took",
        "Beside the article",
        "cargo rig c10k --minutes 2",
        "The machine",
        "What was done when",
        "What is not claimed",
        "The raw figures",
    ];
    assert!(order.map(at).is_sorted(), "{:?}", order.map(at));
    at("(4,092 − 3,496) KB ÷ 2,000");
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
        parent.document.documentElement.dataset[`at${innerWidth}`] = JSON.stringify({
            errors,
            scrolled_px: document.documentElement.scrollWidth,
            beyond: all.filter((it) => box(it).right > innerWidth + 0.5).map((it) => it.localName),
            n_scripts: document.scripts.length,
            n_requests: performance.getEntriesByType("resource").length,
            charts_px: charts.map((it) => [Math.round(box(it).width), Math.round(box(it).height)]),
            least_text_px: Math.min(...texts),
        });
    });
    </script>"#;

/// The widths that pages are looked at in: a telephone, both sides of each change of the layout,
/// and a desk.
const WIDTHS_PX: [u64; 6] = [390, 768, 780, 1_140, 1_160, 1_400];

/// What a browser says of a page that shows `page` in frames of all widths. `None` where there is
/// no browser, which is said, and fails where everything must be there.
fn shown(page: &str) -> Option<String> {
    let dir = tempfile::tempdir().unwrap();
    let policy = "style-src 'unsafe-inline'";
    let page = page.replacen(policy, &format!("{policy}; script-src 'nonce-test'"), 1).replacen(
        "<meta charset",
        &format!("{MEASURE}<meta charset"),
        1,
    );
    // A browser's window cannot be as narrow as a telephone. A frame can.
    let page = page.replace('&', "&amp;").replace('"', "&quot;");
    let frame = |px| format!("<iframe width={px} height=900 srcdoc=\"{page}\"></iframe>");
    let frames: String = WIDTHS_PX.into_iter().map(frame).collect();
    let path = dir.path().join("frames.html");
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

/// Checks `page` in a browser.
#[track_caller]
pub(crate) fn check_in_a_browser(page: &str, n_charts: usize) {
    let Some(dom) = shown(page) else { return };
    for width_px in WIDTHS_PX {
        let measured = dom.split(&format!("data-at{width_px}=\"")).nth(1);
        let measured = measured.and_then(|rest| rest.split('"').next());
        let measured = measured.unwrap_or_else(|| panic!("nothing is measured at {width_px} px"));
        let measured = measured.replace("&quot;", "\"").replace("&amp;", "&");
        let measured: Value = serde_json::from_str(&measured).unwrap();
        let what = format!("{width_px} px: {measured}");
        assert_eq!(measured["errors"], serde_json::json!([]), "{what}");
        assert_eq!((&measured["n_scripts"], &measured["n_requests"]), (&1.into(), &0.into()));
        assert_eq!(measured["beyond"], serde_json::json!([]), "{what}");
        assert!(measured["scrolled_px"].as_u64().unwrap() <= width_px, "{what}");
        let charts = measured["charts_px"].as_array().unwrap();
        assert_eq!(charts.len(), n_charts, "one of each kind is seen: {what}");
        let is_large = |it: &Value| it[0].as_u64() > Some(300) && it[1].as_u64() > Some(200);
        assert!(charts.iter().all(is_large), "{what}");
        assert!(measured["least_text_px"].as_f64().unwrap() > 8.8, "{what}");
    }
}

#[test]
fn a_browser_shows_the_page_whole_at_every_width() {
    let dir = reported(SMALL);
    check_in_a_browser(&page_of(dir.path()), 5);
}

#[test]
fn a_browser_shows_a_comparison_whole_at_every_width() {
    let (dir, other) = (reported(SMALL), reported(Fixture { connections: 1_000, ..SMALL }));
    let compared = dir.path().join(files::COMPARE);
    crate::compare::compare_two(dir.path(), other.path());
    check_in_a_browser(&fs::read_to_string(compared).unwrap(), 2);
}
