//! Names of topics with `*` in them.

use serde::{Deserialize, Serialize};

use crate::topic::TopicName;

/// Longest pattern, in characters: that of the longest name.
const PATTERN_CHARS_MAX: usize = 255;

/// Topics by name (SPEC section 12): characters of a name, among which `*` stands for any number of
/// characters, also none.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct Pattern(Box<str>);

/// Why a text is no [`Pattern`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("a topic pattern is 1 to 255 letters, numbers, -, _ and *")]
pub struct NoPattern;

impl Pattern {
    /// Reads a pattern.
    ///
    /// # Errors
    /// When no name of a topic can match it.
    pub fn parse(text: &str) -> Result<Pattern, NoPattern> {
        // A letter in place of each star makes it a name, if the rest is one.
        let is_short = text.chars().count() <= PATTERN_CHARS_MAX;
        let is_name = is_short && TopicName::parse(&text.replace('*', "x")).is_ok();
        is_name.then(|| Pattern(text.into())).ok_or(NoPattern)
    }

    /// Whether it stands for every topic.
    pub fn is_any(&self) -> bool {
        self.0.bytes().all(|byte| byte == b'*')
    }

    /// Whether a topic of this name is meant. Takes time in proportion to the length of the name times
    /// that of the pattern, at worst.
    pub fn matches(&self, name: &str) -> bool {
        // A part of UTF-8 text is found where it stands, so bytes do.
        let (pattern, name) = (self.0.as_bytes(), name.as_bytes());
        let (mut at, mut taken) = (0, 0);
        // Behind the last star, and how much of the name it has swallowed until now.
        let mut star = None;
        while taken < name.len() {
            match pattern.get(at) {
                Some(b'*') => {
                    at += 1;
                    star = Some((at, taken));
                }
                Some(byte) if *byte == name[taken] => {
                    at += 1;
                    taken += 1;
                }
                _ => {
                    let Some((behind, swallowed)) = star else {
                        return false;
                    };
                    at = behind;
                    taken = swallowed + 1;
                    star = Some((behind, taken));
                }
            }
        }
        pattern[at..].iter().all(|byte| *byte == b'*')
    }

    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn stars_stand_for_any_characters() {
        for (pattern, name, is_match) in [
            ("orders", "orders", true),
            ("orders", "orders-1", false),
            ("orders", "order", false),
            ("orders-*", "orders-", true),
            ("orders-*", "orders-eu-1", true),
            ("orders-*", "orders", false),
            ("*-eu", "orders-eu", true),
            ("*-eu", "orders-eu-1", false),
            ("a*b*c", "aXbXbXc", true),
            ("a*b*c", "aXcXb", false),
            ("*", "a", true),
            ("**", "größe", true),
            ("gr*ße", "größe", true),
            ("Orders", "orders", false),
        ] {
            let parsed = Pattern::parse(pattern).unwrap();
            assert_eq!(parsed.matches(name), is_match, "{pattern} {name}");
        }
    }

    #[test]
    fn what_no_topic_can_match_is_refused() {
        let long = "x".repeat(256);
        for text in ["", "a b", "a/b", "../*", "a.b", "*\n", "-", "a?", &long] {
            assert_eq!(Pattern::parse(text), Err(NoPattern), "{text}");
        }
    }

    #[test]
    fn hopeless_searches_end_soon() {
        let pattern = Pattern::parse(&format!("{}b", "a*".repeat(127))).unwrap();
        assert!(!pattern.matches(&"a".repeat(255)));
    }

    fn matches_by_definition(pattern: &[u8], name: &[u8]) -> bool {
        match (pattern.first(), name.first()) {
            (None, rest) => rest.is_none(),
            (Some(b'*'), _) => (0..=name.len())
                .any(|swallowed| matches_by_definition(&pattern[1..], &name[swallowed..])),
            (Some(one), Some(other)) => {
                one == other && matches_by_definition(&pattern[1..], &name[1..])
            }
            (Some(_), None) => false,
        }
    }

    proptest! {
        #[test]
        fn matches_what_the_definition_says(pattern in "[ab*]{1,8}", name in "[ab]{1,10}") {
            let parsed = Pattern::parse(&pattern).unwrap();
            let expected = matches_by_definition(pattern.as_bytes(), name.as_bytes());
            prop_assert_eq!(parsed.matches(&name), expected);
        }
    }
}
