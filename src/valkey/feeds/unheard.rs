//! Topics of which a connection has ceased to hear the channels, though it lasts: in a cluster that is
//! how a node says that a slot has gone elsewhere. They are asked for again and again, until they are
//! heard, or followed where they are now.

use std::collections::HashMap;

use super::followed::Log;
use super::state::{Effects, Errand, State};
use crate::topic::{Position, TopicName};

impl State {
    /// The connection does not hear the channel of this topic.
    pub(super) fn unheard(&mut self, name: &TopicName) {
        if let Some(followed) = self.topics.get_mut(name) {
            followed.is_confirmed = false;
            followed.drop_held();
            self.unheard.insert(name.clone());
        }
    }

    /// The same for all of which `is_unheard` says so.
    pub(super) fn all_unheard(&mut self, is_unheard: impl Fn(&TopicName) -> bool) {
        let names = self.topics.keys().filter(|name| is_unheard(name));
        let names: Vec<TopicName> = names.cloned().collect();
        names.iter().for_each(|name| self.unheard(name));
    }

    /// Whether the channels of some topics are to be asked for again.
    pub(super) fn is_any_unheard(&self) -> bool {
        !self.unheard.is_empty()
    }

    /// Has them asked for. `open` is what stands in the store.
    pub(super) fn hear_again(
        &mut self,
        open: Vec<(TopicName, Position)>,
        now: u64,
        out: &mut Effects,
    ) {
        let open: HashMap<TopicName, Position> = open.into_iter().collect();
        for name in std::mem::take(&mut self.unheard) {
            let Some(followed) = self.topics.get_mut(&name).filter(|it| !it.is_confirmed) else {
                continue;
            };
            if followed.log == Log::Whole {
                match open.get(&name) {
                    Some(newest) => followed.lacks(*newest),
                    None => followed.log = Log::Absent,
                }
            }
            self.errands.push(Errand::Subscribe(name));
        }
        // The follower looks for errands whenever something comes back.
        self.echo(now, out);
    }
}
