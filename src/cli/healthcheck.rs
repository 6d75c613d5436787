//! `pulsar-proxy healthcheck`: where the server beside it listens, by the settings that it has, too.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;

use clap::{ArgMatches, Command};

use super::{Refusal, flag, given, remote, with_settings};
use crate::client::{Beside, Healthcheck, ServerUrl};
use crate::config::Config;

const AFTER_HELP: &str = "\
Reads the settings of the server (flags, environment, .env, file) to know where it listens. Exit code: 0 the
server is ready, 1 it is not, or cannot be asked. The settings are listed by --help.";

/// The subcommand.
pub(super) fn command() -> Command {
    let command = Command::new("healthcheck")
        .about("Ask the server beside it whether it is ready; for containers");
    with_settings(command)
        .mut_args(|argument| argument.hide_short_help(true))
        .arg(flag(
            "live",
            "Ask whether it lives, not whether it is ready",
        ))
        .args(remote::arguments("3s"))
        .after_help(AFTER_HELP)
}

/// Whom to ask. `config` decides the settings; with a URL they are not asked for.
pub(super) fn read(
    matches: &ArgMatches,
    environment: &BTreeMap<String, OsString>,
    config: impl FnOnce() -> Result<Config, Refusal>,
) -> Result<Healthcheck, Refusal> {
    let is_live = matches.get_flag("live");
    // What the environment says is for commands that talk to another server.
    let environment = match given(matches, "url") {
        Some(_) => environment.clone(),
        None => {
            let others = environment.iter().filter(|(name, _)| *name != "PULSAR_URL");
            others
                .map(|(name, text)| (name.clone(), text.clone()))
                .collect()
        }
    };
    let mut remote = remote::read(matches, &environment)?;
    if given(matches, "url").is_some() {
        let beside = None;
        return Ok(Healthcheck {
            remote,
            is_live,
            beside,
        });
    }
    let (url, beside) = find(&config()?, remote.identity.is_some())?;
    // Nothing that is asked needs one.
    remote.credential = crate::client::Credential::None;
    remote.url = url;
    Ok(Healthcheck {
        remote,
        is_live,
        beside: Some(beside),
    })
}

/// Where a server with these settings listens: in plain text if it does.
fn find(config: &Config, has_identity: bool) -> Result<(ServerUrl, Beside), Refusal> {
    let refuse = |sentence: &str| Err(Refusal::Command(sentence.to_owned()));
    let tls = config.tls.as_ref().filter(|tls| tls.port.is_none());
    if let Some(socket) = config
        .unix_socket
        .as_ref()
        .filter(|_| tls.is_some() || config.port == 0)
    {
        let beside = Beside {
            expects_proxy: false,
            certificate: None,
        };
        return Ok((ServerUrl::of_path(socket.path.clone()), beside));
    }
    if config.port == 0 {
        return refuse("with port 0 the system chooses where the server listens; give --url");
    }
    if tls.is_some_and(|tls| tls.client_authorities.is_some()) && !has_identity {
        return refuse(
            "the server asks each client for a certificate: give --client-cert and --client-key, or let it \
             listen on a --unix-socket as well",
        );
    }
    let host = match config.host {
        IpAddr::V4(host) if host.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(host) if host.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        host => host,
    };
    // Who connects to an address of this machine comes from that address.
    let is_trusted = config
        .trusted_proxies
        .iter()
        .any(|it| it.contains(&host.to_canonical()));
    let beside = Beside {
        expects_proxy: config.proxy_protocol && is_trusted,
        certificate: tls.map(|tls| PathBuf::from(&tls.certificate.text)),
    };
    Ok((
        ServerUrl::of_port(tls.is_some(), &host.to_string(), config.port),
        beside,
    ))
}
