//! Where each topic is: from where to go on after the connection has broken.

use std::collections::BTreeMap;

/// Most topics of one subscribe (SPEC section 5).
const TOPICS_MAX: usize = 50;

/// The place of each topic, as a text that `offset` may be.
#[derive(Debug)]
pub(super) struct Places {
    topics: BTreeMap<String, String>,
}

impl Places {
    /// All topics start at the same place.
    pub(super) fn new(topics: &[String], offset: &str) -> Places {
        let topics = topics.iter();
        Places {
            topics: topics
                .map(|topic| (topic.clone(), offset.to_owned()))
                .collect(),
        }
    }

    /// The topic has come that far.
    pub(super) fn set(&mut self, topic: &str, place: &str) {
        if let Some(known) = self.topics.get_mut(topic) {
            place.clone_into(known);
        }
    }

    /// What to subscribe to: topics, and the place where all of them go on.
    pub(super) fn requests(&self) -> Vec<(Vec<&str>, &str)> {
        let mut by_place: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for (topic, place) in &self.topics {
            by_place.entry(place).or_default().push(topic);
        }
        let chunks = by_place.into_iter().flat_map(|(place, topics)| {
            let chunks = topics.chunks(TOPICS_MAX).map(<[&str]>::to_vec);
            chunks.map(|chunk| (chunk, place)).collect::<Vec<_>>()
        });
        chunks.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_go_on_where_they_are_in_requests_of_bounded_size() {
        let topics: Vec<String> = (0..120).map(|n| format!("t{n}")).collect();
        let mut places = Places::new(&topics, "last");
        let sizes: Vec<usize> = places.requests().iter().map(|it| it.0.len()).collect();
        assert_eq!(sizes, [50, 50, 20]);
        places.set("t7", "msg_7");
        places.set("other", "msg_8");
        let requests = places.requests();
        assert_eq!(requests.iter().map(|it| it.0.len()).sum::<usize>(), 120);
        assert!(requests.contains(&(vec!["t7"], "msg_7")));
        assert!(requests.iter().all(|it| it.1 != "msg_8"));
    }
}
