//! `pulsar-proxy token`: makes and reads access tokens, and makes API keys.

use std::fs;
use std::io::Read;
use std::path::Path;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use clap::{Arg, ArgMatches, Command, value_parser};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Map, Value, json};

use super::Refusal;
use crate::access::{ApiKeys, Denied, Digest, Pattern, Permission, TOKEN_BYTES_MAX};
use crate::clock::Clock;
use crate::config::AccessSettings;
use crate::service::Credentials;

/// Random bytes of an API key.
const KEY_BYTES: usize = 32;
/// Longest line that is read from standard input, in bytes.
const INPUT_BYTES_MAX: u64 = 64 * 1024;

/// The subcommand and those below it.
pub(super) fn command() -> Command {
    let list = |name: &'static str, help: &'static str| {
        let argument = Arg::new(name).long(name).value_name("LIST").help(help);
        argument.value_delimiter(',').num_args(1)
    };
    let text = |name: &'static str, value: &'static str, help: &'static str| {
        Arg::new(name).long(name).value_name(value).help(help)
    };
    let name = Arg::new("name").required(true).value_name("NAME");
    let token = Arg::new("token").required(true).value_name("TOKEN");
    let permissions = list("permissions", "Of read, write and admin");
    Command::new("token")
        .about("Make and read access tokens, make API keys")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(
            Command::new("make")
                .about("Sign an access token, with the configured secret (JWT_SECRET_KEY) or a private key")
                .arg(text("subject", "TEXT", "Whose token it is (sub)"))
                .arg(permissions.clone())
                .arg(list("publish", "Topics to publish to, with * for any characters"))
                .arg(list("subscribe", "Topics to take messages of"))
                .arg(
                    text("expires-in", "DURATION", "Until when it holds (exp)")
                        .default_value("1h")
                        .value_parser(value_parser!(humantime::Duration)),
                )
                .arg(text("issuer", "TEXT", "Who signs (iss) [default: the first of --jwt-issuer as configured]"))
                .arg(text("audience", "TEXT", "For whom (aud) [default: the first of --jwt-audience as configured]"))
                .arg(text("private-key", "FILE", "PEM file of a private key: RSA, P-256, P-384 or Ed25519"))
                .arg(text("key-id", "TEXT", "What the key is called (kid)")),
        )
        .subcommand(
            Command::new("inspect")
                .about("Show what a token says, and whether the configured keys accept it")
                .arg(token.help("The token, or - to read it from standard input")),
        )
        .subcommand(
            Command::new("key")
                .about("Make an API key, and what the server is to know of it")
                .arg(name.help("Whose it is"))
                .arg(permissions.default_value("read,write")),
        )
        .subcommand(
            Command::new("hash").about("Hash the API key that is read from standard input"),
        )
}

/// Does what was asked for and returns what is to be printed. Settings are read where they are needed: a
/// key is made before a server can be configured with it.
pub(super) fn run(
    matches: &ArgMatches,
    directory: &Path,
    access: impl FnOnce() -> Result<AccessSettings, Refusal>,
) -> Result<String, Refusal> {
    match matches.subcommand() {
        Some(("make", matches)) => make(matches, directory, &access()?),
        Some(("inspect", matches)) => inspect(matches, &access()?),
        Some(("key", matches)) => key(matches),
        _ => Ok(Digest::of(input()?.as_bytes()).to_string()),
    }
}

fn make(
    matches: &ArgMatches,
    directory: &Path,
    access: &AccessSettings,
) -> Result<String, Refusal> {
    let mut claims = Map::new();
    let given = |name: &str| matches.get_one::<String>(name).cloned();
    let text = |name, default: &[String]| given(name).or_else(|| default.first().cloned());
    for (claim, value) in [
        ("sub", given("subject")),
        ("iss", text("issuer", &access.jwt_issuers)),
        ("aud", text("audience", &access.jwt_audiences)),
    ] {
        claims.extend(value.map(|value| (claim.to_owned(), json!(value))));
    }
    for claim in ["permissions", "publish", "subscribe"] {
        let Some(values) = list(matches, claim) else {
            continue;
        };
        for value in &values {
            let is_known = match claim {
                "permissions" => Permission::parse(value).is_some(),
                _ => Pattern::parse(value).is_ok(),
            };
            if !is_known {
                return Err(refuse(format!("--{claim}: {value:?} is none")));
            }
        }
        claims.insert(claim.to_owned(), json!(values));
    }
    let span = matches.get_one::<humantime::Duration>("expires-in");
    let now = now_unix();
    let span = span.map_or(Duration::ZERO, |span| **span).as_secs();
    claims.insert("iat".to_owned(), json!(now));
    claims.insert("exp".to_owned(), json!(now.saturating_add(span)));
    let claims = Value::Object(claims);
    let token = match (given("private-key"), &access.jwt_secret_key) {
        (Some(path), _) => {
            let path = directory.join(path);
            let pem = fs::read(&path)
                .map_err(|error| refuse(format!("--private-key: {}: {error}", path.display())))?;
            sign_with_pem(&pem, given("key-id").as_ref(), &claims).ok_or_else(|| {
                refuse("--private-key: no private key of a kind that is supported")
            })?
        }
        (None, Some(secret)) => {
            let key = EncodingKey::from_secret(secret.expose().as_bytes());
            sign(Algorithm::HS256, given("key-id"), &claims, &key)
                .ok_or_else(|| refuse("the token cannot be signed"))?
        }
        (None, None) => {
            return Err(refuse(
                "there is nothing to sign with: set JWT_SECRET_KEY, or name a --private-key",
            ));
        }
    };
    if token.len() > TOKEN_BYTES_MAX {
        return Err(refuse(
            "no server would take it: a token has at most 8192 bytes",
        ));
    }
    Ok(token)
}

/// The key says which algorithm it is for: the first that it can sign with.
fn sign_with_pem(pem: &[u8], key_id: Option<&String>, claims: &Value) -> Option<String> {
    type Read = fn(&[u8]) -> jsonwebtoken::errors::Result<EncodingKey>;
    let kinds: [(Algorithm, Read); 4] = [
        (Algorithm::RS256, EncodingKey::from_rsa_pem),
        (Algorithm::ES256, EncodingKey::from_ec_pem),
        (Algorithm::ES384, EncodingKey::from_ec_pem),
        (Algorithm::EdDSA, EncodingKey::from_ed_pem),
    ];
    kinds.into_iter().find_map(|(algorithm, read)| {
        let key = read(pem).ok()?;
        sign(algorithm, key_id.cloned(), claims, &key)
    })
}

fn sign(
    algorithm: Algorithm,
    key_id: Option<String>,
    claims: &Value,
    key: &EncodingKey,
) -> Option<String> {
    let header = Header {
        kid: key_id,
        ..Header::new(algorithm)
    };
    encode(&header, claims, key).ok()
}

fn inspect(matches: &ArgMatches, access: &AccessSettings) -> Result<String, Refusal> {
    let given = matches.get_one::<String>("token").map(String::as_str);
    let token = match given.unwrap_or_default() {
        "-" => input()?,
        token => token.to_owned(),
    };
    let part = |index| {
        let part = URL_SAFE_NO_PAD.decode(token.split('.').nth(index)?).ok()?;
        serde_json::from_slice::<Value>(&part).ok()
    };
    let (Some(header), Some(claims)) = (part(0), part(1)) else {
        return Err(refuse("this is no JSON Web Token"));
    };
    let verdict = match Credentials::load(access)? {
        None => "not checked: no keys are configured".to_owned(),
        Some(credentials) => match credentials
            .authority()
            .present()
            .0
            .admit(&token, now_unix())
        {
            Ok(caller) => format!("accepted as {}", caller.identity),
            Err(Denied::Unknown) => "not checked: no keys of tokens are configured".to_owned(),
            Err(denied) => format!("refused: {denied}"),
        },
    };
    let shown = json!({"header": header, "claims": claims, "verdict": verdict});
    Ok(format!("{shown:#}"))
}

fn key(matches: &ArgMatches) -> Result<String, Refusal> {
    let mut bytes = [0; KEY_BYTES];
    getrandom::fill(&mut bytes).map_err(|error| refuse(error.to_string()))?;
    let key = URL_SAFE_NO_PAD.encode(bytes);
    let name = matches
        .get_one::<String>("name")
        .cloned()
        .unwrap_or_default();
    let permissions = list(matches, "permissions").unwrap_or_default();
    let line = format!(
        "{name}:{}:{}",
        permissions.join("+"),
        Digest::of(key.as_bytes())
    );
    // What is printed is what a server takes.
    ApiKeys::default()
        .with_line(&line)
        .map_err(|error| refuse(error.to_string()))?;
    Ok(format!("key:        {key}\n--api-keys: {line}"))
}

fn list(matches: &ArgMatches, name: &str) -> Option<Vec<String>> {
    Some(matches.get_many::<String>(name)?.cloned().collect())
}

/// The first line of standard input.
fn input() -> Result<String, Refusal> {
    let mut text = String::new();
    let read = std::io::stdin()
        .take(INPUT_BYTES_MAX)
        .read_to_string(&mut text);
    read.map_err(|error| refuse(format!("standard input: {error}")))?;
    match text.lines().next().map(str::trim) {
        None | Some("") => Err(refuse("standard input is empty")),
        Some(line) => Ok(line.to_owned()),
    }
}

fn now_unix() -> u64 {
    Clock::start().now().wall_micros / 1_000_000
}

fn refuse(sentence: impl Into<String>) -> Refusal {
    Refusal::Command(sentence.into())
}
