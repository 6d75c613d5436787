//! Starts all of the tier: the lane, what follows topics, and the threads of both.

use std::fmt::Write as _;
use std::io;
use std::sync::Arc;

use super::connect::Connector;
use super::feeds::Feeds;
use super::follower::{self, FollowerParts};
use super::handle::{KeepLimits, NODE_TAG, Tools, Valkey};
use super::keys::Keys;
use super::post::Post;
use crate::clock::Clock;
use crate::config::ValkeySettings;
use crate::topic::TopicStore;

impl Valkey {
    /// Starts the threads, and returns at once, whether or not Valkey is there. `store` is one that
    /// [follows](TopicStore::following).
    ///
    /// # Errors
    /// When the file of authorities cannot be read, the spool cannot be opened, there is no
    /// randomness, or a thread cannot be started.
    pub fn start(
        settings: &ValkeySettings,
        limits: KeepLimits,
        store: Arc<TopicStore>,
        post: Arc<Post>,
        clock: Clock,
    ) -> io::Result<Arc<Valkey>> {
        let instance = random_name()?;
        let keys = Keys::of_database(&settings.prefix, settings.db);
        let echo = keys.echo(NODE_TAG, &instance);
        let connector = Connector::new(settings)?;
        let tools = Tools {
            settings: settings.clone(),
            limits,
            store: Arc::clone(&store),
            post: Arc::clone(&post),
            clock,
            instance,
        };
        let mut made = None;
        let valkey = Valkey::start_with(tools, |lanes| {
            let lanes = Arc::clone(lanes);
            let order = move |order| lanes.order(order);
            let feeds = Arc::new(Feeds::new(store, post, clock, settings.linger, order));
            made = Some(Arc::clone(&feeds));
            feeds
        })?;
        let parts = made.map(|feeds| FollowerParts {
            feeds,
            connector,
            keys,
            echo,
            clock,
        });
        parts.map(follower::start).transpose()?;
        Ok(valkey)
    }
}

/// Unlike that of any other instance, or of this one in an earlier life.
fn random_name() -> io::Result<String> {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes)?;
    let mut name = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        // Writing to a string cannot fail.
        let _ = write!(name, "{byte:02x}");
    }
    Ok(name)
}
