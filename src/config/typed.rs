//! What was typed: for each setting the strongest text that some source gives, and which source that is.
//! Flags beat the environment, which beats `.env`, which beats the TOML file. Nothing is parsed here.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;

use super::catalogue::{CONFIG, SETTINGS};
use super::error::{ConfigError, Source};
use super::names::{is_service_link, service_link_ignored};
use super::table::{About, Shape};

/// Everything that can set something, strongest first. Its `Debug` form tells no values, because there
/// are secrets among them.
#[derive(Default)]
pub struct Layers {
    /// Flags by name without dashes; lists are joined with commas.
    pub flags: BTreeMap<&'static str, String>,
    /// The process environment.
    pub environment: BTreeMap<String, OsString>,
    /// The lines of `.env`.
    pub dotenv: BTreeMap<String, String>,
    /// The TOML file and its path.
    pub file: Option<(PathBuf, toml::Table)>,
}

/// The text of one setting and where it was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Given {
    /// As typed, without white space around it.
    pub text: String,
    /// Where it was typed.
    pub source: Source,
}

/// What was typed, by the flag's name, and what the operator should know about the rest. Its `Debug`
/// form tells no values, because there are secrets among them.
#[derive(Default)]
pub struct Typed {
    pub(super) values: BTreeMap<&'static str, Given>,
    pub(super) warnings: Vec<String>,
}

impl Layers {
    /// The settings file that flag, environment or `.env` name.
    ///
    /// # Errors
    ///
    /// The path is not Unicode.
    pub fn config_file(&self) -> Result<Option<Given>, ConfigError> {
        self.find(&CONFIG.about, &mut Vec::new())
    }

    /// Picks the strongest source of each setting.
    ///
    /// # Errors
    ///
    /// Keys that no setting has, values that are no Unicode text, a key for access tokens, which this
    /// version would not check, and other settings of later versions.
    pub fn merge(&self) -> Result<Typed, ConfigError> {
        self.refuse_unknown_keys()?;
        self.refuse_later_settings()?;
        let mut typed = Typed::default();
        for setting in SETTINGS {
            let about = setting.about();
            if let Some(given) = self.find(about, &mut typed.warnings)? {
                typed.values.insert(about.name, given);
            }
        }
        self.warn_of_ignored(&mut typed.warnings);
        Ok(typed)
    }

    fn find(
        &self,
        about: &About,
        warnings: &mut Vec<String>,
    ) -> Result<Option<Given>, ConfigError> {
        if let Some(text) = self.flags.get(about.name) {
            return Ok(Some(Given::new(text, Source::Flag(about.name))));
        }
        let names = about.environment_names();
        for name in &names {
            if let Some(given) = self.environment_value(about.name, name, warnings)? {
                return Ok(Some(given));
            }
        }
        for name in names {
            match self.dotenv.get(&name).map(|text| text.trim()) {
                None | Some("") => {}
                Some(text) => return Ok(Some(Given::new(text, Source::DotEnv(name)))),
            }
        }
        self.file_value(about)
    }

    /// A variable that is empty counts as unset, because container tools pass on unset ones like that.
    fn environment_value(
        &self,
        setting: &'static str,
        name: &str,
        warnings: &mut Vec<String>,
    ) -> Result<Option<Given>, ConfigError> {
        let Some(value) = self.environment.get(name) else {
            return Ok(None);
        };
        let source = Source::Environment(name.to_owned());
        let Some(text) = value.to_str().map(str::trim) else {
            return Err(ConfigError::NotUnicode(setting, source));
        };
        if is_service_link(text) {
            warnings.push(service_link_ignored(name));
            return Ok(None);
        }
        Ok((!text.is_empty()).then(|| Given::new(text, source)))
    }

    fn file_value(&self, about: &About) -> Result<Option<Given>, ConfigError> {
        let Some((path, table)) = &self.file else {
            return Ok(None);
        };
        let key = about.key();
        let Some(value) = table.get(&key) else {
            return Ok(None);
        };
        let source = Source::File(path.clone(), key);
        match file_text(value, about.shape) {
            Some(text) => Ok(Some(Given::new(&text, source))),
            None => Err(ConfigError::ValueType(about.name, source)),
        }
    }

    fn refuse_unknown_keys(&self) -> Result<(), ConfigError> {
        let Some((path, table)) = &self.file else {
            return Ok(());
        };
        // The file cannot name another file.
        let known = |key: &str| {
            key != CONFIG.about.name && SETTINGS.iter().any(|setting| setting.about().key() == key)
        };
        match table.keys().find(|key| !known(key)) {
            Some(key) => Err(ConfigError::UnknownKey(
                path.clone(),
                key.escape_debug().to_string(),
            )),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for Layers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let keys = |(path, table): &(PathBuf, toml::Table)| -> (PathBuf, Vec<String>) {
            (path.clone(), table.keys().cloned().collect())
        };
        f.debug_struct("Layers")
            .field("flags", &self.flags.keys())
            .field("environment", &self.environment.keys())
            .field("dotenv", &self.dotenv.keys())
            .field("file", &self.file.as_ref().map(keys))
            .finish()
    }
}

impl Given {
    fn new(text: &str, source: Source) -> Given {
        Given {
            text: text.trim().to_owned(),
            source,
        }
    }
}

impl Typed {
    /// What was typed for the setting with this flag's name.
    pub fn given(&self, setting: &str) -> Option<&Given> {
        self.values.get(setting)
    }

    pub(super) fn get(&self, about: &About) -> Option<&Given> {
        self.values.get(about.name)
    }

    /// Where a setting was given.
    pub(super) fn source(&self, about: &About) -> Source {
        self.get(about)
            .map_or(Source::Default, |given| given.source.clone())
    }
}

impl fmt::Debug for Typed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sources = self
            .values
            .iter()
            .map(|(name, given)| (name, &given.source));
        f.debug_map().entries(sources).finish()
    }
}

/// The text that the value of a TOML key stands for; lists are for settings that are lists.
fn file_text(value: &toml::Value, shape: Shape) -> Option<String> {
    match value {
        toml::Value::String(text) => Some(text.clone()),
        toml::Value::Integer(number) => Some(number.to_string()),
        toml::Value::Float(number) => Some(number.to_string()),
        toml::Value::Boolean(switch) => Some(switch.to_string()),
        toml::Value::Array(parts) if shape == Shape::List => {
            let parts: Option<Vec<&str>> = parts.iter().map(toml::Value::as_str).collect();
            parts.map(|parts| parts.join(","))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layers() -> Layers {
        let toml = "port = 4\nws_echo = true\nallowed_origins = [\"null\", \"http://a\"]\nlag_timeout = 0.5";
        Layers {
            flags: BTreeMap::from([("port", "1".to_owned())]),
            environment: BTreeMap::from([("PULSAR_PORT".to_owned(), "2".into())]),
            dotenv: BTreeMap::from([("PULSAR_PORT".to_owned(), "3".to_owned())]),
            file: Some((PathBuf::from("p.toml"), toml.parse().unwrap())),
        }
    }

    fn port(layers: &Layers) -> Given {
        layers.merge().unwrap().values["port"].clone()
    }

    #[test]
    fn the_strongest_source_wins() {
        let mut layers = layers();
        assert_eq!(port(&layers), Given::new("1", Source::Flag("port")));
        layers.flags.clear();
        assert_eq!(
            port(&layers),
            Given::new("2", Source::Environment("PULSAR_PORT".into()))
        );
        layers.environment.clear();
        assert_eq!(
            port(&layers),
            Given::new("3", Source::DotEnv("PULSAR_PORT".into()))
        );
        layers.dotenv.clear();
        let file = Source::File("p.toml".into(), "port".into());
        assert_eq!(port(&layers), Given::new("4", file));
        layers.file = None;
        assert!(layers.merge().unwrap().values.is_empty());
    }

    #[test]
    fn the_flags_name_beats_the_prefixed_one_which_beats_the_plain_one() {
        let mut layers = Layers::default();
        for (name, text) in [
            ("HTTP_PORT", "1"),
            ("PULSAR_HTTP_PORT", "2"),
            ("PULSAR_PORT", "3"),
        ] {
            layers.environment.insert(name.into(), text.into());
            assert_eq!(
                port(&layers),
                Given::new(text, Source::Environment(name.into()))
            );
        }
        // A plain name in the environment still beats any name in the file.
        layers.environment.remove("PULSAR_PORT");
        layers.environment.remove("PULSAR_HTTP_PORT");
        layers.dotenv.insert("PULSAR_PORT".into(), "9".into());
        assert_eq!(port(&layers).text, "1");
    }

    #[test]
    fn only_the_names_of_old_work_without_prefix() {
        let mut layers = Layers::default();
        layers.environment.insert("HOST".into(), "shell".into());
        layers.environment.insert("HEAD_TIMEOUT".into(), "1".into());
        assert!(layers.merge().unwrap().values.is_empty());
        layers
            .environment
            .insert("MAX_CONNECTIONS_PER_INSTANCE".into(), "7".into());
        assert_eq!(layers.merge().unwrap().values["max-connections"].text, "7");
    }

    #[test]
    fn empty_variables_count_as_unset() {
        let mut layers = layers();
        layers.flags.clear();
        layers.environment.insert("PULSAR_PORT".into(), " ".into());
        layers.dotenv.insert("PULSAR_PORT".into(), String::new());
        assert_eq!(port(&layers).text, "4");
    }

    #[test]
    fn service_links_are_ignored_with_a_warning() {
        let mut layers = Layers::default();
        layers
            .environment
            .insert("HTTP_PORT".into(), "tcp://10.0.0.1:80".into());
        layers
            .environment
            .insert("PULSAR_PORT_80_TCP".into(), "tcp://10.0.0.1:80".into());
        layers
            .environment
            .insert("PULSAR_SERVICE_HOST".into(), "10.0.0.1".into());
        layers
            .environment
            .insert("VALKEY_PORT".into(), "tcp://10.0.0.2:6379".into());
        let typed = layers.merge().unwrap();
        assert!(typed.values.is_empty());
        assert_eq!(typed.warnings.len(), 2);
        assert!(typed.warnings[0].starts_with("the environment variable HTTP_PORT is ignored"));
        assert!(typed.warnings[1].starts_with("the environment variable VALKEY_PORT is ignored"));
    }

    #[test]
    fn the_file_takes_plain_types_and_lists() {
        let values = layers().merge().unwrap().values;
        assert_eq!(values["ws-echo"].text, "true");
        assert_eq!(values["allowed-origins"].text, "null,http://a");
        assert_eq!(values["lag-timeout"].text, "0.5");
    }

    #[test]
    fn the_file_takes_nothing_else() {
        for (toml, expected) in [
            ("prot = 1", "the setting prot in the file p.toml is unknown"),
            (
                "config = \"x\"",
                "the setting config in the file p.toml is unknown",
            ),
            (
                "head-timeout = 1",
                "the setting head-timeout in the file p.toml is unknown",
            ),
            (
                "port = [1]",
                "the setting port, given by port in the file p.toml, must be a text",
            ),
            (
                "[port]",
                "the setting port, given by port in the file p.toml, must be a text",
            ),
            (
                "allowed_hosts = [1]",
                "the setting allowed-hosts, given by allowed_hosts in",
            ),
        ] {
            let file = Some((PathBuf::from("p.toml"), toml.parse().unwrap()));
            let error = Layers {
                file,
                ..Layers::default()
            }
            .merge()
            .unwrap_err()
            .to_string();
            assert!(error.starts_with(expected), "{error}");
        }
    }

    #[test]
    fn debug_forms_tell_names_and_sources_and_no_values() {
        let toml = "valkey_password = \"hunter2\"";
        let layers = Layers {
            flags: BTreeMap::from([("valkey-username", "hunter2".to_owned())]),
            environment: BTreeMap::from([("VALKEY_PASSWORD".to_owned(), "hunter2".into())]),
            dotenv: BTreeMap::from([("VALKEY_USERNAME".to_owned(), "hunter2".to_owned())]),
            file: Some((PathBuf::from("p.toml"), toml.parse().unwrap())),
        };
        let (all, typed) = (
            format!("{layers:?}"),
            format!("{:?}", layers.merge().unwrap()),
        );
        assert!(
            all.contains("VALKEY_PASSWORD") && all.contains("valkey_password"),
            "{all}"
        );
        assert!(
            typed.contains("Environment(\"VALKEY_PASSWORD\")"),
            "{typed}"
        );
        assert!(
            !all.contains("hunter2") && !typed.contains("hunter2"),
            "{all} {typed}"
        );
    }

    #[cfg(unix)]
    #[test]
    fn values_that_are_not_unicode_are_refused() {
        use std::os::unix::ffi::OsStringExt;
        let mut layers = Layers::default();
        layers
            .environment
            .insert("WORKERS".into(), OsString::from_vec(vec![0xff]));
        let error = layers.merge().unwrap_err().to_string();
        assert_eq!(
            error,
            "the setting workers, given by the environment variable WORKERS, is not valid UTF-8: \
             allowed is Unicode text"
        );
    }
}
