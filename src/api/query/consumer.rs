//! At-least-once consumers that say so in a query (SPEC section 6).

use crate::api::consumer::{ACK_TIMEOUT_SECONDS, AtLeastOnce, MAX_DELIVERIES, WINDOW};
use crate::api::validation::report::Problem;

use super::Reader;

const MODES: &str = "'at_most_once' or 'at_least_once'";

impl Reader<'_> {
    /// The names of the parameters that [`Reader::consumer`] reads.
    pub(in crate::api) const CONSUMER: [&'static str; 7] = [
        "client_id",
        "delivery_mode",
        "group",
        "ack_timeout",
        "window",
        "max_deliveries",
        "reset",
    ];

    /// The at-least-once consumer, if the query asks for one.
    pub(in crate::api) fn consumer(&mut self) -> Option<AtLeastOnce> {
        let client_id = self.name("client_id");
        let is_owed = self.is_at_least_once();
        if !is_owed {
            // What only these consumers may ask for is never swallowed.
            for name in &Self::CONSUMER[2..] {
                if self.text(name).is_some() {
                    self.wrong(name, Problem::Rule("needs delivery_mode at_least_once"));
                }
            }
            return None;
        }
        if self.text("client_id").is_none() {
            self.wrong("client_id", Problem::Missing);
        }
        let bounds = (
            *ACK_TIMEOUT_SECONDS.start() as u32,
            *ACK_TIMEOUT_SECONDS.end() as u32,
        );
        let plain = AtLeastOnce::new(client_id.as_deref().unwrap_or_default());
        Some(AtLeastOnce {
            group: self.name("group"),
            ack_timeout: self.micros("ack_timeout", bounds, plain.ack_timeout),
            window: self.integer("window", WINDOW, plain.window),
            max_deliveries: self.integer("max_deliveries", MAX_DELIVERIES, plain.max_deliveries),
            reset: self.flag("reset"),
            ..plain
        })
    }

    /// A group alone means it too.
    fn is_at_least_once(&mut self) -> bool {
        let default = self.text("group").is_some();
        self.read("delivery_mode", default, |mode| match mode {
            "at_least_once" => Ok(true),
            "at_most_once" => Ok(false),
            _ => Err(Problem::NotOneOf(MODES)),
        })
    }
}
