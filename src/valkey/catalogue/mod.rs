//! Topics and their history (SPEC section 9) as all instances share them: each question is a script
//! or a few, in the slot of a topic or in that of the list of all names.
//!
//! A topic exists if its stream holds messages or if it was created. Those who subscribe to it do
//! not make it exist: each instance knows only its own. Nor do its consumers. A message counts until
//! it is trimmed, also when its `ttl` is over; pages leave it out.
//!
//! The list of names is but a help to find topics: a name enters it *after* the topic's first
//! message is stored, or the topic created, and leaves it when nothing is known of the topic any
//! more. Whoever takes a name out looks once more, and puts it back if the topic is there again. So
//! no topic is missing for good, whatever happens at the same time.
//!
//! Beside the list stand the same names by the hashes that message ids have of them: whoever
//! acknowledges a message names its id alone.

mod page;
mod reply;
mod survey;

pub use page::{PageAsked, RawPage};
pub use reply::{Created, Found, TopicFacts};
pub use survey::{Progress, Survey, Surveyed};

use std::time::Duration;

use super::entry::{bytes, number};
use super::job::Call;
use super::keys::Keys;
use crate::topic::{TopicHash, TopicName};

macro_rules! with_facts {
    ($flags:literal, $file:literal) => {
        concat!($flags, "\n", include_str!("facts.lua"), include_str!($file))
    };
}

/// Asks for everything about a topic: [`Found`].
pub fn describe(keys: &Keys, topic: &TopicName) -> Call {
    Call {
        script: with_facts!("#!lua flags=no-writes", "describe.lua"),
        keys: keys_of(keys, topic).to_vec(),
        args: Vec::new(),
        is_repeatable: true,
    }
}

/// Creates a topic at a time in wall-clock microseconds: [`Created`]. The name has to be
/// [listed](enlist) then.
pub fn create(keys: &Keys, topic: &TopicName, at: u64, description: Option<&str>) -> Call {
    Call {
        script: with_facts!("#!lua", "create.lua"),
        keys: keys_of(keys, topic).to_vec(),
        args: told(at, description),
        // It knows what it has created itself.
        is_repeatable: true,
    }
}

/// Describes a topic anew: [`Found`].
pub fn update(keys: &Keys, topic: &TopicName, at: u64, description: Option<&str>) -> Call {
    Call {
        script: with_facts!("#!lua", "update.lua"),
        keys: keys_of(keys, topic).to_vec(),
        args: told(at, description),
        is_repeatable: true,
    }
}

/// Removes a topic; [`read_removed`] says whether there was one. Its consumers are dropped apart
/// from that, since there may be many. `life` is how long the position of
/// its newest message is kept.
pub fn remove(keys: &Keys, topic: &TopicName, life: Duration) -> Call {
    Call {
        script: include_str!("remove.lua"),
        keys: keys_of(keys, topic).to_vec(),
        args: vec![
            keys.news(topic).into_bytes(),
            life.as_millis().to_string().into_bytes(),
        ],
        // A second run would find nothing, and say so.
        is_repeatable: false,
    }
}

/// Whether [`remove`] found a topic; `None` for an answer that has not its form.
pub fn read_removed(value: &redis::Value) -> Option<bool> {
    number(value).map(|found| found != 0)
}

/// Lists names. Of no effect for those that are listed.
pub fn enlist<'n>(keys: &Keys, names: impl IntoIterator<Item = &'n TopicName>) -> Call {
    on_list(
        keys,
        include_str!("enlist.lua"),
        names.into_iter().flat_map(with_hash).collect(),
    )
}

/// Asks for the names of topics by the hashes in message ids: [`read_names`].
pub fn names_of(keys: &Keys, hashes: impl IntoIterator<Item = TopicHash>) -> Call {
    on_list(
        keys,
        include_str!("names_of.lua"),
        hashes.into_iter().map(|it| it.encode().to_vec()).collect(),
    )
}

/// What [`names_of`] has found, in the order of the hashes; `None` for a hash that no listed topic
/// has, and for an answer that has not its form.
pub fn read_names(value: &redis::Value, count: usize) -> Vec<Option<TopicName>> {
    let found = match value {
        redis::Value::Array(found) if found.len() == count => &found[..],
        _ => &[],
    };
    let name = |value| TopicName::parse(std::str::from_utf8(bytes(value)?).ok()?).ok();
    let mut names: Vec<Option<TopicName>> = found.iter().map(name).collect();
    names.resize(count, None);
    names
}

fn unlist<'n>(keys: &Keys, names: impl IntoIterator<Item = &'n TopicName>) -> Call {
    on_list(
        keys,
        include_str!("unlist.lua"),
        names.into_iter().flat_map(with_hash).collect(),
    )
}

/// At most `count` names behind `after`, which is empty for the beginning.
fn names(keys: &Keys, after: &[u8], count: usize) -> Call {
    let args = vec![after.to_vec(), count.to_string().into_bytes()];
    on_list(keys, include_str!("names.lua"), args)
}

fn on_list(keys: &Keys, script: &'static str, args: Vec<Vec<u8>>) -> Call {
    Call {
        script,
        keys: vec![
            keys.plain("topics").into_bytes(),
            keys.beside("topics", "names").into_bytes(),
        ],
        args,
        is_repeatable: true,
    }
}

/// The name and its hash.
fn with_hash(name: &TopicName) -> [Vec<u8>; 2] {
    let hash = TopicHash::of(name).encode();
    [name.as_str().as_bytes().to_vec(), hash.to_vec()]
}

/// Stream, newest position, what was said of the topic.
fn keys_of(keys: &Keys, topic: &TopicName) -> [Vec<u8>; 3] {
    [
        keys.log(topic).into_bytes(),
        keys.last(topic).into_bytes(),
        keys.of_topic(topic, "about").into_bytes(),
    ]
}

fn told(at: u64, description: Option<&str>) -> Vec<Vec<u8>> {
    let mut args = vec![at.to_string().into_bytes()];
    args.extend(description.map(|text| text.as_bytes().to_vec()));
    args
}
