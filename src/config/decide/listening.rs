//! Decides where to listen beside the main port.

use std::net::IpAddr;
use std::path::PathBuf;

use ipnet::IpNet;

use crate::config::catalogue as all;
use crate::config::error::ConfigError;
use crate::config::typed::Typed;
use crate::config::value::{Count, Value};
use crate::config::{TlsSettings, UnixSocket};

pub(super) const NETWORKS: &str = "a comma-separated list of networks as 10.0.0.0/8, or addresses";
const MODES: &str = "permissions as three octal digits";

/// Certificates, if there is one.
pub(super) fn tls(typed: &Typed) -> Result<Option<TlsSettings>, ConfigError> {
    let (certificate, key) = (&all::TLS_CERT.about, &all::TLS_KEY.about);
    let port = typed.computed(&all::TLS_PORT)?;
    let (Some(cert), Some(private)) = (typed.get(certificate), typed.get(key)) else {
        return refuse_without_pair(typed);
    };
    let main = typed.fixed(&all::PORT)?;
    if let (Some(port), Some(given)) = (port, typed.get(&all::TLS_PORT.quantity.about))
        && port == main
        && port != Count(0)
    {
        let allowed = format!("another port than port, which is {}", main.show());
        return Err(given.refused(all::TLS_PORT.quantity.about.name, allowed));
    }
    Ok(Some(TlsSettings {
        certificate: cert.clone(),
        key: private.clone(),
        client_authorities: typed.get(&all::TLS_CLIENT_CA.about).cloned(),
        port: port.map(super::port),
    }))
}

fn refuse_without_pair(typed: &Typed) -> Result<Option<TlsSettings>, ConfigError> {
    let port = &all::TLS_PORT.quantity.about;
    let abouts = [
        &all::TLS_CERT.about,
        &all::TLS_KEY.about,
        &all::TLS_CLIENT_CA.about,
        port,
    ];
    for about in abouts {
        if let Some(given) = typed.get(about) {
            let allowed = "nothing, unless both tls-cert and tls-key are given";
            return Err(given.refused(about.name, allowed.to_owned()));
        }
    }
    Ok(None)
}

/// A network, or an address as one of its own; mapped IPv4 as what it is.
pub(super) fn network(text: &str) -> Option<IpNet> {
    let single = text.parse().map(|it: IpAddr| it.to_canonical().into());
    let network: IpNet = text.parse().or(single).ok()?;
    Some(network.trunc())
}

/// Only for those who are trusted: anybody else could claim any address.
pub(super) fn proxy_protocol(typed: &Typed) -> Result<bool, ConfigError> {
    let is_on = typed.switch(&all::PROXY_PROTOCOL)?;
    match typed.get(&all::PROXY_PROTOCOL.about) {
        Some(given) if is_on && typed.get(&all::TRUSTED_PROXIES.about).is_none() => {
            let allowed = "off, unless trusted-proxies says who sends it";
            Err(given.refused(all::PROXY_PROTOCOL.about.name, allowed.to_owned()))
        }
        _ => Ok(is_on),
    }
}

/// The socket in the file system, if there is one.
pub(super) fn unix_socket(typed: &Typed) -> Result<Option<UnixSocket>, ConfigError> {
    let mode = typed.read(&all::UNIX_SOCKET_MODE, mode, MODES)?;
    Ok(typed.get(&all::UNIX_SOCKET.about).map(|given| UnixSocket {
        path: PathBuf::from(&given.text),
        mode,
    }))
}

fn mode(text: &str) -> Option<u32> {
    let is_octal = text.len() == 3 && text.bytes().all(|byte| (b'0'..b'8').contains(&byte));
    is_octal
        .then(|| u32::from_str_radix(text, 8).ok())
        .flatten()
}

#[cfg(test)]
mod tests {
    use crate::config::decide::tests::decided;

    #[test]
    fn a_certificate_takes_the_port_or_one_of_its_own() {
        let pair = [("tls-cert", "c.pem"), ("tls-key", "k.pem")];
        let (config, _) = decided(&pair).unwrap();
        assert_eq!(config.tls.unwrap().port, None);
        let flags = [pair[0], pair[1], ("tls-port", "8443")];
        let (config, _) = decided(&flags).unwrap();
        assert_eq!(config.tls.unwrap().port, Some(8443));
        assert_eq!(decided(&[]).unwrap().0.tls, None);
        let both = [pair[0], pair[1], ("port", "0"), ("tls-port", "0")];
        assert!(decided(&both).is_ok(), "the system chooses two");
    }

    #[test]
    fn half_of_a_pair_and_one_port_for_both_are_refused() {
        for (flags, name) in [
            (&[("tls-cert", "c.pem")][..], "tls-cert"),
            (&[("tls-key", "k.pem")], "tls-key"),
            (&[("tls-client-ca", "a.pem")], "tls-client-ca"),
            (&[("tls-port", "8443")], "tls-port"),
            (
                &[("tls-cert", "c"), ("tls-key", "k"), ("tls-port", "8080")],
                "tls-port",
            ),
            (&[("unix-socket-mode", "8888")], "unix-socket-mode"),
            (&[("proxy-protocol", "on")], "proxy-protocol"),
            (&[("trusted-proxies", "10.0.0.0/40")], "trusted-proxies"),
        ] {
            let sentence = decided(flags).unwrap_err().to_string();
            let start = format!("the setting {name}, given by --{name}");
            assert!(sentence.starts_with(&start), "{sentence}");
        }
    }

    #[test]
    fn proxies_are_networks_or_addresses() {
        let list = "10.1.2.3/8, ::1,127.0.0.1 , ::ffff:1.2.3.4";
        let flags = [("trusted-proxies", list), ("proxy-protocol", "on")];
        let (config, _) = decided(&flags).unwrap();
        let proxies: Vec<String> = config
            .trusted_proxies
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(
            proxies,
            ["10.0.0.0/8", "::1/128", "127.0.0.1/32", "1.2.3.4/32"]
        );
        assert!(config.proxy_protocol);
    }

    #[test]
    fn the_socket_has_permissions() {
        let (config, _) = decided(&[("unix-socket", "/run/p.sock")]).unwrap();
        assert_eq!(config.unix_socket.unwrap().mode, 0o660);
        let flags = [("unix-socket", "/run/p.sock"), ("unix-socket-mode", "600")];
        assert_eq!(decided(&flags).unwrap().0.unix_socket.unwrap().mode, 0o600);
    }
}
