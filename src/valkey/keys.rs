//! Names of keys and channels. The braces around a topic's name are the hash tag by which Cluster
//! keeps all that belongs to it in one slot.

use crate::topic::TopicName;

/// Builds names behind one prefix.
#[derive(Clone, Debug)]
pub struct Keys {
    prefix: Box<str>,
    /// How names of channels end: channels are no part of a database, so its number is one of theirs.
    news: Box<str>,
}

impl Keys {
    /// Names that begin with `prefix`, in which there are no braces, in database 0.
    pub fn new(prefix: &str) -> Keys {
        Keys::of_database(prefix, 0)
    }

    /// The same in the database of this number.
    pub fn of_database(prefix: &str, number: i64) -> Keys {
        let news = match number {
            0 => "news".to_owned(),
            _ => format!("news:{number}"),
        };
        Keys {
            prefix: prefix.into(),
            news: news.into(),
        }
    }

    /// The stream of a topic's messages.
    pub fn log(&self, topic: &TopicName) -> String {
        self.of_topic(topic, "log")
    }

    /// The position of its newest message, which outlives the stream.
    pub fn last(&self, topic: &TopicName) -> String {
        self.of_topic(topic, "last")
    }

    /// The sharded channel on which its messages are delivered.
    pub fn news(&self, topic: &TopicName) -> String {
        self.of_topic(topic, &self.news)
    }

    /// The topic of a channel that [`Keys::news`] named.
    pub fn topic_of_news<'c>(&self, channel: &'c str) -> Option<&'c str> {
        let rest = channel.strip_prefix(&*self.prefix)?;
        let rest = rest.strip_prefix('{')?.strip_suffix(&*self.news)?;
        rest.strip_suffix("}:")
    }

    /// The epoch of what is stored.
    pub fn epoch(&self) -> String {
        format!("{}epoch", self.prefix)
    }

    /// The channel on which an instance says something to itself, through the node that serves the
    /// slot of `tag`.
    pub fn echo(&self, tag: &str, instance: &str) -> String {
        format!("{}{{{tag}}}:echo:{instance}", self.prefix)
    }

    /// Something else of a topic.
    pub fn of_topic(&self, topic: &TopicName, what: &str) -> String {
        format!("{}{{{topic}}}:{what}", self.prefix)
    }

    /// Something in the slot of a key that [`Keys::plain`] names.
    pub fn beside(&self, what: &str, aside: &str) -> String {
        let prefix = &self.prefix;
        format!("{prefix}{{{prefix}{what}}}:{aside}")
    }

    /// Something that is no topic's.
    pub fn plain(&self, what: &str) -> String {
        format!("{}{what}", self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_is_found_in_its_channel() {
        let keys = Keys::new("pulsar:");
        let topic = TopicName::parse("caf\u{e9}-1").unwrap();
        assert_eq!(keys.log(&topic), "pulsar:{caf\u{e9}-1}:log");
        assert_eq!(keys.topic_of_news(&keys.news(&topic)), Some("caf\u{e9}-1"));
        assert_eq!(keys.topic_of_news(&keys.log(&topic)), None);
        assert_eq!(keys.topic_of_news("other:{t}:news"), None);
        let third = Keys::of_database("pulsar:", 3);
        assert_eq!(third.news(&topic), "pulsar:{caf\u{e9}-1}:news:3");
        assert_eq!(third.topic_of_news(&third.news(&topic)), Some(&*topic));
        assert_eq!(third.topic_of_news(&keys.news(&topic)), None);
    }
}
