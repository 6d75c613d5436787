//! Who may use the server.

use std::time::Duration;

use super::super::table::{About, Fixed, Group, Plain, Shape};

pub(crate) const API_KEYS: Plain = Plain {
    about: About::new(
        "api-keys",
        Group::Access,
        "LIST",
        "API keys as name:permissions:hash, with permissions joined by + and a hash as sha256:HEX",
    )
    .shape(Shape::List)
    .secret(),
    default: "",
};

pub(crate) const API_KEYS_FILE: Plain = Plain {
    about: About::new(
        "api-keys-file",
        Group::Access,
        "FILE",
        "TOML file of API keys: name, hash, permissions, publish and subscribe of each; read again on \
         SIGHUP and when it changes",
    ),
    default: "",
};

pub(crate) const JWT_SECRET_KEY: Plain = Plain {
    about: About::new(
        "jwt-secret-key",
        Group::Access,
        "TEXT",
        "Secret of access tokens (HS256, HS384, HS512), at least 32 bytes; others can see command lines, \
         so better given by another source",
    )
    .plain_name("JWT_SECRET_KEY")
    .secret(),
    default: "",
};

pub(crate) const JWT_PUBLIC_KEY: Plain = Plain {
    about: About::new(
        "jwt-public-key",
        Group::Access,
        "FILE",
        "PEM file of public keys of access tokens: RSA, P-256, P-384, Ed25519; read again on \
         SIGHUP and when it changes",
    ),
    default: "",
};

pub(crate) const JWT_JWKS: Plain = Plain {
    about: About::new(
        "jwt-jwks",
        Group::Access,
        "FILE|URL",
        "JSON Web Key Set with the keys of access tokens; a file is read again on SIGHUP and when it changes",
    ),
    default: "",
};

pub(crate) const JWT_JWKS_REFRESH: Fixed<Duration> = Fixed::new(
    About::new(
        "jwt-jwks-refresh",
        Group::Access,
        "DURATION",
        "Time between two fetches of a key set by its URL",
    ),
    Duration::from_secs(300),
    Duration::from_secs(1),
    Duration::from_secs(86_400),
);

pub(crate) const JWT_ISSUER: Plain = Plain {
    about: About::new(
        "jwt-issuer",
        Group::Access,
        "LIST",
        "Issuers (iss) of which access tokens are accepted; without one, of all",
    )
    .shape(Shape::List),
    default: "",
};

pub(crate) const JWT_AUDIENCE: Plain = Plain {
    about: About::new(
        "jwt-audience",
        Group::Access,
        "LIST",
        "Audiences (aud) of which an access token must have one; without one, it is not looked at",
    )
    .shape(Shape::List),
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
