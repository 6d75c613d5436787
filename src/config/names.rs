//! Names of the environment that no setting of this version reads, and what is said of them.

use super::catalogue::SETTINGS;
use super::error::{ConfigError, Source};
use super::table::{Declared, PREFIX};
use super::typed::Layers;

/// Settings of later versions. Whoever sets one expects something that this version does not do; a
/// start that swallowed it would surprise them when it matters.
const LATER_NAMES: [&str; 4] = [
    "BOOTSTRAP_ADMIN_EMAIL",
    "BOOTSTRAP_ADMIN_PASSWORD",
    "BOOTSTRAP_ADMIN_USERNAME",
    "RELAY",
];

/// What the commands read that talk to a server; a server in the same environment leaves them alone.
const CLIENT_NAMES: [&str; 6] = [
    "CA_FILE",
    "CLIENT_CERT",
    "CLIENT_KEY",
    "CREDENTIAL",
    "CREDENTIAL_FILE",
    "URL",
];

impl Layers {
    pub(super) fn refuse_later_settings(&self) -> Result<(), ConfigError> {
        for plain in LATER_NAMES {
            if let Some(source) = self.where_set(format!("{PREFIX}{plain}")) {
                return Err(ConfigError::Later(plain, source));
            }
        }
        Ok(())
    }

    /// Where a name of the environment has a value.
    fn where_set(&self, name: String) -> Option<Source> {
        let in_environment = self.environment.get(&name).is_some_and(|it| !it.is_empty());
        let in_dotenv = self.dotenv.get(&name).is_some_and(|it| !it.is_empty());
        if in_environment {
            Some(Source::Environment(name))
        } else {
            in_dotenv.then_some(Source::DotEnv(name))
        }
    }

    /// Tells of names that look as if they were meant for this program and that it does not read.
    pub(super) fn warn_of_ignored(&self, warnings: &mut Vec<String>) {
        let mut environment = Vec::new();
        for (name, value) in &self.environment {
            // Those of settings have been told of where the setting was looked for.
            let is_link = value.to_str().is_some_and(is_service_link);
            environment.push((name, value.is_empty() || is_link));
        }
        let dotenv = self
            .dotenv
            .iter()
            .map(|(name, value)| (name, value.is_empty()));
        let mut seen: Vec<&str> = Vec::new();
        for (name, nothing) in environment.into_iter().chain(dotenv) {
            if nothing || seen.contains(&name.as_str()) {
                continue;
            }
            seen.push(name);
            if name.starts_with(PREFIX) && is_unknown(name) {
                let name = name.escape_debug();
                warnings.push(format!(
                    "{name} is ignored: this version has no such setting"
                ));
            }
        }
    }
}

/// A value as Kubernetes injects it for each service of the namespace, under a name such as `HTTP_PORT`
/// when a service is called `http`.
pub(super) fn is_service_link(text: &str) -> bool {
    ["tcp://", "udp://", "sctp://"]
        .iter()
        .any(|scheme| text.starts_with(scheme))
}

pub(super) fn service_link_ignored(name: &str) -> String {
    format!(
        "the environment variable {name} is ignored: its value is an address as Kubernetes injects it \
         for a service"
    )
}

/// True for a prefixed name that is neither a setting nor one of those that Kubernetes makes from the
/// name of a service.
fn is_unknown(name: &str) -> bool {
    let injected = ["_SERVICE_", "_PORT_"]
        .iter()
        .any(|part| name.contains(part));
    let known = |setting: &&dyn Declared| {
        setting
            .about()
            .environment_names()
            .iter()
            .any(|known| known == name)
    };
    let is_client = name
        .strip_prefix(PREFIX)
        .is_some_and(|name| CLIENT_NAMES.contains(&name));
    !injected && !is_client && !SETTINGS.iter().any(known)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_other_parts_are_told_of() {
        let mut layers = Layers::default();
        layers.environment.insert("PULSAR_PROT".into(), "1".into());
        layers.environment.insert("PULSAR_URL".into(), "x".into());
        layers.dotenv.insert("DATABASE_URL".into(), "x".into());
        let warnings = layers.merge().unwrap().warnings;
        assert_eq!(
            warnings,
            ["PULSAR_PROT is ignored: this version has no such setting"]
        );
    }

    #[test]
    fn settings_of_later_versions_refuse_the_start() {
        let mut layers = Layers::default();
        layers
            .environment
            .insert("PULSAR_RELAY".into(), "true".into());
        let error = layers.merge().unwrap_err().to_string();
        assert!(
            error.contains("RELAY") && error.contains("PULSAR_RELAY"),
            "{error}"
        );
        let mut layers = Layers::default();
        layers.environment.insert("RELAY".into(), "true".into());
        assert!(layers.merge().is_ok(), "other programs' names are theirs");
    }
}
