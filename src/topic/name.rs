//! Topic names: parsed once, valid ever after (SPEC section 1).
//!
//! A name has 1 to 255 characters (Unicode scalar values), each a letter or number of any script
//! (general categories L* and N*), `-` or `_`, and at least one that is not `-` or `_`.

use std::borrow::Borrow;
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use unicode_general_category::{GeneralCategory, get_general_category};

/// The validated name of a topic. Cloning shares the text.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicName(Arc<str>);

/// Why a text is not a topic name. The variants stand in the order in which they are checked.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum TopicNameError {
    /// The text has no character.
    #[error("a topic name needs at least 1 character")]
    Empty,
    /// The text has more than [`TopicName::CHARS_MAX`] characters.
    #[error("a topic name has at most 255 characters")]
    TooLong,
    /// A character is not allowed, or all are `-` and `_`.
    #[error("a topic name must contain only alphanumeric characters, hyphens, and underscores")]
    Characters,
}

impl TopicName {
    /// Largest number of characters (Unicode scalar values).
    pub const CHARS_MAX: usize = 255;

    /// Says whether `text` is a topic name, without allocating.
    ///
    /// # Errors
    /// The first rule that `text` breaks: length before characters.
    pub fn check(text: &str) -> Result<(), TopicNameError> {
        if text.len() > Self::CHARS_MAX || !text.is_ascii() {
            return check_unicode(text);
        }
        if text.is_empty() {
            return Err(TopicNameError::Empty);
        }
        let mut alphanumeric = false;
        for byte in text.bytes() {
            if byte.is_ascii_alphanumeric() {
                alphanumeric = true;
            } else if !matches!(byte, b'-' | b'_') {
                return Err(TopicNameError::Characters);
            }
        }
        if alphanumeric {
            Ok(())
        } else {
            Err(TopicNameError::Characters)
        }
    }

    /// The topic name that `text` is.
    ///
    /// # Errors
    /// As [`TopicName::check`].
    pub fn parse(text: &str) -> Result<TopicName, TopicNameError> {
        Self::check(text)?;
        Ok(TopicName(Arc::from(text)))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Deref for TopicName {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for TopicName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl AsRef<str> for TopicName {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TopicName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for TopicName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

fn check_unicode(text: &str) -> Result<(), TopicNameError> {
    if text.chars().nth(TopicName::CHARS_MAX).is_some() {
        return Err(TopicNameError::TooLong);
    }
    let mut rest = text.chars().filter(|c| !matches!(c, '-' | '_')).peekable();
    if rest.peek().is_some() && rest.all(is_letter_or_number) {
        Ok(())
    } else {
        Err(TopicNameError::Characters)
    }
}

/// General categories L* and N*. Not `char::is_alphanumeric`, which also takes symbols with the
/// property Alphabetic, such as `ⓐ`, and combining marks.
fn is_letter_or_number(c: char) -> bool {
    use GeneralCategory as G;
    matches!(
        get_general_category(c),
        G::UppercaseLetter
            | G::LowercaseLetter
            | G::TitlecaseLetter
            | G::ModifierLetter
            | G::OtherLetter
            | G::DecimalNumber
            | G::LetterNumber
            | G::OtherNumber
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn letters_and_numbers_of_any_script() {
        for good in [
            "a",
            "0",
            "orders-eu_1",
            "_x_",
            "größe",
            "日本語",
            "½",
            "Ⅷ",
            "①",
            "٣",
            "ǅ",
            "ʰ",
            "𝔘",
            "--é",
        ] {
            assert_eq!(TopicName::check(good), Ok(()), "{good}");
        }
    }

    #[test]
    fn refuses_other_characters() {
        for bad in [
            "-",
            "_-_",
            "a b",
            "a.b",
            "a/b",
            "*",
            "ⓐ",
            "e\u{301}",
            "é!",
            "a\0",
            "\u{feff}a",
            "a\n",
            "—",
            "🙂",
        ] {
            assert_eq!(
                TopicName::check(bad),
                Err(TopicNameError::Characters),
                "{bad:?}"
            );
        }
    }

    #[test]
    fn length_counts_characters_and_comes_first() {
        assert_eq!(TopicName::check(""), Err(TopicNameError::Empty));
        assert_eq!(TopicName::check(&"a".repeat(255)), Ok(()));
        assert_eq!(TopicName::check(&"日".repeat(255)), Ok(()));
        assert_eq!(
            TopicName::check(&"-".repeat(256)),
            Err(TopicNameError::TooLong)
        );
        assert_eq!(
            TopicName::check(&"日".repeat(256)),
            Err(TopicNameError::TooLong)
        );
        assert_eq!(
            TopicName::check(&"!".repeat(255)),
            Err(TopicNameError::Characters)
        );
    }

    proptest! {
        #[test]
        fn fast_path_agrees_with_the_plain_rule(text in "[a-c_ .-]{1,6}|[aé_-]{1,4}") {
            prop_assert_eq!(TopicName::check(&text), check_unicode(&text));
        }

        #[test]
        fn a_parsed_name_is_its_text(text in "[a-z0-9]{1,20}") {
            let name = TopicName::parse(&text).unwrap();
            prop_assert_eq!(name.as_str(), text);
        }
    }
}
