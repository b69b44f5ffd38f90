//! A JSON object as hostile input: fields by name and kind, each error with the field's name and what was found.

use serde_json::{Map, Value};

use super::ConfigError;

// Real ones have two kilobytes; per-layer lists of the largest models ten.
const MAX_CONFIG_BYTES: usize = 1 << 20;

/// A JSON object whose fields are read by name and kind; `null` counts as absent.
pub(super) struct Fields {
    map: Map<String, Value>,
}

impl Fields {
    pub(super) fn parse(file: &'static str, json: &[u8]) -> Result<Self, ConfigError> {
        if json.len() > MAX_CONFIG_BYTES {
            return Err(ConfigError::TooLarge {
                file,
                bytes: json.len(),
                limit: MAX_CONFIG_BYTES,
            });
        }
        match serde_json::from_slice(json) {
            Ok(map) => Ok(Self { map }),
            Err(error) => Err(ConfigError::Json {
                file,
                reason: error.to_string(),
            }),
        }
    }

    pub(super) fn get(&self, field: &str) -> Option<&Value> {
        self.map.get(field).filter(|value| !value.is_null())
    }

    pub(super) fn has_objects(&self) -> bool {
        self.map.values().any(Value::is_object)
    }

    pub(super) fn object(&self, field: &str) -> Result<Option<Fields>, ConfigError> {
        self.read(field, "an object", |value| {
            value.as_object().map(|map| Fields { map: map.clone() })
        })
    }

    pub(super) fn size(&self, field: &str) -> Result<usize, ConfigError> {
        self.optional_size(field)?
            .ok_or_else(|| ConfigError::Missing {
                field: field.into(),
            })
    }

    pub(super) fn optional_size(&self, field: &str) -> Result<Option<usize>, ConfigError> {
        self.read(field, "a whole number, not negative", |value| {
            value
                .as_u64()
                .and_then(|number| usize::try_from(number).ok())
        })
    }

    pub(super) fn number(&self, field: &str) -> Result<f64, ConfigError> {
        self.optional_number(field)?
            .ok_or_else(|| ConfigError::Missing {
                field: field.into(),
            })
    }

    pub(super) fn optional_number(&self, field: &str) -> Result<Option<f64>, ConfigError> {
        self.read(field, "a number", Value::as_f64)
    }

    pub(super) fn optional_flag(&self, field: &str) -> Result<Option<bool>, ConfigError> {
        self.read(field, "true or false", Value::as_bool)
    }

    /// One token id or a list of them.
    pub(super) fn tokens(&self, field: &str) -> Result<Vec<u32>, ConfigError> {
        let id = |value: &Value| value.as_u64().and_then(|id| u32::try_from(id).ok());
        let tokens = self.read(field, "a token id or a list of them", |value| match value {
            Value::Array(list) => list.iter().map(id).collect(),
            one => id(one).map(|id| vec![id]),
        })?;
        Ok(tokens.unwrap_or_default())
    }

    fn read<T>(
        &self,
        field: &str,
        expected: &'static str,
        convert: impl Fn(&Value) -> Option<T>,
    ) -> Result<Option<T>, ConfigError> {
        match self.get(field) {
            None => Ok(None),
            Some(value) => match convert(value) {
                Some(converted) => Ok(Some(converted)),
                None => Err(ConfigError::Field {
                    field: field.into(),
                    expected,
                    found: brief(value),
                }),
            },
        }
    }
}

/// A value as an error shows it: short, whatever the file holds.
pub(super) fn brief(value: &Value) -> String {
    let text = match value {
        Value::Array(list) => format!("a list of {}", list.len()),
        Value::Object(map) => format!("an object of {} fields", map.len()),
        other => other.to_string(),
    };
    text.chars().take(80).collect()
}
