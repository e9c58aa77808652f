//! Plain and block scalars.

use std::borrow::Cow;

use super::{Kind, Mark, Outcome, Scanner, is_blank};
use crate::yaml::node::Style;

impl<'a> Scanner<'a> {
    /// Steps over the rest of a line and returns it.
    fn rest_of_line(&mut self) -> &'a str {
        let from = self.pos;
        while !self.is_breakz() {
            self.skip();
        }
        self.src.get(from..self.pos).unwrap_or_default()
    }

    pub(super) fn fetch_plain_scalar(&mut self) -> Outcome<()> {
        let start = self.mark;
        let indent = self.indent + 1;
        let flow = self.flow_level > 0;
        let mut text: Cow<'a, str> = Cow::Borrowed("");
        let mut leading_blanks = false;
        let mut leading_break = "";
        let mut trailing_breaks = String::new();
        let mut whitespaces = 0..0;
        loop {
            if self.mark.column == 0 && self.document_indicator().is_some() || self.byte(0) == b'#' {
                break;
            }
            let from = self.pos;
            loop {
                let byte = self.byte(0);
                match byte {
                    b' ' | b'\t' => break,
                    b':' if self.is_blankz(1) => break,
                    b',' | b'?' | b'[' | b']' | b'{' | b'}' if flow => break,
                    0x21..0x7F => {
                        self.pos += 1;
                        self.mark.index += 1;
                        self.mark.column += 1;
                    }
                    _ if self.is_breakz() => break,
                    _ => self.skip(),
                }
            }
            if self.pos > from {
                let piece = self.src.get(from..self.pos).unwrap_or_default();
                if leading_blanks {
                    let whole = text.to_mut();
                    if leading_break != "\n" {
                        whole.push_str(leading_break);
                    } else if trailing_breaks.is_empty() {
                        whole.push(' ');
                    }
                    whole.push_str(&trailing_breaks);
                    trailing_breaks.clear();
                    leading_blanks = false;
                    whole.push_str(piece);
                } else if text.is_empty() {
                    text = Cow::Borrowed(piece);
                } else if let Cow::Borrowed(so_far) = text {
                    // Still one line: the scalar is one slice of the source.
                    let begin = whitespaces.start - so_far.len();
                    text = Cow::Borrowed(self.src.get(begin..self.pos).unwrap_or_default());
                } else {
                    let whole = text.to_mut();
                    whole.push_str(self.src.get(whitespaces.clone()).unwrap_or_default());
                    whole.push_str(piece);
                }
            }
            if !is_blank(self.byte(0)) && !self.is_break(0) {
                break;
            }
            whitespaces = self.pos..self.pos;
            loop {
                if is_blank(self.byte(0)) {
                    if leading_blanks && self.column() < indent && self.byte(0) == b'\t' {
                        return Err(self.problem(start, "found a tab character that violates indentation"));
                    }
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
            if !flow && self.column() < indent {
                break;
            }
        }
        self.push(Kind::Scalar { text, style: Style::Plain }, start);
        if leading_blanks {
            self.simple_key_allowed = true;
        }
        Ok(())
    }

    pub(super) fn fetch_block_scalar(&mut self, literal: bool) -> Outcome<()> {
        let start = self.mark;
        self.skip();
        let (chomping, increment) = self.block_header(start)?;
        let mut indent = match increment {
            0 => 0,
            n if self.indent >= 0 => self.indent + n,
            n => n,
        };
        let mut text = String::new();
        let mut leading_break = "";
        let mut trailing_breaks = String::new();
        self.block_breaks(&mut indent, &mut trailing_breaks, start)?;
        let mut leading_blank = false;
        while self.column() == indent && self.byte(0) != 0 {
            let blank = is_blank(self.byte(0));
            if !literal && !leading_blank && !blank && leading_break == "\n" {
                if trailing_breaks.is_empty() {
                    text.push(' ');
                }
            } else {
                text.push_str(leading_break);
            }
            text.push_str(&trailing_breaks);
            trailing_breaks.clear();
            leading_blank = blank;
            let line = self.rest_of_line();
            text.push_str(line);
            leading_break = self.skip_break();
            self.block_breaks(&mut indent, &mut trailing_breaks, start)?;
        }
        if chomping >= 0 {
            text.push_str(leading_break);
        }
        if chomping > 0 {
            text.push_str(&trailing_breaks);
        }
        let style = if literal { Style::Literal } else { Style::Folded };
        self.push(Kind::Scalar { text: Cow::Owned(text), style }, start);
        Ok(())
    }

    /// What follows `|` or `>` on its line: chomping (-1, 0, 1) and indentation (0 when not given).
    fn block_header(&mut self, start: Mark) -> Outcome<(i8, i64)> {
        let mut chomping = 0;
        let mut increment = 0;
        for _ in 0..2 {
            match self.byte(0) {
                b'+' if chomping == 0 => chomping = 1,
                b'-' if chomping == 0 => chomping = -1,
                b'0' if increment == 0 => {
                    return Err(self.problem(start, "found an indentation indicator equal to 0"));
                }
                digit @ b'1'..=b'9' if increment == 0 => increment = i64::from(digit - b'0'),
                _ => break,
            }
            self.skip();
        }
        while is_blank(self.byte(0)) {
            self.skip();
        }
        if self.byte(0) == b'#' {
            self.skip_comment();
        }
        if !self.is_breakz() {
            return Err(self.problem(start, "did not find expected comment or line break"));
        }
        self.skip_break();
        Ok((chomping, increment))
    }

    /// Indentation and empty lines; finds the indentation when it is not known yet (0).
    fn block_breaks(&mut self, indent: &mut i64, breaks: &mut String, start: Mark) -> Outcome<()> {
        let mut deepest = 0;
        loop {
            while (*indent == 0 || self.column() < *indent) && self.byte(0) == b' ' {
                self.skip();
            }
            deepest = deepest.max(self.column());
            if (*indent == 0 || self.column() < *indent) && self.byte(0) == b'\t' {
                return Err(
                    self.problem(start, "found a tab character where an indentation space is expected")
                );
            }
            if !self.is_break(0) {
                break;
            }
            breaks.push_str(self.skip_break());
        }
        if *indent == 0 {
            *indent = deepest.max(self.indent + 1).max(1);
        }
        Ok(())
    }
}
