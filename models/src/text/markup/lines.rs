//! Marks that mean something only where a line begins: headings, quotes, bullets, rules, tables and fences.

use super::{Finding, Markup, Mode, run_of};

const LINE_MARK_MAX: usize = 80;

impl Markup {
    /// Marks that mean something only where a line begins.
    pub(super) fn line_mark(&mut self, end: bool) -> Finding {
        let held = &self.held;
        let indent = held.iter().take_while(|c| matches!(c, ' ' | '\t')).count();
        let Some(&mark) = held.get(indent) else {
            return if end || indent > LINE_MARK_MAX { Finding::Literal } else { Finding::Wait };
        };
        let run = run_of(held.get(indent..).unwrap_or_default(), mark);
        let after = held.get(indent + run).copied();
        match mark {
            '#' if run > 6 => Finding::Literal,
            '#' => match after {
                None if !end => Finding::Wait,
                Some(' ' | '\t') => Finding::Skip(indent + run + 1),
                None | Some('\n') => Finding::Skip(indent + run),
                Some(_) => Finding::Literal,
            },
            '>' => Finding::Skip(indent + 1),
            '|' => {
                self.mode = Mode::Row;
                Finding::Skip(indent + 1)
            }
            '~' if run >= 3 => {
                self.mode = Mode::Fence { mark };
                self.line_start = false;
                Finding::Skip(indent + run)
            }
            '~' if after.is_none() && !end => Finding::Wait,
            '•' | '‣' | '⁃' | '●' | '■' | '▪' | '○' | '□' | '◦' | '·' | '∙' => {
                Finding::Skip(indent + 1)
            }
            '-' | '*' | '+' | '_' | '=' => self.rule_or_bullet(indent, mark, end),
            _ => Finding::Literal,
        }
    }

    /// `---`, `* * *`, `---|---`, or `- ` and `* ` before a list's item.
    pub(super) fn rule_or_bullet(&self, indent: usize, mark: char, end: bool) -> Finding {
        let line = self.held.get(indent..).unwrap_or_default();
        let ruled = |c: &char| *c == mark || matches!(c, ' ' | '\t') || (mark == '-' && matches!(c, '|' | ':'));
        let length = line.iter().take_while(|c| ruled(c)).count();
        let is_rule = line.iter().filter(|c| **c == mark).count() >= 3;
        let bullet = match line.get(1) {
            Some(' ' | '\t') if matches!(mark, '-' | '*' | '+') => Finding::Skip(indent + 2),
            _ => Finding::Literal,
        };
        match line.get(length) {
            Some('\n') if is_rule => Finding::Skip(indent + length),
            Some(_) => bullet,
            None if end && is_rule => Finding::Skip(indent + length),
            None if end || length > LINE_MARK_MAX => bullet,
            None => Finding::Wait,
        }
    }
}
