//! The members of a WebSocket message, read in one pass without a tree.
//!
//! `serde`'s derived structs refuse a key that comes twice; here the last one counts.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// Most names that are remembered of one list; the rest is counted.
pub(super) const NAMES_MAX: usize = 1000;

/// What a message says, not yet checked against the rules.
#[derive(Debug, Default)]
pub(super) struct Fields<'m> {
    pub(super) kind: Option<Given<'m>>,
    pub(super) topics: Option<Given<'m>>,
    pub(super) client_id: Option<Given<'m>>,
    pub(super) offset: Option<Given<'m>>,
    pub(super) on_lag: Option<Given<'m>>,
    pub(super) delivery_mode: Option<Given<'m>>,
    pub(super) ack_timeout: Option<Given<'m>>,
    pub(super) window: Option<Given<'m>>,
    pub(super) max_deliveries: Option<Given<'m>>,
    pub(super) reset: Option<Given<'m>>,
    pub(super) group: Option<Given<'m>>,
    pub(super) heartbeat: Option<Given<'m>>,
    pub(super) message_id: Option<Given<'m>>,
    pub(super) message_ids: Option<Given<'m>>,
    pub(super) cumulative: Option<Given<'m>>,
    pub(super) confirm: Option<Given<'m>>,
    pub(super) delay: Option<Given<'m>>,
    pub(super) token: Option<Given<'m>>,
}

/// The value of a member, as far as any rule looks at it.
#[derive(Debug)]
pub(super) enum Given<'m> {
    Text(Cow<'m, str>),
    /// A list of strings: the first [`NAMES_MAX`] of them, and how many there are.
    Names(Vec<Cow<'m, str>>, usize),
    /// Integers beyond 2 to the power of 53 are rounded; no bound is near them.
    Number(f64),
    Bool(bool),
    Null,
    Other,
}

#[derive(serde::Deserialize)]
#[serde(field_identifier, rename_all = "snake_case")]
enum Key {
    Type,
    Topics,
    ClientId,
    Offset,
    OnLag,
    DeliveryMode,
    AckTimeout,
    Window,
    MaxDeliveries,
    Reset,
    Group,
    Heartbeat,
    MessageId,
    MessageIds,
    Cumulative,
    Confirm,
    Delay,
    Token,
    #[serde(other)]
    Unknown,
}

impl<'de> Deserialize<'de> for Fields<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(FieldsVisitor)
    }
}

struct FieldsVisitor;

impl<'de> Visitor<'de> for FieldsVisitor {
    type Value = Fields<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields<'de>, A::Error> {
        let mut fields = Fields::default();
        while let Some(key) = map.next_key::<Key>()? {
            let member = match key {
                Key::Type => &mut fields.kind,
                Key::Topics => &mut fields.topics,
                Key::ClientId => &mut fields.client_id,
                Key::Offset => &mut fields.offset,
                Key::OnLag => &mut fields.on_lag,
                Key::DeliveryMode => &mut fields.delivery_mode,
                Key::AckTimeout => &mut fields.ack_timeout,
                Key::Window => &mut fields.window,
                Key::MaxDeliveries => &mut fields.max_deliveries,
                Key::Reset => &mut fields.reset,
                Key::Group => &mut fields.group,
                Key::Heartbeat => &mut fields.heartbeat,
                Key::MessageId => &mut fields.message_id,
                Key::MessageIds => &mut fields.message_ids,
                Key::Cumulative => &mut fields.cumulative,
                Key::Confirm => &mut fields.confirm,
                Key::Delay => &mut fields.delay,
                Key::Token => &mut fields.token,
                Key::Unknown => {
                    map.next_value::<IgnoredAny>()?;
                    continue;
                }
            };
            *member = Some(map.next_value()?);
        }
        Ok(fields)
    }
}

impl<'de> Deserialize<'de> for Given<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(GivenVisitor)
    }
}

struct GivenVisitor;

impl<'de> Visitor<'de> for GivenVisitor {
    type Value = Given<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Given<'de>, E> {
        Ok(Given::Text(Cow::Borrowed(text)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Given<'de>, E> {
        Ok(Given::Text(Cow::Owned(text.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Given<'de>, A::Error> {
        let (mut names, mut count) = (Vec::new(), 0);
        while names.len() < NAMES_MAX {
            match list.next_element::<Given<'de>>()? {
                None => return Ok(Given::Names(names, count)),
                Some(Given::Text(name)) => names.push(name),
                // No list of names: the rest does not matter, but must be JSON.
                Some(_) => {
                    while list.next_element::<IgnoredAny>()?.is_some() {}
                    return Ok(Given::Other);
                }
            }
            count += 1;
        }
        while list.next_element::<IgnoredAny>()?.is_some() {
            count += 1;
        }
        Ok(Given::Names(names, count))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Given<'de>, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Given::Other)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Given<'de>, E> {
        Ok(Given::Bool(value))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Given<'de>, E> {
        Ok(Given::Number(number as f64))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Given<'de>, E> {
        Ok(Given::Number(number as f64))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Given<'de>, E> {
        Ok(Given::Number(number))
    }

    fn visit_unit<E>(self) -> Result<Given<'de>, E> {
        Ok(Given::Null)
    }
}
