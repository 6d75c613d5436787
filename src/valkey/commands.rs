//! The commands for each kind of order, as bytes for Valkey.

use redis::Cmd;

use super::entry::position_text;
use super::handle::KeepLimits;
use super::job::{Call, Publication, ReadOn};
use super::keys::Keys;
use super::queue::READ_ON_BYTES_MAX;
use super::scripts::{self, Scripts};
use crate::config::ValkeySettings;
use crate::topic::{Position, TopicName};

/// Messages of a stream that one order reads for those who follow topics.
const READ_ON_MESSAGES_MAX: usize = 256;

/// Writes commands into a buffer that is used again.
#[derive(Debug)]
pub(super) struct Commands {
    pub(super) keys: Keys,
    /// Name of the channel on which this instance says something to itself.
    pub(super) echo_channel: String,
    messages_max: usize,
    retention_millis: u64,
    last_retention_millis: u64,
    pub(super) scripts: Scripts,
    command: Cmd,
    pub(super) packed: Vec<u8>,
}

impl Commands {
    pub(super) fn new(settings: &ValkeySettings, limits: KeepLimits) -> Commands {
        let millis =
            |span: std::time::Duration| u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
        Commands {
            keys: Keys::of_database(&settings.prefix, settings.db),
            echo_channel: String::new(),
            messages_max: limits.messages_max,
            retention_millis: millis(limits.retention),
            last_retention_millis: millis(settings.last_retention),
            scripts: Scripts::default(),
            command: Cmd::new(),
            packed: Vec::new(),
        }
    }

    /// Numbers are said on the channel of this hash tag and instance.
    pub(super) fn say_on(&mut self, tag: &str, instance: &str) {
        self.echo_channel = self.keys.echo(tag, instance);
    }

    pub(super) fn publish(&mut self, publication: &Publication) {
        let topic = &publication.topic;
        let (log, last) = (self.keys.log(topic), self.keys.last(topic));
        let news = self.keys.news(topic);
        self.call(scripts::PUBLISH, &[log, last]);
        self.command
            .arg(news)
            .arg(self.messages_max)
            .arg(self.retention_millis)
            .arg(self.last_retention_millis);
        for message in &publication.messages {
            self.command
                .arg(&message.token)
                .arg(message.ttl.unwrap_or(0))
                .arg(&*message.stored_part);
        }
        self.end();
    }

    pub(super) fn find<'t>(
        &mut self,
        topic: &TopicName,
        since_millis: u64,
        tokens: impl Iterator<Item = &'t [u8; 16]>,
    ) {
        let log = self.keys.log(topic);
        self.call(scripts::FIND, &[log]);
        self.command.arg(since_millis);
        for token in tokens {
            self.command.arg(token);
        }
        self.end();
    }

    pub(super) fn read(&mut self, read: &ReadOn) {
        let topic = &read.topic;
        let (log, last) = (self.keys.log(topic), self.keys.last(topic));
        self.call(scripts::READ, &[log, last]);
        self.command
            .arg(position_text(read.behind))
            .arg(read.messages_max)
            .arg(read.bytes_max);
        self.end();
    }

    /// Reads on for those who follow the topic.
    pub(super) fn read_on(&mut self, topic: &TopicName, behind: Position) {
        let read = ReadOn {
            topic: topic.clone(),
            behind,
            messages_max: READ_ON_MESSAGES_MAX,
            bytes_max: READ_ON_BYTES_MAX,
        };
        self.read(&read);
    }

    /// Reads the oldest message.
    pub(super) fn beginning(&mut self, topic: &TopicName) {
        let read = ReadOn {
            topic: topic.clone(),
            behind: Position::ZERO,
            messages_max: 1,
            bytes_max: 0,
        };
        self.read(&read);
    }

    pub(super) fn tail(&mut self, topic: &TopicName) {
        let last = self.keys.last(topic);
        self.begin("GET").arg(last);
        self.end();
    }

    pub(super) fn echo(&mut self, number: u64) {
        let channel = std::mem::take(&mut self.echo_channel);
        self.begin("SPUBLISH").arg(&channel).arg(number);
        self.echo_channel = channel;
        self.end();
    }

    /// Waits until replicas have all that was sent on this connection.
    pub(super) fn wait(&mut self, replicas: u32, millis: u64) {
        self.begin("WAIT").arg(replicas).arg(millis);
        self.end();
    }

    /// Looks up the epoch, or where that is not stored a key in a slot of the node, which never is.
    pub(super) fn look(&mut self, keeps_epoch: bool) {
        let key = if keeps_epoch {
            self.keys.epoch()
        } else {
            self.echo_channel.clone()
        };
        self.begin("GET").arg(key);
        self.end();
    }

    pub(super) fn time(&mut self) {
        self.begin("TIME");
        self.end();
    }

    /// Runs somebody's script.
    pub(super) fn run(&mut self, call: &Call) {
        self.call(call.script, &call.keys);
        for arg in &call.args {
            self.command.arg(arg);
        }
        self.end();
    }

    fn call(&mut self, script: &'static str, keys: &[impl redis::ToRedisArgs]) {
        self.command.clear();
        self.scripts.call(script, &mut self.command);
        self.command.arg(keys.len());
        for key in keys {
            self.command.arg(key);
        }
    }

    fn begin(&mut self, name: &str) -> &mut Cmd {
        self.command.clear();
        self.command.arg(name)
    }

    fn end(&mut self) {
        self.command.write_packed_command(&mut self.packed);
    }
}
