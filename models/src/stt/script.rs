//! Which Chinese characters a transcript is written in.
//!
//! Engines write Mandarin in simplified or traditional characters as it comes, often both in one text. A caller who speaks
//! Taiwanese Mandarin (`zh-TW`, `zh-Hant`) reads traditional ones. Conversion is OpenCC's (`s2twp`: characters, and the words
//! that Taiwan has others for), by `ferrous-opencc`. Promises that text which is traditional already stays as it is, letter for
//! letter: only what has a character in it that is simplified and nothing else is converted.

use std::sync::OnceLock;

use ferrous_opencc::OpenCC;
use ferrous_opencc::config::BuiltinConfig;

use super::wer::is_han;

/// When transcripts are put into traditional characters.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Script {
    /// Where the caller's language asks for it: `zh-TW`, `zh-HK`, `zh-MO`, or `zh-Hant`.
    #[default]
    ByLanguage,
    /// All Chinese.
    Traditional,
    /// As the engine wrote it.
    AsHeard,
}

impl Script {
    /// `text` as the caller is to read it. `asked` is the caller's language and `heard` the engine's, BCP 47.
    pub fn write(self, text: &str, asked: Option<&str>, heard: Option<&str>) -> String {
        let is_chinese = asked.or(heard).is_none_or(|language| has_subtag(language, &["zh", "cmn", "yue"]));
        let is_wanted = match self {
            Self::ByLanguage => asked.is_some_and(|language| is_chinese && is_traditional(language)),
            Self::Traditional => is_chinese,
            Self::AsHeard => false,
        };
        if is_wanted && text.chars().any(is_han) { traditional(text) } else { text.to_owned() }
    }
}

fn is_traditional(language: &str) -> bool {
    has_subtag(language, &["tw", "hk", "mo", "hant"]) && !has_subtag(language, &["hans"])
}

fn has_subtag(language: &str, wanted: &[&str]) -> bool {
    language.split(['-', '_']).any(|subtag| wanted.iter().any(|wanted| subtag.eq_ignore_ascii_case(wanted)))
}

/// The dictionaries are in the program; they are unpacked at the first use, once.
struct Converters {
    /// Characters: whether there is anything to convert.
    plain: OpenCC,
    /// The same and Taiwan's own words.
    taiwan: OpenCC,
}

fn traditional(text: &str) -> String {
    static CONVERTERS: OnceLock<Option<Converters>> = OnceLock::new();
    let converters = CONVERTERS.get_or_init(|| {
        let open = |config| OpenCC::from_config(config).inspect_err(|error| tracing::warn!(%error, "no conversion"));
        Some(Converters { plain: open(BuiltinConfig::S2t).ok()?, taiwan: open(BuiltinConfig::S2twp).ok()? })
    });
    match converters {
        // Taiwan's words are not for text that is traditional: there "文件" is a document, and no file.
        Some(converters) if text.chars().any(|character| converters.is_simplified(character)) => {
            converters.taiwan.convert(text)
        }
        _ => text.to_owned(),
    }
}

/// What is a simplified character for one thing and a traditional one for another: "后" is "behind", or an empress.
const BOTH: &str = "㐹万丑丰于云亘仆价伙余佣党准几凶划占厂厘台叶吁吃后咨咸唇夸尸岩岳帘干广征愿托挂据斗朴杠杰极柜涂涌淀游熏皂\
    确种筑胜腊腌膻苹范荐虫蚝蜡蝎跖辟适郁采里";

impl Converters {
    fn is_simplified(&self, character: char) -> bool {
        let alone = character.to_string();
        is_han(character) && !BOTH.contains(character) && self.plain.convert(&alone) != alone
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn simplified_text_is_written_as_taiwan_writes_it() {
        for (heard, written) in [
            ("今天天气怎么样？", "今天天氣怎麼樣？"),
            ("请把软件下载到我的鼠标旁边", "請把軟體下載到我的滑鼠旁邊"),
            ("我的头发很长，皇后在后面", "我的頭髮很長，皇后在後面"),
            ("信息网络的质量", "資訊網路的質量"),
            ("用 Rust 写程序", "用 Rust 寫程式"),
        ] {
            assert_eq!(Script::ByLanguage.write(heard, Some("zh-TW"), Some("zh")), written);
        }
    }

    #[test]
    fn traditional_text_stays_letter_for_letter() {
        for text in ["這份文件請寄給皇后", "台灣的質量和重量", "里長說，干卿何事", "乾杯！了解嗎？", "計程車在後面"]
        {
            assert_eq!(Script::ByLanguage.write(text, Some("zh-TW"), Some("zh")), text);
            assert_eq!(Script::Traditional.write(text, None, Some("zh")), text);
        }
    }

    #[test]
    fn only_callers_who_read_traditional_characters_get_them() {
        let simplified = "你好吗";
        for (script, asked, heard, traditional) in [
            (Script::ByLanguage, Some("zh-TW"), Some("zh"), true),
            (Script::ByLanguage, Some("zh_hant"), None, true),
            (Script::ByLanguage, Some("zh-HK"), Some("zh"), true),
            (Script::ByLanguage, Some("zh-Hans-TW"), Some("zh"), false),
            (Script::ByLanguage, Some("zh-CN"), Some("zh"), false),
            (Script::ByLanguage, Some("zh"), Some("zh"), false),
            (Script::ByLanguage, None, Some("zh"), false),
            (Script::Traditional, None, Some("zh"), true),
            (Script::Traditional, Some("zh"), None, true),
            (Script::Traditional, Some("ja"), Some("ja"), false),
            (Script::Traditional, None, Some("ja"), false),
            (Script::AsHeard, Some("zh-TW"), Some("zh"), false),
        ] {
            let written = script.write(simplified, asked, heard);
            assert_eq!(written, if traditional { "你好嗎" } else { simplified }, "{script:?} {asked:?} {heard:?}");
        }
        assert_eq!(Script::Traditional.write("plain", None, Some("zh")), "plain");
    }
}
