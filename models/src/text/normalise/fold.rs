//! One form for each sign, whatever form it was written in.

/// `text` with one form for each sign: full-width forms are ASCII, fractions and small raised digits are spelled out with signs, odd spaces are
/// spaces and odd minus signs and tildes are ordinary ones.
pub(super) fn folded(text: &str) -> String {
    let mut folded = String::with_capacity(text.len());
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        if let Some(plain) = raised_digit(c) {
            let mut power = String::from(plain);
            while let Some(next) = rest.peek().copied().and_then(raised_digit) {
                power.push(next);
                rest.next();
            }
            if power.len() == 1 && matches!(c, '²' | '³') {
                // Alone it belongs to a unit as often as to a power.
                folded.push(c);
            } else {
                folded.push('^');
                folded.push_str(&power);
            }
            continue;
        }
        if let Some(signs) = compound(c) {
            if signs.contains('/') && folded.ends_with(|last: char| last.is_ascii_digit()) {
                folded.push(' ');
            }
            folded.push_str(signs);
            continue;
        }
        folded.push(match c {
            // Full stops, commas and marks of Chinese prose keep their width: they end clauses.
            '０'..='９'
            | 'Ａ'..='Ｚ'
            | 'ａ'..='ｚ'
            | '＋'
            | '％'
            | '＄'
            | '＃'
            | '＠'
            | '＆'
            | '＝'
            | '＜'
            | '＞'
            | '／'
            | '－'
            | '＊' => char::from_u32(c as u32 - 0xFEE0).unwrap_or(c),
            '．' => '.',
            '～' | '〜' => '~',
            '￥' => '¥',
            '￡' => '£',
            '−' => '-',
            '\u{A0}' | '\u{2009}' | '\u{202F}' | '\u{2007}' => ' ',
            'µ' => 'μ',
            _ => c,
        });
    }
    folded
}

fn raised_digit(c: char) -> Option<char> {
    const RAISED: [char; 10] = ['⁰', '¹', '²', '³', '⁴', '⁵', '⁶', '⁷', '⁸', '⁹'];
    if c == '⁻' {
        return Some('-');
    }
    let digit = RAISED.iter().position(|raised| *raised == c)?;
    char::from_digit(u32::try_from(digit).ok()?, 10)
}

/// Signs of several.
fn compound(c: char) -> Option<&'static str> {
    Some(match c {
        '½' => "1/2",
        '⅓' => "1/3",
        '⅔' => "2/3",
        '¼' => "1/4",
        '¾' => "3/4",
        '⅕' => "1/5",
        '⅖' => "2/5",
        '⅗' => "3/5",
        '⅘' => "4/5",
        '⅙' => "1/6",
        '⅛' => "1/8",
        '⅜' => "3/8",
        '⅝' => "5/8",
        '⅞' => "7/8",
        '㎏' => "kg",
        '㎎' => "mg",
        '㎞' => "km",
        '㎝' => "cm",
        '㎜' => "mm",
        '㎡' => "m²",
        '㎢' => "km²",
        '㎥' => "m³",
        '℃' => "°C",
        '℉' => "°F",
        _ => return None,
    })
}
