//! Keys of rows, and the slots of an index that they have.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hash, Hasher};

use kithdb_log::{Collation, Reader, ValueRef};
use kithdb_vector::slots::Slot;
use kithdb_vector::snapshot::Keys;
use rusqlite::ToSql;
use rusqlite::types::{ToSqlOutput, Value, ValueRef as SqlValue};

use kithdb_log::key::encode_part;

/// The primary key of a row: never its rowid where that is not the key, since VACUUM may renumber it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Key {
    /// An INTEGER PRIMARY KEY.
    Integer(i64),
    /// Any other: its values in canonical form, one after the other.
    Encoded(Box<[u8]>),
}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        match self {
            Self::Integer(number) => state.write_i64(*number),
            Self::Encoded(bytes) => state.write(bytes),
        }
    }
}

/// FxHash, as in rustc: keys come from the user's own rows, and a multiplication each is all that a lookup should cost.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct KeyHasher(u64);

impl Hasher for KeyHasher {
    fn finish(&self) -> u64 {
        // The table takes the lowest bits, which a multiplication mixes least.
        self.0.rotate_left(26)
    }

    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.write_u64(u64::from_le_bytes(word));
        }
    }

    fn write_u64(&mut self, word: u64) {
        self.0 = (self.0.rotate_left(5) ^ word).wrapping_mul(0xf135_7aea_2e62_a9c5);
    }

    fn write_i64(&mut self, number: i64) {
        self.write_u64(number.cast_unsigned());
    }
}

pub(super) type KeyHash = BuildHasherDefault<KeyHasher>;

impl Key {
    /// Encodes the values of a key; `None` if one is NULL, which names no row.
    pub(super) fn encode<'a>(
        values: impl Iterator<Item = SqlValue<'a>>,
        collations: impl Iterator<Item = Collation>,
    ) -> Option<Self> {
        let mut bytes = Vec::new();
        for (value, collation) in values.zip(collations) {
            let value = match value {
                SqlValue::Null => ValueRef::Null,
                SqlValue::Integer(number) => ValueRef::Integer(number),
                SqlValue::Real(number) => ValueRef::Real(number),
                SqlValue::Text(text) => ValueRef::Text(text),
                SqlValue::Blob(blob) => ValueRef::Blob(blob),
            };
            if !encode_part(value, collation, &mut bytes) {
                return None;
            }
        }
        Some(Self::Encoded(bytes.into()))
    }

    /// Returns the values of the key, to find its row by.
    pub(super) fn parts(&self) -> Vec<Part<'_>> {
        let bytes = match self {
            Self::Integer(number) => return vec![Part(SqlValue::Integer(*number))],
            Self::Encoded(bytes) => bytes,
        };
        let mut reader = Reader::new(bytes);
        let mut parts = Vec::new();
        while let Ok(value) = ValueRef::decode(&mut reader) {
            parts.push(Part(match value {
                ValueRef::Null => SqlValue::Null,
                ValueRef::Integer(number) | ValueRef::Reference(number, _) => SqlValue::Integer(number),
                ValueRef::Real(number) => SqlValue::Real(number),
                ValueRef::Text(text) => SqlValue::Text(text),
                ValueRef::Blob(blob) => SqlValue::Blob(blob),
            }));
        }
        parts
    }

    /// Returns the bytes of the key in a saved index.
    pub(super) fn to_saved(&self) -> Vec<u8> {
        match self {
            Self::Integer(number) => [&[0][..], &number.to_le_bytes()].concat(),
            Self::Encoded(bytes) => [&[1][..], bytes].concat(),
        }
    }

    /// Reads what [`Self::to_saved`] returned.
    pub(super) fn of_saved(bytes: &[u8]) -> Option<Self> {
        match bytes.split_first()? {
            (0, rest) => Some(Self::Integer(i64::from_le_bytes(rest.try_into().ok()?))),
            (1, rest) => Some(Self::Encoded(rest.into())),
            _ => None,
        }
    }

    /// Makes a number of the key that no other row's key has, in all likelihood.
    pub(super) fn number(&self) -> i64 {
        let hash = blake3::hash(&self.to_saved());
        hash.as_bytes().first_chunk().map_or(0, |bytes| i64::from_le_bytes(*bytes))
    }

    /// Returns the key as one value: a composite one as a JSON array.
    pub(super) fn shown(&self) -> Value {
        shown(self.parts().into_iter().map(|part| owned(part.0)).collect())
    }
}

/// Copies a value; text that is not UTF-8 is read as far as it can be.
pub(super) fn owned(value: SqlValue<'_>) -> Value {
    match value {
        SqlValue::Null => Value::Null,
        SqlValue::Integer(number) => Value::Integer(number),
        SqlValue::Real(number) => Value::Real(number),
        SqlValue::Text(text) => Value::Text(String::from_utf8_lossy(text).into_owned()),
        SqlValue::Blob(blob) => Value::Blob(blob.to_vec()),
    }
}

/// Makes one value of those of a key: a JSON array of several, with BLOBs in hexadecimal.
pub(super) fn shown(mut values: Vec<Value>) -> Value {
    if values.len() == 1 {
        return values.remove(0);
    }
    let json = |value: Value| match value {
        Value::Null => serde_json::Value::Null,
        Value::Integer(number) => number.into(),
        Value::Real(number) => number.into(),
        Value::Text(text) => text.into(),
        Value::Blob(bytes) => bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>().into(),
    };
    Value::Text(serde_json::Value::Array(values.into_iter().map(json).collect()).to_string())
}

/// Columns of a key in which the digits of a BLOB are looked for; each doubles the keys that are.
const BLOBS_MAX: usize = 6;

/// Reads the values of every key that [`shown`] writes as this JSON array: a BLOB is not told from the text of its digits there.
pub(super) fn of_shown(json: &[u8]) -> Vec<Vec<Value>> {
    let Ok(values) = serde_json::from_slice::<Vec<serde_json::Value>>(json) else { return Vec::new() };
    let (mut keys, mut blobs) = (vec![Vec::with_capacity(values.len())], 0);
    for value in values {
        let (value, blob) = match value {
            serde_json::Value::Null => (Value::Null, None),
            serde_json::Value::Number(number) => match (number.as_i64(), number.as_f64()) {
                (Some(whole), _) => (Value::Integer(whole), None),
                (None, Some(real)) => (Value::Real(real), None),
                (None, None) => return Vec::new(),
            },
            serde_json::Value::String(text) => {
                let blob = bytes_of(&text).filter(|_| blobs < BLOBS_MAX);
                (Value::Text(text), blob)
            }
            _ => return Vec::new(),
        };
        let with_blob = blob.map(|blob| {
            blobs += 1;
            keys.iter().map(|key| [key.as_slice(), &[Value::Blob(blob.clone())]].concat()).collect::<Vec<_>>()
        });
        for key in &mut keys {
            key.push(value.clone());
        }
        keys.extend(with_blob.into_iter().flatten());
    }
    keys
}

/// Reads hexadecimal digits.
fn bytes_of(digits: &str) -> Option<Vec<u8>> {
    let (pairs, rest) = digits.as_bytes().as_chunks::<2>();
    let digit = |digit: u8| char::from(digit).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    if !rest.is_empty() {
        return None;
    }
    pairs.iter().map(|[high, low]| Some(digit(*high)? << 4 | digit(*low)?)).collect()
}

/// One value of a key, borrowed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Part<'k>(SqlValue<'k>);

impl ToSql for Part<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(self.0))
    }
}

/// Which slot each key has.
#[derive(Debug, Default)]
pub(super) struct KeyMap {
    slots: HashMap<Key, Slot, KeyHash>,
    keys: Vec<Option<Key>>,
    free: Vec<Slot>,
    /// What keys take outside of the tables.
    encoded_bytes: usize,
}

/// Returns the bytes that a key takes outside of the tables, each of which has it.
fn heap_bytes(key: &Key) -> usize {
    if let Key::Encoded(bytes) = key { 2 * bytes.len() } else { 0 }
}

impl KeyMap {
    /// Takes over keys that were saved with their slots, which ascend.
    pub(super) fn of_saved(slots: Vec<Slot>, keys: Keys) -> Self {
        let keys: Box<dyn Iterator<Item = Key>> = match keys {
            Keys::Integers(keys) => Box::new(keys.into_iter().map(Key::Integer)),
            Keys::Bytes(keys) => Box::new(keys.into_iter().map(|key| Key::Encoded(key.into()))),
        };
        let mut map = Self::default();
        map.slots.reserve(slots.len());
        map.keys.reserve(slots.last().map_or(0, |last| last.0 as usize + 1));
        for (slot, key) in slots.into_iter().zip(keys) {
            while map.keys.len() < slot.0 as usize {
                map.free.push(Slot(map.keys.len() as u32));
                map.keys.push(None);
            }
            map.encoded_bytes += heap_bytes(&key);
            map.slots.insert(key.clone(), slot);
            map.keys.push(Some(key));
        }
        map
    }

    /// Returns the keys in the order of their slots.
    pub(super) fn to_saved(&self) -> Keys {
        let mut keys = self.keys.iter().flatten().peekable();
        match keys.peek() {
            Some(Key::Integer(_)) => Keys::Integers(
                keys.filter_map(|key| if let Key::Integer(number) = key { Some(*number) } else { None }).collect(),
            ),
            _ => Keys::Bytes(
                keys.filter_map(|key| if let Key::Encoded(bytes) = key { Some(bytes.to_vec()) } else { None })
                    .collect(),
            ),
        }
    }

    /// Returns the slot of a key.
    pub(super) fn slot(&self, key: &Key) -> Option<Slot> {
        self.slots.get(key).copied()
    }

    /// Returns how many slots there are, in use or not.
    pub(super) const fn len(&self) -> usize {
        self.keys.len()
    }

    /// Returns the key in a slot.
    pub(super) fn key(&self, slot: Slot) -> Option<&Key> {
        self.keys.get(slot.0 as usize)?.as_ref()
    }

    /// Returns the slot of a key, or gives it one.
    pub(super) fn claim(&mut self, key: &Key) -> Slot {
        if let Some(slot) = self.slot(key) {
            return slot;
        }
        let slot = self.free.pop().unwrap_or_else(|| {
            self.keys.push(None);
            // An index refuses far fewer slots than a u32 numbers.
            Slot(u32::try_from(self.keys.len() - 1).unwrap_or(u32::MAX))
        });
        self.encoded_bytes += heap_bytes(key);
        self.keys[slot.0 as usize] = Some(key.clone());
        self.slots.insert(key.clone(), slot);
        slot
    }

    /// Frees the slot of a key.
    pub(super) fn release(&mut self, key: &Key) -> Option<Slot> {
        let slot = self.slots.remove(key)?;
        self.encoded_bytes -= heap_bytes(key);
        self.keys[slot.0 as usize] = None;
        self.free.push(slot);
        Some(slot)
    }

    /// Returns all slots in use, ascending.
    pub(super) fn used(&self) -> impl Iterator<Item = Slot> + '_ {
        self.keys.iter().zip(0u32..).filter_map(|(key, number)| key.as_ref().map(|_| Slot(number)))
    }

    /// Returns the bytes of memory taken, by estimate.
    pub(super) fn memory_bytes(&self) -> usize {
        self.slots.capacity() * (size_of::<(Key, Slot)>() + 1)
            + self.keys.capacity() * size_of::<Option<Key>>()
            + self.free.capacity() * size_of::<Slot>()
            + self.encoded_bytes
    }

    /// Returns about how many bytes so many keys will take that are integers.
    pub(super) const fn memory_bytes_of(count: usize) -> usize {
        // The hash table has a power of two of places, of which seven eighths are used at most.
        (count * 8 / 7 + 1).next_power_of_two() * (size_of::<(Key, Slot)>() + 1) + count * size_of::<Option<Key>>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_used_again_and_never_twice() {
        let mut map = KeyMap::default();
        let (first, second) = (map.claim(&Key::Integer(7)), map.claim(&Key::Integer(8)));
        let before = map.memory_bytes();
        let long = Key::Encoded(Box::new([7; 500_000]));
        map.claim(&long);
        assert!((1_000_000..1_001_000).contains(&(map.memory_bytes() - before)));
        map.release(&long);
        assert!(map.memory_bytes() - before < 1_000);
        assert_ne!(first, second);
        assert_eq!(map.claim(&Key::Integer(7)), first);
        assert_eq!(map.release(&Key::Integer(7)), Some(first));
        assert_eq!(map.release(&Key::Integer(7)), None);
        assert_eq!((map.slot(&Key::Integer(7)), map.key(first)), (None, None));
        assert_eq!(map.claim(&Key::Integer(9)), first);
        assert_eq!(map.used().collect::<Vec<_>>(), [first, second]);
        let map = KeyMap::of_saved((0..10_000).map(Slot).collect(), Keys::Integers((0..10_000).collect()));
        assert!((map.memory_bytes()..=map.memory_bytes() * 11 / 10).contains(&KeyMap::memory_bytes_of(10_000)));
    }

    #[test]
    fn saved_keys_come_back_to_their_slots() {
        let mut map = KeyMap::default();
        for number in 0..5 {
            map.claim(&Key::Integer(number * 10));
        }
        map.release(&Key::Integer(0));
        map.release(&Key::Integer(30));
        let again = KeyMap::of_saved(map.used().collect(), map.to_saved());
        assert_eq!((&again.slots, again.keys.len(), again.free.len()), (&map.slots, 5, 2));
        for key in [Key::Integer(-5), Key::Encoded(Box::new([1, 2]))] {
            assert_eq!(Key::of_saved(&key.to_saved()), Some(key));
        }
    }

    #[test]
    fn composite_keys_come_back_as_values() {
        let values = [SqlValue::Text(b"Ab"), SqlValue::Real(2.0)];
        let key = Key::encode(values.into_iter(), [Collation::NoCase, Collation::Binary].into_iter()).unwrap();
        assert_eq!(key.shown(), Value::Text("[\"ab\",2]".to_owned()));
        assert_eq!(Key::Integer(3).shown(), Value::Integer(3));
        assert_eq!(Key::encode([SqlValue::Null].into_iter(), [Collation::Binary].into_iter()), None);
    }
}
