//! Decides the settings of the persistent tier: all of them if there is one, else none.

use std::path::PathBuf;
use std::time::Duration;

use crate::config::catalogue as all;
use crate::config::error::ConfigError;
use crate::config::table::{About, Plain};
use crate::config::typed::Typed;
use crate::config::value::{self, Count, Size};
use crate::config::{
    OnOutage, SECRET_BYTES_MAX, Secret, VALKEY_ADDRESSES_MAX, VALKEY_PREFIX_MAX, ValkeySettings,
    ValkeyTopology,
};

const BACKENDS: &str = "memory or valkey";
const MODES: &str = "standalone, cluster or sentinel";
const OUTAGES: &str = "reject or spool";
const HOSTS: &str =
    "a comma-separated list of 1 to 64 hosts as host[:port], IPv6 addresses in brackets";
const MASTERS: &str = "a name of 1 to 255 printable ASCII characters without white space";
const PREFIXES: &str = "at most 64 printable ASCII characters without white space and braces";
const SECRETS: &str = "a text of up to 4096 bytes; an empty one stands for none";

const _: () = assert!(VALKEY_ADDRESSES_MAX == 64 && VALKEY_PREFIX_MAX == 64);
const _: () = assert!(SECRET_BYTES_MAX == 4_096);

/// What is typed for `--valkey-mode`.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    Standalone,
    Cluster,
    Sentinel,
}

/// The settings of the tier, `None` if messages are kept in memory alone. Tells `warnings` of the ones
/// that were given for nothing.
pub(super) fn decide(
    typed: &Typed,
    client_retention: Duration,
    warnings: &mut Vec<String>,
) -> Result<Option<ValkeySettings>, ConfigError> {
    if !typed.read(&all::STORAGE_BACKEND, is_valkey, BACKENDS)? {
        refuse_spool_for_nothing(typed)?;
        warnings.extend(typed.ignored(&ALL, (&all::STORAGE_BACKEND.about, "memory")));
        return Ok(None);
    }
    let mode = typed.read(&all::VALKEY_MODE, mode, MODES)?;
    let retention = typed.fixed(&all::PERSISTENT_TIER_RETENTION)?;
    let settings = ValkeySettings {
        topology: topology(typed, mode, warnings)?,
        addresses: addresses(typed, mode)?,
        username: secret(typed, &all::VALKEY_USERNAME)?,
        password: secret(typed, &all::VALKEY_PASSWORD)?,
        sentinel_username: sentinel_secret(typed, mode, &all::VALKEY_SENTINEL_USERNAME)?,
        sentinel_password: sentinel_secret(typed, mode, &all::VALKEY_SENTINEL_PASSWORD)?,
        db: database(typed, mode)?,
        use_tls: typed.switch(&all::VALKEY_USE_TLS)?,
        ca_file: ca_file(typed, warnings)?,
        prefix: typed.read(&all::VALKEY_PREFIX, prefix, PREFIXES)?,
        timeout: typed.fixed(&all::VALKEY_TIMEOUT)?,
        queue_bytes_max: super::size(typed.fixed(&all::VALKEY_QUEUE_BYTES_MAX)?),
        wait: wait(typed.fixed(&all::VALKEY_WAIT)?),
        linger: typed.fixed(&all::VALKEY_LINGER)?,
        retention,
        last_retention: retention.saturating_add(client_retention),
        on_outage: on_outage(typed, warnings)?,
    };
    Ok(Some(settings))
}

/// Everything that only matters with Valkey, in the order of `--help`.
const ALL: [&About; 20] = [
    &all::PERSISTENT_TIER_RETENTION.quantity.about,
    &all::VALKEY_HOST.about,
    &all::VALKEY_PORT.quantity.about,
    &all::VALKEY_MODE.about,
    &all::VALKEY_USERNAME.about,
    &all::VALKEY_PASSWORD.about,
    &all::VALKEY_DB.quantity.about,
    &all::VALKEY_USE_TLS.about,
    &all::VALKEY_CA_FILE.about,
    &all::VALKEY_SENTINEL_MASTER.about,
    &all::VALKEY_SENTINEL_USERNAME.about,
    &all::VALKEY_SENTINEL_PASSWORD.about,
    &all::VALKEY_PREFIX.about,
    &all::VALKEY_TIMEOUT.quantity.about,
    &all::VALKEY_QUEUE_BYTES_MAX.quantity.about,
    &all::VALKEY_WAIT.quantity.about,
    &all::VALKEY_LINGER.quantity.about,
    &all::ON_OUTAGE.about,
    &all::SPOOL_DIR.about,
    &all::SPOOL_BYTES_MAX.quantity.about,
];

/// Those of them that only matter with sentinels.
const SENTINEL: [&About; 3] = [
    &all::VALKEY_SENTINEL_MASTER.about,
    &all::VALKEY_SENTINEL_USERNAME.about,
    &all::VALKEY_SENTINEL_PASSWORD.about,
];

/// Those of them that only matter with a spool.
const SPOOL: [&About; 2] = [&all::SPOOL_DIR.about, &all::SPOOL_BYTES_MAX.quantity.about];

/// Who asks for a spool expects that nothing is lost in an outage, and memory alone has no such promise.
fn refuse_spool_for_nothing(typed: &Typed) -> Result<(), ConfigError> {
    if !typed.read(&all::ON_OUTAGE, is_spool, OUTAGES)? {
        return Ok(());
    }
    let other = (&all::STORAGE_BACKEND.about, "storage-backend");
    let values = ("spool".to_owned(), "memory".to_owned());
    Err(typed.contradiction(&all::ON_OUTAGE.about, "reject with", other, values))
}

fn topology(
    typed: &Typed,
    mode: Mode,
    warnings: &mut Vec<String>,
) -> Result<ValkeyTopology, ConfigError> {
    if mode != Mode::Sentinel {
        warnings.extend(typed.ignored(&SENTINEL, (&all::VALKEY_MODE.about, mode.name())));
    }
    Ok(match mode {
        Mode::Standalone => ValkeyTopology::Standalone,
        Mode::Cluster => ValkeyTopology::Cluster,
        Mode::Sentinel => ValkeyTopology::Sentinel {
            master: typed.read(&all::VALKEY_SENTINEL_MASTER, master, MASTERS)?,
        },
    })
}

fn addresses(typed: &Typed, mode: Mode) -> Result<Vec<(String, u16)>, ConfigError> {
    let default = match mode {
        Mode::Sentinel => all::SENTINEL_PORT_DEFAULT,
        Mode::Standalone | Mode::Cluster => all::VALKEY_PORT_DEFAULT,
    };
    let port = typed.computed(&all::VALKEY_PORT)?.map(super::port);
    let hosts = |text: &str| {
        let hosts: Option<Vec<_>> = value::parse_list(text).map(value::parse_endpoint).collect();
        hosts.filter(|hosts| (1..=VALKEY_ADDRESSES_MAX).contains(&hosts.len()))
    };
    let hosts = typed.read(&all::VALKEY_HOST, hosts, HOSTS)?;
    if mode == Mode::Standalone && hosts.len() > 1 {
        let other = (&all::VALKEY_MODE.about, "valkey-mode");
        let values = (format!("{} hosts", hosts.len()), mode.name().to_owned());
        return Err(typed.contradiction(&all::VALKEY_HOST.about, "one host with", other, values));
    }
    let port = port.unwrap_or(default);
    let with_port = |(host, own): (String, Option<u16>)| (host, own.unwrap_or(port));
    Ok(hosts.into_iter().map(with_port).collect())
}

/// A text that is not repeated, whatever is wrong with it; `None` if it is empty.
pub(super) fn secret(typed: &Typed, setting: &Plain) -> Result<Option<Secret>, ConfigError> {
    match typed.get(&setting.about) {
        Some(given) if given.text.len() > SECRET_BYTES_MAX => Err(ConfigError::Value {
            setting: setting.about.name,
            source_of: given.source.clone(),
            value: format!("a text of {} bytes", given.text.len()),
            allowed: SECRETS.to_owned(),
        }),
        Some(given) if !given.text.is_empty() => Ok(Some(Secret::new(given.text.clone()))),
        _ => Ok(None),
    }
}

fn sentinel_secret(
    typed: &Typed,
    mode: Mode,
    setting: &Plain,
) -> Result<Option<Secret>, ConfigError> {
    match mode {
        Mode::Sentinel => secret(typed, setting),
        Mode::Standalone | Mode::Cluster => Ok(None),
    }
}

fn database(typed: &Typed, mode: Mode) -> Result<i64, ConfigError> {
    let Count(number) = typed.fixed(&all::VALKEY_DB)?;
    if mode == Mode::Cluster && number != 0 {
        let other = (&all::VALKEY_MODE.about, "valkey-mode");
        let values = (number.to_string(), mode.name().to_owned());
        let about = &all::VALKEY_DB.quantity.about;
        return Err(typed.contradiction(about, "0 with", other, values));
    }
    Ok(i64::try_from(number).expect("the range of databases ends below 2^31"))
}

fn ca_file(typed: &Typed, warnings: &mut Vec<String>) -> Result<Option<PathBuf>, ConfigError> {
    if typed.switch(&all::VALKEY_USE_TLS)? {
        return Ok(path(typed, &all::VALKEY_CA_FILE));
    }
    let unused = [&all::VALKEY_CA_FILE.about];
    warnings.extend(typed.ignored(&unused, (&all::VALKEY_USE_TLS.about, "off")));
    Ok(None)
}

fn on_outage(typed: &Typed, warnings: &mut Vec<String>) -> Result<OnOutage, ConfigError> {
    if !typed.read(&all::ON_OUTAGE, is_spool, OUTAGES)? {
        warnings.extend(typed.ignored(&SPOOL, (&all::ON_OUTAGE.about, "reject")));
        return Ok(OnOutage::Reject);
    }
    let Some(directory) = path(typed, &all::SPOOL_DIR) else {
        let other = (&all::ON_OUTAGE.about, "on-outage");
        let values = ("none".to_owned(), "spool".to_owned());
        return Err(typed.contradiction(&all::SPOOL_DIR.about, "a directory with", other, values));
    };
    let Size(bytes_max) = typed.fixed(&all::SPOOL_BYTES_MAX)?;
    Ok(OnOutage::Spool {
        directory,
        bytes_max,
    })
}

/// Whatever the system takes as a path; `None` if it is empty.
fn path(typed: &Typed, setting: &Plain) -> Option<PathBuf> {
    let given = typed.get(&setting.about)?;
    (!given.text.is_empty()).then(|| PathBuf::from(&given.text))
}

impl Typed {
    /// What to say of those of the settings that were given although `other`, whose value is `value`,
    /// leaves nothing for them to do. Their values stay untold: there are secrets among them.
    fn ignored(&self, settings: &[&About], (other, value): (&About, &str)) -> Vec<String> {
        let given = settings
            .iter()
            .filter_map(|about| Some((about.name, &self.get(about)?.source)));
        given
            .map(|(name, source)| {
                let other = other.name;
                format!("the setting {name}, {source}, is ignored: {other} is {value}")
            })
            .collect()
    }
}

impl Mode {
    fn name(self) -> &'static str {
        match self {
            Mode::Standalone => "standalone",
            Mode::Cluster => "cluster",
            Mode::Sentinel => "sentinel",
        }
    }
}

fn is_valkey(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "memory" => Some(false),
        "valkey" => Some(true),
        _ => None,
    }
}

fn mode(text: &str) -> Option<Mode> {
    [Mode::Standalone, Mode::Cluster, Mode::Sentinel]
        .into_iter()
        .find(|mode| mode.name().eq_ignore_ascii_case(text))
}

fn is_spool(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "reject" => Some(false),
        "spool" => Some(true),
        _ => None,
    }
}

fn master(text: &str) -> Option<String> {
    let fits = (1..=255).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
    fits.then(|| text.to_owned())
}

/// Braces would make the prefix the hash tag of a key in place of the topic.
fn prefix(text: &str) -> Option<String> {
    let legal = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'{' | b'}');
    let fits = text.len() <= VALKEY_PREFIX_MAX && text.bytes().all(legal);
    fits.then(|| text.to_owned())
}

fn wait(Count(number): Count) -> u32 {
    u32::try_from(number).expect("the range of replicas ends at 16")
}

#[cfg(test)]
mod tests;
