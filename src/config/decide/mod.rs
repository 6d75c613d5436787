//! From what was typed to what holds: parses every text, applies bounds and defaults, and checks the
//! settings against each other.

mod listening;
mod valkey;

use std::time::Duration;

use super::catalogue as all;
use super::check::check;
use super::error::ConfigError;
use super::table::Quantity;
use super::typed::Typed;
use super::value::{self, Count, Size, Value};
use super::{
    AccessSettings, AllowedHosts, Config, ENVELOPE_BYTES_MAX, LogFormat, LogLevel, Machine,
    PROXY_IDLE_MARGIN, WORKERS_MAX,
};

/// Decides every setting. Also returns what the operator should be told once there is a log.
///
/// # Errors
///
/// The first setting that does not allow a start, with its source and what is allowed.
pub fn decide(typed: &Typed, machine: Machine) -> Result<(Config, Vec<String>), ConfigError> {
    let mut warnings = typed.warnings.clone();
    let client_retention = typed.fixed(&all::CLIENT_RETENTION)?;
    let max_message_size = size(typed.fixed(&all::MAX_MESSAGE_SIZE)?);
    let outbox = typed.computed(&all::OUTBOX_BYTES_MAX)?;
    let memory = typed.computed(&all::MEMORY_MAX)?;
    let workers = typed.computed(&all::WORKERS)?;
    let config = Config {
        host: typed.read(
            &all::HOST,
            value::parse_address,
            "an IPv4 or IPv6 address or localhost",
        )?,
        port: port(typed.fixed(&all::PORT)?),
        workers: workers.map_or_else(|| machine.cores.clamp(1, WORKERS_MAX), count),
        app_name: typed.read(
            &all::APP_NAME,
            app_name,
            "a text of 1 to 255 printable characters",
        )?,
        drain_delay: typed.fixed(&all::DRAIN_DELAY)?,
        drain_timeout: typed.fixed(&all::DRAIN_TIMEOUT)?,
        drain_reconnect_rate: count(typed.fixed(&all::DRAIN_RECONNECT_RATE)?),
        hot_tier_retention: typed.fixed(&all::HOT_TIER_RETENTION)?,
        max_messages_per_topic: count(typed.fixed(&all::MAX_MESSAGES_PER_TOPIC)?),
        topic_bytes_max: size(typed.fixed(&all::TOPIC_BYTES_MAX)?),
        memory_max: size(memory.unwrap_or_else(|| default_memory(machine))),
        client_retention,
        dead_letter_topic: typed.get(&all::DEAD_LETTER_TOPIC.about).cloned(),
        valkey: valkey::decide(typed, client_retention, &mut warnings)?,
        max_connections: count(typed.fixed(&all::MAX_CONNECTIONS)?),
        http_connections_max: count(typed.fixed(&all::HTTP_CONNECTIONS_MAX)?),
        topics_max: count(typed.fixed(&all::TOPICS_MAX)?),
        max_message_size,
        rate_limit_per_client: number(typed.fixed(&all::RATE_LIMIT_PER_CLIENT)?),
        client_connections_max: count(typed.fixed(&all::CLIENT_CONNECTIONS_MAX)?),
        client_subscriptions_max: count(typed.fixed(&all::CLIENT_SUBSCRIPTIONS_MAX)?),
        client_polls_max: count(typed.fixed(&all::CLIENT_POLLS_MAX)?),
        client_bytes_max: size(typed.fixed(&all::CLIENT_BYTES_MAX)?),
        address_connections_max: count(typed.fixed(&all::ADDRESS_CONNECTIONS_MAX)?),
        subscriptions_max: count(typed.fixed(&all::SUBSCRIPTIONS_MAX)?),
        consumers_max: count(typed.fixed(&all::CONSUMERS_MAX)?),
        group_members_max: count(typed.fixed(&all::GROUP_MEMBERS_MAX)?),
        idempotency_bytes_max: size(typed.fixed(&all::IDEMPOTENCY_BYTES_MAX)?),
        head_timeout: typed.fixed(&all::HEAD_TIMEOUT)?,
        body_timeout: typed.fixed(&all::BODY_TIMEOUT)?,
        keep_alive_timeout: typed.fixed(&all::KEEP_ALIVE_TIMEOUT)?,
        head_bytes_max: size(typed.fixed(&all::HEAD_BYTES_MAX)?),
        headers_max: count(typed.fixed(&all::HEADERS_MAX)?),
        target_bytes_max: size(typed.fixed(&all::TARGET_BYTES_MAX)?),
        pipeline_max: count(typed.fixed(&all::PIPELINE_MAX)?),
        proxy_idle_timeout: proxy_idle_timeout(typed)?,
        api_docs: typed.switch(&all::API_DOCS)?,
        ws_ping_interval: typed.fixed(&all::WS_PING_INTERVAL)?,
        ws_idle_timeout: typed.fixed(&all::WS_IDLE_TIMEOUT)?,
        lag_timeout: typed.fixed(&all::LAG_TIMEOUT)?,
        ws_compression: typed.switch(&all::WS_COMPRESSION)?,
        ws_echo: typed.switch(&all::WS_ECHO)?,
        outbox_bytes_max: outbox.map_or_else(|| default_outbox(max_message_size), size),
        tls: listening::tls(typed)?,
        unix_socket: listening::unix_socket(typed)?,
        trusted_proxies: typed.list(
            &all::TRUSTED_PROXIES,
            listening::network,
            listening::NETWORKS,
        )?,
        proxy_protocol: listening::proxy_protocol(typed)?,
        access: access(typed)?,
        insecure_no_auth: typed.switch(&all::INSECURE_NO_AUTH)?,
        allowed_origins: typed.list(&all::ALLOWED_ORIGINS, value::parse_origin, ORIGINS)?,
        allowed_hosts: allowed_hosts(typed)?,
        log_level: typed.read(&all::LOG_LEVEL, log_level, LEVELS)?,
        log_format: typed.read(&all::LOG_FORMAT, log_format, "auto, text or json")?,
        metrics_topics_max: count(typed.fixed(&all::METRICS_TOPICS_MAX)?),
    };
    check(&config, typed)?;
    warnings.extend(exposure(&config));
    Ok((config, warnings))
}

const TEXTS: &str = "a comma-separated list of texts that are not empty";
const ORIGINS: &str = "a comma-separated list of origins as scheme://host[:port], or null";
const HOSTS: &str = "a comma-separated list of host names or addresses without port, or *";
const LEVELS: &str = "DEBUG, INFO, WARNING, ERROR or CRITICAL";

/// Half of the machine's memory, but never so little that nothing works.
fn default_memory(machine: Machine) -> Size {
    let Quantity { min, max, .. } = all::MEMORY_MAX.quantity;
    Size((machine.memory / 2).clamp(min.0, max.0))
}

fn default_outbox(max_message_size: usize) -> usize {
    size(Size(all::OUTBOX_BYTES_DEFAULT)).max(max_message_size + ENVELOPE_BYTES_MAX)
}

/// What an operator who switched the protection off should see at every start.
fn exposure(config: &Config) -> Option<String> {
    let is_open = config.insecure_no_auth && !config.access.asks_for_credentials();
    is_open.then(|| {
        format!(
            "--insecure-no-auth is on and no credentials are configured: whoever reaches {} may publish \
             and subscribe",
            config.host
        )
    })
}

fn access(typed: &Typed) -> Result<AccessSettings, ConfigError> {
    // Whoever writes an empty one meant a variable that is not set, and that tokens are checked.
    if let Some(given) = typed
        .get(&all::JWT_SECRET_KEY.about)
        .filter(|it| it.text.is_empty())
    {
        let allowed = "a secret of at least 32 bytes".to_owned();
        return Err(given.refused(all::JWT_SECRET_KEY.about.name, allowed));
    }
    let settings = AccessSettings {
        api_keys: typed.get(&all::API_KEYS.about).cloned(),
        api_keys_file: typed.get(&all::API_KEYS_FILE.about).cloned(),
        jwt_secret_key: valkey::secret(typed, &all::JWT_SECRET_KEY)?,
        jwt_public_key: typed.get(&all::JWT_PUBLIC_KEY.about).cloned(),
        jwt_jwks: typed.get(&all::JWT_JWKS.about).cloned(),
        jwks_refresh: typed.fixed(&all::JWT_JWKS_REFRESH)?,
        jwt_issuers: typed.list(&all::JWT_ISSUER, some_text, TEXTS)?,
        jwt_audiences: typed.list(&all::JWT_AUDIENCE, some_text, TEXTS)?,
        allow_query_token: typed.switch(&all::ALLOW_QUERY_TOKEN)?,
        metrics_auth: typed.switch(&all::METRICS_AUTH)?,
    };
    match typed.get(&all::METRICS_AUTH.about) {
        Some(given) if settings.metrics_auth && !settings.asks_for_credentials() => {
            let allowed = "off, as long as no credentials are configured";
            Err(given.refused(all::METRICS_AUTH.about.name, allowed.to_owned()))
        }
        _ => Ok(settings),
    }
}

fn some_text(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

fn allowed_hosts(typed: &Typed) -> Result<AllowedHosts, ConfigError> {
    let part = |text: &str| match text {
        "*" => Some(None),
        host => value::parse_host(host).map(Some),
    };
    let parts = typed.list(&all::ALLOWED_HOSTS, part, HOSTS)?;
    let listed: Option<Vec<String>> = parts.into_iter().collect();
    Ok(listed.map_or(AllowedHosts::Any, AllowedHosts::Listed))
}

/// Off, or long enough that an answer before it is not at once.
fn proxy_idle_timeout(typed: &Typed) -> Result<Duration, ConfigError> {
    let setting = &all::PROXY_IDLE_TIMEOUT;
    let timeout = typed.fixed(setting)?;
    match typed.get(&setting.quantity.about) {
        Some(given) if !timeout.is_zero() && timeout <= PROXY_IDLE_MARGIN => {
            let (margin, max) = (PROXY_IDLE_MARGIN.show(), setting.quantity.max.show());
            let allowed = format!("0, or a duration longer than {margin} up to {max}");
            Err(given.refused(setting.quantity.about.name, allowed))
        }
        _ => Ok(timeout),
    }
}

fn app_name(text: &str) -> Option<String> {
    let fits = (1..=255).contains(&text.chars().count()) && !text.chars().any(char::is_control);
    fits.then(|| text.to_owned())
}

fn log_level(text: &str) -> Option<LogLevel> {
    LogLevel::ALL
        .into_iter()
        .find(|level| level.name().eq_ignore_ascii_case(text))
}

fn log_format(text: &str) -> Option<LogFormat> {
    match text.to_ascii_lowercase().as_str() {
        "auto" => Some(LogFormat::Auto),
        "text" => Some(LogFormat::Text),
        "json" => Some(LogFormat::Json),
        _ => None,
    }
}

fn port(Count(number): Count) -> u16 {
    u16::try_from(number).expect("the range of the port ends at 65535")
}

fn number(Count(number): Count) -> u32 {
    u32::try_from(number).expect("the range of the limit ends before")
}

/// As many as the address space holds, where it is smaller than the number.
fn count(Count(number): Count) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

fn size(Size(bytes): Size) -> usize {
    count(Count(bytes))
}

#[cfg(test)]
pub(super) mod tests;
