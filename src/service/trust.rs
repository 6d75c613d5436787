//! Whom the server trusts, out of its settings and the files that they name.

use std::fs::File;
use std::io::Read;

use crate::access::{ApiKeyError, ApiKeys, Trust};
use crate::config::{AccessSettings, ConfigError, Given};

/// A file of API keys is shorter than this: it holds 1000 keys with long lists of topics.
const FILE_BYTES_MAX: u64 = 16 << 20;

/// Reads what the settings say and name. `None` if they ask for no credentials.
///
/// # Errors
/// When a file cannot be read, or a key breaks a rule.
pub fn load(settings: &AccessSettings) -> Result<Option<Trust>, ConfigError> {
    if !settings.asks_for_credentials() {
        return Ok(None);
    }
    let lines = settings.api_keys.as_ref().map(of_lines).transpose()?;
    let file = settings.api_keys_file.as_ref().map(of_file).transpose()?;
    let given = settings.api_keys_file.as_ref();
    let (lines, file) = (lines.unwrap_or_default(), file.unwrap_or_default());
    let keys = lines.and(file).map_err(|error| match given {
        Some(given) => refused(given, "api-keys-file", &error),
        None => ConfigError::Credentials(error.to_string()),
    })?;
    Ok(Some(Trust::new(keys, Default::default())))
}

fn of_lines(given: &Given) -> Result<ApiKeys, ConfigError> {
    let mut lines = given.text.split(',').map(str::trim);
    let keys = lines.try_fold(ApiKeys::default(), ApiKeys::with_line);
    keys.map_err(|error| ConfigError::Credentials(format!("api-keys, {}: {error}", given.source)))
}

fn of_file(given: &Given) -> Result<ApiKeys, ConfigError> {
    let text = read(given)
        .map_err(|error| given.refused("api-keys-file", format!("a file to read, but: {error}")))?;
    ApiKeys::of_toml(&text).map_err(|error| refused(given, "api-keys-file", &error))
}

fn read(given: &Given) -> std::io::Result<String> {
    let mut text = String::new();
    let file = File::open(&given.text)?;
    file.take(FILE_BYTES_MAX).read_to_string(&mut text)?;
    Ok(text)
}

fn refused(given: &Given, setting: &'static str, error: &ApiKeyError) -> ConfigError {
    given.refused(setting, format!("a TOML file of API keys, but {error}"))
}
