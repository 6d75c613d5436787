//! Connections by slot, with generations: what outlives a connection finds nothing afterwards.

use mio::Token;

/// Finds a connection as long as it lives.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) struct ConnectionKey {
    slot: u32,
    generation: u32,
}

impl ConnectionKey {
    /// The key in a token: what the selector hands back.
    pub(super) fn token(self) -> Token {
        Token((self.generation as usize) << 32 | self.slot as usize)
    }

    /// The key of a token that [`ConnectionKey::token`] made.
    pub(super) fn from_token(token: Token) -> ConnectionKey {
        ConnectionKey {
            slot: token.0 as u32,
            generation: (token.0 >> 32) as u32,
        }
    }
}

/// Values in slots that are used again.
#[derive(Debug)]
pub(super) struct Slots<T> {
    slots: Vec<Slot<T>>,
    vacant: Vec<u32>,
}

#[derive(Debug)]
struct Slot<T> {
    /// Rises whenever the slot is emptied. Half the range, so that no token is one of mio's own.
    generation: u32,
    value: Option<T>,
}

impl<T> Default for Slots<T> {
    fn default() -> Slots<T> {
        Slots {
            slots: Vec::new(),
            vacant: Vec::new(),
        }
    }
}

impl<T> Slots<T> {
    /// Values held.
    pub(super) fn len(&self) -> usize {
        self.slots.len() - self.vacant.len()
    }

    /// Puts a value into a slot; it learns its key before it exists.
    pub(super) fn insert_with(&mut self, value: impl FnOnce(ConnectionKey) -> T) -> ConnectionKey {
        let slot = self.vacant.pop().unwrap_or_else(|| {
            self.slots.push(Slot {
                generation: 0,
                value: None,
            });
            (self.slots.len() - 1) as u32
        });
        let entry = &mut self.slots[slot as usize];
        let key = ConnectionKey {
            slot,
            generation: entry.generation,
        };
        entry.value = Some(value(key));
        key
    }

    /// The value of a key.
    pub(super) fn get(&self, key: ConnectionKey) -> Option<&T> {
        let slot = self.slots.get(key.slot as usize)?;
        slot.value
            .as_ref()
            .filter(|_| slot.generation == key.generation)
    }

    /// The value of a key.
    pub(super) fn get_mut(&mut self, key: ConnectionKey) -> Option<&mut T> {
        let slot = self.slots.get_mut(key.slot as usize)?;
        slot.value
            .as_mut()
            .filter(|_| slot.generation == key.generation)
    }

    /// Takes a value out; its key finds nothing from then on.
    pub(super) fn remove(&mut self, key: ConnectionKey) -> Option<T> {
        self.get(key)?;
        let slot = self.slots.get_mut(key.slot as usize)?;
        slot.generation = (slot.generation + 1) & (u32::MAX >> 1);
        self.vacant.push(key.slot);
        slot.value.take()
    }

    /// All keys, in no order that means anything.
    pub(super) fn keys(&self) -> impl Iterator<Item = ConnectionKey> {
        let taken = self
            .slots
            .iter()
            .enumerate()
            .filter(|(_, slot)| slot.value.is_some());
        taken.map(|(index, slot)| ConnectionKey {
            slot: index as u32,
            generation: slot.generation,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_old_key_finds_nothing() {
        let mut slots = Slots::default();
        let first = slots.insert_with(|_| "first");
        assert_eq!(slots.remove(first), Some("first"));
        let second = slots.insert_with(|_| "second");
        assert_eq!(first.slot, second.slot);
        assert_eq!(
            (slots.get(first), slots.get(second)),
            (None, Some(&"second"))
        );
        assert_eq!(slots.remove(first), None);
        assert_eq!(slots.len(), 1);
        assert_eq!(ConnectionKey::from_token(second.token()), second);
    }
}
