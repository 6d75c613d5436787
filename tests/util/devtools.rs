//! A page of a browser that is looked at and driven from outside, by the DevTools protocol.

use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tungstenite::{Message, WebSocket};

use crate::browser::Browser;
use crate::{Http, wait_until};

/// A browser takes its time, on a busy machine above all.
const DEADLINE: Duration = Duration::from_secs(60);

/// The only page of a browser.
pub struct Page {
    socket: WebSocket<TcpStream>,
    calls: u64,
    requested: Vec<String>,
    complaints: Vec<String>,
    _browser: Browser,
}

impl Page {
    /// Starts a browser with an empty page.
    ///
    /// # Panics
    ///
    /// When none is installed, or it does not answer.
    pub fn open() -> Page {
        let browser = Browser::open_with(&["--remote-debugging-port=0"], "about:blank");
        let mut port = String::new();
        wait_until("the browser listens", DEADLINE, || {
            port = browser.file("DevToolsActivePort").unwrap_or_default();
            port.lines().count() >= 2
        });
        let port: u16 = port
            .lines()
            .next()
            .and_then(|it| it.parse().ok())
            .expect("a port");
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let mut path = None;
        wait_until("the page is there", DEADLINE, || {
            let targets = Http::open(address).get("/json/list").json();
            let mut targets = targets.as_array().into_iter().flatten();
            let page = targets.find(|it| it["type"] == "page");
            path = page.and_then(|it| it["webSocketDebuggerUrl"].as_str().map(str::to_owned));
            path.is_some()
        });
        let stream = TcpStream::connect(address).expect("the browser accepts");
        let timeout = stream.set_read_timeout(Some(DEADLINE));
        timeout.expect("the timeout is not zero");
        let url = path.expect("it was found");
        let (socket, _) = tungstenite::client(url, stream).expect("the browser upgrades");
        let mut page = Page {
            socket,
            calls: 0,
            requested: Vec::new(),
            complaints: Vec::new(),
            _browser: browser,
        };
        for domain in ["Network", "Log", "Runtime", "Page"] {
            page.call(&format!("{domain}.enable"), json!({}));
        }
        page
    }

    /// Goes to an address.
    pub fn go(&mut self, url: &str) {
        self.call("Page.navigate", json!({"url": url}));
    }

    /// The value of an expression.
    pub fn evaluate(&mut self, expression: &str) -> Value {
        let said = self.call(
            "Runtime.evaluate",
            json!({"expression": expression, "returnByValue": true}),
        );
        said["result"]["value"].clone()
    }

    /// Waits until an expression is true.
    ///
    /// # Panics
    ///
    /// When it does not become so within a minute.
    pub fn wait(&mut self, expression: &str) {
        let end = Instant::now() + DEADLINE;
        while self.evaluate(expression) != true {
            if Instant::now() > end {
                let shown = self.evaluate("document.body.innerText.slice(0, 2000)");
                let (asked, wrong) = (&self.requested, &self.complaints);
                panic!("never: {expression}; asked for {asked:?}; {wrong:?}; it shows {shown}");
            }
            // Only the time between two looks.
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Waits for what a selector names, and clicks it.
    pub fn click(&mut self, selector: &str) {
        self.wait(&format!("!!document.querySelector('{selector}')"));
        self.evaluate(&format!("document.querySelector('{selector}').click()"));
    }

    /// Addresses that the browser has asked for so far.
    pub fn requested(&self) -> &[String] {
        &self.requested
    }

    /// What the browser complained about so far: errors of scripts, things that policies forbid.
    pub fn complaints(&self) -> &[String] {
        &self.complaints
    }

    fn call(&mut self, method: &str, params: Value) -> Value {
        self.calls += 1;
        let call = json!({"id": self.calls, "method": method, "params": params});
        let sent = self.socket.send(Message::text(call.to_string()));
        sent.expect("the browser reads");
        loop {
            let message = self.socket.read().expect("the browser answers");
            let Ok(text) = message.to_text() else {
                continue;
            };
            let Ok(said) = serde_json::from_str::<Value>(text) else {
                continue;
            };
            if said["id"] == self.calls {
                return said["result"].clone();
            }
            self.note(&said);
        }
    }

    fn note(&mut self, event: &Value) {
        let params = &event["params"];
        match event["method"].as_str() {
            Some("Network.requestWillBeSent") => {
                let url = params["request"]["url"].as_str().unwrap_or_default();
                self.requested.push(url.to_owned());
            }
            Some("Runtime.exceptionThrown") => {
                self.complaints.push(params["exceptionDetails"].to_string());
            }
            Some("Log.entryAdded") if params["entry"]["level"] == "error" => {
                self.complaints.push(params["entry"].to_string());
            }
            _ => {}
        }
    }
}
