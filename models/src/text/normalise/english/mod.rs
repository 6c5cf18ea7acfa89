//! English, as America says it or as Britain does.

mod amounts;
mod calendar;
mod numbers;
mod signs;
mod units;
mod words;

use std::sync::LazyLock;

use super::addresses::{Names, patterns};
use super::rules::{self, At, Row, Rule};

/// The dialect is whether America's customs hold.
type Found<'t> = rules::Found<'t, bool>;

const NAMES: Names = Names {
    dot: "dot",
    at: "at",
    slash: "slash",
    dash: "dash",
    underscore: "underscore",
    plus: "plus",
    colon: "colon",
    pause: ", ",
    digits: numbers::spelled,
    number: |digits| numbers::cardinal(digits, true),
};

pub(super) fn say(text: &str, american: bool) -> String {
    static RULES: LazyLock<Vec<Rule<bool>>> = LazyLock::new(|| rules::table(ROWS, PARTS));
    rules::walk(text, &RULES, american, numbers::spelled)
}

const PARTS: &[(&str, &str)] = &[
    ("{unit}", units::UNIT),
    (
        "{month}",
        r"(January|February|March|April|May|June|July|August|September|October|November|December|(?:Jan|Feb|Mar|Apr|Jun|Jul|Aug|Sept|Sep|Oct|Nov|Dec){end}\.?)",
    ),
    ("{scale}", r"( (?:thousand|million|billion|trillion){end}|bn{end}|mn{end}|tn{end}|[kKmMbBtT]{end})?"),
    ("{sign}", r"((?:US|NT|HK|A|C|S)?\$|CN¥|[€£¥₩₹]|(?:USD|NTD|TWD|EUR|GBP|JPY|RMB|CNY|CHF) ?)"),
    ("{half}", r"([AaPp])(?:\.[Mm]\.|[Mm]{end})"),
    ("{year}", "([12][0-9]{3}){end}"),
];

/// In the order in which they are tried: what is longer and surer first.
const ROWS: &[Row<bool>] = &[
    // Addresses.
    (At::Any, patterns::MAIL, |f| Some(NAMES.mail(f.whole()))),
    (At::Letter, patterns::WEB, |f| Some(NAMES.web(f.whole()))),
    (At::Any, patterns::DOMAIN, domain),
    (At::Mark, r"@([A-Za-z_][A-Za-z0-9_]{0,60})", signs::handle),
    (At::Mark, r"#([0-9]{1,6}{end}|[A-Za-z_][A-Za-z0-9_]{0,60})", signs::hash),
    // Dates and times.
    (
        At::Digit,
        r"([0-9]{4})([-/.])([0-9]{1,2})([-/.])([0-9]{1,2})(?:[T ]([0-9]{2}):([0-9]{2})(?::([0-9]{2})(?:\.[0-9]{1,9})?)?(Z|[-+][0-9]{2}:?[0-9]{2})?{end}|{end})",
        calendar::iso,
    ),
    (At::Any, patterns::TELEPHONE, telephone),
    (At::Digit, patterns::MACHINE, |f| NAMES.machine(f.whole())),
    (At::Digit, r"([0-9]{1,2})([-/.])([0-9]{1,2})([-/.])([0-9]{4}|[0-9]{2}){end}", calendar::day_month_year),
    (At::Digit, patterns::VERSION, |f| Some(NAMES.version(f.whole(), "point"))),
    (At::Letter, r"[vV]([0-9]{1,6}(?:\.[0-9]{1,6}){0,5}){end}", |f| {
        Some(format!("version {}", NAMES.version(f.group(1), "point")))
    }),
    (At::Digit, r"([0-9]{1,2})/([0-9]{1,2}){end}", calendar::day_month),
    (At::Digit, r"[0-9]{1,6}(?:/[0-9]{1,6}){2,}{end}", amounts::joined),
    (At::Digit, r"([0-9]{1,4}) ([0-9]{1,3})/([0-9]{1,3}){end}", amounts::mixed),
    (At::Digit, r"([0-9]{1,6})/([0-9]{1,6}){end}", amounts::fraction),
    (At::Digit, r"([0-9]{1,2}):([0-5][0-9])(?::([0-5][0-9]))?(?: ?{half}|{end})", calendar::time),
    (At::Digit, r"([0-9]{1,2}) ?{half}", calendar::hour),
    (At::Digit, r"[0-9]{1,6}(?::[0-9]{1,6}){2,}{end}", amounts::joined),
    (At::Digit, r"([0-9]{1,6}):([0-9]{1,6}){end}", amounts::ratio),
    (At::Digit, r"([0-9]{1,2})(?:st|nd|rd|th)? (?:of )?{month}{end}(?:,? {year})?", calendar::day_of_month),
    (
        At::Letter,
        r"{month} ([0-9]{1,2})(?:st|nd|rd|th)?{end}(?: ?[-–] ?([0-9]{1,2}){end})?(?:,? {year})?",
        calendar::month_day,
    ),
    (At::Letter, r"{month} {year}", calendar::month_year),
    (At::Any, r"['’]?([0-9]{2}|[0-9]{4})['’]?s{end}", calendar::years),
    // Amounts.
    (At::Any, r"{sign}({num})(?: ?[-–~] ?{sign}?({num}))?{scale}", money),
    (At::Digit, r"({num}) ?([€£¥₩元]|(?:USD|NTD|TWD|EUR|GBP|JPY|RMB|CNY|CHF){end})", amounts::money_after),
    (At::Digit, r"({num})(?: ?[x×] ?10\^|[eE])([-+]?[0-9]{1,4}){end}", amounts::power_of_ten),
    (At::Digit, r"()10\^([-+]?[0-9]{1,4}){end}", amounts::power_of_ten),
    (At::Digit, r"{num}(?:(?:[x×]| x ){num}){1,3}{end}", amounts::dimensions),
    (At::Digit, r"([0-9,]{1,20})(?:st|nd|rd|th){end}", amounts::ordinals),
    (At::Digit, r"({num}) ?{unit}", amounts::measure),
    (At::Digit, r"({num})(x|×|k|M|bn){end}", amounts::suffixed),
    (At::Digit, r"([0-9]{1,4})([A-Za-z]{1,12}){end}", amounts::lettered),
    (At::Digit, r"[0-9]{1,6}(?:-[0-9]{1,6}){2,}{end}", amounts::joined),
    (At::Digit, r"{num}", amounts::plain),
    (At::Mark, r"\.([0-9]{1,40})", amounts::point),
    (At::Mark, r"-", amounts::minus),
    (At::Mark, r" ?[-–—~] ?", amounts::range),
    (At::Mark, r"\^([-+]?[0-9]{1,4}|[A-Za-z]){end}", amounts::power),
    // Words.
    (At::Letter, r"(?:[A-Z]\.){2,8}", words::initials),
    (
        At::Letter,
        r"[a-z]\.[a-z]\.|Ph\.D\.|et al\.|w/o{end}|w/ |[A-Za-z]{1,6}\.|[A-Za-z]{2,6}{end}",
        words::abbreviation,
    ),
    (At::Letter, r"[IVXLCDM]{1,15}{end}", words::roman_numeral),
    (At::Letter, r"[A-Z]{1,5}[0-9]{1,6}(?:[A-Z][0-9]{0,4}){0,3}{end}|[A-Z]{1,8}-[0-9]{1,6}{end}", words::coded),
    (At::Letter, r"([A-Z]{1,4}) ?& ?([A-Z]{1,4}){end}", signs::joined_letters),
    (At::Letter, r"([A-Z]{2,8})(['’]?s)?{end}", words::acronym),
    // Signs.
    (At::Mark, r"#", signs::sharp),
    (At::Mark, r"/", signs::slash),
    (At::Mark, r"_", signs::underscore),
    (At::Mark, r"\.([a-z][a-z0-9]{0,4}){end}", signs::file_ending),
    (At::Mark, r"\+{1,2}", signs::pluses),
    (At::Mark, r" ?& ?", signs::and),
    (At::Mark, r" ?(==|!=|<=|>=|[-+=≠<≤≥>*×·÷/≈±]) ?", signs::sign),
    (At::Mark, r"<=|>=|[€£¥%°²³√∞π§©~<>≤≥@±≈]", signs::named),
    (At::Letter, "π", signs::named),
];

fn domain(found: &Found<'_>) -> Option<String> {
    let before = found.last_before();
    // "e.g. it.is" has no domain in it: nobody writes one with a capital after its point.
    before.is_none_or(|c| !c.is_alphanumeric() && c != '.' && c != '@').then(|| NAMES.web(found.whole()))
}

fn telephone(found: &Found<'_>) -> Option<String> {
    let before = found.last_before();
    before.is_none_or(|c| !c.is_alphanumeric() && !"-.$€£".contains(c)).then(|| NAMES.telephone(found.whole()))?
}

fn money(found: &Found<'_>) -> Option<String> {
    found.last_before().is_none_or(|c| !c.is_ascii_alphanumeric()).then(|| amounts::money(found))?
}
