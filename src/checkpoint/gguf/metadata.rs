//! The metadata of a GGUF file: typed values by key, and the bounds-checked reader that everything in the file goes through.

use std::collections::BTreeMap;

use super::{MAX_NAME_BYTES, malformed};
use crate::checkpoint::CheckpointError;
use crate::config::ConfigError;

/// Key to value; arrays stay bytes until asked for.
pub(super) struct Metadata<'a> {
    values: BTreeMap<&'a str, Value<'a>>,
    /// Key, type and bytes of each value, in the file's order.
    entries: Vec<(&'a str, u32, &'a [u8])>,
}

#[derive(Clone, Copy)]
enum Value<'a> {
    Whole(u64),
    Negative(i64),
    Number(f64),
    Flag(bool),
    Text(&'a str),
    /// The elements' type, their number and their bytes.
    Array(u32, u64, &'a [u8]),
}

// GGUF's codes of value types.
const U8: u32 = 0;
const I8: u32 = 1;
const U16: u32 = 2;
const I16: u32 = 3;
const U32: u32 = 4;
pub(super) const I32: u32 = 5;
pub(super) const F32: u32 = 6;
const BOOL: u32 = 7;
const TEXT: u32 = 8;
const ARRAY: u32 = 9;
const U64: u32 = 10;
const I64: u32 = 11;
const F64: u32 = 12;

impl<'a> Metadata<'a> {
    pub(super) fn read(reader: &mut Reader<'a>, count: u64) -> Result<Self, CheckpointError> {
        let mut values = BTreeMap::new();
        let mut entries = Vec::new();
        for _ in 0..count {
            let key = reader.text("a metadata key", MAX_NAME_BYTES)?;
            let kind = reader.u32("a metadata type")?;
            let start = reader.position;
            let value = Value::read(reader, key, kind)?;
            entries.push((key, kind, &reader.bytes[start..reader.position]));
            if values.insert(key, value).is_some() {
                return Err(malformed(format!("metadata key `{key}` is listed twice")));
            }
        }
        Ok(Self { values, entries })
    }

    pub(super) fn into_entries(self) -> Vec<(&'a str, u32, &'a [u8])> {
        self.entries
    }

    fn get<T>(
        &self,
        key: &str,
        expected: &'static str,
        convert: impl Fn(Value<'a>) -> Option<T>,
    ) -> Result<Option<T>, CheckpointError> {
        let Some(value) = self.values.get(key) else {
            return Ok(None);
        };
        match convert(*value) {
            Some(converted) => Ok(Some(converted)),
            None => Err(ConfigError::Field {
                field: key.into(),
                expected,
                found: value.brief(),
            }
            .into()),
        }
    }

    pub(super) fn size(&self, key: &str) -> Result<Option<u64>, CheckpointError> {
        self.get(key, "a whole number, not negative", |value| match value {
            Value::Whole(number) => Some(number),
            _ => None,
        })
    }

    pub(super) fn whole(&self, key: &str) -> Result<Option<usize>, CheckpointError> {
        self.get(key, "a whole number, not negative", |value| match value {
            Value::Whole(number) => usize::try_from(number).ok(),
            _ => None,
        })
    }

    pub(super) fn needed(&self, key: &str) -> Result<usize, CheckpointError> {
        self.whole(key)?
            .ok_or_else(|| ConfigError::Missing { field: key.into() }.into())
    }

    pub(super) fn token(&self, key: &str) -> Result<Option<u32>, CheckpointError> {
        // Some converters write 2^32 - 1 or -1 for "none".
        let token = self.get(key, "a token id", |value| match value {
            Value::Whole(id) if id == u64::from(u32::MAX) => Some(None),
            Value::Whole(id) => u32::try_from(id).ok().map(Some),
            Value::Negative(-1) => Some(None),
            _ => None,
        })?;
        Ok(token.flatten())
    }

    pub(super) fn number(&self, key: &str) -> Result<Option<f64>, CheckpointError> {
        self.get(key, "a number", |value| match value {
            Value::Number(number) => Some(number),
            _ => None,
        })
    }

    pub(super) fn flag(&self, key: &str) -> Result<Option<bool>, CheckpointError> {
        self.get(key, "true or false", |value| match value {
            Value::Flag(flag) => Some(flag),
            _ => None,
        })
    }

    pub(super) fn text(&self, key: &str) -> Result<Option<&'a str>, CheckpointError> {
        self.get(key, "text", |value| match value {
            Value::Text(text) => Some(text),
            _ => None,
        })
    }

    pub(super) fn texts(&self, key: &str, limit: u64) -> Result<Vec<String>, CheckpointError> {
        let Some((count, bytes)) = self.elements(key, TEXT, limit)? else {
            return Ok(Vec::new());
        };
        let mut reader = Reader { bytes, position: 0 };
        let mut texts = Vec::new();
        for _ in 0..count {
            texts.push(reader.text(key, bytes.len() as u64)?.to_owned());
        }
        Ok(texts)
    }

    pub(super) fn array<T>(
        &self,
        key: &str,
        kind: u32,
        limit: u64,
        convert: impl Fn([u8; 4]) -> T,
    ) -> Result<Vec<T>, CheckpointError> {
        let elements = self.elements(key, kind, limit)?;
        let bytes = elements.map_or(&[][..], |(_, bytes)| bytes);
        Ok(bytes
            .chunks_exact(4)
            .map(|b| convert([b[0], b[1], b[2], b[3]]))
            .collect())
    }

    fn elements(
        &self,
        key: &str,
        kind: u32,
        limit: u64,
    ) -> Result<Option<(u64, &'a [u8])>, CheckpointError> {
        let expected = if kind == TEXT {
            "a list of texts"
        } else {
            "a list of 32-bit numbers"
        };
        let elements = self.get(key, expected, |value| match value {
            Value::Array(found, count, bytes) if found == kind => Some((count, bytes)),
            _ => None,
        })?;
        match elements {
            Some((found, _)) if found > limit => Err(CheckpointError::TooLarge {
                what: format!("the length of {key}"),
                found,
                limit,
            }),
            other => Ok(other),
        }
    }
}

impl<'a> Value<'a> {
    fn read(reader: &mut Reader<'a>, key: &str, kind: u32) -> Result<Self, CheckpointError> {
        let signed = |number: i64| match u64::try_from(number) {
            Ok(number) => Self::Whole(number),
            Err(_) => Self::Negative(number),
        };
        Ok(match kind {
            U8 => Self::Whole(u64::from(reader.array::<1>(key)?[0])),
            I8 => signed(i64::from(reader.array::<1>(key)?[0] as i8)),
            U16 => Self::Whole(u64::from(u16::from_le_bytes(reader.array(key)?))),
            I16 => signed(i64::from(i16::from_le_bytes(reader.array(key)?))),
            U32 => Self::Whole(u64::from(u32::from_le_bytes(reader.array(key)?))),
            I32 => signed(i64::from(i32::from_le_bytes(reader.array(key)?))),
            F32 => Self::Number(f64::from(f32::from_le_bytes(reader.array(key)?))),
            BOOL => match reader.array::<1>(key)?[0] {
                0 => Self::Flag(false),
                1 => Self::Flag(true),
                other => {
                    return Err(malformed(format!(
                        "`{key}` is neither true nor false but {other}"
                    )));
                }
            },
            TEXT => Self::Text(reader.text(key, u64::MAX)?),
            ARRAY => {
                let element = reader.u32(key)?;
                let count = reader.u64(key)?;
                let start = reader.position;
                reader.skip_elements(key, element, count)?;
                Self::Array(element, count, &reader.bytes[start..reader.position])
            }
            U64 => Self::Whole(u64::from_le_bytes(reader.array(key)?)),
            I64 => signed(i64::from_le_bytes(reader.array(key)?)),
            F64 => Self::Number(f64::from_le_bytes(reader.array(key)?)),
            other => {
                return Err(malformed(format!(
                    "`{key}` has the unknown value type {other}"
                )));
            }
        })
    }

    fn brief(self) -> String {
        match self {
            Self::Whole(number) => number.to_string(),
            Self::Negative(number) => number.to_string(),
            Self::Number(number) => number.to_string(),
            Self::Flag(flag) => flag.to_string(),
            Self::Text(text) => format!("{:?}", text.chars().take(80).collect::<String>()),
            Self::Array(_, count, _) => format!("a list of {count}"),
        }
    }
}

/// Reads forward; every length is checked against the bytes there are before it is used.
pub(super) struct Reader<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) position: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, what: &str, length: u64) -> Result<&'a [u8], CheckpointError> {
        let rest = &self.bytes[self.position..];
        if length > rest.len() as u64 {
            let what = what.chars().take(80).collect();
            return Err(CheckpointError::Truncated {
                what,
                needed: length,
                found: rest.len() as u64,
            });
        }
        self.position += length as usize;
        Ok(&rest[..length as usize])
    }

    fn array<const N: usize>(&mut self, what: &str) -> Result<[u8; N], CheckpointError> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(what, N as u64)?);
        Ok(array)
    }

    pub(super) fn u32(&mut self, what: &str) -> Result<u32, CheckpointError> {
        Ok(u32::from_le_bytes(self.array(what)?))
    }

    pub(super) fn u64(&mut self, what: &str) -> Result<u64, CheckpointError> {
        Ok(u64::from_le_bytes(self.array(what)?))
    }

    pub(super) fn count(&mut self, what: &str, limit: u64) -> Result<u64, CheckpointError> {
        let found = self.u64(what)?;
        if found > limit {
            return Err(CheckpointError::TooLarge {
                what: format!("the number of {what}"),
                found,
                limit,
            });
        }
        Ok(found)
    }

    pub(super) fn text(&mut self, what: &str, limit: u64) -> Result<&'a str, CheckpointError> {
        let length = self.u64(what)?;
        if length > limit {
            let what = format!("the length of {what}");
            return Err(CheckpointError::TooLarge {
                what,
                found: length,
                limit,
            });
        }
        let bytes = self.take(what, length)?;
        std::str::from_utf8(bytes).map_err(|_| malformed(format!("{what} is not UTF-8")))
    }

    fn skip_elements(&mut self, key: &str, kind: u32, count: u64) -> Result<(), CheckpointError> {
        let size = match kind {
            U8 | I8 | BOOL => 1,
            U16 | I16 => 2,
            U32 | I32 | F32 => 4,
            U64 | I64 | F64 => 8,
            TEXT => {
                // At least its length a text: a count past the end of the file is found without counting it out.
                for _ in 0..count {
                    let length = self.u64(key)?;
                    self.take(key, length)?;
                }
                return Ok(());
            }
            // No Llama has lists of lists.
            other => {
                return Err(malformed(format!(
                    "`{key}` is a list of the unknown type {other}"
                )));
            }
        };
        self.take(key, count.saturating_mul(size))?;
        Ok(())
    }
}
