//! Words for voices that speak English only and read plain ASCII: Flite's and Festival's.

use crate::error::EngineError;
use crate::text::characters::is_cjk_letter;

/// The longest piece that is given to an engine at once, in bytes: it synthesises a whole utterance's prosody before its first sample.
pub(super) const PIECE_MAX: usize = 300;

/// `text` in printable ASCII: accents dropped, typographic marks replaced, everything else left out. An error says what is the
/// matter: nothing to say, or not English.
pub(super) fn plain(text: &str, voice: &str) -> Result<String, EngineError> {
    let mut plain = String::with_capacity(text.len());
    // A character of Chinese, Japanese or Korean is a word; of other scripts the words are counted, like the English ones.
    let (mut foreign, mut within) = (0_usize, false);
    for c in text.chars() {
        let mut strange = false;
        match c {
            // Neither is ever spoken, and without them no text can end a Scheme string.
            '"' | '\\' => plain.push(' '),
            ' '..='~' => plain.push(c),
            _ if c.is_whitespace() => plain.push(' '),
            _ => match ascii_for(c) {
                Some(ascii) => plain.push_str(ascii),
                None => {
                    strange = c.is_alphanumeric();
                    foreign += usize::from(strange && (is_cjk_letter(c) || !within));
                    plain.push(' ');
                }
            },
        }
        within = strange;
    }
    let english = plain.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty()).count();
    if foreign > 0 && foreign >= english {
        return Err(EngineError::BadRequest(format!(
            "the voice {voice} speaks English only and cannot say this text; choose a voice for its language"
        )));
    }
    if english == 0 {
        return Err(EngineError::BadRequest("the text has nothing that can be spoken; leave it out".into()));
    }
    Ok(plain.split_whitespace().collect::<Vec<_>>().join(" "))
}

/// `plain` text in pieces of at most [`PIECE_MAX`] bytes, cut after a stop, else a comma, else a space, else anywhere.
pub(super) fn pieces(plain: &str) -> Vec<&str> {
    let mut pieces = Vec::new();
    let mut rest = plain;
    while rest.len() > PIECE_MAX {
        let (head, _) = rest.split_at(PIECE_MAX);
        let cut = [". ", "? ", "! ", "; ", ", ", " "]
            .iter()
            .filter_map(|mark| head.rfind(mark).map(|at| at + mark.len()))
            .find(|at| *at >= PIECE_MAX / 3)
            .unwrap_or(PIECE_MAX);
        let (piece, after) = rest.split_at(cut);
        pieces.push(piece.trim());
        rest = after;
    }
    pieces.push(rest.trim());
    // A piece of stops only would make an engine read them out.
    pieces.retain(|piece| piece.bytes().any(|b| b.is_ascii_alphanumeric()));
    pieces
}

fn ascii_for(c: char) -> Option<&'static str> {
    Some(match c {
        '‘' | '’' | 'ʼ' | '＇' => "'",
        '“' | '”' | '„' | '«' | '»' | '「' | '」' | '『' | '』' => " ",
        '–' | '—' | '―' => ", ",
        '‐' | '‑' => "-",
        '…' => "...",
        '，' | '、' => ", ",
        '。' => ". ",
        '！' => "! ",
        '？' => "? ",
        '；' => "; ",
        '：' => ": ",
        'à' | 'á' | 'â' | 'ã' | 'å' | 'ā' | 'ă' | 'ą' => "a",
        'À' | 'Á' | 'Â' | 'Ã' | 'Å' | 'Ā' | 'Ă' | 'Ą' => "A",
        'ä' | 'æ' => "ae",
        'Ä' | 'Æ' => "Ae",
        'ç' | 'ć' | 'č' => "c",
        'Ç' | 'Ć' | 'Č' => "C",
        'ð' | 'ď' | 'đ' => "d",
        'Ð' | 'Ď' | 'Đ' => "D",
        'è' | 'é' | 'ê' | 'ë' | 'ē' | 'ę' | 'ě' => "e",
        'È' | 'É' | 'Ê' | 'Ë' | 'Ē' | 'Ę' | 'Ě' => "E",
        'ğ' => "g",
        'Ğ' => "G",
        'ì' | 'í' | 'î' | 'ï' | 'ī' | 'ı' => "i",
        'Ì' | 'Í' | 'Î' | 'Ï' | 'Ī' | 'İ' => "I",
        'ł' => "l",
        'Ł' => "L",
        'ñ' | 'ń' | 'ň' => "n",
        'Ñ' | 'Ń' | 'Ň' => "N",
        'ò' | 'ó' | 'ô' | 'õ' | 'ø' | 'ō' => "o",
        'Ò' | 'Ó' | 'Ô' | 'Õ' | 'Ø' | 'Ō' => "O",
        'ö' | 'œ' => "oe",
        'Ö' | 'Œ' => "Oe",
        'ř' => "r",
        'Ř' => "R",
        'ś' | 'š' | 'ş' => "s",
        'Ś' | 'Š' | 'Ş' => "S",
        'ß' => "ss",
        'ţ' | 'ť' => "t",
        'Ţ' | 'Ť' => "T",
        'þ' => "th",
        'Þ' => "Th",
        'ù' | 'ú' | 'û' | 'ū' | 'ů' => "u",
        'Ù' | 'Ú' | 'Û' | 'Ū' | 'Ů' => "U",
        'ü' => "ue",
        'Ü' => "Ue",
        'ý' | 'ÿ' => "y",
        'Ý' => "Y",
        'ź' | 'ż' | 'ž' => "z",
        'Ź' | 'Ż' | 'Ž' => "Z",
        _ => return None,
    })
}
