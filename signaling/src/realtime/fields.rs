//! Reading JSON that came from outside: typed fields, with a fault that names the path of the one that was wrong.

use std::ops::RangeInclusive;
use std::time::Duration;

use serde_json::{Map, Value};

use crate::line::Fault;

/// Longest duration a client may name. Nothing in a call is measured in days.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

/// A JSON object and where in the message it stands.
pub struct Fields<'a> {
    map: &'a Map<String, Value>,
    path: String,
}

impl<'a> Fields<'a> {
    /// `value` as an object; `path` is what a fault calls it, empty for the message itself.
    pub fn of(value: &'a Value, path: &str) -> Result<Self, Fault> {
        match value {
            Value::Object(map) => Ok(Self { map, path: path.to_owned() }),
            other => Err(wrong_type(path, "an object", other)),
        }
    }

    /// Where `key` stands in the message.
    pub fn path(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    /// Present, be it as `null`.
    pub fn has(&self, key: &str) -> bool {
        self.map.contains_key(key)
    }

    /// The value of `key`; `null` counts as absent.
    pub fn get(&self, key: &str) -> Option<&'a Value> {
        self.map.get(key).filter(|value| !value.is_null())
    }

    pub fn object(&self, key: &str) -> Result<Option<Fields<'a>>, Fault> {
        self.get(key).map(|value| Self::of(value, &self.path(key))).transpose()
    }

    pub fn list(&self, key: &str) -> Result<Option<&'a [Value]>, Fault> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::Array(list)) => Ok(Some(list)),
            Some(other) => Err(wrong_type(&self.path(key), "an array", other)),
        }
    }

    pub fn text(&self, key: &str) -> Result<Option<&'a str>, Fault> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(other) => Err(wrong_type(&self.path(key), "a string", other)),
        }
    }

    pub fn flag(&self, key: &str) -> Result<Option<bool>, Fault> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::Bool(flag)) => Ok(Some(*flag)),
            Some(other) => Err(wrong_type(&self.path(key), "true or false", other)),
        }
    }

    /// A number, whole or not, within `range`.
    pub fn number(&self, key: &str, range: RangeInclusive<f64>) -> Result<Option<f64>, Fault> {
        let Some(value) = self.get(key) else { return Ok(None) };
        let Some(number) = value.as_f64() else { return Err(wrong_type(&self.path(key), "a number", value)) };
        if range.contains(&number) {
            return Ok(Some(number));
        }
        let path = self.path(key);
        Err(invalid(&path, format!("`{path}` must lie between {} and {}", range.start(), range.end())))
    }

    /// A whole number that is not negative.
    pub fn whole(&self, key: &str) -> Result<Option<u64>, Fault> {
        let Some(value) = self.get(key) else { return Ok(None) };
        let path = self.path(key);
        value.as_u64().map(Some).ok_or_else(|| wrong_type(&path, "a whole number, 0 or more", value))
    }

    /// A number of milliseconds, whole or not.
    pub fn millis(&self, key: &str) -> Result<Option<Duration>, Fault> {
        let Some(value) = self.get(key) else { return Ok(None) };
        let Some(millis) = value.as_f64() else { return Err(wrong_type(&self.path(key), "a number", value)) };
        match Duration::try_from_secs_f64(millis / 1000.0) {
            Ok(duration) if duration <= LONGEST => Ok(Some(duration)),
            _ => Err(invalid(
                &self.path(key),
                format!("`{}` must lie between 0 and {} ms", self.path(key), LONGEST.as_millis()),
            )),
        }
    }

    pub fn required_text(&self, key: &str) -> Result<&'a str, Fault> {
        self.text(key)?.ok_or_else(|| missing(&self.path(key)))
    }
}

/// A field that must be there is not.
pub fn missing(path: &str) -> Fault {
    fault("missing_required_parameter", Some(path), format!("`{path}` is missing; add it"))
}

/// A field has a value that cannot be taken.
pub fn invalid(path: &str, message: String) -> Fault {
    fault("invalid_value", Some(path), message)
}

/// A field asks for something that this server does not do.
pub fn unsupported(path: &str, message: String) -> Fault {
    fault("unsupported", Some(path), message)
}

pub fn fault(code: &'static str, param: Option<&str>, message: String) -> Fault {
    Fault { kind: "invalid_request_error", code, message, param: param.map(str::to_owned), event_id: None }
}

/// What came from outside, short enough to be quoted in a message.
pub fn quoted(text: &str) -> String {
    const LONGEST: usize = 64;
    if text.chars().count() <= LONGEST {
        return text.to_owned();
    }
    text.chars().take(LONGEST).chain(['…']).collect()
}

fn wrong_type(path: &str, wanted: &str, got: &Value) -> Fault {
    let got = match got {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    };
    let name = if path.is_empty() { "the message".to_owned() } else { format!("`{path}`") };
    let param = Some(path).filter(|path| !path.is_empty());
    fault("invalid_type", param, format!("{name} must be {wanted}, not {got}"))
}
