//! What the documents tell of this server.

use crate::config::Config;
use crate::documents::{Description, Documents};

/// It lasts as long as the process; `None` where it is not served.
pub(super) fn documents(config: &Config) -> Option<&'static Documents> {
    let description = Description {
        title: &config.app_name,
        version: env!("CARGO_PKG_VERSION"),
        has_echo: config.ws_echo,
        asks_for_credentials: config.access.asks_for_credentials(),
        takes_query_tokens: config.access.allow_query_token,
        guards_metrics: config.access.metrics_auth,
    };
    config.api_docs.then(|| Documents::new(&description))
}
