//! A real Prometheus with the configuration of this repository, on a free port and with a folder of its own,
//! stopped when dropped; and its tool.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;
use test_util::ports::free_port;
use test_util::{DEADLINE, Http, wait_until};

/// Where the files are.
pub(crate) fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/prometheus")
}

/// Runs `promtool`, which must be content; returns what it said. `None` if it is not installed.
///
/// # Panics
///
/// When it is not content.
pub(crate) fn promtool(arguments: &[&str], directory: &Path) -> Option<String> {
    let output = Command::new("promtool")
        .args(arguments)
        .current_dir(directory)
        .stdin(Stdio::null())
        .output();
    let Ok(output) = output else {
        eprintln!("skipped: promtool (Debian package prometheus) is not installed");
        return None;
    };
    let Output {
        status,
        stdout,
        stderr,
    } = output;
    let said = String::from_utf8_lossy(&[stdout, stderr].concat()).into_owned();
    assert!(status.success(), "{arguments:?}: {said}");
    Some(said)
}

/// One that runs.
pub(crate) struct Prometheus {
    child: Child,
    address: SocketAddr,
    directory: TempDir,
}

impl Prometheus {
    /// Starts it with the configuration and the rules of this repository; other are the targets, and that it
    /// scrapes and evaluates more often. `None` if it is not installed.
    ///
    /// # Panics
    ///
    /// When it does not become ready.
    pub(crate) fn start(targets: &[SocketAddr], interval: &str) -> Option<Prometheus> {
        let directory = tempfile::tempdir().expect("a folder can be made");
        let targets: Vec<String> = targets.iter().map(|it| format!("\"{it}\"")).collect();
        let mut config = fs::read_to_string(folder().join("prometheus.yml")).expect("it is there");
        for (from, to) in [
            ("\"proxy:8080\"", targets.join(", ")),
            (
                "scrape_interval: 15s",
                format!("scrape_interval: {interval}"),
            ),
            (
                "evaluation_interval: 15s",
                format!("evaluation_interval: {interval}"),
            ),
        ] {
            assert!(config.contains(from), "the file has no {from}");
            config = config.replace(from, &to);
        }
        let path = |name: &str| directory.path().join(name);
        fs::write(path("prometheus.yml"), config).expect("a file can be written");
        fs::copy(folder().join("alerts.yml"), path("alerts.yml")).expect("a file can be written");
        let log = fs::File::create(path("log")).expect("a file can be made");
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
        let child = Command::new("prometheus")
            .arg(format!("--web.listen-address={address}"))
            .arg(format!(
                "--config.file={}",
                path("prometheus.yml").display()
            ))
            .arg(format!("--storage.tsdb.path={}", path("data").display()))
            .arg("--log.level=warn")
            .current_dir(directory.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn();
        let Ok(child) = child else {
            eprintln!("skipped: prometheus (Debian package prometheus) is not installed");
            return None;
        };
        let prometheus = Prometheus {
            child,
            address,
            directory,
        };
        wait_until("Prometheus is ready", DEADLINE, || {
            TcpStream::connect(address).is_ok() && Http::open(address).get("/-/ready").status == 200
        });
        Some(prometheus)
    }

    /// What an expression is now, as the list of series that it gives.
    ///
    /// # Panics
    ///
    /// When it cannot be evaluated.
    pub(crate) fn query(&self, expression: &str) -> Vec<Value> {
        let path = format!("/api/v1/query?query={}", encoded(expression));
        self.series(&path, expression)
    }

    /// What an expression was in the last seconds, each second.
    ///
    /// # Panics
    ///
    /// When it cannot be evaluated.
    pub(crate) fn query_range(&self, expression: &str, seconds: u64) -> Vec<Value> {
        let now = self.query("time()");
        let end = now[0].as_f64().expect("a time");
        let begin = end - seconds as f64;
        let query = encoded(expression);
        let path = format!("/api/v1/query_range?query={query}&start={begin}&end={end}&step=1");
        self.series(&path, expression)
    }

    /// The rules that it has loaded.
    pub(crate) fn rules(&self) -> Vec<Value> {
        let groups = self.get("/api/v1/rules");
        let groups = groups["data"]["groups"].as_array().expect("groups").clone();
        let rules = groups.iter().flat_map(|group| {
            let rules = group["rules"].as_array();
            rules.expect("rules").clone()
        });
        rules.collect()
    }

    fn series(&self, path: &str, expression: &str) -> Vec<Value> {
        let answer = self.get(path);
        assert_eq!(answer["status"], "success", "{expression}: {answer}");
        let result = answer["data"]["result"].as_array();
        result.expect("a result is a list").clone()
    }

    fn get(&self, path: &str) -> Value {
        let response = Http::open(self.address).get(path);
        response.json()
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        // Both fail only for a process that has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            let log = fs::read_to_string(self.directory.path().join("log"));
            eprintln!("--- log of Prometheus\n{}---", log.unwrap_or_default());
        }
    }
}

fn encoded(text: &str) -> String {
    let byte = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(byte).collect()
}
