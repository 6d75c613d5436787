//! From settings to connections: addresses, TLS, users, Sentinel.

use std::io;
use std::time::Duration;

use redis::{
    Client, Connection, ConnectionAddr, ConnectionInfo, ErrorKind, IntoConnectionInfo,
    ProtocolVersion, RedisConnectionInfo, RedisError, TlsCertificates, Value, cmd,
};

use super::entry::bytes;
use crate::config::{Secret, ValkeySettings, ValkeyTopology};

/// Longest time for one try to connect. Who waits for a connection is refused after a second
/// without one, and must not wait for the end of a longer try.
const CONNECT_TIMEOUT_MAX: Duration = Duration::from_secs(1);

/// Host and port.
pub(super) type Address = (String, u16);

/// Why there is no connection: a text for whoever asks how things are, and more for the log.
#[derive(Debug, thiserror::Error)]
#[error("{text}: {detail}")]
pub(super) struct ConnectError {
    pub(super) text: &'static str,
    pub(super) detail: String,
}

impl From<RedisError> for ConnectError {
    fn from(error: RedisError) -> ConnectError {
        let is_refused = error.kind() == ErrorKind::AuthenticationFailed
            || matches!(error.code(), Some("NOAUTH" | "WRONGPASS" | "NOPERM"));
        ConnectError {
            text: if is_refused {
                "Valkey refuses the credentials"
            } else {
                "Valkey cannot be reached"
            },
            detail: error.to_string(),
        }
    }
}

/// Makes connections.
#[derive(Debug)]
pub(super) struct Connector {
    settings: ValkeySettings,
    certificates: TlsCertificates,
    timeout: Duration,
}

impl Connector {
    /// Reads the file of authorities, if there is one.
    ///
    /// # Errors
    /// When that cannot be read.
    pub(super) fn new(settings: &ValkeySettings) -> io::Result<Connector> {
        if settings.use_tls {
            // Fails when there is a default already, which is as good.
            let _ = rustls::crypto::ring::default_provider().install_default();
        }
        let root_cert = settings.ca_file.as_ref().map(std::fs::read).transpose()?;
        Ok(Connector {
            settings: settings.clone(),
            certificates: TlsCertificates {
                client_tls: None,
                root_cert,
            },
            timeout: settings.timeout.min(CONNECT_TIMEOUT_MAX),
        })
    }

    /// The one server that takes writes: the one that was named, or the one that a sentinel names
    /// now.
    pub(super) fn primary(&self) -> Result<Address, ConnectError> {
        match &self.settings.topology {
            ValkeyTopology::Sentinel { master } => self.ask_sentinels(master),
            ValkeyTopology::Standalone | ValkeyTopology::Cluster => {
                Ok(self.settings.addresses[0].clone())
            }
        }
    }

    /// Whether it connects to nodes of a cluster.
    pub(super) fn is_of_cluster(&self) -> bool {
        self.settings.topology == ValkeyTopology::Cluster
    }

    /// A connection to a server, with read and write timeouts unset.
    pub(super) fn connect(
        &self,
        address: &Address,
        protocol: ProtocolVersion,
    ) -> Result<Connection, ConnectError> {
        let settings = &self.settings;
        let login = login(settings.username.as_ref(), settings.password.as_ref());
        self.open(address, login.set_db(settings.db).set_protocol(protocol))
    }

    fn open(
        &self,
        address: &Address,
        login: RedisConnectionInfo,
    ) -> Result<Connection, ConnectError> {
        let login = login.set_lib_name("pulsar-proxy", env!("CARGO_PKG_VERSION"));
        let info = self.info(address)?.set_redis_settings(login);
        let client = if self.settings.use_tls && self.certificates.root_cert.is_some() {
            Client::build_with_tls(info, self.certificates.clone())?
        } else {
            Client::open(info)?
        };
        Ok(client.get_connection_with_timeout(self.timeout)?)
    }

    fn info(&self, (host, port): &Address) -> Result<ConnectionInfo, RedisError> {
        let (host, port) = (host.clone(), *port);
        let address = if self.settings.use_tls {
            ConnectionAddr::TcpTls {
                host,
                port,
                insecure: false,
                tls_params: None,
            }
        } else {
            ConnectionAddr::Tcp(host, port)
        };
        address.into_connection_info()
    }

    /// The first sentinel that knows the primary is believed; whether that serves is seen when it
    /// is asked for its role.
    fn ask_sentinels(&self, master: &str) -> Result<Address, ConnectError> {
        let mut wrong = ConnectError {
            text: "no sentinel knows Valkey's primary",
            detail: format!("none of them knows \"{master}\""),
        };
        for sentinel in &self.settings.addresses {
            match self.ask_sentinel(sentinel, master) {
                Ok(Some(address)) => return Ok(address),
                Ok(None) => {}
                Err(error) => wrong.detail = error.to_string(),
            }
        }
        Err(wrong)
    }

    fn ask_sentinel(
        &self,
        sentinel: &Address,
        master: &str,
    ) -> Result<Option<Address>, ConnectError> {
        let settings = &self.settings;
        let login = login(
            settings.sentinel_username.as_ref(),
            settings.sentinel_password.as_ref(),
        );
        let mut connection = self.open(sentinel, login.set_protocol(ProtocolVersion::RESP2))?;
        connection.set_read_timeout(Some(self.timeout))?;
        let answer: Value = cmd("SENTINEL")
            .arg("get-master-addr-by-name")
            .arg(master)
            .query(&mut connection)?;
        Ok(named_address(&answer))
    }
}

fn login(username: Option<&Secret>, password: Option<&Secret>) -> RedisConnectionInfo {
    let mut login = RedisConnectionInfo::default();
    if let Some(username) = username {
        login = login.set_username(username.expose());
    }
    if let Some(password) = password {
        login = login.set_password(password.expose());
    }
    login
}

/// Host and port as a list of two texts.
fn named_address(answer: &Value) -> Option<Address> {
    let Value::Array(parts) = answer else {
        return None;
    };
    let [host, port] = &parts[..] else {
        return None;
    };
    let host = std::str::from_utf8(bytes(host)?).ok()?;
    let port = std::str::from_utf8(bytes(port)?).ok()?;
    Some((host.to_owned(), port.parse().ok()?))
}
