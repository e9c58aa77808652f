//! Single and double quoted scalars.

use std::borrow::Cow;

use super::{Kind, Mark, Outcome, Scanner, is_blank};
use crate::yaml::node::Style;

impl<'a> Scanner<'a> {
    pub(super) fn fetch_quoted_scalar(&mut self, single: bool) -> Outcome<()> {
        let start = self.mark;
        let style = if single { Style::Single } else { Style::Double };
        let quote = if single { b'\'' } else { b'"' };
        self.skip();
        if let Some(text) = self.one_line(quote) {
            self.push(Kind::Scalar { text: Cow::Borrowed(text), style }, start);
            return Ok(());
        }
        let mut text = String::new();
        loop {
            if self.mark.column == 0 && self.document_indicator().is_some() {
                return Err(self.problem(start, "found unexpected document indicator"));
            }
            if self.at_end() {
                return Err(self.problem(start, "found unexpected end of stream"));
            }
            let mut leading_blanks = false;
            while !self.is_blankz(0) {
                let byte = self.byte(0);
                if byte == quote {
                    if single && self.byte(1) == b'\'' {
                        text.push('\'');
                        self.skip();
                        self.skip();
                        continue;
                    }
                    break;
                }
                if !single && byte == b'\\' {
                    if self.is_break(1) {
                        self.skip();
                        self.skip_break();
                        leading_blanks = true;
                        break;
                    }
                    self.escape(start, &mut text)?;
                    continue;
                }
                let from = self.pos;
                self.skip();
                text.push_str(self.src.get(from..self.pos).unwrap_or_default());
            }
            if self.byte(0) == quote {
                break;
            }
            if self.at_end() {
                continue;
            }
            if self.byte(0) == 0 {
                return Err(self.problem(Mark::default(), "control characters are not allowed"));
            }
            self.fold_whitespace(leading_blanks, &mut text);
        }
        self.skip();
        self.push(Kind::Scalar { text: Cow::Owned(text), style }, start);
        Ok(())
    }

    /// A scalar on one line without escapes: a slice of the source.
    fn one_line(&mut self, quote: u8) -> Option<&'a str> {
        let rest = self.bytes.get(self.pos..)?;
        let end = rest.iter().position(|b| *b == quote || !matches!(b, b' '..=b'~') || *b == b'\\')?;
        if rest.get(end) != Some(&quote) || (quote == b'\'' && rest.get(end + 1) == Some(&quote)) {
            return None;
        }
        let text = self.src.get(self.pos..self.pos + end)?;
        self.pos += end + 1;
        self.mark.index += end + 1;
        self.mark.column += end as u32 + 1;
        Some(text)
    }

    /// Blanks and breaks inside a quoted scalar: one break is a space, more are breaks.
    fn fold_whitespace(&mut self, mut leading_blanks: bool, text: &mut String) {
        let mut whitespaces = self.pos..self.pos;
        let mut leading_break = "";
        let mut trailing_breaks = String::new();
        loop {
            if is_blank(self.byte(0)) {
                self.skip();
                if !leading_blanks {
                    whitespaces.end = self.pos;
                }
            } else if self.is_break(0) {
                if leading_blanks {
                    trailing_breaks.push_str(self.skip_break());
                } else {
                    leading_break = self.skip_break();
                    leading_blanks = true;
                }
            } else {
                break;
            }
        }
        if !leading_blanks {
            text.push_str(self.src.get(whitespaces).unwrap_or_default());
        } else if leading_break == "\n" {
            if trailing_breaks.is_empty() {
                text.push(' ');
            }
            text.push_str(&trailing_breaks);
        } else {
            text.push_str(leading_break);
            text.push_str(&trailing_breaks);
        }
    }

    fn escape(&mut self, start: Mark, text: &mut String) -> Outcome<()> {
        let mut digits = 0;
        match self.byte(1) {
            b'0' => text.push('\0'),
            b'a' => text.push('\u{7}'),
            b'b' => text.push('\u{8}'),
            b't' | b'\t' => text.push('\t'),
            b'n' => text.push('\n'),
            b'v' => text.push('\u{b}'),
            b'f' => text.push('\u{c}'),
            b'r' => text.push('\r'),
            b'e' => text.push('\u{1b}'),
            same @ (b' ' | b'"' | b'\'' | b'\\') => text.push(same as char),
            b'N' => text.push('\u{85}'),
            b'_' => text.push('\u{a0}'),
            b'L' => text.push('\u{2028}'),
            b'P' => text.push('\u{2029}'),
            b'x' => digits = 2,
            b'u' => digits = 4,
            b'U' => digits = 8,
            _ => return Err(self.problem(start, "found unknown escape character")),
        }
        self.skip();
        self.skip();
        if digits == 0 {
            return Ok(());
        }
        let mut value = 0u32;
        for at in 0..digits {
            let Some(digit) = (self.byte(at) as char).to_digit(16) else {
                return Err(self.problem(start, "did not find expected hexdecimal number"));
            };
            value = value.wrapping_shl(4) | digit;
        }
        match char::from_u32(value) {
            Some(c) => text.push(c),
            None => return Err(self.problem(start, "found invalid Unicode character escape code")),
        }
        for _ in 0..digits {
            self.skip();
        }
        Ok(())
    }
}
