//! Starts all of the tier: the lane, what follows topics, and the threads of both.

use std::fmt::Write as _;
use std::io;
use std::sync::Arc;

use super::connect::Connector;
use super::feeds::Feeds;
use super::follower::{self, FollowerParts};
use super::handle::{KeepLimits, Tools, Valkey};
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
        let connector = Arc::new(Connector::new(settings)?);
        let tools = Tools {
            settings: settings.clone(),
            limits,
            store: Arc::clone(&store),
            post: Arc::clone(&post),
            clock,
            instance: instance.clone(),
        };
        let linger = settings.linger;
        Valkey::start_with(tools, move |cell| {
            let to = Arc::downgrade(cell);
            let order = move |order| {
                // Without its lane nobody wants anything any more.
                if let Some(cell) = to.upgrade() {
                    cell.order(order);
                }
            };
            let (store, post) = (Arc::clone(&store), Arc::clone(&post));
            let feeds = Arc::new(Feeds::new(store, post, clock, linger, order));
            follower::start(FollowerParts {
                feeds: Arc::clone(&feeds),
                cell: Arc::clone(cell),
                connector: Arc::clone(&connector),
                keys: keys.clone(),
                instance: instance.clone(),
                clock,
            })?;
            Ok(feeds)
        })
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
