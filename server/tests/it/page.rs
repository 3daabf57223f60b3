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
    browser.wait_until("document.querySelector('#state').className === 'open'");
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
    browser.wait_until("document.querySelector('#state').className === 'lost'");
    browser.wait_until("document.querySelector('#state').className === 'open'");
    browser.evaluate("location.hash = '0'");
    browser.wait_until("document.querySelector('#state').textContent.startsWith('Refused')");
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
