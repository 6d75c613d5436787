//! What the declaration of a setting consists of. The settings themselves stand in
//! [`catalogue`](super::catalogue); flags, environment names, file keys, help and the table of the
//! docs/SETTINGS.md all follow from there.

use super::value::Value;

/// The prefix of environment variables that are meant for this program alone.
pub(crate) const PREFIX: &str = "PULSAR_";

/// The heading under which `--help` and docs/SETTINGS.md list a setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Group {
    Server,
    Storage,
    Valkey,
    Limits,
    Http,
    WebSocket,
    Access,
    Logs,
}

impl Group {
    pub(crate) fn heading(self) -> &'static str {
        match self {
            Group::Server => "Server",
            Group::Storage => "Storage",
            Group::Valkey => "Valkey",
            Group::Limits => "Limits",
            Group::Http => "HTTP",
            Group::WebSocket => "WebSocket",
            Group::Access => "Access",
            Group::Logs => "Logs and metrics",
        }
    }
}

/// How a flag takes its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    /// `--flag VALUE`, once.
    One,
    /// `--flag` alone means on; `--flag=off` turns off what another source turned on.
    Switch,
    /// `--flag A,B --flag C`.
    List,
}

/// What every setting has, whatever its value is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct About {
    /// The flag without its dashes; the file key and the environment name follow from it.
    pub(crate) name: &'static str,
    pub(crate) group: Group,
    pub(crate) value_name: &'static str,
    pub(crate) help: &'static str,
    pub(crate) shape: Shape,
    /// The environment name that works without prefix, where there is one.
    pub(crate) plain_name: Option<&'static str>,
    /// Whether the value is for nobody's eyes.
    pub(crate) is_secret: bool,
}

impl About {
    pub(super) const fn new(
        name: &'static str,
        group: Group,
        value_name: &'static str,
        help: &'static str,
    ) -> About {
        let (shape, plain_name) = (Shape::One, None);
        About {
            name,
            group,
            value_name,
            help,
            shape,
            plain_name,
            is_secret: false,
        }
    }

    pub(super) const fn secret(self) -> About {
        About {
            is_secret: true,
            ..self
        }
    }

    pub(super) const fn plain_name(self, name: &'static str) -> About {
        About {
            plain_name: Some(name),
            ..self
        }
    }

    pub(super) const fn shape(self, shape: Shape) -> About {
        About { shape, ..self }
    }

    /// The key in the TOML file.
    pub(crate) fn key(&self) -> String {
        self.name.replace('-', "_")
    }

    /// Every environment name that sets this, the strongest first.
    pub(crate) fn environment_names(&self) -> Vec<String> {
        let mut names = vec![format!("{PREFIX}{}", self.key().to_ascii_uppercase())];
        if let Some(plain) = self.plain_name {
            names.push(format!("{PREFIX}{plain}"));
            names.push(plain.to_owned());
            names.dedup();
        }
        names
    }
}

/// A setting that takes a value from a range.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Quantity<T> {
    pub(super) about: About,
    pub(super) min: T,
    pub(super) max: T,
}

impl<T: Value> Quantity<T> {
    /// What is allowed, for an error sentence.
    pub(super) fn allowed(&self) -> String {
        format!(
            "{} from {} to {}",
            T::FORM,
            self.min.show(),
            self.max.show()
        )
    }
}

/// A [`Quantity`] whose default is the same everywhere.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fixed<T> {
    pub(super) quantity: Quantity<T>,
    pub(super) default: T,
}

impl<T: Copy> Fixed<T> {
    pub(super) const fn new(about: About, default: T, min: T, max: T) -> Fixed<T> {
        Fixed {
            quantity: Quantity { about, min, max },
            default,
        }
    }
}

/// A [`Quantity`] whose default depends on the machine or on other settings.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Computed<T> {
    pub(super) quantity: Quantity<T>,
    /// The default in words.
    pub(super) default: &'static str,
}

impl<T: Copy> Computed<T> {
    pub(super) const fn new(about: About, default: &'static str, min: T, max: T) -> Computed<T> {
        Computed {
            quantity: Quantity { about, min, max },
            default,
        }
    }
}

/// A setting of any other kind, with its default as it would be typed (empty: none).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plain {
    pub(super) about: About,
    pub(super) default: &'static str,
}

/// What help, merging and docs/SETTINGS.md need to know of a setting of any kind.
pub(crate) trait Declared: Sync {
    fn about(&self) -> &About;

    /// The default in words or as it would be typed; empty if there is none.
    fn default_text(&self) -> String;
}

impl<T: Value + Sync> Declared for Fixed<T> {
    fn about(&self) -> &About {
        &self.quantity.about
    }

    fn default_text(&self) -> String {
        self.default.show()
    }
}

impl<T: Value + Sync> Declared for Computed<T> {
    fn about(&self) -> &About {
        &self.quantity.about
    }

    fn default_text(&self) -> String {
        self.default.to_owned()
    }
}

impl Declared for Plain {
    fn about(&self) -> &About {
        &self.about
    }

    fn default_text(&self) -> String {
        self.default.to_owned()
    }
}
