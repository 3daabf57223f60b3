//! A headless chromium, told what to do through its pipe.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::{Value, json};

/// A browser with one page, killed when it is dropped.
pub(crate) struct Browser {
    child: Child,
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
    profile: tempfile::TempDir,
    n_orders: u64,
    session: Value,
    /// What the page wrote to its console, and what went wrong there.
    pub(crate) complaints: Vec<Value>,
}

impl Browser {
    /// Starts it and opens an empty page. Without a chromium the test is skipped, unless it must
    /// not be.
    pub(crate) fn start() -> Option<Self> {
        if Command::new("chromium").arg("--version").output().is_err() {
            testing::skip("chromium");
            return None;
        }
        let profile = tempfile::tempdir().unwrap();
        // It takes orders on descriptor 3 and answers on 4; here they are its input and output.
        let flags = "--headless --no-sandbox --disable-gpu --no-first-run --disable-dev-shm-usage \
                 --remote-debugging-pipe";
        let mut child = Command::new("sh")
            .args(["-c", &format!("exec chromium {flags} \"$@\" 3<&0 4>&1 </dev/null >&2"), "sh"])
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let orders = child.stdin.take().unwrap();
        let answers = BufReader::new(child.stdout.take().unwrap());
        let (n_orders, session, complaints) = (0, Value::Null, Vec::new());
        let mut browser = Self { child, orders, answers, profile, n_orders, session, complaints };
        let target = browser.order("Target.createTarget", &json!({ "url": "about:blank" }));
        let attach = json!({ "targetId": target["targetId"], "flatten": true });
        browser.session = browser.order("Target.attachToTarget", &attach)["sessionId"].take();
        for domain in ["Page.enable", "Runtime.enable", "Log.enable"] {
            browser.order(domain, &json!({}));
        }
        Some(browser)
    }

    /// Gives an order and waits for its result.
    pub(crate) fn order(&mut self, method: &str, params: &Value) -> Value {
        self.n_orders += 1;
        let mut order = json!({ "id": self.n_orders, "method": method, "params": params });
        if !self.session.is_null() {
            order["sessionId"] = self.session.clone();
        }
        write!(self.orders, "{order}\0").unwrap();
        loop {
            let mut answer = Vec::new();
            self.answers.read_until(0, &mut answer).unwrap();
            assert_eq!(
                answer.pop(),
                Some(0),
                "the browser ended in {}",
                self.profile.path().display()
            );
            let mut answer: Value = serde_json::from_slice(&answer).unwrap();
            if answer["id"] == self.n_orders {
                assert!(answer["error"].is_null(), "{method}: {answer}");
                return answer["result"].take();
            }
            let is_complaint = |method: &Value| {
                method == "Runtime.exceptionThrown"
                    || method == "Log.entryAdded"
                    || method == "Runtime.consoleAPICalled"
                    || method == "Page.javascriptDialogOpening"
            };
            if is_complaint(&answer["method"]) {
                self.complaints.push(answer);
            }
        }
    }

    /// Opens an address.
    pub(crate) fn open(&mut self, url: &str) {
        self.order("Page.navigate", &json!({ "url": url }));
    }

    /// The value of an expression in the page, awaited if it is a promise.
    pub(crate) fn evaluate(&mut self, expression: &str) -> Value {
        let params =
            json!({ "expression": expression, "awaitPromise": true, "returnByValue": true });
        let mut result = self.order("Runtime.evaluate", &params);
        assert!(result["exceptionDetails"].is_null(), "{expression}: {result}");
        result["result"]["value"].take()
    }

    /// Waits until a condition holds in the page: until it does, every change there tries it.
    pub(crate) fn wait_until(&mut self, condition: &str) {
        let holds = self.evaluate(&format!(
            "new Promise(done => {{
                const started = performance.now();
                const look = () => {{
                    if (document.body && ({condition})) done(true);
                    else if (performance.now() - started > 20000)
                        done(document.documentElement.outerHTML);
                    else requestAnimationFrame(look);
                }};
                look();
            }})"
        ));
        assert_eq!(holds, true, "{condition}");
    }

    /// Makes the page as wide as a screen or a phone.
    pub(crate) fn resize(&mut self, width: u32, height: u32) {
        let params = json!({
            "width": width, "height": height, "deviceScaleFactor": 1, "mobile": false
        });
        self.order("Emulation.setDeviceMetricsOverride", &params);
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        _ = self.child.kill();
        _ = self.child.wait();
    }
}
