//! A Valkey (or Redis) server for a test, real and of its own: on a free port of 127.0.0.1, in a folder that goes
//! with it, killed when dropped.
//!
//! `valkey-server` is taken if it is on the `PATH`, else `redis-server`, of which 7.0 is the oldest that will do.

mod certificates;
mod cluster;
mod proxy;
mod sentinel;

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use redis::{ConnectionAddr, ConnectionInfo, FromRedisValue, IntoConnectionInfo as _};
use redis::{RedisConnectionInfo, RedisError, RedisResult};
use tempfile::TempDir;

use crate::ports::free_port;
use crate::{DEADLINE, Server};

pub use cluster::ValkeyCluster;
pub use proxy::ValkeyProxy;
pub use redis;
pub use sentinel::ValkeySentinel;

/// How long a command of a test may take; what is paused for longer answers with an error.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(5);

/// The server before it runs.
#[derive(Default)]
pub struct ValkeySetup {
    /// Lines of the configuration, in order.
    lines: Vec<String>,
    users: Vec<String>,
    login: Option<(String, String)>,
    tls: bool,
    sentinel: bool,
}

/// A server that is running, unless it was stopped.
pub struct Valkey {
    child: Option<Child>,
    port: u16,
    tls_port: Option<u16>,
    login: Option<(String, String)>,
    sentinel: bool,
    directory: TempDir,
}

impl ValkeySetup {
    /// A server that keeps nothing on disk.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets a line of the configuration.
    pub fn set(mut self, name: &str, value: &str) -> Self {
        self.lines.push(format!("{name} {value}"));
        self
    }

    /// Writes everything to disk before it is answered.
    pub fn durable(self) -> Self {
        self.set("appendonly", "yes").set("appendfsync", "always")
    }

    /// Asks the user `default` for a password.
    pub fn password(mut self, password: &str) -> Self {
        self.login = Some(("default".to_owned(), password.to_owned()));
        self.set("requirepass", password)
    }

    /// Adds a user, such as `alice on >secret ~* &* +@all`.
    pub fn user(mut self, rules: &str) -> Self {
        self.users.push(format!("user {rules}"));
        self
    }

    /// The user as which [`Valkey::command`] logs in.
    pub fn login(mut self, user: &str, password: &str) -> Self {
        self.login = Some((user.to_owned(), password.to_owned()));
        self
    }

    /// Listens on a port with TLS as well; the certificate is for `localhost` and 127.0.0.1.
    pub fn tls(mut self) -> Self {
        self.tls = true;
        self
    }

    /// Is a sentinel instead of a store.
    fn sentinel(mut self) -> Self {
        self.sentinel = true;
        self
    }

    /// Starts the server and waits until it answers.
    ///
    /// # Panics
    ///
    /// When it does not.
    pub fn start(self) -> Valkey {
        let directory = tempfile::tempdir().expect("a folder can be made");
        fs::create_dir(directory.path().join("data")).expect("a folder can be made");
        let port = free_port();
        let tls_port = self.tls.then(free_port);
        let lines = self.configuration(directory.path(), port, tls_port);
        fs::write(directory.path().join("conf"), lines).expect("a file can be written");
        let mut valkey = Valkey {
            child: None,
            port,
            tls_port,
            login: self.login,
            sentinel: self.sentinel,
            directory,
        };
        valkey.spawn();
        valkey
    }

    fn configuration(&self, directory: &Path, port: u16, tls_port: Option<u16>) -> String {
        let folder = directory.display();
        let mut lines = vec![
            format!("port {port}"),
            "bind 127.0.0.1".to_owned(),
            format!("dir {folder}/data"),
            format!("logfile {folder}/log"),
        ];
        if !self.sentinel {
            // The delay would hold up each replica for seconds.
            lines.extend(["save \"\"", "repl-diskless-sync-delay 0"].map(str::to_owned));
        }
        if let Some(port) = tls_port {
            certificates::write(directory);
            lines.push(format!("tls-port {port}"));
            lines.push(format!("tls-cert-file {folder}/server.pem"));
            lines.push(format!("tls-key-file {folder}/server.key"));
            lines.push(format!("tls-ca-cert-file {folder}/ca.pem"));
            lines.push("tls-auth-clients no".to_owned());
        }
        lines.extend_from_slice(&self.users);
        lines.extend_from_slice(&self.lines);
        lines.join("\n") + "\n"
    }
}

impl Valkey {
    /// Starts a server that keeps nothing on disk.
    pub fn start() -> Valkey {
        ValkeySetup::new().start()
    }

    /// Where it listens without TLS.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Where it listens with TLS.
    ///
    /// # Panics
    ///
    /// When it does not.
    pub fn tls_port(&self) -> u16 {
        self.tls_port.expect("the test asked for TLS")
    }

    /// Where it listens without TLS.
    pub fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    /// The certificate of the authority that signed the server's.
    pub fn ca_file(&self) -> PathBuf {
        self.directory.path().join("ca.pem")
    }

    /// Everything that it has logged.
    pub fn log(&self) -> String {
        fs::read_to_string(self.directory.path().join("log")).unwrap_or_default()
    }

    /// Whether it was started and not stopped.
    pub fn is_running(&self) -> bool {
        self.child.is_some()
    }

    /// Sends a command, waits for its answer and returns it.
    ///
    /// # Panics
    ///
    /// When the answer is an error, or not of this type, or does not come.
    pub fn command<T: FromRedisValue>(&self, words: &[&str]) -> T {
        self.try_command(words)
            .unwrap_or_else(|error| panic!("{words:?}: {error}"))
    }

    /// Sends a command on a connection of its own, and waits for its answer.
    ///
    /// # Errors
    ///
    /// When the answer is an error, or not of this type, or does not come.
    pub fn try_command<T: FromRedisValue>(&self, words: &[&str]) -> RedisResult<T> {
        let client = redis::Client::open(self.info()?)?;
        let mut connection = client.get_connection_with_timeout(COMMAND_TIMEOUT)?;
        connection.set_read_timeout(Some(COMMAND_TIMEOUT))?;
        let mut command = redis::Cmd::new();
        command.arg(words);
        command.query(&mut connection)
    }

    /// A number out of `INFO`.
    ///
    /// # Panics
    ///
    /// When it is not there.
    pub fn info_number(&self, name: &str) -> u64 {
        let value = self.info_text(name);
        value
            .parse()
            .unwrap_or_else(|_| panic!("{name} is {value}"))
    }

    /// A field of `INFO`.
    ///
    /// # Panics
    ///
    /// When it is not there.
    pub fn info_text(&self, name: &str) -> String {
        let info: String = self.command(&["INFO"]);
        info_field(&info, name).unwrap_or_else(|| panic!("no {name}"))
    }

    /// Whether a field of `INFO` has this value now. A store that takes another role cuts its connections: it has
    /// no value at that moment.
    pub fn info_is(&self, name: &str, value: &str) -> bool {
        let info = self.try_command::<String>(&["INFO"]).ok();
        info.and_then(|info| info_field(&info, name)).as_deref() == Some(value)
    }

    /// The ids of all entries of a topic's stream, oldest first.
    ///
    /// # Panics
    ///
    /// When it does not answer.
    pub fn stream(&self, topic: &str) -> Vec<String> {
        let entries: Vec<(String, redis::Value)> =
            self.command(&["XRANGE", &log_key(topic), "-", "+"]);
        entries.into_iter().map(|(id, _)| id).collect()
    }

    /// Kills it with SIGKILL.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            // Both fail only for a process that has ended.
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Ends it as an operator would, and waits until it has ended.
    ///
    /// # Panics
    ///
    /// When it goes on.
    pub fn stop(&mut self) {
        self.signal("TERM");
        let end = Instant::now() + DEADLINE;
        while let Some(child) = &mut self.child {
            if child.try_wait().expect("the child is ours").is_some() {
                self.child = None;
            }
            assert!(Instant::now() < end, "it goes on running");
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Starts it again on the same port with what it has on disk; one that runs is killed first.
    ///
    /// # Panics
    ///
    /// When it does not answer in time.
    pub fn restart(&mut self) {
        self.kill();
        self.spawn();
    }

    /// Starts it again on the same port with nothing; one that runs is killed first.
    ///
    /// # Panics
    ///
    /// When it does not answer in time.
    pub fn restart_empty(&mut self) {
        self.kill();
        let data = self.directory.path().join("data");
        fs::remove_dir_all(&data).expect("the folder is ours");
        fs::create_dir(&data).expect("a folder can be made");
        self.spawn();
    }

    /// Stops it from running, with all connections open, as a machine that hangs.
    pub fn pause(&self) {
        self.signal("STOP");
    }

    /// Lets it go on after [`Valkey::pause`].
    pub fn resume(&self) {
        self.signal("CONT");
    }

    /// Holds back the answers to all commands for so many milliseconds.
    pub fn client_pause(&self, millis: u64) {
        let millis = millis.to_string();
        let () = self.command(&["CLIENT", "PAUSE", &millis, "ALL"]);
    }

    fn info(&self) -> RedisResult<ConnectionInfo> {
        let address = ConnectionAddr::Tcp(Ipv4Addr::LOCALHOST.to_string(), self.port);
        let mut login = RedisConnectionInfo::default().set_skip_set_lib_name();
        if let Some((user, password)) = &self.login {
            login = login.set_username(user).set_password(password);
        }
        Ok(address.into_connection_info()?.set_redis_settings(login))
    }

    fn spawn(&mut self) {
        let mut command = Command::new(program());
        command.arg(self.directory.path().join("conf"));
        if self.sentinel {
            command.arg("--sentinel");
        }
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        self.child = Some(command.spawn().expect("the store can be started"));
        self.wait_until_it_answers();
    }

    fn wait_until_it_answers(&mut self) {
        let end = Instant::now() + DEADLINE;
        loop {
            match self.try_command::<String>(&["PING"]) {
                Ok(_) => return,
                Err(error) => self.assert_starting(end, &error),
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    fn assert_starting(&mut self, end: Instant, error: &RedisError) {
        let child = self.child.as_mut().expect("it was just started");
        let ended = child.try_wait().expect("the child is ours");
        assert!(
            ended.is_none() && Instant::now() < end,
            "the store does not answer: {error}, {ended:?}\n{}",
            self.log()
        );
    }

    fn signal(&self, name: &str) {
        let child = self.child.as_ref().expect("it is running");
        let command = format!("kill -{name} {}", child.id());
        let status = Command::new("sh").args(["-c", &command]).status();
        assert!(
            status.expect("a shell can be started").success(),
            "{command}"
        );
    }
}

impl Drop for Valkey {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            let log = self.log();
            let lines: Vec<&str> = log.lines().collect();
            let tail = &lines[lines.len().saturating_sub(20)..];
            eprintln!("--- log of the store\n{}\n---", tail.join("\n"));
        }
    }
}

/// Starts the server under test with a store on this port of 127.0.0.1 and these flags in addition.
///
/// # Panics
///
/// When it does not listen in time. That it has reached the store is not waited for.
pub fn instance(port: u16, flags: &[&str]) -> Server {
    let port = port.to_string();
    let backend = ["--storage-backend", "valkey", "--valkey-port", &port];
    Server::start(&[&backend, flags].concat())
}

/// Starts as many servers as there are places, each with the same store, and waits until all are ready.
///
/// # Panics
///
/// When one does not become ready in time.
pub fn instances<const COUNT: usize>(port: u16, flags: &[&str]) -> [Server; COUNT] {
    let servers = std::array::from_fn(|_| instance(port, flags));
    servers.iter().for_each(Server::wait_until_ready);
    servers
}

/// The key of a topic's stream, with the prefix that is set without `--valkey-prefix`.
pub fn log_key(topic: &str) -> String {
    format!("pulsar:{{{topic}}}:log")
}

/// The id of the entry of a stream that holds a message: the place that the message's id tells.
///
/// # Panics
///
/// When it is no id of a message.
pub fn stream_id(message_id: &str) -> String {
    let place = message_id.get(4..18);
    let bits = place.and_then(|place| u128::from_str_radix(place, 32).ok());
    let bits = bits.unwrap_or_else(|| panic!("no message id: {message_id}"));
    format!("{}-{}", bits >> 22, bits & ((1 << 22) - 1))
}

/// The store to run.
///
/// # Panics
///
/// When none is installed.
fn program() -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = ["valkey-server", "redis-server"].iter().find_map(|name| {
        std::env::split_paths(&path)
            .map(|folder| folder.join(name))
            .find(|file| file.is_file())
    });
    found.expect("valkey-server or redis-server is installed, as scripts/test.sh does")
}

fn info_field(info: &str, name: &str) -> Option<String> {
    let mut fields = info.lines().filter_map(|line| line.split_once(':'));
    let (_, value) = fields.find(|(field, _)| *field == name)?;
    Some(value.trim().to_owned())
}
