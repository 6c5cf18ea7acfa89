//! E-mail and web addresses, names on networks, telephone numbers, addresses of machines and versions: spelled as far as they must be.

use super::super::characters::is_cjk;

/// What a language calls the signs in an address, and how it says digits and a number.
pub(super) struct Names {
    pub dot: &'static str,
    pub at: &'static str,
    pub slash: &'static str,
    pub dash: &'static str,
    pub underscore: &'static str,
    pub plus: &'static str,
    pub colon: &'static str,
    /// Between the groups of a telephone number.
    pub pause: &'static str,
    pub digits: fn(&str) -> String,
    pub number: fn(&str) -> String,
}

/// Endings of domain names that are said as words; others are spelled.
const WORDS: [&str; 18] = [
    "co", "com", "org", "net", "info", "gov", "edu", "dev", "app", "biz", "blog", "shop", "online", "cloud", "local",
    "example", "test", "mobi",
];
/// The longest path that is said, in bytes; nobody remembers more.
const PATH_MAX: usize = 24;

impl Names {
    /// `jane.doe@example.com`
    pub fn mail(&self, address: &str) -> String {
        let (name, host) = address.rsplit_once('@').unwrap_or((address, ""));
        joined([self.spelled(name), self.at.into(), self.host(host)])
    }

    /// A host, perhaps with a scheme before and a path after it: the host is said, and a short path of plain words.
    pub fn web(&self, address: &str) -> String {
        let address = address.split_once("://").map_or(address, |(_, rest)| rest);
        let end = address.find(['/', '?', '#']).unwrap_or(address.len());
        let (host, path) = address.split_at(end);
        let path = path.split(['?', '#']).next().unwrap_or_default().trim_matches('/');
        let plain = path.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_/.".contains(&b));
        let mut words = self.host(host);
        if !path.is_empty() && plain && path.len() <= PATH_MAX {
            words = joined([words, self.slash.into(), self.spelled(path)]);
        }
        words
    }

    fn host(&self, host: &str) -> String {
        let (host, port) = host.split_once(':').unwrap_or((host, ""));
        let labels: Vec<&str> = host.split('.').collect();
        let numeric = labels.iter().all(|label| label.bytes().all(|b| b.is_ascii_digit()));
        let mut words = Vec::new();
        for (at, label) in labels.iter().enumerate() {
            if at > 0 {
                words.push(self.dot.to_owned());
            }
            let last = at + 1 == labels.len() || (at + 2 == labels.len() && label.len() <= 3);
            words.push(match *label {
                "www" => "W W W".to_owned(),
                label if numeric => (self.digits)(label),
                label if last && at > 0 && is_spelled(label) => letters(label),
                label => self.spelled(label),
            });
        }
        if !port.is_empty() {
            words.extend([self.colon.to_owned(), (self.digits)(port)]);
        }
        joined(words)
    }

    /// `name_2.x` with its signs by name; letters and digits apart.
    pub fn spelled(&self, text: &str) -> String {
        let mut words = Vec::new();
        let mut rest = text;
        while let Some(first) = rest.chars().next() {
            let same = |c: char| c.is_ascii_digit() == first.is_ascii_digit() && c.is_alphanumeric();
            let run =
                if first.is_alphanumeric() { rest.find(|c| !same(c)).unwrap_or(rest.len()) } else { first.len_utf8() };
            let (piece, after) = rest.split_at(run);
            rest = after;
            words.push(match first {
                '.' => self.dot.to_owned(),
                '/' => self.slash.to_owned(),
                '-' => self.dash.to_owned(),
                '_' => self.underscore.to_owned(),
                '+' => self.plus.to_owned(),
                '@' => self.at.to_owned(),
                _ if first.is_ascii_digit() && (piece.len() > 4 || piece.starts_with('0')) => (self.digits)(piece),
                _ if first.is_ascii_digit() => (self.number)(piece),
                _ => piece.to_owned(),
            });
        }
        joined(words)
    }

    /// A telephone number: its groups digit by digit, with a pause between; `None` if it has not as many digits as telephones have.
    pub fn telephone(&self, number: &str) -> Option<String> {
        let count = number.bytes().filter(u8::is_ascii_digit).count();
        if !(7..=15).contains(&count) {
            return None;
        }
        // A mobile number of Taiwan that is written in one.
        let spaced = match number.as_bytes() {
            [b'0', b'9', ..] if number.len() == 10 && count == 10 => {
                let (head, last) = number.split_at(7);
                let (first, middle) = head.split_at(4);
                format!("{first} {middle} {last}")
            }
            _ => number.to_owned(),
        };
        let groups = spaced.split(|c: char| !c.is_ascii_digit()).filter(|group| !group.is_empty());
        let mut groups: Vec<String> = groups.map(|group| (self.digits)(group)).collect();
        if let Some(first) = groups.first_mut().filter(|_| number.starts_with('+')) {
            *first = joined([self.plus.to_owned(), std::mem::take(first)]);
        }
        Some(groups.join(self.pause))
    }

    /// `192.168.1.1`: each part digit by digit.
    pub fn machine(&self, address: &str) -> Option<String> {
        let parts: Vec<&str> = address.split('.').collect();
        let is_one = parts.len() == 4 && parts.iter().all(|part| part.parse::<u8>().is_ok());
        is_one.then(|| self.version_with(address, self.digits, self.dot))
    }

    /// `2.0.1`, with `point` between the numbers.
    pub fn version(&self, digits: &str, point: &str) -> String {
        self.version_with(digits, self.number, point)
    }

    fn version_with(&self, digits: &str, say: fn(&str) -> String, point: &str) -> String {
        let mut words = Vec::new();
        for part in digits.split('.') {
            if !words.is_empty() {
                words.push(point.to_owned());
            }
            words.push(say(part));
        }
        joined(words)
    }
}

/// An ending of a country, or one that is no word.
fn is_spelled(label: &str) -> bool {
    label.len() <= 3 && !WORDS.contains(&label) && label.bytes().all(|b| b.is_ascii_alphabetic())
}

/// Words with spaces between, Chinese ones without.
fn joined(words: impl IntoIterator<Item = String>) -> String {
    let mut all = String::new();
    for word in words {
        let chinese = all.ends_with(is_cjk) && word.starts_with(is_cjk);
        if !all.is_empty() && !chinese {
            all.push(' ');
        }
        all.push_str(&word);
    }
    all
}

/// Patterns of what is here, in the order in which they must be tried.
pub(super) mod patterns {
    pub const MAIL: &str = r"[A-Za-z0-9][A-Za-z0-9._%+-]{0,63}@(?:[A-Za-z0-9-]{1,63}\.){1,6}[A-Za-z]{2,12}{end}";
    pub const WEB: &str = r"(?:https?://|www\.)[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63}){0,6}(?::[0-9]{1,5})?(?:[/?#](?:[A-Za-z0-9_/?#&=%.~+:,;-]{0,200}[A-Za-z0-9_/#=%~+-])?)?";
    /// `+886 912 345 678`; `(02) 2345-6789`; `1-800-555-0199`; `0912-345-678`, `02-2345-6789`, `0912345678`; `555-0199`.
    pub const TELEPHONE: &str = r"\+[0-9]{1,3}(?:[ -]?\(?[0-9]{1,4}\)?){2,5}{end}|\(0?[0-9]{1,3}\) ?[0-9]{3,4}[ -]?[0-9]{4}{end}|(?:1[-. ])?[2-9][0-9]{2}[-. ][0-9]{3}[-. ][0-9]{4}{end}|0[0-9]{1,3}[- ][0-9]{3,4}[- ][0-9]{3,4}{end}|09[0-9]{2}-?[0-9]{6}{end}|0[2-8][0-9]?-[0-9]{6,8}{end}|[2-9][0-9]{2}-[0-9]{4}{end}";
    /// A name that ends as those of the web do, perhaps with a path.
    pub const DOMAIN: &str = r"(?:[A-Za-z0-9][A-Za-z0-9-]{0,62}\.){1,6}(?:com|org|net|info|gov|edu|dev|app|biz|io|ai|tw|uk|jp|us|cn|hk|de|fr|eu|me|tv|co|ca|au|example|local){end}(?:/(?:[A-Za-z0-9_/?#&=%.~+:,;-]{0,200}[A-Za-z0-9_/#=%~+-])?)?";
    pub const MACHINE: &str = r"(?:[0-9]{1,3}\.){3}[0-9]{1,3}{end}";
    pub const VERSION: &str = r"[0-9]{1,6}(?:\.[0-9]{1,6}){2,5}{end}";
}

/// Letters one by one, in capitals.
pub(super) fn letters(text: &str) -> String {
    let mut spelled = String::with_capacity(text.len() * 2);
    for c in text.chars() {
        if !spelled.is_empty() {
            spelled.push(' ');
        }
        spelled.extend(c.to_uppercase());
    }
    spelled
}
