//! Mandarin as it is said in Taiwan. The script of the text stays what it was; what is added is in Traditional characters.

mod amounts;
mod calendar;
mod numbers;
mod units;
mod words;

use std::sync::LazyLock;

use super::addresses::{Names, patterns};
use super::rules::{self, At, Row, Rule};

type Found<'t> = rules::Found<'t, ()>;

const NAMES: Names = Names {
    dot: "點",
    at: "小老鼠",
    slash: "斜線",
    dash: "槓",
    underscore: "底線",
    plus: "加",
    colon: "冒號",
    pause: "，",
    digits: numbers::spelled,
    number: numbers::cardinal,
};

pub(super) fn say(text: &str) -> String {
    static RULES: LazyLock<Vec<Rule<()>>> = LazyLock::new(|| rules::table(ROWS, PARTS));
    rules::walk(text, &RULES, (), numbers::spelled)
}

const PARTS: &[(&str, &str)] = &[
    ("{unit}", units::UNIT),
    ("{counted}", units::COUNTED),
    ("{sign}", r"((?:US|NT|HK|A)?\$|CN¥|[€£¥₩]|(?:USD|NTD|TWD|HKD|EUR|GBP|JPY|RMB|CNY) ?)"),
    ("{half}", r"([AaPp])(?:\.[Mm]\.|[Mm]{end})"),
];

/// In the order in which they are tried: what is longer and surer first.
const ROWS: &[Row<()>] = &[
    // Addresses.
    (At::Any, patterns::MAIL, |f| Some(NAMES.mail(f.whole()))),
    (At::Letter, patterns::WEB, |f| Some(NAMES.web(f.whole()))),
    (At::Any, patterns::DOMAIN, domain),
    (At::Mark, r"@([A-Za-z_][A-Za-z0-9_]{0,60})", words::handle),
    (At::Mark, r"#([0-9]{1,6}{end}|[A-Za-z_\p{Han}][A-Za-z0-9_\p{Han}]{0,60})", words::hash),
    // Dates and times.
    (
        At::Digit,
        r"([12][0-9]{3}|1[0-9]{2}|[1-9][0-9])([-/.])([0-9]{1,2})([-/.])([0-9]{1,2})(?:[T ]([0-9]{2}):([0-9]{2})(?::([0-9]{2})(?:\.[0-9]{1,9})?)?(?:Z|[-+][0-9]{2}:?[0-9]{2})?{end}|{end})",
        calendar::date,
    ),
    (At::Digit, r"([0-9]{1,2})/([0-9]{1,2})/([0-9]{4}){end}", calendar::american_date),
    (At::Any, patterns::TELEPHONE, telephone),
    (At::Digit, patterns::MACHINE, |f| NAMES.machine(f.whole())),
    (At::Digit, patterns::VERSION, |f| Some(NAMES.version(f.whole(), NAMES.dot))),
    (At::Letter, r"[vV]([0-9]{1,6}(?:\.[0-9]{1,6}){0,5}){end}", |f| {
        Some(format!("版本{}", NAMES.version(f.group(1), NAMES.dot)))
    }),
    (At::Digit, r"([0-9]{1,2})/([0-9]{1,2}){end}", calendar::day_month),
    (At::Digit, r"[0-9]{1,6}(?:/[0-9]{1,6}){2,}{end}", amounts::joined),
    (At::Digit, r"([0-9]{1,4}) ([0-9]{1,3})/([0-9]{1,3}){end}", amounts::mixed),
    (At::Digit, r"([0-9]{1,6})/([0-9]{1,6}){end}", amounts::fraction),
    (At::Digit, r"([0-9]{1,2}):([0-5][0-9])(?::([0-5][0-9]))?(?: ?{half}|{end})", calendar::time),
    (At::Digit, r"([0-9]{1,2}) ?{half}", calendar::hour),
    (At::Digit, r"[0-9]{1,6}(?::[0-9]{1,6}){2,}{end}", amounts::joined),
    (At::Digit, r"([0-9]{1,6}):([0-9]{1,6}){end}", amounts::ratio),
    (At::Digit, r"([0-9]{1,4}) ?年", calendar::named_year),
    (At::Digit, r"([0-9]{1,2}) ?(點|時)(?:([0-9]{1,2}) ?分)?", calendar::o_clock),
    (At::Digit, r"([1-9][0-9]{2,3}) ?(大樓|公車|路公車|號公車|號房|室|教室|次列車|班機)", calendar::number_as_name),
    (At::Digit, r"([0-9]{1,5}) ?(月|日|號|樓|路|巷|弄|線|班|級|期|屆|集|章|節|課|版|室)", calendar::named),
    // Amounts.
    (At::Any, r"{sign}({num})(?: ?[-–~] ?{sign}?({num}))?([萬億兆]{1,2})?", money),
    (At::Digit, r"({num}) ?([€£¥₩]|(?:USD|NTD|TWD|HKD|EUR|GBP|JPY|RMB|CNY){end})", amounts::money_after),
    (At::Digit, r"({num})(?: ?[x×] ?10\^|[eE])([-+]?[0-9]{1,4}){end}", amounts::power_of_ten),
    (At::Digit, r"()10\^([-+]?[0-9]{1,4}){end}", amounts::power_of_ten),
    (At::Digit, r"{num}(?: ?[x×] ?{num}){1,3}{end}", amounts::dimensions),
    (At::Digit, r"({num})(?:%? ?[-–~] ?({num}))? ?%", amounts::percent),
    (At::Any, r"(-)?({num}) ?(°[CF])", amounts::temperature),
    (At::Digit, r"({num}) ?(km/h|kph|mph)", amounts::speed),
    (At::Digit, r"({num}) ?{unit}", amounts::measure),
    (At::Digit, r"({num}) ?({counted})", amounts::counted),
    (At::Mark, r"第 ?([0-9]{1,9})", amounts::ordinal),
    (At::Digit, r"({num})(x|×|k){end}", amounts::suffixed),
    (At::Digit, r"([0-9]{1,4})([A-Za-z]{1,2}){end}", words::lettered),
    (At::Digit, r"[0-9]{1,6}(?:-[0-9]{1,6}){2,}{end}", amounts::joined),
    (At::Digit, r"{num}", amounts::plain),
    (At::Mark, r"\.([0-9]{1,40})", amounts::point),
    (At::Mark, r"-", amounts::minus),
    (At::Mark, r" ?[-–—~] ?", amounts::range),
    (At::Mark, r"\^([-+]?[0-9]{1,4}|[A-Za-z]){end}", amounts::power),
    // Words and signs.
    (At::Letter, r"[A-Za-z]{1,8}-?[0-9]{1,6}(?:[A-Z][0-9]{0,4}){0,3}{end}", words::coded),
    (At::Letter, r"([A-Z]{1,4}) ?& ?([A-Z]{1,4}){end}", words::joined_letters),
    (At::Letter, r"([A-Z]{2,8}){end}", words::acronym),
    (At::Mark, r"\+{1,2}", words::pluses),
    (At::Mark, r" ?(==|!=|<=|>=|[-+=≠<≤≥>*×·÷/≈±&]) ?", words::sign),
    (At::Mark, r"<=|>=|[€£¥%°²³√∞π~<>≤≥≈±&]", words::named),
    (At::Letter, "π", words::named),
    (At::Mark, "_", words::underscore),
];

fn domain(found: &Found<'_>) -> Option<String> {
    let before = found.last_before();
    before.is_none_or(|c| !c.is_ascii_alphanumeric() && c != '.' && c != '@').then(|| NAMES.web(found.whole()))
}

fn telephone(found: &Found<'_>) -> Option<String> {
    let before = found.last_before();
    before.is_none_or(|c| !c.is_ascii_alphanumeric() && !"-.$€£".contains(c)).then(|| NAMES.telephone(found.whole()))?
}

fn money(found: &Found<'_>) -> Option<String> {
    found.last_before().is_none_or(|c| !c.is_ascii_alphanumeric()).then(|| amounts::money(found))?
}
