//! Whom the server trusts, out of its settings and the files that they name.

use std::fmt::Display;
use std::fs::File;
use std::io::{self, Read};
use std::path::PathBuf;

use crate::access::{ApiKeys, Terms, Trust, VerificationKey, Verifier};
use crate::config::{AccessSettings, ConfigError, Given};

/// Longest file: it holds 1000 API keys with long lists of topics.
const FILE_BYTES_MAX: u64 = 16 << 20;

/// Reads what the settings say and name; tokens may be signed with these keys as well.
///
/// # Errors
/// When a file cannot be read, or a key breaks a rule.
pub(super) fn load(
    settings: &AccessSettings,
    fetched: &[VerificationKey],
) -> Result<Trust, ConfigError> {
    Ok(Trust::new(
        api_keys(settings)?,
        verifier(settings, fetched)?,
    ))
}

/// The files that settings name.
pub fn files(settings: &AccessSettings) -> impl Iterator<Item = PathBuf> {
    let all = [
        settings.api_keys_file.as_ref(),
        settings.jwt_public_key.as_ref(),
        settings.jwks_file(),
    ];
    all.into_iter()
        .flatten()
        .map(|given| PathBuf::from(&given.text))
}

fn api_keys(settings: &AccessSettings) -> Result<ApiKeys, ConfigError> {
    let lines = settings.api_keys.as_ref().map(of_lines).transpose()?;
    let lines = lines.unwrap_or_default();
    let Some(given) = &settings.api_keys_file else {
        return Ok(lines);
    };
    let read = |text: &str| ApiKeys::of_toml(text).and_then(|keys| lines.and(keys));
    of_file(given, "api-keys-file", read)
}

fn of_lines(given: &Given) -> Result<ApiKeys, ConfigError> {
    let mut lines = given.text.split(',').map(str::trim);
    let keys = lines.try_fold(ApiKeys::default(), ApiKeys::with_line);
    keys.map_err(|error| ConfigError::Credentials(format!("api-keys, {}: {error}", given.source)))
}

fn verifier(
    settings: &AccessSettings,
    fetched: &[VerificationKey],
) -> Result<Verifier, ConfigError> {
    let mut keys = fetched.to_vec();
    if let Some(secret) = &settings.jwt_secret_key {
        let key = VerificationKey::secret(secret.expose().as_bytes());
        let refused = |error| ConfigError::Credentials(format!("jwt-secret-key: {error}"));
        keys.push(key.map_err(refused)?);
    }
    if let Some(given) = &settings.jwt_public_key {
        keys.extend(of_file(given, "jwt-public-key", VerificationKey::pem)?);
    }
    if let Some(given) = settings.jwks_file() {
        keys.extend(of_file(given, "jwt-jwks", VerificationKey::jwks)?);
    }
    let terms = Terms {
        issuers: settings.jwt_issuers.clone(),
        audiences: settings.jwt_audiences.clone(),
    };
    Ok(Verifier::new(keys, terms))
}

/// Reads the file that a setting names.
fn of_file<T, E: Display>(
    given: &Given,
    setting: &'static str,
    understand: impl FnOnce(&str) -> Result<T, E>,
) -> Result<T, ConfigError> {
    let refused = |why: &dyn Display| given.refused(setting, format!("a file of keys, but: {why}"));
    let text = read(given).map_err(|error| refused(&error))?;
    understand(&text).map_err(|error| refused(&error))
}

fn read(given: &Given) -> io::Result<String> {
    let mut text = String::new();
    let file = File::open(&given.text)?;
    file.take(FILE_BYTES_MAX).read_to_string(&mut text)?;
    Ok(text)
}
