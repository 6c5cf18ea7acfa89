//! The parts of Python that chat templates take for granted: methods of `str` and `dict`, `json.dumps`, `strftime`.

use minijinja::value::{Kwargs, Value};
use minijinja::{Error, ErrorKind, State};

/// Bytes that replacing may make of a text: each step of a template may otherwise square what it holds.
const REPLACED_LIMIT: usize = 16 << 20;

/// The methods of Python's `str` and `dict` that chat templates call.
pub(super) fn method(_: &mut State, value: &Value, method: &str, arguments: &[Value]) -> Result<Value, Error> {
    let unknown = || Error::new(ErrorKind::UnknownMethod, format!("no method `{method}`"));
    if let Some(text) = value.as_str() {
        let argument = |index: usize| arguments.get(index).and_then(Value::as_str);
        let is_stripped = |character: char| match argument(0) {
            Some(set) => set.contains(character),
            None => character.is_whitespace(),
        };
        return match (method, argument(0)) {
            ("strip", _) => Ok(text.trim_matches(is_stripped).into()),
            ("lstrip", _) => Ok(text.trim_start_matches(is_stripped).into()),
            ("rstrip", _) => Ok(text.trim_end_matches(is_stripped).into()),
            ("startswith", Some(prefix)) => Ok(text.starts_with(prefix).into()),
            ("endswith", Some(suffix)) => Ok(text.ends_with(suffix).into()),
            ("split" | "rsplit", Some(separator)) if !separator.is_empty() => split(text, method, separator, arguments),
            ("splitlines", _) => Ok(text.lines().map(Value::from).collect()),
            ("find", Some(part)) => Ok(text.find(part).map_or(-1, |at| text[..at].chars().count() as i64).into()),
            ("count", Some(part)) if !part.is_empty() => Ok(text.matches(part).count().into()),
            ("removeprefix", Some(prefix)) => Ok(text.strip_prefix(prefix).unwrap_or(text).into()),
            ("removesuffix", Some(suffix)) => Ok(text.strip_suffix(suffix).unwrap_or(text).into()),
            ("split", None) => Ok(text.split_whitespace().map(Value::from).collect()),
            ("replace", Some(from)) => replaced(text, from, argument(1).ok_or_else(unknown)?).map(Value::from),
            ("upper", _) => Ok(text.to_uppercase().into()),
            ("lower", _) => Ok(text.to_lowercase().into()),
            ("capitalize" | "title", _) => Ok(capitalised(text).into()),
            _ => Err(unknown()),
        };
    }
    match (method, arguments) {
        ("get", [key, rest @ ..]) => {
            let found = value.get_item(key)?;
            Ok(if found.is_undefined() { rest.first().cloned().unwrap_or_default() } else { found })
        }
        ("values", []) => {
            let values: Result<Vec<Value>, Error> = value.try_iter()?.map(|key| value.get_item(&key)).collect();
            values.map(Value::from)
        }
        ("keys", []) => Ok(value.try_iter()?.collect()),
        ("items", []) => {
            let pairs = value.try_iter()?.map(|key| Ok(Value::from(vec![key.clone(), value.get_item(&key)?])));
            pairs.collect::<Result<Vec<_>, Error>>().map(Value::from)
        }
        _ => Err(unknown()),
    }
}

/// With a limit, `rsplit` leaves the beginning whole and `split` the end.
fn split(text: &str, method: &str, separator: &str, arguments: &[Value]) -> Result<Value, Error> {
    let limit = arguments
        .get(1)
        .and_then(|limit| usize::try_from(limit.clone()).ok())
        .map_or(usize::MAX, |limit| limit.saturating_add(1));
    Ok(if method == "split" {
        text.splitn(limit, separator).map(Value::from).collect()
    } else {
        let mut parts: Vec<Value> = text.rsplitn(limit, separator).map(Value::from).collect();
        parts.reverse();
        parts.into()
    })
}

fn replaced(text: &str, from: &str, to: &str) -> Result<String, Error> {
    let grown = text.matches(from).count().checked_mul(to.len()).and_then(|more| more.checked_add(text.len()));
    match grown {
        Some(length) if length <= REPLACED_LIMIT => Ok(text.replace(from, to)),
        _ => Err(Error::new(ErrorKind::InvalidOperation, "replacing makes the text too long")),
    }
}

fn capitalised(text: &str) -> String {
    let mut characters = text.chars();
    characters.next().map_or_else(String::new, |first| first.to_uppercase().chain(characters).collect())
}

/// `json.dumps(value, ensure_ascii=False)`: minijinja's own filter also escapes what is special in HTML.
pub(super) fn to_json(value: Value, options: Kwargs) -> Result<String, Error> {
    let escaped = minijinja::filters::tojson(&value, None, options)?.to_string();
    let mut out = String::with_capacity(escaped.len());
    let mut rest = escaped.as_str();
    while let Some(at) = rest.find('\\') {
        let (before, escape) = rest.split_at(at);
        out.push_str(before);
        let plain = [("\\u003c", '<'), ("\\u003e", '>'), ("\\u0026", '&'), ("\\u0027", '\'')];
        if let Some((code, character)) = plain.iter().find(|(code, _)| escape.starts_with(code)) {
            out.push(*character);
            rest = &escape[code.len()..];
        } else {
            // What is escaped is one byte long, as is the backslash.
            let (pair, after) = escape.split_at(escape.len().min(2));
            out.push_str(pair);
            rest = after;
        }
    }
    out.push_str(rest);
    Ok(out)
}

/// Today's date, UTC, in the few forms that templates ask for.
pub(super) fn today(format: &str) -> String {
    let days =
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |age| age.as_secs() / 86_400);
    date(days, format)
}

/// `days` since 1970-01-01 in the Gregorian calendar (Hinnant, `civil_from_days`).
fn date(days: u64, format: &str) -> String {
    const MONTHS: [&str; 12] = [
        "January",
        "February",
        "March",
        "April",
        "May",
        "June",
        "July",
        "August",
        "September",
        "October",
        "November",
        "December",
    ];
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    let name = MONTHS.get(month as usize - 1).copied().unwrap_or_default();
    [
        ("%Y", year.to_string()),
        ("%m", format!("{month:02}")),
        ("%d", format!("{day:02}")),
        ("%B", name.to_owned()),
        ("%b", name.chars().take(3).collect()),
    ]
    .iter()
    .fold(format.to_owned(), |text, (field, value)| text.replace(field, value))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn strings_have_pythons_methods() {
        let environment = minijinja::Environment::new();
        let eval = |expression: &str| {
            let mut environment = environment.clone();
            environment.set_unknown_method_callback(method);
            environment.compile_expression(expression).unwrap().eval(()).map(|value| value.to_string())
        };
        for (expression, expected) in [
            ("' a b '.strip()", "a b"),
            ("'xxaxx'.lstrip('x')", "axx"),
            ("'a|b|c'.split('|')[-1]", "c"),
            ("'a|b|c'.split('|', 1)[1]", "b|c"),
            ("'a|b|c'.rsplit('|', 1)[0]", "a|b"),
            ("' a  b'.split()[1]", "b"),
            ("'a\\nb'.splitlines()[1]", "b"),
            ("'好的'.find('的')", "1"),
            ("'abab'.count('ab')", "2"),
            ("'y' if 'abc'.startswith('ab') and 'abc'.endswith('bc') else 'n'", "y"),
            ("'abc'.removeprefix('ab') ~ 'abc'.removesuffix('bc')", "ca"),
            ("'a-b'.replace('-', '+').upper()", "A+B"),
            ("{'a': 1}.get('b', 2) + {'a': 1}.get('a')", "3"),
            ("{'a': 1}.values()[0]", "1"),
        ] {
            assert_eq!(eval(expression).unwrap(), expected, "{expression}");
        }
        assert!(eval("'a'.encode()").is_err());
    }

    #[test]
    fn json_is_pythons() {
        let mut environment = minijinja::Environment::new();
        environment.add_filter("tojson", to_json);
        let json = |expression: &str| environment.compile_expression(expression).unwrap().eval(()).unwrap().to_string();
        assert_eq!(json(r#"{'a': [1, "<'&>"]}|tojson"#), r#"{"a": [1, "<'&>"]}"#);
        assert_eq!(json(r"'\\u003c \n \\\\u003c'|tojson"), r#""\\u003c \n \\\\u003c""#);
        assert_eq!(json("[1]|tojson(indent=2)"), "[\n  1\n]");
    }

    #[test]
    fn dates_are_the_calendars() {
        assert_eq!(date(0, "%d %b %Y"), "01 Jan 1970");
        assert_eq!(date(19_782, "%B %d, %Y"), "February 29, 2024");
        assert_eq!(date(20_818, "%Y-%m-%d"), "2026-12-31");
    }
}
