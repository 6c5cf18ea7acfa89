//! English abbreviations, acronyms and Roman numerals.

use super::super::addresses::letters;
use super::super::quantity::roman;
use super::numbers::{cardinal, ordinal, spelled};
use super::{Found, rules};

/// Written with or without a full stop, said as a word. Those of one letter or two that are words as well need their stop.
const ABBREVIATIONS: &[(&str, &str)] = &[
    ("Mr", "Mister"),
    ("Mrs", "Missus"),
    ("Ms", "Miz"),
    ("Prof.", "Professor"),
    ("Capt.", "Captain"),
    ("Lt.", "Lieutenant"),
    ("Sgt.", "Sergeant"),
    ("Col.", "Colonel"),
    ("Gen.", "General"),
    ("Gov.", "Governor"),
    ("Sen.", "Senator"),
    ("Rep.", "Representative"),
    ("Rev.", "Reverend"),
    ("Pres.", "President"),
    ("Jr.", "Junior"),
    ("Sr.", "Senior"),
    ("Mt.", "Mount"),
    ("Ft.", "Fort"),
    ("Ave.", "Avenue"),
    ("Blvd.", "Boulevard"),
    ("Rd.", "Road"),
    ("Ln.", "Lane"),
    ("Apt.", "Apartment"),
    ("Inc.", "Incorporated"),
    ("Ltd.", "Limited"),
    ("Corp.", "Corporation"),
    ("Co.", "Company"),
    ("Dept.", "Department"),
    ("dept.", "department"),
    ("e.g.", "for example"),
    ("i.e.", "that is"),
    ("etc.", "et cetera"),
    ("etc", "et cetera"),
    ("vs.", "versus"),
    ("vs", "versus"),
    ("approx.", "approximately"),
    ("est.", "estimated"),
    ("cf.", "compare"),
    ("et al.", "and others"),
    ("incl.", "including"),
    ("min.", "minimum"),
    ("max.", "maximum"),
    ("avg.", "average"),
    ("w/o", "without"),
    ("w/ ", "with "),
    ("a.m.", "A M"),
    ("p.m.", "P M"),
    ("Ph.D.", "P H D"),
    ("PhD", "P H D"),
    ("WWII", "World War Two"),
    ("WWI", "World War One"),
    ("Jan.", "January"),
    ("Feb.", "February"),
    ("Mar.", "March"),
    ("Apr.", "April"),
    ("Jun.", "June"),
    ("Jul.", "July"),
    ("Aug.", "August"),
    ("Sep.", "September"),
    ("Sept.", "September"),
    ("Oct.", "October"),
    ("Nov.", "November"),
    ("Dec.", "December"),
];
/// Meant so only before a number.
const BEFORE_NUMBER: &[(&str, &str)] = &[
    ("No.", "number"),
    ("no.", "number"),
    ("Nos.", "numbers"),
    ("Fig.", "figure"),
    ("fig.", "figure"),
    ("Figs.", "figures"),
    ("Vol.", "volume"),
    ("vol.", "volume"),
    ("Ch.", "chapter"),
    ("ch.", "chapter"),
    ("Sec.", "section"),
    ("sec.", "section"),
    ("Art.", "article"),
    ("Eq.", "equation"),
    ("pp.", "pages"),
    ("p.", "page"),
    ("ca.", "about"),
    ("c.", "about"),
    ("ver.", "version"),
    ("v.", "version"),
    ("ext.", "extension"),
    ("Ext.", "extension"),
];
/// Capitals that are read as a word.
const ACRONYM_WORDS: &[&str] = &[
    "OK", "NASA", "NATO", "UNESCO", "UNICEF", "FIFA", "OPEC", "ASEAN", "AIDS", "COVID", "RAM", "ROM", "LAN", "WAN",
    "PIN", "SIM", "GIF", "JPEG", "LASER", "RADAR", "SCUBA", "SARS", "NAFTA", "YOLO", "NAND", "BIOS", "CUDA", "WIFI",
    "LIDAR", "SONAR", "CAPTCHA", "EULA", "OSHA", "FEMA", "SWAT", "TOEFL", "UEFA", "NIMBY", "COBOL", "BASIC", "SAT",
    "ZIP", "MIDI", "AJAX",
];
/// Capitals that might be a word, and are spelled.
const SPELLED: &[&str] = &[
    "USA", "API", "CEO", "CFO", "CTO", "CIA", "EU", "UN", "UK", "US", "AI", "IT", "URL", "UFO", "IBM", "FAQ", "DIY",
    "IOU", "ATM", "ETA", "HIV", "IRA", "IRS", "ISO", "IEEE", "IP", "ID", "OS", "UI", "UX", "GPU", "CPU", "TPU", "USB",
    "UTC", "UPS", "AED", "APA", "AMA", "EPA", "ESA", "IEA", "UAE", "UCLA", "USSR", "YMCA", "NCAA", "ASCII",
];
/// Words that people write in capitals to be heard.
const SHOUTED: &[&str] = &[
    "A", "AND", "ARE", "AM", "AS", "AT", "ALL", "ANY", "BE", "BIG", "BUT", "BUY", "BY", "CAN", "DAY", "DID", "DO",
    "DUE", "END", "FOR", "FREE", "FUN", "GET", "GO", "GOT", "GOOD", "HAD", "HAS", "HE", "HER", "HEY", "HI", "HIM",
    "HIS", "HOT", "HOW", "I", "IF", "IN", "IS", "ITS", "LET", "MAN", "MAY", "ME", "MIX", "MUST", "MY", "NEW", "NO",
    "NOT", "NOW", "OF", "OFF", "OH", "OLD", "ON", "ONE", "ONLY", "OR", "OUR", "OUT", "OWN", "PUT", "RED", "RUN", "SAY",
    "SEE", "SHE", "SO", "STOP", "SUN", "THAT", "THE", "THEY", "THIS", "TO", "TOO", "TOP", "TRY", "TWO", "UP", "USE",
    "VERY", "WAR", "WAS", "WAY", "WE", "WHO", "WHY", "WILL", "WIN", "WITH", "WOW", "YES", "YET", "YOU",
];
/// Kings, queens and popes are counted by ordinals.
const REGNAL: &[&str] = &[
    "Henry",
    "Louis",
    "Elizabeth",
    "Charles",
    "George",
    "Edward",
    "William",
    "James",
    "Richard",
    "Mary",
    "Paul",
    "John",
    "Benedict",
    "Pius",
    "Napoleon",
    "Philip",
    "Nicholas",
    "Catherine",
    "Peter",
    "Ivan",
    "Alexander",
    "Frederick",
    "Leo",
    "Gregory",
    "Francis",
    "Innocent",
    "Clement",
    "Ramses",
    "Margrethe",
    "Carl",
    "Gustav",
    "Wilhelm",
    "Leopold",
    "Felipe",
    "Juan",
];
/// Things that are counted by Roman numerals.
const COUNTED: &[&str] = &[
    "War", "Chapter", "Part", "Type", "Act", "Phase", "Section", "Volume", "Book", "Article", "Title", "Class",
    "Grade", "Stage", "Level", "Scene", "Appendix", "Bowl", "Rocky", "Fantasy", "Star", "Division", "Group", "Mark",
    "Apollo", "Gemini",
];

/// The longest abbreviation that stands here, if what follows fits it.
pub(super) fn abbreviation(found: &Found<'_>) -> Option<String> {
    let written = found.whole();
    let rest = found.after;
    let number = rest.trim_start_matches(' ').starts_with(|c: char| c.is_ascii_digit());
    let said = match written {
        // Before a name a doctor, after one a drive.
        "Dr." | "Dr" | "St." => title(found)?,
        _ => {
            let always = ABBREVIATIONS.iter().find(|(short, _)| {
                short == &written || short.strip_suffix('.') == Some(written) && MAY_LACK_STOP.contains(&written)
            });
            let mut either = ABBREVIATIONS.iter().filter(|(short, _)| written.strip_suffix('.') == Some(short));
            let numbered = BEFORE_NUMBER.iter().find(|(short, _)| number && short == &written);
            numbered.or(always).or_else(|| either.next()).map(|(_, long)| *long)?
        }
    };
    Some(format!("{said}{}", closing_stop(written, rest)))
}

/// Abbreviations that are often written without their stop.
const MAY_LACK_STOP: [&str; 3] = ["Prof", "approx", "Jr"];

fn title(found: &Found<'_>) -> Option<&'static str> {
    let doctor = found.whole().starts_with("Dr");
    let name_before = found.word_before().starts_with(char::is_uppercase) && found.last_before() == Some(' ');
    let name_after = found.word_after().starts_with(char::is_uppercase) && found.next_after() == Some(' ');
    let stop = found.whole().ends_with('.');
    match (name_after, name_before) {
        (true, _) if doctor => Some("Doctor"),
        (true, false) if stop => Some("Saint"),
        (true, true) if stop && super::super::rules::head(found.after, 12).trim_start().starts_with("Louis") => {
            Some("Saint")
        }
        (_, true) if stop && doctor => Some("Drive"),
        (_, true) if stop => Some("Street"),
        _ if doctor && stop => Some("Doctor"),
        _ => None,
    }
}

/// The stop of an abbreviation at the end of a sentence ends the sentence too.
fn closing_stop(written: &str, rest: &str) -> &'static str {
    let ends = rules::head(rest, 8).trim_start().is_empty();
    if written.ends_with('.') && ends { "." } else { "" }
}

/// `U.S.`, `J.R.R.`: letters each with its stop.
pub(super) fn initials(found: &Found<'_>) -> Option<String> {
    let said: Vec<&str> = found.whole().split('.').filter(|letter| !letter.is_empty()).collect();
    Some(format!("{}{}", said.join(" "), closing_stop(found.whole(), found.after)))
}

/// `VIII` after a name or a thing that is counted.
pub(super) fn roman_numeral(found: &Found<'_>) -> Option<String> {
    let before = found.word_before();
    if found.last_before() != Some(' ') || !before.starts_with(char::is_uppercase) {
        return None;
    }
    let digits = roman(found.whole())?.to_string();
    // "Charles I was", "Part I"; elsewhere one letter is a letter, and "CD" and "MIX" are words.
    let named = REGNAL.contains(&before);
    let counted = COUNTED.contains(&before);
    let plain = found.whole().len() > 1 && found.whole().bytes().all(|b| b"IVX".contains(&b));
    let shouting = before.len() > 1 && before.chars().all(char::is_uppercase);
    let followed = matches!(found.word_after(), "am" | "was" | "have" | "will" | "think" | "can" | "would");
    match (named, counted) {
        (true, _) if found.whole() != "I" || !followed => Some(format!("the {}", ordinal(&digits, true))),
        (_, true) => Some(cardinal(&digits, true)),
        _ if plain && !shouting => Some(cardinal(&digits, true)),
        _ => None,
    }
}

/// A word of capitals and digits: said as a word or letter by letter.
pub(super) fn acronym(found: &Found<'_>) -> Option<String> {
    let (stem, plural) = (found.group(1), !found.group(2).is_empty());
    if found.last_before().is_some_and(|c| c.is_alphanumeric() || c == '\'' || c == '’') {
        return None;
    }
    if !is_spelled(stem, found) {
        return None;
    }
    let said = letters(stem);
    Some(if plural { format!("{said}'s") } else { said })
}

fn is_spelled(stem: &str, found: &Found<'_>) -> bool {
    if stem.len() < 2 || ACRONYM_WORDS.contains(&stem) {
        return false;
    }
    let plural = !found.group(2).is_empty();
    let surely = SPELLED.contains(&stem) && !matches!(stem, "US" | "IT") || plural;
    if surely {
        return true;
    }
    if SHOUTED.contains(&stem) {
        return false;
    }
    let shouted = |word: &str| word.len() > 1 && word.bytes().all(|b| b.is_ascii_uppercase());
    // A cry is in capitals all through.
    if shouted(found.word_before()) && (SHOUTED.contains(&found.word_before()) || stem.len() > 3)
        || SHOUTED.contains(&found.word_after()) && found.word_after().len() > 1
    {
        return false;
    }
    let vowels = stem.bytes().filter(|b| b"AEIOUY".contains(b)).count();
    match stem.len() {
        2 | 3 => true,
        4 | 5 => vowels == 0 || !pronounceable(stem),
        _ => vowels == 0,
    }
}

/// No more than two consonants in a row at the start and three anywhere: "UNICEF" is, "HTTPS" is not.
fn pronounceable(word: &str) -> bool {
    let consonants = |part: &str| !part.bytes().any(|b| b"AEIOUY".contains(&b));
    let vowels = |part: &str| part.bytes().all(|b| b"AEIOU".contains(&b));
    let windows = |n: usize, test: &dyn Fn(&str) -> bool| {
        (0..word.len().saturating_sub(n - 1)).any(|at| word.get(at..at + n).is_some_and(test))
    };
    !windows(4, &consonants) && !windows(3, &vowels) && !word.get(..3).is_some_and(consonants)
}

/// Letters and digits in one word, letters first: `MP3`, `H2O`, `GPT-4`, `COVID-19`, `A4`.
pub(super) fn coded(found: &Found<'_>) -> Option<String> {
    if found.last_before().is_some_and(|c| c.is_alphanumeric() || c == '_') {
        return None;
    }
    let mut words: Vec<String> = Vec::new();
    let mut rest = found.whole();
    while let Some(first) = rest.chars().next() {
        let run =
            rest.find(|c: char| c.is_ascii_digit() != first.is_ascii_digit() || c == '-').unwrap_or(rest.len()).max(1);
        let (piece, after) = rest.split_at(run);
        rest = after;
        words.push(match first {
            '-' => continue,
            '0' if piece.len() > 1 => spelled(piece),
            '0'..='9' if piece.len() > 4 => spelled(piece),
            '0'..='9' if piece.len() == 3 && !piece.ends_with("00") => super::amounts::hundreds_apart(piece),
            '0'..='9' => super::amounts::pairs(piece).unwrap_or_else(|| cardinal(piece, true)),
            _ if piece.len() > 1 && (ACRONYM_WORDS.contains(&piece) || piece.chars().any(char::is_lowercase)) => {
                piece.into()
            }
            _ => letters(piece),
        });
    }
    Some(words.join(" "))
}
