//! Where a server is, as it is typed.

use std::fmt;
use std::path::PathBuf;

use ureq::http::Uri;

/// The address of a server: `http://host:port/prefix`, `https://…`, or `unix:/path` for a socket in the
/// file system.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ServerUrl {
    place: Place,
    /// What stands in front of every path: empty, or a path without a slash at its end.
    prefix: String,
}

/// Where to connect to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Place {
    /// A port. IPv6 addresses are without brackets.
    Port {
        is_tls: bool,
        host: String,
        port: u16,
    },
    /// A socket in the file system.
    Path(PathBuf),
}

/// Why a text is no address of a server. The sentence does not repeat it: it may hold a password.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum UrlError {
    /// It has another form.
    #[error("allowed is http://host[:port], https://host[:port] or unix:/path")]
    Form,
    /// Names and passwords in addresses get into logs.
    #[error("the address must hold no user and password; give a credential by --credential-file")]
    UserInfo,
    /// A query belongs to one request.
    #[error("the address must end before ? and #")]
    Query,
}

impl ServerUrl {
    /// Understands a text.
    ///
    /// # Errors
    /// When it is none of the three forms.
    pub fn parse(text: &str) -> Result<ServerUrl, UrlError> {
        if let Some(path) = text.strip_prefix("unix:") {
            let path = path.strip_prefix("//").unwrap_or(path);
            let place = Place::Path(PathBuf::from(path));
            let prefix = String::new();
            return if path.starts_with('/') {
                Ok(ServerUrl { place, prefix })
            } else {
                Err(UrlError::Form)
            };
        }
        if text.contains(['?', '#']) {
            return Err(UrlError::Query);
        }
        let uri: Uri = text.parse().map_err(|_| UrlError::Form)?;
        let is_tls = match uri.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            _ => return Err(UrlError::Form),
        };
        let authority = uri.authority().ok_or(UrlError::Form)?;
        if authority.as_str().contains('@') {
            return Err(UrlError::UserInfo);
        }
        let host = authority.host();
        let host = host.strip_prefix('[').map_or(host, |rest| {
            // The parser takes no host with one bracket alone.
            rest.strip_suffix(']').unwrap_or(rest)
        });
        let has_port = authority.as_str().len() > authority.host().len();
        let port = match authority.port_u16() {
            None if has_port => return Err(UrlError::Form),
            port => port.unwrap_or(if is_tls { 443 } else { 80 }),
        };
        if host.is_empty() || port == 0 {
            return Err(UrlError::Form);
        }
        Ok(ServerUrl {
            place: Place::Port {
                is_tls,
                host: host.to_owned(),
                port,
            },
            prefix: uri.path().trim_end_matches('/').to_owned(),
        })
    }

    /// A port of this machine or another one.
    pub fn of_port(is_tls: bool, host: &str, port: u16) -> ServerUrl {
        ServerUrl {
            place: Place::Port {
                is_tls,
                host: host.to_owned(),
                port,
            },
            prefix: String::new(),
        }
    }

    /// A socket in the file system.
    pub fn of_path(path: PathBuf) -> ServerUrl {
        ServerUrl {
            place: Place::Path(path),
            prefix: String::new(),
        }
    }

    pub(super) fn place(&self) -> &Place {
        &self.place
    }

    /// Whether connections are encrypted.
    pub fn is_tls(&self) -> bool {
        matches!(self.place, Place::Port { is_tls: true, .. })
    }

    /// Host, port and what stands in front of every path, if it is a port without encryption.
    pub fn plain(&self) -> Option<(&str, u16, &str)> {
        match &self.place {
            Place::Port {
                is_tls: false,
                host,
                port,
            } => Some((host, *port, &self.prefix)),
            _ => None,
        }
    }

    /// Whether what is sent stays on this machine, as far as the address tells.
    pub fn is_local(&self) -> bool {
        match &self.place {
            Place::Path(_) => true,
            Place::Port { host, .. } => {
                let address = host.parse::<std::net::IpAddr>();
                host.eq_ignore_ascii_case("localhost")
                    || address.is_ok_and(|it| it.to_canonical().is_loopback())
            }
        }
    }

    /// The URI of a path of the server, with this scheme or, for TLS, with an `s` behind it.
    pub(super) fn uri(&self, scheme: &str, path: &str) -> String {
        let prefix = &self.prefix;
        match &self.place {
            Place::Port {
                is_tls, host, port, ..
            } => {
                let secure = if *is_tls { "s" } else { "" };
                let host = bracketed(host);
                format!("{scheme}{secure}://{host}:{port}{prefix}{path}")
            }
            Place::Path(_) => format!("{scheme}://localhost{prefix}{path}"),
        }
    }
}

impl fmt::Display for ServerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Place::Path(path) => write!(f, "unix:{}", path.display()),
            Place::Port { .. } => f.write_str(&self.uri("http", "")),
        }
    }
}

fn bracketed(host: &str) -> String {
    if host.contains(':') {
        format!("[{host}]")
    } else {
        host.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_forms_are_understood() {
        for (typed, shown, is_tls, is_local) in [
            ("http://localhost", "http://localhost:80", false, true),
            (
                "http://127.0.0.1:8080/",
                "http://127.0.0.1:8080",
                false,
                true,
            ),
            ("https://a.example", "https://a.example:443", true, false),
            ("https://[::1]:1/p/q/", "https://[::1]:1/p/q", true, true),
            ("unix:/run/p.sock", "unix:/run/p.sock", false, true),
            ("unix:///run/p.sock", "unix:/run/p.sock", false, true),
        ] {
            let url = ServerUrl::parse(typed).unwrap();
            assert_eq!(url.to_string(), shown);
            assert_eq!(
                (url.is_tls(), url.is_local()),
                (is_tls, is_local),
                "{typed}"
            );
        }
        let url = ServerUrl::parse("http://[::1]:1/p/").unwrap();
        assert_eq!(url.plain(), Some(("::1", 1, "/p")));
        let url = ServerUrl::parse("https://[::1]:1/p/").unwrap();
        assert_eq!(url.plain(), None);
        assert_eq!(url.uri("ws", "/ws"), "wss://[::1]:1/p/ws");
    }

    #[test]
    fn all_else_is_refused_and_not_repeated() {
        for (typed, error) in [
            ("", UrlError::Form),
            ("localhost:8080", UrlError::Form),
            ("pulsar://a:6650", UrlError::Form),
            ("http://", UrlError::Form),
            ("http://a:0", UrlError::Form),
            ("http://a:70000", UrlError::Form),
            ("http://a:", UrlError::Form),
            ("unix:p.sock", UrlError::Form),
            ("http://u:secret@a", UrlError::UserInfo),
            ("http://a/?token=secret", UrlError::Query),
            ("http://a#x", UrlError::Query),
        ] {
            assert_eq!(ServerUrl::parse(typed), Err(error), "{typed}");
            assert!(!error.to_string().contains("secret"));
        }
    }
}
