//! `GET /` in a browser, and what a browser does with messages that look like programs.

use crate::browser::Browser;
use crate::support::Server;

/// Would show itself in the title if any of it were run.
const SCRIPT: &str =
    "<script>document.title='run'</script><img src=x onerror=\"document.title='run'\">";

#[test]
fn the_page_follows_an_id_and_shows_messages_as_text() {
    let Some(mut browser) = Browser::start() else { return };
    let server = Server::start(&[]);
    browser.resize(1_280, 800);
    browser.open(&format!("http://{}/", server.public));
    browser.wait_until("document.readyState === 'complete' && location.port");
    browser.evaluate(
        "document.querySelector('input').value = '7,8'; document.querySelector('button').click()",
    );
    browser.wait_until("document.querySelector('.state.open')");
    assert_eq!(server.send(7, "Hello World"), 1);
    assert_eq!(server.send(8, SCRIPT), 1);
    assert_eq!(server.send(7, "two\nlines"), 1);
    browser.wait_until("document.querySelectorAll('li').length === 3");
    let texts =
        "[...document.querySelectorAll('li > :nth-child(2)')].map(part => part.textContent)";
    assert_eq!(browser.evaluate(texts), serde_json::json!(["two\nlines", SCRIPT, "Hello World"]));
    assert_eq!(browser.evaluate("document.querySelector('li > span').textContent"), "#3");
    assert_eq!(browser.evaluate("document.title"), "comet-server", "a message was run");

    let word = "long".repeat(100);
    assert_eq!(server.send(7, &word), 1);
    browser.wait_until("document.querySelectorAll('li').length === 4");
    for width in [1_280, 390, 320] {
        browser.resize(width, 800);
        browser.wait_until(&format!("innerWidth === {width}"));
        let fits = "document.documentElement.scrollWidth <= innerWidth";
        assert_eq!(browser.evaluate(fits), true, "it scrolls sideways at {width} pixels");
    }
    assert_eq!(browser.complaints, Vec::<serde_json::Value>::new());

    assert_eq!(server.ask("DELETE", "/logins/7", "", "").0, 200);
    browser.wait_until("document.querySelector('.state.lost')");
    browser.wait_until("document.querySelector('.state.open')");
    browser.evaluate("location.hash = '0'");
    browser.wait_until("document.querySelector('.state')?.textContent.startsWith('Refused')");
}

#[test]
fn the_page_follows_by_chunks_events_and_websocket_side_by_side() {
    let Some(mut browser) = Browser::start() else { return };
    let server = Server::start(&["--ping", "200ms"]);
    browser.resize(1_280, 800);
    browser.open(&format!("http://{}/#7,8/all", server.public));
    browser.wait_until("document.querySelectorAll('.state.open').length === 3");
    let messages = ["Hello World", SCRIPT, "it's <br/> & &amp;", "ü€😀", ""];
    for message in messages {
        assert_eq!(server.send(7, message), 3);
    }
    assert_eq!(server.send(8, &"long ".repeat(13_000)), 3);
    browser.wait_until("document.querySelectorAll('li').length === 18");
    let all = "[...document.querySelectorAll('section')].map(section => [
        section.querySelector('h2').textContent,
        ...[...section.querySelectorAll('li')].reverse().map(
            item => item.children[0].textContent + ' ' + item.children[1].textContent)])";
    let shown = browser.evaluate(all);
    for (at, title) in ["Events", "Chunks", "WebSocket"].into_iter().enumerate() {
        let numbered = (1..).zip(messages).map(|(n, message)| format!("#{n} {message}"));
        let expected: Vec<_> = [title.to_owned()].into_iter().chain(numbered).collect();
        let its = shown[at].as_array().unwrap();
        assert_eq!(its[..expected.len()], expected[..], "{title}");
        assert_eq!(its[6].as_str().unwrap().len(), 3 + 65_000, "{title}");
    }
    assert_eq!(browser.evaluate("document.title"), "comet-server", "a message was run");
    for width in [1_280, 390, 320] {
        browser.resize(width, 800);
        browser.wait_until(&format!("innerWidth === {width}"));
        let fits = "document.documentElement.scrollWidth <= innerWidth";
        assert_eq!(browser.evaluate(fits), true, "it scrolls sideways at {width} pixels");
    }

    // A logout ends all of them, and each tries again.
    assert_eq!(server.ask("DELETE", "/logins/8", "", "").0, 200);
    browser.wait_until("document.querySelectorAll('.state.lost').length === 3");
    browser.wait_until("document.querySelectorAll('.state.open').length === 3");
    assert_eq!(browser.complaints, Vec::<serde_json::Value>::new());
    // The browser's WebSocket has answered all pings since, and says goodbye by the book.
    assert_eq!(server.send(7, "again"), 3);
    browser.evaluate("location.hash = '#9/websocket'");
    browser.wait_until("document.querySelectorAll('.state.open').length === 1");
    let is_left = |stats: &serde_json::Value| stats["connections_parked"] == 1;
    let stats = server.wait_for_stats(is_left);
    assert_eq!(stats["close_codes"], serde_json::json!({ "1000": 1 }), "{stats}");
    assert_eq!(server.send(9, "alone"), 1);
    browser.wait_until("document.querySelector('li')?.textContent.startsWith('#1alone')");
    browser.evaluate("location.hash = '#0/websocket'");
    browser.wait_until("document.querySelector('.state')?.textContent.startsWith('Refused')");
}

#[test]
fn a_script_in_a_message_does_not_run_in_the_html_stream() {
    let Some(mut browser) = Browser::start() else { return };
    let server = Server::start(&[]);
    browser.open(&format!("http://{}/test/7", server.public));
    server.wait_for_stats(|stats| stats["connections_parked"] == 1);
    assert_eq!(server.send(7, SCRIPT), 1);
    browser.wait_until("document.body.innerText.includes('onerror')");
    let text = format!("Recvd msg #1: '{SCRIPT}'");
    assert_eq!(browser.evaluate("document.body.innerText.trim()"), text);
    assert_eq!(browser.evaluate("document.title"), "", "a message was run");
    assert_eq!(browser.evaluate("document.querySelectorAll('script, img').length"), 0);
    assert_eq!(browser.complaints, Vec::<serde_json::Value>::new());
}
