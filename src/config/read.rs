//! Reads one typed setting at a time: parses its text, holds it against its bounds, or takes the default.

use super::error::{ConfigError, Source, quoted};
use super::table::{Computed, Fixed, Plain, Quantity};
use super::typed::{Given, Typed};
use super::value::{self, Value};

impl Typed {
    /// A setting with a range and a default.
    pub(super) fn fixed<T: Value>(&self, setting: &Fixed<T>) -> Result<T, ConfigError> {
        let given = self.quantity(&setting.quantity)?;
        Ok(given.unwrap_or(setting.default))
    }

    /// A setting with a range, if it was given.
    pub(super) fn computed<T: Value>(
        &self,
        setting: &Computed<T>,
    ) -> Result<Option<T>, ConfigError> {
        self.quantity(&setting.quantity)
    }

    fn quantity<T: Value>(&self, setting: &Quantity<T>) -> Result<Option<T>, ConfigError> {
        let Some(given) = self.get(&setting.about) else {
            return Ok(None);
        };
        match T::parse(&given.text) {
            Some(value) if setting.min <= value && value <= setting.max => Ok(Some(value)),
            _ => Err(given.refused(setting.about.name, setting.allowed())),
        }
    }

    /// A setting of another kind; the default is parsed like a text that was typed.
    pub(super) fn read<T>(
        &self,
        setting: &Plain,
        parse: impl FnOnce(&str) -> Option<T>,
        allowed: &str,
    ) -> Result<T, ConfigError> {
        let default = Given {
            text: setting.default.to_owned(),
            source: Source::Default,
        };
        let given = self.get(&setting.about).unwrap_or(&default);
        parse(&given.text).ok_or_else(|| given.refused(setting.about.name, allowed.to_owned()))
    }

    pub(super) fn switch(&self, setting: &Plain) -> Result<bool, ConfigError> {
        self.read(
            setting,
            value::parse_switch,
            "true, 1, yes, on, false, 0, no or off",
        )
    }

    pub(super) fn list<T>(
        &self,
        setting: &Plain,
        parse: impl Fn(&str) -> Option<T>,
        allowed: &str,
    ) -> Result<Vec<T>, ConfigError> {
        self.read(
            setting,
            |text| value::parse_list(text).map(parse).collect(),
            allowed,
        )
    }
}

impl Given {
    /// The error for this text of the setting with this flag's name, of which `allowed` tells what
    /// would do.
    pub fn refused(&self, setting: &'static str, allowed: String) -> ConfigError {
        ConfigError::Value {
            setting,
            source_of: self.source.clone(),
            value: quoted(&self.text),
            allowed,
        }
    }
}
