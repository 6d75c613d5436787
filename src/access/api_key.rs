//! API keys: long secrets of which the server keeps hashes alone.

use std::fmt;
use std::hash::{Hash, Hasher};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use subtle::{Choice, ConstantTimeEq};

use super::grant::{Grant, PATTERNS_MAX, Permission};
use super::pattern::Pattern;

/// Most API keys: all of them are compared with a credential that is new.
pub const API_KEYS_MAX: usize = 1000;
/// Longest name of a key, in characters.
const NAME_CHARS_MAX: usize = 64;
/// What the text of a hash begins with.
const HASH_PREFIX: &str = "sha256:";

/// The SHA-256 hash of a credential. A credential is long and random, so nothing slower is needed.
#[derive(Clone, Copy, Serialize, Deserialize)]
pub struct Digest([u8; 32]);

impl Digest {
    /// Of a credential.
    pub fn of(credential: &[u8]) -> Digest {
        Digest(Sha256::digest(credential).into())
    }

    /// Its beginning.
    pub fn number(&self) -> u128 {
        let beginning = self.0.first_chunk();
        u128::from_be_bytes(*beginning.expect("a hash has twice as many bytes"))
    }

    /// Reads `sha256:` and 64 hexadecimal digits.
    pub fn parse(text: &str) -> Option<Digest> {
        let digits = text.strip_prefix(HASH_PREFIX)?.as_bytes();
        let mut bytes = [0; 32];
        if digits.len() != 2 * bytes.len() {
            return None;
        }
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            let digit = |place: usize| char::from(pair[place]).to_digit(16);
            *byte = (digit(0)? << 4 | digit(1)?) as u8;
        }
        Some(Digest(bytes))
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(HASH_PREFIX)?;
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Digest(..)")
    }
}

// How long it takes tells nothing of where two hashes differ.
impl PartialEq for Digest {
    fn eq(&self, other: &Digest) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for Digest {}

impl Hash for Digest {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

/// A key, as the server knows it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ApiKey {
    /// Whose it is: 1 to 64 letters, digits, `.`, `_` and `-`.
    pub name: Box<str>,
    /// The hash of the key.
    pub digest: Digest,
    /// What it allows.
    pub grant: Grant,
    /// Messages a minute; 0 for no limit, and absent for that of the server.
    pub rate_limit: Option<u32>,
}

/// Why API keys are not understood.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ApiKeyError {
    /// No TOML, or a member that is unknown, missing or of another type. The sentence names the
    /// place, and never a value.
    #[error("{0}")]
    Form(String),
    /// The name of a key.
    #[error("the name of key {0} is not 1 to 64 letters, digits, ., _ and -")]
    Name(usize),
    /// Two keys have this name.
    #[error("two keys are named {0}")]
    Twice(Box<str>),
    /// The hash of the key of this name.
    #[error("the hash of key {0} is not sha256: and 64 hexadecimal digits")]
    Hash(Box<str>),
    /// A permission of the key of this name.
    #[error("a permission of key {0} is not read, write or admin")]
    Permission(Box<str>),
    /// A pattern of the key of this name.
    #[error("a topic pattern of key {0} is not 1 to 255 letters, numbers, -, _ and *")]
    Pattern(Box<str>),
    /// The key of this name has more patterns than [`PATTERNS_MAX`].
    #[error("key {0} has more than {PATTERNS_MAX} topic patterns in one list")]
    Patterns(Box<str>),
    /// There are more keys than [`API_KEYS_MAX`].
    #[error("there are more than {API_KEYS_MAX} keys")]
    Keys,
}

/// A file of keys.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    #[serde(default)]
    key: Vec<WrittenKey>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenKey {
    name: String,
    hash: String,
    permissions: Option<Vec<String>>,
    publish: Option<Vec<String>>,
    subscribe: Option<Vec<String>>,
    rate_limit: Option<u32>,
}

/// The keys of a server.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct ApiKeys(Vec<ApiKey>);

impl ApiKeys {
    /// Reads a TOML text: one `[[key]]` with `name`, `hash`, and as needed `permissions`, `publish`,
    /// `subscribe` and `rate_limit` for each.
    ///
    /// # Errors
    /// The first key that breaks a rule.
    pub fn of_toml(text: &str) -> Result<ApiKeys, ApiKeyError> {
        let written: Written = toml::from_str(text).map_err(|error| form(&error, text))?;
        let keys = written.key.iter().enumerate().map(|(index, key)| {
            let grant = || -> Result<Grant, ApiKeyError> {
                let permissions = key.permissions.as_ref();
                let permissions = permissions.map(|names| permissions_of(&key.name, names));
                let publish = key.publish.as_ref().map(|all| patterns(&key.name, all));
                let subscribe = key.subscribe.as_ref().map(|all| patterns(&key.name, all));
                Ok(Grant::new(
                    permissions.transpose()?.as_deref(),
                    publish.transpose()?,
                    subscribe.transpose()?,
                ))
            };
            Ok(ApiKey {
                rate_limit: key.rate_limit,
                ..api_key(index, &key.name, &key.hash, grant)?
            })
        });
        ApiKeys::default().with(keys)
    }

    /// Reads `name:permissions:hash`, with `+` between permissions, and adds the key.
    ///
    /// # Errors
    /// When it breaks a rule, or there is a key of this name.
    pub fn with_line(self, line: &str) -> Result<ApiKeys, ApiKeyError> {
        let index = self.0.len();
        let mut parts = line.splitn(3, ':');
        let (Some(name), Some(permissions), Some(hash)) =
            (parts.next(), parts.next(), parts.next())
        else {
            let sentence = format!("key {} is not name:permissions:hash", index + 1);
            return Err(ApiKeyError::Form(sentence));
        };
        let grant = || {
            let permissions = permissions_of(name, permissions.split('+'))?;
            Ok(Grant::new(Some(&permissions), None, None))
        };
        let key = api_key(index, name, hash, grant);
        self.with([key])
    }

    /// These and those.
    ///
    /// # Errors
    /// When two have the same name, or they are too many together.
    pub fn and(self, others: ApiKeys) -> Result<ApiKeys, ApiKeyError> {
        self.with(others.0.into_iter().map(Ok))
    }

    fn with(
        mut self,
        keys: impl IntoIterator<Item = Result<ApiKey, ApiKeyError>>,
    ) -> Result<ApiKeys, ApiKeyError> {
        for key in keys {
            let key = key?;
            if self.0.iter().any(|other| other.name == key.name) {
                return Err(ApiKeyError::Twice(key.name));
            }
            if self.0.len() == API_KEYS_MAX {
                return Err(ApiKeyError::Keys);
            }
            self.0.push(key);
        }
        Ok(self)
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The key with this hash. All are compared, whichever it is.
    pub fn find(&self, digest: &Digest) -> Option<&ApiKey> {
        self.0.iter().fold(None, |found, key| {
            let is_it: Choice = key.digest.0.ct_eq(&digest.0);
            if is_it.into() { Some(key) } else { found }
        })
    }
}

fn api_key(
    index: usize,
    name: &str,
    hash: &str,
    grant: impl FnOnce() -> Result<Grant, ApiKeyError>,
) -> Result<ApiKey, ApiKeyError> {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    if name.is_empty() || name.len() > NAME_CHARS_MAX || !name.bytes().all(is_allowed) {
        return Err(ApiKeyError::Name(index + 1));
    }
    Ok(ApiKey {
        name: name.into(),
        digest: Digest::parse(hash).ok_or_else(|| ApiKeyError::Hash(name.into()))?,
        grant: grant()?,
        rate_limit: None,
    })
}

fn permissions_of<'p>(
    name: &str,
    texts: impl IntoIterator<Item = &'p (impl AsRef<str> + ?Sized + 'p)>,
) -> Result<Vec<Permission>, ApiKeyError> {
    let wrong = || ApiKeyError::Permission(name.into());
    let parsed = texts
        .into_iter()
        .map(|text| Permission::parse(text.as_ref()).ok_or_else(wrong));
    parsed.collect()
}

fn patterns(name: &str, texts: &[String]) -> Result<Vec<Pattern>, ApiKeyError> {
    if texts.len() > PATTERNS_MAX {
        return Err(ApiKeyError::Patterns(name.into()));
    }
    let wrong = |_| ApiKeyError::Pattern(name.into());
    let parsed = texts.iter().map(|text| Pattern::parse(text).map_err(wrong));
    parsed.collect()
}

/// What the parser says, as far as it repeats no value, and in which line.
fn form(error: &toml::de::Error, text: &str) -> ApiKeyError {
    let line = error.span().and_then(|span| text.get(..span.start));
    let line = line.map_or(1, |before| before.matches('\n').count() + 1);
    let told = Some(error.message()).filter(|it| it.contains(" field `"));
    let told = told.unwrap_or("this is no TOML, or a value of another type than wanted");
    ApiKeyError::Form(format!("line {line}: {told}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: &str = "sha256:2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b";

    #[test]
    fn hashes_are_written_and_read() {
        let digest = Digest::of(b"secret");
        assert_eq!(digest.to_string(), HASH);
        assert_eq!(Digest::parse(HASH), Some(digest));
        assert_eq!(
            Digest::parse(&HASH.to_uppercase().replace("SHA", "sha")),
            Some(digest)
        );
        for wrong in [
            "",
            "sha256:",
            "secret",
            &HASH[..70],
            &format!("{HASH}0"),
            &HASH.replace('2', "x"),
        ] {
            assert_eq!(Digest::parse(wrong), None, "{wrong}");
        }
        assert!(!format!("{digest:?}").contains("2bb8"));
    }

    #[test]
    fn a_file_tells_names_hashes_and_rights() {
        let text = format!(
            "[[key]]\nname = \"jobs\"\nhash = \"{HASH}\"\npublish = [\"jobs-*\"]\nrate_limit = 60\n\
             [[key]]\nname = \"boss\"\nhash = \"{}\"\npermissions = [\"admin\"]\n",
            Digest::of(b"other")
        );
        let keys = ApiKeys::of_toml(&text).unwrap();
        let jobs = keys.find(&Digest::of(b"secret")).unwrap();
        assert_eq!((&*jobs.name, jobs.rate_limit), ("jobs", Some(60)));
        assert!(jobs.grant.may_publish("jobs-1") && !jobs.grant.may_read_some());
        assert!(keys.find(&Digest::of(b"other")).unwrap().grant.is_admin());
        assert_eq!(keys.find(&Digest::of(b"Secret")), None);
    }

    #[test]
    fn what_breaks_a_rule_is_named_without_its_value() {
        let key = |more: &str| format!("[[key]]\nname = \"a\"\nhash = \"{HASH}\"\n{more}\n");
        for (text, sentence) in [
            (key("permissions = [\"root\"]"), "a permission of key a"),
            (key("publish = [\"a b\"]"), "a topic pattern of key a"),
            (key("subscribe = [\"\"]"), "a topic pattern of key a"),
            (
                key("secret = \"hunter2\""),
                "line 4: unknown field `secret`",
            ),
            (key("publish = \"hunter2\""), "line 4: this is"),
            (key("rate_limit = -1"), "line 4: this is"),
            (key("") + &key(""), "two keys are named a"),
            (
                "[[key]]\nname = \"a b\"\nhash = \"\"".to_owned(),
                "the name of key 1",
            ),
            (
                "[[key]]\nname = \"a\"\nhash = \"hunter2\"".to_owned(),
                "the hash of key a",
            ),
            (
                "[[key]]\nname = \"a\"".to_owned(),
                "line 1: missing field `hash`",
            ),
        ] {
            let error = ApiKeys::of_toml(&text).unwrap_err().to_string();
            assert!(error.starts_with(sentence), "{error}");
            assert!(!error.contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn lines_are_for_settings() {
        let keys = ApiKeys::default()
            .with_line(&format!("jobs:read+write:{HASH}"))
            .unwrap();
        let key = keys.find(&Digest::of(b"secret")).unwrap();
        assert!(key.grant.may_read_all() && key.grant.may_publish("a") && !key.grant.is_admin());
        for wrong in [
            "jobs",
            "jobs:read",
            "jobs:read:secret",
            &format!("x:all:{HASH}"),
            &format!("jobs:read:{HASH}"),
        ] {
            assert!(keys.clone().with_line(wrong).is_err(), "{wrong}");
        }
        let other = ApiKeys::default()
            .with_line(&format!("b:read:{HASH}"))
            .unwrap();
        assert_eq!(keys.clone().and(other).unwrap().0.len(), 2);
        assert!(keys.clone().and(keys).is_err());
    }
}
