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
    pub(super) message_id: Option<Given<'m>>,
    /// A member of `subscribe` that the contract names and this version does not know.
    pub(super) unbuilt_of_subscribe: Option<&'static str>,
    /// The same of `ack`.
    pub(super) unbuilt_of_ack: Option<&'static str>,
}

/// The value of a member, as far as any rule looks at it.
#[derive(Debug)]
pub(super) enum Given<'m> {
    Text(Cow<'m, str>),
    /// A list of strings: the first [`NAMES_MAX`] of them, and how many there are.
    Names(Vec<Cow<'m, str>>, usize),
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
    MessageId,
    DeliveryMode,
    AckTimeout,
    Window,
    MaxDeliveries,
    Reset,
    Group,
    MessageIds,
    Cumulative,
    Confirm,
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
            let (of_subscribe, of_ack) =
                (&mut fields.unbuilt_of_subscribe, &mut fields.unbuilt_of_ack);
            match key {
                Key::Type => fields.kind = Some(map.next_value()?),
                Key::Topics => fields.topics = Some(map.next_value()?),
                Key::ClientId => fields.client_id = Some(map.next_value()?),
                Key::Offset => fields.offset = Some(map.next_value()?),
                Key::OnLag => fields.on_lag = Some(map.next_value()?),
                Key::MessageId => fields.message_id = Some(map.next_value()?),
                Key::DeliveryMode => note(&mut map, of_subscribe, "delivery_mode")?,
                Key::AckTimeout => note(&mut map, of_subscribe, "ack_timeout")?,
                Key::Window => note(&mut map, of_subscribe, "window")?,
                Key::MaxDeliveries => note(&mut map, of_subscribe, "max_deliveries")?,
                Key::Reset => note(&mut map, of_subscribe, "reset")?,
                Key::Group => note(&mut map, of_subscribe, "group")?,
                Key::MessageIds => note(&mut map, of_ack, "message_ids")?,
                Key::Cumulative => note(&mut map, of_ack, "cumulative")?,
                Key::Confirm => note(&mut map, of_ack, "confirm")?,
                Key::Unknown => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(fields)
    }
}

/// Skips a value and remembers the name of its member.
fn note<'de, A: MapAccess<'de>>(
    map: &mut A,
    unbuilt: &mut Option<&'static str>,
    name: &'static str,
) -> Result<(), A::Error> {
    *unbuilt = Some(name);
    map.next_value::<IgnoredAny>().map(|_| ())
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

    fn visit_bool<E>(self, _: bool) -> Result<Given<'de>, E> {
        Ok(Given::Other)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Given<'de>, E> {
        Ok(Given::Other)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Given<'de>, E> {
        Ok(Given::Other)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Given<'de>, E> {
        Ok(Given::Other)
    }

    fn visit_unit<E>(self) -> Result<Given<'de>, E> {
        Ok(Given::Other)
    }
}
