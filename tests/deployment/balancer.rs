//! A balancer with a configuration of the document, on a free port, killed when dropped.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use tempfile::TempDir;
use test_util::ports::free_port;
use test_util::{DEADLINE, wait_until};

/// Addresses of the document.
const FIRST: &str = "10.0.0.11:8080";
const SECOND: &str = "10.0.0.12:8080";

/// Which one.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// HAProxy.
    Haproxy,
    /// nginx.
    Nginx,
}

/// One that runs.
pub(crate) struct Balancer {
    child: Child,
    port: u16,
    directory: TempDir,
}

impl Balancer {
    /// Checks the configuration with the balancer's own tool and starts it in front of two instances or more; `None`
    /// if it is not installed.
    ///
    /// # Panics
    ///
    /// When the configuration is wrong, or it does not listen.
    pub(crate) fn start(kind: Kind, instances: &[SocketAddr]) -> Option<Balancer> {
        let Some(program) = program(kind.name()) else {
            let name = kind.name();
            eprintln!("skipped: {name} is not installed; scripts/test.sh does it");
            return None;
        };
        let directory = tempfile::tempdir().expect("a folder can be made");
        let port = free_port();
        let file = directory.path().join("conf");
        fs::write(&file, kind.configuration(directory.path(), port, instances))
            .expect("a file can be written");
        kind.check(&program, directory.path());
        let child = kind
            .command(&program, directory.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log(directory.path()))
            .spawn()
            .expect("the balancer can be started");
        let balancer = Balancer {
            child,
            port,
            directory,
        };
        wait_until("the balancer listens", DEADLINE, || {
            TcpStream::connect(balancer.address()).is_ok()
        });
        Some(balancer)
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }
}

impl Drop for Balancer {
    fn drop(&mut self) {
        // Both fail only for a process that has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            let log = fs::read_to_string(self.directory.path().join("log"));
            eprintln!("--- log of the balancer\n{}---", log.unwrap_or_default());
        }
    }
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Kind::Haproxy => "haproxy",
            Kind::Nginx => "nginx",
        }
    }

    /// That of the document, with addresses of this test and limits that any user may have. The lines of its second
    /// instance stand for all further ones.
    fn configuration(self, directory: &Path, port: u16, instances: &[SocketAddr]) -> String {
        let folder = directory.display();
        let (mut text, changes) = (
            super::block(self.name()).to_owned(),
            match self {
                Kind::Haproxy => vec![
                    ("maxconn 50000", "maxconn 400".to_owned()),
                    ("bind :80", format!("bind 127.0.0.1:{port}")),
                ],
                Kind::Nginx => vec![
                    ("worker_rlimit_nofile 131072;", String::new()),
                    (
                        "worker_connections 65536;",
                        "worker_connections 400;".to_owned(),
                    ),
                    ("listen 80;", format!("listen 127.0.0.1:{port};")),
                    (
                        "http {",
                        format!(
                            "http {{\nclient_body_temp_path {folder};\nproxy_temp_path {folder};"
                        ),
                    ),
                ],
            },
        );
        let (first, others) = instances.split_first().expect("there are instances");
        for (from, to) in changes.into_iter().chain([(FIRST, first.to_string())]) {
            assert!(text.contains(from), "the document has no {from:?}");
            text = text.replace(from, &to);
        }
        let line = |line: &str| {
            if !line.contains(SECOND) {
                return format!("{line}\n");
            }
            let named = others.iter().enumerate().map(|(at, other)| {
                let name = format!(" other{at} ");
                line.replace(" b ", &name)
                    .replace(SECOND, &other.to_string())
                    + "\n"
            });
            named.collect()
        };
        assert!(text.contains(SECOND), "the document has no {SECOND}");
        text.lines().map(line).collect()
    }

    /// Runs it in the foreground, as one process.
    fn command(self, program: &Path, directory: &Path) -> Command {
        let mut command = Command::new(program);
        let file = directory.join("conf");
        match self {
            Kind::Haproxy => command.arg("-db").arg("-f").arg(file),
            Kind::Nginx => {
                let folder = directory.display();
                let more = format!("daemon off; master_process off; pid {folder}/pid;");
                command
                    .args(["-e", "stderr", "-g", &more])
                    .arg("-c")
                    .arg(file)
            }
        };
        command
    }

    /// Has it check its configuration.
    fn check(self, program: &Path, directory: &Path) {
        let mut command = self.command(program, directory);
        command.arg(match self {
            Kind::Haproxy => "-c",
            Kind::Nginx => "-t",
        });
        let Output {
            status,
            stdout,
            stderr,
        } = command.output().expect("the balancer can be started");
        let said = String::from_utf8_lossy(&[stdout, stderr].concat()).into_owned();
        assert!(status.success(), "{said}");
        assert!(
            !said.contains("WARNING") && !said.contains("[warn]"),
            "{said}"
        );
    }
}

fn log(directory: &Path) -> fs::File {
    fs::File::create(directory.join("log")).expect("a file can be made")
}

/// Where a program is: also where Debian keeps those of administrators.
fn program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders =
        std::env::split_paths(&path).chain(["/usr/sbin".into(), "/usr/local/sbin".into()]);
    folders
        .map(|folder: PathBuf| folder.join(name))
        .find(|file| file.is_file())
}
