//! Who may use the server.

use super::super::table::{About, Group, Plain, Shape};

pub(crate) const API_KEYS: Plain = Plain {
    about: About::new(
        "api-keys",
        Group::Access,
        "LIST",
        "API keys as name:permissions:hash, with permissions joined by + and a hash as sha256:HEX",
    )
    .shape(Shape::List),
    default: "",
};

pub(crate) const API_KEYS_FILE: Plain = Plain {
    about: About::new(
        "api-keys-file",
        Group::Access,
        "FILE",
        "TOML file of API keys: name, hash, permissions, publish and subscribe of each; read again on \
         SIGHUP",
    ),
    default: "",
};

pub(crate) const ALLOW_QUERY_TOKEN: Plain = Plain {
    about: About::new(
        "allow-query-token",
        Group::Access,
        "SWITCH",
        "Take a credential from ?token= as well; whoever logs addresses has it then",
    )
    .shape(Shape::Switch),
    default: "off",
};

pub(crate) const METRICS_AUTH: Plain = Plain {
    about: About::new(
        "metrics-auth",
        Group::Access,
        "SWITCH",
        "Ask for a credential that may read every topic for /metrics too",
    )
    .shape(Shape::Switch),
    default: "off",
};
